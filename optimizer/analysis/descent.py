"""Projected descent over a box for functions that are costly to evaluate: a value and a gradient per step, Adam, and the best point kept.

For functions that are neither convex nor concave in the change, where no cutting plane holds. What comes out is a starting point for a
certified finish, never a claim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
ValueAndGradient = Callable[[Array], tuple[float, Array]]

LENGTH = 0.25  # of the first step, in widths of the range
MEAN, SQUARE = 0.6, 0.9  # what each step keeps of the means of gradients and of their squares (b1, b2 of Kingma and Ba 2015)
LEAST = 1e-8


def descend(
    function: ValueAndGradient, start: Array, low: Array, high: Array, steps: int, good: Callable[[float], bool] | None = None
) -> Array:
    """The best of `steps` points from `start` inside the box; ends early where `good` says so of a value. Each coordinate is measured in
    the width of its range, so that one step length fits all; the length falls with the steps. Where the function is infinite, the way
    is halved."""
    width = np.maximum(high - low, 1e-300)
    way, t = _Adam(steps), (np.asarray(start, float) - low) / width
    best, least = np.asarray(start, float), np.inf
    for _ in range(steps):
        u = low + t * width
        value, gradient = function(u)
        if value < least:
            best, least = u, value
        if good is not None and good(value):
            break
        if not np.isfinite(value) and np.isfinite(least):  # no plan there: half of the way back to the best point
            t, way = (t + (best - low) / width) / 2, _Adam(steps)
            continue
        slope = gradient * width
        if not np.isfinite(slope).all() or not np.abs(slope).max(initial=0.0) > 0:
            break
        t = np.clip(t - way.step(slope / np.abs(slope).max()), 0.0, 1.0)
    return np.clip(best, low, high)


class _Adam:
    """Steps whose length falls to nothing over `steps` of them, as half a wave of the cosine does."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = max(steps, 2), 0
        self.mean: Array | float = 0.0
        self.square: Array | float = 0.0

    def step(self, gradient: Array) -> Array:
        length = LENGTH * 0.5 * (1 + np.cos(np.pi * min(self.done / self.steps, 1.0)))
        self.done += 1
        self.mean = MEAN * self.mean + (1 - MEAN) * gradient
        self.square = SQUARE * self.square + (1 - SQUARE) * gradient**2
        mean, square = self.mean / (1 - MEAN**self.done), self.square / (1 - SQUARE**self.done)
        return length * mean / (np.sqrt(square) + LEAST)
