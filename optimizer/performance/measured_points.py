"""Measured serving throughput: the table that calibration reads, joined with the chips and models of a catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.performance.precision import COMPUTE_TYPES, STORED_TYPES, stored_precision
from optimizer.performance.serving import Architecture, ChipSpeeds, Layout, Precision, Work
from optimizer.spec.case_error import did_you_mean
from optimizer.spec.catalog import Catalog
from optimizer.spec.catalog_tables import Row, read_table

BASES = ("served", "explicit", "offline")
"""Where the batch comes from: Little's law of the run itself, the client's concurrency, or the memory limit (blank in the table)."""
REQUIRED = (
    "name", "basis", "serving_stack", "chip", "replica_chips", "pipeline_stages", "attention", "model", "compute_type", "weight_type",
    "cache_type", "input_tokens", "output_tokens", "batch", "output_tokens_per_s_per_chip", "source", "date", "confidence",
)  # fmt: skip
OPTIONAL = (
    "software", "input_tokens_source", "output_tokens_cv2", "requests", "deployed_chips", "requests_per_s", "tpot_mean_ms", "tpot_p99_ms",
    "ttft_mean_ms", "ttft_p99_ms", "tpot_limit_ms", "ttft_limit_ms", "note",
)  # fmt: skip
_PEAKS = {"bf16": "bf16_dense_tflops", "fp8": "fp8_dense_tflops", "fp4": "fp4_dense_tflops"}
_LATENCIES = ("tpot_mean_ms", "tpot_p99_ms", "ttft_mean_ms", "ttft_p99_ms", "tpot_limit_ms", "ttft_limit_ms")


@dataclass(frozen=True)
class MeasuredPoints:
    """n points; every leaf has shape [n]. NaN where a measurement was not made."""

    name: tuple[str, ...]
    basis: tuple[str, ...]
    chip_name: tuple[str, ...]
    model_name: tuple[str, ...]
    group: tuple[tuple[str, str, str], ...]  # architecture, compute data type, serving stack
    older: np.ndarray  # 1 where the software is a year older
    chip: ChipSpeeds
    model: Architecture
    precision: Precision
    layout: Layout
    work: Work
    batch: np.ndarray  # NaN: from the memory limit
    requests: np.ndarray  # in the whole run, which no batch exceeds; inf: not stated
    rate: np.ndarray  # output tokens/s per chip
    latency: Mapping[str, np.ndarray]  # by column, ms

    def __len__(self) -> int:
        return len(self.name)

    def select(self, chosen: np.ndarray) -> MeasuredPoints:
        """The points where the boolean array `chosen` [n] is true."""
        at = np.flatnonzero(chosen)

        def part(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return value[at]
            if isinstance(value, Mapping):
                return {key: part(below) for key, below in value.items()}
            if hasattr(value, "_fields"):
                return type(value)(*(part(leaf) for leaf in value))
            return tuple(value[i] for i in at)

        return MeasuredPoints(**{field: part(getattr(self, field)) for field in self.__dataclass_fields__})


def joined(first: MeasuredPoints, second: MeasuredPoints) -> MeasuredPoints:
    """The points of both."""

    def both(one: Any, two: Any) -> Any:
        if isinstance(one, np.ndarray):
            return np.concatenate([one, two])
        if isinstance(one, Mapping):
            return {key: both(one[key], two[key]) for key in one}
        if hasattr(one, "_fields"):
            return type(one)(*(both(a, b) for a, b in zip(one, two, strict=True)))
        return one + two

    return MeasuredPoints(**{field: both(getattr(first, field), getattr(second, field)) for field in first.__dataclass_fields__})


def read_points(path: Path, catalog: Catalog) -> MeasuredPoints:
    """The points of a table. Raises CaseError with row and column: a name the catalog lacks, a field that is missing or out of range."""
    rows = list(read_table(path, REQUIRED, OPTIONAL))
    if not rows:
        raise ValueError(f"{path}: has no rows; write one measured point per row")
    found = [_point(row, catalog) for row in rows]

    def stacked(kind: Any, key: str) -> Any:
        return kind(*(np.array(column, float) for column in zip(*(one[key] for one in found), strict=True)))

    def column(key: str) -> np.ndarray:
        return np.array([one[key] for one in found], float)

    return MeasuredPoints(
        name=tuple(row.text("name") for row in rows),
        basis=tuple(row.text("basis") for row in rows),
        chip_name=tuple(row.text("chip") for row in rows),
        model_name=tuple(row.text("model") for row in rows),
        group=tuple(one["group"] for one in found),
        older=column("older"),
        chip=stacked(ChipSpeeds, "chip"),
        model=stacked(Architecture, "model"),
        precision=stacked(Precision, "precision"),
        layout=stacked(Layout, "layout"),
        work=stacked(Work, "work"),
        batch=column("batch"),
        requests=column("requests"),
        rate=column("rate"),
        latency={name: np.array([one["latency"][name] for one in found], float) for name in _LATENCIES},
    )


def _point(row: Row, catalog: Catalog) -> dict[str, Any]:
    row.name("name")
    basis = row.choice("basis", BASES)
    compute, weights, cache = (row.choice(c, t) for c, t in (
        ("compute_type", COMPUTE_TYPES), ("weight_type", STORED_TYPES), ("cache_type", STORED_TYPES),
    ))  # fmt: skip
    chip, model = chip_speeds(row, catalog, compute), architecture(row, catalog)
    batch = row.positive("batch")
    if (batch is None) != (basis == "offline"):
        what = "is blank" if batch is None else "is given"
        raise row.error("batch", f"{what} with basis {basis}", "leave it blank where basis is offline, and write it elsewhere")
    chips, stages = _needed(row, "replica_chips"), _needed(row, "pipeline_stages")
    if chips % stages:
        raise row.error("pipeline_stages", f"is {stages:g}, which does not divide replica_chips ({chips:g})", "write a divisor")
    known = catalog.chips[row.text("chip")]
    if known.architecture is None:
        raise row.error("chip", f"`{row.text('chip')}` has no architecture in the catalog", "add it to chips.yaml")
    mixture = model.expert_parameters > 0.0
    precision = stored_precision(weights, cache, mixture)
    expert = precision.weight_bytes if precision.expert_weight_bytes is None else precision.expert_weight_bytes
    return {
        "group": (known.architecture, compute, row.name("serving_stack")),
        "older": 1.0 if row.text("software") == "older" else 0.0,
        "chip": chip,
        "model": model,
        "precision": precision._replace(expert_weight_bytes=expert),
        "layout": Layout(chips, stages, float(row.choice("attention", ("tensor", "data")) == "data")),
        "work": Work(_needed(row, "input_tokens"), _needed(row, "output_tokens"), 0.0, row.positive("output_tokens_cv2") or 0.0),
        "batch": np.nan if batch is None else batch,
        "requests": row.positive("requests") or np.inf,
        "rate": _needed(row, "output_tokens_per_s_per_chip"),
        "latency": {name: row.positive(name) or np.nan for name in _LATENCIES},
    }


def _needed(row: Row, column: str) -> float:
    value = row.positive(column)
    if value is None:
        raise row.error(column, "is blank", "write a number greater than 0")
    return value


def chip_speeds(row: Row, catalog: Catalog, compute: str) -> ChipSpeeds:
    """Peaks of the chip that `row` names, for products in `compute`; CaseError: unknown chip, a peak that nobody has published."""
    name = row.name("chip")
    chip = catalog.chips.get(name)
    if chip is None:
        raise row.error("chip", f"`{name}` is not in chips.yaml", did_you_mean(name, catalog.chips))
    peak = getattr(chip, _PEAKS[compute])
    if peak is None:
        raise row.error("compute_type", f"{name} has no {_PEAKS[compute]} in the catalog", "use a data type that the chip computes in")
    have = _numbers(row, "chip", chip, ("hbm_gb_per_s", "hbm_gb", "scale_up_gb_per_s", "bf16_dense_tflops"))
    return ChipSpeeds(
        flops_per_s=1e12 * peak,
        hbm_bytes_per_s=1e9 * have["hbm_gb_per_s"],
        hbm_bytes=1e9 * have["hbm_gb"],
        network_bytes_per_s=1e9 * have["scale_up_gb_per_s"],
        attention_flops_per_s=1e12 * have["bf16_dense_tflops"],
    )


def architecture(row: Row, catalog: Catalog) -> Architecture:
    """Shape of the model that `row` names, with every optional field filled; CaseError: unknown model, a field that is missing."""
    name = row.name("model")
    model = catalog.models.get(name)
    if model is None:
        raise row.error("model", f"`{name}` is not in models.yaml", did_you_mean(name, catalog.models))
    latent = model.kv_latent_size is not None
    needed = ["parameters_billion", "active_parameters_billion", "layers", "hidden_size", "attention_heads", "head_size"]
    needed += ["kv_latent_size", "kv_rotary_size"] if latent else ["kv_heads"]
    needed += [] if model.experts is None else ["experts", "experts_per_token", "expert_parameters_billion"]
    have = _numbers(row, "model", model, needed)
    layers, heads, size = have["layers"], have["attention_heads"], have["head_size"]
    if latent:
        cached, rotary = have["kv_latent_size"], have["kv_rotary_size"]
        kv_heads, elements, decode, prefill = 1.0, cached, 2.0 * (2.0 * cached - rotary), 2.0 * (2.0 * size + rotary)
    else:
        kv_heads = have["kv_heads"]
        elements, decode, prefill = 2.0 * kv_heads * size, 4.0 * size, 4.0 * size
    return Architecture(
        parameters=1e9 * have["parameters_billion"],
        active_parameters=1e9 * have["active_parameters_billion"],
        expert_parameters=1e9 * have.get("expert_parameters_billion", 0.0),
        experts=have.get("experts", 1.0),
        experts_per_token=have.get("experts_per_token", 1.0),
        layers=layers,
        hidden_size=have["hidden_size"],
        attention_heads=heads,
        kv_heads=kv_heads,
        kv_elements_per_token=layers * elements,
        attention_flops_per_token_pair=layers * heads * decode,
        attention_window_tokens=float(model.attention_window_tokens or np.inf),
        full_attention_share=float(model.full_attention_share or 1.0),
        prefill_flops_per_token_pair=layers * heads * prefill,
    )


def _numbers(row: Row, column: str, entry: Any, fields: Sequence[str]) -> dict[str, float]:
    """The fields of a catalog entry as floats; CaseError names those that the entry lacks."""
    missing = [field for field in fields if getattr(entry, field) is None]
    if missing:
        remedy = f"add {'it' if len(missing) == 1 else 'them'} to {column}s.yaml"
        raise row.error(column, f"`{row.text(column)}` has no {', '.join(missing)} in the catalog", remedy)
    return {field: float(getattr(entry, field)) for field in fields}
