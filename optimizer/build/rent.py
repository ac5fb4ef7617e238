"""Capacity rented by the hour: on-demand and spot (case reference, section 3).

The program's rent r is in usable chips, so that its capacity row has the coefficient -1: r = paid chips * usable_share.
Cost and bound are converted here; reports divide by the usable share in PoolRecord and RentRecord.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import BuildError
from optimizer.build.paths import product
from optimizer.build.pools import Pools
from optimizer.build.records import RentRecord
from optimizer.build.scenario_factors import price_factors
from optimizer.economics.calendar import HOURS_PER_YEAR, Calendar
from optimizer.spec.resolved import Case, Offer


@dataclass(frozen=True)
class RentIndex:
    """H rents, at most one per pool."""

    offers: tuple[Offer, ...]
    of_pool: np.ndarray  # int[G], index of the pool's rent; H (a column of zeros) without one
    pool: np.ndarray  # int[H]
    open: np.ndarray  # [H, T], 1 where the window and the chip's date hold the period
    price: np.ndarray  # int[H], row
    price_divisor: np.ndarray  # [H], 8766 for prices per year
    growth: np.ndarray  # int[H], row
    factors: np.ndarray  # int[S, H, M], rows
    available: np.ndarray  # int[H], row
    usable: np.ndarray  # int[H], position


@dataclass(frozen=True)
class Rent:
    """Per usable chip; zero where a pool has no rent or the period is closed."""

    cost: Array  # [S, T, B, G], nominal dollars
    upper: Array  # [T, G], usable chips
    per_paid: Array  # [G], paid chips per usable chip


def open_periods(case: Case, calendar: Calendar, offer: Offer) -> np.ndarray:
    """bool[T]: the window holds the period wholly, and the chip is there on its first day."""
    first, last = calendar.day[:-1], calendar.day[1:] - 1
    holds = first >= calendar.offset(case.chips[offer.chip].available_from)
    if offer.window_from is not None:
        holds = holds & (first >= calendar.offset(offer.window_from))
    if offer.window_until is not None:
        holds = holds & (last <= calendar.offset(offer.window_until))
    return holds


def rent_offers(case: Case, calendar: Calendar) -> list[tuple[Offer, np.ndarray]]:
    """The on-demand and spot offers that are open in some period, with the periods."""
    found = [(offer, open_periods(case, calendar, offer)) for offer in case.offers.values() if offer.is_rent]
    return [(offer, periods) for offer, periods in found if periods.any()]


def rent_structure(draft: Draft, pools: Pools, offers: list[tuple[Offer, np.ndarray]]) -> tuple[RentIndex, tuple[RentRecord, ...]]:
    mid, table = draft.calendar.mid, draft.table
    pool = pools.at((o.chip, o.place, o.preemptible) for o, _ in offers)
    of_pool = np.full(len(pools), len(offers))
    for h, g in enumerate(pool):
        if of_pool[g] < len(offers):
            raise BuildError(f"offers {offers[of_pool[g]][0].name} and {offers[h][0].name} rent in one pool, {pools.candidates[g].name}")
        of_pool[g] = h
    for offer, _ in offers:
        if offer.available_chips is None:
            raise BuildError(f"offers.{offer.name}.available_chips: required for {offer.kind}")
    index = RentIndex(
        offers=tuple(o for o, _ in offers),
        of_pool=of_pool,
        pool=pool,
        open=np.array([periods for _, periods in offers], float).reshape(len(offers), draft.calendar.periods),
        price=np.array([draft.reader.row(o.price, mid) for o, _ in offers], int),
        price_divisor=np.array([HOURS_PER_YEAR if o.price_per_year else 1.0 for o, _ in offers]),
        growth=np.array([draft.reader.growth_row(o.price_growth_per_year, mid) for o, _ in offers], int),
        factors=price_factors(draft, [o for o, _ in offers], mid),
        available=np.array([draft.reader.row(o.available_chips, mid) for o, _ in offers if o.available_chips], int),
        usable=table.all(o.usable_share for o, _ in offers),
    )
    records = tuple(
        RentRecord(o.name, o.kind, int(g), o.usable_share.value, tuple(np.nonzero(periods)[0].tolist()), o.assumed)
        for (o, periods), g in zip(offers, pool, strict=True)
    )
    return index, records


def rent_values(index: RentIndex, numbers: Numbers) -> Rent:
    xp, e, rows = numbers.xp, numbers.e, numbers.rows
    usable = e[index.usable][:, None]  # [H, 1]
    price = rows[index.price] * rows[index.growth] / index.price_divisor[:, None] / usable * index.open  # [H, T]
    price = xp.moveaxis(price * product(rows, index.factors, xp), 1, 2)  # [S, T, H]
    upper = xp.swapaxes(rows[index.available] * usable * index.open, 0, 1)  # [T, H]
    cost = _with_zero(price, xp)[:, :, None, index.of_pool] * numbers.block_hours[:, :, None]
    return Rent(cost, _with_zero(upper, xp)[:, index.of_pool], _with_zero(1.0 / e[index.usable], xp)[index.of_pool])


def _with_zero(values: Array, xp: ModuleType) -> Array:
    """One more column of zeros: what a pool without rent reads."""
    return xp.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)
