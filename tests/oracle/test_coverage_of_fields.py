"""The small cases together use every field, every listed value and every form of path of docs/case_reference.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.oracle.second_builder_reading import read_case

FOLDER = Path(__file__).parent / "cases"
FILES = sorted(FOLDER.rglob("*.yaml"))
CASES = sorted(FOLDER.glob("*.yaml"))

# One pattern per field, `*` stands for a name. A path's inside is in PATH_FIELDS.
FIELDS = """
name description extends catalog discount_rate_per_year end_value
horizon.start horizon.periods horizon.period
load_blocks.*.utc_hours load_blocks.*.days
profiles.*.local_hours profiles.*.weekend_factor
origins.*.network_location origins.*.utc_offset_hours origins.*.profile
regions.* regions.*.provider regions.*.residency_zone regions.*.network_location
sites.*.provider sites.*.residency_zone sites.*.network_location sites.*.power_mw sites.*.pue sites.*.electricity_usd_per_mwh
sites.*.electricity_usd_per_mwh.catalog
chips.* chips.*.bf16_dense_tflops chips.*.hbm_gb chips.*.scale_up_chips chips.*.provisioned_power_kw_per_chip
chips.*.idle_power_kw_per_chip chips.*.load_power_kw_per_chip chips.*.available_from chips.*.family chips.*.vendor
chips.*.hbm_gb_per_s chips.*.fp8_dense_tflops chips.*.fp4_dense_tflops chips.*.scale_up_gb_per_s chips.*.replica_chips
chips.*.slice_chips chips.*.architecture chips.*.serving_stack
models.* models.*.weight_gb models.*.parameters_billion models.*.active_parameters_billion models.*.expert_parameters_billion
models.*.experts models.*.experts_per_token models.*.layers models.*.hidden_size models.*.attention_heads models.*.kv_heads
models.*.head_size models.*.kv_latent_size models.*.kv_rotary_size models.*.attention_window_tokens models.*.full_attention_share
models.*.vocabulary_size
throughput.*.chip throughput.*.model throughput.*.task throughput.*.input_tokens throughput.*.output_tokens
throughput.*.output_tokens_per_second_per_chip throughput.*.ttft_p99_ms throughput.*.tpot_p99_ms throughput.*.assumed
throughput.*.training_tflops_per_chip
offers.*.kind offers.*.chip offers.*.chips offers.*.place offers.*.places
offers.*.price_usd_per_chip offers.*.price_usd_per_chip_hour offers.*.price_usd_per_chip_year offers.*.price_growth_per_year
offers.*.opex_usd_per_chip_year offers.*.life_months offers.*.term_months offers.*.upfront_share offers.*.lead_time_months
offers.*.window.from offers.*.window.until offers.*.available_chips offers.*.available_chips_total offers.*.usable_share offers.*.assumed
offers.*.lot_chips offers.*.take offers.*.deliveries offers.*.breaks.every_months offers.*.breaks.months offers.*.breaks.notice_months
offers.*.breaks.fee_usd_per_chip offers.*.breaks.fee_share
offers.*.interruptions.per_hour offers.*.interruptions.checkpoint_minutes offers.*.interruptions.checkpoint_interval_minutes
offers.*.interruptions.restore_minutes
existing.*.class existing.*.chip existing.*.place existing.*.count_chips existing.*.start existing.*.end
existing.*.opex_usd_per_chip_year existing.*.usable_share existing.*.price_usd_per_chip_hour
workloads.*.kind workloads.*.model workloads.*.input_tokens workloads.*.output_tokens workloads.*.origins
workloads.*.requests_per_second workloads.*.requests_per_period workloads.*.exaflop_per_period workloads.*.level
workloads.*.runs.*.exaflop workloads.*.runs.*.from workloads.*.runs.*.until workloads.*.runs.*.min_chips workloads.*.runs.*.slice_chips
workloads.*.ttft_p99_ms workloads.*.tpot_p99_ms workloads.*.round_trips_per_request
workloads.*.allowed_residency_zones workloads.*.allowed_chips workloads.*.allowed_families workloads.*.allowed_providers
workloads.*.allowed_places workloads.*.preemptible workloads.*.movable
workloads.*.unserved_usd_per_million_output_tokens workloads.*.unserved_usd_per_exaflop
limits.supply.*.max_chips limits.supply.*.kinds limits.supply.*.chips limits.supply.*.families limits.supply.*.places
limits.supply.*.providers
limits.capex.*.max_usd limits.capex.*.kinds limits.capex.*.chips limits.capex.*.families limits.capex.*.places limits.capex.*.providers
limits.share.*.min limits.share.*.max limits.share.*.of limits.share.*.basis limits.share.*.excess_usd_per_unit
limits.share.*.kinds limits.share.*.chips limits.share.*.families limits.share.*.places limits.share.*.providers
scenarios.reveal scenarios.cases.*.probability
scenarios.cases.*.demand.*.path scenarios.cases.*.demand.*.workloads
scenarios.cases.*.prices.*.path scenarios.cases.*.prices.*.kinds scenarios.cases.*.prices.*.chips
scenarios.cases.*.prices.*.families scenarios.cases.*.prices.*.places scenarios.cases.*.prices.*.providers
""".split()

VALUES: dict[str, list[Any]] = {
    "horizon.period": ["month", "quarter", "year"],
    "end_value": ["straight_line", "none"],
    "load_blocks.*.days": ["all", "weekdays", "weekend"],
    "throughput.*.task": ["serving", "training"],
    "offers.*.kind": ["own", "lease", "reserved_1y", "reserved_3y", "on_demand", "spot"],
    "offers.*.price_usd_per_chip": ["catalog"],
    "offers.*.price_usd_per_chip_hour": ["catalog"],
    "offers.*.upfront_share": [1],
    "offers.*.take": ["fraction", "all", "nothing"],
    "offers.*.interruptions.per_hour": [0],
    "existing.*.class": ["own", "lease", "reserved"],
    "workloads.*.kind": ["serving", "batch", "training"],
    "workloads.*.level": ["mid", "end"],
    "workloads.*.preemptible": [True],
    "workloads.*.movable": [True, False],
    "limits.share.*.of": ["signed", "total"],
    "limits.share.*.basis": ["compute", "chips", "spend"],
    "origins.*.utc_offset_hours": [-12, 14, 0],
    "discount_rate_per_year": [0],
}

PATH_FIELDS = """
sites.*.power_mw sites.*.electricity_usd_per_mwh
offers.*.price_usd_per_chip offers.*.price_usd_per_chip_hour offers.*.price_usd_per_chip_year offers.*.available_chips
workloads.*.requests_per_second workloads.*.requests_per_period workloads.*.exaflop_per_period
limits.supply.*.max_chips limits.capex.*.max_usd limits.share.*.min limits.share.*.max
scenarios.cases.*.demand.*.path scenarios.cases.*.prices.*.path
""".split()

# (kind of work, movable, has origins), (of, basis, side), and offers' fields that every kind has
WORK = [
    ("serving", False, True),
    ("batch", True, False),
    ("batch", True, True),
    ("batch", False, False),
    ("batch", False, True),
    ("training", True, False),
    ("training", False, False),
]
SHARES = [(of, basis, side) for of in ("signed", "total") for basis in ("compute", "chips", "spend") for side in ("min", "max")]
FIELDS_OF_KIND = {
    "own": "price_usd_per_chip price_growth_per_year opex_usd_per_chip_year life_months lead_time_months window available_chips "
    "available_chips_total usable_share assumed deliveries lot_chips take",
    "lease": "price_usd_per_chip_hour price_usd_per_chip_year price_growth_per_year term_months upfront_share lead_time_months window "
    "available_chips available_chips_total usable_share assumed deliveries lot_chips take breaks",
    "reserved_1y": "price_usd_per_chip_hour price_usd_per_chip_year price_growth_per_year upfront_share lead_time_months window "
    "available_chips available_chips_total usable_share assumed deliveries lot_chips take breaks",
    "reserved_3y": "price_usd_per_chip_hour price_usd_per_chip_year price_growth_per_year upfront_share lead_time_months window "
    "available_chips available_chips_total usable_share assumed deliveries lot_chips take breaks",
    "on_demand": "price_usd_per_chip_hour price_usd_per_chip_year price_growth_per_year window available_chips usable_share assumed",
    "spot": "price_usd_per_chip_hour price_usd_per_chip_year price_growth_per_year window available_chips usable_share assumed "
    "interruptions",
}


def walk(value: Any, pattern: list[str]) -> list[Any]:
    """Everything a pattern reaches in a map."""
    if not pattern:
        return [value]
    if not isinstance(value, dict):
        return []
    keys = list(value) if pattern[0] == "*" else [pattern[0]]
    found = []
    for key in keys:
        if key in value:
            found += walk(value[key], pattern[1:])
    return found


def form(value: Any) -> str:
    """The form of a path."""
    if isinstance(value, dict):
        return next((key for key in ("by_period", "by_date", "start") if key in value), "catalog")
    return "number" if isinstance(value, int | float) else str(value)


MERGED = [read_case(path) for path in CASES]
RAW = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES]


def all_of(pattern: str) -> list[Any]:
    """What a pattern reaches, over all cases with their extends merged."""
    return [value for case in MERGED for value in walk(case, pattern.split("."))]


@pytest.mark.parametrize("field", FIELDS)
def test_field_is_used(field: str) -> None:
    """Every field of the reference stands in at least one case."""
    assert any(walk(case, field.split(".")) for case in MERGED + RAW)


@pytest.mark.parametrize("field", VALUES)
def test_values_are_used(field: str) -> None:
    """Every value of an enumeration, and the edges of some ranges."""
    found = all_of(field)
    for value in VALUES[field]:
        assert any(type(other) is type(value) and other == value for other in found), value


@pytest.mark.parametrize("field", PATH_FIELDS)
def test_every_form_of_path(field: str) -> None:
    """Each Path takes each of its four forms somewhere."""
    assert {"number", "start", "by_period", "by_date"} <= {form(value) for value in all_of(field)}


def test_kinds_of_work() -> None:
    """Serving, batch and training, movable or not, with origins or without."""
    found = set()
    for workload in all_of("workloads.*"):
        movable = workload["kind"] != "serving" and workload.get("movable", True)
        found.add((workload["kind"], movable, "origins" in workload))
    assert set(WORK) <= found


def test_shares() -> None:
    """Signed and total, three bases, min and max."""
    found = {(share["of"], share["basis"], side) for share in all_of("limits.share.*") for side in ("min", "max") if side in share}
    assert set(SHARES) <= found


@pytest.mark.parametrize("kind", FIELDS_OF_KIND)
def test_fields_of_a_kind(kind: str) -> None:
    """Every kind of offer uses every field that it may have."""
    found = {key for offer in all_of("offers.*") if offer["kind"] == kind for key in offer}
    assert set(FIELDS_OF_KIND[kind].split()) <= found


def test_nulls_and_defaults() -> None:
    """A null removes a key somewhere, and the optional blocks are absent somewhere."""

    def has_null(value: Any) -> bool:
        return value is None or (isinstance(value, dict) and any(has_null(entry) for entry in value.values()))

    assert sum(has_null(raw) for raw in RAW) >= 3
    for block in ("existing", "limits", "scenarios", "sites", "origins", "profiles", "throughput", "end_value"):
        assert any(block not in case for case in MERGED), block
    assert any("catalog" not in raw for raw in RAW)


def test_there_are_enough() -> None:
    """At least 34 cases."""
    assert len(CASES) >= 34
