"""What one service asks for: a model, the shape and rate of its requests, and its latency targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from optimizer.performance.precision import COMPUTE_TYPES
from optimizer.spec.case_error import CaseError, shown
from optimizer.spec.quantities import quantity
from optimizer.spec.resolved import LengthBucket, Path, Performance, Quantity, Traffic, Workload
from optimizer.spec.schema_traffic import Performance as PerformanceBlock

HERE = "serve"
"""Stands in messages where a case file would be named."""
SHARES_AGREE = 1e-6
ROUTINGS = ("pooled", "sticky")
_BUCKET = ("input_tokens", "output_tokens", "share")
_POSITIVE = ("input_tokens", "output_tokens", "requests_per_second", "ttft_p99_ms", "tpot_p99_ms", "peakedness", "input_tokens_p99")
_NOT_NEGATIVE = ("rtt_ms", "round_trips", "arrival_cv2", "input_tokens_cv2", "output_tokens_cv2")


@dataclass(frozen=True)
class Question:
    """Targets are 99th percentiles in ms, None for none. The defaults are those of a case file's workload.

    `lengths` (input tokens, output tokens, share of the requests) replaces the mean shape by a mix; input_tokens and output_tokens are then
    its means and may be left out. `quantile` None plans at the median throughput, q at the one that is exceeded with probability q.
    """

    model: str
    requests_per_second: float
    input_tokens: float | None = None
    output_tokens: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p99_ms: float | None = None
    rtt_ms: float = 0.0
    round_trips: float = 1.0
    precision: str | None = None
    arrival_cv2: float = 1.0
    peakedness: float | None = None
    input_tokens_cv2: float = 1.0
    input_tokens_p99: float | None = None
    output_tokens_cv2: float = 0.0
    cache_hit_ratio: float = 0.0
    routing: str = "pooled"
    quantile: float | None = None
    lengths: tuple[tuple[float, float, float], ...] = ()

    @property
    def network_ms(self) -> float:
        """All round trips inside one time to the first token."""
        return self.rtt_ms * self.round_trips

    @property
    def output_tokens_per_s(self) -> float:
        assert self.output_tokens is not None
        return self.requests_per_second * self.output_tokens

    def checked(self) -> Question:
        """The same with the means of `lengths` filled in. Raises CaseError: a number out of range, shares that do not sum to 1."""
        for field in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, field)
            if value is not None:
                _in_range(field, value, above_zero=field in _POSITIVE)
        if not 0.0 <= self.cache_hit_ratio < 1.0:
            raise _wrong("cache_hit_ratio", self.cache_hit_ratio, "write a share of 0 or more and below 1")
        if self.quantile is not None and not 0.0 < self.quantile < 1.0:
            raise _wrong("quantile", self.quantile, "write a probability between 0 and 1, such as 0.9")
        if self.arrival_cv2 + self.input_tokens_cv2 <= 0.0:
            raise CaseError(HERE, "arrival_cv2", "is 0 and so is input_tokens_cv2", "make one of them positive: only variability waits")
        asked = self._with_means() if self.lengths else self._with_shape()
        assert asked.input_tokens is not None
        if self.input_tokens_p99 is not None and self.input_tokens_p99 < asked.input_tokens:
            problem = f"is {self.input_tokens_p99:g}, below the mean of {asked.input_tokens:g}"
            raise CaseError(HERE, "input_tokens_p99", problem, "write the 99th percentile, in tokens")
        for field, value, known in (("precision", self.precision, COMPUTE_TYPES), ("routing", self.routing, ROUTINGS)):
            if value is not None and value not in known:
                raise CaseError(HERE, field, f"is {shown(value)}", f"write one of {', '.join(known)}")
        return asked

    def _with_shape(self) -> Question:
        for field in ("input_tokens", "output_tokens"):
            if getattr(self, field) is None:
                raise CaseError(HERE, field, "is missing", "write the mean tokens of a request, or give lengths")
        return self

    def _with_means(self) -> Question:
        for a, b, share in self.lengths:
            for value in (a, b, share):
                _in_range("lengths", value, above_zero=True)
        total = math.fsum(share for _, _, share in self.lengths)
        if abs(total - 1.0) > SHARES_AGREE:
            raise CaseError(HERE, "lengths", f"has shares that sum to {total:.6g}", "let the shares sum to 1")
        means = [math.fsum(row[i] * row[2] for row in self.lengths) / total for i in (0, 1)]
        for field, mean in zip(("input_tokens", "output_tokens"), means, strict=True):
            stated = getattr(self, field)
            if stated is not None and abs(stated - mean) > 1e-3 * mean:
                raise CaseError(HERE, field, f"is {stated:g}, and the mean of lengths is {mean:.6g}", "leave it out, or change the lengths")
        return replace(self, input_tokens=means[0], output_tokens=means[1])

    def workload(self) -> Workload:
        """As the performance model takes it; the question must be checked."""
        assert self.input_tokens is not None and self.output_tokens is not None

        def number(field: str) -> Quantity:
            return quantity(getattr(self, field), (HERE, field))

        def optional(field: str) -> Quantity | None:
            return None if getattr(self, field) is None else number(field)

        traffic = Traffic(
            buckets=tuple(
                LengthBucket(*(quantity(value, (HERE, "lengths", i, field)) for field, value in zip(_BUCKET, row, strict=True)))
                for i, row in enumerate(self.lengths)
            ),
            input_tokens_cv2=number("input_tokens_cv2"),
            input_tokens_p99=optional("input_tokens_p99"),
            output_tokens_cv2=number("output_tokens_cv2"),
            cache_hit_ratio=number("cache_hit_ratio"),
            arrival_cv2=number("arrival_cv2"),
            service_cv2=number("input_tokens_cv2"),
            peakedness=optional("peakedness"),
            sticky=self.routing == "sticky",
            precisions=None if self.precision is None else (self.precision,),
            speculative=None,
        )
        return Workload(
            name=HERE,
            kind="serving",
            model=self.model,
            input_tokens=number("input_tokens"),
            output_tokens=number("output_tokens"),
            origins=(),
            demand=Path("constant", (number("requests_per_second"),)),
            level="mid",
            ttft_p99_ms=optional("ttft_p99_ms"),
            tpot_p99_ms=optional("tpot_p99_ms"),
            round_trips_per_request=number("round_trips"),
            allowed_residency_zones=None,
            allowed_chips=None,
            allowed_families=None,
            allowed_providers=None,
            allowed_places=None,
            preemptible=False,
            movable=False,
            unserved_price=Quantity(math.inf, f"{HERE}.unserved"),
            traffic=traffic,
        )

    def performance(self) -> Performance:
        """The defaults of a case file's `performance` block, with throughput from the model."""
        block = PerformanceBlock.model_validate({})
        return Performance(
            model=True,
            quantile=self.quantile,
            queueing=True,
            tpot_mean_over_p99=quantity(block.tpot_mean_over_p99, ("performance", "tpot_mean_over_p99")),
            prefill_tokens_per_step=quantity(block.prefill_tokens_per_step, ("performance", "prefill_tokens_per_step")),
        )


def read_lengths(text: str) -> tuple[tuple[float, float, float], ...]:
    """`a:b:share,...` as Question.lengths. Raises CaseError: not three numbers in a part."""
    return tuple(_three(part) for part in text.split(","))


def _three(part: str) -> tuple[float, float, float]:
    try:
        a, b, share = (float(number) for number in part.split(":"))
    except ValueError:
        remedy = "write input:output:share, with a comma between buckets, such as 500:200:0.7,4000:400:0.3"
        raise CaseError(HERE, "lengths", f"has the part {shown(part)}", remedy) from None
    return a, b, share


def _in_range(field: str, value: float, above_zero: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0.0 or (above_zero and value == 0.0):
        raise _wrong(field, value, "write a number above 0" if above_zero else "write 0 or a number above it")


def _wrong(field: str, value: float, remedy: str) -> CaseError:
    return CaseError(HERE, field, f"is {shown(value)}", remedy)
