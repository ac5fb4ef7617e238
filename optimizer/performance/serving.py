"""Seconds per output token of one serving replica as a function of its batch: weights, cache, compute, network, overheads.

One iteration of a replica emits one token for each of its B sequences and carries the prefill that keeps the flow in balance
(continuous batching, chunked prefill). Its time is a sum, not a maximum: measured steps hardly overlap memory with compute, and
a sum is smooth. For a dense model TPOT(B) = alpha + beta B exactly; in a mixture of experts the share of the routed experts that
a batch touches grows with it, which adds experts_s (1 - exp(-touch_rate B)), concave in B.

`xp` is numpy or jax.numpy. Kinks: the window of a sliding-window model at a context equal to it, a replica of as many chips as the model
has cache heads, and whole-number layouts (a layout is chosen by enumeration, not by gradient).
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from optimizer.performance.serving_inputs import Architecture, Array, ChipSpeeds, Efficiency, Layout, Precision, Work


class TokenLoad(NamedTuple):
    """What one output token brings with it, averaged over the sequences that are being decoded."""

    prefill_tokens: Array  # computed input tokens per output token
    context_tokens: Array  # read by a decode step, in the mean layer
    cached_tokens: Array  # held in memory: engines keep the whole context of windowed layers too
    prefill_pairs: Array  # (input token, context token) pairs per output token, in the mean layer


class StepTime(NamedTuple):
    """Seconds of one iteration by cause; the first four per iteration, the rest per sequence in it."""

    overhead_s: Array
    all_reduce_s: Array
    weights_s: Array  # everything but routed experts
    experts_s: Array  # all routed experts; a batch B reads 1 - exp(-touch_rate B) of them
    touch_rate: Array
    sequence_s: Array
    matmul_s: Array
    network_s: Array
    attention_s: Array
    kv_s: Array
    prefill_s: Array  # the prefill that keeps the flow in balance: products, network, attention

    @property
    def alpha_s(self) -> Array:
        """Seconds per iteration whatever the batch, with every expert read."""
        return self.overhead_s + self.all_reduce_s + self.weights_s + self.experts_s

    @property
    def beta_s(self) -> Array:
        """Seconds per sequence in the batch."""
        return self.sequence_s + self.matmul_s + self.network_s + self.attention_s + self.kv_s + self.prefill_s


def seen_tokens(model: Architecture, tokens: Array, xp: ModuleType = np) -> Array:
    """Context tokens that the mean layer reads or keeps when `tokens` are there: all of them, or at most the window."""
    return model.full_attention_share * tokens + (1.0 - model.full_attention_share) * xp.minimum(tokens, model.attention_window_tokens)


def context_tokens(work: Work) -> Array:
    """Mean context of a sequence while it is being decoded: I + O (1 + cv2) / 2, since long outputs stay longer."""
    return work.input_tokens + 0.5 * work.output_tokens * (1.0 + work.output_tokens_cv2)


def token_load(model: Architecture, work: Work, xp: ModuleType = np) -> TokenLoad:
    """Load of one request shape. Of I input tokens I (1 - h) are computed, at a mean distance I - I (1 - h) / 2 from the start."""
    computed = work.input_tokens * (1.0 - work.cache_hit_ratio)
    pairs = computed * seen_tokens(model, work.input_tokens - 0.5 * computed, xp)
    return TokenLoad(
        computed / work.output_tokens,
        seen_tokens(model, context_tokens(work), xp),
        context_tokens(work),
        pairs / work.output_tokens,
    )


def mixed_load(model: Architecture, work: Work, request_share: Array, xp: ModuleType = np) -> TokenLoad:
    """Load of a mix of request shapes in one shared batch. The last axis of `work` and `request_share` is the bucket (shares sum to 1).

    A sequence stays for as many steps as it has output tokens, so buckets weigh by share x output tokens: the seconds per token of
    the mix are the mean of those of the buckets at the same batch, and the rate is their harmonic mean.
    """
    tokens = request_share * work.output_tokens
    weight = tokens / xp.sum(tokens, axis=-1, keepdims=True)
    return TokenLoad(*(xp.sum(weight * part, axis=-1) for part in token_load(model, work, xp)))


def split_ways(model: Architecture, layout: Layout, xp: ModuleType = np) -> tuple[Array, Array]:
    """(chips of one stage, copies of a cache entry): a head's cache is repeated where a stage has more chips than the model has heads."""
    stage = layout.chips / layout.pipeline_stages
    copies = xp.maximum(1.0, stage / model.kv_heads)
    return stage, 1.0 + (copies - 1.0) * (1.0 - layout.data_parallel_attention)


def weight_bytes(model: Architecture, precision: Precision) -> tuple[Array, Array]:
    """Bytes of one copy of (everything but the routed experts, all routed experts)."""
    each = precision.weight_bytes if precision.expert_weight_bytes is None else precision.expert_weight_bytes
    return precision.weight_bytes * (model.parameters - model.expert_parameters), each * model.expert_parameters


def seconds_per_token(
    chip: ChipSpeeds, model: Architecture, efficiency: Efficiency, layout: Layout, activation_bytes: float = 2.0, xp: ModuleType = np
) -> tuple[Array, Array]:
    """(products, network) seconds that one more token adds to an iteration of a replica.

    Tensor parallel: two all-reduces a layer, each moving 2 (g - 1) / g of the activations through every chip. Data-parallel
    attention: dispatch and combine reach the distinct chips among a token's experts, and the chips share the tokens.
    """
    stage, _ = split_ways(model, layout, xp)
    apart = layout.data_parallel_attention
    routed = model.expert_parameters * model.experts_per_token / model.experts
    others = (stage - 1.0) / stage
    imbalance = 1.0 + efficiency.expert_imbalance * apart * others
    flops = 2.0 * (model.active_parameters - routed) + 2.0 * routed * imbalance / efficiency.expert_compute
    matmul = flops / (layout.chips * chip.flops_per_s * efficiency.compute)
    reached = stage * (1.0 - others**model.experts_per_token)
    moved = (1.0 - apart) * 4.0 * others + apart * 2.0 * reached * others / stage
    volume = moved * model.layers * model.hidden_size * activation_bytes
    return matmul, volume / (layout.pipeline_stages * chip.network_bytes_per_s * efficiency.network)


def seconds_per_pair(chip: ChipSpeeds, model: Architecture, efficiency: Efficiency, layout: Layout) -> tuple[Array, Array]:
    """(decode, prefill) seconds of attention of a replica for one (token, context token) pair in every layer."""
    peak = chip.flops_per_s if chip.attention_flops_per_s is None else chip.attention_flops_per_s
    prefill = model.prefill_flops_per_token_pair
    rate = layout.chips * peak * efficiency.attention
    decode = model.attention_flops_per_token_pair / rate
    return decode / efficiency.decode_attention, decode if prefill is None else prefill / rate


def prefill_wait(efficiency: Efficiency, layout: Layout, stage: Array) -> Array:
    """Factor on prefill where every chip schedules prompts of its own and all of them wait for the one with most to do."""
    return 1.0 + efficiency.prefill_wait * layout.data_parallel_attention * (stage - 1.0) / stage


def step_time(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layout: Layout,
    work: Work | TokenLoad,
    xp: ModuleType = np,
) -> StepTime:
    """Seconds of one iteration of a replica with prefill and decode together, by cause.

    The weights of a pipeline are read stage after stage, so they are spread over one stage's chips; what a batch adds is spread over
    all of them, since the stages work on different parts of the batch.
    """
    load = work if isinstance(work, TokenLoad) else token_load(model, work, xp)
    stage, copies = split_ways(model, layout, xp)
    apart = layout.data_parallel_attention
    dense, routed = weight_bytes(model, precision)
    bandwidth = chip.hbm_bytes_per_s * efficiency.memory
    matmul, network = seconds_per_token(chip, model, efficiency, layout, xp=xp)
    decode_pair, prefill_pair = seconds_per_pair(chip, model, efficiency, layout)
    wait = prefill_wait(efficiency, layout, stage)
    untouched = xp.where(model.expert_parameters > 0.0, xp.maximum(1.0 - model.experts_per_token / model.experts, 1e-9), 1.0)
    return StepTime(
        overhead_s=efficiency.step_s + model.layers * efficiency.layer_s,
        all_reduce_s=xp.where(stage > 1.0, 2.0 * model.layers * efficiency.all_reduce_s, 0.0),
        weights_s=dense / (bandwidth * (stage * (1.0 - apart) + apart)),
        experts_s=routed / (bandwidth * stage),
        touch_rate=-xp.log(untouched) * (1.0 + load.prefill_tokens),
        sequence_s=efficiency.sequence_s,
        matmul_s=matmul,
        network_s=network,
        attention_s=decode_pair * load.context_tokens,
        kv_s=model.kv_elements_per_token * precision.kv_bytes * load.context_tokens * copies / (layout.chips * bandwidth),
        prefill_s=wait * (load.prefill_tokens * (matmul + network) + prefill_pair * load.prefill_pairs),
    )


def tpot_s(step: StepTime, batch: Array, xp: ModuleType = np) -> Array:
    """Mean seconds per output token at `batch` sequences per replica; by Little's law the replica emits batch / tpot_s tokens a second."""
    return step.alpha_s - step.experts_s * xp.exp(-step.touch_rate * batch) + step.beta_s * batch


def decode_only(step: StepTime, load: TokenLoad) -> StepTime:
    """The step of a replica that never prefills (a decode pool); `load` is the load that `step` was made for."""
    return step._replace(prefill_s=0.0 * step.prefill_s, touch_rate=step.touch_rate / (1.0 + load.prefill_tokens))


def speculative(step: StepTime, load: TokenLoad, draft_tokens: Array, acceptance: Array, draft_s: Array, xp: ModuleType = np) -> StepTime:
    """The step with `draft_tokens` guessed by a draft model at `draft_s` seconds each and checked together.

    acceptance (below 1) is the chance that a guess stands given that those before it did: an iteration emits
    (1 - q^(g+1)) / (1 - q) tokens, computes g + 1 and reads weights and cache once. Prefill per emitted token does not change.
    """
    if xp is np and np.any(np.asarray(acceptance) >= 1.0):
        raise ValueError(f"acceptance {acceptance}: the chance that a draft token stands must be below 1")
    checked = 1.0 + draft_tokens
    emitted = (1.0 - acceptance**checked) / (1.0 - acceptance)
    return StepTime(
        overhead_s=(step.overhead_s + draft_tokens * draft_s) / emitted,
        all_reduce_s=step.all_reduce_s / emitted,
        weights_s=step.weights_s / emitted,
        experts_s=step.experts_s / emitted,
        touch_rate=step.touch_rate * (checked + emitted * load.prefill_tokens) / (1.0 + load.prefill_tokens),
        sequence_s=step.sequence_s / emitted,
        matmul_s=step.matmul_s * checked / emitted,
        network_s=step.network_s * checked / emitted,
        attention_s=step.attention_s * checked / emitted,
        kv_s=step.kv_s / emitted,
        prefill_s=step.prefill_s,
    )
