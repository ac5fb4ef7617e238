"""The throughput error as scenarios: `plan_at: {scenarios: 3}` against programs put together by hand and against single errors."""

from __future__ import annotations

import dataclasses
import math
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import optimizer
from optimizer.build import Built, build
from optimizer.build.values import values
from optimizer.performance.error_points import hermite_rule, with_error_points
from optimizer.performance.replicas import ReplicaLoad, SpareCurves, chips_needed
from optimizer.program.cost import cost
from optimizer.program.layout import held
from optimizer.report.accounting import cost_table, total_usd
from optimizer.report.case_prices import CasePrices
from optimizer.report.chips_used import chips_per_work
from optimizer.report.result import Plan
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.spec import CaseError, load_case
from optimizer.spec.resolved import Case
from tests.property.test_cost_table import random_values

TWO_CLOUDS = Path(__file__).resolve().parents[2] / "configs" / "cases" / "two_clouds.yaml"
NAMES = ["slow", "expected", "launch"]
SMALL = {"horizon": {"periods": 3}, "scenarios": None}
BY_NODE = ("demand", "demand_deferrable", "rent_cost", "rent_upper", "side_rent", "side_slack_cost", "availability", "state_of_node")
BY_TEMPLATE = ("block_hours", "unserved_cost", "unserved_cost_deferrable", "placement_upper", "side_pair")


def case(plan_at: Any = None, queueing: bool = False, **overrides: Any) -> Case:
    written = {"throughput": "model", "queueing": queueing, "plan_at": plan_at or {"scenarios": 3}}
    return load_case(TWO_CLOUDS, {"performance": written, **overrides})


def without_error(whole: Case, throughput_sd: float) -> Case:
    """The scenarios of the file, all with one known error."""
    whole = with_error_points(whole)
    kept = tuple(dataclasses.replace(s, weight=1.0) for s in whole.scenarios if s.throughput_sd == throughput_sd)
    return dataclasses.replace(whole, scenarios=kept, performance=dataclasses.replace(whole.performance, error_points=None))


def least_cost(whole: Case) -> float:
    certificate = solve(build(whole).program).certificate
    assert certificate.gap_relative < 1e-6
    return certificate.objective


@pytest.fixture(scope="module")
def built() -> Built:
    return build(case())


@pytest.fixture(scope="module")
def median() -> Built:
    return build(case("median"))


# the rule -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("points", [1, 3, 5, 7, 9])
def test_the_rule_has_the_moments_of_a_normal_variable(points: int) -> None:
    nodes, weights = hermite_rule(points)
    assert len(nodes) == points and nodes[points // 2] == 0.0 and (np.diff(nodes) > 0).all() and (weights > 0).all()
    for power in range(2 * points):
        moment = 0 if power % 2 else math.prod(range(1, power, 2))
        assert float(weights @ nodes**power) == pytest.approx(moment, rel=1e-12, abs=1e-12 * np.abs(nodes).max() ** power)
    if points == 3:
        np.testing.assert_allclose(nodes, [-math.sqrt(3), 0, math.sqrt(3)], rtol=1e-14)
        np.testing.assert_allclose(weights, [1 / 6, 2 / 3, 1 / 6], rtol=1e-14)


# the program ----------------------------------------------------------------------------------------------------------------------
def test_scenarios_are_named_and_their_probabilities_sum_to_one(built: Built) -> None:
    scenarios = built.structure.case.scenarios
    assert [s.name for s in scenarios] == [f"{name}, throughput {z} sd" for name in NAMES for z in ("-1.7", "+0.0", "+1.7")]
    assert math.fsum(s.weighted_probability for s in scenarios) == pytest.approx(1.0, abs=1e-15)
    first_period = [r.probability for r in built.structure.recourse if r.period == 0]
    np.testing.assert_allclose(first_period, np.outer([0.25, 0.5, 0.25], [1 / 6, 2 / 3, 1 / 6]).ravel(), rtol=1e-14)
    assert with_error_points(built.structure.case) is built.structure.case


def test_one_point_is_the_median(median: Built) -> None:
    plain = case("median")
    one = build(dataclasses.replace(plain, performance=dataclasses.replace(plain.performance, error_points=1))).program
    for field in dataclasses.fields(one):
        mine, theirs = getattr(one, field.name), getattr(median.program, field.name)
        if isinstance(mine, np.ndarray | float):
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


def test_the_program_is_the_one_put_together_by_hand(built: Built, median: Built) -> None:
    """Every array of the nine scenarios, from those of the three and the throughput of every pair in every scenario."""
    p, m, nodes, weights = built.program, median.program, *hermite_rule(3)
    periods = len(median.structure.periods)
    chosen = median.structure.pair_index.deployments
    log_std = np.array([chosen[pair.deployment].log_std if pair.deployment >= 0 else 0.0 for pair in median.structure.pairs])
    assert (log_std > 0).sum() > 10 and (log_std == 0).sum() > 1  # training keeps its rows
    of = p.template_of_node
    for s in range(3):
        for k in range(3):
            t = np.arange(periods)
            mine, theirs = (3 * s + k) * periods + t, s * periods + t
            slower = np.exp(-nodes[k] * log_std)
            capacity = m.pair_capacity[m.template_of_node[theirs]] * slower
            np.testing.assert_allclose(p.pair_capacity[of[mine]], capacity, rtol=1e-13)
            energy = m.placement_cost[m.template_of_node[theirs]] * slower
            np.testing.assert_allclose(p.placement_cost[of[mine]], energy, rtol=1e-13)
            np.testing.assert_allclose(p.node_weight[mine], weights[k] * m.node_weight[theirs], rtol=1e-13)
            for name in BY_NODE:
                np.testing.assert_array_equal(getattr(p, name)[mine], getattr(m, name)[theirs], err_msg=name)
            for name in BY_TEMPLATE:
                np.testing.assert_array_equal(getattr(p, name)[of[mine]], getattr(m, name)[m.template_of_node[theirs]], err_msg=name)
            np.testing.assert_array_equal(p.scenario_of_node[mine], 3 * s + k)
    np.testing.assert_allclose(p.acquisition_cost, m.acquisition_cost, rtol=1e-13)  # shared orders cost their expectation
    for name in ("held_base", "limit_upper", "signed_at", "parent"):
        np.testing.assert_array_equal(getattr(p, name), getattr(m, name), err_msg=name)
    assert (p.acquisition_upper >= m.acquisition_upper).all()  # derived bounds cover the slowest throughput


def test_a_point_is_the_quantile_of_the_same_throughput(built: Built) -> None:
    """The other way to plan with a slower throughput; it may choose other layouts, and only equal ones can be compared."""
    node = float(hermite_rule(3)[0][0])
    careful = build(case({"quantile": NormalDist().cdf(-node)}))
    other, seen = {pair.name: pair for pair in careful.structure.pairs}, 0
    for pair in built.structure.pairs:
        if pair.deployment < 0 or pair.name not in other:
            continue
        mine = built.structure.pair_index.deployments[pair.deployment].setting
        theirs = careful.structure.pair_index.deployments[other[pair.name].deployment].setting
        if (mine.precision, mine.chips, mine.pipeline_stages) == (theirs.precision, theirs.chips, theirs.pipeline_stages):
            expected = careful.program.pair_capacity[0, other[pair.name].index]
            assert built.program.pair_capacity[0, pair.index] == pytest.approx(expected, rel=1e-9)
            seen += 1
    assert seen > 10


def test_probabilities_stay_parameters_of_the_file(built: Built) -> None:
    keys = [key for key in built.parameters.keys if key.endswith("probability")]
    assert keys == [f"scenarios.cases.{name}.probability" for name in NAMES]
    moved = values(built.structure, built.parameters.replaced({keys[0]: 0.5}))["node_weight"]
    ratio = (moved / built.program.node_weight).reshape(9, -1)
    np.testing.assert_allclose(ratio[:3], 2.0, rtol=1e-13)
    np.testing.assert_array_equal(ratio[3:], 1.0)


def test_after_the_reveal_the_error_is_known_too() -> None:
    small = {"horizon": {"periods": 3}, "scenarios": {"cases": {"slow": None, "launch": None, "expected": {"probability": 1.0}}}}
    shared, known = case(**small), case(**small | {"scenarios": {**small["scenarios"], "reveal": date(2027, 1, 1)}})
    assert not any("reveal" in warning for warning in known.warnings)
    assert build(known).program.decisions == 1 + 3 * 2 and build(shared).program.decisions == 3
    assert least_cost(known) <= least_cost(shared) * (1 + 1e-9)


# what it costs --------------------------------------------------------------------------------------------------------------------
def test_the_cost_lies_between_those_of_the_known_errors() -> None:
    """Above the mean of the costs with the error known from the start, below the cost of the slowest throughput."""
    whole = case(**SMALL)
    nodes, weights = hermite_rule(3)
    expected, known = least_cost(whole), [least_cost(without_error(whole, float(z))) for z in nodes]
    assert known[0] > known[1] > known[2]
    assert float(weights @ known) * (1 - 1e-6) <= expected <= known[0] * (1 + 1e-6)
    assert expected > float(weights @ known) * (1 + 1e-4)  # not to know it costs something here
    shuffled = with_error_points(whole)
    shuffled = dataclasses.replace(shuffled, scenarios=shuffled.scenarios[::-1])
    assert least_cost(shuffled) == pytest.approx(expected, rel=1e-6)


# reports --------------------------------------------------------------------------------------------------------------------------
def test_any_quantities_cost_the_same_in_both_accounts(built: Built) -> None:
    some = random_values(built, 3)
    table, parts = cost_table(built.structure, some).frame, cost(built.program, some)
    assert total_usd(table) == pytest.approx(parts["total"], rel=1e-12)
    load = table[table["source"].str.startswith("load ")]["expected_present_value_usd"].sum()
    assert load == pytest.approx(parts["placement"], rel=1e-12) and load > 0


def test_the_tables_count_the_chips_of_their_own_scenario() -> None:
    plan = optimizer.plan(case(**SMALL))
    p, structure, found = plan.built.program, plan.built.structure, plan.solution.certificate.plan
    assert found is not None and plan.cost["expected_present_value_usd"].sum() == pytest.approx(plan.objective_usd, rel=1e-9)
    busy = (found.x * p.pair_capacity[p.template_of_node][:, None]).sum()
    assert plan.placement["chips_used"].sum() == pytest.approx(busy, rel=1e-6)
    assert set(plan.placement["scenario"]) == {f"base, throughput {z} sd" for z in ("-1.7", "+0.0", "+1.7")}
    per_work = chips_per_work(structure, CasePrices.of(structure.case))
    np.testing.assert_allclose(np.repeat(per_work, 3, axis=0), p.pair_capacity[p.template_of_node], rtol=1e-12)
    capacity = plan.prices[plan.prices["kind"] == "capacity"]
    assert (capacity["slack"] >= -1e-6 * capacity["limit_value"].max()).all()


# with spare replicas --------------------------------------------------------------------------------------------------------------
def test_curves_of_several_errors_are_those_of_each() -> None:
    groups = build(case(queueing=True)).structure.pair_index.groups
    assert groups is not None
    loads, most = groups.loads, np.full(groups.size, 300.0)
    assert loads.busy_s.shape == (3, groups.size) and (np.diff(loads.busy_s, axis=0) < 0).all()
    together, point = SpareCurves(loads, most), np.array([2, 0, 1, 0])
    at = np.linspace(20.0, 280.0, 4)[:, None] * np.ones(groups.size)
    asked = np.full(at.shape, 300.0)
    slope, draw = together.tangent(at, asked, point)
    for row, k in enumerate(point):
        alone = SpareCurves(ReplicaLoad(*(leaf[k] for leaf in loads)), most)
        lines = alone.tangent(at[[row]], asked[[row]])
        np.testing.assert_allclose([slope[row], draw[row]], [line[0] for line in lines], rtol=1e-12)
        np.testing.assert_allclose(together.secant(at, point)[row], alone.secant(at[row]), rtol=1e-12)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return optimizer.plan(case(queueing=True, **SMALL), Settings())


def test_a_plan_with_spare_replicas_is_certified(plan: Plan) -> None:
    assert plan.status == "CERTIFIED" and plan.gap_relative <= 1e-6
    assert plan.lower_bound_true_usd <= plan.objective_usd and 0 <= plan.headroom_gap_relative < 0.1
    assert plan.cost["expected_present_value_usd"].sum() == pytest.approx(plan.objective_usd, rel=1e-9)
    assert not any("DOES NOT ADD UP" in warning for warning in plan.warnings)
    # the dearest node of every group is one of the slowest throughput, where all demand is met
    assert (plan.replicas["utilisation"] > 0).all() and "base, throughput -1.7 sd" in set(plan.replicas["scenario"])


def test_every_node_holds_the_true_chips_of_its_own_throughput(plan: Plan) -> None:
    found, structure = plan.solution.certificate.plan, plan.built.structure
    base, groups = build(case(queueing=True, **SMALL)).program, structure.pair_index.groups
    assert found is not None and groups is not None
    need = np.zeros((base.nodes, base.blocks, base.pools))
    busy = found.x * base.pair_capacity[base.template_of_node][:, None]
    np.add.at(np.moveaxis(need, -1, 0), base.pair_pool, np.moveaxis(busy, -1, 0))
    rate, extra = groups.rates(found.x), np.zeros((base.nodes, base.blocks, groups.size))
    log_std = np.array([structure.pair_index.deployments[structure.pairs[int(np.argmax(groups.pair == q))].deployment].log_std
                        for q in range(groups.size)])  # fmt: skip
    for node in structure.recourse:
        speed = np.exp(structure.case.scenarios[node.scenario_index].throughput_sd * log_std)
        load = groups.load._replace(busy_s=groups.load.busy_s / speed, prefill_s=groups.load.prefill_s / speed)
        extra[node.index] = chips_needed(rate[node.index], load) - rate[node.index] * load.chips * load.busy_s
    np.add.at(np.moveaxis(need, -1, 0), groups.pool, np.moveaxis(extra, -1, 0))
    room = held(base, found.z)[base.state_of_node][:, None, : base.pools] + found.r
    assert (need <= room * (1 + 1e-6) + 1e-6).all() and extra.max() > 1.0


# bad input ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("plan_at", "words"),
    [
        ({"scenarios": 4}, "plan_at.scenarios: is 4; write 3, 5, 7 or 9"),
        ({"scenarios": 1}, "plan_at.scenarios: is 1; write 3, 5, 7 or 9"),
        ({"scenarios": 11}, "plan_at.scenarios: is 11; write 3, 5, 7 or 9"),
        ({"scenarios": -3}, "plan_at.scenarios: is -3; write 3, 5, 7 or 9"),
        ({"scenarios": 3.0}, "not a whole number"),
        ({"scenarios": "three"}, "not a whole number"),
        ({"scenarios": 3, "quantile": 0.9}, "keep one of them"),
        ({"points": 3}, "write median, {quantile: 0.9} or {scenarios: 3}"),
        ("scenarios", "write median, {quantile: 0.9} or {scenarios: 3}"),
        (3, "write median, {quantile: 0.9} or {scenarios: 3}"),
    ],
)
def test_bad_input_gets_one_sentence(plan_at: Any, words: str) -> None:
    with pytest.raises(CaseError) as error:
        case(plan_at)
    assert words in str(error.value) and "performance.plan_at" in str(error.value) and "\n" not in str(error.value)


def test_rows_have_no_error_of_the_model() -> None:
    with pytest.raises(CaseError, match=r"performance\.plan_at\.scenarios.*throughput comes from the rows.*write throughput: model"):
        load_case(TWO_CLOUDS, {"performance": {"plan_at": {"scenarios": 3}}})
