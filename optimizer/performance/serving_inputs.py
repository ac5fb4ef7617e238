"""What the serving equations are asked about: chip, model, data types, efficiencies, layout and request.

Every leaf of every tuple is a float or an array; all of them broadcast. SI units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
"""A float, a numpy array or a jax array; a tracer under jit, grad and vmap."""


class ChipSpeeds(NamedTuple):
    """Datasheet peaks of one chip."""

    flops_per_s: Array  # dense, at the data type of the matrix products
    hbm_bytes_per_s: Array
    hbm_bytes: Array
    network_bytes_per_s: Array  # scale-up network, one way, per chip
    attention_flops_per_s: Array | None = None  # dense, 16 bits: attention stays there when weights shrink; None: flops_per_s


class Architecture(NamedTuple):
    """What of a transformer sets its cost; counts, not bytes."""

    parameters: Array
    active_parameters: Array  # multiplied per token
    expert_parameters: Array  # of all routed experts together; 0: dense
    experts: Array  # routed experts per layer; 1 where dense, as experts_per_token
    experts_per_token: Array
    layers: Array
    hidden_size: Array
    attention_heads: Array
    kv_heads: Array  # over which tensor parallelism can split the cache; 1: multi-head latent attention
    kv_elements_per_token: Array  # cached per token over all layers: 2 L kv_heads head_size, or L (latent + rope)
    attention_flops_per_token_pair: Array  # decode, all layers: 4 L heads head_size, or 2 L heads (2 latent + rope) absorbed
    attention_window_tokens: Array = np.inf  # of the layers that see a sliding window
    full_attention_share: Array = 1.0  # of the layers, those that see the whole context
    prefill_flops_per_token_pair: Array | None = None  # not absorbed: 2 L heads (2 head_size + rope); None: as decode


class Precision(NamedTuple):
    """Bytes per element; the data type of the products is in ChipSpeeds.flops_per_s."""

    weight_bytes: Array  # of what is not a routed expert (of all parameters where dense), scales included
    kv_bytes: Array
    expert_weight_bytes: Array | None = None  # None: weight_bytes


class Efficiency(NamedTuple):
    """What calibration fits: shares of peaks, and seconds that no peak explains."""

    compute: Array  # of flops_per_s
    memory: Array  # of hbm_bytes_per_s
    network: Array  # of network_bytes_per_s
    step_s: Array  # per iteration
    layer_s: Array  # per layer and iteration: launches, host
    all_reduce_s: Array  # latency of one collective
    sequence_s: Array  # per sequence and iteration: scheduler, sampling
    usable_memory_share: Array  # of hbm_bytes, for weights and cache
    attention: Array = 0.6  # of attention_flops_per_s
    decode_attention: Array = 1.0  # relative to attention, of a decode step: below 1 where the kernel is young
    expert_compute: Array = 1.0  # grouped products of the routed experts, relative to compute
    expert_imbalance: Array = 0.0  # excess of the fullest of many chips over the mean load, expert parallel
    prefill_wait: Array = 0.0  # excess of prefill time where many chips with attention of their own wait for the slowest


class Layout(NamedTuple):
    """How one replica is spread over chips."""

    chips: Array
    pipeline_stages: Array = 1.0
    data_parallel_attention: Array = 0.0  # 1: experts spread over the chips, everything else whole on each of them; 0: tensor parallel


class Work(NamedTuple):
    """One request: mean tokens in and out."""

    input_tokens: Array
    output_tokens: Array
    cache_hit_ratio: Array = 0.0  # share of the input whose cache entries are already there
    output_tokens_cv2: Array = 0.0  # squared coefficient of variation of the output length
