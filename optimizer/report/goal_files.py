"""A goal or an inverse plan on disk: the fields and the points as CSV, everything as JSON, the points as SVG; each in one rename."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd_scale
from optimizer.report.line_chart import Chart, Series, charts_svg

if TYPE_CHECKING:
    from optimizer.analysis.goal import Goal
    from optimizer.analysis.inverse import Inverse
    from optimizer.analysis.what_if import Answer


def write_goal(found: Goal, directory: str | Path) -> Path:
    """goal.csv (a row per field), goal_points.csv (a row per solve), goal.json, goal.svg. Raises OSError."""
    rows = _rows(found.fields, "worth")
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "target": {"text": found.target.text, "measure": found.target.measure, "at_least": found.target.at_least, "limit": found.limit},
        "verdict": found.verdict,
        "claim": found.claim,
        "norm": found.norm,
        "size": found.size,
        "size_at_least": found.size_at_least,
        "least_cost_usd": found.least_cost_usd,
        "before": _answer(found.before),
        "after": None if found.after is None else _answer(found.after),
        "fields": rows,
        "points": found.points,
        "solves": found.solves,
    }
    limit = found.limit if found.target.of_cost else math.nan
    svg = _svg(found.case_name, found.fields, found.points, ("cost_usd", "lower_bound_usd"), limit)
    return write_analysis(directory, "goal", document, {"goal": rows, "goal_points": found.points}, {"goal": svg})


def write_inverse(found: Inverse, directory: str | Path) -> Path:
    """inverse.csv (a row per field), inverse_points.csv (a row per change that was solved), inverse.json, inverse.svg. Raises OSError."""
    rows = _rows(found.fields, "regret_without")
    regrets = {
        name: {"at_least_usd": r.at_least_usd, "at_most_usd": r.at_most_usd, "given": _answer(r.given), "best": _answer(r.best)}
        for name, r in (("before", found.before), ("after", found.after))
    }
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "plan_file": found.plan_file,
        "verdict": found.verdict,
        "norm": found.norm,
        "size": found.size,
        "size_at_least": found.size_at_least,
        "within_usd": found.within_usd,
        "convex": found.convex,
        "regret_at_least_usd": found.regret_at_least_usd,
        **regrets,
        "fields": rows,
        "points": found.points,
        "solves": found.solves,
    }
    svg = _svg(found.case_name, found.fields, found.points, ("regret_at_most_usd", "regret_at_least_usd"), math.nan)
    return write_analysis(directory, "inverse", document, {"inverse": rows, "inverse_points": found.points}, {"inverse": svg})


def _rows(fields: Sequence[Any], name: str) -> list[dict[str, Any]]:
    rows = []
    for f in fields:
        row = asdict(f)
        low, high = row.pop("alone_usd")
        rows.append({"field": row.pop("key"), **row, f"{name}_at_least_usd": low, f"{name}_at_most_usd": high})
    return rows


def _answer(answer: Answer) -> dict[str, Any]:
    return {"status": answer.status, "cost_usd": answer.cost_usd, "lower_bound_usd": answer.lower_bound_usd}


def _svg(name: str, fields: Sequence[Any], points: Sequence[Mapping[str, Any]], values: tuple[str, str], limit: float) -> str | None:
    """Over the one field, or over the points in the order in which they were solved."""
    x_name = fields[0].key if len(fields) == 1 else "point"
    rows = sorted((row for row in points if math.isfinite(row[values[0]])), key=lambda row: row[x_name])
    if not rows:
        return None
    divisor, unit = usd_scale([row[v] for row in rows for v in values])
    lines = [
        Series(value.removesuffix("_usd").replace("_", " "), [(row[x_name], row[value]) for row in rows], dashed=value != values[0])
        for value in values
    ]
    if math.isfinite(limit):
        lines.append(Series("target", [(rows[0][x_name], limit), (rows[-1][x_name], limit)], dashed=True, marks=False))
    label = x_name if len(fields) == 1 else "solve"
    return charts_svg([Chart(f"{name}: certified {lines[0].name}, {unit}", label, lines, divisor)])
