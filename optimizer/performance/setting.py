"""One way of running one workload on one kind of chip: the numbers by role, and from them what the serving equations take.

A setting says where each number comes from (a field of the case or of a catalog row), so that the same equations run on numbers when a
setting is chosen and on the parameter vector when the program's arrays are made (optimizer.build.placement).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, TypeVar

import numpy as np

from optimizer.performance.batch import UNLIMITED_BATCH, Operation, batch_memory, operate_step
from optimizer.performance.serving import (
    Architecture,
    Array,
    ChipSpeeds,
    Efficiency,
    Layout,
    Precision,
    TokenLoad,
    Work,
    mixed_load,
    speculative,
    step_time,
)
from optimizer.spec.resolved import Chip, ModelClass, Performance, Quantity, Workload

CHIP_ROLES = ("hbm_gb_per_s", "hbm_gb", "scale_up_gb_per_s", "bf16_dense_tflops", "tflops")
MODEL_ROLES = (
    "parameters_billion", "active_parameters_billion", "expert_parameters_billion", "experts", "experts_per_token", "layers", "hidden_size",
    "attention_heads", "kv_heads", "head_size", "kv_latent_size", "kv_rotary_size", "attention_window_tokens", "full_attention_share",
)  # fmt: skip
WORK_ROLES = ("cache_hit_ratio", "output_tokens_cv2", "draft_tokens", "acceptance", "draft_ms")
TARGET_ROLES = ("tpot_p99_ms", "tpot_mean_over_p99")
BUCKET_ROLES = ("input_tokens", "output_tokens", "share")
ABSENT = {
    "expert_parameters_billion": 0.0, "experts": 1.0, "experts_per_token": 1.0, "kv_heads": 1.0, "kv_latent_size": 0.0,
    "kv_rotary_size": 0.0, "attention_window_tokens": math.inf, "full_attention_share": 1.0, "draft_tokens": 0.0, "acceptance": 0.0,
    "draft_ms": 0.0, "tpot_p99_ms": math.inf, "share": 1.0,
}  # fmt: skip
"""What a role is worth where nothing is written."""
T = TypeVar("T")
TFLOPS_FIELD = {"bf16": "bf16_dense_tflops", "fp8": "fp8_dense_tflops", "fp4": "fp4_dense_tflops"}


@dataclass(frozen=True)
class Setting:
    """`numbers` and `buckets` by role; the rest is chosen, not measured."""

    numbers: Mapping[str, Quantity]
    buckets: tuple[Mapping[str, Quantity], ...]
    precision: str
    weight_bytes: float
    expert_weight_bytes: float
    kv_bytes: float
    chips: float
    pipeline_stages: float
    data_parallel_attention: float
    batch_share: float = 1.0  # of the largest batch that memory and target allow: a smaller one prefills sooner


class Inputs(NamedTuple):
    """Arguments of the serving equations, leaves [D]; `works` and `share` have the bucket as their last axis."""

    chip: ChipSpeeds
    model: Architecture
    precision: Precision
    efficiency: Efficiency
    layout: Layout
    works: Work
    share: Array
    tpot_mean_limit_s: Array
    draft_tokens: Array
    acceptance: Array
    draft_s: Array
    batch_share: Array

    def load(self, xp: ModuleType = np) -> TokenLoad:
        """The mix of all buckets in one batch."""
        return mixed_load(Architecture(*(xp.asarray(leaf)[..., None] for leaf in self.model)), self.works, self.share, xp)

    def of_bucket(self, k: int) -> Work:
        """The requests of one bucket."""
        return Work(*(leaf[..., k if leaf.shape[-1] > 1 else 0] for leaf in self.works))  # some leaves hold for all buckets


def numbers_of(chip: Chip, precision: str, model: ModelClass, efficiency: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """The numbers of chip, model and stack by role; what is absent is left out."""
    found: dict[str, Quantity | None] = {role: getattr(chip, role) for role in CHIP_ROLES[:-1]}
    found["tflops"] = getattr(chip, TFLOPS_FIELD[precision])
    found |= {role: getattr(model, role) for role in MODEL_ROLES}
    return {role: number for role, number in found.items() if number is not None} | dict(efficiency)


def work_of(workload: Workload) -> tuple[dict[str, Quantity], tuple[dict[str, Quantity], ...]]:
    """(numbers, buckets) of a serving or batch workload by role."""
    traffic = workload.traffic
    assert traffic is not None and workload.input_tokens is not None and workload.output_tokens is not None
    found = {"cache_hit_ratio": traffic.cache_hit_ratio, "output_tokens_cv2": traffic.output_tokens_cv2}
    if traffic.speculative is not None:
        draft = traffic.speculative
        found |= {"draft_tokens": draft.draft_tokens, "acceptance": draft.acceptance, "draft_ms": draft.draft_ms}
    if workload.tpot_p99_ms is not None:
        found["tpot_p99_ms"] = workload.tpot_p99_ms
    if traffic.buckets:
        return found, tuple({role: getattr(bucket, role) for role in BUCKET_ROLES} for bucket in traffic.buckets)
    return found, ({"input_tokens": workload.input_tokens, "output_tokens": workload.output_tokens},)


def target_of(performance: Performance) -> dict[str, Quantity]:
    return {"tpot_mean_over_p99": performance.tpot_mean_over_p99}


def inputs(get: Callable[[str], Array], bucket: Callable[[str], Array], chosen: Mapping[str, Array], xp: ModuleType = np) -> Inputs:
    """`get(role)` gives [D], `bucket(role)` gives [D, K]; `chosen` holds the fields of Setting that are no quantities, each [D]."""
    layers, heads, size, latent, rotary = (get(r) for r in ("layers", "attention_heads", "head_size", "kv_latent_size", "kv_rotary_size"))
    is_latent = latent > 0
    model = Architecture(
        parameters=1e9 * get("parameters_billion"),
        active_parameters=1e9 * get("active_parameters_billion"),
        expert_parameters=1e9 * get("expert_parameters_billion"),
        experts=get("experts"),
        experts_per_token=get("experts_per_token"),
        layers=layers,
        hidden_size=get("hidden_size"),
        attention_heads=heads,
        kv_heads=xp.where(is_latent, 1.0, get("kv_heads")),
        kv_elements_per_token=layers * xp.where(is_latent, latent, 2.0 * get("kv_heads") * size),
        attention_flops_per_token_pair=layers * heads * xp.where(is_latent, 2.0 * (2.0 * latent - rotary), 4.0 * size),
        attention_window_tokens=get("attention_window_tokens"),
        full_attention_share=get("full_attention_share"),
        prefill_flops_per_token_pair=layers * heads * xp.where(is_latent, 2.0 * (2.0 * size + rotary), 4.0 * size),
    )
    ratio, cv2 = (xp.asarray(get(role))[..., None] for role in ("cache_hit_ratio", "output_tokens_cv2"))
    return Inputs(
        chip=ChipSpeeds(
            flops_per_s=1e12 * get("tflops"),
            hbm_bytes_per_s=1e9 * get("hbm_gb_per_s"),
            hbm_bytes=1e9 * get("hbm_gb"),
            network_bytes_per_s=1e9 * get("scale_up_gb_per_s"),
            attention_flops_per_s=1e12 * get("bf16_dense_tflops"),
        ),
        model=model,
        precision=Precision(chosen["weight_bytes"], chosen["kv_bytes"], chosen["expert_weight_bytes"]),
        efficiency=Efficiency(*(get(role) for role in Efficiency._fields)),
        layout=Layout(chosen["chips"], chosen["pipeline_stages"], chosen["data_parallel_attention"]),
        works=Work(bucket("input_tokens"), bucket("output_tokens"), ratio, cv2),
        share=bucket("share"),
        tpot_mean_limit_s=1e-3 * get("tpot_p99_ms") * get("tpot_mean_over_p99"),
        draft_tokens=get("draft_tokens"),
        acceptance=get("acceptance"),
        draft_s=1e-3 * get("draft_ms"),
        batch_share=chosen["batch_share"],
    )


def inputs_of(settings: list[Setting], raised: str = "", by: float = 1.0) -> Inputs:
    """The numbers of some settings as they stand, those of the role `raised` times `by`; buckets padded with shares of zero. Settings that
    differ in their layout share their numbers, so each map is read once."""
    numbers, numbers_at = _distinct([setting.numbers for setting in settings])
    buckets, buckets_at = _distinct([setting.buckets for setting in settings])
    most = max(len(of_setting) for of_setting in buckets)

    def get(role: str) -> np.ndarray:
        found = np.array([n[role].value if role in n else ABSENT[role] for n in numbers], float)[numbers_at]
        return found * by if role == raised else found

    def bucket(role: str) -> np.ndarray:
        rows = [[b[role].value if role in b else ABSENT[role] for b in of_setting] for of_setting in buckets]
        filler = 0.0 if role == "share" else 1.0
        return np.array([row + [filler] * (most - len(row)) for row in rows], float)[buckets_at]

    return inputs(get, bucket, chosen_of(settings))


def _distinct(objects: list[T]) -> tuple[list[T], np.ndarray]:
    """(each object once, the position there of each of the given ones)."""
    position: dict[int, int] = {}
    at = [position.setdefault(id(one), len(position)) for one in objects]
    return list({id(one): one for one in objects}.values()), np.array(at, int)


def chosen_of(settings: list[Setting]) -> dict[str, np.ndarray]:
    fields = ("weight_bytes", "expert_weight_bytes", "kv_bytes", "chips", "pipeline_stages", "data_parallel_attention", "batch_share")
    return {field: np.array([getattr(s, field) for s in settings], float) for field in fields}


def run(given: Inputs, xp: ModuleType = np) -> Operation:
    """The replica at its batch, on hard values: the chosen share of the smaller of what memory and what the target allow."""
    load = given.load(xp)
    step = step_time(given.chip, given.model, given.precision, given.efficiency, given.layout, load, xp)
    step = speculative(step, load, given.draft_tokens, given.acceptance, given.draft_s, xp)  # exactly `step` without drafts
    held = batch_memory(given.chip, given.model, given.precision, given.efficiency, given.layout, load, xp)
    largest = operate_step(step, given.layout, held, given.tpot_mean_limit_s, xp)
    if np.all(np.asarray(given.batch_share) == 1.0):
        return largest
    cap = xp.where(given.batch_share < 1.0, xp.maximum(given.batch_share * largest.batch, 1.0), UNLIMITED_BATCH)
    return operate_step(step, given.layout, held, given.tpot_mean_limit_s, xp, batch_cap=cap)
