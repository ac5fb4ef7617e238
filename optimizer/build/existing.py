"""The fleet that is already there: capacity, power, shares, and costs that no decision can change (case reference, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import BuildError
from optimizer.build.placement import electricity_row
from optimizer.build.pools import Pools
from optimizer.build.records import ExistingRecord
from optimizer.economics.calendar import DAYS_PER_YEAR, FOREVER_AGO, Calendar
from optimizer.spec.resolved import Case, Existing


@dataclass(frozen=True)
class ExistingIndex:
    """E fleets."""

    fleets: tuple[Existing, ...]
    pool: np.ndarray  # int[E], -1: no period in which it counts
    counted: np.ndarray  # [E, T], 1 in periods wholly inside [start, end)
    overlap: np.ndarray  # [E, T], days of the period inside [start, end)
    count: np.ndarray  # int[E], position
    usable: np.ndarray  # int[E]
    opex: np.ndarray  # int[E], ZERO unless class own
    price: np.ndarray  # int[E], ZERO for class own
    idle_kw: np.ndarray  # int[E], ZERO in regions
    provisioned_kw: np.ndarray  # int[E], ZERO in regions
    pue: np.ndarray  # int[E], ZERO in regions
    electricity: np.ndarray  # int[E], row


@dataclass(frozen=True)
class ExistingFlows:
    """All amounts of the whole fleet, not per chip."""

    spend: Array  # [E, T], nominal dollars: operations, or the hourly price
    energy: Array  # [E, T], nominal dollars of idle energy
    usable: Array  # [E, T], usable chips where it counts
    chips: Array  # [E, T], chips where it counts
    power_mw: Array  # [E, T], provisioned MW wherever an owned fleet is present


def counted_periods(case: Case, calendar: Calendar) -> tuple[np.ndarray, np.ndarray]:
    """bool[E, T] periods wholly inside [start, end), and [E, T] days of overlap."""
    start = np.array([FOREVER_AGO if f.start is None else calendar.offset(f.start) for f in case.existing.values()], int)
    end = np.array([calendar.offset(f.end) for f in case.existing.values()], int)
    return calendar.wholly_inside(start, end), calendar.overlap_days(start, end)


def existing_structure(draft: Draft, pools: Pools) -> tuple[ExistingIndex, tuple[ExistingRecord, ...]]:
    case, table = draft.case, draft.table
    fleets = tuple(case.existing.values())
    counted, overlap = counted_periods(case, draft.calendar)
    for fleet in fleets:
        if fleet.ownership != "own" and fleet.price_usd_per_chip_hour is None:
            raise BuildError(f"existing.{fleet.name}.price_usd_per_chip_hour: required for class {fleet.ownership}")
    chips, places = [case.chips[f.chip] for f in fleets], [case.places[f.place] for f in fleets]
    index = ExistingIndex(
        fleets=fleets,
        pool=np.where(counted.any(axis=1), pools.at((f.chip, f.place, False) for f in fleets), -1),
        counted=counted.astype(float),
        overlap=overlap.astype(float),
        count=table.all(f.count_chips for f in fleets),
        usable=table.all(f.usable_share for f in fleets),
        opex=table.all(f.opex_usd_per_chip_year if f.ownership == "own" else None for f in fleets),
        price=table.all(f.price_usd_per_chip_hour if f.ownership != "own" else None for f in fleets),
        idle_kw=table.all(c.idle_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        provisioned_kw=table.all(c.provisioned_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        pue=table.all(p.pue for p in places),
        electricity=np.array([electricity_row(draft, p.name) for p in places], int),
    )
    records = tuple(
        ExistingRecord(i, f.name, f.ownership, f.chip, f.place, int(index.pool[i]), _where(counted[i]), _where(overlap[i] > 0))
        for i, f in enumerate(fleets)
    )
    return index, records


def existing_values(index: ExistingIndex, numbers: Numbers) -> ExistingFlows:
    e = numbers.e
    count = e[index.count][:, None]
    usd_per_day = e[index.price] * 24.0 + e[index.opex] / DAYS_PER_YEAR
    pue = e[index.pue]
    idle_usd_per_day = (e[index.idle_kw] * pue * 24.0 / 1000)[:, None] * numbers.rows[index.electricity]
    chips = count * index.counted
    return ExistingFlows(
        spend=usd_per_day[:, None] * index.overlap * count,
        energy=idle_usd_per_day * index.overlap * count,
        usable=chips * e[index.usable][:, None],
        chips=chips,
        power_mw=(e[index.provisioned_kw] * pue / 1000)[:, None] * count * (index.overlap > 0),
    )


def existing_cost(flows: ExistingFlows, numbers: Numbers) -> Array:
    """Scalar, present value in dollars: the constant of the program."""
    return numbers.xp.sum((flows.spend + flows.energy) @ numbers.mid)


def _where(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.nonzero(mask)[0].tolist())
