"""Runs with a deadline: the arrays they become, the derivatives of these, and what the table says of a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimizer
from optimizer.build import Built, build, values
from optimizer.program.program import Plan as Values
from optimizer.report.frames import records
from optimizer.report.training_runs import training_runs_page, training_runs_table
from optimizer.report.work import unserved_table
from optimizer.spec import load_case

CASES = Path(__file__).resolve().parent.parent / "oracle" / "cases"
RATE = 391 * 3600 / 1e6  # exaFLOP per chip-hour of the oracle's g90


@pytest.fixture(scope="module")
def two_scenarios() -> Built:
    return build(load_case(CASES / "54_runs_two_scenarios.yaml"))


def test_rows_and_streams(two_scenarios: Built) -> None:
    program, structure = two_scenarios.program, two_scenarios.structure
    program.check()
    assert (program.served, program.deferrable, program.free, program.links) == (2, 1, 4, 8)
    assert [s.name for s in structure.streams[3:]] == ["pretrain early", "pretrain whole", "pretrain late", "tune one_quarter"]
    assert [s.position for s in structure.streams[3:]] == [0, 1, 2, 3]
    assert [link.name for link in structure.links][:5] == [*(f"{s.name} [plain]" for s in structure.streams[3:]), "pretrain early [rush]"]
    assert structure.names.link == tuple(link.name for link in structure.links)
    row, node, block, pair = program.link_placement.index
    for link in structure.links:
        mine = row == link.index
        assert set(node[mine] % 5) == set(link.periods) and set(node[mine] // 5) == {link.scenario_index}
        assert set(program.pair_stream[pair[mine]]) == {link.stream}
    assert program.link_placement.value == pytest.approx(program.block_hours[node % 5, block])
    assert (program.link_lower == program.link_upper).all() and (program.link_slack_upper == program.link_upper).all()


def test_nothing_may_be_placed_outside_the_window(two_scenarios: Built) -> None:
    program, structure = two_scenarios.program, two_scenarios.structure
    for pair in structure.pairs:
        upper, stream = program.placement_upper[:, :, pair.index], structure.streams[pair.stream]
        if stream.run is None:
            assert np.isinf(upper).all()
            continue
        inside = np.isin(np.arange(5), structure.link_of_run(stream).periods)
        assert (upper[~inside] == 0).all()
        # the largest run of the scenarios, all in one block
        most = program.link_upper.reshape(2, 4)[:, stream.position].max()
        assert (upper * program.block_hours)[inside] == pytest.approx(most)


def test_derivatives(two_scenarios: Built) -> None:
    """Every array of the runs against central differences in every number of the case."""
    structure, theta = two_scenarios.structure, two_scenarios.parameters.values
    names = ("link_upper", "link_slack_cost", "link_slack_upper", "link_placement", "placement_upper", "acquisition_upper")

    def arrays(x, xp):
        found = values(structure, x, xp)
        return {name: xp.where(xp.isfinite(found[name]), found[name], 0.0) for name in names}

    with jax.enable_x64(True):
        jacobian = jax.jit(jax.jacfwd(lambda x: arrays(x, jnp)))(jnp.asarray(theta))
    moved: dict[str, set[str]] = {name: set() for name in names}
    for m, key in enumerate(two_scenarios.parameters.keys):
        h = 1e-5 * (abs(theta[m]) or 1.0)
        up, down = theta.copy(), theta.copy()
        up[m], down[m] = theta[m] + h, theta[m] - h
        high, low = arrays(up, np), arrays(down, np)
        for name in names:
            difference = (high[name] - low[name]) / (2 * h)
            error = np.abs(np.asarray(jacobian[name])[..., m] - difference)
            assert np.all(error <= 1e-8 * np.abs(difference) + 1e-15 * np.abs(high[name]) / h), (name, key)
            if np.any(difference):
                moved[name].add(key)
    assert "workloads.pretrain.runs.whole.exaflop" in moved["link_upper"] & moved["placement_upper"]
    assert "scenarios.cases.rush.demand.more.path.growth_per_year" in moved["link_upper"]
    assert moved["link_slack_cost"] == {
        "discount_rate_per_year", "workloads.pretrain.unserved_usd_per_exaflop", "workloads.tune.unserved_usd_per_exaflop",
        "scenarios.cases.plain.probability", "scenarios.cases.rush.probability",
    }  # fmt: skip
    assert not moved["link_placement"]


def test_the_derived_bound_counts_a_whole_run_in_every_period() -> None:
    case = load_case(CASES / "54_runs_two_scenarios.yaml", {"offers": {"own_texas": {"available_chips": None}}})
    before = build(case).program
    more = load_case(
        CASES / "54_runs_two_scenarios.yaml",
        {"offers": {"own_texas": {"available_chips": None}}, "workloads": {"tune": {"runs": {"one_quarter": {"exaflop": 9000}}}}},
    )
    after = build(more).program
    assert before.upper_is_derived.all()
    # 2027Q3 has 92 days; the shortest block is busy, 45 hours a week; rush multiplies by 1.35
    added = 2 * 1000 * 1.35 / (RATE * 45 * 92 / 7)
    change = after.acquisition_upper - before.acquisition_upper
    assert change.max() == pytest.approx(added, rel=1e-9)


def hand_plan(chips: np.ndarray, case: str = "53_hand_run") -> tuple[Built, Values]:
    """A plan of the one-run case by its chips [T] on the one pool; the rest of the run is undone."""
    built = build(load_case(CASES / f"{case}.yaml"))
    p = built.program
    x = np.zeros((p.nodes, p.blocks, p.pairs))
    x[:, 0, 0] = chips * RATE
    done = float((x[:, 0, 0] * p.block_hours[:, 0]).sum())
    zero = np.zeros((p.nodes, p.blocks, p.served))
    r = np.zeros((p.nodes, p.blocks, p.pools))
    r[:, 0, 0] = chips
    slack = p.link_upper - done
    return built, Values(np.zeros(0), x, zero, np.zeros((p.nodes, 0)), r, np.zeros((p.nodes, 0)), slack)


@pytest.mark.parametrize(
    ("chips", "gang", "slices", "whole"),
    [
        ([0, 8, 12, 0], "held", "held", 12.0),
        ([0, 8, 10, 0], "held", "relaxed", 12.0),
        ([0, 4, 12, 0], "relaxed", "held", 12.0),
        ([0, 0, 7, 0], "relaxed", "relaxed", 8.0),
        ([0, 0, 0, 0], "nothing runs", "nothing runs", 0.0),
    ],
)
def test_what_is_held(chips: list[float], gang: str, slices: str, whole: float) -> None:
    """min_chips 8, slice_chips 4; the run may use 2027Q2 (91 days) and 2027Q3 (92)."""
    built, plan = hand_plan(np.array(chips, float))
    (row,) = records(training_runs_table(built.structure, plan))
    assert (row["min_chips_held"], row["slices_held"], row["whole_chips"]) == (gang, slices, whole)
    assert row["done_exaflop"] == pytest.approx((chips[1] * 91 + chips[2] * 92) * 24 * RATE)
    assert row["exaflop"] == pytest.approx(70000) and row["peak_chips"] == pytest.approx(max(chips))
    assert (row["first_period"], row["last_period"]) == ("2027Q2", "2027Q3")
    busy = [c for c in chips if c > 0]
    assert row["least_chips"] == pytest.approx(min(busy, default=0.0))
    assert row["one_place_and_chip"] == ("held" if busy else "nothing runs")
    left = unserved_table(built.structure, plan).frame
    assert left["amount"].sum() == pytest.approx(row["undone_exaflop"]) and set(left["period"]) == {"2027Q3"}
    assert left["share_of_demand"].iloc[0] == pytest.approx(row["undone_exaflop"] / 70000)


def test_two_places_are_said(two_scenarios: Built) -> None:
    p, structure = two_scenarios.program, two_scenarios.structure
    stream = next(s for s in structure.streams if s.name == "pretrain whole")
    pairs = [pair for pair in structure.pairs if pair.stream == stream.index]
    assert len(pairs) >= 2
    x = np.zeros((p.nodes, p.blocks, p.pairs))
    x[:5, 0, pairs[0].index], x[:5, 0, pairs[1].index] = 30.0, 10.0
    n, b = p.nodes, p.blocks
    plan = Values(
        np.zeros(p.acquisitions), x, np.zeros((n, b, p.served)), np.zeros((n, p.deferrable)), np.zeros((n, b, p.pools)),
        np.zeros((n, p.sides)), p.link_upper.copy(),
    )  # fmt: skip
    rows = records(training_runs_table(structure, plan))
    (row,) = (r for r in rows if (r["run"], r["scenario"]) == ("whole", "plain"))
    pool = structure.pools[pairs[0].pool]
    assert (row["chip"], row["place"], row["largest_share"]) == (pool.chip, pool.place, pytest.approx(0.75))
    assert row["one_place_and_chip"] == "relaxed" and row["places_and_chips"] == 2 and row["min_chips_held"] == "relaxed"


def test_of_a_solved_plan() -> None:
    plan = optimizer.plan(load_case(CASES / "54_runs_two_scenarios.yaml"))
    table = plan.training_runs
    assert len(table) == 8 and plan.status == "CERTIFIED"
    assert table["exaflop"].to_numpy() == pytest.approx(plan.built.program.link_upper, rel=1e-9)
    undone = plan.unserved[plan.unserved["run"] != ""]
    assert undone["amount"].sum() == pytest.approx(table["undone_exaflop"].sum(), rel=1e-9)
    placed = plan.placement[plan.placement["run"] != ""]
    assert set(placed["run"]) == {"early", "whole", "late", "one_quarter"}
    # penalties hold the undone work
    by_category = plan.cost.groupby("category")["expected_present_value_usd"].sum()
    assert plan.penalties_usd == pytest.approx(by_category["unserved"] + by_category.get("share_excess", 0.0), rel=1e-9)
    assert training_runs_page(table) and "Training runs" in plan.summary()


def test_a_case_without_runs_has_an_empty_table() -> None:
    plan = optimizer.plan(load_case(CASES / "19_training.yaml"))
    assert plan.training_runs.empty and training_runs_page(plan.training_runs) == []
    assert "Training runs" not in plan.summary()


def test_a_run_that_no_pool_may_do() -> None:
    """All of it is undone at its price, and the plan says why."""
    case = load_case(CASES / "53_hand_run.yaml")
    workload = replace(case.workloads["train"], allowed_chips=("another",))
    plan = optimizer.plan(replace(case, workloads={"train": workload}))
    assert plan.status == "CERTIFIED" and plan.objective_usd == pytest.approx(70000 * 2.5 * 1.12 ** (-227 / 365.25))
    (row,) = plan.training_runs.to_dict("records")
    assert row["undone_exaflop"] == pytest.approx(70000) and row["one_place_and_chip"] == "nothing runs"
    assert any("NO POOL MAY SERVE train flagship" in warning for warning in plan.warnings)
