"""Dense elimination inside the cells (node, block), nodes first because batched LAPACK wants whole matrices.

The pool rows of a cell are diagonal and are eliminated first; what remains are J "reduced" rows: served streams, then the rows
that all blocks of a node share (deferrable streams, side rows, linking slots).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from kernels.segments import taken


def shifts_for(dtype: Any) -> tuple[float, ...]:
    """Relative diagonal shifts, growing, for a matrix that the plain factorisation rejects: 1e-15 to 1e-2 in float64."""
    rounding = 4.5 * float(jnp.finfo(dtype).eps)
    return (*(s for s in (rounding * 10.0**k for k in (0, 1, 3, 5, 9)) if s < 1e-3), 1e-2)



def diagonal_of(matrix: jax.Array) -> jax.Array:
    """The diagonal of [..., n, n]."""
    *lead, n, _ = matrix.shape
    return matrix.reshape(*lead, n * n)[..., :: n + 1]


def diagonal(entries: jax.Array, size: int) -> jax.Array:
    """[..., m] on the first m places of the diagonal of [..., size, size]; zero elsewhere."""
    *lead, m = entries.shape
    if not m or not math.prod(lead):
        return jnp.zeros((*lead, size, size), entries.dtype)
    behind = size * size - (m - 1) * (size + 1) - 1
    zero = jnp.zeros((), entries.dtype)
    return jax.lax.pad(entries, zero, [(0, 0, 0)] * len(lead) + [(0, behind, size)]).reshape(*lead, size, size)


def identity(n: int, dtype: Any) -> jax.Array:
    """[n, n], in four operations."""
    return (jax.lax.broadcasted_iota(int, (n, n), 0) == jax.lax.broadcasted_iota(int, (n, n), 1)).astype(dtype)


def inverse_factor(matrix: jax.Array, regularisation: float) -> jax.Array:
    """T with T matrix T' = I for a batch of symmetric positive definite matrices [..., n, n]: inverse Cholesky after Jacobi scaling.

    The inverse pays because some twenty solves follow each factorisation. A matrix that the plain factorisation rejects is factored
    again with a growing relative diagonal shift: the result is then only a preconditioner, which is all that the refinement needs.
    """
    n = matrix.shape[-1]
    if n == 0:
        return matrix
    scale = jax.lax.rsqrt(jnp.maximum(diagonal_of(matrix), jnp.finfo(matrix.dtype).tiny))
    scaled = matrix * scale[..., :, None] * scale[..., None, :]
    eye = identity(n, matrix.dtype)

    shifts = jnp.asarray([regularisation, *shifts_for(matrix.dtype)], matrix.dtype)

    def attempt(carry):  # one loop, so that the factorisation is compiled once and not per shift
        k, factor, good = carry
        again = jax.lax.linalg.cholesky(scaled + taken(shifts, k) * eye, symmetrize_input=False)
        factor = jnp.where(good, factor, again)
        return k + 1, factor, jnp.isfinite(factor).all(axis=(-2, -1), keepdims=True)

    start = (jnp.zeros((), int), scaled, jnp.zeros((*scaled.shape[:-2], 1, 1), bool))
    _, factor, _ = jax.lax.while_loop(lambda c: (c[0] < len(shifts)) & ~c[2].all(), attempt, start)
    factor = jnp.where(jnp.isfinite(factor), factor, eye)
    inverse = jax.lax.linalg.triangular_solve(factor, jnp.broadcast_to(eye, factor.shape), left_side=True, lower=True)
    return inverse * scale[..., None, :]


def schur(coupling: jax.Array, pool_diagonal: jax.Array) -> jax.Array:
    """- E D^-1 E' for coupling E [N, B, J, G] and pool diagonal D [N, B, G]: the off-diagonal of the reduced system."""
    return -(coupling / pool_diagonal[:, :, None, :]) @ jnp.swapaxes(coupling, -1, -2)


def times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Batched matrix [..., m, n] times vector [..., n]."""
    return jnp.einsum("...mn,...n->...m", matrix, vector)


def times_transposed(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Batched matrix [..., m, n] transposed, times vector [..., m]."""
    return jnp.einsum("...mn,...m->...n", matrix, vector)
