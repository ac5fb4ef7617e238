"""Terms of a signed offer beyond price and length: a fixed count, a delivery table, break dates (case reference, section 3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .schema_values import Block, Fraction, LeadTime, Months, NotNegative, Positive, PositiveFraction, refuse

Take = Literal["fraction", "all", "nothing"]


class Tranche(Block):
    """A part of what is signed, delivered on one date."""

    months: LeadTime = Field(description="calendar months from signing to this delivery")
    share: PositiveFraction = Field(description="share of the count that comes then, greater than 0; the shares sum to 1")


class Breaks(Block):
    """Dates on which the holder may hand back any part of a contract."""

    every_months: Months | None = Field(None, description="a break every so many calendar months after delivery, to the end of the term")
    months: Annotated[list[Months], Field(min_length=1)] | None = Field(
        None, description="calendar months from delivery to each break, ascending, each less than the term"
    )
    notice_months: LeadTime = Field(0, description="calendar months before a break by which it must be decided")
    fee_usd_per_chip: NotNegative | None = Field(None, description="$ for each chip handed back, paid on the break date")
    fee_share: Fraction | None = Field(
        None, description="share of the rent from the break to the end of the term that is paid for a chip handed back, on the break date"
    )

    @field_validator("months")
    @classmethod
    def _ascending(cls, months: list[int] | None) -> list[int] | None:
        for position, (before, after) in enumerate(pairwise(months or ()), start=1):
            if after <= before:
                raise refuse(f"{after} does not come after {before}", "put the months in ascending order, each once", (position,))
        return months

    @model_validator(mode="after")
    def _one_of_each(self) -> Breaks:
        if self.every_months is None and self.months is None:
            raise refuse("is missing", "write `every_months: 12`, or `months: [12, 24]`", ("every_months",))
        if self.every_months is not None and self.months is not None:
            raise refuse("stands beside `every_months`", "keep one of the two; set the inherited one to null", ("months",))
        if self.fee_usd_per_chip is not None and self.fee_share is not None:
            raise refuse("stands beside `fee_usd_per_chip`", "keep one of the two fees; set the inherited one to null", ("fee_share",))
        return self

    def inside(self, term_months: int) -> tuple[int, ...]:
        """Months from delivery to every break, ascending. Raises a refusal where one is not before the end of the term."""
        if self.every_months is not None:
            if self.every_months >= term_months:
                raise refuse(
                    f"is {self.every_months}, and the term has {term_months} months", "write fewer months", ("breaks", "every_months")
                )
            return tuple(range(self.every_months, term_months, self.every_months))
        for position, month in enumerate(self.months or ()):
            if month >= term_months:
                at = ("breaks", "months", position)
                raise refuse(f"is {month}, and the term has {term_months} months", "write a month before the end of the term", at)
        return tuple(self.months or ())


class SignedTerms(Block):
    """Terms that every offer which is signed once and then held may have."""

    lead_time_months: LeadTime = Field(0, description="calendar months from signing to delivery")
    deliveries: Annotated[list[Tranche], Field(min_length=1)] | None = Field(
        None, description="in the place of `lead_time_months`: what is signed comes in parts, each on its own date"
    )
    lot_chips: Positive | None = Field(
        None, description="the offer is one contract of exactly so many chips, signed on one date, or not at all"
    )
    take: Take = Field("fraction", description="of a lot: fraction (the best part of it, default) | all | nothing")

    @field_validator("deliveries")
    @classmethod
    def _ascending(cls, tranches: list[Tranche] | None) -> list[Tranche] | None:
        for position, (before, after) in enumerate(pairwise(tranches or ()), start=1):
            if after.months <= before.months:
                raise refuse(
                    f"{after.months} does not come after {before.months}",
                    "put the deliveries in ascending order, one for each date",
                    (position, "months"),
                )
        return tranches

    @model_validator(mode="after")
    def _no_contradiction(self) -> SignedTerms:
        if self.deliveries is not None and "lead_time_months" in self.model_fields_set:
            raise refuse("stands beside `lead_time_months`", "keep one of the two; set the inherited one to null", ("deliveries",))
        if self.lot_chips is None:
            if "take" in self.model_fields_set:
                raise refuse("belongs to an offer with `lot_chips`, and there is none", "write `lot_chips`, or remove it", ("take",))
            return self
        for field in ("available_chips", "available_chips_total"):
            if getattr(self, field, None) is not None:
                raise refuse("stands beside `lot_chips`, which is the count already", "remove one of the two", (field,))
        for field in ("chips", "places"):
            if len(getattr(self, field, None) or ()) > 1:
                raise refuse(
                    f"makes several offers of these {field}, and a lot is one contract",
                    "write an offer with its own `lot_chips` for each",
                    (field,),
                )
        return self


class ContractTerms(SignedTerms):
    """Terms of leases and reservations."""

    breaks: Breaks | None = Field(None, description="dates on which any part may be handed back; absent: none")

    @property
    def contract_months(self) -> int:
        """Calendar months of the contract."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _breaks_inside(self) -> ContractTerms:
        if self.breaks is None:
            return self
        if self.deliveries is not None:
            raise refuse(
                "stands beside `deliveries`", "keep one of the two: write an offer with breaks for each delivery, or no breaks", ("breaks",)
            )
        first = self.breaks.inside(self.contract_months)[0]
        if self.breaks.notice_months > first + self.lead_time_months:
            raise refuse(
                f"is {self.breaks.notice_months}, so the first break would be decided before the signing",
                f"write at most {first + self.lead_time_months}",
                ("breaks", "notice_months"),
            )
        return self
