"""The smallest change inside a box that meets linear conditions; norms: "l2", root of the sum of squares, and "l1", sum of sizes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

Array = np.ndarray
NORMS = ("l2", "l1")
SWEEPS = 2000
BISECTIONS = 200
CLOSE = 1e-12


def size(u: Array, norm: str) -> float:
    return float(np.abs(u).sum() if norm == "l1" else np.sqrt(np.square(u).sum()))


def least_change(slopes: Array, most: Array | float, low: Array, high: Array, norm: str) -> Array | None:
    """u [K] of least size with slopes [L,K] @ u <= most [L] and low <= u <= high (0 inside); None where there is none."""
    slopes, most = np.atleast_2d(np.asarray(slopes, float)), np.atleast_1d(np.asarray(most, float))
    if (most >= 0).all():
        return np.zeros(len(low))
    length = np.maximum(np.abs(slopes).max(axis=1, initial=0.0), 1e-300)
    slopes, most = slopes / length[:, None], np.asarray(most / length)
    k = len(low)
    # u = up - down with both at least 0
    found = linprog(
        np.ones(2 * k), np.hstack([slopes, -slopes]), most,
        bounds=[*((0.0, max(h, 0.0)) for h in high), *((0.0, max(-w, 0.0)) for w in low)],
    )  # fmt: skip
    if found.status != 0:
        return None
    if norm == "l1":
        return np.clip(found.x[:k] - found.x[k:], low, high)
    return _least_squares(slopes, most, low, high)


def _least_squares(slopes: Array, most: Array, low: Array, high: Array) -> Array:
    """Coordinate ascent on the multipliers of the conditions: u = clip(-slopes' multipliers), one multiplier after another made exact."""
    multipliers = np.zeros(len(most))
    room = CLOSE * np.maximum(np.abs(most), 1.0)
    for _ in range(SWEEPS):
        for row in range(len(most)):
            multipliers[row] = _exact(row, multipliers, slopes, most, low, high)
        u = np.clip(-slopes.T @ multipliers, low, high)
        excess = slopes @ u - most
        if (excess <= room).all() and (np.minimum(multipliers, -excess) <= np.sqrt(CLOSE)).all():
            break
    return np.clip(-slopes.T @ multipliers, low, high)


def _exact(row: int, multipliers: Array, slopes: Array, most: Array, low: Array, high: Array) -> float:
    """The least multiplier at which the row is met, the others held: the row's value falls with it."""
    others = multipliers.copy()
    others[row] = 0.0
    base = -slopes.T @ others

    def over(value: float) -> float:
        return float(slopes[row] @ np.clip(base - value * slopes[row], low, high) - most[row])

    if over(0.0) <= 0:
        return 0.0
    top = max(1.0, 2 * multipliers[row])
    while over(top) > 0 and top < 1e15:
        top *= 4
    bottom = 0.0
    for _ in range(BISECTIONS):
        middle = (bottom + top) / 2
        if not bottom < middle < top:
            break
        bottom, top = (middle, top) if over(middle) > 0 else (bottom, middle)
    return top


def lowest_of_highest(slopes: Array, levels: Array, low: Array, high: Array) -> tuple[Array, float]:
    """(u, value): the minimum over the box of the highest of the lines levels [L] + slopes [L,K] @ u."""
    slopes, levels = np.atleast_2d(np.asarray(slopes, float)), np.atleast_1d(np.asarray(levels, float))
    scale = max(float(np.abs(levels).max()), float(np.abs(slopes).max(initial=0.0)), 1e-300)
    k = len(low)
    matrix = np.hstack([slopes / scale, -np.ones((len(levels), 1))])
    found = linprog(np.append(np.zeros(k), 1.0), matrix, -levels / scale, bounds=[*zip(low, high, strict=True), (None, None)])
    if found.status != 0:  # bounded and never empty: numbers only
        raise ArithmeticError(f"the lowest point of {len(levels)} lines was not found: {found.message}")
    u = np.clip(found.x[:k], low, high)
    # what holds without trusting the program's own precision: the dual weights of the lines bound their highest from below
    weights = np.maximum(-found.ineqlin.marginals, 0.0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(levels), 1 / len(levels))
    slope = weights @ slopes
    return u, float(weights @ levels + np.minimum(slope * low, slope * high).sum())
