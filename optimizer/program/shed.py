"""Linking rows that no slack covers and that a plan's noise oversteps: take work off them where it is least regretted.

First goes work of streams that the plan leaves partly unserved anyway (at the optimum one more unserved unit of these costs what it saves),
then any work that enters the row with the harmful sign. What was taken off is placed again where no side or linking row has a price.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.coupling import link_excess, link_values
from optimizer.program.folded import Folded
from optimizer.program.layout import node_chunks, placement_box
from optimizer.program.places import spare_places
from optimizer.program.program import Array, Program
from optimizer.program.recourse import Recourse
from optimizer.program.refill import ON_PURPOSE, refill


def shed_links(state: Recourse, folded: Folded, z: Array, wished: tuple[Array, Array]) -> None:
    """Bring overstepped linking rows back by reducing x, in place; wished: the plan's own (u, ud)."""
    p = state.program
    value, size, _ = link_values(state, z)
    above, below, _ = link_excess(p, value, size)
    excess = above + below
    if not excess.any():
        return
    row, node, block, pair = p.link_placement.index
    coefficient = p.link_placement.value
    harmful = ((above[row] > 0) & (coefficient > 0)) | ((below[row] > 0) & (coefficient < 0))
    row, coefficient = row[harmful], np.abs(coefficient[harmful])
    at = node[harmful], block[harmful], pair[harmful]
    if not len(row):
        return
    marginal = _left_on_purpose(p, at, wished)
    for some in (marginal, ~marginal):
        entry = tuple(i[some] for i in at)
        total = np.bincount(row[some], coefficient[some] * state.x[entry], p.links)
        taken = np.minimum(excess * (1 + 1e-12), total)
        keep = np.where(total > 0, 1 - taken / np.where(total > 0, total, 1.0), 1.0)
        factor = np.ones(state.x.shape)
        np.minimum.at(factor, entry, keep[row[some]])
        state.x *= factor
        excess = np.maximum(excess - taken, 0.0)
    touched = np.zeros(p.nodes, bool)
    touched[at[0]] = True
    for nodes in node_chunks(p):
        if touched[nodes].any():
            state.follow(nodes)
            _place_elsewhere(state, folded, nodes)


def _left_on_purpose(p: Program, at: tuple[Array, Array, Array], wished: tuple[Array, Array]) -> Array:
    """bool per entry (node, block, pair): the plan leaves part of this stream's work unserved."""
    node, block, pair = at
    stream = p.pair_stream[pair]
    out = np.zeros(len(node), bool)
    served = stream < p.served
    where = node[served], block[served], stream[served]
    out[served] = wished[0][where] > ON_PURPOSE * p.demand[where]
    movable = ~served & (stream < p.served + p.deferrable)
    where = node[movable], stream[movable] - p.served
    out[movable] = wished[1][where] > ON_PURPOSE * p.demand_deferrable[where]
    return out


def _place_elsewhere(state: Recourse, folded: Folded, nodes: slice) -> None:
    """Refill a chunk of nodes outside of places that a side or linking row puts a price on."""
    p = state.program
    spare = spare_places(state.load(nodes), state.capacity[nodes], state.rent_room[nodes])
    closed = np.full(state.u[nodes].shape, np.inf), np.full(state.ud[nodes].shape, np.inf)
    box = placement_box(p, state.layout, nodes) if folded.bounded is not None else None
    refill(folded, nodes, state.x[nodes], spare, (state.u[nodes], state.ud[nodes]), closed, box)
    if box is not None:
        np.minimum(state.x[nodes], box, out=state.x[nodes])
    state.follow(nodes)
