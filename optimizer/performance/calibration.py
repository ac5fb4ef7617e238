"""Maximum a posteriori fit of the efficiencies to measured points, with optax, and the Laplace standard deviations.

Parameters are log-normal with the priors of efficiency_parameters (or of an earlier fit); the log of the measured rate is normal around
the model's with a residual sigma per point. All leave-out fits of a table run as one vmapped fit that differs in the weights of the
points. Deterministic: Adam starts from the prior medians, and damped Gauss-Newton steps finish what it leaves, so the answer is the
stationary point and not where the steps ran out. `fit` works in float64 whatever the caller's setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizer.performance.batch import batch_memory
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal, parameter_names, prior
from optimizer.performance.measured_points import MeasuredPoints
from optimizer.performance.serving import Efficiency, step_time, token_load, tpot_s
from optimizer.xla_flags import keep_sums_right

SIGMA = 0.12
"""Assumed standard deviation of the log rate of one point around the model."""
ADAM_STEPS = 300
GAUSS_NEWTON_STEPS = 40
COMPILER = {"xla_backend_optimization_level": 0}
"""The fit runs once for seconds of compiling, which this halves; the answer is a stationary point however it is compiled."""


class Fit(NamedTuple):
    """F fits of P parameters (in `names` order) to n points; log values are natural logarithms."""

    names: tuple[str, ...]
    prior_log_value: np.ndarray  # [P]
    prior_log_std: np.ndarray  # [P]
    log_value: np.ndarray  # [F, P]
    log_std: np.ndarray  # [F, P], from the inverse Hessian
    log_rate: np.ndarray  # [F, n], of every point, used in the fit or not
    gradient_norm: np.ndarray  # [F], of the objective in units of prior standard deviations


def parameters_of(points: MeasuredPoints) -> tuple[tuple[str, ...], Efficiency]:
    """(names of all parameters that the points touch, index [n] into them for each field of Efficiency)."""
    rows = [parameter_names(*group) for group in points.group]
    names = tuple(dict.fromkeys([*(name for row in rows for name in row), OLDER_SOFTWARE]))
    place = {name: i for i, name in enumerate(names)}
    return names, Efficiency(*(np.array([place[name] for name in column]) for column in zip(*rows, strict=True)))


def log_rate(log_value: Any, points: MeasuredPoints, index: Efficiency, older_at: int, batch: Any = None, xp: Any = jnp) -> Any:
    """Log of the output tokens per second per chip of every point [n], at its own batch, or at `batch` [n] where given."""
    seconds, used = log_tpot(log_value, points, index, older_at, batch, xp)
    return xp.log(used) - seconds - xp.log(points.layout.chips)


def log_tpot(log_value: Any, points: MeasuredPoints, index: Efficiency, older_at: int, batch: Any = None, xp: Any = jnp) -> tuple[Any, Any]:
    """(log of the mean TPOT in seconds [n], the batch that it holds for [n])."""
    efficiency = Efficiency(*(xp.exp(log_value[place]) for place in index))
    load = token_load(points.model, points.work, xp)
    arguments = (points.chip, points.model, points.precision, efficiency, points.layout, load, xp)
    step = step_time(*arguments)
    if batch is None:
        # A point whose weights do not fit at the present parameters would have no batch to take a logarithm of.
        held = xp.minimum(xp.maximum(batch_memory(*arguments), 1.0), points.requests)
        batch = xp.where(np.isnan(points.batch), held, np.nan_to_num(points.batch, nan=1.0))
    return xp.log(tpot_s(step, batch, xp)) + points.older * log_value[older_at], batch


def fit(points: MeasuredPoints, weights: np.ndarray, sigma: float | np.ndarray = SIGMA, priors: Mapping[str, Normal] | None = None) -> Fit:
    """One fit per row of `weights` [F, n] (1: used, 0: left out). `sigma` scalar or [n]; `priors` by name replace the stated ones.

    Raises ValueError: a weight or sigma out of range, a fit that did not reach a stationary point.
    """
    weights = np.atleast_2d(np.asarray(weights, float))
    sigma = np.broadcast_to(np.asarray(sigma, float), len(points))
    if weights.shape[1] != len(points) or np.any(weights < 0.0) or not np.all(sigma > 0.0):
        shapes = f"weights of shape {weights.shape} for {len(points)} points"
        raise ValueError(f"{shapes}: one weight of 0 or more and a positive sigma per point are needed")
    names, index = parameters_of(points)
    believed = [(priors or {}).get(name) or prior(name) for name in names]
    centre, spread = np.log([one.value for one in believed]), np.array([one.log_std for one in believed])
    older_at = names.index(OLDER_SOFTWARE)
    target = np.log(points.rate)

    @jax.jit  # traced once for all of its derivatives
    def residuals(unit: Any, weight: Any) -> Any:
        miss = (log_rate(centre + spread * unit, points, index, older_at) - target) / sigma
        return jnp.concatenate([jnp.sqrt(weight) * miss, unit])

    def objective(unit: Any, weight: Any) -> Any:
        return 0.5 * jnp.sum(residuals(unit, weight) ** 2)

    def run(weight: Any) -> tuple[Any, Any, Any, Any]:
        schedule = optax.adam(optax.cosine_decay_schedule(2e-2, ADAM_STEPS))

        def step(state: Any, _: None) -> tuple[Any, None]:
            unit, memory = state
            update, memory = schedule.update(jax.grad(objective)(unit, weight), memory)
            return (optax.apply_updates(unit, update), memory), None

        def gauss_newton(state: Any, _: None) -> tuple[Any, None]:
            unit, damping = state
            slopes = jax.jacfwd(residuals)(unit, weight)
            normal = slopes.T @ slopes + damping * jnp.eye(len(names))
            moved = unit - jnp.linalg.solve(normal, slopes.T @ residuals(unit, weight))
            better = objective(moved, weight) <= objective(unit, weight)
            return (jnp.where(better, moved, unit), jnp.where(better, damping / 5.0, damping * 4.0)), None

        start = jnp.zeros(len(names))
        (unit, _), _ = jax.lax.scan(step, (start, schedule.init(start)), None, length=ADAM_STEPS)
        (unit, _), _ = jax.lax.scan(gauss_newton, (unit, jnp.asarray(1.0)), None, length=GAUSS_NEWTON_STEPS)
        variance = jnp.diag(jnp.linalg.inv(jax.hessian(objective)(unit, weight)))
        rates = log_rate(centre + spread * unit, points, index, older_at)
        return unit, variance, rates, jnp.linalg.norm(jax.grad(objective)(unit, weight))

    keep_sums_right()
    with jax.enable_x64(True):
        unit, variance, rates, norm = (np.asarray(part) for part in jax.jit(jax.vmap(run), compiler_options=COMPILER)(jnp.asarray(weights)))
    if not np.all(norm < 1e-3) or not np.all(variance > 0.0):
        worst = int(np.argmax(np.where(np.isfinite(norm), norm, np.inf)))
        raise ValueError(f"fit {worst} of {len(weights)} did not converge (gradient norm {norm[worst]:.2g}): check the measured points")
    return Fit(names, centre, spread, centre + spread * unit, spread * np.sqrt(variance), rates, norm)


def leave_out_weights(points: MeasuredPoints, by: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(weights [F, n], for each point [n] the fit that left it out): one fit per point, or per distinct label in `by`."""
    labels = np.array([str(i) for i in range(len(points))] if by is None else list(by))
    kinds = list(dict.fromkeys(labels.tolist()))
    weights = np.array([(labels != kind).astype(float) for kind in kinds])
    return weights, np.array([kinds.index(label) for label in labels.tolist()])
