"""Changes of several fields that bring the certified cost under a limit, as small as can be found.

convex cost    every certified answer gives a line under the cost (its lower bound and its multipliers); the least change that brings
               all lines under the limit bounds the least change, and is tried next: it ends at the least change
concave cost   every certified plan stays a plan at any prices, so its own cost is a line above the best cost; the least change that
               brings one line under the limit meets the target, and is where the next line is drawn: a local optimum
none           projected descent on the augmented Lagrangian, then linear steps: local, and every claim rests on the certified end
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from optimizer.analysis.cost_shape import CostShape
from optimizer.analysis.descent import descend
from optimizer.analysis.goal_line import TOLERANCE, Found, along
from optimizer.analysis.least_change import least_change, lowest_of_highest, size
from optimizer.analysis.moved_case import MovedCase
from optimizer.analysis.what_if import Answer

MOST_CUTS, MOST_STEPS = 40, 12
DESCENT_STEPS, ROUNDS = 10, 2
BETTER = 1e-5  # relative: a smaller gain of the size ends the search
MOST_VERTICES = 16
Array = np.ndarray


def several_fields(moved: MovedCase, shape: CostShape, limit: float, norm: str) -> Found:
    """The base is certified, with its cost above `limit` dollars."""
    search = {"convex": _convex, "concave": _concave, "none": _neither}[shape.kind]
    found = search(moved, limit, norm)
    if found.change is None:
        return found
    excess_at = _excess(moved, limit)
    closer = along(moved, excess_at, found.change, of_cost=True)
    refused = closer.outside * found.change if excess_at(closer.outside * found.change)[0] > 0 else None
    return Found(closer.inside * found.change, refused, found.claim, found.size_at_least)


def least_cost(moved: MovedCase, shape: CostShape) -> float:
    """A certified lower bound of the cost over the whole box; -inf where nothing proves one."""
    if shape.monotone:
        corner = np.where(np.array(shape.rises) > 0, moved.low, moved.high)
        return _lower(moved.at(corner))
    if shape.kind == "concave" and 2 ** len(moved.fields) <= MOST_VERTICES:
        corners = itertools.product(*zip(moved.low, moved.high, strict=True))
        return min(_lower(moved.at(np.array(corner))) for corner in corners)
    if shape.kind == "convex":
        lines = _Lines(moved)
        u = np.zeros(len(moved.fields))
        value = -np.inf
        for _ in range(MOST_CUTS):
            if not lines.add(u):
                break
            u, now = lowest_of_highest(lines.slopes, lines.levels, moved.low, moved.high)
            closed = now - value <= BETTER * max(1.0, abs(now)) * 0.1 and moved.at(u).cost_usd - now <= 1e-5 * max(1.0, abs(now))
            value = max(value, now)
            if closed:
                break
        return value
    return -np.inf


def _lower(answer: Answer) -> float:
    if answer.has_plan:
        return answer.lower_bound_usd
    return np.inf if answer.status == "INFEASIBLE" else -np.inf


def _excess(moved: MovedCase, limit: float) -> Callable[[Array], tuple[float, float]]:
    def excess(u: Array) -> tuple[float, float]:
        answer = moved.at(u)
        if not answer.has_plan:
            return (np.inf, np.inf) if answer.status == "INFEASIBLE" else (-np.inf, np.inf)
        return answer.lower_bound_usd - limit, answer.cost_usd - limit

    return excess


class _Lines:
    """Lines under (of bounds) or above (of plans) the cost: levels [L] + slopes [L,K] @ u."""

    def __init__(self, moved: MovedCase, above: bool = False) -> None:
        self.moved, self.above = moved, above
        self._slopes: list[Array] = []
        self._levels: list[float] = []

    def add(self, u: Array) -> bool:
        """False where there is no certified plan to draw a line from."""
        answer = self.moved.at(u)
        if not answer.has_plan:
            return False
        slope = self.moved.gradient(answer)
        self._slopes.append(slope)
        self._levels.append((answer.cost_usd if self.above else answer.lower_bound_usd) - float(slope @ u))
        return True

    @property
    def slopes(self) -> Array:
        return np.array(self._slopes)

    @property
    def levels(self) -> Array:
        return np.array(self._levels)


def _gap(answer: Answer) -> float:
    return max(0.0, answer.cost_usd - answer.lower_bound_usd)


def _convex(moved: MovedCase, limit: float, norm: str) -> Found:
    lines, u = _Lines(moved), np.zeros(len(moved.fields))
    gap, seen = 0.0, []
    for _ in range(MOST_CUTS):
        if not lines.add(u):
            break
        gap = max(gap, _gap(moved.at(u)))
        least = least_change(lines.slopes, limit - lines.levels, moved.low, moved.high, norm)
        if least is None:  # no point of the box is under all lines: proven
            return Found(None, None, "", best_at_least_usd=lowest_of_highest(lines.slopes, lines.levels, moved.low, moved.high)[1])
        if seen and moved.at(u).cost_usd <= limit:
            claim = "the least change of these fields: the cost is convex in them, and no change under its certified lines is smaller"
            return Found(u, None, claim, size(least, norm))
        # aim inside by the gaps, so that the certified cost of the plan, and not only its bound, comes under the limit
        u = least_change(lines.slopes, limit - 2 * gap - lines.levels, moved.low, moved.high, norm)
        if u is None or any(np.abs(u - other).max() <= 0.1 * TOLERANCE for other in seen):
            break
        seen.append(u)
    return Found(None, None, "")


def _concave(moved: MovedCase, limit: float, norm: str) -> Found:
    lines, u = _Lines(moved, above=True), np.zeros(len(moved.fields))
    best: Array | None = None
    seen: set[bytes] = set()
    for _ in range(MOST_CUTS):
        if u.tobytes() in seen or not lines.add(u):
            break
        seen.add(u.tobytes())
        answer = moved.at(u)
        if answer.cost_usd <= limit:
            enough = 1 - max(BETTER, 0.25 * _gap(answer) / (moved.at(np.zeros_like(u)).cost_usd - limit))
            if best is not None and size(u, norm) >= enough * size(best, norm):
                best = min(best, u, key=lambda v: size(v, norm))
                break
            best = u
        aims = limit - _gap(answer) - lines.levels
        each = [least_change(slope, aim, moved.low, moved.high, norm) for slope, aim in zip(lines.slopes, aims, strict=True)]
        met = [found for found in each if found is not None]
        if met:
            u = min(met, key=lambda v: size(v, norm))
        else:
            u = np.where(lines.slopes[-1] > 0, moved.low, np.where(lines.slopes[-1] < 0, moved.high, u))
    claim = "a local optimum: the cost is concave in these fields, and no small step from here meets the target with less change"
    return Found(best, None, claim)


def _neither(moved: MovedCase, limit: float, norm: str) -> Found:
    zero = np.zeros(len(moved.fields))
    first = moved.gradient(moved.at(zero))
    per_unit = float(np.linalg.norm(first)) or max(1.0, abs(limit))
    met: list[Array] = []
    start = least_change(first, limit - moved.at(zero).cost_usd, moved.low, moved.high, norm)
    u = start if start is not None else np.where(first > 0, moved.low, np.where(first < 0, moved.high, zero))
    multiplier, weight = size(u, norm), 10.0

    def lagrangian(at: Array) -> tuple[float, Array]:
        answer = moved.at(at)
        if not answer.has_plan:
            return np.inf, np.full(len(at), np.nan)
        over = (answer.cost_usd - limit) / per_unit
        if over <= 0:
            met.append(at)
        push = max(0.0, multiplier + weight * over)
        value = (size(at, "l1") if norm == "l1" else 0.5 * float(at @ at)) + (push**2 - multiplier**2) / (2 * weight)
        return value, (np.sign(at) if norm == "l1" else at) + push * moved.gradient(answer) / per_unit

    for _ in range(ROUNDS):
        u = descend(lagrangian, u, moved.low, moved.high, DESCENT_STEPS)
        answer = moved.at(u)
        if answer.has_plan:
            multiplier = max(0.0, multiplier + weight * (answer.cost_usd - limit) / per_unit)
    u = min(met, key=lambda v: size(v, norm)) if met else u
    for _ in range(MOST_STEPS):
        answer = moved.at(u)
        if not answer.has_plan:
            break
        if answer.cost_usd <= limit:
            met.append(u)
        slope = moved.gradient(answer)
        step = least_change(slope, limit - _gap(answer) - answer.cost_usd + slope @ u, moved.low, moved.high, norm)
        if step is None:
            step = np.where(slope > 0, moved.low, np.where(slope < 0, moved.high, u))
        if np.abs(step - u).max() <= TOLERANCE or (len(met) > 1 and size(step, norm) >= (1 - BETTER) * min(size(v, norm) for v in met)):
            break
        u = step
    best = min(met, key=lambda v: size(v, norm)) if met else None
    return Found(best, None, "the least change that descent and linear steps found: local, nothing proves that there is no smaller one")
