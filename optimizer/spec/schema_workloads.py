"""Workloads as the file writes them (case reference, section 4)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from .schema_paths import NotNegativePath
from .schema_values import Block, Fraction, Name, Names, NotNegative, Positive, Truth, check_choice

WORKLOAD_KINDS = ("serving", "batch", "training")


class _Workload(Block):
    """Fields that every kind of workload has."""

    model: Name = Field(description="one of `models`")
    level: Literal["mid", "end"] = Field("mid", description="at which instant of a period the demand is read")
    allowed_residency_zones: Names | None = Field(None, description="residency zones where it may run; absent: all")
    allowed_chips: Names | None = Field(None, description="chips that may run it; absent: all")
    allowed_families: Names | None = Field(None, description="chip families that may run it; absent: all")
    allowed_providers: Names | None = Field(None, description="providers that may run it; absent: all")
    allowed_places: Names | None = Field(None, description="regions and sites that may run it; absent: all")
    preemptible: Truth = Field(False, description="true if it may run on spot chips")


class _Tokens(_Workload):
    """Fields of workloads that are measured in requests."""

    input_tokens: Positive = Field(description="mean input tokens per request; must match throughput rows")
    output_tokens: Positive = Field(description="mean output tokens per request; must match throughput rows")
    unserved_usd_per_million_output_tokens: Positive = Field(description="$ per million output tokens that are not served")


class Serving(_Tokens):
    """Requests that are answered at once."""

    kind: Literal["serving"] = Field(description="serving: answered at once")
    origins: dict[Name, Fraction] = Field(description="share of the requests from each origin; the shares sum to 1", min_length=1)
    requests_per_second: NotNegativePath = Field(description="requests per second, the mean over the week")
    ttft_p99_ms: Positive | None = Field(None, description="target: 99th percentile of the time to the first token, ms")
    tpot_p99_ms: Positive | None = Field(None, description="target: 99th percentile of the time per output token, ms")
    round_trips_per_request: NotNegative = Field(1.0, description="network round trips inside one time to the first token")

    elsewhere: ClassVar[dict[str, str]] = {
        "movable": "serving never moves in time; remove it",
        "requests_per_period": "serving has `requests_per_second`",
        "exaflop_per_period": "serving has `requests_per_second`",
        "unserved_usd_per_exaflop": "serving has `unserved_usd_per_million_output_tokens`",
    }


class Batch(_Tokens):
    """Requests that may wait inside their period."""

    kind: Literal["batch"] = Field(description="batch: answered some time in the period")
    origins: dict[Name, Fraction] | None = Field(None, description="share of the requests from each origin; sum to 1", min_length=1)
    requests_per_period: NotNegativePath = Field(description="requests per period")
    movable: Truth = Field(True, description="may move between the load blocks of a period")

    elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("ttft_p99_ms", "tpot_p99_ms", "round_trips_per_request"), "batch has no latency target; remove it"),
        "requests_per_second": "batch has `requests_per_period`",
        "exaflop_per_period": "batch has `requests_per_period`",
        "unserved_usd_per_exaflop": "batch has `unserved_usd_per_million_output_tokens`",
    }


class Training(_Workload):
    """Work measured in floating-point operations."""

    kind: Literal["training"] = Field(description="training: floating-point operations per period")
    exaflop_per_period: NotNegativePath = Field(description="exaFLOP (1e18 operations) per period")
    movable: Truth = Field(True, description="may move between the load blocks of a period")
    unserved_usd_per_exaflop: Positive = Field(description="$ per exaFLOP that is not served")

    elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("origins", "input_tokens", "output_tokens", "ttft_p99_ms", "tpot_p99_ms", "round_trips_per_request"),
            "training has no requests; remove it",
        ),
        "requests_per_second": "training has `exaflop_per_period`",
        "requests_per_period": "training has `exaflop_per_period`",
        "unserved_usd_per_million_output_tokens": "training has `unserved_usd_per_exaflop`",
    }


Workload = Annotated[
    Annotated[Serving, Tag("<serving>")] | Annotated[Batch, Tag("<batch>")] | Annotated[Training, Tag("<training>")],
    Discriminator(lambda value: f"<{value['kind'] if isinstance(value, dict) else value.kind}>"),
    BeforeValidator(lambda value: check_choice(value, "kind", WORKLOAD_KINDS)),
]
