"""A frontier for people: the page, frontier.csv, frontier.json, and frontier.svg with a tangent at every point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report import figures
from optimizer.report.analysis_files import write_analysis
from optimizer.report.line_chart import Chart, Series, charts_svg
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.frontier import Frontier, FrontierPoint

Rows = Sequence[Mapping[str, Any]]

NOT_WRITTEN = "Results were not written; --out DIR would hold frontier.csv, frontier.json and frontier.svg."
UNITS = ("MW", "ms", "chip", "$")
TANGENT = 0.3  # of the distance to the neighbours
MARKS = {
    "convex": "the slope lies between the chords to its neighbours, and these rise: each further step is worth less or costs more",
    "concave": "the slope lies between the chords, and these fall",
    "straight": "both chords and the slope are the same, as far as the gaps can tell",
    "outside": "the slope lies outside of the chords: a step lies between the points, or plan and prices are not unique; use the changes",
}


def frontier_page(found: Frontier, rows: Rows, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    axis, points = found.axis, found.points
    known = [point for point in points if point.known]
    counts = {status: sum(p.status == status for p in points) for status in dict.fromkeys(p.status for p in points)}
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    style = "bold green" if found.exit_code == 0 else "bold yellow"
    page: Page = [line(f"{found.case_name}: least cost against {axis.name}: {told}", style)]
    page += [line(note) for note in axis.notes]
    divisor, unit = figures.usd_scale([p.cost_usd for p in known])
    per = f"per {axis.unit}" if axis.unit in UNITS else "per unit"
    amount = axis.name == "unserved"
    columns = ["value", "status", f"cost {unit}", "gap", *(["unserved", "rest"] if amount else [f"slope {per}"]), "change", "shape"]
    page += [
        heading(f"Points: {axis.name}" + (f" ({axis.kind})" if axis.kind != "field" else "")),
        grid(columns, [_row(axis.unit, point, row, divisor, amount) for point, row in zip(points, rows, strict=True)], words=2),
        line(
            "Cost: expected present value of the plan that was found; the least possible is lower by at most the gap, a share of it. "
            "Change: of the least cost against the point before; two numbers are certified ends between which it lies."
        ),
    ]
    if amount:
        page.append(
            line("Unserved: work that is left, at the case's own prices; rest: the cost of everything else, the least for that much left.")
        )
    page += _last_step(found)
    used = [mark for mark in MARKS if any(point.mark == mark for point in points)]
    if used:
        page += [heading("Shape"), bullets([f"{mark}: {MARKS[mark]}" for mark in used])]
    reasons = [f"{_value(axis.unit, p)}: {p.status}: {p.reason}" for p in points if p.reason]
    no_slope = dict.fromkeys(p.no_slope for p in points if p.no_slope)
    if reasons or no_slope:
        page += [heading("Notes"), bullets([*reasons, *(f"no slope: {why}" for why in no_slope)], "yellow")]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _row(unit: str, point: FrontierPoint, row: Mapping[str, Any], divisor: float, amount: bool) -> list[str]:
    nothing = figures.NOTHING
    cost = figures.scaled(point.cost_usd, divisor) if point.known else nothing
    gap = figures.small((point.cost_usd - point.lower_bound_usd) / max(1.0, abs(point.cost_usd))) if point.known else nothing
    change = between(point.change_least, point.change_most)
    slope = [figures.usd(point.slope_usd)]
    if amount:
        slope = [figures.usd(row["unserved_usd_at_case_prices"]), figures.usd(row["cost_of_serving_usd"])]
    return [_value(unit, point), point.status, cost, gap, *slope, change, point.mark or nothing]


def _value(unit: str, point: FrontierPoint) -> str:
    return figures.usd(point.value) if unit == "$" else figures.number(point.value)


def _last_step(found: Frontier) -> Page:
    step = found.dearest_step
    if step is None:
        return []
    before, end = step
    least, most = end.lower_bound_usd - before.cost_usd, end.cost_usd - before.lower_bound_usd
    size = abs(end.value - before.value)
    ends = f"from {_value(found.axis.unit, before)} to {_value(found.axis.unit, end)}"
    unit = found.axis.unit if found.axis.unit in UNITS else "unit"
    return [line(f"The last step, {ends}, costs {between(least, most)}: {between(least / size, most / size)} per {unit}.")]


def between(least: float, most: float) -> str:
    """A certified bracket; one number where both ends read the same."""
    ends = figures.usd(least), figures.usd(most)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def write_frontier(found: Frontier, rows: Rows, directory: str | Path) -> Path:
    """frontier.csv, frontier.json, frontier.svg. Raises OSError."""
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "axis": {"name": found.axis.name, "kind": found.axis.kind, "unit": found.axis.unit, "notes": list(found.axis.notes)},
        "points": list(rows),
    }
    svg = charts_svg([frontier_chart(found)]) if sum(point.known for point in found.points) > 1 else None
    return write_analysis(directory, "frontier", document, {"frontier": rows}, {"frontier": svg})


def frontier_chart(found: Frontier) -> Chart:
    """Cost and bound over the value, and a piece of the tangent at every point that has a slope."""
    known = [point for point in found.points if point.known]
    divisor, unit = figures.usd_scale([p.cost_usd for p in known])
    said = [
        f"{figures.number(p.value)}: {figures.usd(p.cost_usd)}, at least {figures.usd(p.lower_bound_usd)}"
        + (f", slope {figures.usd(p.slope_usd)} per unit" if math.isfinite(p.slope_usd) else "")
        for p in known
    ]
    series = [
        Series("least cost", [(p.value, p.cost_usd) for p in known], said),
        Series("lower bound", [(p.value, p.lower_bound_usd) for p in known], dashed=True, marks=False),
    ]
    tangents: list[tuple[float, float]] = []
    for i, point in enumerate(known):
        if not math.isfinite(point.slope_usd):
            continue
        for other in (known[i - 1] if i else None, known[i + 1] if i + 1 < len(known) else None):
            by = 0.0 if other is None else TANGENT * (other.value - point.value)
            tangents.append((point.value + by, point.cost_usd + by * point.slope_usd))
        tangents.append((math.nan, math.nan))
    if tangents:
        series.append(Series("tangents", tangents, marks=False))
    title = f"{found.case_name}: least cost, expected present value, {unit}"
    return Chart(title, f"{found.axis.name} ({found.axis.unit})", series, divisor)
