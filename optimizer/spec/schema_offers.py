"""Offers and the existing fleet as the file writes them (case reference, section 3)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from .schema_paths import NotNegativePath, PositivePath, PriceOrCatalog
from .schema_terms import ContractTerms, SignedTerms
from .schema_values import (
    Block,
    Date,
    Fraction,
    Growth,
    Months,
    Name,
    Names,
    NotNegative,
    Positive,
    PositiveFraction,
    Truth,
    check_choice,
    refuse,
)

KINDS = ("own", "lease", "reserved_1y", "reserved_3y", "on_demand", "spot")
Kind = Literal["own", "lease", "reserved_1y", "reserved_3y", "on_demand", "spot"]
TERM_MONTHS = {"reserved_1y": 12, "reserved_3y": 36}
UNINTERRUPTED = {"interruptions": "only a spot offer is interrupted; remove it"}


class Window(Block):
    """Dates between which an offer is open, both inclusive."""

    from_: Date | None = Field(None, alias="from", description="first day on which the offer may be signed (rent: the first day of use)")
    until: Date | None = Field(None, description="last day on which the offer may be signed (rent: the last day of use)")

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.from_ and self.until and self.until < self.from_:
            raise refuse(f"{self.until} lies before `from` ({self.from_})", "put the later date here", ("until",))
        return self


class _Offer(Block):
    """Fields that every kind of offer has."""

    chip: Name | None = Field(None, description="the chip offered, one of `chips`")
    chips: Names | None = Field(None, description="several chips: one offer for each, named offer/chip/place")
    place: Name | None = Field(None, description="the region or site, one of `regions` or `sites`")
    places: Names | None = Field(None, description="several places: one offer for each, named offer/chip/place")
    price_growth_per_year: Growth = Field(0.0, description="growth of the price as a fraction per year: -0.1 is 10 % cheaper a year")
    window: Window | None = Field(None, description="dates between which the offer is open")
    usable_share: PositiveFraction = Field(1.0, description="usable chip-hours per paid chip-hour, in (0, 1]")
    assumed: Truth = Field(False, description="true if the price is an assumption and not a quotation")

    @model_validator(mode="after")
    def _one_or_several(self) -> _Offer:
        for one, several in (("chip", "chips"), ("place", "places")):
            first, many = getattr(self, one), getattr(self, several)
            if first is not None and many is not None:
                raise refuse(f"stands beside `{one}`", f"keep `{one}` or `{several}`; set the inherited one to null", (several,))
            if first is None and many is None:
                raise refuse("is missing", f"write `{one}: NAME` or `{several}: [NAME, ...]`", (one,))
            if many is not None and len(set(many)) < len(many):
                twice = next(name for name in many if many.count(name) > 1)
                raise refuse(f"lists `{twice}` twice", "list it once", (several,))
        return self


class _Signed(_Offer, SignedTerms):
    """Fields of offers that are signed once and then held."""

    available_chips: NotNegativePath | None = Field(None, description="most chips per signing date, read at signing")
    available_chips_total: NotNegative | None = Field(None, description="most chips signed over the horizon, along any branch")


class _Hourly(_Offer):
    """Price of a chip for an hour or a year: exactly one of the two."""

    price_usd_per_chip_hour: PriceOrCatalog | None = Field(None, description="$ per chip-hour, or `catalog`")
    price_usd_per_chip_year: PositivePath | None = Field(None, description="$ per chip-year (8766 hours)")

    @model_validator(mode="after")
    def _one_price(self) -> _Hourly:
        hour, year = self.price_usd_per_chip_hour, self.price_usd_per_chip_year
        if hour is None and year is None:
            raise refuse(
                "is missing", "write it in $ per chip-hour, or `price_usd_per_chip_year`, or `catalog`", ("price_usd_per_chip_hour",)
            )
        if hour is not None and year is not None:
            raise refuse("stands beside `price_usd_per_chip_hour`", "keep one of the two prices", ("price_usd_per_chip_year",))
        return self


class OwnOffer(_Signed):
    """Chips bought for an own site."""

    kind: Literal["own"] = Field(description="own: bought and placed on a site")
    price_usd_per_chip: PriceOrCatalog = Field(description="$ per chip, installed, or `catalog`")
    opex_usd_per_chip_year: NotNegative = Field(0.0, description="operations in $ per chip-year, without energy")
    life_months: Months = Field(description="calendar months of use, 1 to 180")

    elsewhere: ClassVar[dict[str, str]] = {
        "term_months": "an own chip has `life_months`",
        "upfront_share": "an own chip is paid at delivery; remove it",
        "price_usd_per_chip_hour": "an own chip has `price_usd_per_chip`",
        "price_usd_per_chip_year": "an own chip has `price_usd_per_chip`",
        "breaks": "an own chip is not handed back; remove it",
        **UNINTERRUPTED,
    }


class LeaseOffer(_Signed, ContractTerms, _Hourly):
    """Chips leased for a term of free length."""

    kind: Literal["lease"] = Field(description="lease: a contract of `term_months`")
    term_months: Months = Field(description="calendar months of the contract, 1 to 180")
    upfront_share: Fraction = Field(0.0, description="share of the contract paid at delivery, 0 to 1")

    @property
    def contract_months(self) -> int:
        return self.term_months

    elsewhere: ClassVar[dict[str, str]] = {
        "life_months": "a lease has `term_months`",
        "opex_usd_per_chip_year": "a lease price includes operations; remove it",
        "price_usd_per_chip": "a lease has `price_usd_per_chip_hour` or `price_usd_per_chip_year`",
        **UNINTERRUPTED,
    }


class ReservedOffer(_Signed, ContractTerms, _Hourly):
    """Cloud chips reserved for one or three years."""

    kind: Literal["reserved_1y", "reserved_3y"] = Field(description="reserved_1y: 12 months; reserved_3y: 36 months")
    upfront_share: Fraction = Field(0.0, description="share of the contract paid at delivery, 0 to 1")

    @property
    def contract_months(self) -> int:
        return TERM_MONTHS[self.kind]

    elsewhere: ClassVar[dict[str, str]] = {
        "term_months": "remove it: reserved_1y always runs 12 months and reserved_3y 36",
        "life_months": "remove it: reserved_1y always runs 12 months and reserved_3y 36",
        "opex_usd_per_chip_year": "a reserved price includes operations; remove it",
        "price_usd_per_chip": "a reservation has `price_usd_per_chip_hour` or `price_usd_per_chip_year`",
        **UNINTERRUPTED,
    }


class Interruptions(Block):
    """What interruptions cost a job on spot chips."""

    per_hour: NotNegative = Field(description="interruptions of a job per hour")
    checkpoint_minutes: Positive = Field(1.0, description="time that writing a checkpoint of training takes")
    checkpoint_interval_minutes: Positive | None = Field(None, description="training between two checkpoints; absent: the best interval")
    restore_minutes: NotNegative = Field(description="time from an interruption until the job runs again")


class _Rent(_Hourly):
    """Chips rented by the hour."""

    available_chips: NotNegativePath = Field(description="most chips at any hour of the period, read at mid-period")

    elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            (
                *("term_months", "life_months", "lead_time_months", "upfront_share", "available_chips_total", "opex_usd_per_chip_year"),
                *("deliveries", "lot_chips", "take", "breaks"),
            ),
            "rent is by the hour and has no such field; remove it",
        ),
        "price_usd_per_chip": "rent has `price_usd_per_chip_hour` or `price_usd_per_chip_year`",
    }


class OnDemandOffer(_Rent):
    """Chips rented by the hour that stay as long as they are paid."""

    kind: Literal["on_demand"] = Field(description="on_demand: firm, by the hour")

    elsewhere: ClassVar[dict[str, str]] = {**_Rent.elsewhere, **UNINTERRUPTED}


class SpotOffer(_Rent):
    """Chips rented by the hour that may be taken away."""

    kind: Literal["spot"] = Field(description="spot: may be taken away, its own preemptible pool")
    interruptions: Interruptions | None = Field(None, description="how often, and what it costs; absent: nothing beyond `usable_share`")


OFFER_OF_KIND = {
    "own": "<own>",
    "lease": "<lease>",
    "reserved_1y": "<reserved>",
    "reserved_3y": "<reserved>",
    "on_demand": "<on_demand>",
    "spot": "<spot>",
}


Offer = Annotated[
    Annotated[OwnOffer, Tag("<own>")]
    | Annotated[LeaseOffer, Tag("<lease>")]
    | Annotated[ReservedOffer, Tag("<reserved>")]
    | Annotated[OnDemandOffer, Tag("<on_demand>")]
    | Annotated[SpotOffer, Tag("<spot>")],
    Discriminator(lambda value: OFFER_OF_KIND[value["kind"] if isinstance(value, dict) else value.kind]),
    BeforeValidator(lambda value: check_choice(value, "kind", KINDS)),
]


class _Existing(Block):
    """Fields that every part of the existing fleet has."""

    chip: Name = Field(description="one of `chips`")
    place: Name = Field(description="a site (own) or a region (lease, reserved)")
    count_chips: NotNegative = Field(description="number of chips")
    start: Date | None = Field(None, description="first day of use; absent: before the horizon")
    end: Date = Field(description="first day on which it is gone")
    usable_share: PositiveFraction = Field(1.0, description="usable chip-hours per chip-hour held, in (0, 1]")

    @model_validator(mode="after")
    def _in_order(self) -> _Existing:
        if self.start and self.end <= self.start:
            raise refuse(f"{self.end} is not after `start` ({self.start})", "write a later date", ("end",))
        return self


class ExistingOwn(_Existing):
    """Chips owned before the horizon."""

    class_: Literal["own"] = Field(alias="class", description="own: on a site")
    opex_usd_per_chip_year: NotNegative = Field(0.0, description="operations in $ per chip-year, without energy")

    elsewhere: ClassVar[dict[str, str]] = {"price_usd_per_chip_hour": "only class lease or reserved has a price; remove it"}


class ExistingContract(_Existing):
    """Chips leased or reserved before the horizon."""

    class_: Literal["lease", "reserved"] = Field(alias="class", description="lease or reserved: in a region")
    price_usd_per_chip_hour: Positive = Field(description="$ per chip-hour of the contract")

    elsewhere: ClassVar[dict[str, str]] = {"opex_usd_per_chip_year": "only class own has operations; remove it"}


EXISTING_CLASSES = ("own", "lease", "reserved")

Existing = Annotated[
    Annotated[ExistingOwn, Tag("<own>")] | Annotated[ExistingContract, Tag("<contract>")],
    Discriminator(lambda value: "<own>" if (value["class"] if isinstance(value, dict) else value.class_) == "own" else "<contract>"),
    BeforeValidator(lambda value: check_choice(value, "class", EXISTING_CLASSES)),
]
