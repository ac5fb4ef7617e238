"""The few nodes that hold most of what a plan costs above its bound, each solved exactly by HiGHS at the plan's acquisitions.

A node's share of the gap is its cost, with linking rows at their multipliers, minus the least value of its Lagrangian at what it holds. Where the
largest shares make up a good part of a sum that matters, those nodes are solved.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import linprog

from optimizer.program.bound import Folded
from optimizer.program.coupling import link_parts
from optimizer.program.cost import node_costs, slack_costs
from optimizer.program.layout import deferrable_sum, placement_box, served_sum
from optimizer.program.program import Array, Plan, Program
from optimizer.program.recourse import Recourse

NODES = 24  # solved at most,
COLUMNS = 20_000  # and with no more columns than this in all
MATTERS = 1e-10  # of the recourse's cost: a smaller gap is left alone
CONCENTRATED = 0.3  # the nodes solved must hold this share of the gap
REACH = 10.0  # times the tolerance: what is left then may still vanish with a better scale


def dear_nodes(folded: Folded, plan: Plan, least: Array, aim: tuple[float, float] | None) -> Array:
    """The nodes worth solving; least [N]: each node's Lagrangian value at what it holds; aim as in `repair`."""
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
        if total - aim[0] <= allowed or total - gain - aim[0] > REACH * allowed:
            return chosen[:0]
    return chosen[gap[chosen] > 1e-3 * gap[chosen].mean()]


def solve_nodes(state: Recourse, folded: Folded, nodes: Array, side_most: Array) -> None:
    """Replace the recourse of some nodes by the optimum of their own programs; side_most [N,K] is the right-hand side of side rows."""
    columns = _node_columns(state.program)
    for node in nodes.tolist():
        found = _solve(state, folded, columns, node, side_most[node])
        if found is not None:
            at = np.array([node])
            state.x[at], rent = found[0], found[1]
            state.rent_room[at] = folded.rent_box[at]
            state.rent_wish[at] = np.where(state.rent_counts[at], np.clip(rent, 0.0, folded.rent_box[at]), 0.0)
            _trim(state, at)
            state.follow(at)


def _trim(state: Recourse, nodes: Array) -> None:
    """Clip a solved node's placements to their boxes and to demand: HiGHS holds rows to 1e-10 only."""
    p, layout = state.program, state.layout
    x = np.clip(state.x[nodes], 0.0, placement_box(p, layout, nodes))
    for total, want, first, last, offset in (
        (served_sum(p, layout, x), p.demand[nodes], 0, layout.served_end, 0),
        (deferrable_sum(p, layout, x, p.block_hours[p.template_of_node[nodes]])[:, None], p.demand_deferrable[nodes][:, None], layout.served_end,
         layout.deferrable_end, p.served),
    ):  # fmt: skip
        share = np.where(total > want, want / np.where(total > want, total, 1.0), 1.0)
        x[..., first:last] *= np.take(share, p.pair_stream[first:last] - offset, axis=-1)
    state.x[nodes] = x


def _node_columns(p: Program) -> dict[str, Array]:
    """Column numbers of one node's program by variable."""
    out, count = {}, 0
    for name, shape in (("x", (p.blocks, p.pairs)), ("u", (p.blocks, p.served)), ("ud", (p.deferrable,)), ("r", (p.blocks, p.pools)), ("e", (p.sides,))):
        size = int(np.prod(shape))
        out[name] = count + np.arange(size).reshape(shape)
        count += size
    out["count"] = np.array(count)
    return out


def _solve(state: Recourse, folded: Folded, columns: dict[str, Array], node: int, side_most: Array) -> tuple[Array, Array] | None:
    """(x [1,B,P], r [1,B,G]) of the node's own program, linking rows at their multipliers; None where HiGHS gives no answer."""
    p, weight, c = state.program, state.program.node_weight[node], state.program.template_of_node[node]
    size = int(columns["count"])
    price, upper = np.zeros(size), np.zeros(size)
    at = np.array([node])
    charges = ((p.placement_cost[c], folded.x, "x"), (p.unserved_cost[c], folded.u, "u"), (p.unserved_cost_deferrable[c], folded.ud, "ud"),
               (p.rent_cost[node], folded.r, "r"))  # fmt: skip
    for values, links, name in charges:
        price[columns[name]] = weight * values - (0.0 if links is None else links[0][node])
    price[columns["e"]] = weight * np.where(np.isfinite(p.side_slack_cost[node]), p.side_slack_cost[node], 0.0)
    upper[columns["x"]] = placement_box(p, state.layout, at)[0]
    upper[columns["u"]], upper[columns["ud"]], upper[columns["r"]] = p.demand[node], p.demand_deferrable[node], folded.rent_box[node]
    upper[columns["e"]] = np.where(np.isfinite(p.side_slack_cost[node]), p.side_slack_upper[node], 0.0)
    blocks = np.arange(p.blocks)[:, None]
    served, last = state.layout.served_end, state.layout.deferrable_end
    use = np.broadcast_to(p.pair_capacity[c], (p.blocks, p.pairs))
    capacity = _matrix(p.blocks * p.pools, size, (blocks * p.pools + p.pair_pool, columns["x"], use),
                       (np.arange(p.blocks * p.pools), columns["r"].ravel(), -np.ones(p.blocks * p.pools)))  # fmt: skip
    demand = _matrix(p.blocks * p.served, size,
                     (blocks * p.served + p.pair_stream[:served], columns["x"][:, :served], np.ones((p.blocks, served))),
                     (np.arange(p.blocks * p.served), columns["u"].ravel(), np.ones(p.blocks * p.served)))  # fmt: skip
    hours = np.broadcast_to(p.block_hours[c][:, None], (p.blocks, last - served))
    row = np.broadcast_to(p.pair_stream[served:last] - p.served, hours.shape)
    movable = _matrix(p.deferrable, size, (row, columns["x"][:, served:last], hours), (np.arange(p.deferrable), columns["ud"], np.ones(p.deferrable)))
    side = [_matrix(1, size, (0 * columns["x"], columns["x"], p.side_pair[c, k]), (0 * columns["r"], columns["r"], p.side_rent[node, k]),
                    (np.zeros(1, int), columns["e"][[k]], -np.ones(1))) for k in range(p.sides)]  # fmt: skip
    equal = sparse.vstack([demand, movable]).tocsr()
    typical = np.median(np.abs(price[price != 0])) if price.any() else 1.0
    answer = linprog(
        price / typical,
        A_ub=sparse.vstack([capacity, *side]).tocsr(),
        b_ub=np.concatenate([np.tile(state.capacity[node], p.blocks), side_most]),
        A_eq=equal if equal.shape[0] else None,
        b_eq=np.concatenate([p.demand[node].ravel(), p.demand_deferrable[node]]) if equal.shape[0] else None,
        bounds=np.stack([np.zeros(size), upper], axis=1),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return None if answer.x is None else (answer.x[columns["x"]][None], answer.x[columns["r"]][None])


def _matrix(height: int, width: int, *parts: tuple[Array, Array, Array]) -> sparse.csr_matrix:
    row, column, value = (np.concatenate([np.ravel(p[i]) for p in parts]) for i in range(3))
    keep = value != 0
    return sparse.csr_matrix((value[keep], (row[keep], column[keep])), shape=(height, width))
