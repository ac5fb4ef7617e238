"""The page of a sweep, and the bar while it runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from optimizer.report import figures
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken
from optimizer.report.sweep_result import Sweep

MOST_POINTS = 21
"""On the page; all of them are in sweep.csv."""
MOST_REASONS = 5
WIDEST_NAMES = 32  # characters of all varied fields' names in the head of the table
NOT_WRITTEN = "Results were not written; a directory would hold sweep.csv and sweep.json."
WORDS = {"share_own": "own", "share_lease": "lease", "share_reserved": "reserved", "share_existing": "existing",
         "share_on_demand": "on-demand", "share_spot": "spot"}  # fmt: skip


def sweep_page(sweep: Sweep, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    counts = Counter(row["status"] for row in sweep.rows)
    told = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
    style = "bold green" if sweep.exit_code == 0 else "bold yellow"
    page: Page = [line(f"{sweep.case_name}: {figures.counted(len(sweep), 'point')}: {told}", style)]
    there = len(sweep) - sweep.solved
    if there:
        page.append(line(f"{figures.counted(there, 'point')} of an earlier run taken as they were, {sweep.solved:,} solved now."))
    page += [*_points(sweep), *_reasons(sweep)]
    if sweep.notes:
        page += [heading("Notes"), bullets(sweep.notes, "yellow")]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _points(sweep: Sweep) -> Page:
    last = len(sweep) - 1
    chosen = sorted({round(k * last / (MOST_POINTS - 1)) for k in range(MOST_POINTS)}) if last >= MOST_POINTS else range(last + 1)
    shares = [name for name in WORDS if name in sweep.columns]
    divisor, unit = figures.usd_scale([row["objective_usd"] for row in sweep.rows if "objective_usd" in row])
    rows = []
    for position in chosen:
        point, row = sweep.points[position], sweep.rows[position]
        usd = figures.scaled(row["objective_usd"], divisor) if "objective_usd" in row else figures.NOTHING
        gap = figures.small(row["gap_relative"]) if "gap_relative" in row else figures.NOTHING
        share = [figures.percent(row[name]) if name in row else figures.NOTHING for name in shares]
        rows.append([*(shown(point[name]) for name in sweep.fields), row["status"], usd, gap, *share])
    some = "" if len(chosen) == len(sweep) else f": {len(chosen)} of {len(sweep):,}"
    names = [name.rpartition(".")[2] for name in sweep.fields]
    short = len(set(names)) == len(names) and sum(map(len, names)) <= WIDEST_NAMES
    if not short:
        names = [f"[{number}]" for number in range(1, len(names) + 1)]
    where = [line(f"  {name}: {field}") for name, field in zip(names, sweep.fields, strict=True) if name != field]
    columns = [*names, "status", f"cost {unit}", "gap", *(WORDS[name] for name in shares)]
    return [heading(f"Points{some}"), *where, grid(columns, rows, words=len(names) + 1)]


def _reasons(sweep: Sweep) -> Page:
    """Why points have no certified plan, each reason once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for point, row in sweep:
        for said in (row.get("reason"), row.get("notes")):
            if said:
                found.setdefault(said, []).append(point)
    if not found:
        return []
    sentences = [
        f"{', '.join(f'{name} = {shown(value)}' for name, value in points[0].items())}"
        f"{f' and {len(points) - 1:,} more' if len(points) > 1 else ''}: {said}"
        for said, points in list(found.items())[:MOST_REASONS]
    ]
    more = f" (the first {MOST_REASONS} of {len(found)})" if len(found) > MOST_REASONS else ""
    return [heading(f"Reasons{more}"), bullets(sentences)]


def shown(value: Any) -> str:
    """A value of a field for people."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)
