"""Place missing work again, cheapest first: into held capacity that is spare, then into rent.

Works on a chunk of nodes. In every round each row of missing work asks for its cheapest open place; a place that is asked for more than it
has gives every asker the same share. A round so finishes a row or exhausts a place. Work is placed only where that is
cheaper, at the given prices, than leaving it unserved. Work that the plan leaves unserved on purpose stays out of places that a side or
linking row puts a price on: the row's room is not known here, and at the optimum such a place is worth just as much as not serving.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.bound import Reduced
from optimizer.program.layout import Layout
from optimizer.program.program import Array, Program

ROUNDS = 32
TINY = 1e-14  # of demand or of capacity: less than this is nothing
ON_PURPOSE = 1e-4  # of demand: the plan means to leave this work unserved


def refill(
    program: Program,
    layout: Layout,
    nodes: slice,
    reduced: Reduced,
    x: Array,
    load: Array,
    capacity: Array,
    rent_most: Array,
    missing: Array,
    missing_work: Array,
    wished: tuple[Array, Array],
    box: Array | None,
) -> None:
    """Raise x [n,B,P] in place. load [n,B,G], capacity [n,G], rent_most [n,B,G], missing [n,B,served], missing_work [n,deferrable];
    wished: the plan's own unserved work, in the shapes of missing and missing_work."""
    owned = np.maximum(capacity[:, None, :] - load, 0.0)
    owned[owned <= TINY * capacity[:, None, :]] = 0.0
    rent = np.maximum(rent_most - np.maximum(load - capacity[:, None, :], 0.0), 0.0)
    rent[rent <= TINY * rent_most] = 0.0
    spare = np.concatenate([owned.ravel(), rent.ravel()])
    premium = np.maximum(reduced.r, 0.0)
    template = program.template_of_node[nodes]
    columns, exists = stream_columns(program)

    at = np.nonzero(missing > TINY * program.demand[nodes])
    if len(at[0]):
        n, b, w = at
        pair = columns[w]
        block = np.broadcast_to(b[:, None], pair.shape)
        meant = wished[0][at] > ON_PURPOSE * program.demand[nodes][at]
        rows = n, block, pair, exists[w], np.ones(pair.shape), missing[at], reduced.u[at], meant
        _place(program, x, spare, *rows, reduced, premium, template, box)
    at = np.nonzero(missing_work > TINY * program.demand_deferrable[nodes])
    if len(at[0]):
        n, w = at
        pair = np.repeat(columns[program.served + w][:, None, :], program.blocks, axis=1).reshape(len(w), -1)
        open_pair = np.repeat(exists[program.served + w][:, None, :], program.blocks, axis=1).reshape(len(w), -1)
        block = np.broadcast_to(np.repeat(np.arange(program.blocks), columns.shape[1]), pair.shape)
        hours = program.block_hours[template[n][:, None], block]
        meant = wished[1][at] > ON_PURPOSE * program.demand_deferrable[nodes][at]
        rows = n, block, pair, open_pair, hours, missing_work[at], reduced.ud[at], meant
        _place(program, x, spare, *rows, reduced, premium, template, box)


def stream_columns(program: Program) -> tuple[Array, Array]:
    """(pairs of each stream [W, most], padded with 0; which of them exist)."""
    starts = np.searchsorted(program.pair_stream, np.arange(program.streams + 1))
    count = np.diff(starts)
    offset = np.arange(max(1, int(count.max(initial=0))))
    exists = offset < count[:, None]
    return np.where(exists, starts[:-1, None] + offset, 0), exists


def _place(
    program: Program,
    x: Array,
    spare: Array,
    n: Array,
    block: Array,
    pair: Array,
    exists: Array,
    hours: Array,
    missing: Array,
    worth: Array,
    meant: Array,
    reduced: Reduced,
    premium: Array,
    template: Array,
    box: Array | None,
) -> None:
    """Rows of missing work: node n [m], missing [m], worth [m] of a unit, meant [m]; their columns [m, c]: block, pair, exists, hours."""
    size = len(spare) // 2
    node = n[:, None]
    pool = program.pair_pool[pair]
    place = np.ravel_multi_index((np.broadcast_to(node, pair.shape), block, pool), premium.shape)
    use = program.pair_capacity[template[n][:, None], pair] / hours  # capacity per unit of work
    rate = reduced.x[node, block, pair] / hours
    rate_rented = rate + use * premium.ravel()[place]
    rate = np.where(exists & (rate < worth[:, None]), rate, np.inf)
    rate_rented = np.where(exists & (rate_rented < worth[:, None]), rate_rented, np.inf)
    if box is not None:
        rate = np.where(box[node, block, pair] > x[node, block, pair], rate, np.inf)
    if reduced.x_rows is not None:
        rate = np.where(meant[:, None] & (reduced.x_rows[node, block, pair] > 0), np.inf, rate)
    if reduced.r_rows is not None:
        rate_rented = np.where(meant[:, None] & (reduced.r_rows.ravel()[place] > 0), np.inf, rate_rented)
    rate_rented = np.where(np.isinf(rate), np.inf, rate_rented)
    left = missing.copy()
    alive = np.arange(len(n))
    for _ in range(ROUNDS):
        free = use[alive] == 0
        here = place[alive]
        asked = np.where((spare[here] > 0) | free, rate[alive], np.where(spare[here + size] > 0, rate_rented[alive], np.inf))
        best = asked.argmin(axis=1)
        row = np.arange(len(alive))
        found = np.isfinite(asked[row, best])
        alive, best = alive[found], best[found]
        if not len(alive):
            return
        key = place[alive, best]
        key = np.where((spare[key] > 0) | (use[alive, best] == 0), key, key + size)
        want = left[alive].copy()
        if box is not None:
            room = box[n[alive], block[alive, best], pair[alive, best]] - x[n[alive], block[alive, best], pair[alive, best]]
            want = np.minimum(want, np.maximum(room, 0.0) * hours[alive, best])
        need = want * use[alive, best]
        total = np.bincount(key, need, minlength=len(spare))
        short = total > spare
        share = np.where(short[key], spare[key] / np.where(short[key], total[key], 1.0), 1.0)
        give = want * share
        x[n[alive], block[alive, best], pair[alive, best]] += give / hours[alive, best]
        spare -= np.bincount(key, give * use[alive, best], minlength=len(spare))
        spare[short] = 0.0
        np.maximum(spare, 0.0, out=spare)
        left[alive] -= give
        if box is not None:
            full = want < left[alive] + give
            rate[alive[full], best[full]] = np.inf
            rate_rented[alive[full], best[full]] = np.inf
        alive = alive[left[alive] > TINY * missing[alive]]
        if not len(alive):
            return
