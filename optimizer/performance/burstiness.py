"""How bursty an arrival stream is at the scale of service: dispersion of counts, of service times, and peakedness.

Let M(t) = sum over arrivals i of g(t - t_i). With independent service times of survival function G, mean S, the number N of busy servers
of an infinite-server system has the conditional mean M for g = G, so (law of total variance)

    z = Var N / E N = 1 + (Var M - lambda int G^2) / (lambda S)

and with g = 1 on [0, w) the same formula is the index of dispersion for counts I(w) = Var A(w) / E A(w). One estimator serves both. For
arrivals that are uncorrelated beyond a time much shorter than S it becomes z = 1 + (ca2 - 1) omega, omega = int G^2 / S.

Straight lines in stretches of `trend_window_s` are removed as trend; shot_noise.py has the estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.performance.shot_noise import BINS_PER_SERVICE, Estimate, Kernel, Layout, dispersion, squared_variation, survival_kernel

Array = np.ndarray


@dataclass(frozen=True)
class Burstiness:
    """What was measured on one log."""

    arrival_cv2: Estimate
    """Index of dispersion for counts in windows of `window_s`: the arrival cv2 that a queue feels. Poisson: 1."""
    interarrival_cv2: Estimate
    """Squared coefficient of variation of the single gaps, trend included: not what a queue feels; for comparison."""
    service_cv2: Estimate
    peakedness: Estimate
    """Variance over mean of the busy servers of an infinite-server system. Poisson: 1."""
    work_dispersion: Estimate
    """Index of dispersion of the arriving work (service seconds) in windows of `window_s`: arrival_cv2 + service_cv2 if services are
    independent of each other and of the arrivals; more if long services come together."""
    omega: float
    """int G^2 / S of the service times: 1 constant, 1/2 exponential."""
    requests: int
    span_s: float
    mean_service_s: float
    window_s: float
    trend_window_s: float
    batches: int
    measured_share: float
    """Share of the log that was looked at for peakedness: less than 1 for logs that are very long in service times."""

    @property
    def requests_per_second(self) -> float:
        return (self.requests - 1) / self.span_s


def measure_burstiness(
    arrivals_s: Array, services_s: Array, *, window_s: float | None = None, trend_window_s: float = 3600.0
) -> Burstiness:
    """Burstiness of arrivals [n] (seconds, ascending, ties allowed) with service times [n] (seconds, positive).

    `window_s`: the window of the counts, by default the mean service time. Raises ValueError: shapes that differ, stamps that are not
    ascending or not finite, services that are not positive, a log too short to tell (fewer than 8 batches of 4 windows).
    """
    arrivals, services = _checked(arrivals_s, services_s)
    mean = float(services.mean())
    window = mean if window_s is None else float(window_s)
    kernel = survival_kernel(services, mean / BINS_PER_SERVICE)
    busy = Layout.of(arrivals, kernel.bin_s, kernel.warm_s, mean, trend_window_s)
    counted = _window_layout(arrivals, window, trend_window_s)
    counts = Kernel.flat(window)
    return Burstiness(
        arrival_cv2=dispersion(arrivals, None, counts, counted),
        interarrival_cv2=squared_variation(np.diff(arrivals)),
        service_cv2=squared_variation(services),
        peakedness=dispersion(arrivals, None, kernel, busy),
        work_dispersion=dispersion(arrivals, services, counts, counted),
        omega=kernel.omega,
        requests=len(arrivals),
        span_s=float(arrivals[-1] - arrivals[0]),
        mean_service_s=mean,
        window_s=window,
        trend_window_s=busy.stretch_s,
        batches=busy.batches,
        measured_share=len(busy.measured) / busy.stretches,
    )


def dispersion_of_counts(arrivals_s: Array, window_s: float, *, trend_window_s: float = 3600.0) -> Estimate:
    """Index of dispersion for counts Var A(w) / E A(w) of arrivals [n] (s) in windows of w = `window_s` s.

    Raises ValueError as measure_burstiness.
    """
    arrivals, _ = _checked(arrivals_s, np.ones(np.shape(arrivals_s)))
    return dispersion(arrivals, None, Kernel.flat(window_s), _window_layout(arrivals, window_s, trend_window_s))


def peakedness(arrivals_s: Array, services_s: Array, *, trend_window_s: float = 3600.0) -> Estimate:
    """Peakedness z of arrivals [n] (s) for services drawn independently from services_s [m] (s).

    Raises ValueError as measure_burstiness.
    """
    arrivals, _ = _checked(arrivals_s, np.ones(np.shape(arrivals_s)))
    services = np.asarray(services_s, float)
    _check_services(services)
    mean = float(services.mean())
    kernel = survival_kernel(services, mean / BINS_PER_SERVICE)
    return dispersion(arrivals, None, kernel, Layout.of(arrivals, kernel.bin_s, kernel.warm_s, mean, trend_window_s))


# input ----------------------------------------------------------------------------------------------------------------------------
def _checked(arrivals_s: Array, services_s: Array) -> tuple[Array, Array]:
    arrivals, services = np.asarray(arrivals_s, float), np.asarray(services_s, float)
    if arrivals.ndim != 1 or arrivals.shape != services.shape:
        raise ValueError(f"arrivals {arrivals.shape} and services {services.shape} must be two lists of the same length")
    if len(arrivals) < 2 or not np.isfinite(arrivals).all() or (np.diff(arrivals) < 0).any() or arrivals[-1] <= arrivals[0]:
        raise ValueError("arrival times must be finite, ascending and not all equal")
    _check_services(services)
    return arrivals, services


def _check_services(services: Array) -> None:
    if services.size == 0 or not np.isfinite(services).all() or (services <= 0).any():
        raise ValueError("service times must be finite and positive seconds")


def _window_layout(arrivals: Array, window_s: float, trend_window_s: float) -> Layout:
    kernel = Kernel.flat(window_s)
    return Layout.of(arrivals, kernel.bin_s, kernel.warm_s, window_s, trend_window_s)
