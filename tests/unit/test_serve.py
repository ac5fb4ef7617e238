"""One service on one chip: the parts add up, and more asked for is never less needed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest

import optimizer
from optimizer.performance.chip_prices import KINDS
from optimizer.performance.queueing import greatest_utilisation
from optimizer.performance.replicas import ReplicaLoad
from optimizer.performance.serve import Answer, ChipAnswer, serve
from optimizer.performance.serve_question import Question
from optimizer.performance.serve_sizing import ServiceModel, step_shares, wait_p99_s
from optimizer.performance.setting import inputs_of, run
from optimizer.spec import CaseError
from optimizer.spec.catalog import Catalog, shipped_catalog
from optimizer.spec.catalog_entries import catalog_chip, catalog_model
from optimizer.spec.resolve_calibration import FILE, read_calibration

CHIPS = ("h100", "b200", "tpu_v6e")
MODELS = ("dense_70b", "moe_deepseek_r1")
EVEN = {"input_tokens_p99": 1000.0}  # the longest prompts are the mean ones
USUAL = {"input_tokens": 1000.0, "output_tokens": 500.0, "ttft_p99_ms": 1000.0, "tpot_p99_ms": 50.0}


class WithoutRows(Catalog):
    """The shipped catalog with the calibrated model alone: no row of the throughput table pins it."""

    @property
    def throughput(self):  # type: ignore[override]
        return ()


@cache
def catalog(rows: bool) -> Catalog:
    return Catalog(shipped_catalog()) if rows else WithoutRows(shipped_catalog())


def asked(model: str, rate: float, chip: str, rows: bool = True, **more) -> Answer:
    return serve(model, rate, chips=[chip], catalog=catalog(rows), **{**USUAL, **more})


def only(model: str, rate: float, chip: str, rows: bool = True, **more) -> ChipAnswer:
    answer = asked(model, rate, chip, rows, **more)
    assert len(answer.chips) == 1, answer.refused
    return answer.chips[0]


def count(model: str, rate: float, chip: str, rows: bool = True, **more) -> float:
    """Chips, infinite where none are enough."""
    answer = asked(model, rate, chip, rows, **more)
    return answer.chips[0].chips if answer.chips else math.inf


# the parts ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rate", [0.3, 200.0])
def test_parts_add_up(model: str, chip: str, rate: float) -> None:
    one = only(model, rate, chip, rtt_ms=40.0, round_trips=2.0)
    assert one.chips == one.replicas * one.replica_chips == pytest.approx(one.chips_busy + one.chips_waiting + one.chips_rounding)
    assert one.chips_busy > 0 and one.chips_waiting >= 0 and one.chips_rounding >= -1e-6
    assert one.chips_rounding < one.replica_chips
    assert one.network_ms == 80.0
    assert one.ttft_p99_ms == pytest.approx(one.network_ms + one.wait_p99_ms + one.prefill_ms + one.step_ms)
    assert one.ttft_p99_ms <= 1000.0 and one.tpot_p99_ms <= 50.0 * (1 + 1e-9)
    assert 0.5 * one.tpot_mean_ms < one.step_ms <= one.tpot_mean_ms < one.tpot_p99_ms
    assert one.tensor_parallel * one.pipeline_stages * one.expert_parallel == one.replica_chips
    assert math.fsum(one.step_shares.values()) == pytest.approx(1.0)
    # what the work keeps busy, from the throughput alone
    assert one.chips_busy == pytest.approx(rate * 500.0 / one.output_tokens_per_s_per_chip, rel=1e-9)
    assert one.delivered_output_tokens_per_s_per_chip == pytest.approx(rate * 500.0 / one.chips)
    assert one.chips_low <= one.chips <= one.chips_high


def test_the_step_by_cause_is_the_step() -> None:
    """Compute is the products and the attention of decode and prefill, from the equations of the step itself."""
    able = ServiceModel(Question("m", 1.0).performance(), read_calibration(shipped_catalog() / FILE))
    question = Question("moe_deepseek_r1", 50.0, **USUAL).checked()
    sized = able.fewest(
        question.workload(), catalog_chip(catalog(True), "b200"), catalog_model(catalog(True), "moe_deepseek_r1"), 0.0, 50.0
    )
    assert not isinstance(sized, str)
    setting = sized.deployment.setting
    shares, operation = step_shares(setting), run(inputs_of([setting]))
    faster = {field: replace(n, value=n.value * 1e9) for field, n in setting.numbers.items() if field in ("tflops", "bf16_dense_tflops")}
    no_compute = run(inputs_of([replace(setting, numbers={**setting.numbers, **faster})])).step
    step, batch = operation.step, float(operation.batch[0])
    saved = batch * float((step.beta_s - no_compute.beta_s)[0]) / float(operation.tpot_s[0])
    assert shares["compute"] == pytest.approx(saved, rel=1e-6)
    wide = replace(setting.numbers["hbm_gb_per_s"], value=1e9 * setting.numbers["hbm_gb_per_s"].value)
    no_reads = run(inputs_of([replace(setting, numbers={**setting.numbers, "hbm_gb_per_s": wide})])).step
    touched = float(-np.expm1(-step.touch_rate * batch)[0])
    reads = (
        float((step.weights_s - no_reads.weights_s)[0])
        + touched * float((step.experts_s - no_reads.experts_s)[0])
        + batch * float((step.kv_s - no_reads.kv_s)[0])
    )
    assert shares["bandwidth"] == pytest.approx(reads / float(operation.tpot_s[0]), rel=1e-6)


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_the_wait_is_that_of_one_server(utilisation: float) -> None:
    """M/M/1: P(W > t) = rho exp(-(1 - rho) t / S). The queue is a bound from simulation, so the wait is not below and not far above."""
    load = ReplicaLoad(
        chips=4.0, busy_s=0.01, prefill_s=0.2, slack_s=1.0, slots=8.0, arrival_cv2=1.0, service_cv2=1.0, peakedness=1.0, sticky=0.0
    )
    exact = 0.2 * math.log(100 * utilisation) / (1 - utilisation)
    found = wait_p99_s(utilisation / 0.2, load, 1.0)
    assert 0.99 * exact <= found <= 1.3 * exact
    assert greatest_utilisation(1.0, found / 0.2, 1.0, 1.0, 1.0) == pytest.approx(utilisation, rel=2e-3)
    # sessions that keep their replica wait as at one server, however many there are
    sticky = wait_p99_s(64 * utilisation / 0.2, load._replace(sticky=1.0), 64.0)
    assert sticky == pytest.approx(found)
    assert wait_p99_s(64 * utilisation / 0.2, load, 64.0) < 0.2 * found


def test_the_bar_is_the_plan_at_its_ends() -> None:
    """Planning at the quantile 0.9 of the throughput is the upper end of the bar, where the layout stays."""
    median, careful = only("dense_70b", 200.0, "h100"), only("dense_70b", 200.0, "h100", quantile=0.9)
    assert careful.replica_chips == median.replica_chips
    assert careful.chips == careful.chips_high == median.chips_high and careful.chips_low == median.chips_low
    ratio = math.exp(NormalDist().inv_cdf(0.9) * median.log_std)
    assert careful.output_tokens_per_s_per_chip == pytest.approx(median.output_tokens_per_s_per_chip / ratio)


def test_costs_by_hand() -> None:
    one = only("dense_70b", 200.0, "h100")
    prices = catalog(True).prices
    for kind in KINDS:
        of_kind = {
            region: price.quantity.value for (chip, region, k), price in prices.items() if chip == "h100" and k == kind and price.quantity
        }
        cost = one.cost(kind)
        if cost is None:
            assert not of_kind
            continue
        assert cost.usd_per_chip_hour == min(of_kind.values()) == of_kind[cost.region]
        assert cost.usd_per_million_output_tokens == pytest.approx(one.chips * cost.usd_per_chip_hour / 360)  # 360 M tokens per hour
        assert cost.low / one.chips_low == pytest.approx(cost.high / one.chips_high)
    assert one.cost("own") is None and {cost.kind for cost in one.costs} >= {"on_demand", "spot", "reserved_1y"}
    here = serve("dense_70b", 200.0, chips=["h100"], region="aws:us-east-1", **USUAL).chips[0]
    assert {cost.region for cost in here.costs} == {"aws:us-east-1"}


# more asked for -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rows", [True, False])
def test_more_requests_never_need_fewer_chips(model: str, chip: str, rows: bool) -> None:
    found = [count(model, float(rate), chip, rows) for rate in np.geomspace(0.1, 3e4, 14)]
    assert found == sorted(found) and found[-1] > 100 * found[0]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rate", [3.0, 200.0])
def test_a_tighter_time_per_token_never_needs_fewer_chips(model: str, chip: str, rate: float) -> None:
    """By the model alone: a row of the throughput table near one target may say otherwise."""
    targets = (15.0, 20.0, 27.0, 35.0, 50.0, 75.0, 120.0, 200.0, None)
    found = [count(model, rate, chip, False, tpot_p99_ms=target, ttft_p99_ms=None) for target in targets]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("ttft", [100.0, 300.0])
def test_nor_where_the_first_token_caps_the_batch(chip: str, ttft: float) -> None:
    """Within a replica: the batch is then found on a ladder of targets."""
    targets = (35.0, 50.0, 75.0, 120.0, 200.0, None)
    found = [only("dense_70b", 100.0, chip, False, tpot_p99_ms=target, ttft_p99_ms=ttft, **EVEN) for target in targets]
    for tighter, looser in pairwise(found):
        assert looser.chips <= tighter.chips + looser.replica_chips
    assert any("ttft" in one.binds for one in found) or ttft > 100.0
    assert all(one.ttft_p99_ms <= ttft for one in found)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_tighter_first_token_never_needs_fewer_chips(chip: str) -> None:
    found = [count("dense_70b", 60.0, chip, ttft_p99_ms=target) for target in (10.0, 60.0, 80.0, 120.0, 200.0, 500.0, 2000.0, None)]
    assert found == sorted(found, reverse=True) and found[0] == math.inf > found[-1]
    network = [count("dense_70b", 60.0, chip, ttft_p99_ms=500.0, rtt_ms=rtt) for rtt in (0.0, 200.0, 350.0, 420.0, 600.0)]
    assert network == sorted(network) and network[-1] == math.inf


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", MODELS)
def test_a_larger_cache_hit_ratio_never_needs_more_chips(model: str, chip: str) -> None:
    found = [count(model, 60.0, chip, cache_hit_ratio=ratio, input_tokens=4000.0) for ratio in (0.0, 0.2, 0.5, 0.8, 0.95)]
    assert found == sorted(found, reverse=True) and found[-1] < found[0]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("rows", [True, False])
def test_care_never_needs_fewer_chips(chip: str, rows: bool) -> None:
    found = [count("dense_70b", 60.0, chip, rows, quantile=q) for q in (0.1, 0.5, None, 0.9, 0.99)]
    assert found == sorted(found) and found[1] == found[2] < found[3]


def test_burstier_and_sticky_never_need_fewer_chips() -> None:
    tight = {"ttft_p99_ms": 150.0, **EVEN}
    bursty = [count("dense_70b", 60.0, "h100", arrival_cv2=ca2, **tight) for ca2 in (0.5, 1.0, 3.0, 10.0)]
    assert bursty == sorted(bursty) and bursty[-1] > bursty[0]
    assert count("dense_70b", 60.0, "h100", routing="sticky", **tight) > count("dense_70b", 60.0, "h100", **tight)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_best_precision_is_the_best_of_each(chip: str) -> None:
    each = [count("dense_70b", 60.0, chip, False, precision=precision) for precision in ("bf16", "fp8", "fp4")]
    assert count("dense_70b", 60.0, chip, False) == min(each) < math.inf


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("rate", [0.5, 7.0, 90.0])
def test_the_best_replica_is_the_best_of_each_size(chip: str, rate: float) -> None:
    """Every size on its own, in whole replicas."""
    question = Question("dense_70b", rate, **{**USUAL, **EVEN, "ttft_p99_ms": 150.0}).checked()
    able = ServiceModel(question.performance(), read_calibration(shipped_catalog() / FILE))
    whole, model = catalog_chip(catalog(False), chip), catalog_model(catalog(False), "dense_70b")
    assert whole.replica_chips is not None
    found = []
    for size in whole.replica_chips:
        sized = able.fewest(question.workload(), replace(whole, replica_chips=(size,)), model, 0.0, rate)
        if not isinstance(sized, str):
            assert sized.deployment.setting.chips == size and sized.chips % size == 0
            found.append(sized.chips)
    assert len(found) >= 2 and only("dense_70b", rate, chip, False, ttft_p99_ms=150.0, **EVEN).chips == min(found)


def test_equal_lengths_are_the_mean_shape() -> None:
    plain = only("dense_70b", 60.0, "h100")
    mix = only("dense_70b", 60.0, "h100", input_tokens=None, output_tokens=None, lengths=((1000.0, 500.0, 0.25), (1000.0, 500.0, 0.75)))
    assert (mix.chips, mix.batch, mix.ttft_p99_ms) == (plain.chips, pytest.approx(plain.batch), pytest.approx(plain.ttft_p99_ms))
    uneven = only("dense_70b", 60.0, "h100", lengths=((500.0, 500.0, 0.9), (5500.0, 500.0, 0.1)))
    assert uneven.prefill_ms > plain.prefill_ms  # the long prompts are more than 1 % of the requests


# what binds -----------------------------------------------------------------------------------------------------------------------
def test_what_binds() -> None:
    assert only("dense_70b", 200.0, "h100").binds[0] == "tpot"
    assert only("dense_70b", 200.0, "h100", tpot_p99_ms=None).binds[0] == "memory"
    assert only("dense_70b", 200.0, "h100", rtt_ms=600.0).binds[:2] == ("network", "tpot")
    tight = only("dense_70b", 200.0, "h100", ttft_p99_ms=80.0, tpot_p99_ms=200.0, **EVEN)
    assert tight.binds[0] == "ttft" and tight.tpot_p99_ms < 100.0
    assert only("dense_405b", 1.0, "h100", input_tokens=30000.0, tpot_p99_ms=None, ttft_p99_ms=None).binds[-1] == "compute"
    assert only("dense_405b", 1.0, "h100", input_tokens=10.0, tpot_p99_ms=40.0).binds[-1] == "bandwidth"


def test_priors_and_assumptions_are_named() -> None:
    known, new = only("dense_70b", 200.0, "h100"), only("dense_70b", 200.0, "tpu_v5p")
    assert not known.priors and known.pin is not None
    assert {"compute", "memory"} <= set(new.priors) and new.pin is None and new.log_std > known.log_std
    guess = only("moe_2t", 200.0, "gb200")
    assert "catalog.models.moe_2t.layers" in guess.assumed and not any(".calibration." in key for key in guess.assumed)


def test_the_best_comes_first() -> None:
    by_cost = serve("dense_70b", 200.0, **USUAL)
    costs = [one.cost("on_demand") for one in by_cost.chips]
    known = [cost.usd_per_million_output_tokens for cost in costs if cost is not None]
    assert known == sorted(known) and all(cost is None for cost in costs[len(known) :])
    by_count = [one.chips for one in serve("dense_70b", 200.0, sort="chips", **USUAL).chips]
    assert by_count == sorted(by_count) and {one.chip for one in by_cost.chips} == set(catalog(True).chips)


def test_the_public_name() -> None:
    assert optimizer.serve is serve
    records = optimizer.serve("dense_70b", 200.0, chips=["h100", "h100"], **USUAL).records()
    assert len(records) == 1 and records[0]["chips"] == only("dense_70b", 200.0, "h100").chips
    with pytest.raises(TypeError, match="input_token"):
        serve("dense_70b", 200.0, input_token=3)
    with pytest.raises(CaseError, match=r"tpot_p99_ms: is 0\.0; write a number above 0"):
        serve("dense_70b", 200.0, **{**USUAL, "tpot_p99_ms": 0.0})
