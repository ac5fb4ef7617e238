"""Time to first token inside a replica: the prefill token budget as the server, and prefill and decode in pools of their own.

TTFT = round trips + wait + prefill + rest of the iteration under way. The wait is the queue's (optimizer.performance.queueing) for the
service time S given here: an iteration carries at most `token_budget` tokens, B of them decode, so a prompt of I (1 - h) computed tokens
holds the server for I (1 - h) / (C - B) iterations.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from optimizer.performance.first_token_tail import NORMAL_P99
from optimizer.performance.serving import (
    Architecture,
    Array,
    ChipSpeeds,
    Efficiency,
    Layout,
    Precision,
    StepTime,
    Work,
    prefill_wait,
    seconds_per_pair,
    seconds_per_token,
    seen_tokens,
    step_time,
    tpot_s,
)


class FirstToken(NamedTuple):
    """Prefill of one request in a replica that decodes `batch` sequences. Infinite where the budget does not exceed the batch."""

    service_s: Array  # S: how long the request holds the token-budget server
    prefill_s: Array  # its own prefill without any wait, at least one iteration
    full_iteration_s: Array  # an iteration at the full budget


class Disaggregated(NamedTuple):
    """Chip-seconds of one request in two pools, and its prefill."""

    prefill_s: Array  # one prompt alone in a prefill replica
    transfer_s: Array  # its cache to the decode pool
    prefill_chip_s: Array  # chips x seconds per request, at the pool's utilisation
    decode_chip_s: Array
    prefill_chips_per_decode_chip: Array


def first_token(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layout: Layout,
    work: Work,
    batch: Array,
    token_budget: Array,
    xp: ModuleType = np,
) -> FirstToken:
    """Prefill times of requests of shape `work` at `batch` sequences and `token_budget` tokens per iteration (both per replica)."""
    step = step_time(chip, model, precision, efficiency, layout, work, xp)
    computed = work.input_tokens * (1.0 - work.cache_hit_ratio)
    token = prefill_token_s(chip, model, efficiency, layout, work, xp)
    room = token_budget - batch
    open_ = room > 0.0
    safe = xp.where(open_, room, 1.0)
    # Prefill passes every expert, so a full iteration reads all of them.
    carried = step.alpha_s + batch * (step.sequence_s + step.kv_s)
    full = carried + token_budget * token
    service = computed / safe * full
    alone = carried + (batch + xp.minimum(computed, safe)) * token
    return FirstToken(*(xp.where(open_, time, np.inf) for time in (service, xp.maximum(service, alone), full)))


def own_first_token_s(mean_prefill_s: Array, p99_prefill_s: Array, step_s: Array, xp: ModuleType = np) -> Array:
    """99th percentile of own prefill and rest of the step under way, which is even on [0, step].

    What independent parts exceed their means by adds as squares do, in standard deviations, and is never more than a whole step. With a
    wait at its own 99th percentile the sum is late in 0.01 to 1.3 % of the requests (test_first_token). Kink: where both are equal.
    """
    exceeds = p99_prefill_s - mean_prefill_s
    squares = xp.sqrt(exceeds**2 + (NORMAL_P99 * step_s) ** 2 / 12.0)
    return mean_prefill_s + 0.5 * step_s + xp.minimum(squares, exceeds + 0.5 * step_s)


def prefill_token_s(
    chip: ChipSpeeds, model: Architecture, efficiency: Efficiency, layout: Layout, work: Work, xp: ModuleType = np
) -> Array:
    """Seconds that one input token adds to an iteration: products, network, and attention to the mean distance before it."""
    matmul, network = seconds_per_token(chip, model, efficiency, layout, xp=xp)
    distance = seen_tokens(model, work.input_tokens * (1.0 - 0.5 * (1.0 - work.cache_hit_ratio)), xp)
    wait = prefill_wait(efficiency, layout, layout.chips / layout.pipeline_stages)
    return wait * (matmul + network + distance * seconds_per_pair(chip, model, efficiency, layout)[1])


def prompt_s(
    chip: ChipSpeeds, model: Architecture, precision: Precision, efficiency: Efficiency, layout: Layout, work: Work, xp: ModuleType = np
) -> Array:
    """Seconds of one whole prompt alone in a prefill replica: t0 + L t_layer + (2 P_a I_c + A I_c (I - I_c / 2)) / (n F e_c).

    The weights are read while the products run; a prompt shorter than that takes as long as reading them.
    """
    step = step_time(chip, model, precision, efficiency, layout, work, xp)
    computed = work.input_tokens * (1.0 - work.cache_hit_ratio)
    busy = computed * prefill_token_s(chip, model, efficiency, layout, work, xp)
    return step.overhead_s + step.all_reduce_s + xp.maximum(busy, step.weights_s + step.experts_s)


def transfer_bytes(model: Architecture, precision: Precision, work: Work, xp: ModuleType = np) -> Array:
    """Cache of one prompt that moves from a prefill replica to a decode replica."""
    return model.kv_elements_per_token * precision.kv_bytes * seen_tokens(model, work.input_tokens, xp)


def disaggregated(
    prompt: Array,
    prefill_layout: Layout,
    prefill_utilisation: Array,
    decode_step: StepTime,
    decode_layout: Layout,
    decode_batch: Array,
    decode_utilisation: Array,
    work: Work,
    cache_bytes: Array,
    transfer_bytes_per_s_per_chip: Array,
    xp: ModuleType = np,
) -> Disaggregated:
    """Two pools: n_p t_pre / rho_p + n_d O TPOT_d / (B_d rho_d) chip-seconds per request.

    `prompt` from prompt_s, `decode_step` from serving.decode_only, `cache_bytes` from transfer_bytes. Every chip of the smaller replica
    moves its own share of the cache at `transfer_bytes_per_s_per_chip`; the transfer delays the first token and holds no chip.
    """
    links = xp.minimum(prefill_layout.chips, decode_layout.chips)
    prefill = prefill_layout.chips * prompt / prefill_utilisation
    decode = decode_layout.chips * work.output_tokens * tpot_s(decode_step, decode_batch, xp) / (decode_batch * decode_utilisation)
    return Disaggregated(prompt, cache_bytes / (links * transfer_bytes_per_s_per_chip), prefill, decode, prefill / decode)
