"""The own part of the time to first token: the 99th percentile of the prompt length, and what the step under way adds."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from optimizer.performance.first_token import own_first_token_s
from optimizer.performance.prompt_length import WIDEST, gamma_p99, mixture_p99, prompt_p99_tokens
from optimizer.performance.serve import serve
from optimizer.performance.serve_question import Question
from optimizer.spec import CaseError
from optimizer.spec.catalog import shipped_catalog


def test_the_percentile_of_published_prompts() -> None:
    """Five published lists: at x1.10 in the mean, within x0.98 to x1.43 each."""
    with (shipped_catalog() / "measurements" / "prompt_lengths.csv").open(encoding="utf-8", newline="") as file:
        rows = [{k: float(row[f"input_tokens_{k}"]) for k in ("mean", "cv2", "p99")} for row in csv.DictReader(file)]
    ratios = [gamma_p99(row["mean"], row["cv2"]) / row["p99"] for row in rows]
    assert len(ratios) == 5 and 0.98 < min(ratios) and max(ratios) < 1.43
    assert 1.0 < math.exp(np.log(ratios).mean()) < 1.15


@pytest.mark.parametrize("cv2", [0.01, 0.2, 0.6, 1.0, 2.0, 4.0])
def test_it_is_that_of_a_gamma_variable(cv2: float) -> None:
    drawn = np.random.default_rng(1).gamma(1.0 / cv2, cv2, 400_000)
    assert gamma_p99(1.0, cv2) == pytest.approx(np.quantile(drawn, 0.99), rel=0.05 if cv2 > 1.0 else 0.01)


def test_more_variation_is_never_a_shorter_prompt() -> None:
    found = [gamma_p99(1000.0, cv2) for cv2 in np.linspace(0.0, 3 * WIDEST, 400)]
    assert found[0] == 1000.0 and np.all(np.diff(found) >= 0.0)


def test_of_a_mix() -> None:
    assert mixture_p99([800.0, 800.0], [0.3, 0.7], 0.9) == pytest.approx(gamma_p99(800.0, 0.9))
    assert mixture_p99([100.0, 2000.0], [0.995, 0.005], 0.0) == pytest.approx(100.0)  # rarer than 1 %
    assert mixture_p99([100.0, 2000.0], [0.98, 0.02], 0.0) == pytest.approx(2000.0)
    random = np.random.default_rng(2)
    which = random.random(1_000_000) < 0.2
    drawn = random.gamma(1.0 / 0.4, 0.4, which.size) * np.where(which, 3000.0, 500.0)
    assert mixture_p99([3000.0, 500.0], [0.2, 0.8], 0.4) == pytest.approx(np.quantile(drawn, 0.99), rel=0.01)


def test_a_stated_percentile_is_taken() -> None:
    shape = {"input_tokens": 1000.0, "output_tokens": 100.0}
    usual, stated = (Question("dense_70b", 1.0, **shape, **more).checked().workload() for more in ({}, {"input_tokens_p99": 2500.0}))
    assert prompt_p99_tokens(stated) == 2500.0 and prompt_p99_tokens(usual) == pytest.approx(4605.0, rel=2e-3)  # -ln 0.01 means
    mix = Question("dense_70b", 1.0, lengths=((500.0, 100.0, 0.5), (1500.0, 100.0, 0.5)), input_tokens_cv2=0.0).checked().workload()
    assert prompt_p99_tokens(mix) == pytest.approx(1500.0)
    with pytest.raises(CaseError, match="input_tokens_p99: is 900, below the mean of 1000"):
        Question("dense_70b", 1.0, **shape, input_tokens_p99=900.0).checked()


@pytest.mark.parametrize("prompt_cv2", [0.0, 0.05, 0.25, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("step_s", [0.02, 0.2, 1.0])
def test_the_sum_of_the_parts_is_late_in_one_percent(prompt_cv2: float, step_s: float) -> None:
    """Prompts of mean prefill 1 s, the rest of a step even on [0, step], a wait that exceeds t with probability A exp(-r t)."""
    random = np.random.default_rng(3)
    n = 400_000
    prefill = random.gamma(1.0 / prompt_cv2, prompt_cv2, n) if prompt_cv2 else np.ones(n)
    own = prefill + step_s * random.random(n)
    claimed = float(own_first_token_s(1.0, gamma_p99(1.0, prompt_cv2), step_s))
    assert 0.004 < (own > claimed - 0.012 * step_s).mean() and (own > claimed).mean() < 0.0125
    for waits in (0.02, 0.1, 0.5, 1.0):
        for slack in (0.05, 0.5, 2.0, 20.0):
            rate = math.log(waits / 0.01) / slack
            left = claimed + slack - own
            late = np.where(left < 0.0, 1.0, waits * np.exp(-rate * np.maximum(left, 0.0))).mean()
            assert 0.0001 < late < 0.0135


def test_long_prompts_make_the_first_token_later_and_nothing_else() -> None:
    """At a loose target the same chips serve; the reported percentile is that of the long prompts."""
    asked = {"chips": ["h100"], "input_tokens": 2000.0, "output_tokens": 400.0, "ttft_p99_ms": 20_000.0, "tpot_p99_ms": 50.0}
    even, spread = (serve("dense_70b", 50.0, input_tokens_p99=p99, **asked).chips[0] for p99 in (2000.0, 12_000.0))
    assert even.chips == spread.chips
    assert 5.0 * even.prefill_ms < spread.prefill_ms < 9.0 * even.prefill_ms  # six times the tokens, and attention among them
    assert spread.step_ms < even.step_ms
    tight = serve("dense_70b", 50.0, input_tokens_p99=12_000.0, **{**asked, "ttft_p99_ms": 0.5 * spread.ttft_p99_ms}).chips[0]
    assert tight.ttft_p99_ms <= 0.5 * spread.ttft_p99_ms and tight.replica_chips > spread.replica_chips


def test_a_question_keeps_its_fields() -> None:
    asked = Question("dense_70b", 1.0, input_tokens=10.0, output_tokens=10.0, input_tokens_p99=20.0)
    assert replace(asked, input_tokens_p99=None).checked().workload().traffic.input_tokens_p99 is None  # type: ignore[union-attr]
