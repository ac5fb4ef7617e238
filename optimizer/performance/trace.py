"""What a capacity plan needs to know of an arrival log: shapes, rate, burstiness at the scale of service, and the hourly curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizer.performance.burstiness import Burstiness, dispersion_of_counts, measure_burstiness
from optimizer.performance.length_buckets import LengthBucket, length_buckets, share_of_variation
from optimizer.performance.load_profile import LoadProfile, load_profile
from optimizer.performance.shot_noise import BATCHES, Estimate, squared_variation
from optimizer.performance.trace_file import Trace

Array = np.ndarray

PREFILL_TOKENS_PER_SECOND = 10_000.0
"""Prefill speed of one replica where none is stated: the order of magnitude of a 70B model on a few current chips."""
SCALES_S = (0.1, 1.0, 10.0, 60.0)
COARSE_TIES = 0.05  # share of requests with the stamp of the one before, from which on stamps may be rounded
FINEST_STEPS = 2.0  # steps of rounded stamps in a window that can be told from the rounding


@dataclass(frozen=True)
class Service:
    """How long a request keeps a server: input tokens / prefill speed, plus output tokens / decode speed where one is stated.

    Without a decode speed the server is the prefill of one replica, which is what the wait for the first token queues for. With one it is
    a decode slot. `service_seconds` states the mean and scales all service times to it.
    """

    prefill_tokens_per_second: float = PREFILL_TOKENS_PER_SECOND
    decode_tokens_per_second: float | None = None
    service_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("prefill_tokens_per_second", "decode_tokens_per_second", "service_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; it must be a positive number")

    def times(self, input_tokens: Array, output_tokens: Array) -> Array:
        """Service times [n] in seconds of requests with lengths [n], [n]."""
        times = input_tokens / self.prefill_tokens_per_second
        if self.decode_tokens_per_second is not None:
            times = times + output_tokens / self.decode_tokens_per_second
        return times if self.service_seconds is None else times * (self.service_seconds / times.mean())


@dataclass(frozen=True)
class TraceMeasures:
    """The workload of a log. What the log is too short for is None, and `missing` says so in a sentence each."""

    requests: int
    span_s: float
    input_tokens: Estimate
    output_tokens: Estimate
    input_tokens_cv2: Estimate
    input_tokens_p99: float
    output_tokens_cv2: Estimate
    requests_per_second: float  # the mean over a week where there is a profile, else over the log
    log_requests_per_second: Estimate  # the mean over the log
    buckets: list[LengthBucket]
    service: Service
    burstiness: Burstiness | None
    dispersion_by_scale: dict[float, Estimate]  # window in seconds: index of dispersion for counts
    profile: LoadProfile | None
    missing: tuple[str, ...]

    @property
    def input_tokens_cv2_within(self) -> Estimate:
        """Of the requests of one length bucket; the spread between the buckets is in the buckets."""
        return _within(self.input_tokens_cv2, share_of_variation(self.buckets, 1.0, 0.0))

    @property
    def output_tokens_cv2_within(self) -> Estimate:
        return _within(self.output_tokens_cv2, share_of_variation(self.buckets, 0.0, 1.0))

    @property
    def service_cv2_within(self) -> Estimate | None:
        if self.burstiness is None:
            return None
        per_output = 0.0 if self.service.decode_tokens_per_second is None else 1 / self.service.decode_tokens_per_second
        between = share_of_variation(self.buckets, 1 / self.service.prefill_tokens_per_second, per_output)
        return _within(self.burstiness.service_cv2, between)


def _within(cv2: Estimate, between: float) -> Estimate:
    return Estimate(max(0.0, (1 + cv2.value) * between - 1), cv2.standard_error * between)


def measure_trace(trace: Trace, service: Service, buckets: int = 8, utc_offset_hours: int = 0) -> TraceMeasures:
    """Everything that `capacity trace` writes. Raises ValueError: fewer than one bucket is asked for."""
    made = length_buckets(trace.input_tokens, trace.output_tokens, buckets)
    services = service.times(trace.input_tokens, trace.output_tokens)
    missing: list[str] = []
    step = rounding_step_s(trace.arrivals_s)
    try:
        if step * FINEST_STEPS > services.mean():
            raise ValueError(f"stamps are rounded to steps of {step:.4g} s, too coarse for a service of {services.mean():.4g} s")
        burstiness = measure_burstiness(trace.arrivals_s, services)
    except ValueError as error:
        burstiness = None
        missing.append(f"no burstiness: {error}")
    profile = _profile(trace, utc_offset_hours, missing)
    rate = _rate(trace.arrivals_s)
    return TraceMeasures(
        requests=len(trace.arrivals_s),
        span_s=trace.span_s,
        input_tokens=mean_of(trace.input_tokens),
        output_tokens=mean_of(trace.output_tokens),
        input_tokens_cv2=squared_variation(trace.input_tokens),
        input_tokens_p99=float(np.quantile(trace.input_tokens, 0.99)),
        output_tokens_cv2=squared_variation(trace.output_tokens),
        requests_per_second=rate.value if profile is None else profile.requests_per_second,
        log_requests_per_second=rate,
        buckets=made,
        service=service,
        burstiness=burstiness,
        dispersion_by_scale=_by_scale(trace.arrivals_s, step),
        profile=profile,
        missing=tuple(missing),
    )


def mean_of(values: Array) -> Estimate:
    """The mean of values [n]; its standard error from the means of consecutive batches."""
    k = min(BATCHES, len(values))
    batches = np.array([part.mean() for part in np.array_split(values, k)])
    return Estimate(float(values.mean()), float(batches.std(ddof=1) / math.sqrt(k)) if k > 1 else math.inf)


def _rate(arrivals_s: Array) -> Estimate:
    """Gaps over span; the standard error from counts in equal parts of the log, so a trend inside the log counts as error."""
    span = float(arrivals_s[-1] - arrivals_s[0])
    k = min(BATCHES, len(arrivals_s))
    counts = np.diff(np.searchsorted(arrivals_s, arrivals_s[0] + span * np.arange(k + 1) / k))
    return Estimate((len(arrivals_s) - 1) / span, float(counts.std(ddof=1) * k / span / math.sqrt(k)))


def rounding_step_s(arrivals_s: Array) -> float:
    """The step in seconds that the stamps [n] are rounded to: the smallest gap, where many stamps are equal; 0 where few are.

    Below the step a rounded log looks like requests that come together, whatever the traffic was.
    """
    gaps = np.diff(arrivals_s)
    return float(gaps[gaps > 0].min()) if (gaps == 0).mean() >= COARSE_TIES else 0.0


def _by_scale(arrivals_s: Array, step_s: float) -> dict[float, Estimate]:
    found = {}
    for window in (window for window in SCALES_S if window >= FINEST_STEPS * step_s):
        try:
            found[window] = dispersion_of_counts(arrivals_s, window)
        except ValueError:  # the log is too short for this window
            break
    return found


def _profile(trace: Trace, utc_offset_hours: int, missing: list[str]) -> LoadProfile | None:
    if trace.first is None:
        missing.append("no load profile: the stamps of the log are no calendar stamps")
        return None
    try:
        profile = load_profile(trace.arrivals_s, trace.first, utc_offset_hours)
    except ValueError as error:
        missing.append(f"no load profile: {error}; requests_per_second is the rate of the log's own hours, not of a week")
        return None
    if profile.weekend_factor is None:
        missing.append("no weekend factor: that needs a log of at least a week")
    return profile
