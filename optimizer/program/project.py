"""Acquisitions inside their box and the limits: the part of the repair that concerns z alone.

Small violations (a solver's noise) are removed by weighted least squares on the violated rows, which moves z by no more than the
violation asks for; large ones by the linear program of least weighted distance (HiGHS), polished by the same least squares. A row holds
when it is within 1e-12 of the sum of its absolute terms; the polish aims at a tenth of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.program.layout import limit_operator
from optimizer.program.matrix import Matrix
from optimizer.program.program import Array, Program

if TYPE_CHECKING:
    import scipy.sparse as sparse

ROW_TOLERANCE = 1e-12  # of the sum of a row's absolute terms
AIM = 0.1 * ROW_TOLERANCE
POLISH_ROUNDS = 30


def acquisitions_inside(program: Program, z: Array) -> Array | None:
    """The given acquisitions moved into box and limits; NaN becomes the lower bound. None where no such point was found."""
    lower, upper = program.acquisition_lower, program.acquisition_upper
    z = np.array(z, dtype=float)
    z = np.clip(np.where(np.isnan(z), lower, z), lower, upper)
    rows = limit_operator(program)
    if not program.limits or not excess(program, rows, z).any():
        return z
    polished = _polish(program, rows, z)
    if polished is not None:
        return polished
    nearest = _nearest(program, rows, z)
    if nearest is None:
        return None
    polished = _polish(program, rows, nearest)
    if polished is not None:
        return polished
    centre = strict_centre(program, rows)
    return None if centre is None else _blend(program, rows, nearest, centre)


def excess(program: Program, rows: Matrix, z: Array, tolerance: float = AIM) -> Array:
    """Signed violation of every limit [L]: positive above the upper side, negative below the lower side, 0 where it holds."""
    value = rows @ z
    size = abs(rows) @ np.abs(z)
    over, under = value - program.limit_upper, value - program.limit_lower
    allowed_over = tolerance * (size + np.where(np.isfinite(program.limit_upper), np.abs(program.limit_upper), 0.0))
    allowed_under = tolerance * (size + np.where(np.isfinite(program.limit_lower), np.abs(program.limit_lower), 0.0))
    return np.where(over > allowed_over, over, np.where(under < -allowed_under, under, 0.0))


def _polish(program: Program, rows: Matrix, z: Array) -> Array | None:
    """Weighted least squares onto the rows that are or were violated; None where that does not settle."""
    lower, upper = program.acquisition_lower, program.acquisition_upper
    target = np.full(program.limits, np.nan)
    equal = program.limit_lower == program.limit_upper
    target[equal] = program.limit_upper[equal]
    span = upper - lower
    weight = np.maximum(np.minimum(z - lower, upper - z), 1e-3 * span)
    for _ in range(POLISH_ROUNDS):
        wrong = excess(program, rows, z)
        if not wrong.any():
            return z
        target = np.where(wrong > 0, program.limit_upper, np.where(wrong < 0, program.limit_lower, target))
        active = np.nonzero(~np.isnan(target))[0]
        missing = target[active] - (rows @ z)[active]
        scaled = rows.dense(active) * weight
        norm = np.linalg.norm(scaled, axis=1)
        if (norm == 0).any():
            return None
        scaled /= norm[:, None]
        step = scaled.T @ np.linalg.lstsq(scaled @ scaled.T, missing / norm, rcond=1e-13)[0]
        moved = z + weight * step
        z = np.clip(moved, lower, upper)
        weight = np.where(moved == z, weight, 0.0)  # a column that meets its bound stays there
    return None


def _nearest(program: Program, rows: Matrix, z: Array) -> Array | None:
    """The point of box and limits at least weighted distance from z, to HiGHS's tolerance."""
    from scipy.optimize import linprog

    lower, upper = program.acquisition_lower, program.acquisition_upper
    price = 1.0 / np.maximum(np.abs(z), np.maximum(1e-3 * (upper - lower), 1e-9))
    matrix, bounds, equal = one_sided_limits(program, rows)
    value = matrix @ z
    answer = linprog(
        np.concatenate([price, price]) / price.max(),
        A_ub=_both(matrix[~equal]),
        b_ub=(bounds - value)[~equal] if (~equal).any() else None,
        A_eq=_both(matrix[equal]),
        b_eq=(bounds - value)[equal] if equal.any() else None,
        bounds=np.concatenate([np.stack([0 * z, upper - z], axis=1), np.stack([0 * z, z - lower], axis=1)]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10},
    )
    if answer.x is None:
        return None
    return np.clip(z + answer.x[: len(z)] - answer.x[len(z) :], lower, upper)


def one_sided_limits(program: Program, rows: Matrix) -> tuple[sparse.csr_matrix, Array, Array]:
    """(matrix, bounds, equal): the limits as matrix z <= bounds, or = where `equal`; each row divided by its largest coefficient."""
    import scipy.sparse as sparse

    stated = rows.csr()
    equal = program.limit_lower == program.limit_upper
    above = np.isfinite(program.limit_upper)
    below = np.isfinite(program.limit_lower) & ~equal
    matrix = sparse.vstack([stated[above], -stated[below]]).tocsr()
    bounds = np.concatenate([program.limit_upper[above], -program.limit_lower[below]])
    largest = abs(matrix).max(axis=1).toarray().ravel()
    scale = 1.0 / np.where(largest > 0, largest, 1.0)
    scaled = sparse.csr_matrix(sparse.diags(scale) @ matrix)
    return scaled, bounds * scale, np.concatenate([equal[above], np.zeros(int(below.sum()), bool)])


def _both(matrix: sparse.csr_matrix) -> sparse.csr_matrix | None:
    import scipy.sparse as sparse

    return sparse.csr_matrix(sparse.hstack([matrix, -matrix])) if len(matrix.indptr) > 1 else None


def strict_centre(program: Program, rows: Matrix) -> Array | None:
    """A point that holds the equalities exactly and every other limit with the largest common margin, if that margin is positive."""
    import scipy.sparse as sparse
    from scipy.optimize import linprog

    matrix, bounds, equal = one_sided_limits(program, rows)
    if equal.all():
        return None
    margin = np.ones((int((~equal).sum()), 1))
    answer = linprog(
        np.append(np.zeros(program.acquisitions), -1.0),
        A_ub=sparse.hstack([matrix[~equal], margin]).tocsr(),
        b_ub=bounds[~equal],
        A_eq=sparse.hstack([matrix[equal], sparse.csr_matrix((int(equal.sum()), 1))]).tocsr() if equal.any() else None,
        b_eq=bounds[equal] if equal.any() else None,
        bounds=[*zip(program.acquisition_lower, program.acquisition_upper, strict=True), (0.0, 1.0)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10},
    )
    if answer.x is None or answer.x[-1] <= 0:
        return None
    return np.clip(answer.x[:-1], program.acquisition_lower, program.acquisition_upper)


def _blend(program: Program, rows: Matrix, z: Array, centre: Array) -> Array | None:
    """The least step from z towards the centre that satisfies every limit."""
    for share in (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 0.1, 1.0):
        trial = np.clip(z + share * (centre - z), program.acquisition_lower, program.acquisition_upper)
        if not excess(program, rows, trial).any():
            return trial
        polished = _polish(program, rows, trial)
        if polished is not None:
            return polished
    return None
