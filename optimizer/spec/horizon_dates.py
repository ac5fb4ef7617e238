"""Calendar of the horizon: first days of periods, and calendar months."""

from __future__ import annotations

from calendar import monthrange
from datetime import date

from .resolved import Horizon


def add_months(day: date, months: int) -> date:
    """The same day of the month `months` later; the last day of the month where that one is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def period_starts(horizon: Horizon) -> list[date]:
    """The first day of each period, and after them the day on which the horizon ends."""
    return [add_months(horizon.start, horizon.months_per_period * t) for t in range(horizon.periods + 1)]
