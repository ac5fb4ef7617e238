"""The case file as written: every field with its unit and its range (case reference, section 2). The other sections are imported.

What one field alone can tell is refused here; what needs a second place of the file or the catalog is in the `checks` modules.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from .schema_architecture import ChipArchitecture, ModelArchitecture
from .schema_limits import Limits, Scenarios
from .schema_offers import Existing, Offer
from .schema_paths import NotNegativePath, PositivePath
from .schema_traffic import Performance
from .schema_values import (
    AtLeastOne,
    Block,
    Date,
    DiscountRate,
    HourOfDay,
    Name,
    NotNegative,
    Periods,
    Positive,
    Text,
    Truth,
    UtcOffset,
    check_choice,
    refuse,
)
from .schema_workloads import Workload

MONTHS_OF_PERIOD = {"month": 1, "quarter": 3, "year": 12}
HOURS_OF_WEEK = 168


class Horizon(Block):
    """The time that is planned."""

    start: Date = Field(description="first day, the first of a month")
    periods: Periods = Field(description="number of periods")
    period: Literal["month", "quarter", "year"] = Field(description="length of a period")

    @field_validator("start")
    @classmethod
    def _first_of_month(cls, start: Any) -> Any:
        if start.day != 1:
            raise refuse(f"{start} is not the first day of a month", f"write {start.replace(day=1)}")
        return start

    @model_validator(mode="after")
    def _within_a_century(self) -> Horizon:
        if self.periods * MONTHS_OF_PERIOD[self.period] > 1200:
            raise refuse(f"{self.periods} periods are more than 100 years", "write fewer periods", ("periods",))
        return self


class LoadBlock(Block):
    """Hours of the week that are planned as one."""

    utc_hours: list[HourOfDay] = Field(description="hours of the day, UTC: h is [h, h+1)", min_length=1)
    days: Literal["all", "weekdays", "weekend"] = Field("all", description="days of the week, UTC; weekend: Saturday and Sunday")


class Profile(Block):
    """The course of demand over a day, in local time."""

    local_hours: Annotated[list[NotNegative], Field(min_length=24, max_length=24)] = Field(
        description="24 numbers >= 0 in any scale, from local midnight on; the program divides by their mean over the week"
    )
    weekend_factor: NotNegative = Field(1.0, description="factor on Saturday and Sunday, local time")

    @field_validator("local_hours")
    @classmethod
    def _not_all_zero(cls, hours: list[float]) -> list[float]:
        if not sum(hours) > 0:
            raise refuse("holds only zeros", "write at least one hour greater than 0")
        return hours


class Origin(Block):
    """Where requests come from."""

    network_location: Name = Field(description="name in the catalog's network table")
    utc_offset_hours: UtcOffset = Field(description="local time minus UTC, whole hours, -12 to 14")
    profile: Name | None = Field(None, description="one of `profiles`; absent: flat")


class Region(Block):
    """A cloud region by its catalog name; {} takes the catalog row."""

    provider: Name | None = Field(None, description="overrides the catalog")
    residency_zone: Name | None = Field(None, description="overrides the catalog: where data lies, in law")
    network_location: Name | None = Field(None, description="overrides the catalog: name in the network table")


class ElectricityRow(Block):
    """A row of the catalog's electricity table."""

    catalog: Name = Field(description="place in the electricity table")


def _electricity_form(value: Any) -> str:
    return "<catalog>" if isinstance(value, ElectricityRow) or (isinstance(value, dict) and "catalog" in value) else "<path>"


def _one_form(value: Any) -> Any:
    if isinstance(value, dict) and "catalog" in value and len(value) > 1:
        raise refuse("mixes a catalog row and a path", "keep one of them; set inherited keys of the other to null")
    return value


Electricity = Annotated[
    Annotated[ElectricityRow, Tag("<catalog>")] | Annotated[PositivePath, Tag("<path>")],
    Discriminator(_electricity_form),
    BeforeValidator(_one_form),
]


class Site(Block):
    """An own site."""

    provider: Name = Field("own", description="provider name for limits and selectors")
    residency_zone: Name = Field(description="where data lies, in law")
    network_location: Name = Field(description="name in the catalog's network table")
    power_mw: NotNegativePath = Field(description="site limit in MW, PUE included; the least over each period counts")
    pue: AtLeastOne = Field(description="power usage effectiveness: site power / chip power, >= 1")
    electricity_usd_per_mwh: Electricity = Field(description="$ per MWh, or {catalog: PLACE}")


class Chip(ChipArchitecture):
    """A chip by its catalog name; {} takes the catalog row."""

    vendor: Name | None = Field(None, description="overrides the catalog")
    family: Name | None = Field(None, description="overrides the catalog: gpu, tpu, trainium, ...")
    bf16_dense_tflops: Positive | None = Field(None, description="dense bf16 TFLOP/s per chip")
    hbm_gb: Positive | None = Field(None, description="memory in GB per chip")
    scale_up_chips: AtLeastOne | None = Field(None, description="chips that share memory at full speed")
    provisioned_power_kw_per_chip: Positive | None = Field(None, description="kW per chip that the site must provide, host included")
    idle_power_kw_per_chip: NotNegative | None = Field(None, description="kW per chip without load")
    load_power_kw_per_chip: NotNegative | None = Field(None, description="kW per chip under load, not below idle")
    available_from: Date | None = Field(None, description="first day on which the chip exists")


class ModelClass(ModelArchitecture):
    """A model class by its catalog name; {} takes the catalog row."""

    weight_gb: Positive | None = Field(None, description="GB of the weights in memory")


class ServingThroughput(Block):
    """Measured serving throughput of a chip for one request shape."""

    chip: Name = Field(description="one of `chips`")
    model: Name = Field(description="one of `models`")
    task: Literal["serving"] = Field(description="serving; batch workloads use these rows too")
    input_tokens: Positive = Field(description="input tokens per request")
    output_tokens: Positive = Field(description="output tokens per request")
    output_tokens_per_second_per_chip: Positive = Field(description="output tokens per second and chip")
    ttft_p99_ms: Positive | None = Field(None, description="99th percentile of the time to the first token at that load, ms")
    tpot_p99_ms: Positive | None = Field(None, description="99th percentile of the time per output token at that load, ms")
    assumed: Truth = Field(False, description="true if the row is an assumption and not a measurement")

    elsewhere: ClassVar[dict[str, str]] = {"training_tflops_per_chip": "a serving row has `output_tokens_per_second_per_chip`"}


class TrainingThroughput(Block):
    """Measured training throughput of a chip."""

    chip: Name = Field(description="one of `chips`")
    model: Name = Field(description="one of `models`")
    task: Literal["training"] = Field(description="training")
    training_tflops_per_chip: Positive = Field(description="TFLOP/s and chip that the model's arithmetic gets")
    assumed: Truth = Field(False, description="true if the row is an assumption and not a measurement")

    elsewhere: ClassVar[dict[str, str]] = dict.fromkeys(
        ("input_tokens", "output_tokens", "output_tokens_per_second_per_chip", "ttft_p99_ms", "tpot_p99_ms"),
        "a training row has only `training_tflops_per_chip`; remove it",
    )


Throughput = Annotated[
    Annotated[ServingThroughput, Tag("<serving>")] | Annotated[TrainingThroughput, Tag("<training>")],
    Discriminator(lambda value: f"<{value['task'] if isinstance(value, dict) else value.task}>"),
    BeforeValidator(lambda value: check_choice(value, "task", ("serving", "training"))),
]


class CaseFile(Block):
    """One question: which accelerator capacity to own, lease, reserve and rent."""

    name: Name = Field(description="name of the case")
    description: Text = Field("", description="one sentence")
    extends: Text | None = Field(None, description="another case file, relative to this one; null removes an inherited key")
    catalog: Text | None = Field(None, description="catalog directory, relative to this file; absent: the one that ships with the project")
    horizon: Horizon = Field(description="the time that is planned")
    discount_rate_per_year: DiscountRate = Field(description="fraction per year: 0.08 is 8 %")
    end_value: Literal["straight_line", "none"] = Field("straight_line", description="credit for own chips that outlive the horizon")
    load_blocks: dict[Name, LoadBlock] = Field(description="together they hold each of the 168 hours of a week once", min_length=1)
    profiles: dict[Name, Profile] = Field(default_factory=dict, description="local-time curves of demand")
    origins: dict[Name, Origin] = Field(default_factory=dict, description="where requests come from")
    regions: dict[Name, Region] = Field(default_factory=dict, description="cloud regions used")
    sites: dict[Name, Site] = Field(default_factory=dict, description="own sites")
    chips: dict[Name, Chip] = Field(description="chips used", min_length=1)
    models: dict[Name, ModelClass] = Field(description="model classes used", min_length=1)
    throughput: dict[Name, Throughput] = Field(default_factory=dict, description="rows that come before the catalog's for the same keys")
    performance: Performance = Field(default_factory=Performance, description="where throughput comes from; absent: the rows alone")
    offers: dict[Name, Offer] = Field(default_factory=dict, description="ways to obtain chips")
    workloads: dict[Name, Workload] = Field(description="work to be done", min_length=1)
    existing: dict[Name, Existing] = Field(default_factory=dict, description="the fleet already held")
    limits: Limits = Field(default_factory=Limits, description="limits beyond those of sites and offers")
    scenarios: Scenarios | None = Field(None, description="possible futures; absent: one, `base`")
