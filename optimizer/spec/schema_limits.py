"""Limits and scenarios as the file writes them (case reference, sections 6 and 7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .schema_offers import Kind
from .schema_paths import FractionPath, NotNegativePath, PositivePath
from .schema_values import Block, Date, Name, Names, Positive, PositiveFraction, refuse


class Selector(Block):
    """Which acquisitions are meant; all that are given must hold."""

    kinds: Annotated[list[Kind], Field(min_length=1)] | None = Field(None, description="kinds of offer; absent: all")
    chips: Names | None = Field(None, description="chips; absent: all")
    families: Names | None = Field(None, description="chip families; absent: all")
    places: Names | None = Field(None, description="regions and sites; absent: all")
    providers: Names | None = Field(None, description="providers; absent: all")


class SupplyLimit(Selector):
    """Most chips delivered in a period."""

    max_chips: NotNegativePath = Field(description="chips delivered in a period at most, read at mid-period")


class CapexLimit(Selector):
    """Most money paid for own chips in a period."""

    max_usd: NotNegativePath = Field(description="$ (nominal) of own purchases delivered in a period at most, read at mid-period")


class ShareLimit(Selector):
    """Least or largest share of a group in all that is held."""

    min: FractionPath | None = Field(None, description="least share, 0 to 1, read at mid-period")
    max: FractionPath | None = Field(None, description="largest share, 0 to 1, read at mid-period")
    of: Literal["total", "signed"] = Field(description="total: with rent, per scenario; signed: without rent")
    basis: Literal["compute", "chips", "spend"] = Field(description="weight: dense bf16 PFLOP/s, chips, or $ of the period")
    excess_usd_per_unit: Positive | None = Field(
        None, description="of total only: $ per unit-hour (spend: per $) by which the share is missed"
    )

    @model_validator(mode="after")
    def _consistent(self) -> ShareLimit:
        if self.min is None and self.max is None:
            raise refuse("has neither `min` nor `max`", "write at least one of them", ("max",))
        if isinstance(self.min, float) and isinstance(self.max, float) and self.min > self.max:
            raise refuse(f"{self.min:g} is greater than `max` ({self.max:g})", "write a smaller number", ("min",))
        if self.of == "total" and self.excess_usd_per_unit is None:
            raise refuse("is missing", "a share of total needs it: $ per unit-hour by which the share is missed", ("excess_usd_per_unit",))
        if self.of == "signed" and self.excess_usd_per_unit is not None:
            raise refuse("has no use in a share of signed", "remove it, or write `of: total`", ("excess_usd_per_unit",))
        return self


class Limits(Block):
    """Limits by kind and name."""

    supply: dict[Name, SupplyLimit] = Field(default_factory=dict, description="chips delivered per period")
    capex: dict[Name, CapexLimit] = Field(default_factory=dict, description="$ of own purchases per period")
    share: dict[Name, ShareLimit] = Field(default_factory=dict, description="shares of what is held")


class DemandMultiplier(Block):
    """A factor on the demand of some workloads."""

    path: NotNegativePath = Field(description="factor, read at the instant of the workload's level")
    workloads: Names | None = Field(None, description="workloads; absent: all")


class PriceMultiplier(Selector):
    """A factor on the prices of some offers."""

    path: PositivePath = Field(description="factor: rent at mid-period, other offers at signing")


class ScenarioCase(Block):
    """One possible future."""

    probability: PositiveFraction = Field(description="probability; they sum to 1")
    demand: dict[Name, DemandMultiplier] = Field(default_factory=dict, description="demand factors; several that match are multiplied")
    prices: dict[Name, PriceMultiplier] = Field(default_factory=dict, description="price factors; several that match are multiplied")


class Scenarios(Block):
    """What may happen, and from when on orders may differ."""

    reveal: Date | None = Field(None, description="first day of a period after the first: from then on orders may differ by scenario")
    cases: dict[Name, ScenarioCase] = Field(description="scenarios by name", min_length=1)
