"""The iteration of one measured run, by cause: the calibrated model moved as little as possible to the run's mean time per output token.

Near saturation the batch, and with it every wait, multiplies an error of the iteration time by 1 / (1 - utilisation). The mean time per
output token of a run is measured beside its time to first token and is no part of it. What the model misses is spread over its
parameters by the smallest move in their calibrated standard deviations: most of it goes to what was known least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from optimizer.performance.efficiency_parameters import Normal
from optimizer.performance.measured_points import MeasuredPoints
from optimizer.performance.serving import (
    Architecture,
    Efficiency,
    prefill_wait,
    seconds_per_pair,
    seconds_per_token,
    seen_tokens,
    step_time,
)

FP8_OVER_16_BIT_PEAK = 2.0
"""Dense products, Hopper and Blackwell (datasheets)."""
NUDGE = 1e-4
ROUNDS = 12


class Kernels(NamedTuple):
    """What a submitter's configuration says of the engine."""

    fused_all_reduce: bool = False  # TensorRT-LLM gemm_allreduce_plugin
    fp8_prefill_attention: bool = False  # use_fp8_context_fmha


class IterationParts(NamedTuple):
    """Seconds of one iteration of a replica: step_s + decoding sequences x sequence_s + prompt tokens x token_s."""

    step_s: float
    sequence_s: float
    token_s: float


def row_parallel_share(model: Architecture) -> Any:
    """Share of a dense model's products that end in an all-reduce: attention output and MLP down, (d^2 + down) / (P / L).

    down = a third of what attention, 2 d^2 (1 + kv heads / heads), leaves of a layer: gated MLP.
    """
    layer, square = model.parameters / model.layers, model.hidden_size**2
    attention = 2.0 * square * (1.0 + model.kv_heads / model.attention_heads)
    return (square + (layer - attention) / 3.0) / layer


def iteration_parts(point: MeasuredPoints, efficiency: Efficiency, slower: float, kernels: Kernels) -> IterationParts:
    """Parts of the one point in `point`, every expert read. `slower`: factor on all times.

    A fused all-reduce sends the tiles of a product while the rest is computed: it hides as much network time as that product lasts.
    """
    chip, model, layout, work = point.chip, point.model, point.layout, point.work
    step = step_time(chip, model, point.precision, efficiency, layout, work)
    products, network = seconds_per_token(chip, model, efficiency, layout)
    if kernels.fused_all_reduce:
        network = network - np.minimum(network, row_parallel_share(model) * products)
    computed = work.input_tokens * (1.0 - work.cache_hit_ratio)
    pairs = seen_tokens(model, work.input_tokens - 0.5 * computed)
    attention = pairs * seconds_per_pair(chip, model, efficiency, layout)[1]
    if kernels.fp8_prefill_attention:
        attention = attention / FP8_OVER_16_BIT_PEAK
    wait = prefill_wait(efficiency, layout, layout.chips / layout.pipeline_stages)
    parts = (step.alpha_s, step.sequence_s + products + network + step.attention_s + step.kv_s, wait * (products + network + attention))
    return IterationParts(*(slower * float(np.ravel(part)[0]) for part in parts))


def least_move(
    parts: Callable[[Mapping[str, float]], IterationParts],
    tpot_s: Callable[[IterationParts], float],
    beliefs: Mapping[str, Normal],
    measured_s: float,
) -> IterationParts:
    """parts(parameters) where tpot_s(parts) = measured_s and the sum of (ln(parameter / belief) / log_std)^2 is least.

    Raises ValueError: no move of these parameters reaches the measured time.
    """
    names = tuple(beliefs)
    centre, variance = np.array([beliefs[name].value for name in names]), np.array([beliefs[name].log_std for name in names]) ** 2

    def at(move: np.ndarray) -> IterationParts:
        return parts(dict(zip(names, centre * np.exp(move), strict=True)))

    def miss(move: np.ndarray) -> float:
        return float(np.log(tpot_s(at(move)) / measured_s))

    move = np.zeros(len(names))
    for _ in range(ROUNDS):
        gap = miss(move)
        slope = np.array([(miss(move + NUDGE * unit) - gap) / NUDGE for unit in np.eye(len(names))])
        curvature = slope @ (variance * slope)
        if not curvature > 0.0:
            break
        move = variance * slope * (slope @ move - gap) / curvature
    if not abs(miss(move)) < 1e-6:
        raise ValueError(f"the parameters {', '.join(names)} cannot be moved to a mean time per output token of {1e3 * measured_s:g} ms")
    return at(move)
