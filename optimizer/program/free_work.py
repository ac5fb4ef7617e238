"""Work of free streams that linking rows ask for, e.g. a training run with a window over several periods.

Such a row has no demand row behind it: where the solver's noise leaves it short, its slack would pay for the noise; where the noise
overshoots, whole nodes would be blended. So the row's own placements are scaled down to its upper side, and what is missing below its lower
side is placed like any other missing work (`refill`), unless the plan pays for it on purpose.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.coupling import link_excess, link_values
from optimizer.program.folded import Folded
from optimizer.program.layout import node_chunks
from optimizer.program.places import Asks, place_work, spare_places
from optimizer.program.program import Array
from optimizer.program.recourse import Recourse
from optimizer.program.refill import ON_PURPOSE


def hold_free_work(state: Recourse, folded: Folded, z: Array, slack_given: Array) -> None:
    """Trim and refill the placements of free streams for the linking rows that count them with a positive sign."""
    p = state.program
    row, node, block, pair = p.link_placement.index
    mine = (pair >= state.layout.deferrable_end) & (p.link_placement.value > 0)
    if not mine.any():
        return
    row, node, block, pair, units = row[mine], node[mine], block[mine], pair[mine], p.link_placement.value[mine]
    value, size, _ = link_values(state, z)
    above, _, _ = link_excess(p, value, size)
    if (above > 0).any():
        total = np.bincount(row, units * state.x[node, block, pair], p.links)
        keep = np.clip(1 - above / np.where(total > 0, total, 1.0), 0.0, 1.0)
        factor = np.ones(state.x.shape)
        np.minimum.at(factor, (node, block, pair), keep[row])
        state.x *= factor
        for nodes in node_chunks(p):
            state.follow(nodes)
        value, size, _ = link_values(state, z)
    _, _, slack = link_excess(p, value, size)
    meant = np.where(slack_given > ON_PURPOSE * np.abs(np.where(np.isfinite(p.link_lower), p.link_lower, 0.0)), slack_given, 0.0)
    missing = np.where((p.link_slack_sign > 0) & (p.link_slack_cost > 0), slack - meant, 0.0)
    _fill(state, folded, missing, row, node, block, pair, units)


def _fill(state: Recourse, folded: Folded, missing: Array, row: Array, node: Array, block: Array, pair: Array, units: Array) -> None:
    """Place what rows [R] miss into the entries (row, node, block, pair), one row per stream at a time shares no placement."""
    p = state.program
    wanted = (missing > 1e-14 * np.abs(np.where(np.isfinite(p.link_lower), p.link_lower, 0.0)))[row]
    row, node, block, pair, units = row[wanted], node[wanted], block[wanted], pair[wanted], units[wanted]
    if not len(row):
        return
    _, first = np.unique(np.ravel_multi_index((node, block, pair), state.x.shape), return_index=True)  # a placement helps one row only
    first.sort()
    row, node, block, pair, units = row[first], node[first], block[first], pair[first], units[first]
    price, rent_price = np.empty(len(row)), np.empty(len(row))
    for nodes in node_chunks(p):
        at = (node >= nodes.start) & (node < nodes.stop)
        if at.any():
            reduced = folded.reduced(nodes)
            here = node[at] - nodes.start
            price[at] = reduced.x[here, block[at], pair[at]]
            rent_price[at] = np.maximum(reduced.r[here, block[at], p.pair_pool[pair[at]]], 0.0)
    order = np.argsort(row, kind="stable")
    rows, start, count = np.unique(row[order], return_index=True, return_counts=True)
    offset = np.arange(count.max())
    exists = offset < count[:, None]
    grid = order[np.where(exists, start[:, None] + offset, 0)]
    node, block, pair, units = node[grid], block[grid], pair[grid], units[grid]
    use = p.pair_capacity[p.template_of_node[node], pair] / units
    rate = price[grid] / units + folded.multipliers.link[rows][:, None]
    rented = rate + use * rent_price[grid]
    worth = p.link_slack_cost[rows][:, None]
    cell = node * p.blocks + block
    most = p.placement_upper[p.template_of_node[node], block, pair]
    room = most - state.x[node, block, pair]
    rate = np.where(exists & (rate < worth) & (room > 0), rate, np.inf)
    rented = np.where(np.isfinite(rate) & (rented < worth), rented, np.inf)
    load = np.concatenate([state.load(nodes) for nodes in node_chunks(p)])
    spare = spare_places(load, state.capacity, state.rent_room)
    place_work(
        state.x, spare, Asks(missing[rows], cell * p.pairs + pair, units, use, cell * p.pools + p.pair_pool[pair], rate, rented, room)
    )
    nodes = np.unique(node[exists])
    state.x[nodes] = np.minimum(state.x[nodes], p.placement_upper[p.template_of_node[nodes]])
    state.follow(nodes)
