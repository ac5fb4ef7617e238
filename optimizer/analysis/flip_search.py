"""The search for flips along one field: a grid of certified plans, then bisection between neighbours that decide otherwise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.analysis.decisions import UNDECIDED, Decision, Reading
from optimizer.analysis.offer_worth import worth_of
from optimizer.analysis.what_if import Progress, WhatIf
from optimizer.spec import CaseError

NEAR_ZERO = 0.01  # of the range: what a tolerance is relative to where the field itself is smaller
INVALID = "INVALID"

Value = int | float


@dataclass(frozen=True)
class FieldRange:
    """A field and where to look; `ratios`: the grid has equal ratios in the place of equal steps."""

    field: str
    lowest: Value
    highest: Value
    ratios: bool = False


@dataclass(frozen=True)
class Point:
    """One certified what-if. `readings` stand in the order of the decisions; `on_grid`: it is no value of a bisection."""

    value: Value
    against: Any
    status: str
    cost_usd: float
    lower_bound_usd: float
    readings: tuple[Reading, ...]
    reason: str
    on_grid: bool


@dataclass(frozen=True)
class End:
    """One side of a flip. `worth_usd`: of an offer, the certified bracket of what the best plan would cost more without it."""

    value: Value
    reading: Reading
    status: str
    cost_usd: float
    lower_bound_usd: float
    reason: str = ""
    worth_usd: tuple[float, float] | None = None


@dataclass(frozen=True)
class Flip:
    """Between `before.value` and `after.value` the decision changes. `resolved`: the bracket is as narrow as was asked, or (whole numbers)
    as it can be."""

    decision: Decision
    against: Any
    before: End
    after: End
    resolved: bool


class Search:
    """The search along the field for one value of the second."""

    def __init__(
        self, what_if: WhatIf, at: FieldRange, row: Mapping[str, Any], decisions: tuple[Decision, ...], points: int, tolerance: float,
        whole: bool, own: Value | None, count: Count,
    ) -> None:  # fmt: skip
        self.what_if, self.at, self.row, self.decisions = what_if, at, dict(row), decisions
        self.tolerance, self.whole, self.count = tolerance, whole, count
        inside = [own] if own is not None and at.lowest < own < at.highest else []
        self.grid = sorted({*grid(at, points, whole), *inside})
        self.against = next(iter(self.row.values()), None)
        self.known: dict[Value, Point] = {}

    def flips(self) -> list[Flip]:
        """By decision, then value."""
        self.count.expect(len(self.grid))
        for value in self.grid:
            self.read(value)
        found = []
        for position, asked in enumerate(self.decisions):
            pairs = [pair for a, b in zip(self.grid, self.grid[1:], strict=False) for pair in self._refined(a, b, position)]
            joined = _joined(pairs, [self.state(b, position) == UNDECIDED for _, b in pairs])
            found += [self._flip(asked, position, a, b) for a, b in joined]
        self.count.done_all()
        return found

    def points(self) -> list[Point]:
        """By value."""
        return [self.known[value] for value in sorted(self.known)]

    def read(self, value: Value) -> tuple[Reading, ...]:
        """What is decided at a value. Of its plan only what a `Point` holds is kept: the arrays of a large case are many gigabytes."""
        if value not in self.known:
            self.known[value] = self._point(value)
            self.count.one()
        return self.known[value].readings

    def _point(self, value: Value) -> Point:
        on_grid = value in self.grid
        try:
            point = self._at(value)
            answer = self.what_if.of(self.what_if.built(point), point)
        except CaseError as error:
            nothing = (Reading(INVALID, math.nan),) * len(self.decisions)
            return Point(value, self.against, INVALID, math.nan, math.nan, nothing, str(error), on_grid)
        readings = tuple(decision.read(answer) for decision in self.decisions)
        cost = (answer.cost_usd, answer.lower_bound_usd) if answer.has_plan else (math.nan, math.nan)
        return Point(value, self.against, answer.status, *cost, readings, answer.reason, on_grid)

    def _at(self, value: Value) -> dict[str, Any]:
        return {self.at.field: value, **self.row}

    def state(self, value: Value, position: int) -> str:
        return self.read(value)[position].state

    def _refined(self, a: Value, b: Value, position: int) -> list[tuple[Value, Value]]:
        """The brackets between two values, in order; none where both decide alike. A value between them that decides like neither starts
        a bracket to each side."""
        before, after = self.state(a, position), self.state(b, position)
        if before == after:
            return []
        width = self.tolerance / 2 if self.decisions[position].kind == "cost" else self.tolerance  # two brackets may meet where undecided
        middle = None if self._narrow(a, b, width) else between(a, b, self.whole)
        if middle is None or {before, after} & {"FAILED", INVALID}:
            return [(a, b)]
        self.count.expect(1)
        return [*self._refined(a, middle, position), *self._refined(middle, b, position)]

    def _narrow(self, a: Value, b: Value, tolerance: float) -> bool:
        if self.whole:
            return b - a <= 1
        size = max(abs(a), abs(b), NEAR_ZERO * (self.at.highest - self.at.lowest))
        return b - a <= tolerance * size or between(a, b, False) in (a, b)

    def _flip(self, decision: Decision, position: int, a: Value, b: Value) -> Flip:
        before, after = self._end(decision, position, a), self._end(decision, position, b)
        return Flip(decision, self.against, before, after, self._narrow(a, b, self.tolerance))

    def _end(self, decision: Decision, position: int, value: Value) -> End:
        point = self.known[value]
        worth = None
        if decision.kind == "offer" and math.isfinite(point.cost_usd):
            self.count.expect(1)
            worth = worth_of(self.what_if, self._at(value), (point.lower_bound_usd, point.cost_usd), decision.name)
            self.count.one()
        return End(value, point.readings[position], point.status, point.cost_usd, point.lower_bound_usd, point.reason, worth)


def grid(at: FieldRange, points: int, whole: bool = False) -> list[Value]:
    """`points` values from the lowest to the highest; of whole numbers as many as there are."""
    low, high, steps = at.lowest, at.highest, points - 1
    if at.ratios:
        values: list[Value] = [low * (high / low) ** (k / steps) for k in range(steps + 1)]
    else:
        values = [low + (high - low) * (k / steps) for k in range(steps + 1)]
    if whole:
        return sorted({low, *(round(value) for value in values[1:-1]), high})
    inner = [rounded(value, (value - before) / 100) for before, value in itertools.pairwise(values[:-1])]
    return sorted({low, *inner, high})


def between(a: Value, b: Value, whole: bool) -> Value:
    """A value near the middle with few digits, so that brackets can be read: it lies in the middle fifth of the way."""
    if whole:
        return (a + b) // 2
    near = rounded((a + b) / 2, (b - a) / 10)
    return near if a < near < b else (a + b) / 2


def rounded(value: float, room: float) -> float:
    """The value with few digits, moved by at most half of `room`."""
    step = 10.0 ** math.floor(math.log10(room)) if room > 0 else 0.0
    return float(f"{round(value / step) * step:.15g}") if step > 0 else value


def _joined(pairs: list[tuple[Value, Value]], open_end: list[bool]) -> list[tuple[Value, Value]]:
    """Brackets that meet where nothing is decided are one bracket; `open_end`: nothing is decided at the end of a pair."""
    found: list[tuple[Value, Value]] = []
    for position, (a, b) in enumerate(pairs):
        if position and open_end[position - 1]:
            found[-1] = (found[-1][0], b)
        else:
            found.append((a, b))
    return found


class Count:
    """Steps done and expected, for the bar: how many there are is known only as brackets are found."""

    def __init__(self, progress: Progress | None, row: int, rows: int) -> None:
        self.progress, self.row, self.rows, self.done, self.of = progress, row, rows, 0, 0

    def expect(self, more: int) -> None:
        self.of += more

    def one(self) -> None:
        self.done += 1
        self._tell(self.done, max(self.of, self.done))

    def done_all(self) -> None:
        self._tell(self.done, self.done)

    def _tell(self, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(self.row * of + done, self.rows * of)
