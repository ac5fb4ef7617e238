"""Time to first token of whole runs: closed form against simulated iterations, its limits and derivatives, and the measured runs."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.performance import first_token_errors
from optimizer.performance.efficiency_parameters import Normal
from optimizer.performance.first_token_errors import first_token_report
from optimizer.performance.first_token_tail import Iterations, budget_wait, first_token_tail, pearson_p99, prompts_first_tpot_s
from optimizer.performance.measured_iteration import IterationParts, least_move, row_parallel_share
from optimizer.performance.measured_points import read_points
from optimizer.performance.serving_calibration import read_serving_calibration
from optimizer.spec.catalog import Catalog, shipped_catalog
from tests.prefill_simulation import first_token_times

CATALOG = Catalog(shipped_catalog())
SHIPPED = read_serving_calibration(shipped_catalog() / "calibration" / "serving.yaml")

CASES = {  # arrivals/s, tokens, cv2, iterations, prompts first
    "many prompts fit": (45.0, 222.0, 0.6, Iterations(0.079, 0.079, 26e-6, 2060.0), False),
    "the budget binds": (14.0, 222.0, 0.6, Iterations(0.130, 0.130, 95e-6, 755.0), False),
    "few prompts fit": (27.0, 222.0, 0.6, Iterations(0.0275, 0.0275, 30e-6, 514.0), False),
    "prompts fill several": (0.31, 9429.0, 0.19, Iterations(0.031, 0.031, 106e-6, 2551.0), False),
    "hardly any load": (0.5, 222.0, 0.6, Iterations(0.05, 0.05, 50e-6, 8000.0), False),
    "every ninth": (0.6, 804.0, 0.25, Iterations(0.06, 0.06, 50e-6, 3300.0, iterations_between_admissions=9.0), False),
    "prompts first": (10.0, 222.0, 0.6, Iterations(0.96, 0.023, 116e-6, 40960.0), True),
    "prompts first, full": (42.0, 427.0, 0.59, Iterations(0.70, 0.015, 24e-6, 32000.0), True),
    "part of a prompt a pass": (12.0, 871.0, 0.24, Iterations(0.012, 0.012, 11e-6, 906.0, prompt_tokens_per_pass=256.0), False),
}


@pytest.mark.parametrize("case", CASES)
def test_closed_form_against_simulated_iterations(case: str) -> None:
    arrivals, tokens, cv2, iterations, first = CASES[case]
    took = first_token_times(arrivals, tokens, cv2, iterations, first, requests=40_000)
    tail = first_token_tail(arrivals, tokens, cv2, iterations, first)
    assert tail.mean_s == pytest.approx(took.mean(), rel=0.08)
    assert tail.p99_s == pytest.approx(np.quantile(took, 0.99), rel=0.20)


def test_requests_that_a_harness_collects_wait_half_its_hold_and_share_a_pass() -> None:
    random = np.random.default_rng(0)
    fixed, start, token, tokens, hold, rate = 0.13, 0.025, 140e-6, 222.0, 0.3, 72.0
    took = []
    for _ in range(20_000):
        others = random.gamma(1.0 / 0.6, 0.6 * tokens, random.poisson(rate * hold)).sum()
        own = random.gamma(1.0 / 0.6, 0.6 * tokens)
        took.append(hold * random.random() + fixed * random.random() + start + token * (own + others))
    tail = first_token_tail(0.0, tokens, 0.6, Iterations(fixed, start, token, 49152.0, hold_s=hold, hold_arrivals_per_s=rate), True)
    assert tail.mean_s == pytest.approx(np.mean(took), rel=0.03) and tail.p99_s == pytest.approx(np.quantile(took, 0.99), rel=0.05)


def test_a_wait_at_one_server_is_exact_and_an_overloaded_one_infinite() -> None:
    for rho in (0.3, 0.8, 0.95):  # M/M/1: P(W > t) = rho exp(-(1 - rho) t / S), mean rho S / (1 - rho); soft maximum at no wait
        wait = budget_wait(rho, 1.0, 1.0, 1.0)
        assert rho * np.exp(-(1 - rho) * wait.p99_s) == pytest.approx(0.01, rel=0.04)
        assert wait.mean_s == pytest.approx(rho / (1 - rho))
    assert np.isinf(budget_wait(1.0, 1.0, 1.0, 1.0).p99_s)
    assert np.isinf(first_token_tail(30.0, 222.0, 0.6, CASES["the budget binds"][3]).p99_s)


def test_percentile_of_pearson_variables() -> None:
    assert pearson_p99(0.0, 1.0, 0.0) == pytest.approx(2.3263, abs=1e-3)  # normal
    assert pearson_p99(1.0, 1.0, 2.0) == pytest.approx(np.log(100.0), rel=0.005)  # exponential


def test_prompts_first_takes_the_time_of_all_work() -> None:
    """Long run: T = k d + passes, and the prompts take lambda x prompt of the time."""
    tpot = prompts_first_tpot_s(0.1, 0.0, 0.02, 10.0, 8.0)
    assert 8.0 * tpot == pytest.approx(0.8 / (1.0 - 10.0 * 0.02), rel=1e-6)
    assert prompts_first_tpot_s(0.1, 0.02, 0.02, 10.0, 8.0) > tpot


def test_derivatives_match_finite_differences() -> None:
    with jax.enable_x64(True):
        for arrivals, tokens, cv2, iterations, first in CASES.values():
            limit = min(float(iterations.prompt_tokens_per_pass), 1e6)
            base = np.array([arrivals, tokens, cv2, *iterations._replace(prompt_tokens_per_pass=limit)])
            base[-2:] = 0.01, 3.0

            def both(change, first=first, base=base, xp=jnp):
                x = base * (1.0 + change)
                tail = first_token_tail(x[0], x[1], x[2], Iterations(*x[3:]), first, xp)
                return xp.stack([tail.mean_s, tail.p99_s, tail.utilisation])

            zero = np.zeros(len(base))
            slopes = jax.jit(jax.jacfwd(both))(zero)
            for k, unit in enumerate(1e-5 * np.eye(len(base))):
                numeric = (both(unit, xp=np) - both(-unit, xp=np)) / 2e-5
                np.testing.assert_allclose(slopes[:, k], numeric, rtol=1e-6, atol=1e-6)


def test_least_move_meets_the_measurement_and_moves_what_is_known_least() -> None:
    beliefs = {"well_known": Normal(1.0, 0.05), "hardly_known": Normal(1.0, 0.5)}

    def parts(value) -> IterationParts:
        return IterationParts(value["hardly_known"], 0.0, value["well_known"])

    moved = least_move(parts, lambda p: p.step_s + p.token_s, beliefs, 3.0)
    assert moved.step_s + moved.token_s == pytest.approx(3.0, rel=1e-6)
    # stationary: ln(value) / (std^2 value) is the same for both
    pull = [np.log(x) / (belief.log_std**2 * x) for x, belief in zip((moved.token_s, moved.step_s), beliefs.values(), strict=True)]
    assert pull[0] == pytest.approx(pull[1], rel=1e-3) and moved.token_s < 1.05
    with pytest.raises(ValueError, match="cannot be moved"):
        least_move(lambda value: IterationParts(5.0 + value["hardly_known"], 0.0, 0.0), lambda p: p.step_s, beliefs, 3.0)


def test_share_of_row_parallel_products_of_the_405b_model() -> None:
    points = read_points(CATALOG.folder / "measurements" / first_token_errors.POINTS, CATALOG)
    model = points.select(np.array([name == "dense_405b" for name in points.model_name])).model
    hidden, wide, layer = 16384.0, 53248.0, 2 * 16384.0**2 * (1 + 8 / 128) + 3 * 16384.0 * 53248.0  # published sizes
    np.testing.assert_allclose(row_parallel_share(model), (hidden**2 + hidden * wide) / layer, rtol=0.02)


def test_every_measured_run_with_a_budget_is_predicted_and_the_errors_are_those_of_the_docs() -> None:
    report = first_token_report(CATALOG, SHIPPED)
    assert len(report.rows) == 29 and report.without_budget == 4
    assert all(row.utilisation < 1.0 and np.isfinite(row.predicted_p99_ms) for row in report.rows)
    page = (Path(__file__).parents[2] / "docs/performance_model/serving.md").read_text(encoding="utf-8")
    for scheduling, excluded, chunked in (
        (None, (), None),
        ("mixed", (), None),
        ("mixed", (), True),
        ("mixed", (), False),
        ("prompt_passes_first", (), None),
        ("mixed", ("8b", "deepseek", "AMD", "RedHat"), None),
    ):
        runs, bias, typical = report.summary(scheduling, excluded, chunked)
        assert f"| {runs} | {bias:.2f} | {typical:.2f} |" in page


def test_a_run_without_its_numbers_is_refused(tmp_path: Path) -> None:
    class Elsewhere:
        folder = tmp_path
        chips, models = CATALOG.chips, CATALOG.models

    folder = tmp_path / "measurements"
    folder.mkdir()
    for name in (first_token_errors.RUNS, first_token_errors.LENGTHS, first_token_errors.POINTS):
        text = (CATALOG.folder / "measurements" / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("openorca_mlperf_24576,llama2", "another,llama2"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"prompt_lengths.csv are needed"):
        first_token_report(Elsewhere(), SHIPPED)  # type: ignore[arg-type]
