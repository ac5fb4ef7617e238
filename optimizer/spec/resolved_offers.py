"""Offers and the existing fleet of a resolved case; part of `resolved`, from which they are imported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .resolved import Path, Quantity


@dataclass(frozen=True)
class Interruptions:
    """How often a job on spot chips is interrupted, and what it then loses."""

    per_hour: Quantity  # of the job, not of one of its instances
    checkpoint_minutes: Quantity
    checkpoint_interval_minutes: Quantity | None  # None: the best
    restore_minutes: Quantity


@dataclass(frozen=True)
class Tranche:
    """A part of what is signed; `share` of the count, None: all of it."""

    months: int  # from signing to its delivery
    share: Quantity | None


@dataclass(frozen=True)
class Breaks:
    """Dates on which any part of a contract may be handed back. At most one of the two fees."""

    months: tuple[int, ...]  # from delivery, ascending, each before the end of the term
    notice_months: int
    fee_usd_per_chip: Quantity | None
    fee_share: Quantity | None  # of the rent from the break to the end of the term


@dataclass(frozen=True)
class Offer:
    """One way to obtain one chip in one place. `price` is per chip for `own`, else per chip-hour (per_year prices: `price_per_year` is True
    and the number is $/chip-year, to be divided by 8766)."""

    name: str
    kind: str  # own | lease | reserved_1y | reserved_3y | on_demand | spot
    chip: str
    place: str
    price: Path
    price_per_year: bool
    price_growth_per_year: Quantity
    opex_usd_per_chip_year: Quantity
    months: int  # life (own), term (lease, reserved); 0 for on_demand and spot
    upfront_share: Quantity
    deliveries: tuple[Tranche, ...]  # at least one, ascending; one with share None where the file has no table
    window_from: date | None
    window_until: date | None
    available_chips: Path | None
    available_chips_total: Quantity | None
    usable_share: Quantity
    assumed: bool
    interruptions: Interruptions | None = None  # None: never; only spot has them
    lot_chips: Quantity | None = None  # None: any count may be signed
    take: str = "fraction"  # of a lot: fraction | all | nothing
    breaks: Breaks | None = None

    @property
    def is_rent(self) -> bool:
        return self.kind in ("on_demand", "spot")

    @property
    def preemptible(self) -> bool:
        return self.kind == "spot"


@dataclass(frozen=True)
class Existing:
    name: str
    ownership: str  # own | lease | reserved   (the field `class` of the file)
    chip: str
    place: str
    count_chips: Quantity
    start: date | None
    end: date
    opex_usd_per_chip_year: Quantity
    price_usd_per_chip_hour: Quantity | None
    usable_share: Quantity
