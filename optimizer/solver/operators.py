"""The constraint matrix as two functions, `apply` (A v) and `transpose` (A' y); it is never stored.

Functions that end in `_of_chunk` work on one chunk of nodes: they gather and reduce along the leading axes, so that every inner loop runs
over nodes. `outputs` and `outputs_transpose` are U and U'.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kernels.segments import segment_sum, taken
from optimizer.solver.structure import (
    Array,
    Both,
    Cells,
    Data,
    Part,
    Rest,
    Rows,
    Shape,
    joined,
    split_own,
    split_own_rows,
    split_rest,
    split_rows,
)
from optimizer.solver.sweeps import gathered, sweep


def outputs(shape: Shape, data: Data, z: Array) -> Array:
    """U z, [O]."""
    return sparse_product(data.u_value, data.u_col, data.u_row, z, shape.outputs)


def outputs_transpose(shape: Shape, data: Data, y: Array) -> Array:
    """U' y, [Z]."""
    return sparse_product(data.u_value, data.u_row, data.u_col, y, shape.acquisitions)


@partial(jax.jit, static_argnums=4)
def sparse_product(values: Array, of: Array, into: Array, vector: Array, count: int) -> Array:
    return segment_sum(values * taken(vector, of), into, count)


def split_outputs(shape: Shape, o: Array) -> tuple[Array, Array]:
    """[O] -> held [Q, G+K], limits and links [L + R]."""
    held = shape.states * (shape.pools + shape.sides)
    return o[:held].reshape(shape.states, shape.pools + shape.sides), o[held:]


def pair_coefficient(shape: Shape, data: Data, h: Array) -> Array:
    """[P, B, n]: coefficient of x in its demand row: 1 for served, hours for deferrable, 0 for free streams."""
    stream = data.pair_stream[:, None, None]
    served = (stream < shape.served).astype(h.dtype)
    if not shape.deferrable:
        return served
    deferrable = ((stream >= shape.served) & (stream < shape.served + shape.deferrable)).astype(h.dtype)
    return served + deferrable * h[None]


def held_of_chunk(shape: Shape, c: Cells, held: Array) -> Array:
    """[Q, G+K] -> [G+K, n]: what the nodes' states hold."""
    here = taken(held, c.state).T
    return jnp.repeat(here, shape.pack, axis=1) if shape.pack > 1 else here


def apply_of_chunk(shape: Shape, data: Data, c: Cells, v: Part, held: Array) -> tuple[Array, Array]:
    """(rows of the nodes [rows, n], what the slots of linking rows add [M, n]); held [Q, G+K] are the held outputs."""
    streams = shape.served + shape.deferrable
    kinds = split_rest(shape, v.rest)
    by_stream = segment_sum(v.x, data.pair_stream, streams + 1)
    demand = by_stream[: shape.served] + kinds.u
    deferred = (by_stream[shape.served : streams] * c.h[None]).sum(1) + kinds.ud
    held = held_of_chunk(shape, c, held)
    capacity = segment_sum(c.a[:, None, :] * v.x, data.pair_pool, shape.pools) - kinds.r + kinds.s
    capacity = capacity - (c.availability * held[: shape.pools])[:, None, :]
    side = kinds.t - kinds.e - held[shape.pools :]
    if shape.sides:
        side = side + (c.side_x * v.x).sum((1, 2)) + (c.side_r * kinds.r).sum((1, 2))
    rows = joined(Rows(demand, deferred, capacity, side), jnp) * c.terms.row_active
    if not shape.slots:
        return rows, jnp.zeros((0, rows.shape[-1]), rows.dtype)
    per_slot = (c.slot_x * v.x).sum((1, 2)) + (c.slot_r * kinds.r).sum((1, 2))
    return rows, per_slot + (c.slot_u * kinds.u).sum((1, 2)) + (c.slot_ud * kinds.ud).sum(1)


def transpose_of_chunk(shape: Shape, data: Data, c: Cells, y: Array, link: Array) -> Part:
    """A' y over the nodes' columns; y of active rows; link [R + 1]: prices of linking rows, 0 last."""
    rows = split_rows(shape, y)
    blocks, n = shape.blocks, y.shape[-1]
    prices = [rows.demand, rows.deferred[:, None, :] * c.h[None], jnp.zeros((1, blocks, n), y.dtype)]
    x = taken(jnp.concatenate(prices, axis=0), data.pair_stream) + c.a[:, None, :] * taken(rows.capacity, data.pair_pool)
    u, ud = rows.demand, rows.deferred
    r, s = -rows.capacity, rows.capacity
    if shape.sides:
        x = x + (c.side_x * rows.side[:, None, None, :]).sum(0)
        r = r + (c.side_r * rows.side[:, None, None, :]).sum(0)
    if shape.slots:
        price = taken(link, c.slot_link)  # [M, n]
        x = x + (c.slot_x * price[:, None, None, :]).sum(0)
        r = r + (c.slot_r * price[:, None, None, :]).sum(0)
        u = u + (c.slot_u * price[:, None, None, :]).sum(0)
        ud = ud + (c.slot_ud * price[:, None, :]).sum(0)
    return Part(x, joined(Rest(u, ud, r, s, rows.side, -rows.side), jnp))


def held_prices_of_chunk(shape: Shape, c: Cells, y: Array) -> Array:
    """[packs, G+K] the held part of R' y: minus the availability-weighted sums over the nodes of a pack."""
    rows = split_rows(shape, y)
    both = jnp.concatenate([c.availability * rows.capacity.sum(1), rows.side], axis=0)
    return -both.reshape(both.shape[0], shape.packs, shape.pack).sum(2).T


def slots_total(shape: Shape, c: Cells, per_slot: Array) -> Array:
    """[M, n] -> [R] by linking row."""
    return segment_sum(per_slot.reshape(-1), c.slot_link.reshape(-1), shape.links + 1)[: shape.links]


def with_none(link: Array) -> Array:
    """[R] -> [R + 1]: unused slots read a zero."""
    return jnp.concatenate([link, jnp.zeros(1, link.dtype)])


def active_own(shape: Shape, data: Data, own: Array) -> tuple[Array, Array]:
    """Own rows with nothing on inactive ones [L + R], and their linking rows [R + 1] as unused slots may read them."""
    own = own * data.own.row_active
    return own, with_none(split_own_rows(shape, own)[1])


def by_state(shape: Shape, data: Data, of_packs: Array) -> Array:
    """[C, packs, ...] -> [Q, ...] over all devices."""
    state, whole = gathered(shape, (data.cells.state, of_packs))
    return segment_sum(whole.reshape(-1, *whole.shape[2:]), state.reshape(-1), shape.states)


def row_outputs(shape: Shape, data: Data, held: Array, own: Array) -> Array:
    """R' y, [O]: what the rows see of the outputs; held [C, packs, G+K] from `held_prices_of_chunk`, own [L + R]."""
    return jnp.concatenate([by_state(shape, data, held).reshape(-1), own])


def apply_own(shape: Shape, data: Data, own: Array, o_own: Array, slots: Array) -> Array:
    """Own rows [L + R]; o_own their part of U z, slots [R] what the nodes add to linking rows."""
    kinds = split_own(shape, own)
    limit, link = split_own_rows(shape, o_own)
    rows = [limit + data.limit_sign * kinds.f, link + data.link_sign_l * kinds.l + data.link_sign_h * kinds.h + slots]
    return jnp.concatenate(rows) * data.own.row_active


def transpose_own(shape: Shape, data: Data, seen: Array) -> Array:
    """A' y over own columns; seen = R' y [O] of active rows."""
    limit, link = split_own_rows(shape, split_outputs(shape, seen)[1])
    return jnp.concatenate(
        [outputs_transpose(shape, data, seen), data.limit_sign * limit, data.link_sign_l * link, data.link_sign_h * link]
    )  # fmt: skip


def apply(shape: Shape, data: Data, v: Both) -> Both:
    """A v of Both(Part, own) -> Both(rows [C, rows, n], own rows)."""
    held, o_own = split_outputs(shape, outputs(shape, data, split_own(shape, v.own).z))

    def body(c: Cells, part: Part) -> tuple[Array, Array, None]:
        rows, slots = apply_of_chunk(shape, data, c, part, held)
        return rows, slots_total(shape, c, slots), None

    rows, slots, _ = sweep(shape, body, data.cells, v.cells)
    return Both(rows, apply_own(shape, data, v.own, o_own, slots))


def transpose(shape: Shape, data: Data, y: Both) -> Both:
    """A' y."""
    own, link = active_own(shape, data, y.own)

    def body(c: Cells, rows: Array) -> tuple[Any, None, None]:
        rows = rows * c.terms.row_active
        return (transpose_of_chunk(shape, data, c, rows, link), held_prices_of_chunk(shape, c, rows)), None, None

    (columns, held), _, _ = sweep(shape, body, data.cells, y.cells)
    return Both(columns, transpose_own(shape, data, row_outputs(shape, data, held, own)))


def dot_of_chunk(a: Any, b: Any) -> Array:
    """Inner product over all arrays of two trees."""
    return sum(jnp.sum(p * q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
