"""Chips for a training run: work, sustained rate, and the fewest chips that meet a deadline.

    C = 6 P_a D + 6 L d s D                    FLOP: matrix products of forward and backward pass, and causal attention
    MFU(n) = MFU0 (n / n0)^-gamma              gamma inside the scale-up domain about 0, across it 0.03 to 0.09
    goodput(n) = exp(-sqrt(2 t_ck / M) - R / M),   M = MTBF of one chip / n          (Young: `optimizer.performance.checkpoint`)
    rate(n) = n * peak * MFU(n) * goodput(n) * availability

The logarithm of the rate is concave in ln n: it rises up to `fastest_chips`, beyond which more chips finish later. Below it the
chips for a deadline are unique, and Newton's method from the left reaches them without a bracket.

P_a counts the parameters that a token is multiplied with: not the input embedding. Public FLOP counts of dense and mixture models
follow this convention to 0.5 % where they count attention causally; some count it in full, twice as much.

Functions are elementwise over arrays, in numpy or jax (`xp`), smooth except where n is the size of the scale-up domain.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from optimizer.performance.checkpoint import Array, young_goodput

NEWTON_STEPS = 60
"""Eight do away from `fastest_chips`; towards it the root becomes double and each step only halves the error."""
SECONDS_PER_HOUR = 3600.0


class Scaling(NamedTuple):
    """How the utilisation falls with the number of chips; 0 <= gamma_inside <= gamma_across < 1."""

    mfu: Array  # at reference_chips, share of the peak that `peak_tflops` means
    reference_chips: Array
    gamma_inside: Array  # exponent up to scale_up_chips
    gamma_across: Array  # exponent beyond
    scale_up_chips: Array  # one node, rack or slice with a fast network


class Reliability(NamedTuple):
    """Failures and checkpoints of a job."""

    chip_mtbf_hours: Array  # mean time between unexpected failures of one chip, hours
    checkpoint_s: Array  # time of one checkpoint, s
    restart_s: Array  # time from a failure to progress again, s


class TrainingChips(NamedTuple):
    """`chips` is inf where no number of chips meets the deadline; `fastest_chips` is the number that finishes first."""

    chips: Array
    feasible: Array  # bool
    fastest_chips: Array


class WholeSlices(NamedTuple):
    """Chips rounded up, and what the rounding costs."""

    chips: Array
    added_chips: Array
    added_share: Array  # of the chips asked for; 0 where none are


def training_flops(active_parameters: Array, tokens: Array, layers: Array, attention_width: Array, sequence_tokens: Array) -> Array:
    """[...], FLOP of a run over `tokens`: 6 P_a D + 6 L d s D, attention causal, d = heads x head size."""
    return 6.0 * tokens * (active_parameters + layers * attention_width * sequence_tokens)


def mfu(chips: Array, scaling: Scaling, xp: ModuleType = np) -> Array:
    """[...], model FLOP utilisation on `chips` > 0, as a share of the peak; continuous, with a kink at scale_up_chips."""
    return scaling.mfu * xp.exp(-_log_loss(xp.log(xp.asarray(chips)), scaling, xp))


def goodput(chips: Array, reliability: Reliability, xp: ModuleType = np) -> Array:
    """[...], share of time that is progress on `chips` > 0, with checkpoints at Young's interval."""
    mtbf_s = reliability.chip_mtbf_hours * SECONDS_PER_HOUR / chips
    return young_goodput(reliability.checkpoint_s, reliability.restart_s, mtbf_s, xp)


def sustained_tflops_per_chip(
    chips: Array, peak_tflops: Array, scaling: Scaling, reliability: Reliability, availability: Array = 1.0, xp: ModuleType = np
) -> Array:
    """[...], TFLOP/s per chip of progress: peak x MFU x goodput x availability. `availability`: share of time the chips are there."""
    return peak_tflops * mfu(chips, scaling, xp) * goodput(chips, reliability, xp) * availability


def fastest_chips(scaling: Scaling, reliability: Reliability, xp: ModuleType = np) -> Array:
    """[...], the number of chips beyond which more chips finish later: where -d ln(goodput) / d ln n reaches 1 - gamma."""
    across = _turning_chips(scaling.gamma_across, reliability, xp)
    inside = _turning_chips(scaling.gamma_inside, reliability, xp)
    return xp.maximum(across, xp.minimum(inside, scaling.scale_up_chips))


def training_chips(
    flops: Array,
    deadline_s: Array,
    peak_tflops: Array,
    scaling: Scaling,
    reliability: Reliability,
    availability: Array = 1.0,
    xp: ModuleType = np,
) -> TrainingChips:
    """The fewest chips (not rounded) that do `flops` within `deadline_s` seconds; derivatives are those of the implicit function.

    They exist while the best rate, that of `fastest_chips`, is enough; else `chips` is inf with derivative 0.
    """
    tflops_per_chip = peak_tflops * scaling.mfu * availability
    needed = xp.log(xp.asarray(flops / 1e12 / deadline_s / tflops_per_chip))  # in this order: no square of 1e22 in float32 derivatives
    most = xp.log(fastest_chips(scaling, reliability, xp))
    fixed, shape, failures, top = _stopped((needed, scaling, reliability, most), xp)
    root = _newton(fixed, shape, failures, top, xp)
    feasible = _excess(top, fixed, shape, failures, xp)[0] >= 0.0
    excess, slope = _excess(_stopped(root, xp), needed, scaling, reliability, xp)
    log_chips = root - excess / xp.where(slope > 0, slope, 1.0)  # the value stays, the derivative is the implicit function's
    chips = xp.where(feasible, xp.exp(xp.where(feasible, log_chips, 0.0)), np.inf)
    return TrainingChips(chips, feasible, xp.exp(most))


def training_seconds(
    flops: Array,
    chips: Array,
    peak_tflops: Array,
    scaling: Scaling,
    reliability: Reliability,
    availability: Array = 1.0,
    xp: ModuleType = np,
) -> Array:
    """[...], s: how long `flops` take on `chips`."""
    return flops / 1e12 / (chips * sustained_tflops_per_chip(chips, peak_tflops, scaling, reliability, availability, xp))


def whole_slices(chips: Array, slice_chips: Array = 1, min_chips: Array = 0, xp: ModuleType = np) -> WholeSlices:
    """The least multiple of `slice_chips` that is neither below `chips` (to 1e-9 of a slice) nor, where chips > 0, below `min_chips`.

    A step function: it has no useful derivative and is meant for reports.
    """
    chips = xp.asarray(chips) * 1.0
    wanted = xp.where(chips > 0, xp.maximum(chips, min_chips), 0.0)
    rounded = xp.ceil(wanted / slice_chips - 1e-9) * slice_chips
    return WholeSlices(rounded, rounded - chips, xp.where(chips > 0, (rounded - chips) / xp.where(chips > 0, chips, 1.0), 0.0))


def _log_loss(log_chips: Array, scaling: Scaling, xp: ModuleType) -> Array:
    """ln(MFU0 / MFU(n))."""
    domain = xp.log(xp.asarray(scaling.scale_up_chips) * 1.0)
    reference = xp.log(xp.asarray(scaling.reference_chips) * 1.0)
    inside = xp.minimum(log_chips, domain) - xp.minimum(reference, domain)
    across = xp.maximum(log_chips - domain, 0.0) - xp.maximum(reference - domain, 0.0)
    return scaling.gamma_inside * inside + scaling.gamma_across * across


def _excess(log_chips: Array, needed: Array, scaling: Scaling, reliability: Reliability, xp: ModuleType) -> tuple[Array, Array]:
    """(ln of the rate minus ln of what is needed, its slope in ln n)."""
    root_loss, loss = _failure_terms(xp.exp(log_chips), reliability, xp)
    value = log_chips - _log_loss(log_chips, scaling, xp) - root_loss - loss - needed
    gamma = xp.where(log_chips < xp.log(xp.asarray(scaling.scale_up_chips) * 1.0), scaling.gamma_inside, scaling.gamma_across)
    return value, 1.0 - gamma - root_loss / 2 - loss


def _failure_terms(chips: Array, reliability: Reliability, xp: ModuleType) -> tuple[Array, Array]:
    """(sqrt(2 t_ck / M), R / M)."""
    rate = chips / (reliability.chip_mtbf_hours * SECONDS_PER_HOUR)
    return xp.sqrt(2.0 * reliability.checkpoint_s * rate), reliability.restart_s * rate


def _turning_chips(gamma: Array, reliability: Reliability, xp: ModuleType) -> Array:
    """n with sqrt(2 t_ck n / m) / 2 + R n / m = 1 - gamma, m the MTBF of one chip: the positive root of a quadratic in sqrt(n)."""
    half = xp.sqrt(2.0 * reliability.checkpoint_s) / 2
    root = 2.0 * (1.0 - gamma) / (half + xp.sqrt(half**2 + 4.0 * reliability.restart_s * (1.0 - gamma)))
    return reliability.chip_mtbf_hours * SECONDS_PER_HOUR * root**2


def _newton(needed: Array, scaling: Scaling, reliability: Reliability, most: Array, xp: ModuleType) -> Array:
    """ln n of the root. The rate without failures is an upper bound, so that its root, the start, lies on the left; the function is
    concave, so that every step stays there."""
    domain = xp.log(xp.asarray(scaling.scale_up_chips) * 1.0)
    short = needed - (domain - _log_loss(domain, scaling, xp))  # > 0: one domain is not enough
    start = domain + short / (1.0 - xp.where(short > 0, scaling.gamma_across, scaling.gamma_inside))

    def step(_: int, log_chips: Array) -> Array:
        excess, slope = _excess(log_chips, needed, scaling, reliability, xp)
        return xp.minimum(log_chips - excess / xp.where(slope > 1e-12, slope, 1.0), most)

    log_chips = xp.minimum(start, most)
    if xp is np:
        for i in range(NEWTON_STEPS):
            log_chips = step(i, log_chips)
    else:
        from jax import lax

        log_chips = lax.fori_loop(0, NEWTON_STEPS, step, log_chips)
    return log_chips


def _stopped(value: Any, xp: ModuleType) -> Any:
    """A tree of arrays as constants of differentiation."""
    if xp is np:
        return value
    from jax import lax, tree

    return tree.map(lax.stop_gradient, value)
