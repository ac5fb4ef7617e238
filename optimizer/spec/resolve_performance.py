"""The `performance` block and the traffic of serving and batch workloads."""

from __future__ import annotations

import math

from .case_error import Location
from .quantities import Source, optional_quantity, quantity
from .resolved import LengthBucket, Performance, Speculative, Traffic
from .schema_traffic import Burstiness, ErrorScenarios, Quantile
from .schema_workloads import Batch, Serving

LEAST_VARIATION = 0.01
"""Of arrivals and prefill times together: a queue without any is no queue."""
MEANS_AGREE = 1e-3
"""Length buckets reproduce the workload's mean tokens within this share."""


def resolve_performance(source: Source) -> Performance:
    """The block, with its defaults where it is absent. Raises CaseError: the quantile 1, an error without a model that has one."""
    written, here = source.file.performance, ("performance",)
    quantile = written.plan_at.quantile if isinstance(written.plan_at, Quantile) else None
    points = written.plan_at.scenarios if isinstance(written.plan_at, ErrorScenarios) else None
    if points is not None and written.throughput != "model":
        problem, remedy = "are points of the performance model's error, and throughput comes from the rows", "write throughput: model"
        raise source.error((*here, "plan_at", "scenarios"), problem, f"{remedy}, or plan_at: median")
    if quantile is not None and written.throughput != "model":
        problem, remedy = "is one of the performance model's error, and throughput comes from the rows", "write throughput: model"
        raise source.error((*here, "plan_at", "quantile"), problem, f"{remedy}, or plan_at: median")
    if quantile == 1.0:
        raise source.error((*here, "plan_at", "quantile"), "is 1, which no throughput reaches", "write a quantile below 1, such as 0.9")
    return Performance(
        model=written.throughput == "model",
        quantile=quantile,
        queueing=written.queueing,
        tpot_mean_over_p99=quantity(written.tpot_mean_over_p99, (*here, "tpot_mean_over_p99")),
        prefill_tokens_per_step=quantity(written.prefill_tokens_per_step, (*here, "prefill_tokens_per_step")),
        error_points=points,
    )


def resolve_traffic(source: Source, name: str, written: Serving | Batch) -> Traffic:
    """Raises CaseError: bucket shares that do not sum to 1, bucket means that are not the workload's."""
    here: Location = ("workloads", name)
    bursts = (written.burstiness if isinstance(written, Serving) else None) or Burstiness()
    input_cv2 = quantity(written.input_tokens_cv2, (*here, "input_tokens_cv2"))
    service_cv2 = input_cv2 if bursts.service_cv2 is None else quantity(bursts.service_cv2, (*here, "burstiness", "service_cv2"))
    if bursts.arrival_cv2 + service_cv2.value < LEAST_VARIATION:
        problem = f"leaves nothing that varies: with prefill times of cv2 {service_cv2.value:g} it is {bursts.arrival_cv2:g}"
        raise source.error((*here, "burstiness", "arrival_cv2"), problem, f"let the two sum to at least {LEAST_VARIATION:g}")
    longest = written.input_tokens_p99
    if longest is not None and longest < written.input_tokens:
        problem = f"is {longest:g}, below the mean of {written.input_tokens:g}"
        raise source.error((*here, "input_tokens_p99"), problem, "write the 99th percentile, in tokens")
    draft = written.speculative
    if draft is not None and draft.acceptance >= 1.0:
        raise source.error((*here, "speculative", "acceptance"), "is 1: no draft is always right", "write a chance below 1")
    return Traffic(
        buckets=_buckets(source, here, written),
        input_tokens_cv2=input_cv2,
        input_tokens_p99=optional_quantity(longest, (*here, "input_tokens_p99")),
        output_tokens_cv2=quantity(written.output_tokens_cv2, (*here, "output_tokens_cv2")),
        cache_hit_ratio=quantity(written.cache_hit_ratio, (*here, "cache_hit_ratio")),
        arrival_cv2=quantity(bursts.arrival_cv2, (*here, "burstiness", "arrival_cv2")),
        service_cv2=service_cv2,
        peakedness=optional_quantity(bursts.peakedness, (*here, "burstiness", "peakedness")),
        sticky=isinstance(written, Serving) and written.routing == "sticky",
        precisions=None if written.precisions is None else tuple(written.precisions),
        speculative=None
        if draft is None
        else Speculative(
            quantity(draft.draft_tokens, (*here, "speculative", "draft_tokens")),
            quantity(draft.acceptance, (*here, "speculative", "acceptance")),
            quantity(draft.draft_ms, (*here, "speculative", "draft_ms")),
        ),
    )


def _buckets(source: Source, here: Location, written: Serving | Batch) -> tuple[LengthBucket, ...]:
    if written.length_buckets is None:
        return ()
    here = (*here, "length_buckets")
    total = math.fsum(bucket.share for bucket in written.length_buckets)
    if abs(total - 1.0) > 1e-9:
        raise source.error(here, f"the shares sum to {total:.12g}", "let the shares sum to 1 (within 1e-9)")
    for field in ("input_tokens", "output_tokens"):
        mean, stated = math.fsum(b.share * getattr(b, field) for b in written.length_buckets), getattr(written, field)
        if abs(mean - stated) > MEANS_AGREE * stated:
            problem = f"their mean {field} is {mean:.6g}, the workload says {stated:.6g}"
            raise source.error(here, problem, f"write {field}: {mean:.6g}, or change the buckets")
    return tuple(
        LengthBucket(*(quantity(getattr(b, field), (*here, i, field)) for field in ("input_tokens", "output_tokens", "share")))
        for i, b in enumerate(written.length_buckets)
    )
