"""Side and linking rows of a repaired plan, and the columns that follow from its placements.

Given z and placements that hold the demand and capacity rows: rent follows from the load, unserved work is the rest of demand. A side or linking
row that does not hold takes its priced slack first; what slack cannot take is met by scaling down the placements and the rent that enter the
row on the wrong side; what is still left by blending the nodes of the row towards serving nothing, which every such row is known to allow.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from optimizer.program.layout import Layout, deferrable_sum, held, link_operator, node_chunks, served_sum
from optimizer.program.program import Array, Plan, Program, Sparse

ROUNDS = 6
AIM = 1e-13  # of the sum of a row's absolute terms


class Recourse:
    """Placements and what follows from them; `rent_room` is what may be rented at most, `rent_wish` what a row gains from renting."""

    def __init__(self, program: Program, layout: Layout, x: Array, capacity: Array, rent_room: Array, rent_wish: Array) -> None:
        self.program, self.layout = program, layout
        self.x, self.capacity, self.rent_room, self.rent_wish = x, capacity, rent_room, rent_wish
        shape = (program.nodes, program.blocks)
        self.u = np.empty((*shape, program.served))
        self.ud = np.empty((program.nodes, program.deferrable))
        self.r = np.empty((*shape, program.pools))
        for nodes in node_chunks(program):
            self.follow(nodes)

    def follow(self, nodes: slice | Array) -> None:
        """Recompute u, ud and r of some nodes from x; trims x where the load no longer fits."""
        p, layout, x = self.program, self.layout, self.x[nodes]
        template = p.template_of_node[nodes]
        use, held_here = p.pair_capacity[template][:, None, :], self.capacity[nodes][:, None, :]
        load = layout.sum_by_pool(x * use, p.pools)
        room = held_here + self.rent_room[nodes]
        if (load > room * (1 + 4e-16)).any():
            share = np.where(load > room, room / np.where(load > room, load, 1.0), 1.0)
            x = x * np.take(share, p.pair_pool, axis=-1)
            self.x[nodes] = x
            load = layout.sum_by_pool(x * use, p.pools)
        self.r[nodes] = np.clip(np.maximum(load - held_here, self.rent_wish[nodes]), 0.0, self.rent_room[nodes])
        self.u[nodes] = np.clip(p.demand[nodes] - served_sum(p, layout, x), 0.0, p.demand[nodes])
        work = p.demand_deferrable[nodes]
        self.ud[nodes] = np.clip(work - deferrable_sum(p, layout, x, p.block_hours[template]), 0.0, work)

    def shrink(self, nodes: Array, keep: Array) -> None:
        """Blend nodes [m] towards serving nothing: keep [m] of every placement and of rent."""
        factor = keep[:, None, None]
        self.x[nodes] *= factor
        self.rent_wish[nodes] *= factor
        self.rent_room[nodes] = np.minimum(self.rent_room[nodes], self.r[nodes] * factor)
        self.follow(nodes)


def couple(program: Program, layout: Layout, z: Array, x: Array, capacity: Array, rent_most: Array, rent_given: Array) -> Plan:
    """The whole plan; x [N,B,P], capacity [N,G] and rent_most [N,B,G] hold the demand and capacity rows already."""
    touched = np.zeros(rent_most.shape, bool)
    if program.sides:
        touched |= (program.side_rent != 0).any(axis=1)
    touched[program.link_rent.index[1:]] = True
    wish = np.where(touched, np.minimum(rent_given, rent_most), 0.0)
    state = Recourse(program, layout, x, capacity, rent_most.copy(), wish)
    side_slack = np.zeros((program.nodes, program.sides))
    link_slack = np.zeros(program.links)
    if program.sides:
        side_most = held(program, z)[program.state_of_node, program.pools :]
        hold_sides(state, side_most)
    if program.links:
        link_slack = hold_links(state, z)
    if program.sides:
        over = side_values(program, state.x, state.r)[0] - side_most
        side_slack = np.clip(over, 0.0, _side_room(program))
    return Plan(z, state.x, state.u, state.ud, state.r, side_slack, link_slack)


def _side_room(program: Program) -> Array:
    """The most that the slack of a side row can take, [N,K]."""
    return np.where(np.isfinite(program.side_slack_cost), program.side_slack_upper, 0.0)


def side_values(program: Program, x: Array, r: Array, nodes: Array | None = None) -> tuple[Array, Array]:
    """(value, sum of absolute terms) of the side rows without their slack, [n,K]; x, r of the given nodes (all by default)."""
    nodes = np.arange(program.nodes) if nodes is None else nodes
    value = np.einsum("nkbg,nbg->nk", program.side_rent[nodes], r)
    size = np.einsum("nkbg,nbg->nk", np.abs(program.side_rent[nodes]), r)
    flat = x.reshape(len(nodes), -1)
    template = program.template_of_node[nodes]
    for c in np.unique(template):
        at = template == c
        rows = program.side_pair[c].reshape(program.sides, -1).T
        value[at] += flat[at] @ rows
        size[at] += flat[at] @ np.abs(rows)
    return value, size


def hold_sides(state: Recourse, most: Array) -> None:
    """Make every side row hold with the slack it may take; most [N,K] is the right-hand side."""
    p = state.program
    nodes = np.arange(p.nodes)
    for turn in range(ROUNDS + 1):
        if not len(nodes):
            return
        room = _side_room(p)[nodes]
        value, size = side_values(p, state.x[nodes], state.r[nodes], nodes)
        over = value - most[nodes] - room
        wrong = over > AIM * (size + np.abs(most[nodes]))
        bad = wrong.any(axis=1)
        nodes, over, wrong = nodes[bad], np.where(wrong, over, 0.0)[bad], wrong[bad]
        if not len(nodes):
            return
        if turn < ROUNDS:
            _scale_down_sides(state, nodes, over)
            continue
        value, _ = side_values(p, state.x[nodes], state.r[nodes], nodes)
        allowed = np.maximum(most[nodes] + _side_room(p)[nodes], 0.0)
        keep = np.where(wrong, allowed / np.where(wrong, value, 1.0), 1.0).min(axis=1) * (1 - 1e-13)
        state.shrink(nodes, keep)


def _scale_down_sides(state: Recourse, nodes: Array, over: Array) -> None:
    """Scale down the placements and rent that enter the violated side rows with a positive sign, by as much as the rows are over."""
    p = state.program
    template = p.template_of_node[nodes]
    for k in range(p.sides):
        at = np.nonzero(over[:, k] > 0)[0]
        if not len(at):
            continue
        some = nodes[at]
        pairs, rents = p.side_pair[template[at], k], p.side_rent[some, k]
        total = (np.maximum(pairs, 0) * state.x[some]).sum(axis=(1, 2)) + (np.maximum(rents, 0) * state.r[some]).sum(axis=(1, 2))
        keep = np.clip(1 - over[at, k] * (1 + 1e-12) / np.where(total > 0, total, 1.0), 0.0, 1.0)[:, None, None]
        state.x[some] = np.where(pairs > 0, state.x[some] * keep, state.x[some])
        state.rent_room[some] = np.where(rents > 0, np.minimum(state.rent_room[some], state.r[some] * keep), state.rent_room[some])
    state.follow(nodes)


def hold_links(state: Recourse, z: Array) -> Array:
    """Make every linking row hold and return its slack [R]."""
    p = state.program
    tried = 0
    while True:
        parts, sizes = link_parts(p, state.x, state.u, state.ud, state.r)
        fixed = link_operator(p) @ z
        value = fixed + np.asarray(parts.sum(axis=1)).ravel()
        size = abs(link_operator(p)) @ np.abs(z) + sizes
        over, under, slack = link_excess(p, value, size)
        wrong = (over > 0) | (under > 0)
        if not wrong.any():
            return slack
        if tried < ROUNDS:
            _shrink_links(state, parts, wrong, np.maximum(over, under))
        else:
            touched = np.unique(parts[wrong].tocoo().col)
            nothing = len(touched) == 0 or not state.x[touched].any() and not state.r[touched].any()
            if nothing:
                return slack
            state.shrink(touched, np.zeros(len(touched)))
        tried += 1


def link_excess(p: Program, value: Array, size: Array) -> tuple[Array, Array, Array]:
    """(what is over, what is under beyond slack and tolerance, slack) of linking rows with the given values, each [R]."""
    room = np.where(np.isfinite(p.link_slack_cost), p.link_slack_upper, 0.0)
    above, below = np.maximum(value - p.link_upper, 0.0), np.maximum(p.link_lower - value, 0.0)
    slack = np.minimum(np.where(p.link_slack_sign > 0, below, above), room)
    above, below = np.where(p.link_slack_sign > 0, above, above - slack), np.where(p.link_slack_sign > 0, below - slack, below)
    allowed = AIM * (size + np.minimum(_zero_if_infinite(p.link_lower), _zero_if_infinite(p.link_upper)))
    return np.where(above > allowed, above, 0.0), np.where(below > allowed, below, 0.0), slack


def _zero_if_infinite(values: Array) -> Array:
    return np.where(np.isfinite(values), np.abs(values), 0.0)


def link_parts(p: Program, x: Array, u: Array, ud: Array, r: Array) -> tuple[sparse.csr_matrix, Array]:
    """(value of each linking row's recourse by node [R,N], sum of absolute terms [R])."""
    rows, nodes, values = [], [], []
    for term, at in ((p.link_placement, x), (p.link_unserved, u), (p.link_deferred, ud), (p.link_rent, r)):
        rows.append(term.index[0])
        nodes.append(term.index[1])
        values.append(term.value * at[term.index[1:]])
    row, value = np.concatenate(rows), np.concatenate(values)
    parts = sparse.csr_matrix((value, (row, np.concatenate(nodes))), shape=(p.links, p.nodes))
    return parts, np.bincount(row, np.abs(value), minlength=p.links)


def _shrink_links(state: Recourse, parts: sparse.csr_matrix, wrong: Array, amount: Array) -> None:
    """Blend the nodes of violated rows towards serving nothing, by the share each row asks for."""
    p = state.program
    zero = Sparse.empty(4)
    del zero
    idle_u, idle_ud = p.demand, p.demand_deferrable
    idle, _ = link_parts(p, np.zeros_like(state.x), idle_u, idle_ud, np.zeros_like(state.r))
    gain = np.abs(np.asarray((parts - idle).sum(axis=1)).ravel())
    share = np.where(wrong, np.clip(amount / np.where(gain > 0, gain, 1.0), 0.0, 1.0) * (1 + 1e-9), 0.0)
    touched = parts.tocoo()
    most = np.zeros(p.nodes)
    np.maximum.at(most, touched.col, share[touched.row])
    nodes = np.nonzero(most > 0)[0]
    state.shrink(nodes, np.maximum(1 - most[nodes], 0.0))
