"""How throughput comes about: the case's `performance` block, and what a workload tells of its traffic (case reference, section 5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from .case_error import shown
from .schema_values import (
    AtLeastOne,
    Block,
    Fraction,
    NotNegative,
    Peakedness,
    Positive,
    PositiveFraction,
    Truth,
    Variation,
    refuse,
    whole_number,
)


class Quantile(Block):
    """Plan at a quantile of the throughput error."""

    quantile: PositiveFraction = Field(
        description="share of the possible throughputs that are at least the one planned with: 0.9 is careful"
    )


def _points(value: Any) -> Any:
    """A rule of an odd number of points holds the median itself."""
    value = whole_number(value)
    if value % 2 == 0 or not 3 <= value <= 9:
        raise refuse(f"is {value}", "write 3, 5, 7 or 9: as many points of the throughput error")
    return value


class ErrorScenarios(Block):
    """Plan with the throughput error as scenarios."""

    scenarios: Annotated[int, Field(ge=3, le=9), BeforeValidator(_points)] = Field(
        description="3, 5, 7 or 9 points of the throughput error, each a scenario of its own beside those of the case"
    )


def _one_of_three(value: Any) -> Any:
    ways = {"quantile", "scenarios"}.intersection(value) if isinstance(value, dict) else set()
    if len(ways) == 2:
        raise refuse("has both quantile and scenarios", "keep one of them (null removes a key that another file wrote)")
    if not ways and value != "median":
        raise refuse(f"is {shown(value)}", "write median, {quantile: 0.9} or {scenarios: 3}")
    return value


PlanAt = Annotated[
    Annotated[Literal["median"], Tag("<median>")] | Annotated[Quantile, Tag("<quantile>")] | Annotated[ErrorScenarios, Tag("<scenarios>")],
    Discriminator(lambda value: "<median>" if isinstance(value, str) else "<scenarios>" if "scenarios" in value else "<quantile>"),
    BeforeValidator(_one_of_three),
]


class Performance(Block):
    """Where throughput comes from."""

    throughput: Literal["table", "model"] = Field("table", description="table: the rows alone; model: the calibrated model of serving")
    plan_at: PlanAt = Field("median", description="median, {quantile: q}: what is exceeded with probability q, or {scenarios: n}")
    queueing: Truth = Field(True, description="with the model: keep spare replicas so that the 99th percentile of the wait fits the target")
    tpot_mean_over_p99: PositiveFraction = Field(
        0.85, description="mean over 99th percentile of the time per output token of a loaded server"
    )
    prefill_tokens_per_step: Positive = Field(4096.0, description="most input tokens that a server computes in one step")


class LengthBucket(Block):
    """Requests of about one length."""

    input_tokens: Positive = Field(description="mean input tokens of the bucket")
    output_tokens: Positive = Field(description="mean output tokens of the bucket")
    share: PositiveFraction = Field(description="share of the requests; the shares sum to 1")


class Burstiness(Block):
    """Variability at the scale of service; `capacity trace` measures it."""

    arrival_cv2: Variation = Field(1.0, description="squared coefficient of variation of the arrivals; 1: Poisson")
    service_cv2: Variation | None = Field(None, description="the same of the prefill time; absent: input_tokens_cv2")
    peakedness: Peakedness | None = Field(
        None, description="variance over mean of the busy servers of an unlimited pool; absent: from arrival_cv2"
    )


class Speculative(Block):
    """A draft model guesses tokens that the model checks together."""

    draft_tokens: AtLeastOne = Field(description="tokens guessed per step")
    acceptance: Fraction = Field(description="chance that a guess stands, below 1")
    draft_ms: NotNegative = Field(description="milliseconds per guessed token")
