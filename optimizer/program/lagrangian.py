"""The derivative of the optimal cost with respect to every number of a program, read off a plan and multipliers.

With the multipliers of `bound` and lambda[n,b,w], mu (below) for demand rows and boxes, the Lagrangian

    L = cost(plan) + sum over rows of multiplier * (right-hand side - row(plan)) + sum over boxes of multiplier * (bound - value)

is stationary in the plan and in the multipliers at an optimal pair, so the derivative of the optimal cost with respect to an array is the
partial derivative of L with plan and multipliers held (envelope theorem; matrix entries: Freund 1985). That is exact where plan and prices
are unique; for right-hand sides and costs it is a sub- or supergradient everywhere (semantics: derivatives). L is linear in every array,
so the partial derivatives are the products written here.

    lambda   what a unit of demand costs: min(unserved, cheapest placement) of the reduced costs, or the price at which columns with upper
             bounds of their own fill the row
    mu       of an upper bound: the negative part of the reduced cost less what the demand row pays; of a lower bound: the positive part.
             Zero for the derived bound of an acquisition: a plan that sits on it is refused.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.folded import Folded, clip_multipliers
from optimizer.program.layout import held, held_operator, limit_operator, link_operator, node_chunks, placement_box
from optimizer.program.program import Array, Multipliers, Plan, Program

Gradient = dict[str, Array]
"""Derivatives under the program's own field names; of a sparse field, of its value vector."""


def lagrangian_gradient(program: Program, plan: Plan, multipliers: Multipliers) -> Gradient:
    """d cost / d array for every float array of the program, in money per unit of the entry; shapes as in `Program`.

    Entries that no row or cost reads (an infinite bound, the cost of a slack that does not exist) are zero. Raises ValueError where plan or
    multipliers do not fit the program.
    """
    folded = Folded(program, multipliers)
    out = _of_nodes(folded, plan)
    out |= _of_acquisitions(program, plan, folded.multipliers)
    out |= _of_links(program, plan, folded.multipliers)
    return out


def demand_prices(program: Program, multipliers: Multipliers) -> tuple[Array, Array]:
    """What one more unit of demand costs: (served [N,B,served], deferrable [N,deferrable]), money per unit."""
    folded = Folded(program, clip_multipliers(program, multipliers))
    served, deferrable = np.zeros(program.demand.shape), np.zeros(program.demand_deferrable.shape)
    for nodes in node_chunks(program):
        served[nodes], deferrable[nodes] = _row_prices(folded, nodes)
    return served, deferrable


# nodes ----------------------------------------------------------------------------------------------------------------------------
def _of_nodes(folded: Folded, plan: Plan) -> Gradient:
    """Of everything that belongs to recourse nodes."""
    p, m = folded.program, folded.multipliers
    template, weight = p.template_of_node, p.node_weight
    names = (
        "block_hours", "pair_capacity", "placement_cost", "placement_upper", "side_pair", "rent_upper", "demand", "demand_deferrable",
    )  # fmt: skip
    zero = {name: np.zeros(np.shape(getattr(p, name))) for name in names}
    placement = np.zeros(p.nodes)
    for nodes in node_chunks(p):
        at, x = template[nodes], plan.x[nodes]
        zero["demand"][nodes], zero["demand_deferrable"][nodes] = _row_prices(folded, nodes)
        row = _price_of_pairs(p, zero["demand"][nodes], zero["demand_deferrable"][nodes], at)
        reduced = folded.reduced(nodes)
        np.add.at(zero["placement_cost"], at, weight[nodes, None, None] * x)
        np.add.at(zero["pair_capacity"], at, -(np.take(m.capacity[nodes], p.pair_pool, axis=-1) * x).sum(axis=1))
        bounded = np.isfinite(p.placement_upper[at])
        np.add.at(zero["placement_upper"], at, np.where(bounded, np.minimum(reduced.x - row, 0.0), 0.0))
        for k in range(p.sides):
            np.add.at(zero["side_pair"][:, k], at, -m.side[nodes, k, None, None] * x)
        late = slice(folded.layout.served_end, folded.layout.deferrable_end)
        price = zero["demand_deferrable"][nodes][:, p.pair_stream[late] - p.served]
        np.add.at(zero["block_hours"], at, -np.einsum("np,nbp->nb", price, x[..., late]))
        bound = np.minimum(reduced.r, 0.0)
        zero["rent_upper"][nodes] = np.where(np.isfinite(p.rent_upper[nodes]), bound, 0.0)
        _through_open_rent(folded, nodes, np.where(np.isfinite(p.rent_upper[nodes]), 0.0, bound), zero)
        placement[nodes] = np.einsum("nbp,nbp->n", p.placement_cost[at], x)
    slack_cost = np.where(np.isfinite(p.side_slack_cost), p.side_slack_cost, 0.0)
    unserved = np.einsum("nbw,nbw->n", p.unserved_cost[template], plan.u)
    late = np.einsum("nw,nw->n", p.unserved_cost_deferrable[template], plan.ud)
    rent = np.einsum("nbg,nbg->n", p.rent_cost, plan.r)
    owed = m.capacity.sum(axis=1)  # [N, G]
    return zero | {
        "node_weight": placement + unserved + late + rent + (slack_cost * plan.side_slack).sum(axis=1),
        "unserved_cost": _by_template(p, weight[:, None, None] * plan.u),
        "unserved_cost_deferrable": _by_template(p, weight[:, None] * plan.ud),
        "rent_cost": weight[:, None, None] * plan.r,
        "availability": owed * held(p, plan.z)[p.state_of_node, : p.pools],
        "side_rent": -m.side[:, :, None, None] * plan.r[:, None],
        "side_slack_cost": np.where(np.isfinite(p.side_slack_cost), weight[:, None] * plan.side_slack, 0.0),
        "side_slack_upper": _slack_bound(p.side_slack_cost, weight[:, None] * slack_cost + m.side, p.side_slack_upper),
    }


def _through_open_rent(folded: Folded, nodes: slice, bound: Array, out: Gradient) -> None:
    """Where rent has no upper bound of its own, it is what all work that may run there could use (`layout.rent_box`): where that binds,
    because a row rewards rent, the cost depends through it on demand, chips per unit of work and the bounds of placement."""
    p, layout = folded.program, folded.layout
    if not bound.any():
        return
    at = p.template_of_node[nodes]
    paid = np.take(bound, p.pair_pool, axis=-1)  # [n,B,P] per chip
    per_work = paid * p.pair_capacity[at][:, None, :]
    room, given, hours = placement_box(p, layout, nodes), p.placement_upper[at], p.block_hours[at]
    np.add.at(out["pair_capacity"], at, (paid * room).sum(axis=1))
    held_by_own = given <= room
    np.add.at(out["placement_upper"], at, np.where(held_by_own & np.isfinite(given), per_work, 0.0))
    by_demand = np.where(held_by_own, 0.0, per_work)
    for pair in range(layout.deferrable_end):
        w = p.pair_stream[pair]
        if w < p.served:
            out["demand"][nodes, :, w] += by_demand[..., pair]
        else:
            out["demand_deferrable"][nodes, w - p.served] += (by_demand[..., pair] / hours).sum(axis=1)
            np.add.at(out["block_hours"], at, -by_demand[..., pair] * room[..., pair] / hours)


def _row_prices(folded: Folded, nodes: slice) -> tuple[Array, Array]:
    """lambda of some consecutive nodes: [n,B,served], [n,deferrable]."""
    p, layout, reduced = folded.program, folded.layout, folded.reduced(nodes)
    at = p.template_of_node[nodes]
    served, last = layout.served_end, layout.deferrable_end
    own = p.placement_upper[at]
    price, late = reduced.u.copy(), reduced.ud.copy()
    for w in layout.streams_between(0, p.served)[0]:
        columns = np.nonzero(p.pair_stream[:served] == w)[0]
        price[..., w] = filled_price(reduced.x[..., columns], own[..., columns], reduced.u[..., w], p.demand[nodes][..., w])
    hours = p.block_hours[at][:, :, None]
    for w in layout.streams_between(p.served, p.served + p.deferrable)[0]:
        columns = served + np.nonzero(p.pair_stream[served:last] == w)[0]
        rate, room = reduced.x[..., columns] / hours, own[..., columns] * hours
        d = w - p.served
        flat = (len(rate), -1)
        late[:, d] = filled_price(rate.reshape(flat), room.reshape(flat), reduced.ud[:, d], p.demand_deferrable[nodes][:, d])
    return price, late


def filled_price(rate: Array, room: Array, unserved: Array, demand: Array) -> Array:
    """[...]: the rate at which the cheapest columns [..., c] and the unserved one fill a row of `demand` [...]."""
    rates = np.concatenate([rate, unserved[..., None]], axis=-1)
    if not np.isfinite(room).any():
        return rates.min(axis=-1)
    rooms = np.concatenate([np.minimum(room, demand[..., None]), demand[..., None]], axis=-1)
    order = np.argsort(rates, axis=-1, kind="stable")
    filled = np.cumsum(np.take_along_axis(rooms, order, -1), -1) >= demand[..., None]
    marginal = np.where(filled.any(-1), filled.argmax(-1), rates.shape[-1] - 1)[..., None]
    return np.take_along_axis(rates, np.take_along_axis(order, marginal, -1), -1)[..., 0]


def _price_of_pairs(p: Program, served: Array, deferrable: Array, template: Array) -> Array:
    """[n,B,P]: what the demand row of every placement pays for a unit of it."""
    n, blocks = len(template), p.blocks
    late = deferrable[:, None, :] * p.block_hours[template][:, :, None]
    none = np.zeros((n, blocks, p.free))
    return np.concatenate([served, late, none], axis=-1)[..., p.pair_stream]


def _by_template(p: Program, values: Array) -> Array:
    """[N, ...] -> [C, ...]."""
    out = np.zeros((p.templates, *values.shape[1:]))
    np.add.at(out, p.template_of_node, values)
    return out


def _slack_bound(cost: Array, reduced: Array, upper: Array) -> Array:
    return np.where(np.isfinite(cost) & np.isfinite(upper), np.minimum(reduced, 0.0), 0.0)


def reduced_acquisition_costs(p: Program, m: Multipliers) -> Array:
    """[Z]: what one more unit of an acquisition costs, less what the rows pay for it."""
    held_back = held_operator(p).T @ _held_prices(p, m).ravel()
    return p.acquisition_cost + held_back - limit_operator(p).T @ m.limit - link_operator(p).T @ m.link


def _held_prices(p: Program, m: Multipliers) -> Array:
    """[Q, G+K]: of what a state holds."""
    price = np.zeros(p.held_base.shape)
    np.add.at(price, p.state_of_node, np.concatenate([p.availability * m.capacity.sum(axis=1), m.side], axis=1))
    return price


# acquisitions and linking rows ------------------------------------------------------------------------------------------------------
def _of_acquisitions(p: Program, plan: Plan, m: Multipliers) -> Gradient:
    price, reduced = _held_prices(p, m), reduced_acquisition_costs(p, m)
    state, output, column = p.held_matrix.index
    row, at = p.limit_matrix.index
    return {
        "acquisition_cost": plan.z.copy(),
        "acquisition_lower": np.maximum(reduced, 0.0),
        "acquisition_upper": np.where(p.upper_is_derived, 0.0, np.minimum(reduced, 0.0)),
        "held_base": price,
        "held_matrix": price[state, output] * plan.z[column],
        "limit_matrix": -m.limit[row] * plan.z[at],
        "limit_lower": np.maximum(m.limit, 0.0),
        "limit_upper": np.minimum(m.limit, 0.0),
        "constant": np.asarray(1.0),
    }


def _of_links(p: Program, plan: Plan, m: Multipliers) -> Gradient:
    columns = {
        "link_acquisition": plan.z, "link_placement": plan.x, "link_unserved": plan.u, "link_deferred": plan.ud, "link_rent": plan.r,
    }  # fmt: skip
    out = {}
    for name, values in columns.items():
        row, *where = getattr(p, name).index
        out[name] = -m.link[row] * values[tuple(where)]
    priced = np.isfinite(p.link_slack_cost)
    reduced = np.where(priced, p.link_slack_cost, 0.0) - m.link * p.link_slack_sign
    return out | {
        "link_lower": np.maximum(m.link, 0.0),
        "link_upper": np.minimum(m.link, 0.0),
        "link_slack_cost": np.where(priced, plan.link_slack, 0.0),
        "link_slack_upper": _slack_bound(p.link_slack_cost, reduced, p.link_slack_upper),
        "link_slack_sign": m.link * plan.link_slack,
    }
