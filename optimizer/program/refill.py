"""Place missing work, cheapest first: into held capacity that is spare, then into rent.

In every round each row of missing work asks for its cheapest open place; a place that is asked for more than it has gives every asker
the same share. A round so finishes a row or exhausts a place. Work is placed only where that is cheaper, at the given
prices, than leaving it unserved. Work that the plan leaves unserved on purpose stays out of places that a side or
linking row puts a price on: the row's room is not known here, and at the optimum such a place is worth just as much as not serving.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.bound import Reduced
from optimizer.program.program import Array, Program

ROUNDS = 32
TINY = 1e-14  # of demand or of capacity: less than this is nothing
ON_PURPOSE = 1e-4  # of demand: the plan means to leave this work unserved


@dataclass
class Asks:
    """Rows of missing work [m] and the places [m, c] that may take it; infinite rates close a place."""

    missing: Array  # [m] units of the row
    entry: Array  # int[m, c] flat index into x [n, B, P]; no two rows share one
    units: Array  # [m, c] units of the row per unit of x
    use: Array  # [m, c] capacity per unit of the row
    place: Array  # int[m, c] flat index into [n, B, G]
    rate: Array  # [m, c] cost of a unit on held capacity
    rate_rented: Array  # [m, c] cost of a unit on rent
    room: Array | None  # [m, c] what x may still grow, None where the row itself bounds it


def spare_places(load: Array, capacity: Array, rent_most: Array) -> Array:
    """Spare held capacity, then spare rent, flat [2 * n*B*G]; load, rent_most [n,B,G], capacity [n,G]."""
    held = capacity[:, None, :]
    owned = np.maximum(held - load, 0.0)
    owned[owned <= TINY * held] = 0.0
    rent = np.maximum(rent_most - np.maximum(load - held, 0.0), 0.0)
    rent[rent <= TINY * rent_most] = 0.0
    return np.concatenate([owned.ravel(), rent.ravel()])


def refill(
    program: Program,
    nodes: slice,
    reduced: Reduced,
    x: Array,
    spare: Array,
    missing: tuple[Array, Array],
    wished: tuple[Array, Array],
    box: Array | None,
) -> None:
    """Raise x [n,B,P] of a chunk of nodes in place.

    missing: served [n,B,served] and deferrable [n,deferrable] work not placed; wished: the plan's own unserved work in the same shapes;
    box [n,B,P] where a placement has an upper bound of its own.
    """
    p, template = program, program.template_of_node[nodes]
    if not p.pairs:
        return
    columns, exists = stream_columns(p)
    at = np.nonzero(missing[0] > TINY * p.demand[nodes])
    if len(at[0]):
        n, b, w = at
        meant = wished[0][at] > ON_PURPOSE * p.demand[nodes][at]
        asks = _asks(p, template, reduced, missing[0][at], reduced.u[at], meant, exists[w], n, b[:, None], columns[w], None, x, box)
        place_work(x, spare, asks)
    at = np.nonzero(missing[1] > TINY * p.demand_deferrable[nodes])
    if len(at[0]):
        n, w = at
        meant = wished[1][at] > ON_PURPOSE * p.demand_deferrable[nodes][at]
        pair, open_pair = (np.tile(a[p.served + w], (1, p.blocks)) for a in (columns, exists))
        block = np.repeat(np.arange(p.blocks), columns.shape[1])[None, :]
        hours = p.block_hours[template[n]][:, block[0]]
        asks = _asks(p, template, reduced, missing[1][at], reduced.ud[at], meant, open_pair, n, block, pair, hours, x, box)
        place_work(x, spare, asks)


def stream_columns(program: Program) -> tuple[Array, Array]:
    """(pairs of each stream [W, most], padded with 0; which of them exist)."""
    starts = np.searchsorted(program.pair_stream, np.arange(program.streams + 1))
    count = np.diff(starts)
    offset = np.arange(max(1, int(count.max(initial=0))))
    exists = offset < count[:, None]
    return np.where(exists, starts[:-1, None] + offset, 0), exists


def _asks(
    p: Program,
    template: Array,
    reduced: Reduced,
    missing: Array,
    worth: Array,
    meant: Array,
    exists: Array,
    node: Array,
    block: Array,
    pair: Array,
    units: Array | None,
    x: Array,
    box: Array | None,
) -> Asks:
    """Rates of every place of every row; a place that costs more than the work is worth is closed. node [m], block [m,1] or [1,c]."""
    cell = node[:, None] * p.blocks + block
    entry, place = cell * p.pairs + pair, cell * p.pools + p.pair_pool[pair]
    use = np.take(p.pair_capacity.ravel(), (template[node] * p.pairs)[:, None] + pair)
    rate = np.take(reduced.x.ravel(), entry)
    if units is not None:
        use, rate = use / units, rate / units
    rented = rate + use * np.take(np.maximum(reduced.r, 0.0).ravel(), place)
    closed = ~exists
    room = None
    if reduced.x_rows is not None:
        closed |= meant[:, None] & (np.take(reduced.x_rows.ravel(), entry) > 0)
    if box is not None:
        room = np.take(box.ravel(), entry) - np.take(x.ravel(), entry)
        closed |= room <= 0
    rate[closed | (rate >= worth[:, None])] = np.inf
    closed = np.isinf(rate) | (rented >= worth[:, None])
    if reduced.r_rows is not None:
        closed |= meant[:, None] & (np.take(reduced.r_rows.ravel(), place) > 0)
    rented[closed] = np.inf
    units = np.broadcast_to(1.0 if units is None else units, use.shape)
    return Asks(missing.copy(), entry, units, use, place, rate, rented, room)


def place_work(x: Array, spare: Array, asks: Asks) -> None:
    """Hand out spare places to rows of missing work, in place: raises x (contiguous) and lowers spare and the rows' missing work."""
    size, flat = len(spare) // 2, x.reshape(-1)
    left, nothing = asks.missing, TINY * asks.missing
    entry, use, place, rate, rented, room = asks.entry, asks.use, asks.place, asks.rate, asks.rate_rented, asks.room
    units = asks.units
    for _ in range(ROUNDS):
        asked = np.where(np.take(spare, place) > 0, rate, np.where(np.take(spare, place + size) > 0, rented, np.inf))
        free = use == 0
        if free.any():
            asked[free] = rate[free]
        best = asked.argmin(axis=1)
        row = np.arange(len(left))
        found = np.isfinite(asked[row, best])
        row, best = row[found], best[found]
        if not len(row):
            return
        here, used, unit = place[row, best], use[row, best], units[row, best]
        key = np.where((spare[here] > 0) | (used == 0), here, here + size)
        want = left[row]
        if room is not None:
            limit = np.maximum(room[row, best], 0.0) * unit
            full = limit < want
            rate[row[full], best[full]] = rented[row[full], best[full]] = np.inf
            want = np.minimum(want, limit)
        total = np.bincount(key, want * used, minlength=len(spare))
        short = total > spare
        give = want * np.where(short[key] & (used > 0), spare[key] / np.where(short[key], total[key], 1.0), 1.0)
        flat[entry[row, best]] += give / unit
        if room is not None:
            room[row, best] -= give / unit
        spare -= np.bincount(key, give * used, minlength=len(spare))
        spare[short] = 0.0
        np.maximum(spare, 0.0, out=spare)
        left[row] -= give
        alive = np.zeros(len(left), bool)
        alive[row] = left[row] > nothing[row]
        if not alive.any():
            return
        left, nothing, entry, place = left[alive], nothing[alive], entry[alive], place[alive]
        use, units, rate, rented = use[alive], units[alive], rate[alive], rented[alive]
        room = None if room is None else room[alive]
