"""The page of `capacity break-even --field`: every flip with both of its sides, and the grid on which they were looked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken
from optimizer.report.sweep_page import shown

if TYPE_CHECKING:
    from optimizer.analysis.break_even import BreakEven
    from optimizer.analysis.decisions import Decision
    from optimizer.analysis.flip_search import End, Flip, Point

MOST_POINTS = 21
"""On the page; all of them are in points.csv."""
MOST_REASONS = 5
NOT_WRITTEN = "Results were not written; --out DIR would hold break_even.csv, points.csv, break_even.json and break_even.svg."


def break_even_page(found: BreakEven, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    style = "bold green" if found.exit_code == 0 else "bold yellow"
    count = figures.counted(len(found.flips), "flip")
    ends = f"from {shown(found.range.lowest)} to {shown(found.range.highest)}"
    page: Page = [line(f"{found.case_name}: {count} along {found.range.field}", style), line(f"{found.range.field} {ends}")]
    if found.own_value is not None:
        page.append(line(f"The case itself has {shown(found.own_value)}{_own_against(found)}."))
    for decision in found.decisions:
        page += _decision(found, decision)
    page += [*_points(found), *_reasons(found), heading("What this says"), bullets(_claims(found))]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _own_against(found: BreakEven) -> str:
    return f", and {found.against_field} {shown(found.own_against)}" if found.own_against is not None else ""


def _decision(found: BreakEven, decision: Decision) -> Page:
    flips = [flip for flip in found.flips if flip.decision == decision]
    second = found.against_field is not None
    number, by = _number(found, decision), f", by {found.against_field}" if second else ""
    title = heading(f"{f'{number} ' if number else ''}Where {decision.text} flips{by}")
    silent = _silent(found, decision)
    if not flips:
        return [title, line(f"  {silent[0]}")] if silent else [title]
    columns = [found.range.field.rpartition(".")[2], "decision", "measure", "cost $", "gap"]
    columns = [found.against_field.rpartition(".")[2], *columns] if found.against_field is not None else columns
    rows = [row for flip in flips for row in _rows(flip, second)]
    page: Page = [title, grid(columns, rows, words=len(columns) - 3)]
    if silent and second:
        page += [line(f"  {sentence}") for sentence in silent]
    if decision.kind == "offer":
        page += [line("  What the best plan would cost more without the offer, certified:"), bullets(_worth(flip) for flip in flips)]
    return page


def _rows(flip: Flip, second: bool) -> list[list[str]]:
    """The last value before and the first after, one below the other."""
    measure = figures.number if flip.decision.kind == "chips" else figures.usd if flip.decision.kind == "cost" else _percent
    rows = []
    for first, end in ((True, flip.before), (False, flip.after)):
        named = [shown(flip.against) if first else ""] if second else []
        cost = [f"{end.cost_usd:,.0f}", _gap(end)]
        cost = cost if math.isfinite(end.cost_usd) else [figures.NOTHING, figures.NOTHING]
        rows.append([*named, shown(end.value), end.reading.state, measure(end.reading.measure), *cost])
    return rows


def _percent(share: float) -> str:
    """With digits enough to see on which side of a threshold it lies."""
    return f"{100 * share:.4g} %" if math.isfinite(share) else figures.NOTHING


def _gap(at: End | Point) -> str:
    """Relative, of the cost."""
    return figures.small((at.cost_usd - at.lower_bound_usd) / max(1.0, abs(at.cost_usd)))


def _silent(found: BreakEven, decision: Decision) -> list[str]:
    """Rows without a flip, with the one answer that they have on the grid."""
    said = []
    position = found.decisions.index(decision)
    for value in dict.fromkeys(point.against for point in found.points):
        if found.of(decision, value):
            continue
        states = {point.readings[position].state for point in found.points if point.against == value}
        at = "" if found.against_field is None else f"{shown(value)}: "
        said.append(f"{at}no flip on the grid; every value of it says: {', '.join(sorted(states))}.")
    return said


def _worth(flip: Flip) -> str:
    at = "" if flip.against is None else f"{shown(flip.against)}, "
    sides = [f"at {shown(end.value)} ({end.reading.state}) {_bracket(end.worth_usd)}" for end in (flip.before, flip.after)]
    return f"{at}{'; '.join(sides)}"


def _bracket(worth: tuple[float, float] | None) -> str:
    if worth is None or math.isnan(worth[0]):
        return "not known"
    if math.isinf(worth[0]):
        return "there is no plan without it"
    if worth[0] == 0:
        return f"at most {figures.usd(worth[1])}, perhaps nothing"
    return f"between {figures.usd(worth[0])} and {figures.usd(worth[1])}"


def _points(found: BreakEven) -> Page:
    """The certified plans on the grid, evenly thinned where they are many."""
    if found.against_field is not None:  # too many; the pairs above are among them
        return []
    points = [point for point in found.points if point.on_grid]
    last = len(points) - 1
    chosen = sorted({round(k * last / (MOST_POINTS - 1)) for k in range(MOST_POINTS)}) if last >= MOST_POINTS else range(last + 1)
    divisor, unit = figures.usd_scale([point.cost_usd for point in points])
    states = [_number(found, decision) or decision.text for decision in found.decisions]
    columns = [found.range.field.rpartition(".")[2], "status", *states, f"cost {unit}", "gap"]
    rows = [_point(points[k], divisor) for k in chosen]
    some = "" if len(rows) == len(points) else f": {len(rows)} of {len(points)}"
    return [heading(f"Best plans on the grid{some}"), grid(columns, rows, words=len(columns) - 2)]


def _number(found: BreakEven, decision: Decision) -> str:
    """What stands for a decision in the head of a column where there are several."""
    return f"[{found.decisions.index(decision) + 1}]" if len(found.decisions) > 1 else ""


def _point(point: Point, divisor: float) -> list[str]:
    states = [reading.state for reading in point.readings]
    cost = figures.scaled(point.cost_usd, divisor) if math.isfinite(point.cost_usd) else figures.NOTHING
    return [shown(point.value), point.status, *states, cost, _gap(point)]


def _reasons(found: BreakEven) -> Page:
    """Why points have no plan, or a wider gap than asked; each reason once."""
    by_reason: dict[str, list[Point]] = {}
    for point in found.points:
        if point.status != "CERTIFIED" and point.reason:
            by_reason.setdefault(point.reason, []).append(point)
    if not by_reason:
        return []
    told = [
        f"{', '.join(shown(p.value) for p in points[:3])}{f' and {len(points) - 3} more' if len(points) > 3 else ''}: {reason}"
        for reason, points in list(by_reason.items())[:MOST_REASONS]
    ]
    more = f" (the first {MOST_REASONS} of {len(by_reason)})" if len(by_reason) > MOST_REASONS else ""
    return [heading(f"Not certified{more}"), bullets(told)]


def _claims(found: BreakEven) -> list[str]:
    claims = [
        "A flip lies between the two values of its pair of rows; the best plan was certified at each. At the flip plans of both sides "
        "cost the same. gap: how far below the cost the certified lower bound is, as a share of it.",
        f"Looked for on a grid of {figures.counted(found.grid_points, 'value')}. Between neighbours on the grid that decide alike nothing "
        "is claimed: two flips between them would be missed (--points).",
        "A decision is that of the certified plan; plans whose costs differ by less than the gap may decide otherwise.",
    ]
    if any(not flip.resolved for flip in found.flips):
        claims.append("Where a bracket is wider than --tolerance, certified costs cannot tell inside it, or no plan could be certified.")
    if found.whole_numbers:
        claims.append("The field takes whole numbers only.")
    if any(d.kind in ("offer", "chips") for d in found.decisions):
        claims.append(f"What is less than {found.least:g} of the plan's chip-hours counts as nothing (--least).")
    if any(d.kind == "unserved" for d in found.decisions):
        claims.append(f"Unserved: more than {found.least:g} of a workload's expected work (--least).")
    return claims
