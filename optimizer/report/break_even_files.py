"""Flips on disk: break_even.csv (a row per flip), points.csv (a row per certified plan), break_even.json and break_even.svg."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd_scale
from optimizer.report.line_chart import Chart, Series, charts_svg

if TYPE_CHECKING:
    from optimizer.analysis.break_even import BreakEven
    from optimizer.analysis.decisions import Decision
    from optimizer.analysis.flip_search import End, Flip, Point

MEASURES = {
    "share": "share of the compute", "offer": "share of the chip-hours", "chips": "chips, on average", "cost": "cost",
    "unserved": "largest share unserved",
}  # fmt: skip


def write_break_even(found: BreakEven, directory: str | Path) -> Path:
    """Raises OSError."""
    tables = {"break_even": [flip_row(found, flip) for flip in found.flips], "points": [point_row(found, p) for p in found.points]}
    drawn = any(math.isfinite(point.cost_usd) for point in found.points)
    return write_analysis(directory, "break_even", document(found), tables, {"break_even": break_even_svg(found) if drawn else None})


def document(found: BreakEven) -> dict[str, Any]:
    """The content of break_even.json."""
    return {
        "case": {"name": found.case_name, "file": found.case_file},
        "field": found.range.field,
        "lowest": found.range.lowest,
        "highest": found.range.highest,
        "own_value": found.own_value,
        "against": found.against_field,
        "own_against": found.own_against,
        "decisions": [d.text for d in found.decisions],
        "tolerance_relative": found.tolerance,
        "grid_points": found.grid_points,
        "gap_relative_asked": found.settings.gap_relative,
        "flips": [flip_row(found, flip) for flip in found.flips],
        "points": [point_row(found, point) for point in found.points],
    }


def flip_row(found: BreakEven, flip: Flip) -> dict[str, Any]:
    """One flip; what does not exist is None or NaN. `measure`: what the decision compares."""
    row: dict[str, Any] = {"decision": flip.decision.text}
    if found.against_field is not None:
        row["against"] = flip.against
    row["resolved"] = flip.resolved
    for name, end in (("before", flip.before), ("after", flip.after)):
        row |= _end_row(name, end)
    return row


def _end_row(name: str, end: End) -> dict[str, Any]:
    worth = end.worth_usd or (math.nan, math.nan)
    return {
        f"{name}_value": end.value, f"{name}_state": end.reading.state, f"{name}_measure": end.reading.measure,
        f"{name}_status": end.status, f"{name}_cost_usd": end.cost_usd, f"{name}_lower_bound_usd": end.lower_bound_usd,
        f"{name}_worth_at_least_usd": worth[0], f"{name}_worth_at_most_usd": worth[1], f"{name}_reason": end.reason,
    }  # fmt: skip


def point_row(found: BreakEven, point: Point) -> dict[str, Any]:
    row: dict[str, Any] = {} if found.against_field is None else {"against": point.against}
    row |= {"value": point.value, "on_grid": point.on_grid, "status": point.status}
    row |= {"cost_usd": point.cost_usd, "lower_bound_usd": point.lower_bound_usd}
    for decision, reading in zip(found.decisions, point.readings, strict=True):
        row |= {f"state {decision.text}": reading.state, f"measure {decision.text}": reading.measure}
    return row | {"reason": point.reason}


def middle(flip: Flip) -> float:
    return (flip.before.value + flip.after.value) / 2


def break_even_svg(found: BreakEven) -> str:
    """With a second field: where it flips over that field. Without: cost and measures over the field, flips dashed."""
    return charts_svg([_curve(found, d) for d in found.decisions] if _second_axis(found) else _along(found))


def _second_axis(found: BreakEven) -> bool:
    values = {point.against for point in found.points}
    return found.against_field is not None and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _curve(found: BreakEven, decision: Decision) -> Chart:
    """A line per flip: the first from below, the second, ..."""
    rows = {value: found.of(decision, value) for value in sorted({point.against for point in found.points})}
    lines = []
    for k in range(max((len(flips) for flips in rows.values()), default=0)):
        flips = [(value, flips[k]) for value, flips in rows.items() if k < len(flips)]
        said = [f"{value:.6g}: {_said(flip)}" for value, flip in flips]
        lines.append(Series("flip" if k == 0 else f"flip {k + 1}", [(value, middle(flip)) for value, flip in flips], said))
    if found.own_value is not None and found.own_against is not None:
        lines.append(Series("this case", [(found.own_against, found.own_value)]))
    return Chart(f"{found.case_name}: where {decision.text} flips, {found.range.field}", str(found.against_field), lines)


def _said(flip: Flip) -> str:
    return f"{flip.before.reading.state} to {flip.before.value:.8g}, {flip.after.reading.state} from {flip.after.value:.8g}"


def _along(found: BreakEven) -> list[Chart]:
    """A line per value of the second field."""
    label, drawn = found.range.field, []
    groups = list(dict.fromkeys(point.against for point in found.points))
    divisor, unit = usd_scale([point.cost_usd for point in found.points])

    def lines(y: Any) -> list[Series]:
        of = {g: [(p.value, y(p)) for p in found.points if p.against == g] for g in groups}
        return [Series("best plan" if g is None else str(g), of[g]) for g in groups]

    drawn.append(Chart(f"{found.case_name}: cost of the best plan, {unit}", label, lines(lambda p: p.cost_usd), divisor))
    for k, decision in enumerate(found.decisions):
        if decision.kind == "cost":
            continue
        series = lines(lambda p: p.readings[k].measure)  # noqa: B023
        known = [y for line in series for _, y in line.points if math.isfinite(y)]
        if not known:
            continue
        low, high = min(known), max(known)
        at = [middle(flip) for flip in found.flips if flip.decision == decision]
        series += [Series("flip", [(x, low), (x, high)], dashed=True, marks=False) for x in at]
        drawn.append(Chart(f"{decision.text}: {MEASURES[decision.kind]}", label, series))
    return drawn
