"""Acquisitions: offers signed at decision nodes - which exist, what they cost, what capacity they give (case reference, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import ONE, Scaled
from optimizer.build.paths import UNIT_ROW, product
from optimizer.build.placement import electricity_row
from optimizer.build.pools import Pools
from optimizer.build.records import AcquisitionRecord
from optimizer.build.scenario_factors import price_factors
from optimizer.economics.calendar import HOURS_PER_YEAR, Calendar, add_months
from optimizer.economics.cashflow import LEASE, OWN, RESERVED, Cash, FlowShape, cash
from optimizer.spec.resolved import Case, Offer
from optimizer.uncertainty.tree import SHARED

OWNERSHIP = {"own": OWN, "lease": LEASE, "reserved_1y": RESERVED, "reserved_3y": RESERVED}


@dataclass(frozen=True)
class Orders:
    """X orders: (offer, signing period) that deliver capacity for at least one whole period of the horizon."""

    offers: tuple[Offer, ...]  # O: all that are signed
    offer: np.ndarray  # int[X]
    period: np.ndarray  # int[X], ascending
    delivery: np.ndarray  # int[X], day offset
    end: np.ndarray  # int[X], day offset
    counted: np.ndarray  # bool[X, T]

    @staticmethod
    def of(case: Case, calendar: Calendar) -> Orders:
        offers = tuple(o for o in case.offers.values() if not o.is_rent)
        step, periods = calendar.horizon.months_per_period, calendar.periods
        signing = np.arange(periods)[:, None] * step  # [T, 1], months since the start of the horizon
        delivery_month = np.minimum(signing + np.array([o.lead_time_months for o in offers], int), periods * step)  # beyond H: never kept
        end_month = delivery_month + np.array([o.months for o in offers], int)
        day = calendar.month_day(int(end_month.max(initial=0)))
        delivery, end = day[delivery_month], day[end_month]  # [T, O]
        first = calendar.day[:-1, None]
        never = 10**7
        opens = np.array([-never if o.window_from is None else calendar.offset(o.window_from) for o in offers], int)
        closes = np.array([never if o.window_until is None else calendar.offset(o.window_until) for o in offers], int)
        there = np.array([calendar.offset(case.chips[o.chip].available_from) for o in offers], int)
        counted = calendar.wholly_inside(delivery, end)
        kept = (first >= opens) & (first <= closes) & (delivery >= there) & counted.any(axis=2)
        period, offer = np.nonzero(kept)
        return Orders(offers, offer, period, delivery[kept], end[kept], counted[kept])


@dataclass(frozen=True)
class AcquisitionIndex:
    """Z acquisitions, ordered by decision node, then offer. O offers, S scenarios."""

    offers: tuple[Offer, ...]
    offer: np.ndarray  # int[Z]
    period: np.ndarray  # int[Z], of signing
    decision: np.ndarray  # int[Z]
    view: np.ndarray  # int[Z], the scenario of its branch; S for the expectation at a shared node
    pool: np.ndarray  # int[Z]
    counted: np.ndarray  # bool[Z, T]
    shape: FlowShape
    weight: Scaled  # [Z], the probability of its branch; 1 at a shared node
    price: np.ndarray  # int[O], row at signing
    price_divisor: np.ndarray  # [O], 8766 for prices per year
    growth: np.ndarray  # int[O], row at signing
    factors: np.ndarray  # int[S, O, M], rows at signing
    probability: Scaled  # [S]
    upfront: np.ndarray  # int[O], ZERO for own
    opex: np.ndarray  # int[O], ZERO unless own
    idle_kw: np.ndarray  # int[O], ZERO in regions
    provisioned_kw: np.ndarray  # int[O], ZERO in regions
    tflops: np.ndarray  # int[O]
    pue: np.ndarray  # int[O], ZERO in regions
    electricity: np.ndarray  # int[O], row
    usable: np.ndarray  # int[O]
    available: np.ndarray  # int[O], row; the unit row where the bound is derived
    derived: np.ndarray  # bool[Z]
    held: tuple[np.ndarray, np.ndarray]  # int[I]: (decision node, acquisition) of every entry of capacity

    @property
    def acquisitions(self) -> int:
        return len(self.offer)


@dataclass(frozen=True)
class Acquired:
    price: Array  # [Z], P: nominal dollars per chip or chip-hour, expected at a shared node
    cash: Cash  # nominal dollars per chip
    weight: Array  # [Z], probability of the branch
    cost: Array  # [Z], weighted present value per chip
    usable: Array  # [Z]


def acquisition_structure(draft: Draft, pools: Pools, orders: Orders) -> tuple[AcquisitionIndex, tuple[AcquisitionRecord, ...]]:
    case, calendar, tree, table = draft.case, draft.calendar, draft.tree, draft.table
    offers = orders.offers
    bounds = np.searchsorted(orders.period, np.arange(calendar.periods + 1)).tolist()  # orders are sorted by period
    per_node = [np.arange(bounds[t], bounds[t + 1]) for t in tree.period.tolist()]
    order = np.concatenate([*per_node, np.zeros(0, int)])
    decision = np.repeat(np.arange(tree.decisions), [len(x) for x in per_node])
    offer, counted = orders.offer[order], orders.counted[order]
    ownership = np.array([OWNERSHIP[o.kind] for o in offers], int)[offer]
    straight = case.end_value == "straight_line"
    scenario = tree.scenario[decision]
    node, held, _ = tree.reach(decision, counted)
    chips, places = [case.chips[o.chip] for o in offers], [case.places[o.place] for o in offers]
    derived = np.array([o.available_chips is None for o in offers], bool)
    first = calendar.first
    index = AcquisitionIndex(
        offers=offers,
        offer=offer,
        period=orders.period[order],
        decision=decision,
        view=np.where(scenario == SHARED, tree.scenarios, scenario),
        pool=pools.at((o.chip, o.place, False) for o in offers)[offer],
        counted=counted,
        shape=FlowShape.of(calendar, ownership, orders.delivery[order], orders.end[order], straight),
        weight=Scaled(
            np.where(scenario == SHARED, ONE, draft.probability.position[scenario]),
            np.where(scenario == SHARED, 1.0, draft.probability.factor[scenario]),
        ),
        price=np.array([draft.reader.row(o.price, first) for o in offers], int),
        price_divisor=np.array([HOURS_PER_YEAR if o.price_per_year else 1.0 for o in offers]),
        growth=np.array([draft.reader.growth_row(o.price_growth_per_year, first) for o in offers], int),
        factors=price_factors(draft, offers, first),
        probability=draft.probability,
        upfront=table.all(None if o.kind == "own" else o.upfront_share for o in offers),
        opex=table.all(o.opex_usd_per_chip_year if o.kind == "own" else None for o in offers),
        idle_kw=table.all(c.idle_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        provisioned_kw=table.all(c.provisioned_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        tflops=table.all(c.bf16_dense_tflops for c in chips),
        pue=table.all(p.pue for p in places),
        electricity=np.array([electricity_row(draft, p.name) for p in places], int),
        usable=table.all(o.usable_share for o in offers),
        available=np.array([UNIT_ROW if o.available_chips is None else draft.reader.row(o.available_chips, first) for o in offers], int),
        derived=derived[offer],
        held=(node, held),
    )
    return index, _records(draft, orders, order, index)


def acquisition_values(index: AcquisitionIndex, numbers: Numbers) -> Acquired:
    xp, e, rows = numbers.xp, numbers.e, numbers.rows
    factor = product(rows, index.factors, xp)  # [S, O, T]
    expected = xp.tensordot(index.probability.read(e), factor, 1)[None]
    base = rows[index.price] * rows[index.growth] / index.price_divisor[:, None]  # [O, T]
    price = (xp.concatenate([factor, expected]) * base)[index.view, index.offer, index.period]
    idle = (e[index.idle_kw] * e[index.pue] * 24.0 / 1000)[:, None] * rows[index.electricity]  # [O, T]
    flows = cash(index.shape, price, e[index.upfront][index.offer], e[index.opex][index.offer], idle[index.offer], xp)
    weight = index.weight.read(e)
    cost = weight * flows.present_value(numbers.start, numbers.mid, numbers.end)
    return Acquired(price, flows, weight, cost, e[index.usable][index.offer])


def upper_bounds(index: AcquisitionIndex, need: Array, usable: Array, numbers: Numbers) -> Array:
    """[Z]: available chips at signing, or derived: twice the most chips that demand could use, + 1 (case reference, section 8).
    need [S, T, G]: chips that all eligible demand would need; at a shared node the largest over the scenarios."""
    xp = numbers.xp
    stated = numbers.rows[index.available][index.offer, index.period]
    if not index.derived.any():
        return stated
    views = xp.concatenate([need, xp.max(need, axis=0)[None]])  # [S + 1, T, G]
    most = xp.max(views[index.view, :, index.pool] * index.counted, axis=1)
    return xp.where(index.derived, 2.0 * most / usable + 1.0, stated)


def _records(draft: Draft, orders: Orders, order: np.ndarray, index: AcquisitionIndex) -> tuple[AcquisitionRecord, ...]:
    calendar, tree = draft.calendar, draft.tree
    names = [*(s.name for s in draft.case.scenarios), None]  # SHARED = -1: None
    of_order = []  # what the branches of one order share
    present = calendar.overlap_days(orders.delivery, orders.end) > 0
    columns = (orders.offer, orders.period, calendar.period_at(orders.delivery))
    for o, t, delivered, counts, stands in zip(*(c.tolist() for c in columns), orders.counted, present, strict=True):
        offer, signed = orders.offers[o], calendar.first_day[t]
        delivery = add_months(signed, offer.lead_time_months)
        end = add_months(delivery, offer.months)
        of_order.append((offer, signed, t, delivery, end, delivered, _periods(counts), _periods(stands)))
    records = []
    places = (order, index.pool, index.decision, tree.scenario[index.decision])
    for z, (x, pool, decision, own) in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        offer, signed, t, delivery, end, delivered, counts, stands = of_order[x]
        scenario = names[own]
        records.append(
            AcquisitionRecord(
                index=z,
                name=f"{offer.name} @{signed}" + (f" [{scenario}]" if scenario else ""),
                offer=offer.name,
                kind=offer.kind,
                chip=offer.chip,
                place=offer.place,
                pool=pool,
                decision=decision,
                scenario=scenario,
                period=t,
                signing_date=signed,
                delivery_date=delivery,
                end_date=end,
                delivery_period=delivered,
                counted=counts,
                present=stands,
                usable_share=offer.usable_share.value,
                bound="derived" if offer.available_chips is None else "available_chips",
                assumed=offer.assumed,
            )
        )
    return tuple(records)


def _periods(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.nonzero(mask)[0].tolist())
