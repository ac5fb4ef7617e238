"""Preemptible capacity: what of it is progress.

Training on spot chips is checkpointed work whose failures are the interruptions, together with the chips' own failures. A job that
needs all of its chips stops when any of its instances is taken: rates add over instances that are interrupted independently; an
interruption that takes the whole gang at once counts once.

Inference loses the requests in flight: the share rate x residence, in the long run; and the capacity while a new instance loads.

Rates are per hour, times in seconds. Providers publish interruption rates on different bases (per instance and month, per stopped
instance, ...): `rate_per_hour_of_monthly_share` converts the one basis that is a probability.

Functions are elementwise and smooth, in numpy or jax (`xp`).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from optimizer.performance.checkpoint import Array, best_goodput, best_interval_s, goodput_at_interval
from optimizer.performance.training import SECONDS_PER_HOUR

HOURS_PER_MONTH = 8766.0 / 12


def rate_per_hour_of_monthly_share(share: Array, xp: ModuleType = np) -> Array:
    """[...], interruptions per hour of an instance of which a share in [0, 1) is interrupted within a month: -ln(1 - share) / 730.5 h."""
    return -xp.log1p(-xp.asarray(share)) / HOURS_PER_MONTH


def gang_rate_per_hour(instance_rate_per_hour: Array, instances: Array) -> Array:
    """[...], interruptions per hour of a job that stops with any of its instances, each taken independently."""
    return instance_rate_per_hour * instances


def training_goodput(
    interruptions_per_hour: Array, checkpoint_s: Array, restore_s: Array, interval_s: Array | None = None, xp: ModuleType = np
) -> Array:
    """[...], share of the paid time of a job that is progress; interval_s None: the best interval.

    The rate is that of the whole job (> 0); every restart reads the last checkpoint and takes `restore_s`. Exact for Poisson
    interruptions; to first order in the rate r it loses r (tau / 2 + restore) plus checkpoint / tau.
    """
    mtbf_s = SECONDS_PER_HOUR / interruptions_per_hour
    if interval_s is None:
        return best_goodput(checkpoint_s, restore_s, mtbf_s, xp)
    return goodput_at_interval(interval_s, checkpoint_s, restore_s, mtbf_s, xp)


def checkpoint_interval_s(interruptions_per_hour: Array, checkpoint_s: Array, xp: ModuleType = np) -> Array:
    """[...], s of work between checkpoints that maximises `training_goodput`."""
    return best_interval_s(checkpoint_s, SECONDS_PER_HOUR / interruptions_per_hour, xp)


def availability(interruptions_per_hour: Array, restore_s: Array) -> Array:
    """[...], share of time an instance is up when it is replaced at once and takes `restore_s` to load: 1 / (1 + r R)."""
    return 1.0 / (1.0 + interruptions_per_hour * restore_s / SECONDS_PER_HOUR)


def inference_work_lost(interruptions_per_hour: Array, residence_s: Array, xp: ModuleType = np) -> Array:
    """[...], share of the started requests that an interruption catches in flight: 1 - exp(-r E[residence]), rate x residence where
    small. For a constant residence it is exact; for a random one of this mean it is an upper bound."""
    return -xp.expm1(-interruptions_per_hour * residence_s / SECONDS_PER_HOUR)


def inference_goodput(interruptions_per_hour: Array, residence_s: Array, restore_s: Array, xp: ModuleType = np) -> Array:
    """[...], share of the paid time of a serving instance whose output reaches a user: availability x (1 - work lost)."""
    lost = inference_work_lost(interruptions_per_hour, residence_s, xp)
    return availability(interruptions_per_hour, restore_s) * (1.0 - lost)
