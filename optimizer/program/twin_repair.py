"""The repair in jnp: what needs no linear program. See `twin`.

Rows of missing work have the same places in every node, so a round of the refill is a gather, an argmin and two scatters over
[N, rows, places].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ops import segment_sum

from optimizer.program.twin_bound import Arrays, clipped, placement_box, reduced_costs, row_sums, sizes

ROUNDS = 8  # of each refill
TINY = 1e-14  # of demand: less than this is nothing
AIM = 1e-13  # of the sum of a limit's absolute terms: less than this needs no blending


@jax.jit
def repair_jnp(a: Arrays, plan: Arrays, multipliers: Arrays) -> Arrays:
    """A plan near the given one that holds bounds, demand and capacity rows; its other rows hold as `upper_bound_jnp` says."""
    m = clipped(a, multipliers)
    z = _acquisitions(a, plan["z"])
    holds = _held(a, z)[a["state_of_node"]]
    pools = a["availability"].shape[1]
    capacity = jnp.maximum(a["availability"] * holds[:, :pools], -a["rent_box"].min(1))
    x = _placements(a, plan["x"], capacity)
    x = _refill(a, reduced_costs(a, m), x, capacity)
    load = _load(a, x)
    wish = jnp.where(a["rent_counts"], jnp.nan_to_num(plan["r"], nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    r = jnp.clip(jnp.maximum(load - capacity[:, None, :], wish), 0.0, a["rent_box"])
    served, movable = _work(a, x)
    u, ud = jnp.clip(a["demand"] - served, 0.0, a["demand"]), jnp.clip(a["demand_deferrable"] - movable, 0.0, a["demand_deferrable"])
    out = {"z": z, "x": x, "u": u, "ud": ud, "r": r}
    side, _ = _side_values(a, x, r)
    room = jnp.where(jnp.isfinite(a["side_slack_cost"]), a["side_slack_upper"], 0.0)
    out["side_slack"] = jnp.clip(side - holds[:, pools:], 0.0, room)
    value, _ = _link_values(a, out)
    room = jnp.where(jnp.isfinite(a["link_slack_cost"]), a["link_slack_upper"], 0.0)
    lacks = jnp.where(a["link_slack_sign"] > 0, a["link_lower"] - value, value - a["link_upper"])
    return out | {"link_slack": jnp.clip(lacks, 0.0, room)}


@jax.jit
def upper_bound_jnp(a: Arrays, plan: Arrays, multipliers: Arrays) -> tuple[jax.Array, jax.Array]:
    """(cost of the repaired plan, its worst row relative to the row's absolute terms): an upper bound where the latter is <= 1e-12."""
    repaired = repair_jnp(a, plan, multipliers)
    return cost_jnp(a, repaired), violation_jnp(a, repaired)


def cost_jnp(a: Arrays, plan: Arrays) -> jax.Array:
    """`cost.cost(program, plan)["total"]`."""
    c = a["template_of_node"]
    per_node = (a["placement_cost"][c] * plan["x"]).sum((1, 2)) + (a["unserved_cost"][c] * plan["u"]).sum((1, 2))
    per_node += (a["unserved_cost_deferrable"][c] * plan["ud"]).sum(1) + (a["rent_cost"] * plan["r"]).sum((1, 2))
    per_node += (jnp.where(jnp.isfinite(a["side_slack_cost"]), a["side_slack_cost"], 0.0) * plan["side_slack"]).sum(1)
    link = (jnp.where(jnp.isfinite(a["link_slack_cost"]), a["link_slack_cost"], 0.0) * plan["link_slack"]).sum()
    return a["constant"] + a["acquisition_cost"] @ plan["z"] + a["node_weight"] @ per_node + link


def violation_jnp(a: Arrays, plan: Arrays) -> jax.Array:
    """The worst limit, capacity, side or linking row, relative to the sum of its absolute terms."""
    pools = a["availability"].shape[1]
    holds, size = _held(a, plan["z"]), _held(a, plan["z"], absolute=True)
    holds, size = holds[a["state_of_node"]], size[a["state_of_node"]]
    load = _load(a, plan["x"])
    worst = [
        _worst(
            load - plan["r"] - (a["availability"] * holds[:, :pools])[:, None],
            load + plan["r"] + (a["availability"] * size[:, :pools])[:, None],
        )
    ]
    value, terms = _side_values(a, plan["x"], plan["r"])
    worst.append(_worst(value - plan["side_slack"] - holds[:, pools:], terms + plan["side_slack"] + size[:, pools:]))
    value, terms = _limit_values(a, plan["z"])
    worst.append(_worst(jnp.maximum(value - a["limit_upper"], a["limit_lower"] - value), terms))
    value, terms = _link_values(a, plan)
    value, terms = value + a["link_slack_sign"] * plan["link_slack"], terms + plan["link_slack"]
    worst.append(_worst(jnp.maximum(value - a["link_upper"], a["link_lower"] - value), terms))
    return jnp.stack(worst).max()


def _worst(excess: jax.Array, size: jax.Array) -> jax.Array:
    share = jnp.where(excess > 0, excess / jnp.maximum(size, np.finfo(float).tiny), 0.0)
    return jnp.max(share, initial=0.0)


def _held(a: Arrays, z: jax.Array, absolute: bool = False) -> jax.Array:
    """What each state holds [Q, G+K], or the sum of absolute terms."""
    states, outputs = a["held_base"].shape
    state, output, column = a["held_matrix"]["index"]
    terms = a["held_matrix"]["value"] * z[column]
    base = jnp.abs(a["held_base"]) if absolute else a["held_base"]
    return base + segment_sum(jnp.abs(terms) if absolute else terms, state * outputs + output, states * outputs).reshape(states, outputs)


def _limit_values(a: Arrays, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(value, sum of absolute terms) of the limits."""
    rows, (row, column) = a["limit_lower"].shape[0], a["limit_matrix"]["index"]
    terms = a["limit_matrix"]["value"] * z[column]
    return segment_sum(terms, row, rows), segment_sum(jnp.abs(terms), row, rows) + _least_side(a["limit_lower"], a["limit_upper"])


def _least_side(lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.minimum(*(jnp.where(jnp.isfinite(side), jnp.abs(side), jnp.inf) for side in (lower, upper)))


def _acquisitions(a: Arrays, z: jax.Array) -> jax.Array:
    """Clipped to the box and blended towards the strictly feasible point as far as the worst inequality asks; equalities stay."""
    z = jnp.clip(jnp.where(jnp.isnan(z), a["acquisition_lower"], z), a["acquisition_lower"], a["acquisition_upper"])
    value, size = _limit_values(a, z)
    centre, _ = _limit_values(a, a["centre"])
    over = jnp.maximum(value - a["limit_upper"], a["limit_lower"] - value)
    over = jnp.where((over > AIM * size) & (a["limit_lower"] < a["limit_upper"]), over, 0.0)
    gain = jnp.abs(value - centre)
    share = jnp.where(over > 0, jnp.minimum(over / jnp.where(gain > 0, gain, over), 1.0), 0.0)
    share = jnp.minimum(jnp.max(share, initial=0.0) * (1 + 1e-14), 1.0)
    return z + share * (a["centre"] - z)


def _placements(a: Arrays, x: jax.Array, capacity: jax.Array) -> jax.Array:
    """Inside the box, within demand, within capacity and rent."""
    x = jnp.clip(jnp.where(jnp.isfinite(x), x, 0.0), 0.0, placement_box(a))
    served, movable = _work(a, x)
    idle = jnp.ones((*x.shape[:2], len(a["pair_columns"]) - served.shape[-1] - movable.shape[-1]))
    movable_share = jnp.broadcast_to(_share(a["demand_deferrable"], movable)[:, None, :], (*x.shape[:2], movable.shape[-1]))
    x = x * jnp.concatenate([_share(a["demand"], served), movable_share, idle], axis=-1)[..., a["pair_stream"]]
    return x * _share(capacity[:, None, :] + a["rent_box"], _load(a, x))[..., a["pair_pool"]]


def _share(room: jax.Array, used: jax.Array) -> jax.Array:
    """The factor, at most 1, that brings `used` down to `room`."""
    return jnp.where(used > room, room / jnp.where(used > room, used, 1.0), 1.0)


def _load(a: Arrays, x: jax.Array) -> jax.Array:
    """Capacity used, [N,B,G]."""
    use = x * a["pair_capacity"][a["template_of_node"]][:, None, :]
    return jnp.zeros(a["rent_box"].shape).at[..., a["pair_pool"]].add(use)


def _work(a: Arrays, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(placed work of served streams [N,B,served], of deferrable ones over all blocks [N,deferrable])."""
    _, served, deferrable, _ = sizes(a)
    placed = jnp.zeros((*x.shape[:2], len(a["pair_columns"]))).at[..., a["pair_stream"]].add(x)
    hours = a["block_hours"][a["template_of_node"]]
    return placed[..., :served], jnp.einsum("nbw,nb->nw", placed[..., served : served + deferrable], hours)


def _side_values(a: Arrays, x: jax.Array, r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(value, sum of absolute terms) of side rows without their slack, [N,K]."""
    pairs, rents = a["side_pair"][a["template_of_node"]], a["side_rent"]
    if not pairs.shape[1]:
        return jnp.zeros(pairs.shape[:2]), jnp.zeros(pairs.shape[:2])
    value = jnp.einsum("nkbp,nbp->nk", pairs, x) + jnp.einsum("nkbg,nbg->nk", rents, r)
    return value, jnp.einsum("nkbp,nbp->nk", jnp.abs(pairs), x) + jnp.einsum("nkbg,nbg->nk", jnp.abs(rents), r)


def _link_values(a: Arrays, plan: Arrays) -> tuple[jax.Array, jax.Array]:
    """(value, sum of absolute terms) of linking rows without their slack, [R]."""
    rows = a["link_lower"].shape[0]
    value, size = jnp.zeros(rows), _least_side(a["link_lower"], a["link_upper"])
    for field, name in (
        ("link_acquisition", "z"),
        ("link_placement", "x"),
        ("link_unserved", "u"),
        ("link_deferred", "ud"),
        ("link_rent", "r"),
    ):
        entries = a[field]
        value += row_sums(entries, plan[name], rows)
        size += row_sums({"index": entries["index"], "value": jnp.abs(entries["value"])}, jnp.abs(plan[name]), rows)
    return value, size


def _refill(a: Arrays, reduced: Arrays, x: jax.Array, capacity: jax.Array) -> jax.Array:
    """Place missing work, cheapest first, into spare held capacity and then into rent: served streams, then deferrable ones."""
    nodes, served, deferrable, _ = sizes(a)
    blocks, pairs = x.shape[1:]
    if not pairs:
        return x
    load = _load(a, x)
    owned = jnp.maximum(capacity[:, None, :] - load, 0.0)
    rent = jnp.maximum(a["rent_box"] - jnp.maximum(load - capacity[:, None, :], 0.0), 0.0)
    spare = jnp.concatenate([owned.reshape(nodes, -1), rent.reshape(nodes, -1)], axis=1)
    columns, exists = a["pair_columns"], a["pair_exists"]
    most = columns.shape[1]
    hours = a["block_hours"][a["template_of_node"]]
    flat, box = x.reshape(nodes, -1), placement_box(a).reshape(nodes, -1)
    if served:
        block = jnp.broadcast_to(jnp.repeat(jnp.arange(blocks), served)[:, None], (blocks * served, most))
        table = block, jnp.tile(columns[:served], (blocks, 1)), jnp.tile(exists[:served], (blocks, 1))
        missing = (a["demand"] - _work(a, x)[0]).reshape(nodes, -1)
        flat, spare = _place(
            a,
            reduced,
            flat,
            box,
            spare,
            table,
            jnp.ones((1, 1, 1)),
            missing,
            reduced["u"].reshape(nodes, -1),
            a["demand"].reshape(nodes, -1),
        )
    if deferrable:
        block = jnp.broadcast_to(jnp.repeat(jnp.arange(blocks), most)[None, :], (deferrable, blocks * most))
        at = slice(served, served + deferrable)
        table = block, jnp.tile(columns[at], (1, blocks)), jnp.tile(exists[at], (1, blocks))
        missing = a["demand_deferrable"] - _work(a, flat.reshape(x.shape))[1]
        flat, spare = _place(a, reduced, flat, box, spare, table, hours[:, block], missing, reduced["ud"], a["demand_deferrable"])
    return flat.reshape(x.shape)


def _place(
    a: Arrays,
    reduced: Arrays,
    x: jax.Array,
    box: jax.Array,
    spare: jax.Array,
    table: tuple[jax.Array, jax.Array, jax.Array],
    units: jax.Array,
    missing: jax.Array,
    worth: jax.Array,
    demand: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """`refill.place_work` with the same rows [R] and places [R,c] in every node; x, box [N,B*P], spare [N,2*B*G], missing, worth [N,R]."""
    nodes, pools, pairs = x.shape[0], a["availability"].shape[1], len(a["pair_pool"])
    block, pair, exists = table
    size = spare.shape[1] // 2
    entry, place = block * pairs + pair, block * pools + a["pair_pool"][pair]
    use = a["pair_capacity"][a["template_of_node"]][:, pair] / units
    units = jnp.broadcast_to(units, use.shape)
    rate = reduced["x"].reshape(nodes, -1)[:, entry] / units
    rented = rate + use * jnp.maximum(reduced["r"], 0.0).reshape(nodes, -1)[:, place]
    rate = jnp.where(exists & (rate < worth[..., None]), rate, jnp.inf)
    rented = jnp.where(exists & (rented < worth[..., None]), rented, jnp.inf)
    n = jnp.arange(nodes)[:, None]

    def turn(_: int, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, spare, missing = state
        open_room = box[:, entry] - x[:, entry] > 0
        owned = (spare[:, place] > 0) | (use == 0)
        asked = jnp.where(open_room, jnp.where(owned, rate, jnp.where(spare[:, place + size] > 0, rented, jnp.inf)), jnp.inf)
        best = asked.argmin(-1)[..., None]

        def pick(values: jax.Array) -> jax.Array:
            return jnp.take_along_axis(jnp.broadcast_to(values, asked.shape), best, -1)[..., 0]

        found = jnp.isfinite(pick(asked)) & (missing > TINY * demand)
        at, used, unit = pick(entry), pick(use), pick(units)
        key = jnp.where(pick(owned), pick(place), pick(place) + size)
        want = jnp.where(found, jnp.minimum(missing, jnp.maximum(box[n, at] - x[n, at], 0.0) * unit), 0.0)
        total = jnp.zeros_like(spare).at[n, key].add(want * used)
        short = total > spare
        give = want * jnp.where(short[n, key] & (used > 0), spare[n, key] / jnp.where(short[n, key], total[n, key], 1.0), 1.0)
        spare = jnp.where(short, 0.0, jnp.maximum(spare - jnp.zeros_like(spare).at[n, key].add(give * used), 0.0))
        return x.at[n, at].add(give / unit), spare, missing - give

    x, spare, _ = lax.fori_loop(0, ROUNDS, turn, (x, spare, missing))
    return jnp.minimum(x, box), spare
