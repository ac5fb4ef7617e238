"""The constraint matrix as two functions, `apply` (A v) and `transpose` (A' y); it is never stored.

Both gather and reduce along the leading axes, so that every inner loop runs over nodes. `outputs` and `outputs_transpose` are U and U'.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from kernels.segments import segment_sum
from optimizer.solver.structure import Array, Columns, Data, Flat, Rows, Shape, flatten, unflatten, z_slice


def outputs(shape: Shape, data: Data, z: Array) -> Array:
    """U z, [O]."""
    return segment_sum(data.u_value * z[data.u_col], data.u_row, shape.outputs)


def outputs_transpose(shape: Shape, data: Data, y: Array) -> Array:
    """U' y, [Z]."""
    order = data.u_by_col
    return segment_sum((data.u_value * y[data.u_row])[order], data.u_col[order], shape.acquisitions)


def split_outputs(shape: Shape, o: Array) -> tuple[Array, Array, Array]:
    """[O] -> held [Q, G+K], limits [L], links [R]."""
    held = shape.states * (shape.pools + shape.sides)
    return (
        o[:held].reshape(shape.states, shape.pools + shape.sides),
        o[held : held + shape.limits],
        o[held + shape.limits :],
    )


def pair_coefficient(shape: Shape, data: Data) -> Array:
    """[P, B, N or 1]: coefficient of x in its demand row: 1 for served, hours for deferrable, 0 for free streams."""
    stream = data.pair_stream[:, None, None]
    served = (stream < shape.served).astype(data.a.dtype)
    deferrable = ((stream >= shape.served) & (stream < shape.served + shape.deferrable)).astype(data.a.dtype)
    return served + deferrable * data.h[None]


def apply(shape: Shape, data: Data, flat: Flat) -> Rows:
    """A v."""
    v = unflatten(shape, flat)
    streams = shape.served + shape.deferrable
    by_stream = segment_sum(v.x, data.pair_stream, streams + 1)
    demand = by_stream[: shape.served] + v.u
    deferred = (by_stream[shape.served : streams] * data.h[None]).sum(1) + v.ud
    o_held, o_limit, o_link = split_outputs(shape, outputs(shape, data, v.z))
    held = o_held[data.state_of_node].T  # [G+K, N]
    capacity = segment_sum(data.a[:, None, :] * v.x, data.pair_pool, shape.pools) - v.r + v.s
    capacity = capacity - (data.availability * held[: shape.pools])[:, None, :]
    side = v.t - v.e - held[shape.pools :]
    if shape.sides:
        side = side + (data.side_x * v.x).sum((1, 2)) + (data.side_r * v.r).sum((1, 2))
    limit = o_limit + data.limit_sign * v.f
    link = o_link + data.link_sign_l * v.l + data.link_sign_h * v.h
    if shape.slots:
        per_slot = (data.slot_x * v.x).sum((1, 2)) + (data.slot_r * v.r).sum((1, 2))
        per_slot = per_slot + (data.slot_u * v.u).sum((1, 2)) + (data.slot_ud * v.ud).sum(1)
        link = link + segment_sum(per_slot.reshape(-1), data.slot_link.reshape(-1), shape.links + 1)[: shape.links]
    rows = Rows(demand, deferred, capacity, side, limit, link)
    return jax.tree.map(jnp.multiply, rows, data.row_active)


def transpose(shape: Shape, data: Data, y: Rows) -> Flat:
    """A' y."""
    y = jax.tree.map(jnp.multiply, y, data.row_active)
    nodes = shape.nodes
    prices = jnp.concatenate([y.demand, y.deferred[:, None, :] * data.h[None], jnp.zeros((1, shape.blocks, nodes), data.a.dtype)], axis=0)
    x = prices[data.pair_stream] + data.a[:, None, :] * y.capacity[data.pair_pool]
    u, ud = y.demand, y.deferred
    r, s = -y.capacity, y.capacity
    if shape.sides:
        x = x + (data.side_x * y.side[:, None, None, :]).sum(0)
        r = r + (data.side_r * y.side[:, None, None, :]).sum(0)
    if shape.slots:
        price = jnp.concatenate([y.link, jnp.zeros(1, y.link.dtype)])[data.slot_link]  # [M, N]
        x = x + (data.slot_x * price[:, None, None, :]).sum(0)
        r = r + (data.slot_r * price[:, None, None, :]).sum(0)
        u = u + (data.slot_u * price[:, None, None, :]).sum(0)
        ud = ud + (data.slot_ud * price[:, None, :]).sum(0)
    z = outputs_transpose(shape, data, row_outputs(shape, data, y))
    limit, low, high = data.limit_sign * y.limit, data.link_sign_l * y.link, data.link_sign_h * y.link
    return flatten(Columns(x, u, ud, r, s, y.side, -y.side, z, limit, low, high), jnp)


def row_outputs(shape: Shape, data: Data, y: Rows) -> Array:
    """R' y, [O]: what the rows see of the outputs, transposed: minus the availability-weighted sums over the nodes of a state."""
    pools = (data.availability * y.capacity.sum(1)).T  # [N, G]
    held = -segment_sum(jnp.concatenate([pools, y.side.T], axis=1), data.state_of_node, shape.states)
    return jnp.concatenate([held.reshape(-1), y.limit, y.link])


def output_rows(shape: Shape, data: Data, o: Array) -> Rows:
    """R o: an output vector as a right-hand side over the rows."""
    held, limit, link = split_outputs(shape, o)
    at_node = held[data.state_of_node].T
    capacity = jnp.broadcast_to(-(data.availability * at_node[: shape.pools])[:, None, :], (shape.pools, shape.blocks, shape.nodes))
    return Rows(
        jnp.zeros((shape.served, shape.blocks, shape.nodes), o.dtype),
        jnp.zeros((shape.deferrable, shape.nodes), o.dtype),
        capacity,
        -at_node[shape.pools :] * data.row_active.side,
        limit,
        link,
    )


def system(shape: Shape, data: Data, theta: Flat, y: Rows, z: Array) -> tuple[Rows, Array]:
    """(N0' y + A_z z, A_z' y - Theta_z^-1 z): see `factor.solve`. Inactive rows carry the identity."""
    prices = transpose(shape, data, y)
    product = apply(shape, data, with_z(shape, jax.tree.map(jnp.multiply, theta, prices), z))
    rows = jax.tree.map(lambda p, active, v: p + (1.0 - active) * v, product, data.row_active, y)
    theta_z = z_of(shape, theta)
    own = data.z_active * (z_of(shape, prices) - z / jnp.where(theta_z > 0, theta_z, 1.0))
    return rows, own


def z_of(shape: Shape, flat: Flat) -> Array:
    """[Z] the acquisitions' part."""
    return flat.rest[z_slice(shape)]


def with_z(shape: Shape, flat: Flat, z: Array) -> Flat:
    """The same with another part for the acquisitions."""
    return flat._replace(rest=flat.rest.at[z_slice(shape)].set(z))


def dot(a: Rows | Flat, b: Rows | Flat) -> Array:
    """Inner product over all leaves."""
    return sum(jnp.vdot(p, q) for p, q in zip(a, b, strict=True))
