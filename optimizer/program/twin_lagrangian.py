"""The Lagrangian of a program with every multiplier stated, in jnp: for derivatives of points that are no optimum, such as a barrier's.

`optimizer.program.lagrangian` reads the multipliers of demand rows and bounds off an optimal pair. On the way there they are numbers of
their own, and

    L = cost(v) + sum over rows of y * (right-hand side - row(v)) - sum over upper bounds of price * (bound - value's room)

is linear in the program's arrays, in v, and in the multipliers. Its mixed derivatives are all that implicit differentiation needs.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.ops import segment_sum

from optimizer.program.twin_bound import Arrays, placement_box, row_sums


def lagrangian_jnp(a: Arrays, v: Arrays, y: Arrays, price: Arrays) -> Any:
    """`a` = twin.arrays(program), and base, bool[Z]: acquisitions counted from their upper bound, because a limit holds them there.

    v       values as in Plan; z [Z] is what is signed above acquisition_lower (or base)
    y       demand [N,B,served], deferrable [N,deferrable], and `Multipliers`; any signs
    price   of upper bounds, >= 0: z [Z], x [N,B,P], r [N,B,G], side_slack [N,K], link_slack [R], and of the widths of rows that are bounded
            on both sides: limit [L], link [R]. Entries of infinite bounds are not read.
    """
    c, weight, pools = a["template_of_node"], a["node_weight"], a["availability"].shape[1]
    z = jnp.where(a["base"], a["acquisition_upper"], a["acquisition_lower"]) + v["z"]
    hours = a["block_hours"][c]
    per_node = (a["placement_cost"][c] * v["x"]).sum((1, 2)) + (a["unserved_cost"][c] * v["u"]).sum((1, 2))
    per_node += (a["unserved_cost_deferrable"][c] * v["ud"]).sum(1) + (a["rent_cost"] * v["r"]).sum((1, 2))
    per_node += (_finite(a["side_slack_cost"]) * v["side_slack"]).sum(1)
    total = a["constant"] + a["acquisition_cost"] @ z + weight @ per_node + _finite(a["link_slack_cost"]) @ v["link_slack"]

    served, deferrable = a["demand"].shape[2], a["demand_deferrable"].shape[1]
    placed = _by_stream(a, v["x"])
    total += (y["demand"] * (a["demand"] - placed[..., :served] - v["u"])).sum()
    late = (placed[..., served : served + deferrable] * hours[:, :, None]).sum(1)
    total += (y["deferrable"] * (a["demand_deferrable"] - late - v["ud"])).sum()

    state, output, column = a["held_matrix"]["index"]
    held = a["held_base"].at[state, output].add(a["held_matrix"]["value"] * z[column])[a["state_of_node"]]
    load = jnp.zeros(v["r"].shape).at[..., a["pair_pool"]].add(v["x"] * a["pair_capacity"][c][:, None, :])
    total += (y["capacity"] * ((a["availability"] * held[:, :pools])[:, None, :] - load + v["r"])).sum()
    side = held[:, pools:] - jnp.einsum("nkbp,nbp->nk", a["side_pair"][c], v["x"]) - jnp.einsum("nkbg,nbg->nk", a["side_rent"], v["r"])
    total += (y["side"] * (side + v["side_slack"])).sum()

    total += y["limit"] @ (_stated(a["limit_lower"], a["limit_upper"]) - row_sums(a["limit_matrix"], z, len(a["limit_lower"])))
    row = row_sums(a["link_acquisition"], z, len(a["link_lower"]))
    for name, values in (("placement", v["x"]), ("unserved", v["u"]), ("deferred", v["ud"]), ("rent", v["r"])):
        row += row_sums(a[f"link_{name}"], values, len(a["link_lower"]))
    total += y["link"] @ (_stated(a["link_lower"], a["link_upper"]) - row - a["link_slack_sign"] * v["link_slack"])

    for bound, values in (
        (a["acquisition_upper"] - a["acquisition_lower"], price["z"]), (a["placement_upper"][c], price["x"]), (_rent_upper(a), price["r"]),
        (a["side_slack_upper"], price["side_slack"]), (a["link_slack_upper"], price["link_slack"]),
        (a["limit_upper"] - a["limit_lower"], price["limit"]), (a["link_upper"] - a["link_lower"], price["link"]),
    ):  # fmt: skip
        total -= (_finite(bound) * values).sum()
    return total


def _finite(values: Any) -> Any:
    return jnp.where(jnp.isfinite(values), values, 0.0)


def _stated(lower: Any, upper: Any) -> Any:
    """The bound of a row that the solver counts from."""
    return jnp.where(jnp.isfinite(upper), upper, _finite(lower))


def _by_stream(a: Arrays, x: Any) -> Any:
    """[N,B,P] -> [N,B,W]."""
    return jnp.moveaxis(segment_sum(jnp.moveaxis(x, -1, 0), a["pair_stream"], len(a["pair_columns"])), 0, -1)


def _rent_upper(a: Arrays) -> Any:
    """Where rent has no upper bound of its own: what all work that may run there could use."""
    most = placement_box(a) * a["pair_capacity"][a["template_of_node"]][:, None, :]
    most = jnp.where(jnp.isfinite(most), most, 0.0)
    return jnp.where(jnp.isinf(a["rent_upper"]), jnp.zeros(a["rent_upper"].shape).at[..., a["pair_pool"]].add(most), a["rent_upper"])
