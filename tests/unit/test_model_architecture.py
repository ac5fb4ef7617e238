"""Model classes are real models: their shapes add up to their parameters, and fields that are missing or contradict are named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from optimizer.spec import CaseError, load_case
from optimizer.spec.catalog import Catalog, shipped_catalog
from optimizer.spec.model_architecture import is_mixture, missing_architecture, missing_performance
from optimizer.spec.resolved import Case, Quantity

CATALOG = Catalog(shipped_catalog())
CASE = """
name: shapes
horizon: {start: 2026-10-01, periods: 1, period: year}
discount_rate_per_year: 0.08
load_blocks: {all: {utc_hours: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]}}
regions: {"aws:us-east-1": {}}
chips: {a100_80gb: {}}
models: {dense_32b: {}}
throughput: {measured: {chip: a100_80gb, model: dense_32b, task: training, training_tflops_per_chip: 150}}
workloads: {run: {kind: training, model: dense_32b, exaflop_per_period: 1, unserved_usd_per_exaflop: 1}}
"""


class FeedForward(NamedTuple):
    """Widths of the releases' config.json files that no cost depends on, except through the parameters."""

    dense_layers: int
    width: int = 0
    mixture_layers: int = 0
    expert_width: int = 0
    shared_experts: int = 0
    query_latent_size: int = 0  # latent attention only


FEED_FORWARD = {
    "dense_8b": FeedForward(32, 14336),
    "dense_32b": FeedForward(64, 25600),
    "dense_70b": FeedForward(80, 28672),
    "dense_405b": FeedForward(126, 53248),
    "llama2_70b": FeedForward(80, 28672),
    "moe_mixtral_8x7b": FeedForward(0, 0, 32, 14336),
    "moe_gpt_oss_20b": FeedForward(0, 0, 24, 2880),
    "moe_gpt_oss_120b": FeedForward(0, 0, 36, 2880),
    "moe_qwen3_30b": FeedForward(0, 0, 48, 768),
    "moe_qwen3_235b": FeedForward(0, 0, 94, 1536),
    "moe_qwen3_coder_480b": FeedForward(0, 0, 62, 2560),
    "moe_llama4_scout": FeedForward(0, 0, 48, 8192, 1),
    "moe_llama4_maverick": FeedForward(24, 16384, 24, 8192, 1),
    "moe_deepseek_r1": FeedForward(3, 18432, 58, 2048, 1, 1536),
    "dense_20b": FeedForward(40, 20480),
    "moe_2t": FeedForward(3, 26624, 87, 3072, 1, 1536),
}


def attention_parameters(row: Any, query_latent_size: int) -> float:
    """Of one layer. Latent attention has heads of head_size and kv_rotary_size together for queries and keys."""
    d, heads, head = row.hidden_size, row.attention_heads, row.head_size
    if row.kv_latent_size is None:
        return 2 * d * heads * head + 2 * d * row.kv_heads * head
    latent = row.kv_latent_size - row.kv_rotary_size
    query = d * query_latent_size + query_latent_size * heads * (head + row.kv_rotary_size)
    return query + d * row.kv_latent_size + latent * heads * 2 * head + heads * head * d


@pytest.mark.parametrize("name", CATALOG.models)
def test_the_shape_adds_up_to_the_published_parameters(name: str) -> None:
    row: Any = CATALOG.models[name]
    widths = FEED_FORWARD[name]
    assert widths.dense_layers + widths.mixture_layers == row.layers
    gated = 3 * row.hidden_size  # two matrices in, one out
    experts = widths.mixture_layers * (row.experts or 0) * gated * widths.expert_width
    used = widths.mixture_layers * (row.experts_per_token or 0) * gated * widths.expert_width
    others = row.layers * attention_parameters(row, widths.query_latent_size)
    others += widths.dense_layers * gated * widths.width + widths.mixture_layers * widths.shared_experts * gated * widths.expert_width
    embedding = row.vocabulary_size * row.hidden_size
    assert (row.expert_parameters_billion or 0) == pytest.approx(experts / 1e9, rel=1e-3)
    assert row.parameters_billion == pytest.approx((experts + others + 2 * embedding) / 1e9, rel=0.03)
    # publishers count the table that tokens are looked up in among the active parameters, or do not
    least, most = (used + others + embedding) / 1e9, (used + others + 2 * embedding) / 1e9
    assert 0.97 * least <= row.active_parameters_billion <= 1.03 * most


@pytest.fixture
def case(tmp_path: Path) -> Callable[..., Case]:
    """Loads a small case with the given chips and models, on the catalog that ships."""

    def load(chips: dict[str, Any] | None = None, models: dict[str, Any] | None = None) -> Case:
        path = tmp_path / "case.yaml"
        path.write_text(CASE)
        return load_case(path, {"chips": chips or {}, "models": models or {}})

    return load


def test_every_class_of_the_catalog_can_be_modelled(case: Callable[..., Case]) -> None:
    models = case(models={name: {} for name in CATALOG.models}).models
    assert len(models) >= 16
    assert {name: missing_architecture(model) for name, model in models.items()} == dict.fromkeys(models, ())
    assert {name for name, model in models.items() if is_mixture(model)} == {name for name in models if name.startswith("moe_")}


def test_every_chip_of_the_catalog_can_be_modelled(case: Callable[..., Case]) -> None:
    for name, chip in case(chips={name: {} for name in CATALOG.chips}).chips.items():
        assert missing_performance(chip) == (), name
        assert chip.replica_chips and chip.slice_chips and chip.scale_up_gb_per_s and chip.hbm_gb_per_s, name
        assert chip.slice_chips <= chip.scale_up_chips.value, name
        rates = [rate.value for rate in (chip.bf16_dense_tflops, chip.fp8_dense_tflops, chip.fp4_dense_tflops) if rate]
        assert rates == sorted(rates) and (chip.fp4_dense_tflops is None or chip.fp8_dense_tflops is not None), name
        assert chip.scale_up_gb_per_s.value < chip.hbm_gb_per_s.value, name


def test_numbers_know_where_they_come_from(case: Callable[..., Case]) -> None:
    found = case({"h100": {"scale_up_gb_per_s": 400, "replica_chips": [2, 8]}}, {"moe_2t": {"layers": 80}, "dense_70b": {}})
    h100, moe = found.chips["h100"], found.models["moe_2t"]
    assert h100.scale_up_gb_per_s == Quantity(400.0, "chips.h100.scale_up_gb_per_s")
    assert h100.hbm_gb_per_s == Quantity(3350.0, "catalog.chips.h100.hbm_gb_per_s")
    assert (h100.replica_chips, h100.architecture, h100.serving_stack) == ((2, 8), "hopper", "trtllm")
    assert h100.fp4_dense_tflops is None
    assert moe.layers == Quantity(80.0, "models.moe_2t.layers")
    assert moe.experts == Quantity(240.0, "catalog.models.moe_2t.experts", assumed=True)
    assert found.models["dense_70b"].experts is None


def test_a_model_of_the_case_alone_needs_no_architecture_until_it_is_modelled(case: Callable[..., Case]) -> None:
    found = case(models={"mine": {"weight_gb": 55}, "half": {"weight_gb": 30, "layers": 40, "experts": 64}}).models
    every = ("parameters_billion", "active_parameters_billion", "layers", "hidden_size", "attention_heads", "head_size")
    assert missing_architecture(found["mine"]) == (*every, "kv_heads")
    experts = ("expert_parameters_billion", "experts_per_token")
    assert missing_architecture(found["half"]) == (*(name for name in every if name != "layers"), *experts, "kv_heads")


WHOLE = {
    "parameters_billion": 10,
    "active_parameters_billion": 10,
    "layers": 30,
    "hidden_size": 4096,
    "attention_heads": 32,
    "head_size": 128,
}


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({"kv_heads": 8}, ()),
        ({}, ("kv_heads",)),
        ({"kv_latent_size": 576}, ("kv_rotary_size",)),
        ({"kv_latent_size": 576, "kv_rotary_size": 64}, ()),
        ({"kv_heads": 8, "attention_window_tokens": 128}, ("full_attention_share",)),
        ({"kv_heads": 8, "attention_window_tokens": 128, "full_attention_share": 0.5}, ()),
        ({"kv_heads": 8, "active_parameters_billion": 3}, ("expert_parameters_billion", "experts", "experts_per_token")),
        ({"kv_heads": 8, "active_parameters_billion": 3, "expert_parameters_billion": 9, "experts": 8}, ("experts_per_token",)),
    ],
)
def test_only_what_is_missing_is_named(case: Callable[..., Case], more: dict[str, float], missing: tuple[str, ...]) -> None:
    model = case(models={"mine": {"weight_gb": 10, **WHOLE, **more}}).models["mine"]
    assert missing_architecture(model) == missing


def test_a_chip_of_the_case_alone_misses_its_peaks(case: Callable[..., Case]) -> None:
    own = {"vendor": "us", "family": "gpu", "bf16_dense_tflops": 100, "hbm_gb": 32, "scale_up_chips": 4, "available_from": date(2026, 1, 1)}
    power = {f"{state}_power_kw_per_chip": 0.5 for state in ("provisioned", "idle", "load")}
    chip = case(chips={"mine": {**own, **power, "hbm_gb_per_s": 1000}}).chips["mine"]
    assert missing_performance(chip) == ("scale_up_gb_per_s", "replica_chips", "architecture", "serving_stack")


@pytest.mark.parametrize(
    ("chips", "models", "key", "says"),
    [
        ({}, {"moe_qwen3_30b": {"experts_per_token": 129}}, "models.moe_qwen3_30b.experts_per_token", "more than `experts` (128)"),
        ({}, {"moe_qwen3_30b": {"experts": 4, "experts_per_token": 5}}, "models.moe_qwen3_30b.experts_per_token", "write at most 4"),
        ({}, {"dense_8b": {"active_parameters_billion": 9}}, "models.dense_8b.active_parameters_billion", "more than `parameters_billion`"),
        ({}, {"moe_2t": {"expert_parameters_billion": 2001}}, "models.moe_2t.expert_parameters_billion", "write at most 2000"),
        ({}, {"moe_2t": {"kv_rotary_size": 577}}, "models.moe_2t.kv_rotary_size", "more than `kv_latent_size` (576)"),
        ({}, {"dense_8b": {"kv_heads": 5}}, "models.dense_8b.kv_heads", "does not divide `attention_heads` (32)"),
        ({}, {"dense_8b": {"kv_heads": 2.5}}, "models.dense_8b.kv_heads", "write a whole number"),
        ({}, {"dense_8b": {"layers": 0}}, "models.dense_8b.layers", "at least 1"),
        ({}, {"dense_8b": {"full_attention_share": 0}}, "models.dense_8b.full_attention_share", "greater than 0"),
        ({}, {"dense_8b": {"full_attention_share": 1.5}}, "models.dense_8b.full_attention_share", "at most 1"),
        ({"h100": {"replica_chips": [4, 2]}}, {}, "chips.h100.replica_chips", "has 2 after 4; write the sizes in ascending order"),
        ({"h100": {"replica_chips": [8, 8]}}, {}, "chips.h100.replica_chips", "has 8 after 8"),
        ({"h100": {"replica_chips": [1, 12]}}, {}, "chips.h100.replica_chips", "above one scale-up domain of 8 chips"),
        ({"h100": {"scale_up_chips": 6}}, {}, "chips.h100.replica_chips", "above one scale-up domain of 6 chips"),
        ({"h100": {"replica_chips": []}}, {}, "chips.h100.replica_chips", "at least one entry"),
        ({"h100": {"slice_chips": 2.5}}, {}, "chips.h100.slice_chips", "write a whole number"),
        ({"h100": {"scale_up_gb_per_s": 0}}, {}, "chips.h100.scale_up_gb_per_s", "greater than 0"),
    ],
)
def test_contradictions_are_refused_in_one_line(case: Callable[..., Case], chips: Any, models: Any, key: str, says: str) -> None:
    with pytest.raises(CaseError) as caught:
        case(chips, models)
    assert caught.value.key_path == key
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_catalog_row_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    text = (shipped_catalog() / "models.yaml").read_text()
    (tmp_path / "models.yaml").write_text(text.replace("experts_per_token: 8", "experts_per_token: 800", 1))
    with pytest.raises(CaseError, match=r"models\.yaml: models\.moe_deepseek_r1\.experts_per_token: is 800, more than `experts` \(256\)"):
        _ = Catalog(tmp_path).models
