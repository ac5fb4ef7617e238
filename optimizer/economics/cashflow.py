"""The cash flows of a signed offer and of the existing fleet, per chip (case reference, section 3).

Two halves: `FlowShape` holds what dates decide; `cash` puts prices on it, in numpy or in jax.numpy.
Amounts are nominal dollars per chip; recurring ones fall in the middle of their period, one-off ones on the first day of the
period of delivery, the end value on the last instant of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from optimizer.economics.calendar import DAYS_PER_YEAR, Calendar

Array = Any  # numpy or jax array

OWN, LEASE, RESERVED = 0, 1, 2


@dataclass(frozen=True)
class FlowShape:
    """What dates and kinds decide about Z contracts, per chip of them. Where a contract comes in parts the arrays are sums over its parts,
    each times its share."""

    ownership: np.ndarray  # int[Z]: OWN, LEASE or RESERVED
    overlap: Array  # [Z, T], days of period t inside [delivery, min(end, H))
    delivery: Array  # [Z, T], 1 in the period that contains the delivery date
    prepaid_days: Array  # [Z, T], days of a contract inside the horizon, in the period that contains its delivery date
    end_share: Array  # [Z], share of the straight-line life that lies after the horizon; 0 unless owned and end_value is straight_line

    @staticmethod
    def of(calendar: Calendar, ownership: np.ndarray, start: np.ndarray, end: np.ndarray, straight_line: bool) -> FlowShape:
        """`start`, `end`: int[Z], day offsets of delivery and end of the contract or the life."""
        horizon_end = int(calendar.day[-1])
        overlap = calendar.overlap_days(start, np.minimum(end, horizon_end)).astype(float)
        delivery = (calendar.period_at(start)[:, None] == np.arange(calendar.periods)).astype(float)
        inside = (end > horizon_end) & (start < horizon_end) & (ownership == OWN)
        beyond = np.where(inside, (end - horizon_end) / np.maximum(end - start, 1), 0.0)
        end_share = beyond if straight_line else np.zeros(len(beyond))
        return FlowShape(ownership, overlap, delivery, delivery * overlap.sum(axis=1)[:, None], end_share)


@dataclass(frozen=True)
class BreakShape:
    """What dates decide about breaks of Z contracts, per chip of them: positive where leaving at a break is charged, negative where staying
    beyond one takes that charge back. A fee is paid in the period of its break."""

    count: np.ndarray  # [Z, T], +1, -1 or 0
    days: np.ndarray  # [Z, T], the same times the days from the break to the end of the term


@dataclass(frozen=True)
class Cash:
    """Nominal dollars per chip. `upfront` and `break_fee` are paid on the first day of their period."""

    purchase: Array  # [Z, T], on the first day of the period of delivery
    operations: Array  # [Z, T], mid-period
    energy: Array  # [Z, T], mid-period: idle energy
    contract: Array  # [Z, T], mid-period: lease and reserved by the hour
    upfront: Array  # [Z, T], on the first day of the period of delivery; part of the category lease or reserved
    end_value: Array  # [Z], <= 0, at the end of the horizon
    break_fee: Array  # [Z, T], on the first day of the period of the break

    def spend(self) -> Array:
        """[Z, T]: cash of the period that a spend limit counts (no energy, no end value)."""
        return self.purchase + self.operations + self.contract + self.upfront + self.break_fee

    def present_value(self, start: Array, mid: Array, end: Array) -> Array:
        """[Z], dollars at the start of the horizon; discount factors start[T], mid[T], end (scalar)."""
        recurring = self.operations + self.energy + self.contract
        return recurring @ mid + (self.purchase + self.upfront + self.break_fee) @ start + self.end_value * end


def cash(
    shape: FlowShape, price: Array, upfront_share: Array, opex_usd_per_year: Array, idle_usd_per_day: Array, xp: ModuleType = np
) -> Cash:
    """price[Z]: dollars per chip (own) or chip-hour; upfront_share[Z]; opex[Z]; idle_usd_per_day[Z, T]: idle energy per chip."""
    owned = (shape.ownership == OWN).astype(float)
    hired = 1.0 - owned
    usd_per_day = price * hired * 24.0
    upfront = (usd_per_day * upfront_share)[:, None] * shape.prepaid_days
    return Cash(
        purchase=(price * owned)[:, None] * shape.delivery,
        operations=(opex_usd_per_year * owned / DAYS_PER_YEAR)[:, None] * shape.overlap,
        energy=idle_usd_per_day * owned[:, None] * shape.overlap,
        contract=usd_per_day[:, None] * shape.overlap * (1.0 - upfront_share)[:, None],
        upfront=upfront,
        end_value=-price * shape.end_share,
        break_fee=xp.zeros(upfront.shape),
    )


def break_fees(breaks: BreakShape, price: Array, fee_usd_per_chip: Array, fee_share: Array) -> Array:
    """[Z, T], nominal dollars per chip: `Cash.break_fee`. price[Z] per chip-hour; fee_share[Z] of the rent from break to end of term."""
    return fee_usd_per_chip[:, None] * breaks.count + (fee_share * price * 24.0)[:, None] * breaks.days


def discount(rate_per_year: Array, years: Array) -> Array:
    """(1 + r) ** -years."""
    return (1.0 + rate_per_year) ** (-years)
