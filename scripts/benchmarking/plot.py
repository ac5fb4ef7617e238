"""Seconds over scenarios, one panel per problem, as one SVG file that needs nothing else."""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape

COLORS = ("#0b5fff", "#d1495b", "#2e933c", "#8f3985", "#e08e00", "#00798c", "#6b4f2a", "#555555", "#c2185b", "#7a9e00", "#3d348b")
PANEL = (420, 300)  # width, height
MARGIN = (56, 16, 30, 40)  # left, right, top, bottom
COLUMNS = 2


def scaling_svg(medians: list[dict]) -> str:
    """The plot; problems with one size get a panel with one column of marks."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in medians:
        if "seconds" in row:
            panels[row["problem"]][row["solver"]].append((float(max(row["scenarios"], 1)), row["seconds"]))
    solvers = list(dict.fromkeys(row["solver"] for row in medians if "seconds" in row))
    color = {solver: COLORS[i % len(COLORS)] for i, solver in enumerate(solvers)}
    height = PANEL[1] * math.ceil(max(len(panels), 1) / COLUMNS) + 24 * math.ceil(max(len(solvers), 1) / 5) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{PANEL[0] * COLUMNS}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, solver in enumerate(solvers):
        x, y = 12 + (i % 5) * 165, 18 + 24 * (i // 5)
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{color[solver]}"/><text x="{x + 9}" y="{y}">{escape(solver)}</text>')
    top = 24 * math.ceil(max(len(solvers), 1) / 5) + 8
    for i, (problem, series) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({(i % COLUMNS) * PANEL[0]},{top + (i // COLUMNS) * PANEL[1]})">')
        parts += _panel(problem, series, color)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(problem: str, series: dict[str, list[tuple[float, float]]], color: dict[str, str]) -> list[str]:
    left, right, above, below = MARGIN
    points = [point for line in series.values() for point in line]
    x_of = _axis([x for x, _ in points], left, PANEL[0] - right)
    y_of = _axis([y for _, y in points], PANEL[1] - below, above)
    out = [f'<text x="{left}" y="16" font-weight="bold">{escape(problem)}: seconds over scenarios</text>']
    for value in sorted({x for x, _ in points}):
        at = x_of(value)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{above}" y2="{PANEL[1] - below}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{PANEL[1] - below + 16}" text-anchor="middle">{value:g}</text>')
    low, high = (math.floor(math.log10(min(y for _, y in points))), math.ceil(math.log10(max(y for _, y in points))))
    for value in (10.0**k for k in range(low, high + 1)):
        at = y_of(value)
        if above <= at <= PANEL[1] - below:
            out.append(f'<line x1="{left}" x2="{PANEL[0] - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for solver, line in series.items():
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in sorted(line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{color[solver]}" stroke-width="1.5"/>')
        for x, y in line:
            told = escape(f"{solver}: {y:.3g} s at {x:g}")
            out.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{color[solver]}"><title>{told}</title></circle>')
    return out


def _axis(values: list[float], start: float, end: float):
    """A logarithmic axis with a little room at both ends."""
    low, high = math.log(min(values)), math.log(max(values))
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-9 else (low - 0.05 * (high - low), high + 0.05 * (high - low))
    return lambda value: start + (math.log(value) - low) / (high - low) * (end - start)
