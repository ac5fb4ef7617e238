"""Periods, dates and years by hand (case reference, sections 1 and 3)."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from optimizer.economics.calendar import FOREVER_AGO, Calendar, add_months
from optimizer.spec.resolved import Horizon

QUARTERS = Calendar.of(Horizon(date(2026, 10, 1), 5, 3))


def test_months() -> None:
    assert add_months(date(2026, 10, 1), 0) == date(2026, 10, 1)
    assert add_months(date(2026, 10, 1), 3) == date(2027, 1, 1)
    assert add_months(date(2026, 12, 1), 25) == date(2029, 1, 1)
    assert add_months(date(2028, 1, 31), 1) == date(2028, 2, 29)  # 2028 is a leap year


def test_periods() -> None:
    # October to December 31 + 30 + 31 = 92, January to March 31 + 28 + 31 = 90, 30 + 31 + 30 = 91, 31 + 31 + 30 = 92, 92
    assert QUARTERS.days.tolist() == [92, 90, 91, 92, 92]
    assert QUARTERS.day.tolist() == [0, 92, 182, 273, 365, 457]
    assert QUARTERS.end == date(2028, 1, 1)
    assert QUARTERS.hours.tolist() == [2208, 2160, 2184, 2208, 2208]


def test_years() -> None:
    assert QUARTERS.start_years.tolist() == [0, 92 / 365.25, 182 / 365.25, 273 / 365.25, 365 / 365.25]
    assert QUARTERS.mid_years[0] == 46 / 365.25
    assert QUARTERS.mid_years[2] == (182 + 45.5) / 365.25
    assert QUARTERS.end_years == 457 / 365.25


def test_block_hours() -> None:
    # 45 hours of the week in a quarter of 92 days: 45 * 92 / 7; all blocks together hold 24 hours a day
    hours = QUARTERS.block_hours(np.array([45, 75, 48]))
    assert hours[0, 0] == pytest.approx(45 * 92 / 7, rel=1e-15)
    np.testing.assert_allclose(hours.sum(axis=1), QUARTERS.hours, rtol=1e-15)


def test_overlap_and_whole_periods() -> None:
    start, end = QUARTERS.offset(date(2026, 11, 1)), QUARTERS.offset(date(2027, 5, 1))
    # November and December: 61 days; the whole first quarter: 90; April: 30
    assert QUARTERS.overlap_days(np.array(start), np.array(end)).tolist() == [61, 90, 30, 0, 0]
    assert QUARTERS.wholly_inside(np.array(start), np.array(end)).tolist() == [False, True, False, False, False]
    always = QUARTERS.wholly_inside(np.array([FOREVER_AGO]), np.array([QUARTERS.offset(date(2027, 4, 1))]))
    assert always.tolist() == [[True, True, False, False, False]]


def test_period_of_a_day() -> None:
    assert QUARTERS.period_at(np.array([-1, 0, 91, 92, 456, 457, 900])).tolist() == [-1, 0, 0, 1, 4, 5, 5]


def test_first_days_of_months() -> None:
    assert QUARTERS.month_day(4).tolist() == [0, 31, 61, 92, 123]


def test_instants() -> None:
    assert QUARTERS.mid.offset[1] == 92 + 45
    assert QUARTERS.first.offset[1] == 92
    assert QUARTERS.last.offset[1] == 181  # level: end reads by_date on the last day of the period ...
    assert QUARTERS.last.years[1] == 182 / 365.25  # ... and growth on the first day of the next


@pytest.mark.parametrize(
    ("start", "months", "name"),
    [
        (date(2026, 10, 1), 3, "2026Q4"),
        (date(2026, 11, 1), 3, "2026-11..2027-01"),
        (date(2026, 10, 1), 1, "2026-10"),
        (date(2027, 1, 1), 12, "2027"),
        (date(2026, 10, 1), 12, "2026-10..2027-09"),
    ],
)
def test_names(start: date, months: int, name: str) -> None:
    assert Calendar.of(Horizon(start, 2, months)).names[0] == name
