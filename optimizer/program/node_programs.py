"""The few nodes that hold most of what a plan costs above its bound, each solved exactly by HiGHS at the plan's acquisitions.

A node's share of the gap is its cost, with linking rows at their multipliers, minus the least value of its Lagrangian at what it holds. Where the
largest shares make up a good part of a sum that matters, those nodes are solved; the result stands only if the plan becomes cheaper.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import linprog

from optimizer.program.bound import Folded
from optimizer.program.coupling import link_parts
from optimizer.program.cost import node_costs, slack_costs
from optimizer.program.layout import deferrable_sum, placement_box, served_sum
from optimizer.program.program import Array, Program
from optimizer.program.recourse import Recourse

COLUMNS = 20_000  # of all node programs together
MATTERS = 1e-10  # of the recourse's cost: a smaller gap is left alone
CONCENTRATED = 0.3  # the nodes solved must hold this share of the gap


def improve_nodes(
    state: Recourse,
    folded: Folded,
    side_most: Array,
    least: Array,
    side_slack: Array,
    link_slack: Array,
    couple: Callable[[], tuple[Array, Array]],
) -> tuple[Array, Array]:
    """Solve the nodes with the largest gaps, in place; returns the slacks. least [N]: each node's Lagrangian value at what it holds;
    couple: makes side and linking rows hold again and returns the slacks."""
    p = state.program
    before, link_cost = _costs(state, side_slack, link_slack)
    link_value = np.zeros(p.nodes)
    if p.links:
        parts, _ = link_parts(p, state.x, state.u, state.ud, state.r)
        link_value = parts.T @ folded.multipliers.link
    gap = np.maximum(before - link_value - least, 0.0)
    most = max(1, COLUMNS // max(1, p.blocks * (p.pairs + p.pools + p.served)))
    chosen = np.argsort(-gap)[:most]
    if not gap[chosen].sum() > max(MATTERS * np.abs(before).sum(), CONCENTRATED * gap.sum()):
        return side_slack, link_slack
    chosen = chosen[gap[chosen] > 1e-3 * gap[chosen].mean()]
    everything = np.arange(p.nodes) if p.links else chosen
    kept = state.copy_nodes(everything)
    columns = _node_columns(p)
    for node in chosen.tolist():
        found = _solve(state, folded, columns, node, side_most[node])
        if found is not None:
            at = np.array([node])
            state.x[at], rent = found[0], found[1]
            state.rent_room[at] = folded.rent_box[at]
            state.rent_wish[at] = np.where(state.rent_counts[at], np.minimum(rent, folded.rent_box[at]), 0.0)
            _trim(state, at)
            state.follow(at)
    slacks = couple()
    after, after_link = _costs(state, *slacks)
    if after.sum() + after_link < before.sum() + link_cost:
        return slacks
    state.restore_nodes(everything, kept)
    return side_slack, link_slack


def _costs(state: Recourse, side_slack: Array, link_slack: Array) -> tuple[Array, float]:
    """(cost of every node with its side slack [N], cost of the linking rows' slack)."""
    side, link = slack_costs(state.program, side_slack, link_slack)
    return sum(node_costs(state.program, state.x, state.u, state.ud, state.r), side), float(link.sum())


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
