"""Warnings: what is allowed but probably not meant, one line each, beginning with the key."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from optimizer.spec import load_case

BASE = Path(__file__).parent / "bad_cases" / "base.yaml"
QUIET: dict[str, Any] = {"scenarios": None}  # the base case warns only of the growth in its boom


def warnings(**overrides: Any) -> tuple[str, ...]:
    return load_case(BASE, {**QUIET, **overrides}).warnings


def test_a_sound_case_is_quiet() -> None:
    assert warnings() == ()


def test_growth_of_workload_and_scenario_are_multiplied() -> None:
    (warning,) = load_case(BASE).warnings
    assert warning.startswith("workloads.chat: demand grows by 22.5 % inside a period in scenario boom")
    assert "level: end" in warning
    assert load_case(BASE, {"workloads": {"chat": {"level": "end"}}}).warnings == ()


@pytest.mark.parametrize(("growth", "warns"), [(1.07, False), (1.08, True)])
def test_growth_threshold_is_twenty_percent_a_quarter(growth: float, warns: bool) -> None:
    assert bool(warnings(workloads={"chat": {"requests_per_second": {"growth_per_year": growth}}})) == warns


def steps(day: date, value: float) -> dict[str, Any]:
    path = {"by_date": [{"from": date(2026, 10, 1), "value": 10}, {"from": day, "value": value}]}
    return {"workloads": {"tune": {"exaflop_per_period": path}}}


def test_step_inside_a_period() -> None:
    (warning,) = warnings(**steps(date(2027, 2, 15), 13))
    assert warning.startswith("workloads.tune.exaflop_per_period.by_date.1.value: demand steps up inside a period on 2027-02-15")
    assert warnings(**steps(date(2027, 1, 1), 13)) == ()
    assert warnings(**steps(date(2027, 2, 15), 11)) == ()
    assert warnings(**steps(date(2027, 2, 15), 5)) == ()


def test_step_after_the_horizon() -> None:
    (warning,) = warnings(**steps(date(2028, 1, 1), 13))
    assert warning.startswith("workloads.tune.exaflop_per_period.by_date.1.from: 2028-01-01 is not before the horizon's end")


def test_window_beyond_the_horizon() -> None:
    found = warnings(offers={"h100_texas": {"window": {"from": date(2026, 1, 1), "until": date(2029, 1, 1)}}})
    assert [line.split(":")[0] for line in found] == ["offers.h100_texas.window.from", "offers.h100_texas.window.until"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("h100_texas", {"lead_time_months": 12}),
        ("leased", {"term_months": 2}),
        ("spare", {"window": {"from": date(2026, 10, 2), "until": date(2027, 3, 30)}}),
        ("h100_texas", {"chip": "own_chip", "price_usd_per_chip": 1, "window": {"until": date(2026, 10, 1)}, "lead_time_months": 0}),
    ],
)
def test_offers_that_can_never_be_used(name: str, change: dict[str, Any]) -> None:
    (warning,) = warnings(offers={name: change})
    assert warning.startswith(f"offers.{name}: can never be ")


def test_workload_that_nothing_can_serve() -> None:
    (warning,) = warnings(workloads={"chat": {"allowed_chips": ["own_chip"]}})
    assert warning.startswith("workloads.chat: no offer and no existing fleet can serve it")


def test_limit_on_kinds_that_it_never_counts() -> None:
    found = warnings(limits={"capex": {"budget": {"kinds": ["lease"]}}, "supply": {"h100s": {"kinds": ["spot", "on_demand"]}}})
    assert [line.split(":")[0] for line in found] == ["limits.supply.h100s.kinds", "limits.capex.budget.kinds"]


def test_unknown_words_in_lists() -> None:
    found = warnings(
        workloads={"chat": {"allowed_residency_zones": ["eu", "us", "uss"]}}, limits={"share": {"cloud": {"providers": ["aws", "gpc"]}}}
    )
    assert found == (
        "workloads.chat.allowed_residency_zones: `uss` is none of the residency zones of this case; did you mean `us`?",
        "limits.share.cloud.providers: `gpc` is none of the providers of this case",
    )


def test_odd_numbers() -> None:
    found = warnings(sites={"texas": {"pue": 2.5}}, throughput={"h100_training": {"training_tflops_per_chip": 1000}})
    assert [line.split(":")[0] for line in found] == ["throughput.h100_training.training_tflops_per_chip", "sites.texas.pue"]


def test_nothing_to_reveal() -> None:
    scenarios = {"reveal": date(2027, 4, 1), "cases": {"base": {"probability": 1}, "boom": None}}
    assert warnings(scenarios=scenarios) == ("scenarios.reveal: there is one scenario, so nothing is revealed",)
