"""goal(case, meet, change): the least change of named numbers with which the certified best plan meets a target.

The size of a change is the root of the sum of squares ("l2"), or the sum ("l1"), of the relative changes. Whatever the search on the way
(`goal_line`, `goal_search`, `goal_measured`), the end is a certified solve of the changed case, and so is the point just before it at which
the target is not met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.analysis.cost_shape import CostShape, cost_shape
from optimizer.analysis.goal_line import Found, one_field
from optimizer.analysis.goal_measured import by_measured_effects
from optimizer.analysis.goal_search import least_cost, several_fields
from optimizer.analysis.goal_target import Target, read_target
from optimizer.analysis.least_change import NORMS, size
from optimizer.analysis.moved_case import Field, MovedCase
from optimizer.analysis.what_if import Answer, Progress, WhatIf
from optimizer.settings import Settings
from optimizer.spec import CaseError

ALREADY, MET, OUT_OF_REACH, NOT_FOUND, NO_PLAN = "met already", "met", "out of reach", "not found", "no plan"


@dataclass(frozen=True)
class MovedField:
    """`change`: relative, or of a share or rate at 0 absolute. `refused`: the value, on the straight way from the start, at which the
    target is certified not to be met, NaN where the gaps do not tell. `alone_usd`: certified (at least, at most) of the cost less what it
    would be if this field alone stayed as it was while the others moved; negative where its change saves."""

    key: str
    start: float
    end: float
    lowest: float
    highest: float
    change: float
    relative: bool
    in_case: bool
    refused: float
    alone_usd: tuple[float, float]


@dataclass(frozen=True)
class Goal:
    """`before` and `after`: certified answers; `after` is the best that was reached where the target is not. `size_at_least`: no smaller
    change meets the target, where that is proven, else 0. `least_cost_usd`: no change inside the ranges comes below it, -inf where
    nothing proves one."""

    case_name: str
    case_file: str
    target: Target
    limit: float
    norm: str
    verdict: str
    fields: tuple[MovedField, ...]
    before: Answer
    after: Answer | None
    size: float
    size_at_least: float
    claim: str
    least_cost_usd: float
    points: tuple[Mapping[str, Any], ...]
    solves: int

    @property
    def exit_code(self) -> int:
        """0, or 3 with a gap wider than asked, where the target is met; 4 where it is proven out of reach, 3 where none was found; of the
        case as it is where that has no plan."""
        if self.verdict == NO_PLAN:
            return self.before.found.solution.certificate.exit_code or 1
        if self.verdict in (ALREADY, MET):
            assert self.after is not None
            return self.after.found.solution.certificate.exit_code
        return 4 if self.verdict == OUT_OF_REACH else 3


class Counted(WhatIf):
    """A WhatIf that tells of each solve; how many will come is not known, so `of` grows with them."""

    def __init__(self, case: str | Path, settings: Settings | None, progress: Progress | None) -> None:
        super().__init__(case, settings)
        self._progress = progress

    def of(self, built: Any, point: Mapping[str, Any] | None = None) -> Answer:
        found = super().of(built, point)
        if self._progress is not None:
            self._progress(self.solves, self.solves + 5)
        return found


def goal(
    case: str | Path,
    meet: str,
    change: Mapping[str, Sequence[float]],
    settings: Settings | None = None,
    *,
    norm: str = "l2",
    progress: Progress | None = None,
) -> Goal:
    """`meet` is a target such as "cost_usd<=2.0e9", "cost<=-5%", "share_own>=0.5" or "unserved<=0.1%"; `change`: {key path: (lowest,
    highest)}, ranges that hold the numbers as they are. Raises CaseError for what cannot be used; a target that is not met is a verdict."""
    target, ranges = read_target(meet), refused_ranges(change)
    if norm not in NORMS:
        raise CaseError("goal", "norm", f"is {norm!r}", f"use one of {', '.join(NORMS)}")
    what_if = Counted(case, settings, progress)
    moved = MovedCase(what_if, ranges)
    if len(moved.fields) > 1 and target.of_cost:
        refuse_steps(moved)
    zero = np.zeros(len(moved.fields))
    before = moved.at(zero)
    limit = target.limit(before) if before.has_plan else math.nan

    def told(verdict: str, u: np.ndarray, after: Answer | None, found: Found, least: float = -math.inf) -> Goal:
        refused = found.refused
        fields = tuple(_moved_field(moved, i, u, refused) for i in range(len(u)))
        return Goal(
            what_if.name, str(what_if.path), target, limit, norm, verdict, fields, before, after, size(u, norm), found.size_at_least,
            found.claim, least, points_of(moved, target, limit), what_if.solves,
        )  # fmt: skip

    if not before.has_plan:
        return told(NO_PLAN, zero, None, Found(None, None, ""))
    if target.measure == "cost" and before.lower_bound_usd <= 0:
        said = "asks for a percentage of a cost that is not above 0"
        raise CaseError(str(what_if.path), "--meet", said, "give the cost in dollars: cost_usd<=X")

    def excess_at(u: np.ndarray) -> tuple[float, float]:
        return target.excess(moved.at(u), limit)

    if excess_at(zero)[1] <= 0:
        return told(ALREADY, zero, before, Found(zero, None, ""))
    shape = cost_shape(moved) if target.of_cost else CostShape("none", (0,) * len(zero), False, False)
    found = _searched(moved, shape, target, limit, norm, excess_at)
    if found.change is not None:
        return told(MET, found.change, moved.at(found.change), found)
    least = max(least_cost(moved, shape), found.best_at_least_usd) if target.of_cost else -math.inf
    best = min(moved.solved, key=lambda u: excess_at(u)[1])
    verdict = OUT_OF_REACH if least > limit else NOT_FOUND
    return told(verdict, best, moved.at(best), found, least)


def _searched(
    moved: MovedCase, shape: CostShape, target: Target, limit: float, norm: str, excess_at: Callable[[np.ndarray], tuple[float, float]]
) -> Found:
    if len(moved.fields) == 1:
        return one_field(moved, shape, excess_at, target.of_cost)
    return several_fields(moved, shape, limit, norm) if target.of_cost else by_measured_effects(moved, excess_at)


def refused_ranges(change: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Raises CaseError for what is no pair of numbers."""
    found = {}
    for key, ends in change.items():
        ends = tuple(ends) if isinstance(ends, Sequence) and not isinstance(ends, str) else ()
        if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
            raise CaseError("goal", str(key), "is not given two numbers", "give (lowest, highest)")
        found[str(key)] = float(ends[0]), float(ends[1])
    return found


def refuse_steps(moved: MovedCase) -> None:
    """Raises CaseError for a field without a derivative among several."""
    for field in moved.fields:
        if not field.smooth:
            what = "is a step: the cost has no derivative with respect to it, which several fields together need"
            raise CaseError(str(moved.what_if.path), field.key, what, "change it alone, or leave it out")


def _moved_field(moved: MovedCase, i: int, u: np.ndarray, refused: np.ndarray | None) -> MovedField:
    f: Field = moved.fields[i]
    just_before = math.nan if refused is None else f.at(refused[i])
    return MovedField(
        f.key, f.value, f.at(u[i]), f.lowest, f.highest, float(u[i]), f.relative, f.in_case, just_before, alone(moved, i, u)
    )  # fmt: skip


def alone(moved: MovedCase, i: int, u: np.ndarray) -> tuple[float, float]:
    """Cost at u less the cost with field i back at its start, certified bracket; NaN without plans."""
    if u[i] == 0:
        return 0.0, 0.0
    without = u.copy()
    without[i] = 0.0
    here, there = moved.at(u), moved.at(without)
    if not (here.has_plan and there.has_plan):
        return math.nan, math.nan
    return here.lower_bound_usd - there.cost_usd, here.cost_usd - there.lower_bound_usd


def points_of(moved: MovedCase, target: Target, limit: float) -> tuple[dict[str, Any], ...]:
    """Every certified point of the search, in the order in which it was solved."""
    rows = []
    for number, u in enumerate(moved.solved):
        answer = moved.at(u)
        low, high = target.bracket(answer)
        row: dict[str, Any] = {"point": number, **{f.key: f.at(c) for f, c in zip(moved.fields, u, strict=True)}, "status": answer.status}
        row |= {"cost_usd": answer.cost_usd, "lower_bound_usd": answer.lower_bound_usd}
        row |= {} if target.of_cost else {target.measure: low if low == high else math.nan}
        rows.append({**row, "meets": target.excess(answer, limit)[1] <= 0})
    return tuple(rows)
