"""Solve with the factor as a preconditioner, judged by true residuals: flexible GMRES on the system of rows and acquisitions.

Near the end pivots of single cells fall below the rounding of the factor, and the factor is wrong in a few directions. Plain iterative
refinement stagnates there (the flagship case lost a dozen iterations at a gap of 1e-5); a Krylov method needs one more round for each.
The vectors are rows, a tenth of the placement arrays. Where the first solve is good enough, which is most of the time, none is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizer.solver.normal import product
from optimizer.solver.structure import Array, Both, Data, NodeRows, Shape, node_first, node_last
from optimizer.solver.substitution import Factor, solve
from optimizer.solver.sweeps import agreed, inner

ROUNDS = 14
LEAST_GAIN = 0.9  # a round with less is slow; PATIENCE slow rounds in a row end the refinement
PATIENCE = 4


class Vector(NamedTuple):
    """Rows of nodes, end to end with the node first; own rows and acquisitions end to end. Weighted by their tolerances where it is a
    residual."""

    cells: Array  # [C, n, rows]
    own: Array


class Solved(NamedTuple):
    """y and the acquisitions' z (see `substitution.solve`), the rounds beyond the plain solve, a bound on the rows' residual (2-norm)."""

    y: Both
    z: Array
    rounds: Array
    error: Array


class Weights(NamedTuple):
    """One over the tolerances."""

    row: Array
    z: Array


class Krylov(NamedTuple):
    """Room for the vectors of a refinement, [ROUNDS, ...] each. It is handed on from one to the next, because clearing it costs more than
    the plain solve."""

    basis: Vector
    tried: Vector


class Rounds(NamedTuple):
    """A refinement under way: `done` products with the factor, the first of which is the plain solve `x`."""

    done: Array
    x: Vector
    next: Vector  # what the factor is tried on, of norm one but for the first
    room: Krylov | None  # None within a round
    triangle: Array  # [ROUNDS, ROUNDS] of the least squares problem, a column of it in each row, by Givens rotations `turns` [ROUNDS, 2, 2]
    turns: Array
    rhs: Array  # [ROUNDS + 1]; the last that is set is the distance left
    left: Array
    plain: Array  # distance that the plain solve leaves
    slow: Array


def room_for(shape: Shape, data: Data) -> Krylov:
    """Zeros for one device's share of the chunks."""
    dtype = data.u_value.dtype
    cells = jnp.zeros((ROUNDS, data.cells.state.shape[0], shape.lanes, shape.rows), dtype)
    vector = Vector(cells, jnp.zeros((ROUNDS, shape.limits + shape.links + shape.acquisitions), dtype))
    return Krylov(vector, vector)


def end_to_end(rows: NodeRows) -> Array:
    """[C, n, rows]."""
    return jnp.concatenate([a.reshape(*a.shape[:2], -1) for a in rows], axis=2)


def by_kind(shape: Shape, cells: Array) -> NodeRows:
    """And back."""
    one = shape.blocks * shape.served
    two = one + shape.blocks * shape.pools
    cell = (*cells.shape[:2], shape.blocks)
    return NodeRows(cells[..., :one].reshape(*cell, shape.served), cells[..., one:two].reshape(*cell, shape.pools), cells[..., two:])


def size_of(shape: Shape, a: Vector) -> Array:
    return jnp.sqrt(dot(shape, a, a))


@partial(jax.jit, static_argnums=0)
def dot(shape: Shape, a: Vector, b: Vector) -> Array:
    return agreed(shape, inner(shape, a.cells, b.cells) + a.own @ b.own)


def plus(a: Any, b: Any, factor: Any) -> Any:
    return jax.tree.map(lambda p, q: p + factor * q, a, b)


def at(tree: Any, i: Array) -> Any:
    """Entry i of every array; not negative, which would take four times the operations."""
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, 0, keepdims=False, allow_negative_indices=False), tree)


def put(tree: Any, i: Array, values: Any) -> Any:
    """`values` as entry i of every array."""
    return jax.tree.map(lambda a, v: jax.lax.dynamic_update_index_in_dim(a, v, i, 0, allow_negative_indices=False), tree, values)


def attempt(shape: Shape, data: Data, f: Factor, w: Weights, v: Vector) -> tuple[Vector, Vector]:
    """(x, A x) of weighted vectors: the factor's solution, times the weight of the rows, and the product with it."""
    rows, ratio = shape.limits + shape.links, w.z / w.row
    y, z = solve(shape, data, f, Both(by_kind(shape, v.cells), v.own[:rows]), v.own[rows:] / ratio)
    by, bz = product(shape, data, f, y, z)
    x = Vector(end_to_end(y.cells), jnp.concatenate([y.own, z]))
    return x, Vector(end_to_end(by.cells), jnp.concatenate([by.own, bz * ratio]))


def refine(
    shape: Shape, data: Data, f: Factor, rhs: Both, tolerance: Array | float, own_tolerance: Array | float, room: Krylov
) -> tuple[Solved, Krylov]:
    """(y, z) of the system of `substitution.solve` with rhs_z = 0: rows to `tolerance` relative to rhs ([C, rows, n], [L + R]), the
    acquisitions' equations to `own_tolerance` in units of a typical cost, where that is reached. (Saad 1993.)"""
    dtype = data.u_value.dtype
    active = jax.tree.map(jnp.multiply, rhs, Both(data.cells.terms.row_active, data.own.row_active))
    cells = end_to_end(jax.vmap(lambda a: node_first(shape, a))(active.cells))
    size = jnp.maximum(size_of(shape, Vector(cells, active.own)), jnp.finfo(dtype).tiny)
    w = Weights(1.0 / (tolerance * size), jnp.asarray(1.0 / own_tolerance, dtype))
    b = Vector(cells * w.row, jnp.concatenate([active.own * w.row, jnp.zeros(shape.acquisitions, dtype)]))

    def go_on(r: Rounds) -> Array:
        return (r.done == 0) | ((r.done <= ROUNDS) & (r.left > 1.0) & jnp.isfinite(r.left) & (r.slow < PATIENCE))

    def round_(r: Rounds) -> Rounds:
        x, result = attempt(shape, data, f, w, r.next)
        slot = jnp.maximum(r.done - 1, 0)  # of the plain solve nothing is kept: the next round overwrites it
        r = r._replace(room=put(r.room, slot, Krylov(r.next, x)))
        found = jax.lax.cond(r.done == 0, lambda: _plain(shape, r, x, result), lambda: _krylov(shape, r, result))
        return found._replace(room=r.room)

    none = jnp.zeros(ROUNDS + 1, dtype)
    triangle, turns = jnp.eye(ROUNDS, dtype=dtype), jnp.zeros((ROUNDS, 2, 2), dtype)
    zero, far = jnp.zeros((), int), jnp.asarray(jnp.inf, dtype)
    found = jax.lax.while_loop(go_on, round_, Rounds(zero, b, b, room, triangle, turns, none, far, far, zero))
    rounds = found.done - 1
    kept = found.rhs[:ROUNDS] * (jnp.arange(ROUNDS) < rounds)  # what is behind it in the triangle is still the identity
    weights = jax.lax.linalg.triangular_solve(found.triangle, kept[:, None], left_side=True, lower=True, transpose_a=True)[:, 0]
    better = found.left < found.plain
    x = jax.lax.fori_loop(0, rounds * better, lambda i, x: plus(x, at(found.room.tried, i), at(weights, i)), found.x)
    rows = shape.limits + shape.links
    x = jax.tree.map(lambda a: a / w.row, x)
    y = Both(jax.vmap(lambda *a: node_last(shape, NodeRows(*a)))(*by_kind(shape, x.cells)), x.own[:rows])
    reached = jnp.minimum(found.left, found.plain)
    return Solved(y, x.own[rows:], rounds, reached * tolerance * size), found.room


def _plain(shape: Shape, r: Rounds, x: Vector, result: Vector) -> Rounds:
    """The first round: what the plain solve leaves begins the basis."""
    residual = plus(r.next, result, -1.0)
    left = size_of(shape, residual)
    scaled = jax.tree.map(lambda a: a / jnp.maximum(left, jnp.finfo(left.dtype).tiny), residual)
    return r._replace(room=None, done=r.done + 1, x=x, next=scaled, rhs=put(r.rhs, jnp.zeros((), int), left), left=left, plain=left)


def _krylov(shape: Shape, r: Rounds, new: Vector) -> Rounds:
    """A later one: the product is made orthogonal to the basis, and the least squares problem grows by a column."""
    j, tiny = r.done - 1, jnp.finfo(r.left.dtype).tiny

    def project(i: Array, carry: tuple[Vector, Array]) -> tuple[Vector, Array]:
        new, column = carry
        i = jax.lax.rem(i, j + 1)
        one = at(r.room.basis, i)
        part = dot(shape, new, one)
        return plus(new, one, -part), put(column, i, at(column, i) + part)

    new, column = jax.lax.fori_loop(0, 2 * (j + 1), project, (new, jnp.zeros_like(r.rhs)))  # Gram-Schmidt, twice
    size = size_of(shape, new)
    column = put(column, j + 1, size)

    def turn(i: Array, column: Array) -> Array:
        pair = jax.lax.dynamic_slice_in_dim(column, i, 2, allow_negative_indices=False)
        return jax.lax.dynamic_update_slice_in_dim(column, at(r.turns, i) @ pair, i, 0, allow_negative_indices=False)

    column = jax.lax.fori_loop(0, j, turn, column)
    a, b = at(column, j), at(column, j + 1)
    length = jnp.sqrt(a * a + b * b)
    radius = jnp.maximum(length, tiny)
    c, s = a / radius, jax.lax.select(length > tiny, b / radius, jnp.ones_like(b))  # a product of nothing gains nothing
    onto = jnp.stack([c, -s]) * at(r.rhs, j)
    triangle = put(r.triangle, j, put(column, j, radius)[:ROUNDS] * (jnp.arange(ROUNDS) <= j))
    rhs = jax.lax.dynamic_update_slice_in_dim(r.rhs, onto, j, 0, allow_negative_indices=False)
    left, slow = jnp.abs(onto[1]), (r.slow + 1) * (jnp.abs(s) > LEAST_GAIN)
    grown = r.done + 1, triangle, put(r.turns, j, jnp.stack([c, s, -s, c]).reshape(2, 2)), rhs, left, slow
    good = jnp.isfinite(column).all()
    ended = r.done, r.triangle, r.turns, r.rhs, r.left, jnp.full_like(r.slow, PATIENCE)
    done, triangle, turns, rhs, left, slow = (jax.lax.select(good, *pair) for pair in zip(grown, ended, strict=True))
    return Rounds(done, r.x, jax.tree.map(lambda a: a / jnp.maximum(size, tiny), new), None, triangle, turns, rhs, left, r.plain, slow)
