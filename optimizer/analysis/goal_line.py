"""The least change along one direction that meets a target: certified at the end of it, certified not met just before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizer.analysis.cost_shape import CostShape
from optimizer.analysis.crossing import PUSH, Crossing, Excess, Slope, crossing
from optimizer.analysis.least_change import lowest_of_highest
from optimizer.analysis.moved_case import MovedCase

TOLERANCE = 1e-6  # of the change
PLAN_TOLERANCE = 1e-4  # of the change, where a share of the plan is the target: each halving is a solve
CLOSE_TO_GAP = 0.25
PROBES = 8  # along a range whose ends do not meet the target
MOST_CUTS = 25

ExcessAt = Callable[[np.ndarray], tuple[float, float]]


@dataclass(frozen=True)
class Found:
    """`change` [K] meets the target (None: no such change was found); at `refused` [K], on the way there, the target is certified not to
    be met (None: the gaps do not tell). `size_at_least`: no change of a smaller size meets it, where that is proven."""

    change: np.ndarray | None
    refused: np.ndarray | None
    claim: str
    size_at_least: float = 0.0
    best_at_least_usd: float = -np.inf


def along(moved: MovedCase, excess_at: ExcessAt, direction: np.ndarray, of_cost: bool) -> Crossing:
    """The part of `direction`, at whose end the target is met, at which it is met first."""
    slope = _slope(moved, direction) if of_cost and moved.smooth else None

    def excess(t: float) -> tuple[float, float]:
        return excess_at(t * direction)

    tolerance = (TOLERANCE if of_cost else PLAN_TOLERANCE) / float(np.abs(direction).max())
    return crossing(excess, 0.0, 1.0, min(max(tolerance, _told_apart(excess, slope)), 0.1), slope)


def one_field(moved: MovedCase, shape: CostShape, excess_at: ExcessAt, of_cost: bool) -> Found:
    """The nearest crossing to either side; exact where the cost is known to cross once on each side."""
    slope = _slope(moved, np.ones(1)) if of_cost and moved.smooth else None

    def excess(t: float) -> tuple[float, float]:
        return excess_at(np.array([t]))

    tolerance = max(TOLERANCE if of_cost else PLAN_TOLERANCE, _told_apart(excess, slope))

    ways = [float(end) for end in (moved.low[0], moved.high[0]) if end != 0 and (not of_cost or shape.rises[0] * end <= 0)]
    ends_tell = of_cost and (shape.kind == "concave" or shape.monotone)  # what the end does not meet, nothing before it does
    once = of_cost and (shape.kind != "none" or shape.monotone)
    found: list[Crossing] = []
    for end in ways:
        inside = _first_guess(excess, slope, end) if ends_tell else None
        if inside is None and excess(end)[1] <= 0:
            inside = end
        if inside is not None:
            found.append(crossing(excess, 0.0, inside, min(tolerance, abs(inside) / 10), slope))
        elif not ends_tell:
            # a dip is possible inside: a convex cost is followed down by its certified slopes, anything else is probed
            convex = of_cost and shape.kind == "convex"
            dip = _dip(moved, excess, slope, end, tolerance) if convex else _probe(excess, slope, end, tolerance)
            found += [] if dip is None else [dip]
    if not found:
        return Found(None, None, "")
    nearest = min(found, key=lambda c: abs(c.inside))
    certified_not = excess(nearest.outside)[0] > 0
    claim = (
        "the least change of this field, up to what the certified gaps leave open: on each side the target is crossed once"
        if once
        else "the nearest change that was found: nothing proves that the target is crossed only once on the way"
    )
    least = min(abs(c.outside) for c in found) if once and all(excess(c.outside)[0] > 0 for c in found) else 0.0
    return Found(np.array([nearest.inside]), np.array([nearest.outside]) if certified_not else None, claim, least)


def _told_apart(excess: Excess, slope: Slope | None) -> float:
    """A step that changes the cost by a share of the gap: where work queues, gaps are wide, and smaller steps are solves for nothing."""
    steep = np.nan if slope is None else slope(0.0)
    low, high = excess(0.0)
    return CLOSE_TO_GAP * (high - low) / abs(steep) if np.isfinite(steep) and steep != 0 else 0.0


def _slope(moved: MovedCase, direction: np.ndarray) -> Slope:
    def slope(t: float) -> float:
        answer = moved.at(t * direction)
        return float(moved.gradient(answer) @ direction) if answer.has_plan else np.nan

    return slope


def _first_guess(excess: Excess, slope: Slope | None, end: float) -> float | None:
    """Where the cost would come under the limit if it went on as it begins, where that is so."""
    steep = np.nan if slope is None else slope(0.0)
    if not np.isfinite(steep) or steep * end >= 0:
        return None
    at = -excess(0.0)[1] / steep
    at += np.sign(end) * PUSH * TOLERANCE
    return at if abs(at) < abs(end) and excess(at)[1] <= 0 else None


def _probe(excess: Excess, slope: Slope | None, end: float, tolerance: float) -> Crossing | None:
    before = 0.0
    for k in range(1, PROBES):
        at = end * k / PROBES
        if excess(at)[1] <= 0:
            return crossing(excess, before, at, tolerance, slope)
        before = at
    return None


def _dip(moved: MovedCase, excess: Excess, slope: Slope | None, end: float, tolerance: float) -> Crossing | None:
    """Lines under a convex cost lead to its lowest point, or to one that is low enough."""
    if slope is None:
        return None
    low, high = np.array([min(end, 0.0)]), np.array([max(end, 0.0)])
    points = [at for at in (0.0, end) if moved.at(np.array([at])).has_plan]
    for _ in range(MOST_CUTS):
        slopes = np.array([[slope(at)] for at in points])
        levels = np.array([excess(at)[0] for at in points]) - slopes[:, 0] * points
        u, least = lowest_of_highest(slopes, levels, low, high)
        at = float(u[0])
        if least > 0 or any(abs(at - other) <= TOLERANCE for other in points) or not moved.at(u).has_plan:
            return None
        points.append(at)
        if excess(at)[1] <= 0:
            return crossing(excess, 0.0, at, tolerance, slope)
    return None
