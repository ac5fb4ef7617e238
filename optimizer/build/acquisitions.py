"""Acquisitions: offers signed at decision nodes - which exist, what they cost, what capacity they give (case reference, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer.build.acquisition_records import acquisition_records
from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.orders import Orders
from optimizer.build.parameters import ONE, Scaled
from optimizer.build.parts import PartIndex, Parts, break_shape, part_index
from optimizer.build.paths import UNIT_ROW, product
from optimizer.build.placement import electricity_row
from optimizer.build.pools import Pools
from optimizer.build.records import AcquisitionRecord
from optimizer.build.scenario_factors import price_factors
from optimizer.economics.calendar import HOURS_PER_YEAR
from optimizer.economics.cashflow import LEASE, OWN, RESERVED, BreakShape, Cash, break_fees, cash
from optimizer.spec.resolved import Offer
from optimizer.uncertainty.tree import SHARED

OWNERSHIP = {"own": OWN, "lease": LEASE, "reserved_1y": RESERVED, "reserved_3y": RESERVED}


@dataclass(frozen=True)
class AcquisitionIndex:
    """Z acquisitions, ordered by decision node, then orders before extensions, then signing period and offer. O offers, S scenarios."""

    offers: tuple[Offer, ...]
    offer: np.ndarray  # int[Z]
    period: np.ndarray  # int[Z], of signing
    decision: np.ndarray  # int[Z]
    previous: np.ndarray  # int[Z], the acquisition that it extends; -1 for an order
    view: np.ndarray  # int[Z], the scenario of the branch on which its price was signed; S for the expectation at a shared node
    pool: np.ndarray  # int[Z]
    ownership: np.ndarray  # int[Z]
    counted: np.ndarray  # bool[Z, T], some of it counts as capacity
    present: np.ndarray  # bool[Z, T], some of it is there at some time
    delivered: np.ndarray  # bool[Z, T], some of it is delivered
    useful: np.ndarray  # bool[Z, T], some of the whole contract counts as capacity
    parts: PartIndex
    breaks: BreakShape | None  # None: no contract has any
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
    lot: np.ndarray  # int[O], position of the count of a lot; ZERO where it is not taken, and for offers of any count
    is_lot: np.ndarray  # bool[O]
    whole_lot: np.ndarray  # bool[O], all of it is taken
    fee_usd: np.ndarray  # int[O], for a chip handed back at a break
    fee_share: np.ndarray  # int[O], of the rent that is left
    held: tuple[np.ndarray, np.ndarray, np.ndarray]  # int[I]: (decision node, acquisition, period) of every entry of capacity

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
    parts: Parts


def acquisition_structure(draft: Draft, pools: Pools, orders: Orders) -> tuple[AcquisitionIndex, tuple[AcquisitionRecord, ...]]:
    case, calendar, tree, table = draft.case, draft.calendar, draft.tree, draft.table
    offers = orders.offers
    stage, decision, signed, previous = _columns(draft, orders)
    offer = orders.offer[stage]
    ownership = np.array([OWNERSHIP[o.kind] for o in offers], int)[offer]
    parts = part_index(orders, stage, ownership, calendar, table, case.end_value == "straight_line")
    scenario = tree.scenario[decision]
    node, held, when = tree.reach(decision, orders.counted[stage])
    chips, places = [case.chips[o.chip] for o in offers], [case.places[o.place] for o in offers]
    is_lot = np.array([o.lot_chips is not None for o in offers], bool)
    derived = ~is_lot & np.array([o.available_chips is None for o in offers], bool)
    fees = [o.breaks for o in offers]
    first = calendar.first
    index = AcquisitionIndex(
        offers=offers,
        offer=offer,
        period=orders.period[stage],
        decision=decision,
        previous=previous,
        view=np.where(signed == SHARED, tree.scenarios, signed),
        pool=pools.at((o.chip, o.place, False) for o in offers)[offer],
        ownership=ownership,
        counted=orders.counted[stage],
        present=parts.mask(parts.present, len(stage)),
        delivered=parts.mask(parts.shape.delivery, len(stage)),
        useful=orders.useful[stage],
        parts=parts,
        breaks=break_shape(orders, stage, calendar) if (previous >= 0).any() else None,
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
        lot=table.all(o.lot_chips if o.take != "nothing" else None for o in offers),
        is_lot=is_lot,
        whole_lot=is_lot & np.array([o.take == "all" for o in offers], bool),
        fee_usd=table.all(None if b is None else b.fee_usd_per_chip for b in fees),
        fee_share=table.all(None if b is None else b.fee_share for b in fees),
        held=(node, held, when),
    )
    return index, acquisition_records(draft, orders, stage, signed, index)


def _columns(draft: Draft, orders: Orders) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """int[Z] each: the stage, the decision node, the scenario of the branch on which the contract was signed (SHARED: none) and the
    acquisition that it extends, -1 for an order. An extension of an order that scenarios share is one acquisition per scenario if it is
    decided after the reveal."""
    tree, periods = draft.tree, draft.calendar.periods
    orders_only = int((orders.previous < 0).sum())
    bounds = np.searchsorted(orders.period[:orders_only], np.arange(periods + 1)).tolist()  # orders are sorted by period
    per_node = [np.arange(bounds[t], bounds[t + 1]) for t in tree.period.tolist()]
    stage = np.concatenate([*per_node, np.zeros(0, int)])
    decision = np.repeat(np.arange(tree.decisions), [len(x) for x in per_node])
    signed, previous = tree.scenario[decision], np.full(len(stage), -1)
    if orders_only == len(orders.offer):
        return stage, decision, signed, previous
    after: dict[int, int] = {k: x for x, k in enumerate(orders.previous.tolist()) if k >= 0}  # the extension of a stage
    more: list[tuple[int, int, int, int]] = []
    for z, (x, branch) in enumerate(zip(stage.tolist(), signed.tolist(), strict=True)):
        last = {branch: z}  # the acquisition before, by branch
        while x in after:
            x = after[x]
            t = int(orders.decided[x])
            splits = branch == SHARED and tree.reveal is not None and t >= tree.reveal
            for s in range(tree.scenarios) if splits else (branch,):
                before = last.get(s, last.get(branch, z))
                last[s] = len(stage) + len(more)
                more.append((x, int(tree.node_at[max(s, 0), t]), branch, before))
    columns = [
        np.concatenate([a, b]) for a, b in zip((stage, decision, signed, previous), np.array(more, int).reshape(-1, 4).T, strict=True)
    ]
    order = np.argsort(columns[1], kind="stable")  # orders stand before extensions already
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    stage, decision, signed, previous = (column[order] for column in columns)
    return stage, decision, signed, np.where(previous < 0, -1, place[previous])


def acquisition_values(index: AcquisitionIndex, numbers: Numbers) -> Acquired:
    xp, e, rows = numbers.xp, numbers.e, numbers.rows
    factor = product(rows, index.factors, xp)  # [S, O, T]
    expected = xp.tensordot(index.probability.read(e), factor, 1)[None]
    base = rows[index.price] * rows[index.growth] / index.price_divisor[:, None]  # [O, T]
    price = (xp.concatenate([factor, expected]) * base)[index.view, index.offer, index.period]
    idle = (e[index.idle_kw] * e[index.pue] * 24.0 / 1000)[:, None] * rows[index.electricity]  # [O, T]
    parts = index.parts.read(numbers, index.ownership)
    flows = cash(parts.shape, price, e[index.upfront][index.offer], e[index.opex][index.offer], idle[index.offer], xp)
    if index.breaks is not None:
        fees = break_fees(index.breaks, price, e[index.fee_usd][index.offer], e[index.fee_share][index.offer])
        flows = replace(flows, break_fee=fees)
    weight = index.weight.read(e)
    cost = weight * flows.present_value(numbers.start, numbers.mid, numbers.end)
    return Acquired(price, flows, weight, cost, e[index.usable][index.offer], parts)


def bounds(index: AcquisitionIndex, need: Array, acquired: Acquired, numbers: Numbers) -> tuple[Array, Array]:
    """([Z], [Z]) lower and upper bounds of the chips signed (case reference, section 8). Upper: available chips at signing, the count of a
    lot, or derived: twice the most chips that demand could use, + 1. An extension's is above that of its order, which bounds it.
    need [S, T, G]: chips that all eligible demand would need; at a shared node the largest over the scenarios."""
    xp, e, offer = numbers.xp, numbers.e, index.offer
    lot = e[index.lot][offer]
    upper = xp.where(index.is_lot[offer], lot, numbers.rows[index.available][offer, index.period])
    if index.derived.any():
        views = xp.concatenate([need, xp.max(need, axis=0)[None]])  # [S + 1, T, G]
        there = acquired.parts.counted  # of one chip; a later stage of its contract counts where this one does not
        asked = views[index.view, :, index.pool] * index.useful / xp.where(there > 0, there, 1.0)
        upper = xp.where(index.derived, 2.0 * xp.max(asked, axis=1) / acquired.usable + 1.0, upper)
    order = index.previous < 0
    return xp.where(index.whole_lot[offer] & order, lot, 0.0), xp.where(order, upper, 2.0 * upper + 1.0)
