"""Calendar of the horizon: first days of periods, and calendar months."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from itertools import pairwise

from .resolved import Horizon


def add_months(day: date, months: int) -> date:
    """The same day of the month `months` later; the last day of the month where that one is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def period_starts(horizon: Horizon) -> list[date]:
    """The first day of each period, and after them the day on which the horizon ends."""
    return [add_months(horizon.start, horizon.months_per_period * t) for t in range(horizon.periods + 1)]


def whole_periods(horizon: Horizon, first: date, last: date) -> tuple[int, ...]:
    """The periods that lie wholly inside a window of dates, first and last day included."""
    starts = period_starts(horizon)
    return tuple(t for t, (a, b) in enumerate(pairwise(starts)) if a >= first and b - timedelta(days=1) <= last)
