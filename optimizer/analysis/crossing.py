"""Where a certified number crosses zero on the way from a point that is not good enough to one that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_STEPS = 40
CLOSER_STEPS = 12
PUSH = 0.3  # of the tolerance: a root is tried a little to one side and then to the other, so that both sides close in

Excess = Callable[[float], tuple[float, float]]
"""t -> (at least, at most) of what is to be at or below zero."""
Slope = Callable[[float], float]
"""t -> the derivative of the excess there; NaN where it has none."""


@dataclass(frozen=True)
class Crossing:
    """At `inside` the excess is certified at or below zero; at `outside`, nearer to the start, it is certified above. Between the two lies
    a crossing; the only one, where the excess crosses once."""

    inside: float
    outside: float


def crossing(excess: Excess, outside: float, inside: float, tolerance: float, slope: Slope | None = None) -> Crossing:
    """`excess(outside)` is certified above zero, `excess(inside)` at or below. Ends where the two sides are `tolerance` apart, or where the
    brackets of the excess do not tell more."""
    known: dict[float, tuple[float, float]] = {}

    def at(t: float) -> tuple[float, float]:
        if t not in known:
            known[t] = excess(t)
        return known[t]

    at(outside)
    at(inside)
    refused, inside = _closed(lambda t: at(t)[1], slope, outside, inside, tolerance, MOST_STEPS)
    if at(refused)[0] > 0:
        return Crossing(inside, refused)
    if at(outside)[0] <= 0:  # the start itself may be good enough: nothing is certified not to be
        return Crossing(inside, outside)
    way = 1.0 if inside > outside else -1.0
    above = [t for t, (low, _) in known.items() if low > 0 and way * (t - outside) >= 0 and way * (refused - t) > 0]
    bad = max(above, key=lambda t: way * t, default=outside)
    below = [t for t, (low, _) in known.items() if low <= 0 and way * (t - bad) > 0]
    good = min(below, key=lambda t: way * t)
    bad, _ = _closed(lambda t: at(t)[0], slope, bad, good, tolerance, CLOSER_STEPS)
    return Crossing(inside, bad)


def _closed(
    value: Callable[[float], float], slope: Slope | None, bad: float, good: float, tolerance: float, most: int
) -> tuple[float, float]:
    """(bad, good) at most `tolerance` apart, value above zero at the one and not at the other: steps along the derivative, or a secant,
    and a half where they do not halve the way in three steps."""
    last, widths = bad, [math.inf] * 3
    for step in range(most):
        width = abs(good - bad)
        if width <= tolerance:
            break
        middle, slow = (bad + good) / 2, width > 0.5 * widths[-3]
        widths.append(width)
        root = middle if slow else _root(value, slope, last, bad, good)
        if root != middle:
            toward_good = 1.0 if good > bad else -1.0
            root += PUSH * tolerance * (toward_good if step % 2 == 0 else -toward_good)
        low, high = min(bad, good) + PUSH * tolerance, max(bad, good) - PUSH * tolerance
        last = min(max(root, low), high)
        bad, good = (last, good) if value(last) > 0 else (bad, last)
    return bad, good


def _root(value: Callable[[float], float], slope: Slope | None, last: float, bad: float, good: float) -> float:
    middle, low, high = (bad + good) / 2, min(bad, good), max(bad, good)
    if slope is None:
        return middle
    steep = slope(last)
    if math.isfinite(steep) and steep != 0 and math.isfinite(value(last)):
        root = last - value(last) / steep
        if low < root < high:
            return root
    fall = value(good) - value(bad)
    if math.isfinite(fall) and fall < 0:
        return bad - value(bad) * (good - bad) / fall
    return middle
