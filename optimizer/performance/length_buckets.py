"""Splits requests into rectangles of input x output length that carry comparable work.

A mean shape hides what long requests cost; a few buckets keep it. The rectangles come from halving: the requests of a rectangle are cut
across the length in which their work is spread wider, where the work on both sides is in proportion to the buckets to be made there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

OUTPUT_WEIGHT = 4.0
"""Work of an output token in input tokens: chips decode about a quarter as many tokens per second as they prefill."""
_SHIFT = np.int64(1) << 32


@dataclass(frozen=True)
class LengthBucket:
    """The requests of one rectangle: their mean lengths, their share of all requests and of all work."""

    input_tokens: float
    output_tokens: float
    share: float
    work_share: float
    input_range: tuple[int, int]  # shortest and longest, both inside
    output_range: tuple[int, int]


def length_buckets(input_tokens: Array, output_tokens: Array, count: int, output_weight: float = OUTPUT_WEIGHT) -> list[LengthBucket]:
    """At most `count` buckets of requests with lengths [n], [n] (tokens, whole and positive), by rising work per request.

    Work is input + output_weight * output tokens. Fewer buckets come back where there are fewer different lengths. Raises ValueError:
    shapes that differ, lengths that are not positive, a count below 1.
    """
    inputs, outputs = np.asarray(input_tokens), np.asarray(output_tokens)
    if inputs.ndim != 1 or inputs.shape != outputs.shape or inputs.size == 0 or min(inputs.min(), outputs.min()) < 1:
        raise ValueError(f"input {inputs.shape} and output {outputs.shape} must be two lists of positive lengths, one of each per request")
    if count < 1:
        raise ValueError(f"{count} length buckets are asked for; at least 1 is needed")
    keys, times = np.unique(inputs.astype(np.int64) * _SHIFT + outputs, return_counts=True)
    cells = np.stack([keys // _SHIFT, keys % _SHIFT], axis=1)  # [distinct shapes, 2]
    work = times * (cells @ np.array([1.0, output_weight]))
    made = [_bucket(cells[part], times[part], work[part], times.sum(), work.sum()) for part in _split(cells, work, count)]
    return sorted(made, key=lambda bucket: bucket.input_tokens + output_weight * bucket.output_tokens)


def share_of_variation(buckets: list[LengthBucket], per_input: float, per_output: float) -> float:
    """mean^2 / sum of share * (bucket mean)^2 of x = per_input * input + per_output * output tokens; at most 1.

    With r this number and cv2 that of x over all requests, (1 + cv2) * r - 1 is the one cv2 inside every bucket that gives the same
    second moment of x: what a bucket's own spread is when the spread between buckets is counted apart.
    """
    means = np.array([per_input * b.input_tokens + per_output * b.output_tokens for b in buckets])
    shares = np.array([b.share for b in buckets])
    return float((shares @ means) ** 2 / (shares @ means**2))


def _split(cells: Array, work: Array, count: int) -> list[Array]:
    """Index lists of the rectangles."""
    waiting, done = [(np.arange(len(cells)), count)], []
    while waiting:
        part, wanted = waiting.pop()
        cut = _cut(cells[part], work[part], (wanted // 2) / wanted) if wanted > 1 else None
        if cut is None:
            done.append(part)
        else:
            waiting += [(part[cut], wanted // 2), (part[~cut], wanted - wanted // 2)]
    return done


def _cut(cells: Array, work: Array, fraction: float) -> Array | None:
    """Which shapes lie below the cut [m]; None where all are alike."""
    logs = np.log(cells)
    centre = work @ logs / work.sum()
    spread = work @ (logs - centre) ** 2
    axis = int(np.argmax(spread))
    values, place = np.unique(cells[:, axis], return_inverse=True)
    if len(values) < 2:  # the wider length is one length only: so is the other
        return None
    below = np.cumsum(np.bincount(place, work))[:-1] / work.sum()
    return cells[:, axis] <= values[np.argmin(np.abs(below - fraction))]


def _bucket(cells: Array, times: Array, work: Array, all_times: float, all_work: float) -> LengthBucket:
    mean = times @ cells / times.sum()
    low, high = cells.min(axis=0), cells.max(axis=0)
    return LengthBucket(
        float(mean[0]), float(mean[1]), float(times.sum() / all_times), float(work.sum() / all_work),
        (int(low[0]), int(high[0])), (int(low[1]), int(high[1])),
    )  # fmt: skip
