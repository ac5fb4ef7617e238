"""Projected descent over a box for functions that are costly to evaluate: a value and a gradient per step, Adam, and the best point kept.

For functions that are neither convex nor concave in the change, where no cutting plane holds. What comes out is a starting point for a
certified finish, never a claim.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizer.xla_flags import keep_sums_right

Array = np.ndarray
ValueAndGradient = Callable[[Array], tuple[float, Array]]


def descend(
    function: ValueAndGradient, start: Array, low: Array, high: Array, steps: int, good: Callable[[float], bool] | None = None
) -> Array:
    """The best of `steps` points from `start` inside the box; ends early where `good` says so of a value. Each coordinate is measured in
    the width of its range, so that one step length fits all; the length falls with the steps. Where the function is infinite, the way
    is halved."""
    width = np.maximum(high - low, 1e-300)
    optimiser = optax.adam(optax.cosine_decay_schedule(0.25, max(steps, 2)), b1=0.6, b2=0.9)
    keep_sums_right()
    with jax.enable_x64(True):
        t = jnp.asarray((np.asarray(start, float) - low) / width)
        memory = optimiser.init(t)
        best, least = np.asarray(start, float), np.inf
        for _ in range(steps):
            u = low + np.asarray(t) * width
            value, gradient = function(u)
            if value < least:
                best, least = u, value
            if good is not None and good(value):
                break
            if not np.isfinite(value) and np.isfinite(least):  # no plan there: half of the way back to the best point
                t = (t + (jnp.asarray(best) - low) / width) / 2
                memory = optimiser.init(t)
                continue
            slope = gradient * width
            if not np.isfinite(slope).all() or not np.abs(slope).max(initial=0.0) > 0:
                break
            update, memory = optimiser.update(jnp.asarray(slope / np.abs(slope).max()), memory, t)
            t = optax.projections.projection_box(optax.apply_updates(t, update), 0.0, 1.0)
    return np.clip(best, low, high)
