"""frontier(case): the least cost at every value of a field or of a further limit, certified, with the slope at each point.

Where the axis is a right-hand side (a limit, demand, power) the least cost is convex in it: the slope at a point lies between the chords to
its neighbours. A field that enters coefficients or steps (a latency target, a date) need not be convex; `FrontierPoint.mark` says what
was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.analysis.field_gradient import field_gradient
from optimizer.analysis.frontier_axes import Axis, axis_of_field, axis_of_word
from optimizer.analysis.what_if import Answer, Progress, WhatIf
from optimizer.settings import Settings
from optimizer.spec import CaseError

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

ROUNDING = 1e-6  # of the cost: what a rounding of the plan may pay for a share that is missed
CLOSE = 1e-5  # of the larger chord: rounding of the slope itself


@dataclass(frozen=True)
class FrontierPoint:
    """The least cost at one value lies in [lower_bound_usd, cost_usd]; NaN where there is none.

    status: CERTIFIED, FEASIBLE, INFEASIBLE, FAILED; NOT MET where a share can only be missed, at a price that no plan would pay if it had a
    choice (the bound then holds for every plan that meets it); INVALID where the case contradicts itself. `change_least`, `change_most`:
    the cost less that of the point before. `slope_usd`: d cost / d value, NaN with a reason in `no_slope`. `unserved_usd`: work that is
    left, at the case's own prices, where the axis is a factor on these.
    """

    value: float
    status: str
    cost_usd: float = math.nan
    lower_bound_usd: float = math.nan
    slope_usd: float = math.nan
    no_slope: str = ""
    change_least: float = math.nan
    change_most: float = math.nan
    mark: str = ""
    reason: str = ""
    unserved_usd: float = math.nan

    @property
    def known(self) -> bool:
        return math.isfinite(self.cost_usd) and math.isfinite(self.lower_bound_usd)


@dataclass(frozen=True)
class Frontier:
    """Points by ascending value."""

    case_name: str
    case_file: str
    axis: Axis
    points: tuple[FrontierPoint, ...]

    @property
    def exit_code(self) -> int:
        """0: every point is CERTIFIED or INFEASIBLE; 1: one FAILED or is INVALID; else 3."""
        found = {point.status for point in self.points}
        return 1 if found & {"FAILED", "INVALID"} else 0 if found <= {"CERTIFIED", "INFEASIBLE"} else 3

    @property
    def table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(rows_of(self))

    @property
    def dearest_step(self) -> tuple[FrontierPoint, FrontierPoint] | None:
        """The last step towards the dearer end: (the point before, the end)."""
        known = [point for point in self.points if point.known]
        if len(known) < 2:
            return None
        return (known[-2], known[-1]) if known[-1].cost_usd >= known[0].cost_usd else (known[1], known[0])


def frontier(
    case: str | Path,
    settings: Settings | None = None,
    *,
    field: str | None = None,
    limit: str | None = None,
    values: Sequence[float] = (),
    since: date | None = None,
    progress: Progress | None = None,
) -> Frontier:
    """The least cost at every value of `field` (a key path) or `limit` (a word of `frontier_axes`).

    `since`: the first day of a limit on a share. Raises CaseError for a case, a field, a word or a value that cannot be used, before
    anything is solved; a case that contradicts itself at a value later is a point that says so.
    """
    if (field is None) == (limit is None):
        raise CaseError("frontier", "field", "and limit are both given" if field else "and limit are both missing", "give one of the two")
    if limit is None and since is not None:
        raise CaseError("--from", str(since), "has no meaning for a field", "leave it out")
    what_if = WhatIf(case, settings)
    axis = axis_of_field(what_if, field) if field is not None else axis_of_word(what_if, str(limit), since)
    ordered = _numbers(axis, values)
    for value in ordered:
        what_if.read(*axis.change(value))
    points: list[FrontierPoint] = []
    for done, value in enumerate(ordered):
        if progress is not None:
            progress(done, len(ordered))
        points.append(_point(what_if, axis, value))
    if progress is not None:
        progress(len(ordered), len(ordered))
    return Frontier(what_if.name, str(what_if.path), axis, compared(points))


def _numbers(axis: Axis, values: Sequence[float]) -> list[float]:
    """Ascending, each once."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CaseError(
                "frontier", axis.name, f"has the value {value!r}", "give finite numbers; `capacity sweep` varies names and dates"
            )
        if axis.unit == "share" and axis.kind != "field" and not 0 <= value <= 1:
            raise CaseError("frontier", axis.name, f"has the value {value:g}", "give shares from 0 to 1")
    if not values:
        raise CaseError("frontier", axis.name, "has no values", "give at least one")
    return sorted(set(values))


def _point(what_if: WhatIf, axis: Axis, value: float) -> FrontierPoint:
    try:
        answer = what_if.at(*axis.change(value))
    except CaseError as error:
        return FrontierPoint(value, "INVALID", reason=str(error))
    if not answer.has_plan:
        return FrontierPoint(value, answer.status, reason=answer.reason)
    missed = _missed(answer, axis)
    if missed:
        return FrontierPoint(value, "NOT MET", lower_bound_usd=answer.lower_bound_usd, reason=missed)
    slope, no_slope = _slope(answer, axis, value)
    unserved = math.nan
    if axis.name == "unserved":
        unserved = float(answer.row.get("cost_unserved_usd", 0.0)) / value
    return FrontierPoint(
        value, answer.status, answer.cost_usd, answer.lower_bound_usd, slope, no_slope, unserved_usd=unserved,
        reason="" if answer.status == "CERTIFIED" else answer.reason,
    )  # fmt: skip


def _missed(answer: Answer, axis: Axis) -> str:
    """Where the share of the axis is missed by more than the gap can explain; '' where it is met."""
    structure, program, c = answer.found.built.structure, answer.found.built.program, answer.found.solution.certificate
    rows = [side.index for side in structure.sides if side.limit == axis.share] if axis.share else []
    if not rows or c.plan is None:
        return ""
    price = program.side_slack_cost[:, rows] * program.node_weight[:, None]
    paid = price * c.plan.side_slack[:, rows]
    allowed = max(c.gap, ROUNDING * max(1.0, abs(c.objective)))
    if float(paid.sum()) <= allowed:
        return ""
    where = [n for n in range(program.nodes) if paid[n].sum() > 0.5 * paid.sum(axis=1).max()]
    names = ", ".join(structure.recourse[n].name for n in where[:3])
    most = float(c.plan.side_slack[:, rows].max())
    return f"missed by up to {most:.4g} PFLOP/s, most in {names}: no plan meets it, or only at a price beyond that of unserved work"


def _slope(answer: Answer, axis: Axis, value: float) -> tuple[float, str]:
    """(d cost / d value, why there is none)."""
    c, built = answer.found.solution.certificate, answer.found.built
    if value in axis.ends:
        return math.nan, f"at {value:g} the axis ends, and prices there are not unique"
    slopes = axis.slopes(value)
    if not set(slopes) <= set(built.parameters.keys):
        return math.nan, "the cost does not depend smoothly on this field: it works in steps"
    if c.plan is None or c.multipliers is None:
        return math.nan, "there are no multipliers"
    gradient = field_gradient(built, c.plan, c.multipliers)
    at = {key: position for position, key in enumerate(gradient.keys)}
    if not all(gradient.alone[at[key]] for key in slopes):
        return math.nan, "the field moves others with it"
    return float(sum(rate * gradient.derivative[at[key]] for key, rate in slopes.items())), ""


def compared(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """The points with their change against the one before, and what the slope says beside the chords to the neighbours:

    convex, concave   it lies between them, and they rise, or fall
    straight          it lies between them, and their brackets overlap
    outside           it does not: a step lies between the points, or neither plan nor prices are unique
    (nothing)         there is no slope, or no neighbour on some side
    """
    found = list(points)
    for i, point in enumerate(found):
        if i and point.known and found[i - 1].known:
            before = found[i - 1]
            least, most = point.lower_bound_usd - before.cost_usd, point.cost_usd - before.lower_bound_usd
            found[i] = replace(point, change_least=least, change_most=most)
    for i, point in enumerate(found[:-1]):
        after = found[i + 1]
        if math.isfinite(point.slope_usd) and math.isfinite(point.change_least) and math.isfinite(after.change_least):
            found[i] = replace(point, mark=_shape(point, point.value - found[i - 1].value, after, after.value - point.value))
    return tuple(found)


def _shape(point: FrontierPoint, back: float, after: FrontierPoint, ahead: float) -> str:
    before = point.change_least / back, point.change_most / back
    later = after.change_least / ahead, after.change_most / ahead
    low, high = min(before[0], later[0]), max(before[1], later[1])
    room = CLOSE * max(abs(low), abs(high))
    if not low - room <= point.slope_usd <= high + room:
        return "outside"
    return "convex" if later[0] > before[1] else "concave" if later[1] < before[0] else "straight"


def rows_of(found: Frontier) -> list[dict[str, Any]]:
    """A point as a row; absent numbers are NaN."""
    rows = []
    for i, point in enumerate(found.points):
        step = point.value - found.points[i - 1].value if i else math.nan
        row: dict[str, Any] = {
            "value": point.value, "status": point.status, "cost_usd": point.cost_usd, "lower_bound_usd": point.lower_bound_usd,
            "slope_usd_per_unit": point.slope_usd, "change_least_usd": point.change_least, "change_most_usd": point.change_most,
            "chord_least_usd_per_unit": point.change_least / step, "chord_most_usd_per_unit": point.change_most / step, "mark": point.mark,
            "reason": point.reason or point.no_slope,
        }  # fmt: skip
        if found.axis.name == "unserved":
            row |= {
                "unserved_usd_at_case_prices": point.unserved_usd,
                "cost_of_serving_usd": point.cost_usd - point.value * point.unserved_usd,
            }
        rows.append(row)
    return rows
