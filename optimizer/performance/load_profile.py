"""The hourly curve of an arrival log in local time, and how much weekends differ (case reference, `profiles`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

Array = np.ndarray

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0
MISSING = HOUR / 2  # of a day or of a week may be missing: a log of a week ends a little before midnight
MOST_ROUNDS = 500


@dataclass(frozen=True)
class LoadProfile:
    """Requests of a week: rate(cell) = requests_per_second * curve(cell) / mean of the curve over the 168 cells, where
    curve(cell) = local_hours[cell mod 24] * (weekend_factor on Saturday and Sunday)."""

    local_hours: Array  # [24], mean 1
    weekend_factor: float | None  # None: the log is shorter than a week, so weekdays and weekends are not told apart
    requests_per_second: float  # the mean over a week, every hour counted alike


def load_profile(arrivals_s: Array, first: datetime, utc_offset_hours: int = 0) -> LoadProfile:
    """The profile of arrivals [n], seconds since `first` (with its time zone), in a local time of so many hours after UTC.

    Rates are counts over the time that the log covers, so a log may begin and end anywhere. The weekend factor is the one of most
    likelihood for Poisson counts. Raises ValueError: less than a day.
    """
    if arrivals_s[-1] - arrivals_s[0] < DAY - MISSING:
        raise ValueError("an hourly curve needs a log of at least a day")
    monday = datetime(1970, 1, 5, tzinfo=UTC)
    begin = ((first - monday).total_seconds() + utc_offset_hours * HOUR) % WEEK
    end = begin + float(arrivals_s[-1] - arrivals_s[0])
    low, high = int(begin // HOUR), int(end // HOUR) + 1
    edges = np.arange(low, high + 1) * HOUR
    counts = np.diff(np.searchsorted(arrivals_s - arrivals_s[0] + begin, edges, side="left"))
    covered = np.diff(np.clip(edges, begin, end))
    cell = np.arange(low, high) % 168
    requests = np.bincount(cell, counts, 168).reshape(7, 24)
    seconds = np.bincount(cell, covered, 168).reshape(7, 24)
    if end - begin < WEEK - MISSING:
        hours, factor = requests.sum(axis=0) / seconds.sum(axis=0), None
        mean = float(hours.mean())
    else:
        hours, factor = _weekend(requests, seconds)
        mean = float(hours.mean() * (5 + 2 * factor) / 7)
    return LoadProfile(hours / hours.mean(), factor, mean)


def _weekend(requests: Array, seconds: Array) -> tuple[Array, float]:
    """Rates per local hour [24] on weekdays, and the factor: the two equations of most likelihood in turn until they agree."""
    saturday = slice(5, 7)
    factor = 1.0
    for _ in range(MOST_ROUNDS):
        exposure = seconds[:5].sum(axis=0) + factor * seconds[saturday].sum(axis=0)
        hours = requests.sum(axis=0) / exposure
        before, factor = factor, float(requests[saturday].sum() / (seconds[saturday].sum(axis=0) @ hours))
        if abs(factor - before) <= 1e-13 * (1 + factor):
            break
    return hours, factor
