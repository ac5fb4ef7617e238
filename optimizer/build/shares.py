"""Share limits: of what is signed (limits) and of the total with rent (side rows with a priced slack) (case reference, section 6).

A share row k is one side of a limit:  max: group - bound * all <= 0,  min: bound * all - group <= 0.  So an item that weighs w in the
total enters with (member - bound) * w, or with (bound - member) * w.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.acquisitions import Acquired, AcquisitionIndex
from optimizer.build.draft import Draft
from optimizer.build.existing import ExistingFlows, ExistingIndex
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import BuildError
from optimizer.build.records import SideRecord
from optimizer.build.rent import Rent, RentIndex
from optimizer.build.selectors import selects_existing, selects_offer
from optimizer.spec.resolved import ShareLimit

COMPUTE, CHIPS, SPEND = 0, 1, 2
BASES = {"compute": COMPUTE, "chips": CHIPS, "spend": SPEND}
UNITS = {"compute": "PFLOP/s", "chips": "chips", "spend": "USD"}


@dataclass(frozen=True)
class ShareIndex:
    """Share rows k: every bound of every share limit; the ones `of: total` are the program's side rows, in this order."""

    rows: tuple[tuple[ShareLimit, str], ...]  # (limit, "max" | "min")
    total: np.ndarray  # int[K], the rows that are side rows
    basis: np.ndarray  # int[rows], COMPUTE | CHIPS | SPEND
    sign: np.ndarray  # [rows], +1 max, -1 min
    bound: np.ndarray  # int[rows], row of the path table
    excess: np.ndarray  # int[K], position of the price of the slack
    member_offer: np.ndarray  # [rows, O]
    member_existing: np.ndarray  # [rows, E]
    member_rent: np.ndarray  # [rows, G]
    existing_tflops: np.ndarray  # int[E], position
    pool_tflops: np.ndarray  # int[G], position
    held: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # int[I]: (decision node, side row, acquisition, period) of every entry


@dataclass(frozen=True)
class Sides:
    held: Array  # [I], values of the entries ShareIndex.held
    base: Array  # [T, K], the existing fleet's part of held
    rent: Array  # [S, T, K, B, G]
    slack_cost: Array  # [T, K]


def share_structure(
    draft: Draft, index: AcquisitionIndex, existing: ExistingIndex, rent: RentIndex, tflops_of_pool: np.ndarray
) -> tuple[ShareIndex, tuple[SideRecord, ...]]:
    case, reader, table = draft.case, draft.reader, draft.table
    found = ((limit, side, path) for limit in case.share for side, path in (("max", limit.maximum), ("min", limit.minimum)))
    bounds = [(limit, side, path) for limit, side, path in found if path is not None]
    rows = tuple((limit, side) for limit, side, _ in bounds)
    total = [k for k, (limit, _) in enumerate(rows) if limit.of == "total"]
    for k in total:
        if rows[k][0].excess_usd_per_unit is None:
            raise BuildError(f"limits.share.{rows[k][0].name}.excess_usd_per_unit: required for a share of the total")
    entries = []
    for o, k in enumerate(total):
        node, order, period = draft.tree.reach(index.decision, held_mask(index, rows[k][0]))
        entries.append((node, np.full(len(node), o), order, period))
    rented = np.zeros((len(rows), len(rent.of_pool)))
    for k, (limit, _) in enumerate(rows):
        for offer, g in zip(rent.offers, rent.pool, strict=True):
            rented[k, g] = selects_offer(limit.selector, offer, case)
    bound = np.array([reader.row(path, draft.calendar.mid) for _, _, path in bounds], int)
    shares = ShareIndex(
        rows=rows,
        total=np.array(total, int),
        basis=np.array([BASES[limit.basis] for limit, _ in rows], int),
        sign=np.array([1.0 if side == "max" else -1.0 for _, side in rows]),
        bound=bound,
        excess=table.all(rows[k][0].excess_usd_per_unit for k in total),
        member_offer=_matrix([[selects_offer(x.selector, o, case) for o in index.offers] for x, _ in rows], len(index.offers)),
        member_existing=_matrix([[selects_existing(x.selector, f, case) for f in existing.fleets] for x, _ in rows], len(existing.fleets)),
        member_rent=rented,
        existing_tflops=table.all(case.chips[f.chip].bf16_dense_tflops for f in existing.fleets),
        pool_tflops=tflops_of_pool,
        held=tuple(np.concatenate([*(e[a] for e in entries), np.zeros(0, int)]) for a in range(4)),  # type: ignore[arg-type]
    )
    records = []
    for o, k in enumerate(total):
        limit, side = rows[k]
        keys = draft.reader.keys([int(bound[k])], 0)
        records.append(SideRecord(o, f"share {limit.name} {side}", limit.name, side, limit.basis, UNITS[limit.basis], keys))
    return shares, tuple(records)


def held_mask(index: AcquisitionIndex, limit: ShareLimit) -> np.ndarray:
    """bool[Z, T]: where an acquisition weighs in the share: periods in which it counts, or (spend) in which it costs."""
    if limit.basis != "spend":
        return index.counted
    paid = index.present | index.delivered
    return paid if index.breaks is None else paid | (index.breaks.count != 0)


def coefficient(
    shares: ShareIndex, index: AcquisitionIndex, acquired: Acquired, k: np.ndarray, z: np.ndarray, t: np.ndarray, numbers: Numbers
) -> Array:
    """[...]: what one chip of acquisition z adds to the left side of share row k in period t (k, z, t int[...])."""
    xp, basis, offer = numbers.xp, shares.basis[k], index.offer[z]
    petaflops, counted = (numbers.e[index.tflops] / 1000)[offer], acquired.parts.counted[z, t]
    spend = acquired.cash.spend()[z, t]
    weight = xp.where(basis == COMPUTE, petaflops * counted, xp.where(basis == CHIPS, counted, spend))
    return shares.sign[k] * (shares.member_offer[k, offer] - numbers.rows[shares.bound[k], t]) * weight


def existing_excess(shares: ShareIndex, flows: ExistingFlows, numbers: Numbers) -> tuple[Array, Array]:
    """[rows, T]: what the existing fleet adds to the left side of every share row; and what it weighs in all."""
    xp = numbers.xp
    petaflops = (numbers.e[shares.existing_tflops] / 1000)[:, None] * flows.chips
    weights = xp.stack([petaflops, flows.chips, flows.spend])[shares.basis]  # [rows, E, T]
    bound = numbers.rows[shares.bound][:, None]  # [rows, 1, T]
    added = xp.sum((shares.member_existing[:, :, None] - bound) * weights, axis=1)
    return shares.sign[:, None] * added, xp.sum(weights, axis=1)


def side_values(
    shares: ShareIndex,
    index: AcquisitionIndex,
    acquired: Acquired,
    flows: ExistingFlows,
    rent: Rent,
    numbers: Numbers,
) -> Sides:
    """left side (acquisitions, existing) + rent - slack <= 0, so what is held stands on the right with the opposite sign."""
    xp, k = numbers.xp, shares.total
    _, side, z, t = shares.held
    hours, block = numbers.hours, numbers.block_hours
    mean = (block / hours[:, None])[:, :, None] * rent.per_paid  # [T, B, G], mean paid chips per usable chip rented in the block
    petaflops = numbers.e[shares.pool_tflops] / 1000 * mean
    scenarios, periods, blocks, pools = rent.cost.shape
    weights = [xp.broadcast_to(w, rent.cost.shape)[:, :, None] for w in (petaflops, mean, rent.cost)]
    none = xp.zeros((scenarios, periods, 0, blocks, pools))
    chosen = xp.concatenate([none, *(weights[basis] for basis in shares.basis[k])], axis=2)  # [S, T, K, B, G]
    bound = xp.swapaxes(numbers.rows[shares.bound[k]], 0, 1)[:, :, None, None]  # [T, K, 1, 1]
    factor = shares.sign[k][:, None, None] * (shares.member_rent[k][:, None, :] - bound)  # [T, K, 1, G]
    per_hour = np.where(shares.basis[k] == SPEND, 1.0, hours[:, None])  # [T, K]
    return Sides(
        held=-coefficient(shares, index, acquired, k[side], z, t, numbers),
        base=-xp.swapaxes(existing_excess(shares, flows, numbers)[0][k], 0, 1),
        rent=factor * chosen,
        slack_cost=numbers.e[shares.excess] * per_hour,
    )


def _matrix(rows: list[list[bool]], columns: int) -> np.ndarray:
    return np.array(rows, float).reshape(len(rows), columns)
