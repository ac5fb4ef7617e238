"""Cash flows per chip by hand (case reference, section 3)."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from optimizer.economics.calendar import Calendar
from optimizer.economics.cashflow import LEASE, OWN, RESERVED, FlowShape, cash, discount
from optimizer.spec.resolved import Horizon

CALENDAR = Calendar.of(Horizon(date(2026, 10, 1), 4, 3))  # 92, 90, 91, 92 days; the horizon ends on 2027-10-01, after 365
RATE = 0.1
MID, START = discount(RATE, CALENDAR.mid_years), discount(RATE, CALENDAR.start_years)
END = float(discount(RATE, CALENDAR.end_years))


def shape(ownership: int, start: date, end: date, straight_line: bool = True) -> FlowShape:
    days = (np.array([CALENDAR.offset(d)]) for d in (start, end))
    return FlowShape.of(CALENDAR, np.array([ownership]), *days, straight_line)


def test_own() -> None:
    # Delivered on 2026-12-01 (31 days left in the first quarter), a life of 24 months: to 2028-12-01, 731 days (2028 is a leap year).
    flows = cash(
        shape(OWN, date(2026, 12, 1), date(2028, 12, 1)),
        price=np.array([30000.0]),
        upfront_share=np.array([0.0]),
        opex_usd_per_year=np.array([3652.5]),  # 10 dollars a day
        idle_usd_per_day=np.array([[1.0, 2.0, 3.0, 4.0]]),
    )
    assert flows.purchase.tolist() == [[30000, 0, 0, 0]]
    assert flows.operations.tolist() == [[310, 900, 910, 920]]
    assert flows.energy.tolist() == [[31, 180, 273, 368]]
    assert not flows.contract.any() and not flows.upfront.any()
    # From the end of the horizon to the end of life: October 2027 to November 2028, 731 - 304 = 427 days
    assert flows.end_value[0] == pytest.approx(-30000 * 427 / 731, rel=1e-15)
    assert flows.spend().tolist() == [[30310, 900, 910, 920]]
    # Present value: the purchase at the start of the first period (weight 1), the rest in the middle of theirs, the end value at the end
    mid = [1.1 ** (-days / 365.25) for days in (46, 92 + 45, 182 + 45.5, 273 + 46)]
    by_hand = 30000 + 341 * mid[0] + 1080 * mid[1] + 1183 * mid[2] + 1288 * mid[3] - 30000 * 427 / 731 * 1.1 ** (-365 / 365.25)
    assert flows.present_value(START, MID, END)[0] == pytest.approx(by_hand, rel=1e-14)


def test_own_whose_life_ends_inside() -> None:
    flows = cash(shape(OWN, date(2026, 10, 1), date(2027, 5, 1)), np.array([100.0]), np.zeros(1), np.array([365.25]), np.zeros((1, 4)))
    assert flows.operations.tolist() == [[92, 90, 30, 0]]  # April: 30 days
    assert flows.end_value.tolist() == [0]


def test_no_end_value() -> None:
    flows = cash(
        shape(OWN, date(2026, 10, 1), date(2030, 10, 1), straight_line=False), np.array([100.0]), np.zeros(1), np.zeros(1), np.zeros((1, 4))
    )
    assert flows.end_value.tolist() == [0]


@pytest.mark.parametrize("ownership", [LEASE, RESERVED])
def test_contract(ownership: int) -> None:
    # Delivered on 2027-02-01 for twelve months: February and March 59 days, 91, 92 inside the horizon; nothing after it is charged.
    flows = cash(
        shape(ownership, date(2027, 2, 1), date(2028, 2, 1)),
        price=np.array([2.0]),  # 48 dollars a day
        upfront_share=np.array([0.25]),
        opex_usd_per_year=np.array([5000.0]),  # an owner's, not a tenant's
        idle_usd_per_day=np.ones((1, 4)),
    )
    assert flows.contract.tolist() == [[0, 59 * 36, 91 * 36, 92 * 36]]
    assert flows.upfront.tolist() == [[0, 242 * 12, 0, 0]]  # a quarter of 48 * (59 + 91 + 92)
    assert not flows.purchase.any() and not flows.operations.any() and not flows.energy.any() and not flows.end_value.any()
    by_hand = 242 * 12 * START[1] + 36 * (59 * MID[1] + 91 * MID[2] + 92 * MID[3])
    assert flows.present_value(START, MID, END)[0] == pytest.approx(by_hand, rel=1e-14)


def test_discount() -> None:
    assert discount(0.08, np.array([0.0, 2.0])).tolist() == [1.0, pytest.approx(1 / 1.1664)]
