"""The batch of a serving replica: what memory allows, what the target allows, and the throughput at the smaller of the two.

`operate` is the hard answer, which a plan is judged on. `operate_smooth` has the same limits under a harmonic soft minimum, for
derivatives: it is below the hard batch, by up to 8 % where two limits tie, and is never a proof of feasibility.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from optimizer.performance.serving import (
    Architecture,
    Array,
    ChipSpeeds,
    Efficiency,
    Layout,
    Precision,
    StepTime,
    TokenLoad,
    Work,
    split_ways,
    step_time,
    token_load,
    tpot_s,
    weight_bytes,
)

BINDING = ("memory", "tpot", "batch_cap", "weights_do_not_fit", "tpot_unreachable")
"""What `Operation.binds` counts: the first three hold back a feasible replica, the last two make it infeasible."""
UNLIMITED_BATCH = 1e9
SOFTMIN_POWER = 8.0
SEQUENCES_SHARPNESS = 8.0
"""Per sequence: how sharply a limit below zero sequences turns into zero."""


class Operation(NamedTuple):
    """One replica at its best batch. Where it is infeasible, the hard batch and rates are 0 and TPOT is infinite."""

    batch: Array  # sequences per replica
    tpot_s: Array  # mean
    output_tokens_per_s_per_chip: Array
    batch_memory: Array  # what the memory holds; negative where not even the weights fit
    batch_target: Array  # at which the mean TPOT meets the limit; negative where no batch does
    feasible: Array  # bool: one sequence fits and one sequence meets the limit
    binds: Array  # int index into BINDING
    step: StepTime


def held_bytes(model: Architecture, precision: Precision, layout: Layout, xp: ModuleType = np) -> Array:
    """Bytes of weights that a replica holds; data-parallel attention repeats all but the routed experts on every chip of a stage."""
    dense, routed = weight_bytes(model, precision)
    stage, _ = split_ways(model, layout, xp)
    return dense * (1.0 + layout.data_parallel_attention * (stage - 1.0)) + routed


def batch_memory(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layout: Layout,
    load: TokenLoad,
    xp: ModuleType = np,
) -> Array:
    """Sequences of mean context that fit beside the weights: (n M u - W) / (kv context); negative where the weights do not fit."""
    room = layout.chips * chip.hbm_bytes * efficiency.usable_memory_share - held_bytes(model, precision, layout, xp)
    _, copies = split_ways(model, layout, xp)
    return room / (model.kv_elements_per_token * precision.kv_bytes * load.cached_tokens * copies)


def batch_at(step: StepTime, tpot_mean_limit_s: Array, xp: ModuleType = np) -> Array:
    """The batch whose mean TPOT is the limit; UNLIMITED_BATCH for an infinite limit, negative where no batch is fast enough.

    tpot_s is concave and increasing in the batch, so Newton's steps from a point left of the root stay left of it. Below the batch 0 the
    tangent there continues it (once differentiable).
    """
    bounded = xp.isfinite(tpot_mean_limit_s)
    empty = step.alpha_s - step.experts_s
    spare = xp.where(bounded, tpot_mean_limit_s, 2.0 * empty) - empty
    tangent = spare / (step.beta_s + step.experts_s * step.touch_rate)
    limit = empty + xp.maximum(spare, 0.0)
    batch = xp.maximum(xp.maximum(tangent, (limit - step.alpha_s) / step.beta_s), 0.0)
    for _ in range(10):
        unread = step.experts_s * xp.exp(-step.touch_rate * batch)
        batch = batch + (limit - tpot_s(step, batch, xp)) / (step.beta_s + step.touch_rate * unread)
    return xp.where(bounded, xp.where(spare > 0.0, batch, tangent), UNLIMITED_BATCH)


def operate(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layout: Layout,
    work: Work | TokenLoad,
    tpot_mean_limit_s: Array,
    xp: ModuleType = np,
    *,
    batch_cap: Array = UNLIMITED_BATCH,
) -> Operation:
    """The true best batch and what binds it; tpot_mean_limit_s is the p99 target times the ratio mean / p99, inf for none."""
    load = work if isinstance(work, TokenLoad) else token_load(model, work, xp)
    step = step_time(chip, model, precision, efficiency, layout, load, xp)
    held = batch_memory(chip, model, precision, efficiency, layout, load, xp)
    return operate_step(step, layout, held, tpot_mean_limit_s, xp, batch_cap=batch_cap)


def operate_step(
    step: StepTime, layout: Layout, held: Array, tpot_mean_limit_s: Array, xp: ModuleType = np, *, batch_cap: Array = UNLIMITED_BATCH
) -> Operation:
    """`operate` for a step that is already made (speculative, decode only) and a memory limit of `held` sequences."""
    aimed = batch_at(step, tpot_mean_limit_s, xp)
    one = tpot_s(step, 1.0, xp)
    fits, fast = held >= 1.0, one <= tpot_mean_limit_s
    feasible = fits & fast
    batch = xp.minimum(xp.minimum(held, aimed), batch_cap)
    safe = xp.where(feasible, batch, 1.0)
    seconds = tpot_s(step, safe, xp)
    limits = xp.where(held <= xp.minimum(aimed, batch_cap), 0, xp.where(aimed <= batch_cap, 1, 2))
    return Operation(
        batch=xp.where(feasible, safe, 0.0),
        tpot_s=xp.where(feasible, seconds, np.inf),
        output_tokens_per_s_per_chip=xp.where(feasible, safe / (seconds * layout.chips), 0.0),
        batch_memory=held,
        batch_target=aimed,
        feasible=feasible,
        binds=xp.where(fits, xp.where(fast, limits, 4), 3),
        step=step,
    )


def operate_smooth(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layout: Layout,
    work: Work | TokenLoad,
    tpot_mean_limit_s: Array,
    xp: ModuleType = np,
    *,
    batch_cap: Array = UNLIMITED_BATCH,
    power: float = SOFTMIN_POWER,
) -> Operation:
    """As `operate`, differentiable in every argument; `feasible` and `binds` stay those of the hard answer, and must be asked."""
    hard = operate(chip, model, precision, efficiency, layout, work, tpot_mean_limit_s, xp, batch_cap=batch_cap)
    batch = soft_minimum((positive(hard.batch_memory, xp), positive(hard.batch_target, xp), batch_cap), power, xp)
    seconds = tpot_s(hard.step, batch, xp)
    return hard._replace(batch=batch, tpot_s=seconds, output_tokens_per_s_per_chip=batch / (seconds * layout.chips))


def soft_minimum(values: tuple[Array, ...], power: float = SOFTMIN_POWER, xp: ModuleType = np) -> Array:
    """(sum x^-q)^(-1/q) of positive values: below the minimum, by the factor k^(-1/q) where k values tie."""
    least = values[0]
    for value in values[1:]:
        least = xp.minimum(least, value)
    return least * sum((least / value) ** power for value in values) ** (-1.0 / power)


def positive(batch: Array, xp: ModuleType = np) -> Array:
    """softplus(s x) / s with s = SEQUENCES_SHARPNESS: x where x is a sequence or more, a little above 0 where it is negative."""
    scaled = SEQUENCES_SHARPNESS * batch
    return (xp.maximum(scaled, 0.0) + xp.log1p(xp.exp(-xp.abs(scaled)))) / SEQUENCES_SHARPNESS + 1e-30  # above 0 where exp underflows
