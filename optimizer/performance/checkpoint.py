"""Work that survives failures: checkpoints at an interval, a restart after every failure.

Failures are a Poisson process of mean time `mtbf_s`; one may also strike during a checkpoint or a restart. After a failure all work since
the last complete checkpoint is done again. Then the share of time that is progress ("goodput") is, exactly (Daly 2006, complete form),

    goodput(tau) = (tau / M) exp(-R / M) / (exp((tau + d) / M) - 1),        M = MTBF, d = time of a checkpoint, R = time of a restart

with its maximum at tau = M (1 + W(-exp(-1 - d/M))), W the principal branch of Lambert's function. Young's interval sqrt(2 d M) and
his goodput exp(-sqrt(2 d / M) - R / M) are the limits for d << M: 0.2 points too high where 20 % of the time is lost.

All times are in seconds; all functions are elementwise, smooth for positive arguments, and take numpy or jax arrays (`xp`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy or jax array, or a number

NEWTON_STEPS = 6
"""Of the interval's equation; the start is within 16 % up to d / M = 50, and the error is squared in each step."""


def goodput_at_interval(interval_s: Array, checkpoint_s: Array, restart_s: Array, mtbf_s: Array, xp: ModuleType = np) -> Array:
    """[...], share of time that is progress with a checkpoint after every `interval_s` of work; exact for Poisson failures."""
    share = interval_s / mtbf_s
    return share * xp.exp(-restart_s / mtbf_s) / xp.expm1(share + checkpoint_s / mtbf_s)


def young_interval_s(checkpoint_s: Array, mtbf_s: Array, xp: ModuleType = np) -> Array:
    """[...], s: sqrt(2 d M), the best interval where a checkpoint takes much less than the MTBF."""
    return xp.sqrt(2.0 * checkpoint_s * mtbf_s)


def young_goodput(checkpoint_s: Array, restart_s: Array, mtbf_s: Array, xp: ModuleType = np) -> Array:
    """[...], share of time that is progress at Young's interval: exp(-sqrt(2 d / M) - R / M)."""
    return xp.exp(-xp.sqrt(2.0 * checkpoint_s / mtbf_s) - restart_s / mtbf_s)


def best_interval_s(checkpoint_s: Array, mtbf_s: Array, xp: ModuleType = np) -> Array:
    """[...], s: the interval with the largest goodput, for any checkpoint_s > 0."""
    return mtbf_s * _best_share(checkpoint_s / mtbf_s, xp)


def best_goodput(checkpoint_s: Array, restart_s: Array, mtbf_s: Array, xp: ModuleType = np) -> Array:
    """[...], the goodput at the best interval: (1 - tau / M) exp(-R / M)."""
    return (1.0 - _best_share(checkpoint_s / mtbf_s, xp)) * xp.exp(-restart_s / mtbf_s)


def _best_share(pause: Array, xp: ModuleType) -> Array:
    """y in (0, 1) with y + ln(1 - y) = -pause, pause > 0: the best interval in units of the MTBF.

    With v = -ln(1 - y) it is v + expm1(-v) = pause, which Newton solves from sqrt(2 pause) + 2/3 pause: the right
    order for small and for large pauses. The last step is outside of the stopped gradient, so that the derivative is the implicit one.
    """
    fixed = _stopped(pause, xp)
    v = xp.sqrt(2.0 * fixed) + 2.0 / 3.0 * fixed
    for _ in range(NEWTON_STEPS):
        v = v - (v + xp.expm1(-v) - fixed) / -xp.expm1(-v)
    v = _stopped(v, xp)
    v = v - (v + xp.expm1(-v) - pause) / -xp.expm1(-v)
    return -xp.expm1(-v)


def _stopped(value: Array, xp: ModuleType) -> Array:
    """The value as a constant of differentiation."""
    if xp is np:
        return value
    if hasattr(xp, "stopped"):  # optimizer.build.reverse_mode
        return xp.stopped(value)
    from jax import lax

    return lax.stop_gradient(value)
