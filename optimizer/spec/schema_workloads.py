"""Workloads as the file writes them (case reference, section 4)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from .schema_paths import NotNegativePath
from .schema_traffic import Burstiness, LengthBucket, Speculative
from .schema_values import (
    BelowOne,
    Block,
    ChipCount,
    Date,
    Fraction,
    Name,
    Names,
    NotNegative,
    Positive,
    SliceChips,
    Truth,
    check_choice,
    refuse,
)

Precision = Literal["bf16", "fp8", "fp4"]
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
    length_buckets: list[LengthBucket] | None = Field(None, description="distribution of the lengths, with the means above", min_length=1)
    input_tokens_cv2: NotNegative = Field(1.0, description="squared coefficient of variation of the input length (within a bucket)")
    input_tokens_p99: Positive | None = Field(None, description="99th percentile of the input length; absent: of the mean and the cv2")
    output_tokens_cv2: NotNegative = Field(0.0, description="squared coefficient of variation of the output length (within a bucket)")
    cache_hit_ratio: BelowOne = Field(0.0, description="share of the input tokens whose cache entries are already there")
    precisions: list[Precision] | None = Field(None, description="data types it may be served in; absent: any", min_length=1)
    speculative: Speculative | None = Field(None, description="speculative decoding; absent: none")


class Serving(_Tokens):
    """Requests that are answered at once."""

    kind: Literal["serving"] = Field(description="serving: answered at once")
    origins: dict[Name, Fraction] = Field(description="share of the requests from each origin; the shares sum to 1", min_length=1)
    requests_per_second: NotNegativePath = Field(description="requests per second, the mean over the week")
    ttft_p99_ms: Positive | None = Field(None, description="target: 99th percentile of the time to the first token, ms")
    tpot_p99_ms: Positive | None = Field(None, description="target: 99th percentile of the time per output token, ms")
    round_trips_per_request: NotNegative = Field(1.0, description="network round trips inside one time to the first token")
    burstiness: Burstiness | None = Field(None, description="variability of arrivals and prefill times at the scale of service")
    routing: Literal["pooled", "sticky"] = Field("pooled", description="pooled: to the least loaded replica; sticky: to the session's own")

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
        **dict.fromkeys(
            ("ttft_p99_ms", "tpot_p99_ms", "round_trips_per_request", "burstiness", "routing"), "batch has no latency target; remove it"
        ),
        "requests_per_second": "batch has `requests_per_period`",
        "exaflop_per_period": "batch has `requests_per_period`",
        "unserved_usd_per_exaflop": "batch has `unserved_usd_per_million_output_tokens`",
    }


class Run(Block):
    """An amount of training that may be done at any time inside a window of dates."""

    exaflop: Positive = Field(description="exaFLOP (1e18 operations) of the whole run")
    from_: Date = Field(alias="from", description="first day of the window")
    until: Date = Field(description="last day of the window: the deadline, inclusive")
    min_chips: ChipCount = Field(0, description="fewest chips the run can use at a time; relaxed and reported")
    slice_chips: SliceChips = Field(1, description="chips of one slice: the run uses whole slices; relaxed and reported")

    @model_validator(mode="after")
    def _in_order(self) -> Run:
        if self.until <= self.from_:
            raise refuse(f"{self.until} is not after `from` ({self.from_})", "write a later date", ("until",))
        return self


class Training(_Workload):
    """Work measured in floating-point operations: so much per period, or runs with a deadline."""

    kind: Literal["training"] = Field(description="training: floating-point operations")
    exaflop_per_period: NotNegativePath | None = Field(None, description="exaFLOP (1e18 operations) per period")
    runs: dict[Name, Run] | None = Field(None, description="runs with a window of dates, instead of exaflop_per_period", min_length=1)
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
        **dict.fromkeys(("exaflop", "from", "until", "min_chips", "slice_chips"), "write it inside an entry of `runs`"),
    }

    @model_validator(mode="after")
    def _one_demand(self) -> Training:
        if self.exaflop_per_period is None and self.runs is None:
            raise refuse("is missing", "write it, or `runs` with a window of dates each", ("exaflop_per_period",))
        if self.exaflop_per_period is not None and self.runs is not None:
            raise refuse("stands beside `exaflop_per_period`", "keep one of the two; set the inherited one to null", ("runs",))
        if self.runs is not None and not self.movable:
            raise refuse("is false beside `runs`", "remove it; a run may be done at any time inside its window", ("movable",))
        if self.runs is not None and self.level != "mid":
            raise refuse("stands beside `runs`", "remove it; a run is an amount, not a level", ("level",))
        return self


Workload = Annotated[
    Annotated[Serving, Tag("<serving>")] | Annotated[Batch, Tag("<batch>")] | Annotated[Training, Tag("<training>")],
    Discriminator(lambda value: f"<{value['kind'] if isinstance(value, dict) else value.kind}>"),
    BeforeValidator(lambda value: check_choice(value, "kind", WORKLOAD_KINDS)),
]
