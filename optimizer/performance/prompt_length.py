"""The 99th percentile of the prompt length: what the own prefill inside a percentile of the time to first token is counted for.

A length bucket is gamma-like about its mean. Against eight public lists of prompts (configs/catalog/measurements/prompt_lengths.csv and the
Azure and Mooncake logs), cv2 0.19 to 1.72, the gamma's percentile is at x1.10 in the geometric mean (from x0.86 to x1.42), a lognormal's
at x1.17 (x0.88 to x1.52). A measured percentile replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from optimizer.spec.resolved import Workload

RARE = 0.01
"""Share of the requests that the 99th percentile may leave out."""
_NORMAL = NormalDist()
_P99 = _NORMAL.inv_cdf(1.0 - RARE)
_HALVINGS = 80
WIDEST = 12.0
"""Squared coefficient of variation from which on the percentile of a gamma variable of one mean falls again: held there."""


def prompt_p99_tokens(workload: Workload) -> float:
    """Input tokens of the longest prompts that count, cached ones included; as stated, or of the mix of the workload's buckets."""
    traffic = workload.traffic
    assert traffic is not None and workload.input_tokens is not None
    if traffic.input_tokens_p99 is not None:
        return traffic.input_tokens_p99.value
    cv2 = traffic.input_tokens_cv2.value
    if not traffic.buckets:
        return gamma_p99(workload.input_tokens.value, cv2)
    return mixture_p99([b.input_tokens.value for b in traffic.buckets], [b.share.value for b in traffic.buckets], cv2)


def gamma_p99(mean: float, cv2: float) -> float:
    """99th percentile of a gamma variable (Wilson and Hilferty: its cube root is normal)."""
    ninth = min(cv2, WIDEST) / 9.0
    return mean * (1.0 - ninth + _P99 * math.sqrt(ninth)) ** 3


def mixture_p99(means: Sequence[float], shares: Sequence[float], cv2: float) -> float:
    """99th percentile of gamma variables of one cv2 about `means`, each with its share; the shares sum to 1."""

    def beyond(length: float) -> float:
        return math.fsum(share * _beyond(length / mean, cv2) for mean, share in zip(means, shares, strict=True))

    low, high = 0.0, gamma_p99(max(means), cv2)  # less than RARE of every bucket is longer
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > RARE * (1.0 + 1e-12) else (low, middle)
    return high


def _beyond(relative: float, cv2: float) -> float:
    """P(X > relative) of a gamma variable of mean 1; without variation a step at 1."""
    if cv2 == 0.0:
        return float(relative < 1.0)
    ninth = min(cv2, WIDEST) / 9.0
    return 1.0 - _NORMAL.cdf((relative ** (1.0 / 3.0) - 1.0 + ninth) / math.sqrt(ninth))
