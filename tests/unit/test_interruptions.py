"""Interrupted spot chips in a plan: goodput, its derivatives, what it costs, and that program and reports agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from optimizer.build import Built, build, values
from optimizer.build.parameters import BuildError, extended
from optimizer.performance.spot import inference_goodput, training_goodput
from optimizer.report.case_prices import CasePrices
from optimizer.report.chips_used import chips_per_work
from optimizer.report.deployments import replicas_table
from optimizer.spec import CaseError, load_case
from optimizer.spec.resolved import Case
from tests.oracle.extensive import solve_extensive
from tests.property.test_cost_table import random_values
from tests.unit.small_case import small_case

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = ROOT / "tests" / "oracle" / "cases" / "58_spot_interrupted.yaml"
AT = "offers.spot_east.interruptions"


def interrupted(**block: Any) -> Case:
    """The small case; batch and training may run on its one spot offer."""
    return small_case({"offers": {"spot_east": {"interruptions": {"per_hour": 0.7, "restore_minutes": 6, **block}}}})


def modelled(**block: Any) -> Case:
    """Serving, batch and training on interrupted chips, with the performance model."""
    work = {"chat": {"preemptible": True}}
    spot = {"interruptions": {"per_hour": 1.5, "restore_minutes": 4, **block}}
    case = ROOT / "configs" / "cases" / "two_clouds.yaml"
    return load_case(case, {"performance": {"throughput": "model"}, "offers": {"spot": spot}, "workloads": work})


def goodput(built: Built, theta: np.ndarray | None = None) -> np.ndarray:
    e = extended(built.parameters.values if theta is None else theta, np)
    return built.structure.pair_index.interruptions.goodput(e, np)


def row_residence_s(built: Built, pair: int) -> float:
    """Output tokens times the time per token of the throughput row."""
    record = built.structure.pairs[pair]
    workload = built.structure.case.workloads[built.structure.streams[record.stream].workload]
    assert record.throughput.tpot_p99_ms is not None and workload.output_tokens is not None
    return workload.output_tokens.value * record.throughput.tpot_p99_ms.value / 1000


def kinds_on_spot(built: Built) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for pair in built.structure.pairs:
        if built.structure.pools[pair.pool].preemptible:
            found.setdefault(built.structure.streams[pair.stream].kind, set()).add(pair.index)
    return found


# numbers --------------------------------------------------------------------------------------------------------------------------
def test_only_pairs_on_interrupted_pools_lose_time() -> None:
    """By the formulas of spot.py from the numbers as they are written."""
    built, plain = build(interrupted(checkpoint_minutes=2, checkpoint_interval_minutes=20)), build(small_case())
    spot = kinds_on_spot(built)
    assert spot["training"] and spot["batch"]
    expected = np.ones(len(built.structure.pairs))
    expected[list(spot["training"])] = training_goodput(0.7, 120.0, 360.0, 1200.0)
    for index in spot["batch"]:
        expected[index] = inference_goodput(0.7, row_residence_s(built, index), 360.0)
    np.testing.assert_allclose(goodput(built), expected, rtol=1e-14)
    ratio = plain.program.pair_capacity / built.program.pair_capacity
    np.testing.assert_allclose(ratio, np.broadcast_to(expected, ratio.shape), rtol=1e-14)


def test_the_best_interval_is_no_worse_than_any_other() -> None:
    best = goodput(build(interrupted()))
    index = list(kinds_on_spot(build(interrupted()))["training"])
    written = [goodput(build(interrupted(checkpoint_interval_minutes=m)))[index] for m in (3, 8, 13, 13.5, 20, 60)]
    assert (np.array(written) <= best[index] * (1 + 1e-14)).all()
    assert best[index] == pytest.approx(training_goodput(0.7, 60.0, 360.0), rel=1e-13)


@pytest.mark.parametrize("block", [{}, {"checkpoint_interval_minutes": 20}])
def test_without_interruptions_nothing_changes(block: dict[str, Any]) -> None:
    """A rate of 0 is exactly the case without the block, in every array."""
    quiet, plain = build(interrupted(per_hour=0, **block)), build(small_case())
    here, there = values(quiet.structure, quiet.parameters.values), values(plain.structure, plain.parameters.values)
    for name, array in there.items():
        np.testing.assert_array_equal(here[name], array, err_msg=name)


# derivatives ----------------------------------------------------------------------------------------------------------------------
def jacobian(built: Built) -> np.ndarray:
    """[P, M], of goodput."""
    index = built.structure.pair_index.interruptions
    with jax.enable_x64(True):
        theta = jnp.asarray(built.parameters.values)
        return np.asarray(jax.jacfwd(lambda x: index.goodput(extended(x, jnp), jnp))(theta))


@pytest.mark.parametrize("block", [{}, {"checkpoint_minutes": 2, "checkpoint_interval_minutes": 20}])
def test_derivatives(block: dict[str, Any]) -> None:
    built = build(interrupted(**block))
    theta, slopes = built.parameters.values, jacobian(built)
    keys = {key for key, column in zip(built.parameters.keys, slopes.T, strict=True) if np.any(column)}
    assert {f"{AT}.{name}" for name in ("per_hour", "checkpoint_minutes", "restore_minutes", *(name for name in block))} <= keys
    assert any(key.endswith("tpot_p99_ms") for key in keys) and any(key.endswith("output_tokens") for key in keys)
    assert len(keys) == 5 + ("checkpoint_interval_minutes" in block)
    for key in keys:
        m = built.parameters.index(key)
        h = 1e-5 * abs(theta[m])
        up, down = theta.copy(), theta.copy()
        up[m], down[m] = theta[m] + h, theta[m] - h
        difference = (goodput(built, up) - goodput(built, down)) / (2 * h)
        np.testing.assert_allclose(slopes[:, m], difference, rtol=1e-8, atol=1e-15 / h, err_msg=key)


@pytest.mark.parametrize("block", [{}, {"checkpoint_interval_minutes": 20}])
def test_derivatives_at_a_rate_of_zero_are_finite(block: dict[str, Any]) -> None:
    built = build(interrupted(per_hour=0, **block))
    assert (goodput(built) == 1).all()
    slopes = jacobian(built)
    assert np.isfinite(slopes).all()
    for index in kinds_on_spot(built)["batch"]:  # an interruption costs the restore and the residence
        expected = -(row_residence_s(built, index) + 360) / 3600
        assert slopes[index, built.parameters.index(f"{AT}.per_hour")] == pytest.approx(expected, rel=1e-12)


# what it costs --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, amounts", [("per_hour", (0, 0.01, 0.5, 4, 20)), ("restore_minutes", (0, 1, 5, 20))])
def test_more_interruptions_and_longer_restores_are_never_cheaper(name: str, amounts: tuple[float, ...]) -> None:
    costs = []
    for amount in amounts:
        block = {"interruptions": {name: amount}}
        answer = solve_extensive(build(load_case(INTERRUPTED, {"offers": {"spot_us": block, "spot_more": block}})).program)
        assert answer.status == "optimal"
        costs.append(answer.objective)
    assert (np.diff(costs) >= -1e-9 * costs[0]).all() and costs[-1] > costs[0] * 1.001


def test_chips_that_only_restart_are_refused() -> None:
    with pytest.raises(BuildError, match=r"offers.spot_east.interruptions: of the paid time .* is progress of .*lower per_hour"):
        build(interrupted(per_hour=30, restore_minutes=60))


def test_no_block_is_shared_with_another_kind(tmp_path: Path) -> None:
    """Kinds are told apart when a case is extended, too."""
    file = tmp_path / "case.yaml"
    block = {"interruptions": {"per_hour": 1, "restore_minutes": 1}}
    file.write_text(yaml.safe_dump({"extends": str(INTERRUPTED), "offers": {"rent_us": block}}))
    with pytest.raises(CaseError, match="only a spot offer is interrupted; remove it"):
        load_case(file)


# reports and the performance model ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", [interrupted, modelled, lambda: load_case(INTERRUPTED)], ids=["table", "model", "run"])
def test_reports_count_the_chips_of_the_program(case: Any) -> None:
    built = build(case())
    program, periods = built.program, built.structure.calendar.periods
    counted = np.repeat(chips_per_work(built.structure, CasePrices.of(built.structure.case)), periods, axis=0)  # [N, P]
    np.testing.assert_allclose(counted, program.pair_capacity[program.template_of_node], rtol=1e-12)
    assert (goodput(built) < 1).any()


def test_requests_stay_as_long_as_the_model_says() -> None:
    built = build(modelled())
    share, structure = goodput(built), built.structure
    spot = kinds_on_spot(built)
    assert spot["serving"]
    for index in spot["serving"]:
        pair = structure.pairs[index]
        output_tokens = structure.case.workloads[structure.streams[pair.stream].workload].output_tokens
        assert pair.deployment >= 0 and output_tokens is not None
        residence_s = output_tokens.value * structure.pair_index.deployments[pair.deployment].tpot_mean_ms / 1000
        assert residence_s > 1
        assert share[index] == pytest.approx(inference_goodput(1.5, residence_s, 240.0), rel=1e-12)
    slopes = jacobian(built)
    for kind, number in (("serving", "tpot_p99_ms"), ("batch", "hbm_gb_per_s")):  # what binds the batch sets the stay
        moved = np.abs(slopes[list(spot[kind])]).max(axis=0) > 0
        assert any(key.endswith(number) for key, found in zip(built.parameters.keys, moved, strict=True) if found), kind


def test_spare_replicas_are_paid_while_they_restart() -> None:
    """Busy and spare chips of a group grow by the same factor, and busy ones are those of the program."""
    built, plain = build(modelled()), build(modelled(per_hour=0))
    groups, before = built.structure.pair_index.groups, plain.structure.pair_index.groups
    assert groups is not None and before is not None
    at = np.array([np.nonzero(groups.pair == g)[0][0] for g in range(groups.size)])
    np.testing.assert_allclose(before.load.chips / groups.load.chips, goodput(built)[at], rtol=1e-15)
    assert (goodput(built)[at] < 1).any() and (goodput(built)[at] == 1).any()
    member = np.nonzero(groups.pair >= 0)[0]
    busy = (groups.load.chips * groups.load.busy_s)[groups.pair[member]]
    np.testing.assert_allclose(busy, built.program.pair_capacity[0, member], rtol=1e-9)
    quantities = random_values(plain, 5)
    table, quiet = (replicas_table(one.structure, quantities).frame for one in (built, plain))
    assert table["replica_chips"].equals(quiet["replica_chips"])
    assert (table["chips_busy"] >= quiet["chips_busy"]).all() and (table["chips_spare"] >= quiet["chips_spare"]).all()
    np.testing.assert_allclose(table["utilisation"], quiet["utilisation"], rtol=1e-9)
