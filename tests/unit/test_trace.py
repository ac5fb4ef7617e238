"""What is measured on an arrival log: buckets, service times, rates and the hourly curve."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from optimizer.performance.length_buckets import OUTPUT_WEIGHT, length_buckets
from optimizer.performance.load_profile import load_profile
from optimizer.performance.shot_noise import Estimate
from optimizer.performance.trace import Service, mean_of, measure_trace, rounding_step_s
from optimizer.performance.trace_file import Trace

LOGS = Path(__file__).resolve().parent.parent / "data" / "azure_llm_2023.npz"


def public_log(name: str) -> Trace:
    with np.load(LOGS) as logs:
        first = datetime.strptime(str(logs[f"{name}_first_stamp"])[:-1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        tokens = [logs[f"{name}_{side}_tokens"].astype(np.int32) for side in ("input", "output")]
        return Trace(f"{name}.csv", logs[f"{name}_offset_ms"] / 1e3, *tokens, first)


# length buckets --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["code", "conv"])
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_buckets_of_a_public_log(name: str, count: int) -> None:
    """Shares and means add up, the work is comparable, and every request lies in exactly one rectangle."""
    log = public_log(name)
    buckets = length_buckets(log.input_tokens, log.output_tokens, count)
    assert len(buckets) == count
    shares = np.array([bucket.share for bucket in buckets])
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
    assert math.fsum(bucket.work_share for bucket in buckets) == pytest.approx(1, abs=1e-12)
    assert shares @ [bucket.input_tokens for bucket in buckets] == pytest.approx(log.input_tokens.mean(), rel=1e-12)
    assert shares @ [bucket.output_tokens for bucket in buckets] == pytest.approx(log.output_tokens.mean(), rel=1e-12)
    assert all(0.8 < bucket.work_share * count < 1.25 for bucket in buckets)
    times = np.zeros(len(log.input_tokens), int)
    for bucket in buckets:
        inside = (log.input_tokens >= bucket.input_range[0]) & (log.input_tokens <= bucket.input_range[1])
        inside &= (log.output_tokens >= bucket.output_range[0]) & (log.output_tokens <= bucket.output_range[1])
        times += inside
        assert inside.mean() == pytest.approx(bucket.share, abs=1e-12)
        assert log.input_tokens[inside].mean() == pytest.approx(bucket.input_tokens)
    assert (times == 1).all()
    work = [bucket.input_tokens + OUTPUT_WEIGHT * bucket.output_tokens for bucket in buckets]
    assert work == sorted(work)


def test_two_kinds_of_requests_are_told_apart() -> None:
    """Half long inputs, half long outputs, of equal work: two buckets, by hand."""
    inputs, outputs = np.array([4000, 400, 4000, 400]), np.array([100, 1000, 100, 1000])
    one, two = sorted(length_buckets(inputs, outputs, 2), key=lambda bucket: bucket.input_tokens)
    assert (one.input_tokens, one.output_tokens, one.share, one.work_share) == (400.0, 1000.0, 0.5, 0.5)
    assert (two.input_tokens, two.output_tokens, two.share, two.work_share) == (4000.0, 100.0, 0.5, 0.5)


def test_fewer_shapes_than_buckets() -> None:
    made = length_buckets(np.array([10, 10, 20]), np.array([5, 5, 5]), 8)
    assert [(b.input_tokens, b.share) for b in made] == [(10.0, 2 / 3), (20.0, 1 / 3)]
    assert len(length_buckets(np.full(100, 7), np.full(100, 3), 8)) == 1


@pytest.mark.parametrize(
    ("inputs", "outputs", "count", "said"),
    [
        ([1, 2], [1], 2, "of each per request"),
        ([0, 2], [1, 1], 2, "positive lengths"),
        ([], [], 2, "positive lengths"),
        ([1], [1], 0, "at least 1"),
    ],
)
def test_bad_buckets(inputs: list[int], outputs: list[int], count: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        length_buckets(np.array(inputs, int), np.array(outputs, int), count)


# load profile ----------------------------------------------------------------------------------------------------------------------
def curve_arrivals(rng: np.random.Generator, start: datetime, days: float, hours: np.ndarray, weekend: float, offset: int) -> np.ndarray:
    """Poisson arrivals whose rate (per hour) follows local_hours and the weekend factor; local cells by the calendar of Python."""
    parts = []
    for hour in range(math.ceil(days * 24)):
        local = datetime.fromtimestamp(start.timestamp() + 3600 * (hour + offset), UTC)
        rate = hours[local.hour] * (weekend if local.weekday() >= 5 else 1)
        parts.append(3600 * (hour + np.sort(rng.random(rng.poisson(rate)))))
    arrivals = np.concatenate(parts)
    return arrivals[arrivals < days * 86_400]


HOURS = 2000 * (1 + 0.6 * np.sin(2 * np.pi * (np.arange(24) - 9) / 24))


@pytest.mark.parametrize("offset", [0, -5, 9])
def test_the_curve_comes_back(offset: int) -> None:
    """From a log that begins on a Wednesday and covers eleven days and a bit: more weekdays than a week has, in proportion."""
    start = datetime(2024, 5, 15, 7, tzinfo=UTC)
    arrivals = curve_arrivals(np.random.default_rng(1), start, 11.3, HOURS, 0.4, offset)
    profile = load_profile(arrivals - arrivals[0], datetime.fromtimestamp(start.timestamp() + arrivals[0], UTC), offset)
    assert profile.local_hours.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(profile.local_hours, HOURS / HOURS.mean(), rtol=5 / math.sqrt(11.3 * HOURS.min()))
    assert profile.weekend_factor == pytest.approx(0.4, rel=0.03)
    assert profile.requests_per_second == pytest.approx(HOURS.mean() / 3600 * (5 + 2 * 0.4) / 7, rel=0.02)


def test_less_than_a_week_has_no_weekend_factor() -> None:
    """A week is one from midnight to midnight, whose last request comes before the second."""
    start = datetime(2024, 5, 13, tzinfo=UTC)
    arrivals = curve_arrivals(np.random.default_rng(2), start, 7.0, HOURS, 0.4, 0)
    assert arrivals[-1] - arrivals[0] < 7 * 86_400
    assert load_profile(arrivals, start).weekend_factor == pytest.approx(0.4, rel=0.03)
    profile = load_profile(arrivals[arrivals < 2.5 * 86_400], start)
    assert profile.weekend_factor is None
    np.testing.assert_allclose(profile.local_hours, HOURS / HOURS.mean(), rtol=0.15)
    assert profile.requests_per_second == pytest.approx(HOURS.mean() / 3600, rel=0.02)


def test_less_than_a_day_has_no_curve() -> None:
    with pytest.raises(ValueError, match="at least a day"):
        load_profile(np.arange(80_000.0), datetime(2024, 5, 13, tzinfo=UTC))


# the whole -------------------------------------------------------------------------------------------------------------------------
def test_measures_of_a_public_log() -> None:
    """The plain numbers recomputed, and the burstiness of a prefill server: input_tokens_cv2 is its service_cv2."""
    log = public_log("conv")
    measures = measure_trace(log, Service(), buckets=5)
    assert measures.requests == 19_366 and measures.span_s == pytest.approx(3501.722)
    assert measures.requests_per_second == pytest.approx(19_365 / 3501.722)
    for name, tokens in (("input_tokens", log.input_tokens), ("output_tokens", log.output_tokens)):
        assert getattr(measures, name).value == pytest.approx(tokens.mean())
        assert getattr(measures, f"{name}_cv2").value == pytest.approx(tokens.var() / tokens.mean() ** 2)
    assert len(measures.buckets) == 5 and measures.profile is None
    assert measures.burstiness is not None
    assert measures.burstiness.service_cv2.value == pytest.approx(measures.input_tokens_cv2.value)
    assert list(measures.dispersion_by_scale) == [0.1, 1.0, 10.0, 60.0]
    assert len(measures.missing) == 1 and "not of a week" in measures.missing[0]


@pytest.mark.parametrize("service", [Service(), Service(8000.0, 30.0, 4.0)])
@pytest.mark.parametrize("count", [1, 8])
def test_spread_within_and_between_buckets_adds_up(service: Service, count: int) -> None:
    """share * mean^2 * (1 + cv2 within), summed over the buckets, is the second moment of the log: nothing is counted twice."""
    log = public_log("conv")
    measures = measure_trace(log, service, count)
    shares = np.array([bucket.share for bucket in measures.buckets])
    inputs = np.array([bucket.input_tokens for bucket in measures.buckets])
    outputs = np.array([bucket.output_tokens for bucket in measures.buckets])
    times = service.times(log.input_tokens, log.output_tokens)
    scale = times.mean() / (shares @ Service(8000.0, 30.0).times(inputs, outputs)) if service.service_seconds else 1.0
    means = scale * (Service(8000.0, 30.0) if service.service_seconds else service).times(inputs, outputs)
    found = measures.service_cv2_within
    assert found is not None
    for values, of_buckets, within in (
        (log.input_tokens, inputs, measures.input_tokens_cv2_within),
        (log.output_tokens, outputs, measures.output_tokens_cv2_within),
        (times, means, found),
    ):
        assert shares @ of_buckets**2 * (1 + within.value) == pytest.approx((values.astype(float) ** 2).mean(), rel=1e-9)
    whole = measures.input_tokens_cv2
    assert (measures.input_tokens_cv2_within == pytest.approx(whole)) if count == 1 else (found.value < 0.5 * whole.value)


def test_service_times() -> None:
    inputs, outputs = np.array([1000, 3000]), np.array([10, 30])
    np.testing.assert_allclose(Service(1000.0).times(inputs, outputs), [1.0, 3.0])
    np.testing.assert_allclose(Service(1000.0, 20.0).times(inputs, outputs), [1.5, 4.5])
    np.testing.assert_allclose(Service(1000.0, 20.0, 6.0).times(inputs, outputs), [3.0, 9.0])
    with pytest.raises(ValueError, match="service_seconds is -1"):
        Service(service_seconds=-1.0)


def test_rounded_stamps_are_no_bursts() -> None:
    """Poisson arrivals rounded to 3 s look bursty at 0.3 s; that is refused, and measured again at 30 s."""
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(0.2, 60_000))
    rounded = 3.0 * np.floor(arrivals / 3.0)
    assert rounding_step_s(arrivals) == 0 and rounding_step_s(rounded) == 3.0
    log = Trace("log.csv", rounded - rounded[0], np.full(60_000, 3000), rng.geometric(0.01, 60_000), None)
    fast = measure_trace(log, Service())
    assert fast.burstiness is None and "steps of 3 s" in fast.missing[0] and list(fast.dispersion_by_scale) == [10.0, 60.0]
    slow = measure_trace(log, Service(service_seconds=30.0))
    assert slow.burstiness is not None
    assert slow.burstiness.arrival_cv2.value == pytest.approx(1.0, abs=5 * slow.burstiness.arrival_cv2.standard_error)


def test_a_week_gives_the_rate_of_a_week() -> None:
    start = datetime(2024, 5, 16, tzinfo=UTC)
    arrivals = curve_arrivals(np.random.default_rng(4), start, 11.0, HOURS, 0.2, 0)
    ones = np.ones(len(arrivals), np.int32)
    measures = measure_trace(Trace("log.csv", arrivals, 100 * ones, 10 * ones, start), Service(service_seconds=5.0))
    assert measures.profile is not None and measures.missing == ()
    assert measures.requests_per_second == measures.profile.requests_per_second
    assert measures.requests_per_second > 1.05 * measures.log_requests_per_second.value  # the log holds two weekends in eleven days
    assert measures.input_tokens_cv2 == Estimate(0.0, 0.0)
    assert len(measures.buckets) == 1


def test_the_standard_error_of_a_mean() -> None:
    found = mean_of(np.random.default_rng(5).normal(10.0, 3.0, 32_000))
    assert found.standard_error == pytest.approx(3 / math.sqrt(32_000), rel=0.4)
    assert abs(found.value - 10) < 4 * found.standard_error
    assert mean_of(np.array([5.0])).standard_error == math.inf
