"""Side and linking rows of a repaired recourse.

A row that does not hold takes its priced slack first. What slack cannot take is met in a side row by scaling down the placements and the
rent that enter it with a positive sign; what is still left, and what a linking row lacks, by blending nodes towards serving nothing, which
every such row is known to allow.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.layout import link_operator
from optimizer.program.matrix import Matrix
from optimizer.program.program import Array, Program
from optimizer.program.recourse import Recourse

SCALINGS = 6
BLENDS = 4
AIM = 1e-13  # of the sum of a row's absolute terms


def side_room(program: Program) -> Array:
    """The most that the slack of a side row can take, [N,K]."""
    return np.where(np.isfinite(program.side_slack_cost), program.side_slack_upper, 0.0)


def side_values(program: Program, x: Array, r: Array, nodes: Array) -> tuple[Array, Array]:
    """(value, sum of absolute terms) of the side rows of some nodes without their slack, [n,K]; x, r are of these nodes."""
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
    room = side_room(p)
    for turn in range(SCALINGS + BLENDS):
        value, size = side_values(p, state.x[nodes], state.r[nodes], nodes)
        over = value - most[nodes] - room[nodes]
        wrong = over > AIM * (size + np.abs(most[nodes]))
        bad = wrong.any(axis=1)
        nodes, value, over, wrong = nodes[bad], value[bad], np.where(wrong, over, 0.0)[bad], wrong[bad]
        if not len(nodes):
            return
        if turn < SCALINGS:
            _scale_down(state, nodes, over)
        elif turn < SCALINGS + BLENDS - 1:
            allowed = np.maximum(most[nodes] + room[nodes], 0.0)
            state.shrink(nodes, np.where(wrong, allowed / np.where(wrong, value, 1.0), 1.0).min(axis=1) * (1 - 1e-15))
        else:
            state.shrink(nodes, np.zeros(len(nodes)))


def _scale_down(state: Recourse, nodes: Array, over: Array) -> None:
    """Scale down what enters the violated side rows with a positive sign, by as much as the rows are over."""
    p = state.program
    template = p.template_of_node[nodes]
    for k in range(p.sides):
        at = np.nonzero(over[:, k] > 0)[0]
        if not len(at):
            continue
        some = nodes[at]
        pairs, rents = p.side_pair[template[at], k], p.side_rent[some, k]
        total = (np.maximum(pairs, 0) * state.x[some]).sum(axis=(1, 2)) + (np.maximum(rents, 0) * state.r[some]).sum(axis=(1, 2))
        keep = np.clip(1 - over[at, k] / np.where(total > 0, total, 1.0), 0.0, 1.0)[:, None, None] * (1 - 1e-15)
        state.x[some] = np.where(pairs > 0, state.x[some] * keep, state.x[some])
        less = state.r[some] * keep
        state.rent_room[some] = np.where(rents > 0, np.minimum(state.rent_room[some], less), state.rent_room[some])
        state.rent_wish[some] = np.minimum(state.rent_wish[some], state.rent_room[some])
    state.follow(nodes)


def hold_links(state: Recourse, z: Array) -> None:
    """Make every linking row hold with the slack it may take."""
    p = state.program
    idle = link_parts(p, np.zeros_like(state.x), p.demand, p.demand_deferrable, np.zeros_like(state.r))[0].merged()
    for turn in range(SCALINGS + p.links + 1):
        value, size, parts = link_values(state, z)
        above, below, _ = link_excess(p, value, size)
        wrong = (above > 0) | (below > 0)
        if not wrong.any():
            return
        touched = _difference(parts.merged(), idle)
        if turn < SCALINGS:
            gain = np.abs(touched.sums_of_rows())
            share = np.where(wrong, np.clip((above + below) / np.where(gain > 0, gain, 1.0), 0.0, 1.0) * (1 + 1e-12), 0.0)
        else:
            share = np.where(wrong, 1.0, 0.0)
        lose = np.zeros(p.nodes)
        np.maximum.at(lose, touched.column, share[touched.row])
        nodes = np.nonzero(lose > 0)[0]
        state.shrink(nodes, np.maximum(1 - lose[nodes], 0.0))


def _difference(mine: Matrix, theirs: Matrix) -> Matrix:
    """Both merged, so that what is equal in the two leaves nothing."""
    row, column = np.concatenate([mine.row, theirs.row]), np.concatenate([mine.column, theirs.column])
    return Matrix(row, column, np.concatenate([mine.value, -theirs.value]), mine.shape).merged()


def link_values(state: Recourse, z: Array) -> tuple[Array, Array, Matrix]:
    """(value [R], sum of absolute terms [R], recourse part by node [R,N]) of the linking rows without their slack."""
    p, rows = state.program, link_operator(state.program)
    parts, size = link_parts(p, state.x, state.u, state.ud, state.r)
    return rows @ z + parts.sums_of_rows(), abs(rows) @ np.abs(z) + size, parts


def link_parts(p: Program, x: Array, u: Array, ud: Array, r: Array) -> tuple[Matrix, Array]:
    """(value of each linking row's recourse by node [R,N], sum of absolute terms [R])."""
    entries = (p.link_placement, x), (p.link_unserved, u), (p.link_deferred, ud), (p.link_rent, r)
    row = np.concatenate([term.index[0] for term, _ in entries])
    node = np.concatenate([term.index[1] for term, _ in entries])
    value = np.concatenate([term.value * at[term.index[1:]] for term, at in entries])
    return Matrix(row, node, value, (p.links, p.nodes)), np.bincount(row, np.abs(value), minlength=p.links)


def link_excess(p: Program, value: Array, size: Array) -> tuple[Array, Array, Array]:
    """(above, below, slack) of linking rows, each [R]: what slack takes, and what is over or under beyond slack and tolerance."""
    room = np.where(np.isfinite(p.link_slack_cost), p.link_slack_upper, 0.0)
    above, below = np.maximum(value - p.link_upper, 0.0), np.maximum(p.link_lower - value, 0.0)
    up = p.link_slack_sign > 0
    slack = np.minimum(np.where(up, below, above), room)
    above, below = np.where(up, above, above - slack), np.where(up, below - slack, below)
    bounds = np.fmin(*(np.where(np.isfinite(b), np.abs(b), np.nan) for b in (p.link_lower, p.link_upper)))
    allowed = AIM * (size + np.nan_to_num(bounds))
    return np.where(above > allowed, above, 0.0), np.where(below > allowed, below, 0.0), slack
