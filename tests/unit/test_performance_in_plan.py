"""The performance model in a plan: two_clouds with throughput from the model instead of rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimizer
from optimizer.build import Built, build
from optimizer.performance.deployment import DeploymentModel
from optimizer.performance.replicas import chips_needed
from optimizer.performance.setting import inputs_of, run
from optimizer.report.hard_targets import broken_targets
from optimizer.report.result import Plan
from optimizer.settings import Settings
from optimizer.spec import CaseError, load_case
from optimizer.spec.resolved import Case, Quantity

QUICK = {"xla_backend_optimization_level": 0}  # compile in half the time
CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"


def case(**overrides: Any) -> Case:
    return load_case(CASES / "two_clouds.yaml", {"performance": {"throughput": "model"}, **overrides})


@pytest.fixture(scope="module")
def built() -> Built:
    return build(case())


@pytest.fixture(scope="module")
def plan() -> Plan:
    return optimizer.plan(case(), Settings())


# deployments ----------------------------------------------------------------------------------------------------------------------
def test_every_pair_keeps_its_targets_on_hard_values(built: Built) -> None:
    """Judged again from the setting's numbers and the network: nothing smoothed, nothing remembered."""
    from optimizer.performance.eligibility import Eligibility

    structure, checked = built.structure, 0
    network = Eligibility(structure.case)
    for pair in structure.pairs:
        stream, pool = structure.streams[pair.stream], structure.pools[pair.pool]
        workload = structure.case.workloads[stream.workload]
        if pair.deployment < 0:
            assert workload.kind == "training"
            continue
        chosen = structure.pair_index.deployments[pair.deployment]
        operation = run(inputs_of([chosen.setting]))
        assert operation.feasible[0] and operation.batch[0] == pytest.approx(chosen.batch)
        if workload.tpot_p99_ms is not None:
            tpot_p99_ms = 1e3 * operation.tpot_s[0] / structure.case.performance.tpot_mean_over_p99.value
            assert tpot_p99_ms <= workload.tpot_p99_ms.value * (1 + 1e-9)
        if workload.ttft_p99_ms is not None:
            place = structure.case.places[pool.place]
            trips = workload.round_trips_per_request.value * network.round_trip_ms(workload, stream.origin, place)
            group = structure.pair_index.groups.pair[pair.index]  # type: ignore[union-attr]
            slack = 1e3 * structure.pair_index.groups.load.slack_s[group]  # type: ignore[union-attr]
            assert 0 < slack <= workload.ttft_p99_ms.value - trips - chosen.own_ms + 1e-6
            checked += 1
    assert checked > 3


def test_a_measured_row_is_met_at_its_own_shape_and_target(built: Built) -> None:
    """The pin carries the whole of a measurement's deviation where distance is zero."""
    structure = built.structure
    model = DeploymentModel(structure.case.performance, structure.case.calibration, structure.case.throughput)  # type: ignore[arg-type]
    serving = [r for r in structure.case.throughput if r.task == "serving" and not r.rate.assumed]
    rows = [r for r in serving if r.chip == "h100" and r.model == "dense_70b"]
    assert rows
    chat = structure.case.workloads["chat"]
    for row in rows:
        assert row.input_tokens and row.output_tokens
        asked = dataclasses.replace(
            chat, name=f"at {row.rate.key}", kind="batch", ttft_p99_ms=None, tpot_p99_ms=row.tpot_p99_ms,
            input_tokens=Quantity(row.input_tokens, "i"), output_tokens=Quantity(row.output_tokens, "o"),
        )  # fmt: skip
        key = (row.input_tokens, row.output_tokens, row.tpot_p99_ms)
        same = [r for r in rows if (r.input_tokens, r.output_tokens, r.tpot_p99_ms) == key]
        found = model.choose(asked, structure.case.chips["h100"], structure.case.models["dense_70b"], 0.0, 1e4)
        assert not isinstance(found, str)
        if found.pin is not None and found.pin.weight == 1.0 and found.setting.chips == found.pin.setting.chips:
            assert found.output_tokens_per_s_per_chip == pytest.approx(same[0].rate.value, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        ({"tpot_p99_ms": 25}, -1),
        ({"tpot_p99_ms": 100}, +1),
        ({"cache_hit_ratio": 0.5}, +1),
        ({"output_tokens_cv2": 1.0}, -1),
        ({"precisions": ["bf16"]}, -1),
    ],
)
def test_throughput_moves_the_right_way(built: Built, change: dict[str, Any], sign: int) -> None:
    other = build(case(workloads={"chat": change}))
    before, after = (
        max(p.throughput.rate.value for p in b.structure.pairs if b.structure.pools[p.pool].chip == "h100" and p.name.startswith("chat"))
        for b in (built, other)
    )
    assert sign * (after - before) > 0


def test_the_planned_quantile_lowers_throughput_by_its_error(built: Built) -> None:
    careful = build(case(performance={"throughput": "model", "plan_at": {"quantile": 0.9}}))
    rates = {p.name: (p.throughput.rate.value, p.throughput.log_std) for p in built.structure.pairs if p.deployment >= 0}
    seen = 0
    for pair in careful.structure.pairs:
        if pair.deployment >= 0 and pair.name in rates:
            median, log_std = rates[pair.name]
            assert pair.throughput.rate.value == pytest.approx(median * np.exp(-1.2815515655446004 * log_std), rel=1e-6)
            seen += 1
    assert seen > 5


def test_a_distribution_of_lengths_is_not_its_mean(built: Built) -> None:
    """Equal buckets change nothing; long prompts make the first token later and the batch smaller."""
    same = {"input_tokens": 1000, "output_tokens": 1000, "share": 0.5}
    spread = [{"input_tokens": 500, "output_tokens": 900, "share": 0.8}, {"input_tokens": 3000, "output_tokens": 1400, "share": 0.2}]
    equal, wide = (build(case(workloads={"chat": {"length_buckets": buckets}})) for buckets in ([same, same], spread))

    def of(b: Built) -> list[tuple[float, float]]:
        found = {p.deployment for p in b.structure.pairs if p.deployment >= 0 and p.name.startswith("chat") and "h100" in p.name}
        return [(b.structure.pair_index.deployments[d].prefill_ms, b.structure.pair_index.deployments[d].load.service_cv2) for d in found]

    np.testing.assert_allclose(of(equal), of(built), rtol=1e-12)
    assert min(of(wide))[0] > 1.2 * max(of(built))[0] and min(of(wide))[1] > 1.5 * max(of(built))[1]


def test_speculative_decoding_helps_small_batches(built: Built) -> None:
    drafts = {"draft_tokens": 3, "acceptance": 0.8, "draft_ms": 1.0}
    tight = build(case(workloads={"chat": {"tpot_p99_ms": 14}}))
    quick = build(case(workloads={"chat": {"tpot_p99_ms": 14, "speculative": drafts}}))

    def rate(b: Built) -> float:
        return max((p.throughput.rate.value for p in b.structure.pairs if p.name.startswith("chat") and "h100" in p.name), default=0.0)

    assert rate(quick) > 1.2 * rate(tight)


# derivatives ----------------------------------------------------------------------------------------------------------------------
def test_throughput_has_the_derivative_of_every_number_behind_it() -> None:
    """At shapes that nobody has measured: where a measurement stands, what it shares with the plan cancels."""
    built = build(case(workloads={"chat": {"input_tokens": 700, "output_tokens": 300}}))
    theta, structure = built.parameters.values, built.structure
    rates = structure.pair_index.rate

    def rate(x: Any, xp: Any) -> Any:
        return rates.values(structure.numbers(x, xp))

    def forward(x: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda y: rate(y, jnp), (x,), (direction,))

    with jax.enable_x64(True):
        pushed = jax.jit(forward, compiler_options=QUICK)
        here = jnp.asarray(theta)
        columns = [pushed(here, direction) for direction in jnp.eye(len(theta))]
        jacobian = np.stack([np.asarray(column) for _, column in columns], axis=1)
        np.testing.assert_allclose(np.asarray(columns[0][0]), rate(theta, np), rtol=1e-12)
    touched = np.nonzero(np.abs(jacobian).max(axis=0) > 0)[0]
    keys = [built.parameters.keys[i] for i in touched]
    for word in ("hbm_gb_per_s", "layers", "compute.hopper_fp8", "memory.hopper", "tpot_p99_ms", "input_tokens"):
        assert any(word in key for key in keys), word
    for i in touched:
        if keys[touched.tolist().index(i)].endswith("kv_heads"):
            continue  # a stated kink: replicas of eight chips begin to copy the cache of eight heads exactly here
        step = 1e-4 * max(abs(theta[i]), 1e-9)
        ahead = {k: rate(np.where(np.arange(len(theta)) == i, theta + k * step, theta), np) for k in (-2, -1, 1, 2)}
        quotient = (8 * (ahead[1] - ahead[-1]) - (ahead[2] - ahead[-2])) / (12 * step)
        rounding = 1e-13 * np.abs(rate(theta, np)) / step
        assert (np.abs(jacobian[:, i] - quotient) <= 1e-6 * np.abs(quotient) + 10 * rounding).all(), built.parameters.keys[i]


# the plan -------------------------------------------------------------------------------------------------------------------------
def test_the_plan_is_certified_and_says_both_gaps(plan: Plan) -> None:
    assert plan.status == "CERTIFIED" and plan.gap_relative <= 1e-6
    assert plan.lower_bound_true_usd <= plan.lower_bound_usd <= plan.objective_usd
    assert 0 <= plan.headroom_gap_relative < 0.1
    document = plan.to_json()
    assert document["headroom_gap_relative"] == plan.headroom_gap_relative
    assert document["lower_bound_true_usd"] == plan.lower_bound_true_usd
    assert "headroom gap" in plan.summary()


def test_the_cost_table_adds_up_with_spare_replicas(plan: Plan) -> None:
    total = plan.cost["expected_present_value_usd"].sum()
    assert total == pytest.approx(plan.objective_usd, rel=1e-9)
    assert not any("DOES NOT ADD UP" in warning for warning in plan.warnings)


def test_every_pool_holds_its_busy_and_spare_chips(plan: Plan) -> None:
    """The true need, from the queue itself, against what is held and rented, in every node and block."""
    certificate, structure = plan.solution.certificate, plan.built.structure
    values_, groups = certificate.plan, structure.pair_index.groups
    assert values_ is not None and groups is not None
    base = build(case()).program
    busy = values_.x * base.pair_capacity[base.template_of_node][:, None]
    need = np.zeros((*busy.shape[:2], base.pools))
    np.add.at(np.moveaxis(need, -1, 0), base.pair_pool, np.moveaxis(busy, -1, 0))
    rate = groups.rates(values_.x)
    spare = chips_needed(rate, groups.load) - rate * groups.load.chips * groups.load.busy_s
    np.add.at(np.moveaxis(need, -1, 0), groups.pool, np.moveaxis(spare, -1, 0))
    from optimizer.program.layout import held

    room = held(base, values_.z)[base.state_of_node][:, None, : base.pools] + values_.r
    assert (need <= room * (1 + 1e-6) + 1e-6).all()
    assert spare.max() > 1.0


def test_a_placement_that_breaks_a_target_on_hard_values_is_found(plan: Plan) -> None:
    """The same plan with a replica that is too slow, and with a target that the network alone uses up."""
    structure, values = plan.built.structure, plan.solution.certificate.plan
    assert values is not None and broken_targets(structure, values) == () and not any("BREAKS" in w for w in plan.warnings)
    used = next(p for p in structure.pairs if p.deployment >= 0 and p.name.startswith("chat") and values.x[:, :, p.index].max() > 1)
    chosen = structure.pair_index.deployments[used.deployment]
    numbers = {**chosen.setting.numbers, "memory": Quantity(1e-2, "a slow memory")}
    slow = dataclasses.replace(chosen, setting=dataclasses.replace(chosen.setting, numbers=numbers))
    deployments = tuple(slow if d is chosen else d for d in structure.pair_index.deployments)
    tampered = dataclasses.replace(structure, pair_index=dataclasses.replace(structure.pair_index, deployments=deployments))
    assert any(used.name in s and "TPOT" in s for s in broken_targets(tampered, values))
    chat = structure.case.workloads["chat"]
    hasty = dataclasses.replace(chat, ttft_p99_ms=Quantity(60.0, "a hasty target"))
    workloads = {**structure.case.workloads, "chat": hasty}
    tampered = dataclasses.replace(structure, case=dataclasses.replace(structure.case, workloads=workloads))
    assert any("TTFT" in s for s in broken_targets(tampered, values))


def test_the_tables_tell_how_work_runs(plan: Plan) -> None:
    assert set(plan.deployments["workload"]) >= {"chat"}
    assert (plan.deployments["batch"] >= 1).all() and (plan.deployments["log_std"] > 0).all()
    replicas = plan.replicas
    assert (replicas["chips_spare"] >= -1e-9).all() and ((replicas["utilisation"] > 0) & (replicas["utilisation"] <= 1)).all()


def test_waiting_costs_and_bursts_cost_more(plan: Plan) -> None:
    still = optimizer.plan(case(performance={"throughput": "model", "queueing": False}), Settings())
    bursty = optimizer.plan(case(workloads={"chat": {"burstiness": {"arrival_cv2": 6.0, "peakedness": 4.0}}}), Settings())
    assert still.objective_usd < plan.objective_usd < bursty.objective_usd
    assert still.headroom_gap_relative == 0.0 and still.lower_bound_true_usd == still.lower_bound_usd
    assert plan.lower_bound_true_usd >= still.lower_bound_usd * (1 - 1e-6)


def test_given_orders_are_bracketed_by_the_true_bounds(plan: Plan) -> None:
    """The solver's own bound holds for one set of lines above the spare chips; another plan has others."""
    found = optimizer.evaluate(case(), plan.acquisitions, Settings())
    most = found.given.objective_usd - found.best.lower_bound_true_usd
    assert found.at_most_usd == pytest.approx(most) and found.at_most_usd > 1e3
    assert found.at_least_usd == max(0.0, found.given.lower_bound_true_usd - found.best.objective_usd)
    assert "true lower bound" in plan.summary() and f"{plan.objective_usd - plan.lower_bound_true_usd:,.2f}" in plan.reason


def test_a_workload_that_starts_late_gets_the_replicas_of_its_peak(built: Built) -> None:
    path = {"start": None, "growth_per_year": None, "by_period": [0.0, *[1200.0] * 7]}
    late = build(case(workloads={"chat": {"requests_per_second": path}}))

    def sizes(b: Built) -> set[float]:
        used = {p.deployment for p in b.structure.pairs if p.name.startswith("chat")}
        return {b.structure.pair_index.deployments[d].setting.chips for d in used}

    assert sizes(late) == sizes(built)


def test_equal_buckets_without_any_variation_are_planned() -> None:
    same = [{"input_tokens": 1000, "output_tokens": 1000, "share": share} for share in (0.1, 0.2, 0.7)]
    build(case(workloads={"chat": {"input_tokens_cv2": 0.0, "length_buckets": same}}))


# bad input ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"models": {"dense_70b": {"weight_gb": 70}}, "catalog": "nowhere"}, "nowhere"),
        ({"workloads": {"chat": {"tpot_p99_ms": 1}}}, None),
        ({"workloads": {"chat": {"length_buckets": [{"input_tokens": 10, "output_tokens": 10, "share": 0.5}]}}}, "shares sum to 0.5"),
        ({"workloads": {"chat": {"length_buckets": [{"input_tokens": 10, "output_tokens": 10, "share": 1.0}]}}}, "mean input_tokens is 10"),
        ({"workloads": {"chat": {"cache_hit_ratio": 1.0}}}, "cache_hit_ratio"),
        ({"workloads": {"chat": {"precisions": ["int4"]}}}, "int4"),
        ({"workloads": {"chat": {"burstiness": {"arrival_cv": 1.0}}}}, "arrival_cv2"),
        ({"performance": {"throughput": "modell"}}, "model"),
        ({"workloads": {"chat": {"burstiness": {"arrival_cv2": 0.0, "service_cv2": 0.0}}}}, "nothing that varies"),
        ({"workloads": {"chat": {"burstiness": {"arrival_cv2": 1e6}}}}, "arrival_cv2"),
        ({"performance": {"throughput": "table", "plan_at": {"quantile": 0.9}}}, "throughput: model"),
        ({"performance": {"throughput": "model", "plan_at": {"quantile": 1.0}}}, "below 1"),
        ({"performance": {"throughput": "model", "plan_at": "p90"}}, "quantile: 0.9"),
    ],
)
def test_bad_input_gets_one_sentence(overrides: dict[str, Any], words: str | None) -> None:
    if words is None:  # an impossible target is no error of the file: the pool is excused, with the reason
        built = build(case(**overrides))
        sentences = {e.sentence for e in built.structure.excuses if e.workload == "chat" and e.reason == "model"}
        assert sentences and all("cannot be met" in s and "one sequence alone takes" in s for s in sentences)
        return
    with pytest.raises(CaseError) as error:
        case(**overrides)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_its_architecture_is_refused_by_name() -> None:
    with pytest.raises(CaseError, match=r"models\.my_70b.*lacks .*layers.*performance model"):
        mine = {"weight_gb": 70.0, "parameters_billion": 70.0, "active_parameters_billion": 70.0}
        case(models={"my_70b": mine}, workloads={"chat": {"model": "my_70b"}})
