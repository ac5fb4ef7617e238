"""Periods, dates and years of a horizon (case reference, sections 1 and 3).

Dates inside the arithmetic are day offsets from the start of the horizon: integers, negative before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from optimizer.spec.horizon_dates import add_months as add_months
from optimizer.spec.resolved import Horizon

DAYS_PER_YEAR = 365.25
HOURS_PER_YEAR = 8766.0  # 24 * 365.25
FOREVER_AGO = -(10**7)  # day offset of a fleet that has always been there


@dataclass(frozen=True)
class Instants:
    """One instant per period at which paths are read. `years` drives growth, `offset` (days, may be a half) chooses the entry of a
    `by_date` path, the position chooses the entry of a `by_period` path."""

    name: str
    years: np.ndarray  # [T]
    offset: np.ndarray  # [T]


@dataclass(frozen=True)
class Calendar:
    """`first_day` has T + 1 entries; the last one is the end of the horizon."""

    horizon: Horizon
    first_day: tuple[date, ...]

    @staticmethod
    def of(horizon: Horizon) -> Calendar:
        months = horizon.months_per_period
        return Calendar(horizon, tuple(add_months(horizon.start, t * months) for t in range(horizon.periods + 1)))

    @property
    def periods(self) -> int:
        return self.horizon.periods

    @property
    def end(self) -> date:
        return self.first_day[-1]

    @cached_property
    def day(self) -> np.ndarray:
        """int[T + 1], days: the first day of each period, and the end of the horizon."""
        return np.array([self.offset(d) for d in self.first_day])

    @cached_property
    def days(self) -> np.ndarray:
        """int[T], days in the period."""
        return np.diff(self.day)

    @cached_property
    def hours(self) -> np.ndarray:
        """[T], hours in the period."""
        return 24.0 * self.days

    @cached_property
    def start_years(self) -> np.ndarray:
        """[T], years from the start of the horizon to the first day of each period."""
        return self.day[:-1] / DAYS_PER_YEAR

    @cached_property
    def mid_years(self) -> np.ndarray:
        """[T], years to the middle of each period."""
        return (self.day[:-1] + self.days / 2) / DAYS_PER_YEAR

    @property
    def end_years(self) -> float:
        return float(self.day[-1]) / DAYS_PER_YEAR

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self._name(t) for t in range(self.periods))

    def offset(self, day: date) -> int:
        """Days since the start of the horizon."""
        return (day - self.horizon.start).days

    def month_day(self, months: int) -> np.ndarray:
        """int[months + 1], days: day offset of the first day of month m of the horizon, m = 0 .. months."""
        start = np.datetime64(self.horizon.start, "M")
        first = (start + np.arange(months + 1)).astype("datetime64[D]")
        return (first - first[0]).astype(np.int64)

    def block_hours(self, cells: np.ndarray) -> np.ndarray:
        """[T, B], hours: `cells` int[B] hours of the week; h = cells * days / 7."""
        return cells[None, :] * self.days[:, None] / 7

    def period_at(self, offset: np.ndarray) -> np.ndarray:
        """int[...], the period that contains each day offset; T at the end of the horizon and later, -1 before its start."""
        return np.searchsorted(self.day, offset, side="right") - 1

    def overlap_days(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """int[..., T], days of each period inside [start, end); day offsets of shape [...]."""
        first = np.maximum(np.asarray(start)[..., None], self.day[:-1])
        last = np.minimum(np.asarray(end)[..., None], self.day[1:])
        return np.maximum(last - first, 0)

    def wholly_inside(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """bool[..., T], periods that lie wholly inside [start, end)."""
        return (self.day[:-1] >= np.asarray(start)[..., None]) & (self.day[1:] <= np.asarray(end)[..., None])

    # instants ---------------------------------------------------------------------------------------------------------------
    @cached_property
    def mid(self) -> Instants:
        """The middle of each period."""
        return Instants("mid", self.mid_years, self.day[:-1] + self.days / 2)

    @cached_property
    def first(self) -> Instants:
        """The first day of each period: at signing."""
        return Instants("first", self.start_years, self.day[:-1].astype(float))

    @cached_property
    def last(self) -> Instants:
        """`level: end`: growth to the first day of the next period, `by_date` by the last day of the period."""
        return Instants("last", self.day[1:] / DAYS_PER_YEAR, self.day[1:] - 1.0)

    def _name(self, t: int) -> str:
        start, months = self.first_day[t], self.horizon.months_per_period
        if months == 3 and start.month % 3 == 1:
            return f"{start.year}Q{start.month // 3 + 1}"
        if months == 12 and start.month == 1:
            return str(start.year)
        if months == 1:
            return f"{start:%Y-%m}"
        return f"{start:%Y-%m}..{add_months(start, months - 1):%Y-%m}"
