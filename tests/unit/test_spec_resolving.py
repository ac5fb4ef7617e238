"""From a good case to numbers with key paths: catalog rows, overrides of fields, expansion, assumed flags, hash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from optimizer.spec import CaseError, load_case
from optimizer.spec.case_hash import quantities
from optimizer.spec.resolved import Case, Quantity, Selector

BASE = Path(__file__).parent / "bad_cases"


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case(BASE / "base.yaml")


def test_top_level(case: Case) -> None:
    assert (case.name, case.description, case.end_value) == ("base", "every section of the case reference", "straight_line")
    assert (case.horizon.start, case.horizon.periods, case.horizon.months_per_period) == (date(2026, 10, 1), 4, 3)
    assert case.discount_rate_per_year == Quantity(0.08, "discount_rate_per_year")
    assert case.reveal == date(2027, 4, 1)
    assert case.file == BASE / "base.yaml"


def test_load_blocks_partition_the_week(case: Case) -> None:
    cells = [cell for block in case.load_blocks for cell in block.cells]
    assert sorted(cells) == list(range(168))
    by_name = {block.name: block.cells for block in case.load_blocks}
    assert by_name["peak"][:4] == (13, 14, 15, 37) and len(by_name["peak"]) == 15
    assert by_name["noon"] == (133, 134, 135, 157, 158, 159)


def test_origins_and_profiles(case: Case) -> None:
    europe, us = case.origins["europe"], case.origins["us"]
    assert europe.profile is not None and us.profile is None
    assert europe.profile.local_hours[8] == Quantity(3.0, "profiles.office.local_hours.8")
    assert europe.profile.weekend_factor == Quantity(0.6, "profiles.office.weekend_factor")
    assert (us.network_location, us.utc_offset_hours) == ("aws:us-east-1", -5)


def test_places(case: Case) -> None:
    assert list(case.places) == ["aws:us-east-1", "aws:eu-west-1", "own:hall", "texas"]
    region, own = case.places["aws:eu-west-1"], case.places["own:hall"]
    assert (region.provider, region.residency_zone, region.network_location, region.is_site) == ("aws", "eu", "aws:eu-west-1", False)
    assert (own.provider, own.power_mw, own.pue) == ("halls", None, None)
    texas = case.places["texas"]
    assert texas.is_site and texas.provider == "own" and texas.pue == Quantity(1.15, "sites.texas.pue")
    assert texas.power_mw is not None and texas.power_mw.form == "by_date"
    assert texas.power_mw.values[1] == Quantity(30.0, "sites.texas.power_mw.by_date.1.value")
    assert texas.power_mw.dates == (date(2026, 1, 1), date(2027, 4, 1))
    assert texas.electricity_usd_per_mwh is not None
    assert texas.electricity_usd_per_mwh.values == (Quantity(61.5, "catalog.electricity.texas.usd_per_mwh"),)


def test_chips_take_the_catalog_row_or_the_case(case: Case) -> None:
    h100, a100, own = case.chips["h100"], case.chips["a100"], case.chips["own_chip"]
    assert h100.hbm_gb == Quantity(80.0, "catalog.chips.h100.hbm_gb")
    assert h100.idle_power_kw_per_chip.assumed and not h100.load_power_kw_per_chip.assumed
    assert a100.hbm_gb == Quantity(80.0, "chips.a100.hbm_gb")
    assert a100.scale_up_chips == Quantity(8.0, "catalog.chips.a100.scale_up_chips", assumed=True)
    assert own.idle_power_kw_per_chip == Quantity(0.0, "chips.own_chip.idle_power_kw_per_chip")
    assert (own.available_from, h100.available_from) == (date(2027, 1, 1), date(2023, 1, 1))
    assert case.models["dense_70b"].weight_gb == Quantity(140.0, "catalog.models.dense_70b.weight_gb")
    assert case.models["small"].weight_gb == Quantity(8.0, "models.small.weight_gb")


def test_throughput_of_the_case_sets_the_catalog_aside(case: Case) -> None:
    rows = {row.rate.key: row for row in case.throughput}
    assert list(rows) == [
        "throughput.h100_70b.output_tokens_per_second_per_chip",
        "throughput.h100_training.training_tflops_per_chip",
        "catalog.throughput.a100.dense_70b.serving.1000x500.0.output_tokens_per_second_per_chip",
        "catalog.throughput.a100.dense_70b.serving.1000x500.1.output_tokens_per_second_per_chip",
        "catalog.throughput.a100.dense_70b.training.0.training_tflops_per_chip",
    ]
    own, second = case.throughput[0], case.throughput[3]
    assert own.rate.assumed and own.ttft_p99_ms == Quantity(450.0, "throughput.h100_70b.ttft_p99_ms", assumed=True)
    assert second.rate.assumed and second.ttft_p99_ms is None and second.tpot_p99_ms is None
    assert (own.task, own.input_tokens, own.output_tokens) == ("serving", 1000.0, 500.0)
    assert case.throughput[1].input_tokens is None


def test_offers_expand_over_lists(case: Case) -> None:
    assert list(case.offers) == [
        "h100_texas",
        "leased",
        "reserved/h100/aws:us-east-1",
        "reserved/h100/aws:eu-west-1",
        "reserved/a100/aws:us-east-1",
        "reserved/a100/aws:eu-west-1",
        "rent/h100/aws:us-east-1",
        "spare",
    ]
    assert all(name == offer.name for name, offer in case.offers.items())
    reserved = case.offers["reserved/h100/aws:eu-west-1"]
    assert (reserved.chip, reserved.place, reserved.kind, reserved.months) == ("h100", "aws:eu-west-1", "reserved_1y", 12)
    assert reserved.upfront_share == Quantity(0.0, "offers.reserved.upfront_share")


def test_own_offer(case: Case) -> None:
    own = case.offers["h100_texas"]
    assert own.price.values == (Quantity(32000.0, "catalog.prices.h100.any.own.price_usd_per_chip"),)
    assert (own.price_per_year, own.months, own.deliveries[0].months, own.is_rent, own.preemptible) == (False, 48, 3, False, False)
    assert own.price_growth_per_year == Quantity(-0.1, "offers.h100_texas.price_growth_per_year")
    assert own.available_chips is not None and own.available_chips.form == "growth"
    assert [value.key for value in own.available_chips.values] == [
        "offers.h100_texas.available_chips.start",
        "offers.h100_texas.available_chips.growth_per_year",
    ]
    assert own.available_chips_total == Quantity(5000.0, "offers.h100_texas.available_chips_total")
    assert (own.window_from, own.window_until) == (date(2026, 10, 1), date(2027, 7, 1))
    assert own.usable_share.value == 0.95 and own.opex_usd_per_chip_year.value == 1500.0


def test_other_offers(case: Case) -> None:
    leased, rent, spare = case.offers["leased"], case.offers["rent/h100/aws:us-east-1"], case.offers["spare"]
    assert leased.price_per_year and leased.price.values == (Quantity(20000.0, "offers.leased.price_usd_per_chip_year"),)
    assert (leased.months, leased.upfront_share.value, leased.available_chips, leased.available_chips_total) == (24, 0.25, None, None)
    assert rent.price.form == "by_period" and rent.price.values[2] == Quantity(3.5, "offers.rent.price_usd_per_chip_hour.by_period.2")
    assert (rent.is_rent, rent.preemptible, rent.months, spare.preemptible) == (True, False, 0, True)
    assert rent.opex_usd_per_chip_year == Quantity(0.0, "offers.rent.opex_usd_per_chip_year")


def test_assumed_is_inherited(case: Case) -> None:
    price = case.offers["reserved/h100/aws:eu-west-1"].price.values[0]
    assert price == Quantity(3.1, "catalog.prices.h100.aws:eu-west-1.reserved_1y.price_usd_per_chip_hour", assumed=True)
    assert case.offers["reserved/h100/aws:eu-west-1"].assumed
    assert not case.offers["reserved/h100/aws:us-east-1"].assumed
    assert case.offers["spare"].assumed and case.offers["spare"].price.values[0].assumed
    assumed = load_case(BASE / "base.yaml", {"offers": {"reserved": {"assumed": True}}})
    assert assumed.offers["reserved/h100/aws:us-east-1"].price.values[0].assumed


def test_workloads(case: Case) -> None:
    chat, digest, tune = (case.workloads[name] for name in ("chat", "digest", "tune"))
    assert chat.origins == (("europe", Quantity(0.4, "workloads.chat.origins.europe")), ("us", Quantity(0.6, "workloads.chat.origins.us")))
    assert chat.demand.values[0] == Quantity(100.0, "workloads.chat.requests_per_second.start")
    assert chat.demand.values[1] == Quantity(0.5, "workloads.chat.requests_per_second.growth_per_year")
    assert (chat.movable, digest.movable, tune.movable) == (False, True, False)
    assert (chat.level, chat.preemptible, digest.preemptible) == ("mid", False, True)
    assert chat.round_trips_per_request == Quantity(1.0, "workloads.chat.round_trips_per_request")
    assert digest.demand.values == (Quantity(1e6, "workloads.digest.requests_per_period"),)
    assert tune.demand.values == (Quantity(5e4, "workloads.tune.exaflop_per_period"),)
    assert tune.unserved_price == Quantity(2.0, "workloads.tune.unserved_usd_per_exaflop")
    assert (tune.input_tokens, tune.origins, digest.ttft_p99_ms, digest.origins) == (None, (), None, ())
    assert chat.allowed_residency_zones == ("eu", "us") and chat.allowed_chips is None


def test_existing_fleet(case: Case) -> None:
    own, contract = case.existing["old_a100"], case.existing["old_res"]
    assert (own.ownership, own.start, own.end, own.price_usd_per_chip_hour) == ("own", date(2023, 1, 1), date(2028, 7, 1), None)
    assert own.opex_usd_per_chip_year == Quantity(3000.0, "existing.old_a100.opex_usd_per_chip_year")
    assert (contract.ownership, contract.start) == ("reserved", None)
    assert contract.price_usd_per_chip_hour == Quantity(3.1, "existing.old_res.price_usd_per_chip_hour")


def test_limits_and_scenarios(case: Case) -> None:
    assert case.supply[0].selector == Selector(chips=("h100",))
    assert case.capex[0].max_usd.values[2] == Quantity(5e7, "limits.capex.budget.max_usd.by_period.2")
    share = case.share[0]
    assert share.minimum is None and share.maximum is not None and share.maximum.values[0].key == "limits.share.cloud.max"
    assert (share.of, share.basis, share.selector.providers) == ("total", "compute", ("aws",))
    base, boom = case.scenarios
    assert (base.demand, base.prices) == ((), ())
    assert boom.demand[0].workloads == ("chat",)
    assert boom.demand[0].path.values[1].key == "scenarios.cases.boom.demand.more.path.growth_per_year"
    assert boom.prices[0].selector.kinds == ("on_demand", "spot")


def test_without_scenarios() -> None:
    plain = load_case(BASE / "base.yaml", {"scenarios": None})
    assert plain.reveal is None
    assert [(s.name, s.probability.value, s.demand) for s in plain.scenarios] == [("base", 1.0, ())]


def test_round_trip_times(case: Case) -> None:
    assert case.rtt_ms["aws:eu-west-1", "aws:us-east-1"] == Quantity(68.0, "catalog.network.aws:us-east-1.aws:eu-west-1.rtt_ms")
    assert case.rtt_ms["aws:us-east-1", "aws:eu-west-1"] == case.rtt_ms["aws:eu-west-1", "aws:us-east-1"]
    assert case.rtt_ms["aws:us-east-1", "aws:us-east-1"].value == 0.6
    assert case.rtt_ms["aws:eu-west-1", "aws:eu-west-1"].value == 1.0


def test_every_key_is_one_number(case: Case) -> None:
    values: dict[str, set[float]] = {}
    for quantity in quantities(case):
        values.setdefault(quantity.key, set()).add(quantity.value)
    assert len(values) > 120
    assert [key for key, found in values.items() if len(found) > 1] == []


def test_names_with_dots_may_not_mix_two_fields_up() -> None:
    workload: dict[str, Any] = {
        "kind": "batch",
        "model": "dense_70b",
        "input_tokens": 1000,
        "output_tokens": 500,
        "origins": {"b.origins.c": 0.5, "us": 0.5},
        "requests_per_period": 1,
        "unserved_usd_per_million_output_tokens": 1,
    }
    place = {"network_location": "aws:us-east-1", "utc_offset_hours": 0}
    overrides = {
        "origins": {"b.origins.c": place, "c": place},
        "workloads": {"a": workload, "a.origins.b": {**workload, "origins": {"c": 0.25, "us": 0.75}}},
    }
    with pytest.raises(CaseError, match=r"workloads\.a\.origins\.b\.origins\.c: is the key path of two numbers"):
        load_case(BASE / "base.yaml", overrides)


def test_fields_of_the_case_override_the_catalog() -> None:
    changed = load_case(BASE / "base.yaml", {"regions": {"aws:us-east-1": {"provider": "amazon"}}, "chips": {"h100": {"family": "npu"}}})
    assert changed.places["aws:us-east-1"].provider == "amazon"
    assert changed.places["aws:us-east-1"].residency_zone == "us"
    assert changed.chips["h100"].family == "npu"


def test_hash_is_of_the_content(case: Case, tmp_path: Path) -> None:
    assert len(case.hash) == 64
    shutil.copy(BASE / "base.yaml", tmp_path / "renamed.yaml")
    shutil.copytree(BASE / "catalog", tmp_path / "catalog")
    assert load_case(tmp_path / "renamed.yaml").hash == case.hash
    (tmp_path / "child.yaml").write_text("extends: renamed.yaml\n")
    assert load_case(tmp_path / "child.yaml").hash == case.hash
    again = load_case(BASE / "base.yaml", {"discount_rate_per_year": 0.08})
    assert again.hash == case.hash


@pytest.mark.parametrize(
    "overrides",
    [
        {"discount_rate_per_year": 0.081},
        {"offers": {"spare": {"assumed": False}}},
        {"offers": {"h100_texas": {"window": {"until": date(2027, 6, 30)}}}},
        {"workloads": {"chat": {"level": "end"}}},
        {"sites": {"texas": {"pue": 1.16}}},
        {"name": "other"},
    ],
)
def test_hash_changes_with_the_content(case: Case, overrides: dict[str, Any]) -> None:
    assert load_case(BASE / "base.yaml", overrides).hash != case.hash


def test_hash_sees_used_catalog_rows_only(case: Case, tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "c")
    prices = tmp_path / "c" / "catalog" / "prices.csv"
    text = prices.read_text()
    prices.write_text(text.replace("on_demand,3.9", "on_demand,4.9"))
    assert load_case(tmp_path / "c" / "base.yaml").hash == case.hash
    prices.write_text(text.replace("reserved_1y,1.8", "reserved_1y,1.9"))
    assert load_case(tmp_path / "c" / "base.yaml").hash != case.hash


def test_numbers_of_python_code_are_checked_too() -> None:
    for value, says in ((float("nan"), "not finite"), (float("inf"), "not finite"), (True, "truth value"), ("5", "the text")):
        with pytest.raises(CaseError, match=says):
            load_case(BASE / "base.yaml", {"offers": {"rent": {"available_chips": value}}})


def test_import_is_light() -> None:
    script = "import optimizer.spec, sys; print([m for m in ('jax', 'pydantic', 'yaml', 'scipy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=BASE.parents[2], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
