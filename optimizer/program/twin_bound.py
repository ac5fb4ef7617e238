"""The bound in jnp: the formulas of `bound`, on the pytree that `arrays` makes of a program. See `twin`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ops import segment_sum

from optimizer.program.layout import Layout, limit_operator, rent_box, stream_columns
from optimizer.program.program import Multipliers, Plan, Program, Sparse, array_fields
from optimizer.program.project import acquisitions_inside, strict_centre

LARGEST = 1e60  # as in bound

Arrays = dict[str, Any]


def arrays(program: Program) -> Arrays:
    """The program as a pytree of jnp arrays under its own field names, with the index tables that numpy derives from them."""
    p, layout = program, Layout.of(program)
    out: Arrays = {}
    for name in array_fields():
        value = getattr(p, name)
        if isinstance(value, Sparse):
            out[name] = {"index": tuple(jnp.asarray(i) for i in value.index), "value": jnp.asarray(value.value)}
        else:
            out[name] = jnp.asarray(value)
    columns, exists = stream_columns(p)
    boxed = np.isfinite(p.placement_upper[..., : layout.deferrable_end]).any(axis=(0, 1))
    boxed_streams = np.unique(p.pair_stream[: layout.deferrable_end][boxed])
    centre = strict_centre(p, limit_operator(p)) if p.limits else None
    if centre is None:
        centre = acquisitions_inside(p, (p.acquisition_lower + p.acquisition_upper) / 2)
    tables = {
        "pair_columns": columns,
        "pair_exists": exists,
        "boxed_served": boxed_streams[boxed_streams < p.served],
        "boxed_deferrable": boxed_streams[boxed_streams >= p.served] - p.served,
        "free_pairs": np.arange(layout.deferrable_end, p.pairs),
        "rent_box": rent_box(p, layout),
        "centre": p.acquisition_lower if centre is None else centre,
        "rent_counts": _rent_counts(p),
    }
    return out | {name: jnp.asarray(value) for name, value in tables.items()}


def _rent_counts(p: Program) -> np.ndarray:
    """bool[N,B,G]: rent that a side or linking row counts."""
    counts = (p.side_rent != 0).any(axis=1)
    counts[p.link_rent.index[1:]] = True
    return counts


def multiplier_arrays(multipliers: Multipliers) -> Arrays:
    """Multipliers as a pytree."""
    return {"capacity": multipliers.capacity, "side": multipliers.side, "limit": multipliers.limit, "link": multipliers.link}


def plan_arrays(plan: Plan) -> Arrays:
    """A plan as a pytree."""
    return {name: getattr(plan, name) for name in ("z", "x", "u", "ud", "r", "side_slack", "link_slack")}


def sizes(a: Arrays) -> tuple[int, int, int, int]:
    """(nodes, served, deferrable, pools)."""
    return a["demand"].shape[0], a["demand"].shape[2], a["demand_deferrable"].shape[1], a["availability"].shape[1]


def row_sums(entries: Arrays, at: jax.Array, rows: int) -> jax.Array:
    """sum of value * at[...] over the coordinates of each row."""
    return segment_sum(entries["value"] * at[entries["index"][1:]], entries["index"][0], rows)


def clipped(a: Arrays, m: Arrays) -> Arrays:
    """`bound.clip_multipliers`."""

    def finite(v: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(v) <= LARGEST, v, 0.0)

    def one_sided(v: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        v = finite(v)
        return jnp.where(((v > 0) & ~jnp.isfinite(lower)) | ((v < 0) & ~jnp.isfinite(upper)), 0.0, v)

    open_slack = jnp.isfinite(a["side_slack_cost"]) & ~jnp.isfinite(a["side_slack_upper"])
    least = -a["node_weight"][:, None] * jnp.where(open_slack, a["side_slack_cost"] * (1 - 4 * np.finfo(float).eps), jnp.inf)
    return {
        "capacity": jnp.minimum(finite(m["capacity"]), 0.0),
        "side": jnp.maximum(jnp.minimum(finite(m["side"]), 0.0), least),
        "limit": one_sided(m["limit"], a["limit_lower"], a["limit_upper"]),
        "link": one_sided(m["link"], a["link_lower"], a["link_upper"]),
    }


def reduced_costs(a: Arrays, m: Arrays) -> Arrays:
    """Reduced costs of x, u, ud, r; shapes as the columns."""
    c, weight = a["template_of_node"], a["node_weight"]
    wide = weight[:, None, None]
    x = wide * a["placement_cost"][c] - m["capacity"][:, :, a["pair_pool"]] * a["pair_capacity"][c][:, None, :]
    r = wide * a["rent_cost"] + m["capacity"]
    if m["side"].shape[1]:
        x = x - jnp.einsum("nk,nkbp->nbp", m["side"], a["side_pair"][c])
        r = r - jnp.einsum("nk,nkbg->nbg", m["side"], a["side_rent"])
    out = {"x": x, "u": wide * a["unserved_cost"][c], "ud": weight[:, None] * a["unserved_cost_deferrable"][c], "r": r}
    for name, field in (("x", "link_placement"), ("u", "link_unserved"), ("ud", "link_deferred"), ("r", "link_rent")):
        entries = a[field]
        if entries["value"].shape[0]:
            out[name] = out[name].at[entries["index"][1:]].add(-m["link"][entries["index"][0]] * entries["value"])
    return out


def _per_stream(a: Arrays, values: jax.Array) -> jax.Array:
    """[..., P] -> [..., W, most]: the values of every stream's pairs, infinite where there is none."""
    return jnp.where(a["pair_exists"], values[..., a["pair_columns"]], jnp.inf)


def placement_box(a: Arrays) -> jax.Array:
    """Upper bounds of x, [N,B,P]."""
    n, served, deferrable, _ = sizes(a)
    hours = a["block_hours"][a["template_of_node"]]
    free = jnp.full((n, hours.shape[1], len(a["pair_columns"]) - served - deferrable), jnp.inf)
    work = jnp.concatenate([a["demand"], a["demand_deferrable"][:, None, :] / hours[:, :, None], free], axis=-1)
    return jnp.minimum(a["placement_upper"][a["template_of_node"]], work[..., a["pair_stream"]])


def _boxed_row(rate: jax.Array, room: jax.Array, unserved: jax.Array, demand: jax.Array) -> jax.Array:
    """Least cost of demand rows [...] whose columns [..., m] take at most `room` work each."""
    rates = jnp.concatenate([rate, unserved[..., None]], axis=-1)
    rooms = jnp.concatenate([room, demand[..., None]], axis=-1)
    order = jnp.argsort(rates, axis=-1)
    filled = jnp.cumsum(jnp.take_along_axis(rooms, order, -1), -1) >= demand[..., None]
    marginal = jnp.where(filled.any(-1), filled.argmax(-1), rates.shape[-1] - 1)
    price = jnp.take_along_axis(jnp.take_along_axis(rates, order, -1), marginal[..., None], -1)
    gain = jnp.where(rooms > 0, jnp.minimum(rates - price, 0.0) * rooms, 0.0)
    return gain.sum(-1) + demand * price[..., 0]


def _box(reduced: jax.Array, upper: jax.Array) -> jax.Array:
    """Columns between 0 and upper that are in no demand row."""
    return jnp.where(reduced < 0, reduced * upper, 0.0).sum()


@jax.jit
def lower_bound_jnp(a: Arrays, multipliers: Arrays) -> jax.Array:
    """The formula of `bound.lower_bound` before its rounding term; a = arrays(program), multipliers = multiplier_arrays(...)."""
    _, served, deferrable, _ = sizes(a)
    m = clipped(a, multipliers)
    reduced = reduced_costs(a, m)
    hours = a["block_hours"][a["template_of_node"]]
    total = a["constant"] + _shared_terms(a, m)
    total += _box(reduced["r"], a["rent_box"])
    upper = a["placement_upper"][a["template_of_node"]]
    total += _box(reduced["x"][..., a["free_pairs"]], upper[..., a["free_pairs"]])
    if served:
        cheapest = jnp.minimum(reduced["u"], _per_stream(a, reduced["x"])[..., :served, :].min(-1))
        rows = a["demand"] * cheapest
        if a["boxed_served"].shape[0]:
            rows = rows.at[..., a["boxed_served"]].set(_boxed_served(a, reduced))
        total += rows.sum()
    if deferrable:
        rate = _per_stream(a, (reduced["x"] / hours[:, :, None]).min(axis=1))[:, served : served + deferrable].min(-1)
        rows = a["demand_deferrable"] * jnp.minimum(reduced["ud"], rate)
        if a["boxed_deferrable"].shape[0]:
            rows = rows.at[:, a["boxed_deferrable"]].set(_boxed_deferrable(a, reduced, hours))
        total += rows.sum()
    return total


def _boxed_served(a: Arrays, reduced: Arrays) -> jax.Array:
    at = a["boxed_served"]
    exists, columns = a["pair_exists"][at], a["pair_columns"][at]
    rate = jnp.where(exists, reduced["x"][..., columns], jnp.inf)
    room = jnp.where(exists, placement_box(a)[..., columns], 0.0)
    return _boxed_row(rate, room, reduced["u"][..., at], a["demand"][..., at])


def _boxed_deferrable(a: Arrays, reduced: Arrays, hours: jax.Array) -> jax.Array:
    at = a["boxed_deferrable"]
    exists, columns = (a[k][at + a["demand"].shape[2]] for k in ("pair_exists", "pair_columns"))
    wide = hours[:, :, None, None]
    rate = jnp.where(exists, reduced["x"][..., columns] / wide, jnp.inf)
    room = jnp.where(exists, placement_box(a)[..., columns] * wide, 0.0)
    rate, room = (jnp.moveaxis(v, 1, 2).reshape(v.shape[0], v.shape[2], -1) for v in (rate, room))
    return _boxed_row(rate, room, reduced["ud"][:, at], a["demand_deferrable"][:, at])


def _shared_terms(a: Arrays, m: Arrays) -> jax.Array:
    """Right-hand sides, acquisitions and slacks."""
    states = a["held_base"].shape[0]
    per_node = jnp.concatenate([a["availability"] * m["capacity"].sum(axis=1), m["side"]], axis=1)
    price = segment_sum(per_node, a["state_of_node"], states)
    total = (price * a["held_base"]).sum()
    for values, lower, upper in ((m["limit"], a["limit_lower"], a["limit_upper"]), (m["link"], a["link_lower"], a["link_upper"])):
        total += (values * jnp.where(values > 0, lower, jnp.where(values < 0, upper, 0.0))).sum()
    count = a["acquisition_cost"].shape[0]
    state, output, column = a["held_matrix"]["index"]
    reduced = a["acquisition_cost"] + segment_sum(price[state, output] * a["held_matrix"]["value"], column, count)
    for entries, values in ((a["limit_matrix"], m["limit"]), (a["link_acquisition"], m["link"])):
        reduced -= segment_sum(values[entries["index"][0]] * entries["value"], entries["index"][1], count)
    total += jnp.minimum(a["acquisition_lower"] * reduced, a["acquisition_upper"] * reduced).sum()
    priced = jnp.isfinite(a["side_slack_cost"])
    slack = jnp.where(priced, a["side_slack_cost"], 0.0) * a["node_weight"][:, None] + m["side"]
    total += _box(slack, jnp.where(priced & jnp.isfinite(a["side_slack_upper"]), a["side_slack_upper"], 0.0))
    priced = jnp.isfinite(a["link_slack_cost"])
    slack = jnp.where(priced, a["link_slack_cost"], 0.0) - m["link"] * a["link_slack_sign"]
    return total + _box(slack, jnp.where(priced, a["link_slack_upper"], 0.0))
