"""`serve` against published numbers: rates of MLPerf and of vendors' tables, and an earlier model's counts of chips.

The stated error is the answer's own: the standard deviation of the logarithm, or the bar from the 10th to the 90th percentile.
"""

from __future__ import annotations

import csv
import math
from statistics import NormalDist

import numpy as np
import pytest

from optimizer.performance.serve import ChipAnswer, serve
from optimizer.spec.catalog import shipped_catalog
from tests.unit.test_serve import catalog

ENDS = NormalDist().inv_cdf(0.9)
BURSTY = {"input_tokens": 1000.0, "output_tokens": 1000.0, "arrival_cv2": 3.0, "peakedness": 2.0}

# chips for a million output tokens/s of Llama 70B, 1,000 + 1,000 tokens, TTFT p99 1 s: TPOT p99 of 30, 50 and 100 ms
MILLION = {
    "h100": (1016, 695, 542), "h200": (843, 562, 423), "b200": (282, 201, 172), "mi300x": (972, 671, 491), "tpu_v6e": (3956, 2530, 2406),
}  # fmt: skip
# the same for rates at maximum load, which were measured: (input, output tokens)
SATURATED = {
    ("h100", 1000, 1000): 453, ("h200", 1000, 1000): 387, ("b200", 1000, 1000): 145,
    ("h100", 8192, 1024): 2513, ("h200", 8192, 1024): 1862, ("b200", 8192, 1024): 734,
}  # fmt: skip


def bursty(chip: str, rate: float, rows: bool, **more) -> ChipAnswer:
    return serve("dense_70b", rate, chips=[chip], catalog=catalog(rows), **{**BURSTY, "ttft_p99_ms": 1000.0, **more}).chips[0]


@pytest.mark.parametrize("chip", MILLION)
def test_chips_for_a_million_tokens_per_second(chip: str) -> None:
    """The model without any row, against an earlier fit of the same law: inside the bar, and 16 % off at most."""
    for tpot, wanted in zip((30.0, 50.0, 100.0), MILLION[chip], strict=True):
        one = bursty(chip, 1000.0, rows=False, tpot_p99_ms=tpot)
        assert one.chips_low <= wanted <= one.chips_high
        assert one.chips == pytest.approx(wanted, rel=0.16)
        assert one.chips_high / one.chips == pytest.approx(math.exp(ENDS * one.log_std), rel=0.03)


@pytest.mark.parametrize("chip", MILLION)
def test_rows_move_it_by_no_more_than_the_error(chip: str) -> None:
    for tpot in (30.0, 50.0, 100.0):
        free, pinned = (bursty(chip, 1000.0, rows=rows, tpot_p99_ms=tpot) for rows in (False, True))
        assert pinned.pin is not None and pinned.log_std < free.log_std
        assert abs(math.log(pinned.chips / free.chips)) < free.log_std


@pytest.mark.parametrize("shape", SATURATED, ids=str)
def test_rates_at_maximum_load(shape: tuple[str, int, int]) -> None:
    """The measured rate where there is one; the model alone is 11 % off at most."""
    chip, tokens_in, tokens_out = shape
    asked = {"chips": [chip], "input_tokens": tokens_in, "output_tokens": tokens_out}
    pinned, free = (serve("dense_70b", 1e6 / tokens_out, catalog=catalog(rows), **asked).chips[0] for rows in (True, False))
    assert 1e6 / pinned.output_tokens_per_s_per_chip == pytest.approx(SATURATED[shape], rel=0.005)
    assert 1e6 / free.output_tokens_per_s_per_chip == pytest.approx(SATURATED[shape], rel=0.12)
    assert pinned.binds[0] == "memory"


def test_headroom_of_a_small_service() -> None:
    """10,000 tokens/s on H100 need 12 chips where the work alone takes 10; of a million the headroom is 2 to 3 %."""
    small, large = (bursty("h100", rate, rows=False, tpot_p99_ms=30.0) for rate in (10.0, 1000.0))
    assert small.chips == 12 and math.ceil(small.chips_busy) == 10
    assert 0.01 < large.chips_waiting / large.chips_busy < 0.04


def test_the_round_trip_is_an_edge() -> None:
    """100,000 tokens/s on H100, TTFT 0.5 s, TPOT 50 ms: 72 chips (here 74) for 5 to 300 ms; at 380 ms pairs give way to
    fours, 75 (76). The reference counts the mean prompt and half a step, and so reaches 400 ms; here a whole step may be under way."""
    targets = {"tpot_p99_ms": 50.0, "ttft_p99_ms": 500.0, "input_tokens_p99": 1000.0}
    found = {rtt: bursty("h100", 100.0, rows=False, rtt_ms=rtt, **targets) for rtt in (5.0, 100.0, 300.0, 380.0, 400.0)}
    near = {found[rtt].chips for rtt in (5.0, 100.0, 300.0)}
    assert near == {74} and found[300.0].replica_chips == 2
    assert found[380.0].replica_chips == found[400.0].replica_chips == 4 and (found[380.0].chips, found[400.0].chips) == (76, 88)


def measured() -> list[dict[str, str]]:
    with (shipped_catalog() / "throughput.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["task"] == "serving" and row["source"].startswith("MLPerf Inference v5.1")]


def rate_of(row: dict[str, str], rows: bool) -> ChipAnswer:
    target = float(row["tpot_p99_ms"]) if row["tpot_p99_ms"] else None
    shape = {"input_tokens": float(row["input_tokens"]), "output_tokens": float(row["output_tokens"]), "tpot_p99_ms": target}
    return serve(row["model"], 1000.0, chips=[row["chip"]], catalog=catalog(rows), **shape).chips[0]


def test_mlperf_rates() -> None:
    """Where a system was measured the answer is the measurement; the model alone has the error that it states."""
    found = measured()
    assert len(found) >= 30
    deviations = []
    for row in found:
        rate = float(row["output_tokens_per_second_per_chip"])
        assert rate_of(row, rows=True).output_tokens_per_s_per_chip == pytest.approx(rate, rel=0.005), row
        alone = rate_of(row, rows=False)
        deviations.append(math.log(alone.output_tokens_per_s_per_chip / rate) / alone.log_std)
    size = np.abs(deviations)
    assert np.mean(size < ENDS) >= 0.7 and np.median(size) < 1.0 and size.max() < 3.0
