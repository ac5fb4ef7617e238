"""Alternatives: HiGHS with the budget as a row, brute force over places, budgets, distances, and the command."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

import optimizer
from optimizer.analysis.alternatives import Alternatives, alternatives, common_core
from optimizer.analysis.fewest import fewest, place_of, without
from optimizer.analysis.measure_search import least_within
from optimizer.analysis.plan_measures import Measure, Weights, distance, measures
from optimizer.analysis.what_if import WhatIf
from optimizer.cli import main
from optimizer.program.cost import cost
from optimizer.program.program import Program
from optimizer.program.rows import violation
from optimizer.settings import Settings
from optimizer.solve import Neighbours
from tests.oracle.extensive import extensive_form, solve_extensive

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "configs" / "cases"
TWO_CLOUDS, OWN_OR_RENT = CASES / "two_clouds.yaml", CASES / "own_or_rent.yaml"
WITHIN = 0.03


@pytest.fixture(scope="module")
def asked() -> WhatIf:
    return WhatIf(TWO_CLOUDS, Settings(gap_relative=1e-8))


@pytest.fixture(scope="module")
def found() -> Alternatives:
    return alternatives(TWO_CLOUDS, within=WITHIN, count=4)


def least_by_highs(program: Program, measure: Measure, budget_usd: float) -> float:
    """sign * measure at its least over the extensive form, with cost <= budget as one more row."""
    form = extensive_form(program)
    aim = np.zeros(len(form.cost))
    aim[form.columns["z"]], aim[form.columns["r"]] = measure.sign * measure.z, measure.sign * measure.r
    equal = form.row_lower == form.row_upper
    below, above = ~equal & np.isfinite(form.row_upper), ~equal & np.isfinite(form.row_lower)
    scale = 1e-6
    rows = sp.vstack([form.matrix[below], -form.matrix[above], sp.csr_matrix(form.cost * scale)]).tocsr()
    most = np.concatenate([form.row_upper[below], -form.row_lower[above], [(budget_usd - form.constant) * scale]])
    unit = np.abs(aim).max()
    answer = linprog(
        aim / unit, A_ub=rows, b_ub=most, A_eq=form.matrix[equal], b_eq=form.row_lower[equal],
        bounds=np.stack([form.lower, form.upper], axis=1), method="highs",
    )  # fmt: skip
    assert answer.status == 0, answer.message
    return float(answer.fun) * unit


@pytest.mark.parametrize("name", ["least compute with gcp", "most owned", "least capital", "least rented by the hour"])
def test_a_measure_against_highs_with_the_budget_as_a_row(asked: WhatIf, name: str) -> None:
    """The certified bound is below the true optimum, the plan above it, and both are close; `most owned` may have no room at all."""
    best = asked.at()
    built, plan = best.found.built, best.found.solution.certificate.plan
    assert plan is not None
    measure = next(m for m in measures(built, plan) if m.name == name)
    budget = best.cost_usd * (1 + WITHIN)
    extreme = least_within(built.program, plan, measure, budget, asked.settings, Neighbours())
    true, start = least_by_highs(built.program, measure, budget), measure.sign * measure.value(plan)
    here, bound = measure.sign * extreme.measure, measure.sign * extreme.bound
    room = 1e-6 * abs(true)
    assert bound <= true + room and true <= here + room
    assert here - true <= 0.05 * (start - true) + room
    assert extreme.cost_usd <= budget and cost(built.program, extreme.plan)["total"] == extreme.cost_usd
    assert violation(built.program, extreme.plan).row < 1e-9  # a mix of two plans is one


def test_a_plan_for_one_chip_by_hand() -> None:
    """own_or_rent: least capital within 2 %. Owning a chip less than the best 400,000 costs 120,000 $ x P(demand > it) - 55,000 $: 5,000
    down to 300,000 (0.5), 17,000 below (0.6). 2 % of 42.4 B$ buys 100,000 chips at 5,000 $ and 348 M$ / 17,000 $ more."""
    found = alternatives(OWN_OR_RENT, Settings(gap_relative=1e-9), within=0.02, goals=["least capital"])
    plan = found.plans[1]
    owned = 300_000 - (0.02 * 42.4e9 - 100_000 * 5_000) / 17_000
    assert plan.measure == pytest.approx(35_000 * owned, rel=2e-3) and plan.bound <= 35_000 * owned * (1 + 1e-6)
    assert plan.bound == pytest.approx(35_000 * owned, rel=2e-2)
    assert plan.above_best == pytest.approx(0.02, abs=1e-6) and plan.cost_usd <= found.budget_usd
    core = found.core
    assert [order.offer for order in core] == ["buy"] and core[0].count_chips == pytest.approx(owned, rel=2e-3)
    assert found.core_share == pytest.approx(owned / 400_000, rel=2e-3)


def test_plans_hold_the_budget_and_are_apart(found: Alternatives) -> None:
    best = found.plans[0]
    assert len(found.plans) == 5 and best.name == "best" and best.above_best == 0
    for plan in found.plans:
        assert found.lower_bound_usd <= plan.cost_usd <= found.budget_usd
        assert plan.above_possible >= plan.above_best - 1e-12
        assert cost(plan.built.program, plan.plan)["total"] == pytest.approx(plan.cost_usd, rel=1e-12)
    for a, b in itertools.combinations(found.plans, 2):
        assert distance(a.by_offer, b.by_offer) >= found.apart
    for plan in found.plans[1:]:
        assert plan.from_best == pytest.approx(distance(plan.by_offer, best.by_offer))
        if math.isfinite(plan.bound):
            assert (plan.measure - plan.bound) * (1 if plan.measure < plan.best_measure else -1) >= -1e-6 * abs(plan.bound)


def test_the_orders_of_an_alternative_cost_no_more_by_themselves(found: Alternatives) -> None:
    """Somebody who signs them, and then runs them as well as can be, pays at most what was said."""
    plan = found.plans[1]
    orders = [
        {"offer": a.offer, "signing_date": a.signing_date, "count_chips": float(plan.plan.z[a.index]), "scenario": a.scenario or ""}
        for a in plan.built.structure.acquisitions
    ]
    told = optimizer.evaluate(TWO_CLOUDS, orders)
    assert told.given.objective_usd <= plan.cost_usd * (1 + 1e-5) and told.at_most_usd > 0


def test_the_core_is_in_every_plan(found: Alternatives) -> None:
    core, share = common_core(found.plans)
    assert core == found.core and share == pytest.approx(sum(order.share for order in core)) and 0 < share <= 1 + 1e-12
    at = {(a.offer, a.signing_date, a.scenario or ""): a.index for a in found.plans[0].built.structure.acquisitions}
    for order in core:
        counts = [float(plan.plan.z[at[order.offer, order.signing_date, order.scenario]]) for plan in found.plans]
        assert order.count_chips == min(counts) and order.best_chips == counts[0]
    best_alone, whole = common_core(found.plans[:1])
    signed = {a.signing_date for a in found.plans[0].built.structure.acquisitions if found.plans[0].plan.z[a.index] > 1}
    assert {order.signing_date for order in best_alone} == {day for day in signed if day < date(2027, 10, 1)} < signed
    assert whole == pytest.approx(1.0, abs=1e-3) and all(order.count_chips == order.best_chips for order in best_alone)


def test_nothing_to_spend_is_the_best_plan_itself() -> None:
    found = alternatives(OWN_OR_RENT, within=0)
    assert [plan.name for plan in found.plans] == ["best"] and found.core_share == pytest.approx(1)
    assert {why for _, why in found.left_out} == {"nothing may be spent on it"}


def test_more_to_spend_goes_further(asked: WhatIf) -> None:
    best = asked.at()
    built, plan = best.found.built, best.found.solution.certificate.plan
    assert plan is not None
    measure = next(m for m in measures(built, plan) if m.name == "least compute with gcp")
    reached = [
        least_within(built.program, plan, measure, best.cost_usd * (1 + x), asked.settings, Neighbours()).measure
        for x in (0.005, 0.02, 0.08)
    ]
    assert measure.value(plan) > reached[0] > reached[1] > reached[2]


def test_fewest_places_against_all_subsets(asked: WhatIf) -> None:
    """Every subset of the best plan's places by HiGHS: here greedy elimination finds the least number."""
    best, base = asked.at(), asked.built()
    budget = best.cost_usd * 1.05
    found = fewest(asked, base, best, place_of, budget)
    assert found.answer is not None and found.after < found.before and found.answer.cost_usd <= budget
    weights, plan = Weights(base), best.found.solution.certificate.plan
    assert plan is not None
    used = [name for name, amount in weights.grouped(weights.by_offer(plan), place_of).items() if amount > 0]
    all_places = {offer.place for offer in base.structure.case.offers.values()}
    sizes = [
        size
        for size in range(len(used) + 1)
        for kept in itertools.combinations(used, size)
        if solve_extensive(without(base, place_of, all_places - set(kept)).program, tight=False).objective <= budget
    ]
    assert found.after == min(sizes)
    after = found.answer.found.solution.certificate.plan
    assert after is not None
    assert len([n for n, amount in weights.grouped(weights.by_offer(after), place_of).items() if amount > 1e-4]) == found.after


def test_compute_is_what_the_mix_says(found: Alternatives) -> None:
    """The tables of the plan are a second reading of the same thing."""
    plan = optimizer.plan(TWO_CLOUDS)
    structure, years = found.plans[0].built.structure, {}
    for period in structure.periods:
        years[period.name] = period.days / 365.25
    mix = plan.mix[plan.mix["mode"] != "existing"]
    told = (mix["compute_pflops"] * mix["probability"] * mix["period"].map(years)).groupby(mix["provider"]).sum()
    weights = Weights(found.plans[0].built)
    ours = weights.grouped(found.plans[0].by_offer, weights.provider)
    assert ours == pytest.approx(dict(told), rel=1e-3)


def test_where_work_queues_the_bound_is_of_the_true_spare_replicas(tmp_path: Path) -> None:
    """The plan holds the lines of the best plan; the limit beside it comes from the relaxation, and so lies further out than the limit of
    the program with the lines, and no further than that of the work without any spare replicas."""
    case = tmp_path / "modelled.yaml"
    case.write_text(f"extends: {TWO_CLOUDS}\nname: modelled\nperformance: {{throughput: model}}\n")
    goal = "least compute with gcp"
    found = alternatives(case, Settings(gap_relative=1e-5), within=WITHIN, goals=[goal])
    best, other = found.plans
    assert other.cost_usd <= found.budget_usd and best.above_possible > 1e-4  # the headroom gap
    assert other.above_possible == pytest.approx(other.cost_usd / found.lower_bound_usd - 1)
    measure = next(m for m in measures(best.built, best.plan) if m.name == goal)
    true = WhatIf(case).built()
    with_lines = least_by_highs(best.built.program, measure, found.budget_usd)
    without_spare = least_by_highs(true.program, measure, found.budget_usd)
    assert without_spare - 1 <= with_lines <= other.measure < other.best_measure
    assert other.bound <= with_lines and other.measure - with_lines <= 0.05 * (other.best_measure - with_lines) + 1


def test_distances() -> None:
    a, b = {"x": 2.0, "y": 2.0}, {"x": 10.0, "z": 10.0}
    assert distance(a, a) == 0 and distance(a, b) == distance(b, a) == pytest.approx(0.5)
    assert distance(a, {"w": 1.0}) == 1 and distance(a, {name: 3 * amount for name, amount in a.items()}) == 0


def test_a_measure_with_a_price_changes_the_cost_by_it(asked: WhatIf) -> None:
    """The program of the search costs c + price * sign * m at any plan: drawn at random."""
    best = asked.at()
    program, plan = best.found.built.program, best.found.solution.certificate.plan
    assert plan is not None
    drawn = np.random.default_rng(2)
    other = replace(plan, z=drawn.random(plan.z.shape), r=drawn.random(plan.r.shape))
    for measure in measures(best.found.built, plan):
        before, after = cost(program, other)["total"], cost(measure.laid_on(program, 7.0), other)["total"]
        assert after - before == pytest.approx(7.0 * measure.sign * measure.value(other), rel=1e-6, abs=1e-6 * abs(before))


def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "other"
    assert main(["alternatives", str(OWN_OR_RENT), "--within", "0.02", "--count", "2", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert (
        "2 alternatives within 2 % of $42.40 B (CERTIFIED)" in page and "not tried" in page and page.splitlines()[-1] == f"Results: {out}"
    )
    with open(out / "alternatives.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    document = json.loads((out / "alternatives.json").read_text())
    assert [row["plan"] for row in rows] == [plan["plan"] for plan in document["plans"]] and len(rows) == 3
    for row in rows:
        assert float(row["cost_usd"]) <= document["budget_usd"] and row["plan"] in page
        with open(out / f"orders_{row['plan'].replace(' ', '_')}.csv", newline="") as stream:
            assert {order["offer"] for order in csv.DictReader(stream)} == {"buy"}
    assert (out / "core.csv").exists()
    words = [e.text for e in ElementTree.fromstring((out / "alternatives.svg").read_text()).iter() if e.tag.endswith("text")]
    assert {row["plan"] for row in rows} <= set(words)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--within", "-0.1"], "from 0 to 1"),
        (["--within", "nan"], "from 0 to 1"),
        (["--count", "0"], "1 or more"),
        (["--apart", "1"], "below 1"),
        (["--goal", "most ownd"], "did you mean most owned"),
    ],
)
def test_bad_arguments_get_a_sentence(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "other"
    assert main(["alternatives", str(OWN_OR_RENT), *options, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not out.exists()


def test_a_case_without_a_plan_has_no_alternative(capsys: pytest.CaptureFixture) -> None:
    case = str(ROOT / "tests" / "oracle" / "cases" / "40_infeasible_constant.yaml")
    assert main(["alternatives", case]) == 4
    assert "no alternative" in capsys.readouterr().out
