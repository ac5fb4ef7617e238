"""Solve with the factor as a preconditioner, judged by true residuals: flexible GMRES on the system of rows and acquisitions.

Near the end pivots of single cells fall below the rounding of the factor, and the factor is wrong in a few directions. Plain iterative
refinement stagnates there (the flagship case lost a dozen iterations at a gap of 1e-5); a Krylov method needs one more round for each.
The vectors are rows, a tenth of the placement arrays, so that keeping a dozen of them costs little.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from optimizer.solver.operators import system
from optimizer.solver.structure import Array, Data, Rows, Shape
from optimizer.solver.substitution import Factor, solve

ROUNDS = 14
LEAST_GAIN = 0.9  # a round with less is slow; PATIENCE slow rounds in a row end the refinement
PATIENCE = 4


class Solved(NamedTuple):
    """y and the acquisitions' z (see `substitution.solve`), the rounds beyond the plain solve, a bound on the rows' residual (2-norm)."""

    y: Rows
    z: Array
    rounds: Array
    error: Array


class Cycle(NamedTuple):
    """State of the iteration; one column per round. Vectors are rows and acquisitions end to end, weighted by their tolerances."""

    rounds: Array
    basis: Array  # [m+1, n] orthonormal
    tried: Array  # [m, n] preconditioned directions
    triangle: Array  # [m, m] R of the QR factorisation of the Hessenberg matrix
    turns: Array  # [m, 2] Givens rotations
    rhs: Array  # [m+1] rotated right-hand side; its last used entry is the residual
    slow: Array  # rounds in a row without much gain


@partial(jax.jit, static_argnums=0)
def refine(shape: Shape, data: Data, f: Factor, rhs: Rows, tolerance: Array, own_tolerance: Array) -> Solved:
    """(y, z) of the system of `substitution.solve` with rhs_z = 0; where that is reached, the rows to `tolerance` relative to the
    right-hand side and the acquisitions' equations to `own_tolerance` in units of a typical cost."""
    zero = jnp.zeros(shape.acquisitions, data.a.dtype)
    flat, split = ravel_pytree((rhs, zero))
    rows = flat.size - shape.acquisitions
    size = jnp.maximum(jnp.linalg.norm(flat), 1e-300)
    weight = jnp.concatenate([jnp.full(rows, 1.0 / (tolerance * size)), jnp.full(shape.acquisitions, 1.0 / own_tolerance)])

    def precondition(vector: Array) -> Array:
        return ravel_pytree(solve(shape, data, f, *split(vector / weight)))[0]

    def product(vector: Array) -> Array:
        return ravel_pytree(system(shape, data, f.theta, *split(vector)))[0] * weight

    x, rounds, residual = gmres(precondition, product, flat * weight)
    return Solved(*split(x), jnp.maximum(rounds - 1, 0), residual * tolerance * size)


def gmres(precondition: Callable[[Array], Array], product: Callable[[Array], Array], residual: Array) -> tuple[Array, Array, Array]:
    """x with product(x) close to `residual`, to a distance below one where that is reached; the rounds used; the distance. (Saad 1993.)"""
    dtype, n = residual.dtype, residual.size

    def goes_on(c: Cycle) -> Array:
        return (c.rounds < ROUNDS) & (jnp.abs(c.rhs[c.rounds]) > 1.0) & (c.slow < PATIENCE)

    def body(c: Cycle) -> Cycle:
        j = c.rounds
        tried = precondition(c.basis[j])
        new = product(tried)
        column = jnp.zeros(ROUNDS + 1, dtype)
        for _ in range(2):  # classical Gram-Schmidt, twice; unused vectors of the basis are zero
            part = c.basis @ new
            new = new - part @ c.basis
            column = column + part
        length = jnp.linalg.norm(new)

        def rotate(i: Array, h: Array) -> Array:
            a, b = c.turns[i, 0] * h[i] + c.turns[i, 1] * h[i + 1], c.turns[i, 0] * h[i + 1] - c.turns[i, 1] * h[i]
            return jnp.where(i < j, h.at[i].set(a).at[i + 1].set(b), h)

        column = jax.lax.fori_loop(0, ROUNDS, rotate, column)
        radius = jnp.maximum(jnp.hypot(column[j], length), 1e-300)
        turn = jnp.stack([column[j], length]) / radius
        column = column.at[j].set(radius)
        g = c.rhs.at[j].set(turn[0] * c.rhs[j]).at[j + 1].set(-turn[1] * c.rhs[j])
        return Cycle(
            j + 1, c.basis.at[j + 1].set(new / jnp.maximum(length, 1e-300)), c.tried.at[j].set(tried),
            c.triangle.at[:, j].set(column[:ROUNDS]), c.turns.at[j].set(turn), g, jnp.where(turn[1] > LEAST_GAIN, c.slow + 1, 0),
        )  # fmt: skip

    length = jnp.linalg.norm(residual)
    basis = jnp.zeros((ROUNDS + 1, n), dtype).at[0].set(residual / jnp.maximum(length, 1e-300))
    start = Cycle(
        jnp.asarray(0), basis, jnp.zeros((ROUNDS, n), dtype), jnp.eye(ROUNDS, dtype=dtype), jnp.zeros((ROUNDS, 2), dtype),
        jnp.zeros(ROUNDS + 1, dtype).at[0].set(length), jnp.asarray(0),
    )  # fmt: skip
    c = jax.lax.while_loop(goes_on, body, start)
    used = jnp.where(jnp.arange(ROUNDS) < c.rounds, c.rhs[:ROUNDS], 0.0)
    weights = jax.lax.linalg.triangular_solve(c.triangle, used[:, None], left_side=True, lower=False)[:, 0]
    return weights @ c.tried, c.rounds, jnp.abs(c.rhs[c.rounds])
