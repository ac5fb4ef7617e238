"""The YAML tables of a catalog: chips, model classes, regions (case reference, section 9)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from .case_error import did_you_mean
from .schema_architecture import ChipArchitecture, ModelArchitecture
from .schema_values import AtLeastOne, Block, Date, Name, NotNegative, Positive, Text, refuse

Confidence = Literal["high", "medium", "low", "assumed"]


class _Sourced(Block):
    """Where a row comes from."""

    source: Text | None = Field(None, description="where the numbers stand")
    date: Date | Text | None = Field(None, description="when the source was read")
    confidence: Confidence = Field(description="high, medium, low or assumed")
    assumed: list[Text] = Field(default_factory=list, description="fields that are assumptions although the row is not")
    note: Text | None = Field(None, description="remarks")

    @field_validator("assumed")
    @classmethod
    def _fields_that_exist(cls, fields: list[str]) -> list[str]:
        for position, name in enumerate(fields):
            if name not in cls.model_fields:
                raise refuse(f"`{name}` is not a field of the row", did_you_mean(name, cls.model_fields), (position,))
        return fields

    def is_assumed(self, name: str) -> bool:
        return self.confidence == "assumed" or name in self.assumed


class ChipRow(ChipArchitecture, _Sourced):
    """An accelerator chip; a blank number is not published."""

    vendor: Name = Field(description="maker")
    family: Literal["gpu", "tpu", "trainium"] = Field(description="gpu, tpu or trainium")
    bf16_dense_tflops: Positive | None = Field(None, description="dense bf16 TFLOP/s")
    hbm_gb: Positive | None = Field(None, description="memory, GB")
    scale_up_chips: AtLeastOne | None = Field(None, description="chips in one scale-up domain")
    provisioned_power_kw_per_chip: Positive | None = Field(None, description="kW that a site must provide")
    idle_power_kw_per_chip: NotNegative | None = Field(None, description="kW without load")
    load_power_kw_per_chip: NotNegative | None = Field(None, description="kW under load")
    available_from: Date | None = Field(None, description="first day on which it can be had")


class ModelRow(ModelArchitecture, _Sourced):
    """A model class."""

    weight_gb: Positive | None = Field(None, description="GB of the weights in memory")


class RegionRow(_Sourced):
    """A cloud region."""

    provider: Name = Field(description="cloud provider")
    residency_zone: Name = Field(description="where data lies, in law")
    network_location: Name = Field(description="name in network.csv")


class ChipTable(Block):
    """chips.yaml"""

    chips: dict[Name, ChipRow]


class ModelTable(Block):
    """models.yaml"""

    models: dict[Name, ModelRow]


class RegionTable(Block):
    """regions.yaml"""

    regions: dict[Name, RegionRow]
