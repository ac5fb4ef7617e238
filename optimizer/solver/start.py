"""The starting point: Mehrotra's least-squares point in the scaled space, with every variable and dual lifted off its bound."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from optimizer.solver.newton import above, everywhere, mul
from optimizer.solver.operators import apply, dot_of_chunk, transpose
from optimizer.solver.structure import Array, Both, Data, NodeRows, Part, Point, Shape, State, Terms, node_first, node_last
from optimizer.solver.substitution import Factor, solve

# Variables and duals are at least their mean size, products at least this share of their mean. Smaller floors cost 6-10 iterations of
# tiny steps on the reference family; dual floors of a third of these cost 3% more on the random programs.
PRIMAL_FLOOR = 1.0
DUAL_FLOOR = 0.3
LEAST_PRODUCT = 0.01


def first_theta(shape: Shape, data: Data) -> Both:
    """One where there is a variable."""
    del shape
    return jax.tree.map(lambda a: a.astype(data.u_value.dtype), Both(data.cells.terms.active, data.own.active))


def starting_point(shape: Shape, data: Data, f: Factor) -> State:
    """v = A' (A A')^-1 b and z = c - A' (A A')^-1 A c, lifted; `f` is the factor for `first_theta`."""
    terms = data.cells.terms
    weighted_cost = apply(shape, data, Both(mul(terms.cost, terms.active), data.own.cost * data.own.active))
    active = Both(terms.row_active, data.own.row_active)
    sides = (jax.tree.map(jnp.multiply, side, active) for side in (Both(terms.rhs, data.own.rhs), weighted_cost))
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), *sides)

    def one(rhs: Both) -> tuple[Both, Both]:
        cells = jax.vmap(lambda a: node_first(shape, a))(rhs.cells)
        y, _ = solve(shape, data, f, Both(cells, rhs.own), jnp.zeros(shape.acquisitions, cells.pool.dtype))
        y = Both(jax.vmap(lambda *a: node_last(shape, NodeRows(*a)))(*y.cells), y.own)
        return y, transpose(shape, data, y)

    y, columns = jax.lax.map(one, both)  # one after the other, so that the solve is compiled once
    return lift(shape, data, columns, jax.tree.map(lambda a: a[1], y))


def sizes(tree: Any) -> Array:
    return sum(jnp.sum(jnp.abs(a)) for a in jax.tree.leaves(tree))


def lift(shape: Shape, data: Data, columns: Both, dual: Both) -> State:
    """v and z = c - A' dual, both at least a share of their mean size and inside the boxes; `columns`: v, then A' dual, [2, ...]."""
    values, prices = (jax.tree.map(lambda a, k=k: a[k], columns) for k in (0, 1))

    def first(t: Terms, v: Any, q: Any) -> tuple[Any, Any, None]:
        v, q = mul(v, t.active), jax.tree.map(lambda c, a, m: (c - a) * m, t.cost, q, t.active)
        return (v, q), (sizes(v), sizes(q), sum(jnp.sum(m.astype(data.count.dtype)) for m in jax.tree.leaves(t.active))), None

    found, (v_size, q_size, count), _ = everywhere(shape, data, first, values, prices)
    v, q = (Both(found.cells[k], found.own[k]) for k in (0, 1))
    floor = jnp.maximum(PRIMAL_FLOOR * v_size / count, 1e-3)
    least = jnp.maximum(DUAL_FLOOR * q_size / count, 1e-3)

    def second(t: Terms, v: Any, q: Any, y: Array) -> tuple[Point, Array, None]:
        def inside(a: Array, m: Array, u: Array, b: Array) -> Array:
            half = jnp.where(b, 0.5 * u, jnp.inf)
            return jnp.minimum(jnp.maximum(a, jnp.minimum(floor, 0.5 * half)), half) * m

        v = jax.tree.map(inside, v, t.active, t.upper, t.bounded)
        w = above(shape, lambda a, u, b: jnp.where(b, u - a, 1.0), v, t.upper, t.bounded)
        w = w._replace(x=jnp.ones_like(w.x)) if isinstance(w, Part) and not shape.x_bounded else w
        floors = jax.tree.map(lambda c: jnp.maximum(jnp.abs(c), least), t.cost)
        zl = jax.tree.map(
            lambda a, m, b, le: m * (jnp.maximum(a, le * ~b) + le * b), q, t.active, t.bounded, floors
        )
        zu = above(shape, lambda a, b, le: b * (jnp.maximum(-a, 0.0) + le), q, t.bounded, floors)
        return Point(v, w, zl, zu, y), dot_of_chunk(v, zl) + dot_of_chunk(w, zu), None

    state, gap, _ = everywhere(shape, data, second, v, q, dual)
    mu = gap / data.count

    def third(t: Terms, p: Point) -> tuple[Point, None, None]:
        least = LEAST_PRODUCT * mu
        zl, zu = (jax.tree.map(partial(lifted, least), *kind) for kind in ((p.zl, p.v, t.active), (p.zu, p.w, t.bounded)))
        return p._replace(zl=zl, zu=zu), None, None

    return everywhere(shape, data, third, state)[0]


@jax.jit
def lifted(least: Array, z: Array, a: Array, m: Array) -> Array:
    """z where its product with a is at least `least`, else what makes it so."""
    return m * jnp.maximum(z, least / (a + ~m))
