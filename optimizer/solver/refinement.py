"""Solve with the factor as a preconditioner, judged by true residuals: flexible GMRES on the system of rows and acquisitions.

Near the end pivots of single cells fall below the rounding of the factor, and the factor is wrong in a few directions. Plain iterative
refinement stagnates there (the flagship case lost a dozen iterations at a gap of 1e-5); a Krylov method needs one more round for each.
The vectors are rows, a tenth of the placement arrays. Where the first solve is good enough, which is most of the time, none is kept.

The host leads: it holds the small triangle and asks the devices for one preconditioned product at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.solver.operators import system
from optimizer.solver.structure import Array, Both, Data, Shape
from optimizer.solver.substitution import Factor, solve
from optimizer.solver.sweeps import inner

ROUNDS = 14
LEAST_GAIN = 0.9  # a round with less is slow; PATIENCE slow rounds in a row end the refinement
PATIENCE = 4


class Vector(NamedTuple):
    """Rows of nodes [C, rows, n]; own rows and acquisitions end to end. Weighted by their tolerances."""

    cells: Array
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


def begin(shape: Shape, data: Data, rhs: Both, tolerance: Array, own_tolerance: Array) -> tuple[Vector, Weights, Array]:
    """The weighted right-hand side; rows to `tolerance` relative to it, the acquisitions' equations to `own_tolerance` in units of a
    typical cost; its size without weights."""
    tiny = jnp.finfo(data.u_value.dtype).tiny
    size = jnp.maximum(jnp.sqrt(inner(shape, rhs.cells, rhs.cells) + rhs.own @ rhs.own), tiny)
    w = Weights(1.0 / (tolerance * size), 1.0 / own_tolerance)
    return Vector(rhs.cells * w.row, jnp.concatenate([rhs.own * w.row, jnp.zeros(shape.acquisitions, rhs.own.dtype)])), w, size


def attempt(shape: Shape, data: Data, f: Factor, w: Weights, v: Vector) -> tuple[Vector, Vector]:
    """(x, A x): the factor's solution of a weighted vector, and the product with it, weighted."""
    rows = shape.limits + shape.links
    y, z = solve(shape, data, f, Both(v.cells / w.row, v.own[:rows] / w.row), v.own[rows:] / w.z)
    by, bz = system(shape, data, f.theta, y, z)
    return Vector(y.cells, jnp.concatenate([y.own, z])), Vector(by.cells * w.row, jnp.concatenate([by.own * w.row, bz * w.z]))


def combine(shape: Shape, data: Data, a: Vector, b: Vector, s: Array, t: Array) -> tuple[Vector, Array]:
    """s a + t b, and its norm."""
    del data
    both = jax.tree.map(lambda p, q: s * p + t * q, a, b)
    return both, jnp.sqrt(inner(shape, both.cells, both.cells) + both.own @ both.own)


def project(shape: Shape, data: Data, a: Vector, b: Vector) -> tuple[Vector, Array]:
    """a without its part along b (of norm one), and that part."""
    del data
    part = inner(shape, a.cells, b.cells) + a.own @ b.own
    return jax.tree.map(lambda p, q: p - part * q, a, b), part


def finish(shape: Shape, data: Data, x: Vector, rounds: Array, error: Array) -> Solved:
    """The solution by name."""
    del data
    rows = shape.limits + shape.links
    return Solved(Both(x.cells, x.own[:rows]), x.own[rows:], rounds, error)


def refine(k: Any, data: Data, f: Factor, rhs: Both, tolerance: float, own_tolerance: float) -> Solved:
    """(y, z) of the system of `substitution.solve` with rhs_z = 0, as close as `begin` says where that is reached. `k` has the compiled
    functions of this module."""
    dtype = data.u_value.dtype
    b, w, size = k.begin(data, rhs, np.asarray(tolerance, dtype), np.asarray(own_tolerance, dtype))
    x, product = k.attempt(data, f, w, b)

    def combine(u: Any, v: Any, s: float, t: float) -> tuple[Any, Any]:
        return k.combine(data, u, v, np.asarray(s, dtype), np.asarray(t, dtype))

    left, distance = combine(b, product, 1.0, -1.0)
    distance, rounds = float(distance), 0
    if distance > 1.0 and math.isfinite(distance):
        parts, reached = gmres(lambda v: k.attempt(data, f, w, v), lambda u, v: k.project(data, u, v), combine, left, distance)
        rounds = len(parts)
        if reached < distance:
            distance = reached
            for part, tried in parts:
                x, _ = combine(x, tried, 1.0, part)
    return k.finish(data, x, np.asarray(rounds), np.asarray(distance * tolerance, dtype) * size)


def gmres(
    attempt: Callable[[Any], tuple[Any, Any]],
    project: Callable[[Any, Any], tuple[Any, Any]],
    combine: Callable[[Any, Any, float, float], tuple[Any, Any]],
    residual: Any,
    length: float,
) -> tuple[list[tuple[float, Any]], float]:
    """x as a list of (weight, vector) with A x close to `residual` of norm `length`, to a distance below one where that is reached; that
    distance. `attempt` gives (x, A x), `project` takes one vector out of another, `combine` gives (s a + t b, its norm). (Saad 1993.)"""
    scaled, _ = combine(residual, residual, 1.0 / length, 0.0)
    basis, tried = [scaled], []
    triangle, turns, rhs = np.zeros((ROUNDS, ROUNDS)), [], [length]
    slow = 0
    while len(tried) < ROUNDS and abs(rhs[-1]) > 1.0 and slow < PATIENCE:
        j = len(tried)
        x, new = attempt(basis[j])
        column = np.zeros(j + 2)
        for _ in range(2):  # modified Gram-Schmidt, twice
            for i, one in enumerate(basis):
                new, part = project(new, one)
                column[i] += float(part)
        _, size = combine(new, new, 1.0, 0.0)
        column[j + 1] = float(size)
        if not np.isfinite(column).all():
            break
        for i, (c, s) in enumerate(turns):
            column[i], column[i + 1] = c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]
        radius = max(math.hypot(column[j], column[j + 1]), 1e-300)
        c, s = column[j] / radius, column[j + 1] / radius
        turns.append((c, s))
        triangle[:j, j], triangle[j, j] = column[:j], radius
        rhs[j:] = [c * rhs[j], -s * rhs[j]]
        tried.append(x)
        slow = slow + 1 if abs(s) > LEAST_GAIN else 0
        if float(size) <= 1e-300:
            break
        basis.append(combine(new, new, 1.0 / float(size), 0.0)[0])
    m = len(tried)
    if not m:
        return [], math.inf
    weights = np.linalg.solve(triangle[:m, :m], np.array(rhs[:m]))
    return list(zip(weights.tolist(), tried, strict=True)), abs(rhs[m])
