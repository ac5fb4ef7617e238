"""The few nodes that hold most of what a plan costs above its bound, solved exactly by HiGHS at the plan's acquisitions.

A node's share of the gap is its cost, with linking rows at their multipliers, minus the least value of its Lagrangian at what it holds.
Where the largest shares make up a good part of a sum that matters, those nodes are solved in one program with the linking rows between
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.program.cost import node_costs, slack_costs
from optimizer.program.coupling import link_parts, link_values, side_room
from optimizer.program.folded import Folded
from optimizer.program.layout import Layout, deferrable_sum, placement_box, served_sum
from optimizer.program.program import Array, Plan, Program
from optimizer.program.recourse import Recourse

if TYPE_CHECKING:
    import scipy.sparse as sparse

NODES = 24  # solved at most,
COLUMNS = 20_000  # and with no more columns than this in all
MATTERS = 1e-10  # of the recourse's cost: a smaller gap is left alone
CONCENTRATED = 0.3  # the nodes solved must hold this share of the gap
REACH = 10.0  # times the tolerance: what is left then may still vanish with a better scale


def dear_nodes(folded: Folded, plan: Plan, least: Array, aim: tuple[float, float] | None, reach: float = REACH) -> Array:
    """The nodes worth solving; least [N]: each node's Lagrangian value at what it holds; aim as in `repair`; reach: see REACH."""
    p = folded.program
    placement, unserved, rent = node_costs(p, plan.x, plan.u, plan.ud, plan.r)
    side, link = slack_costs(p, plan.side_slack, plan.link_slack)
    costs = placement + unserved + rent + side
    linked = np.zeros(p.nodes)
    if p.links:
        parts, _ = link_parts(p, plan.x, plan.u, plan.ud, plan.r)
        linked = parts.T @ folded.multipliers.link
    gap = np.maximum(costs - linked - least, 0.0)
    most = min(NODES, max(1, COLUMNS // max(1, p.blocks * (p.pairs + p.pools + p.served))))
    chosen = np.argsort(-gap, kind="stable")[:most]
    gain = gap[chosen].sum()
    if not gain > max(MATTERS * np.abs(costs).sum(), CONCENTRATED * gap.sum()):
        return chosen[:0]
    if aim is not None:
        penalties = unserved.sum() + side.sum() + link.sum()
        total = costs.sum() + link.sum() + float(p.acquisition_cost @ plan.z) + p.constant
        allowed = aim[1] * max(1.0, abs(total - penalties - p.constant))
        if total - aim[0] <= allowed or total - gain - aim[0] > reach * allowed:
            return chosen[:0]
    return chosen[gap[chosen] > 1e-3 * gap[chosen].mean()]


def solve_nodes(state: Recourse, folded: Folded, nodes: Array, z: Array, side_most: Array) -> None:
    """Replace the recourse of some nodes by its optimum, all else as it is; side_most [N,K]: the right-hand side of side rows."""
    answer = _solve(state, folded, nodes, z, side_most)
    if answer is None:
        return
    x, rent = answer
    p, box = state.program, folded.rent_box[nodes]
    state.x[nodes] = np.clip(x, 0.0, placement_box(p, state.layout, nodes))
    state.rent_room[nodes] = box
    state.rent_wish[nodes] = np.where(state.rent_counts[nodes], np.clip(rent, 0.0, box), 0.0)
    state.x[nodes] *= _within_demand(state, nodes)
    state.follow(nodes)


def _within_demand(state: Recourse, nodes: Array) -> Array:
    """Factors [n,B,P], at most 1, that bring placements down to demand: HiGHS holds rows to 1e-10 only."""
    p, layout, x = state.program, state.layout, state.x[nodes]
    hours = p.block_hours[p.template_of_node[nodes]]
    served, movable = served_sum(p, layout, x), deferrable_sum(p, layout, x, hours)
    idle = np.ones((*x.shape[:2], p.free))
    keep = [np.where(used > room, room / np.where(used > room, used, 1.0), 1.0) for room, used in
            ((p.demand[nodes], served), (p.demand_deferrable[nodes], movable))]  # fmt: skip
    wide = np.broadcast_to(keep[1][:, None, :], (*x.shape[:2], p.deferrable))
    return np.concatenate([keep[0], wide, idle], axis=-1)[..., p.pair_stream]


class _Columns:
    """Column numbers of the nodes' joint program: x, u, ud, r, e of every node, then the linking rows' slack."""

    def __init__(self, p: Program, nodes: Array) -> None:
        shapes = {"x": (p.blocks, p.pairs), "u": (p.blocks, p.served), "ud": (p.deferrable,), "r": (p.blocks, p.pools), "e": (p.sides,)}
        self.at: dict[str, Array] = {}
        width = 0
        size = sum(int(np.prod(s)) for s in shapes.values())
        for name, shape in shapes.items():
            count = int(np.prod(shape))
            self.at[name] = (np.arange(len(nodes)) * size)[:, None] + width + np.arange(count)
            self.at[name] = self.at[name].reshape(len(nodes), *shape)
            width += count
        self.link = len(nodes) * size + np.arange(p.links)
        self.count = len(nodes) * size + p.links


def _solve(state: Recourse, folded: Folded, nodes: Array, z: Array, side_most: Array) -> tuple[Array, Array] | None:
    """(x [n,B,P], r [n,B,G]) of the nodes' joint program; None where HiGHS gives no answer."""
    import scipy.sparse as sparse
    from scipy.optimize import linprog

    p, columns = state.program, _Columns(state.program, nodes)
    at, c = columns.at, p.template_of_node[nodes]
    weight = p.node_weight[nodes]
    price, upper = np.zeros(columns.count), np.zeros(columns.count)
    slack_price = np.where(np.isfinite(p.side_slack_cost), p.side_slack_cost, 0.0)[nodes]
    charges = {
        "x": p.placement_cost[c],
        "u": p.unserved_cost[c],
        "ud": p.unserved_cost_deferrable[c],
        "r": p.rent_cost[nodes],
        "e": slack_price,
    }
    tops = {"x": placement_box(p, state.layout, nodes), "u": p.demand[nodes], "ud": p.demand_deferrable[nodes], "r": folded.rent_box[nodes],
            "e": side_room(p)[nodes]}  # fmt: skip
    for name, values in charges.items():
        price[at[name]] = values * weight.reshape(-1, *[1] * (values.ndim - 1))
        upper[at[name]] = tops[name]
    priced = np.isfinite(p.link_slack_cost)
    price[columns.link], upper[columns.link] = np.where(priced, p.link_slack_cost, 0.0), np.where(priced, p.link_slack_upper, 0.0)
    most = [_capacity(p, nodes, columns), _sides(p, nodes, columns)]
    most_side = [np.repeat(state.capacity[nodes][:, None], p.blocks, axis=1).ravel(), side_most[nodes].ravel()]
    equal, equal_side = (
        [_demand(p, state.layout, nodes, columns)],
        [np.concatenate([p.demand[nodes].ravel(), p.demand_deferrable[nodes].ravel()])],
    )
    if p.links:
        rows, lower, top = _links(state, nodes, columns, z)
        same = lower == top
        equal, equal_side = [*equal, rows[same]], [*equal_side, top[same]]
        above, below = ~same & np.isfinite(top), ~same & np.isfinite(lower)
        most, most_side = [*most, rows[above], -rows[below]], [*most_side, top[above], -lower[below]]
    typical = np.median(np.abs(price[price != 0])) if price.any() else 1.0
    answer = linprog(
        price / typical,
        A_ub=sparse.vstack(most).tocsr(),
        b_ub=np.concatenate(most_side),
        A_eq=sparse.vstack(equal).tocsr(),
        b_eq=np.concatenate(equal_side),
        bounds=np.stack([np.zeros(columns.count), upper], axis=1),
        method="highs",
        # nothing here can be presolved away: with it HiGHS took the same steps and half as long again
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10, "presolve": p.links > 0},
    )
    return None if answer.x is None else (answer.x[at["x"]], answer.x[at["r"]])


def _capacity(p: Program, nodes: Array, columns: _Columns) -> sparse.csr_matrix:
    """Load minus rent of every pool, rows (node, block, pool)."""
    x, r = columns.at["x"], columns.at["r"]
    rows = np.arange(r.size).reshape(r.shape)
    use = np.broadcast_to(p.pair_capacity[p.template_of_node[nodes]][:, None, :], x.shape)
    return _matrix(r.size, columns.count, (rows[..., p.pair_pool], x, use), (rows, r, np.full(r.shape, -1.0)))


def _demand(p: Program, layout: Layout, nodes: Array, columns: _Columns) -> sparse.csr_matrix:
    """Demand rows (node, block, served), then deferrable rows (node, deferrable)."""
    x, u, ud = (columns.at[name] for name in ("x", "u", "ud"))
    served, last = layout.served_end, layout.deferrable_end
    rows = np.arange(u.size).reshape(u.shape)
    later = u.size + np.arange(ud.size).reshape(ud.shape)
    hours = np.broadcast_to(p.block_hours[p.template_of_node[nodes]][:, :, None], (*x.shape[:2], last - served))
    movable = np.broadcast_to(later[:, None, :][..., p.pair_stream[served:last] - p.served], hours.shape)
    return _matrix(
        u.size + ud.size,
        columns.count,
        (rows[..., p.pair_stream[:served]], x[..., :served], np.ones(x[..., :served].shape)),
        (movable, x[..., served:last], hours),
        (rows, u, np.ones(u.shape)),
        (later, ud, np.ones(ud.shape)),
    )


def _sides(p: Program, nodes: Array, columns: _Columns) -> sparse.csr_matrix:
    """Side rows (node, side)."""
    x, r, e = (columns.at[name] for name in ("x", "r", "e"))
    rows = np.arange(e.size).reshape(e.shape)
    pairs, rents = p.side_pair[p.template_of_node[nodes]], p.side_rent[nodes]
    wide = rows[:, :, None, None]
    return _matrix(
        e.size,
        columns.count,
        (np.broadcast_to(wide, pairs.shape), np.broadcast_to(x[:, None], pairs.shape), pairs),
        (np.broadcast_to(wide, rents.shape), np.broadcast_to(r[:, None], rents.shape), rents),
        (rows, e, np.full(e.shape, -1.0)),
    )


def _links(state: Recourse, nodes: Array, columns: _Columns, z: Array) -> tuple[sparse.csr_matrix, Array, Array]:
    """(matrix, lower, upper) of the linking rows over these nodes and the slack; the rest of the plan is on the right-hand side."""
    p = state.program
    value, _, parts = link_values(state, z)
    inside = np.isin(parts.column, nodes)
    fixed = value - np.bincount(parts.row[inside], parts.value[inside], p.links)
    position = np.full(p.nodes, -1)
    position[nodes] = np.arange(len(nodes))
    entries = []
    for term, name in ((p.link_placement, "x"), (p.link_unserved, "u"), (p.link_deferred, "ud"), (p.link_rent, "r")):
        here = position[term.index[1]]
        mine = here >= 0
        rest = tuple(i[mine] for i in term.index[2:])
        entries.append((term.index[0][mine], columns.at[name][(here[mine], *rest)], term.value[mine]))
    matrix = _matrix(p.links, columns.count, *entries, (np.arange(p.links), columns.link, p.link_slack_sign))
    return matrix, p.link_lower - fixed, p.link_upper - fixed


def _matrix(height: int, width: int, *parts: tuple[Array, Array, Array]) -> sparse.csr_matrix:
    import scipy.sparse as sparse

    row, column, value = (np.concatenate([np.ravel(p[i]) for p in parts]) for i in range(3))
    keep = value != 0
    return sparse.csr_matrix((value[keep], (row[keep], column[keep])), shape=(height, width))
