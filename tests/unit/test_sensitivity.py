"""What every number of a case is worth: closed forms, certified re-solves, and the command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer.analysis.field_gradient import along_the_sum, field_gradient, moved, siblings
from optimizer.analysis.field_units import allowed, natural_step
from optimizer.analysis.moved_program import moved_program
from optimizer.analysis.sensitivity import Side, Worth
from optimizer.build.build import Built
from optimizer.cli import main
from optimizer.plan import Solved, build, load, solved
from optimizer.program.certificate import Status
from optimizer.program.lagrangian import lagrangian_gradient
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.spec import load_case
from tests.oracle.test_published import lands

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "configs" / "cases"
TIGHT = Settings(gap_relative=1e-9)
COMPARED = 40


def certified(name: str) -> tuple[Built, Solved]:
    built = build(load(CASES / f"{name}.yaml"))
    found = solved(built, TIGHT)
    assert found.solution.status in (Status.CERTIFIED, Status.FEASIBLE)
    return built, found


def test_the_closed_form_of_own_or_rent() -> None:
    """Owned 400,000 chips; ten equally likely demands rent what is above it for four years: 0.1 (100 + 300 + 500 + 800) thousand chips."""
    built, found = certified("own_or_rent")
    c = found.solution.certificate
    gradient = field_gradient(found.built, c.plan, c.multipliers)
    of = dict(zip(gradient.keys, gradient.derivative, strict=True))
    assert of["offers.buy.price_usd_per_chip"] == pytest.approx(400_000, rel=1e-6)
    assert of["offers.rent.price_usd_per_chip_year"] == pytest.approx(4 * 170_000, rel=1e-6)
    assert of["offers.rent.available_chips"] == pytest.approx(0.0, abs=1e-3)
    price, rent = built.parameters.value("offers.buy.price_usd_per_chip"), built.parameters.value("offers.rent.price_usd_per_chip_year")
    assert 400_000 * (price + 4 * 5000) + 680_000 * rent == pytest.approx(c.objective, rel=1e-6)
    # cost is proportional to the work, and to the chips that a unit of it needs
    for key in ("workloads.work.requests_per_second", "workloads.work.output_tokens"):
        assert of[key] * built.parameters.value(key) == pytest.approx(c.objective, rel=1e-6)
    key = "throughput.unit.output_tokens_per_second_per_chip"
    assert of[key] * built.parameters.value(key) == pytest.approx(-c.objective, rel=1e-6)


def test_random_fields_against_certified_resolves() -> None:
    """The comparison of the semantics: |g - fd| <= 1e-5 |fd| + (gap+ + gap-) / 2h, where the second term is at most 1 % of g."""
    _, found = certified("two_clouds")
    c = found.solution.certificate
    gradient = field_gradient(found.built, c.plan, c.multipliers)
    drawn = np.random.default_rng(5).permutation(len(gradient.keys))[:COMPARED]
    resolved = kinks = 0
    for i in drawn:
        h = 1e-4 * (abs(gradient.values[i]) or 1.0)
        ends = []
        for by in (-h, h):
            theta = moved(gradient.values, gradient.keys, i, by)
            ends.append(solve(moved_program(found.built, theta), TIGHT).certificate)
        assert all(e.status in (Status.CERTIFIED, Status.FEASIBLE) for e in ends), gradient.keys[i]
        left, right = (c.objective - ends[0].objective) / h, (ends[1].objective - c.objective) / h
        g, central, noise = gradient.derivative[i], (left + right) / 2, (ends[0].gap + ends[1].gap + c.gap) / h
        told = f"{gradient.keys[i]}: ours {g}, left {left}, right {right}, noise {noise}"
        if math.isnan(g):
            continue
        if noise > 0.01 * abs(g):  # not resolved at this gap
            assert abs(g - central) <= 2 * noise + abs(right - left), told
            continue
        if abs(right - left) > 0.01 * abs(central) + noise:  # a kink, or curvature
            kinks += 1
            assert min(left, right) - noise <= g <= max(left, right) + noise, told
            continue
        resolved += 1
        assert abs(g - central) <= 1e-5 * abs(central) + noise + abs(right - left), told
    assert resolved >= 8, (resolved, kinks)


@pytest.mark.parametrize("q", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_planted_kinks_are_flagged(q: float) -> None:
    """At a price where two numbers of owned chips cost the same, what a dollar of either price, of operations or a point of the usable
    share (a coefficient) is worth depends on the side: every one of them must be said to bend, and the derivative to lie between."""
    price = 108_000 * q - 20_000  # a usable chip for four years then costs what renting with probability q does
    case = load_case(CASES / "own_or_rent.yaml", {"offers": {"buy": {"price_usd_per_chip": price, "usable_share": 0.9}}})
    planted = [
        "offers.buy.price_usd_per_chip", "offers.buy.opex_usd_per_chip_year", "offers.buy.usable_share",
        "offers.rent.price_usd_per_chip_year",
    ]  # fmt: skip
    found = optimizer.sensitivity(case, Settings(gap_relative=1e-8), checked=0, fields=planted, step=1e-6)  # no curvature over the step
    for worth in found.fields:
        if worth.key in planted:
            assert worth.mark in ("bends", "differs"), (worth.key, worth.mark, worth.left, worth.right)
            assert worth.left is not None and worth.right is not None
            low, high = sorted([worth.left.least, worth.left.most, worth.right.least, worth.right.most])[:: 3]
            assert low - 1e-5 * abs(low) <= worth.derivative_usd <= high + 1e-5 * abs(high), worth.key


def test_lands() -> None:
    """Published prices: the budget, the least fleet, and demands whose price differs from side to side."""
    program = lands()
    c = solve(program, TIGHT).certificate
    assert c.plan is not None and c.multipliers is not None
    gradient = lagrangian_gradient(program, c.plan, c.multipliers)
    finite = np.isfinite(program.limit_upper)
    assert float(gradient["limit_upper"][finite].min()) == pytest.approx(-0.173333, abs=1e-5)

    def quotient(changed: Program, h: float) -> float:
        return (solve(changed, TIGHT).certificate.objective - c.objective) / h

    fleet = np.nonzero(np.isfinite(program.limit_lower))[0]
    assert len(fleet) == 1
    h = 1e-3
    lower = program.limit_lower.copy()
    lower[fleet] += h
    assert quotient(replace(program, limit_lower=lower), h) == pytest.approx(7.04, abs=1e-3)
    lower[fleet] -= 2 * h
    assert quotient(replace(program, limit_lower=lower), -h) == pytest.approx(0.0, abs=1e-3)
    assert -1e-6 <= float(gradient["limit_lower"][fleet[0]]) <= 7.04 + 1e-6
    for stream, right, left in ((1, 35.1333, 28.0933), (2, 12.24, 4.80)):
        of_all = float(gradient["demand"][..., stream].sum())
        assert left - 1e-3 <= of_all <= right + 1e-3
        for step, wanted in ((h, right), (-h, left)):
            demand = program.demand.copy()
            demand[..., stream] += step
            assert quotient(replace(program, demand=demand), step) == pytest.approx(wanted, abs=2e-3)


def test_shares_move_with_their_siblings() -> None:
    chances = "scenarios.cases.a.probability", "scenarios.cases.b.b.probability"
    keys = (*chances, "workloads.chat.origins.us", "workloads.chat.origins.eu", "x")
    assert [group.tolist() for group in siblings(keys)] == [[0, 1], [2, 3]]
    theta = np.array([0.2, 0.8, 0.5, 0.5, 7.0])
    assert moved(theta, keys, 0, 0.1) == pytest.approx([0.3, 0.7, 0.5, 0.5, 7.0])
    assert moved(theta, keys, 4, 1.0) == pytest.approx([0.2, 0.8, 0.5, 0.5, 8.0])
    assert along_the_sum(np.array([3.0, 5.0]), theta[:2]) == pytest.approx([3 - 5, 5 - 3])
    assert np.isnan(along_the_sum(np.array([3.0]), np.array([1.0]))).all()


def test_units_and_ranges_are_read_off_the_name() -> None:
    assert natural_step("sites.texas.power_mw.by_date.1.value") == (1.0, "MW")
    assert natural_step("workloads.chat.tpot_p99_ms") == (1.0, "ms")
    assert natural_step("limits.supply.own.max_chips") == (1.0, "chip")
    assert natural_step("offers.buy.usable_share")[0] == natural_step("workloads.chat.origins.europe")[0] == 0.01
    assert natural_step("catalog.electricity.texas.usd_per_mwh")[1] == "$ per MWh"
    assert allowed("offers.buy.usable_share") == (0.0, 1.0) and allowed("sites.a.pue")[0] == 1.0
    assert allowed("offers.rent.price_growth_per_year")[0] == -1.0 and allowed("offers.a.price_usd_per_chip_year")[0] == 0.0


@pytest.mark.parametrize(
    ("derivative", "left", "right", "mark"),
    [
        (10.0, (9.9, 10.0), (10.0, 10.1), "agrees"),
        (10.3, (9.9, 9.95), (10.1, 10.15), "curves"),
        (20.0, (9.9, 9.95), (10.1, 10.15), "differs"),
        (10.0, (4.9, 5.0), (10.0, 10.1), "bends"),
        (10.0, (8.0, 12.0), (8.0, 12.0), "not resolved"),
        (10.0, (math.nan, math.nan), (10.0, 10.1), "one side"),
    ],
)
def test_what_the_two_sides_say(derivative: float, left: tuple, right: tuple, mark: str) -> None:
    sides = [Side(by, "CERTIFIED", 0.0, *ends) for by, ends in ((-1.0, left), (1.0, right))]
    assert Worth("a", 100.0, derivative, 1.0, "1", False, True, *sides).mark == mark


def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "worth"
    case = str(CASES / "two_clouds.yaml")
    named = "sites.texas.power_mw.by_date.1.value"
    assert main(["sensitivity", case, "--checked", "2", "--field", named, "--gap", "1e-7", "--out", str(out)]) == 0
    page = "".join(capsys.readouterr().out.split())  # long names are folded
    assert named in page and f"Results:{out}" in page and "agrees" in page
    with open(out / "sensitivity.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    document = json.loads((out / "sensitivity.json").read_text())
    assert document["status"] == "CERTIFIED" and [row["field"] for row in document["fields"]] == [row["field"] for row in rows]
    solved_rows = [row for row in rows if row["mark"]]
    assert len(solved_rows) == 3 and {rows[0]["field"], rows[1]["field"], named} == {row["field"] for row in solved_rows}
    for row in solved_rows:
        assert float(row["left_least"]) <= float(row["left_most"]) and float(row["right_least"]) <= float(row["right_most"])
    per_mw = float(next(row for row in rows if row["field"] == named)["usd_per_natural_step"])
    assert per_mw < -1e6  # power binds, and more of it saves
    assert "<svg" in (out / "sensitivity.svg").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--field", "offers.buy.pric"], "`offers.buy."),
        (["--field", "horizon.start"], "vary them with a sweep"),
        (["--step", "2"], "between 0 and 1"),
        (["--checked", "-1"], "0 or more"),
    ],
)
def test_bad_arguments_get_a_sentence(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "worth"
    assert main(["sensitivity", str(CASES / "two_clouds.yaml"), *options, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not out.exists()


def test_a_case_without_a_plan_has_no_worth(capsys: pytest.CaptureFixture) -> None:
    case = str(ROOT / "tests" / "oracle" / "cases" / "40_infeasible_constant.yaml")
    assert main(["sensitivity", case]) == Status.INFEASIBLE.exit_code
    assert "nothing has a worth" in capsys.readouterr().out
