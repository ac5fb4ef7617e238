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
    """What dates and kinds decide about Z contracts."""

    ownership: np.ndarray  # int[Z]: OWN, LEASE or RESERVED
    overlap: np.ndarray  # [Z, T], days of period t inside [delivery, min(end, H))
    delivery: np.ndarray  # [Z, T], 1 in the period that contains the delivery date
    end_share: np.ndarray  # [Z], share of the straight-line life that lies after the horizon; 0 unless owned and end_value is straight_line

    @staticmethod
    def of(calendar: Calendar, ownership: np.ndarray, start: np.ndarray, end: np.ndarray, straight_line: bool) -> FlowShape:
        """`start`, `end`: int[Z], day offsets of delivery and end of the contract or the life."""
        horizon_end = int(calendar.day[-1])
        overlap = calendar.overlap_days(start, np.minimum(end, horizon_end)).astype(float)
        delivery = (calendar.period_at(start)[:, None] == np.arange(calendar.periods)).astype(float)
        beyond = np.where((end > horizon_end) & (ownership == OWN), (end - horizon_end) / np.maximum(end - start, 1), 0.0)
        return FlowShape(ownership, overlap, delivery, beyond if straight_line else np.zeros(len(beyond)))


@dataclass(frozen=True)
class Cash:
    """Nominal dollars per chip. `upfront` is part of the category lease or reserved."""

    purchase: Array  # [Z, T], on the first day of the period of delivery
    operations: Array  # [Z, T], mid-period
    energy: Array  # [Z, T], mid-period: idle energy
    contract: Array  # [Z, T], mid-period: lease and reserved by the hour
    upfront: Array  # [Z, T], on the first day of the period of delivery
    end_value: Array  # [Z], <= 0, at the end of the horizon

    def spend(self) -> Array:
        """[Z, T]: cash of the period that a spend limit counts (no energy, no end value)."""
        return self.purchase + self.operations + self.contract + self.upfront

    def present_value(self, start: Array, mid: Array, end: Array) -> Array:
        """[Z], dollars at the start of the horizon; discount factors start[T], mid[T], end (scalar)."""
        recurring = self.operations + self.energy + self.contract
        return recurring @ mid + (self.purchase + self.upfront) @ start + self.end_value * end


def cash(
    shape: FlowShape, price: Array, upfront_share: Array, opex_usd_per_year: Array, idle_usd_per_day: Array, xp: ModuleType = np
) -> Cash:
    """price[Z]: dollars per chip (own) or chip-hour; upfront_share[Z]; opex[Z]; idle_usd_per_day[Z, T]: idle energy per chip."""
    owned = (shape.ownership == OWN).astype(float)
    hired = 1.0 - owned
    hourly = (price * hired * 24.0)[:, None] * shape.overlap
    whole = xp.sum(hourly, axis=1)
    return Cash(
        purchase=(price * owned)[:, None] * shape.delivery,
        operations=(opex_usd_per_year * owned / DAYS_PER_YEAR)[:, None] * shape.overlap,
        energy=idle_usd_per_day * owned[:, None] * shape.overlap,
        contract=hourly * (1.0 - upfront_share)[:, None],
        upfront=(whole * upfront_share)[:, None] * shape.delivery,
        end_value=-price * shape.end_share,
    )


def discount(rate_per_year: Array, years: Array) -> Array:
    """(1 + r) ** -years."""
    return (1.0 + rate_per_year) ** (-years)
