"""Dispersion of counts and peakedness against closed forms, against a simulated infinite-server system, and on a public log."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from optimizer.performance import shot_noise
from optimizer.performance.burstiness import Estimate, dispersion_of_counts, measure_burstiness, peakedness

LOGS = Path(__file__).resolve().parent.parent / "data" / "azure_llm_2023.npz"
RATE, SERVICE = 10.0, 5.0  # requests/s, s


def close(measured: Estimate, exact: float, errors: float = 4.0, most: float = 0.06) -> None:
    """Within `errors` standard errors, and the standard error is small enough for this to say something."""
    assert 0 < measured.standard_error < most * max(exact, 1.0), measured
    assert abs(measured.value - exact) < errors * measured.standard_error, (measured, exact)


def gamma_arrivals(rng: np.random.Generator, cv2: float, count: int = 200_000) -> np.ndarray:
    return np.cumsum(rng.gamma(1 / cv2, cv2 / RATE, count))


def gamma_peakedness(cv2: float) -> float:
    """GI/M/infinity: 1 / (1 - phi(mu)) - lambda / mu, phi the transform of the gaps."""
    return 1 / (1 - (1 + cv2 / (SERVICE * RATE)) ** (-1 / cv2)) - RATE * SERVICE


def switched_arrivals(rng: np.random.Generator, rates: tuple[float, float], mean_stay_s: float, span_s: float) -> np.ndarray:
    """Poisson arrivals whose rate switches between two levels after exponential stays."""
    parts, now, state = [], 0.0, 0
    while now < span_s:
        stay = rng.exponential(mean_stay_s)
        parts.append(now + np.sort(rng.uniform(0, stay, rng.poisson(rates[state] * stay))))
        now, state = now + stay, 1 - state
    arrivals = np.concatenate(parts)
    return arrivals[arrivals < span_s]


@pytest.mark.parametrize("cv2", [1.0, 3.0, 0.25])
def test_renewal_arrivals(cv2: float) -> None:
    rng = np.random.default_rng(1)
    measured = measure_burstiness(gamma_arrivals(rng, cv2), rng.exponential(SERVICE, 200_000))
    close(measured.interarrival_cv2, cv2)
    close(measured.service_cv2, 1.0)
    close(measured.peakedness, gamma_peakedness(cv2))
    assert math.isclose(gamma_peakedness(cv2), 1 + (cv2 - 1) / 2, abs_tol=0.02)  # the limit of high rates
    close(measured.arrival_cv2, cv2 + (1 - cv2**2) / (6 * RATE * SERVICE))  # variance of renewal counts, to the second order
    close(measured.work_dispersion, measured.arrival_cv2.value + 1.0)
    assert measured.requests_per_second == pytest.approx(RATE, rel=0.02)
    assert measured.omega == pytest.approx(0.5, rel=0.01)


def test_constant_service_sees_the_counts() -> None:
    rng = np.random.default_rng(2)
    measured = measure_burstiness(gamma_arrivals(rng, 3.0), np.full(200_000, SERVICE))
    assert measured.omega == pytest.approx(1.0)
    assert measured.peakedness.value == pytest.approx(measured.arrival_cv2.value, rel=1e-9)
    assert measured.work_dispersion.value == pytest.approx(measured.arrival_cv2.value, rel=1e-9)
    assert measured.service_cv2.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("sizes", "spread"), [((4,), 4.0), ((1, 7), 50 / 8)])
def test_batches_at_one_instant(sizes: tuple[int, ...], spread: float) -> None:
    """Poisson batches: I = E B^2 / E B at every window, z = 1 + (I - 1) omega for every service; lognormal cv2 3: omega 0.40."""
    rng = np.random.default_rng(3)
    stamps = np.cumsum(rng.exponential(0.2, 60_000))
    arrivals = np.repeat(stamps, rng.choice(sizes, len(stamps)))
    services = rng.lognormal(0.0, math.sqrt(math.log(4.0)), len(arrivals))
    measured = measure_burstiness(arrivals, services)
    close(measured.arrival_cv2, spread)
    assert measured.omega == pytest.approx(0.40, abs=0.01)
    close(measured.peakedness, 1 + (spread - 1) * measured.omega)
    close(dispersion_of_counts(arrivals, 0.5), spread)


def test_switched_rates_against_closed_forms_and_a_simulated_system() -> None:
    """Burstiness that grows with the scale: cov of the rate sigma^2 exp(-theta t)."""
    rng = np.random.default_rng(4)
    rates, stay = (5.0, 15.0), 8.0
    arrivals = switched_arrivals(rng, rates, stay, 40_000.0)
    services = rng.exponential(SERVICE, len(arrivals))
    sigma2, theta = 25.0, 2 / stay
    for window in (1.0, 5.0, 20.0):
        exact = 1 + 2 * sigma2 / (RATE * theta) * (1 - (1 - math.exp(-theta * window)) / (theta * window))
        close(dispersion_of_counts(arrivals, window), exact)
    measured = peakedness(arrivals, services)
    close(measured, 1 + sigma2 / (RATE * (1 / SERVICE + theta)))
    close(measured, simulated_peakedness(arrivals, services))


def simulated_peakedness(arrivals: np.ndarray, services: np.ndarray) -> float:
    """Variance over mean of the busy servers of an infinite-server system, by counting arrivals and departures."""
    look = np.arange(arrivals[0] + 10 * services.mean(), arrivals[-1], 0.5)
    busy = np.searchsorted(arrivals, look) - np.searchsorted(np.sort(arrivals + services), look)
    return float(busy.var() / busy.mean())


def test_a_daily_curve_is_no_burst() -> None:
    """Poisson arrivals that double and halve over the day, busy enough that a trend left inside would show."""
    rng = np.random.default_rng(5)
    stamps = np.sort(rng.uniform(0, 86_400, 2_000_000))
    arrivals = stamps[rng.random(len(stamps)) * 1.5 < 1 + 0.5 * np.sin(2 * np.pi * stamps / 86_400)]
    measured = measure_burstiness(arrivals, rng.exponential(20.0, len(arrivals)))
    close(measured.arrival_cv2, 1.0)
    close(measured.peakedness, 1.0)
    assert measured.interarrival_cv2.value > 1.2
    unaware = measure_burstiness(arrivals, np.full(len(arrivals), 20.0), trend_window_s=86_400.0)
    assert unaware.peakedness.value > 5


def test_the_standard_error_is_the_spread_of_the_estimate() -> None:
    """No bias, and errors as large as stated, over 60 logs of a quarter of an hour."""
    exact, logs = gamma_peakedness(3.0), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        logs.append(measure_burstiness(gamma_arrivals(rng, 3.0, 20_000), rng.exponential(SERVICE, 20_000)).peakedness)
    values, errors = np.array(logs).T
    assert abs(values.mean() - exact) < 3 * values.std() / math.sqrt(len(values))
    assert 0.75 < errors.mean() / values.std() < 1.25


def test_properties() -> None:
    """Neither the origin nor the unit of time matters."""
    rng = np.random.default_rng(6)
    arrivals, services = gamma_arrivals(rng, 3.0, 50_000), rng.exponential(SERVICE, 50_000)
    one = measure_burstiness(arrivals, services)
    moved = measure_burstiness(arrivals + 1e6, services)
    slower = measure_burstiness(60 * arrivals, 60 * services, trend_window_s=60 * 3600.0)
    for other in (moved, slower):
        for name in ("arrival_cv2", "service_cv2", "peakedness", "work_dispersion"):
            assert getattr(other, name).value == pytest.approx(getattr(one, name).value, rel=2e-3), name


def test_long_logs_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter stretches for memory, then only some of them for time: the same within the error, which grows."""
    rng = np.random.default_rng(7)
    arrivals, services = gamma_arrivals(rng, 3.0), rng.exponential(SERVICE, 200_000)
    whole = measure_burstiness(arrivals, services, trend_window_s=1e6)
    monkeypatch.setattr(shot_noise, "MOST_BINS", 2_000)
    pieces = measure_burstiness(arrivals, services, trend_window_s=1e6)
    assert pieces.trend_window_s <= 500.1 < whole.trend_window_s and pieces.measured_share == 1
    close(pieces.peakedness, whole.peakedness.value, errors=2.0)
    monkeypatch.setattr(shot_noise, "MOST_BINS_IN_ALL", 20_000)
    some = measure_burstiness(arrivals, services, trend_window_s=1e6)
    assert 0.2 < some.measured_share < 0.3
    assert some.peakedness.standard_error == pytest.approx(2 * pieces.peakedness.standard_error, rel=0.5)
    close(some.peakedness, whole.peakedness.value, most=0.1)


@pytest.mark.parametrize("name", ["code", "conv"])
def test_a_public_log_is_bursty_at_the_scale_of_service(name: str) -> None:
    """The two Azure logs: dispersion grows with the window, far from the squared variation of the gaps on the code log."""
    with np.load(LOGS) as logs:
        arrivals, tokens = logs[f"{name}_offset_ms"] / 1e3, logs[f"{name}_input_tokens"]
    by_window = [dispersion_of_counts(arrivals, window).value for window in (0.1, 1.0, 10.0)]
    assert by_window == sorted(by_window) and by_window[0] > 1
    services = tokens / 8_000
    measured = measure_burstiness(arrivals, services)
    assert measured.service_cv2.value == pytest.approx(tokens.astype(float).var() / tokens.mean() ** 2)
    assert measured.peakedness.value == pytest.approx(simulated_independent(arrivals, services), rel=0.05)
    if name == "code":
        assert measured.interarrival_cv2.value > 20 * measured.arrival_cv2.value > 60


def simulated_independent(arrivals: np.ndarray, services: np.ndarray) -> float:
    """The same without trend removal, with services drawn anew 20 times: what the estimator claims to average over."""
    rng = np.random.default_rng(8)
    return float(np.mean([simulated_peakedness(arrivals, rng.choice(services, len(arrivals))) for _ in range(20)]))


@pytest.mark.parametrize(
    ("arrivals", "services", "said"),
    [
        ([0.0, 2.0, 1.0], [1.0, 1.0, 1.0], "ascending"),
        ([0.0, math.nan, 1.0], [1.0, 1.0, 1.0], "finite"),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], "not all equal"),
        ([0.0, 1.0, 2.0], [1.0, 1.0], "same length"),
        ([0.0, 1.0, 2.0], [1.0, 0.0, 1.0], "positive seconds"),
        ([0.0, 10.0, 20.0], [1.0, 1.0, 1.0], "needs at least"),
    ],
)
def test_bad_input(arrivals: list[float], services: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measure_burstiness(np.array(arrivals), np.array(services))


def test_bad_windows() -> None:
    arrivals = np.arange(1000.0)
    with pytest.raises(ValueError, match="window is 0"):
        dispersion_of_counts(arrivals, 0.0)
    with pytest.raises(ValueError, match="trend window is -1"):
        dispersion_of_counts(arrivals, 1.0, trend_window_s=-1.0)
