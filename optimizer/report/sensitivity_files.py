"""A sensitivity on disk: sensitivity.csv, sensitivity.json and a tornado plot, sensitivity.svg; each in one rename."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd, usd_scale

if TYPE_CHECKING:
    from optimizer.analysis.sensitivity import Sensitivity, Worth

BARS = 20
WIDTH, ROW, TOP, NAMES, RIGHT = 900, 22, 52, 430, 30
UP, DOWN = "#d1495b", "#00798c"


def write_sensitivity(found: Sensitivity, rows: list[dict[str, Any]], directory: str | Path) -> Path:
    """`rows`: one per field, by rank. Raises OSError."""
    svg = tornado_svg(found) if found.fields else None
    return write_analysis(directory, "sensitivity", document(found, rows), {"sensitivity": rows}, {"sensitivity": svg})


def document(found: Sensitivity, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of sensitivity.json."""
    c = found.certificate
    return {
        "case": {"name": found.case_name, "file": found.case_file},
        "status": c.status.name,
        "reason": c.reason,
        "objective_usd": c.objective,
        "lower_bound_usd": c.lower_bound,
        "gap_relative": c.gap_relative,
        "step_relative": found.step,
        "fields": rows,
    }


def change_of(worth: Worth, step: float) -> tuple[float, float, bool]:
    """(dollars when the field falls by the step, when it rises, whether both come from certified re-solves)."""
    if worth.left is not None and worth.right is not None and worth.left.known and worth.right.known:
        return worth.left.change_usd, worth.right.change_usd, True
    size = worth.usd_per_percent * step / 0.01 if worth.value != 0 else worth.derivative_usd * step
    return -size, size, False


def tornado_svg(found: Sensitivity) -> str:
    """Bars of the BARS fields that are worth most; hollow where the derivative was not checked by re-solves."""
    shown = [worth for worth in found.fields if worth.rank > 0][:BARS]
    changes = [change_of(worth, found.step) for worth in shown]
    most = max((abs(value) for down, up, _ in changes for value in (down, up)), default=0.0) or 1.0
    divisor, unit = usd_scale([most])
    middle, half = (NAMES + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - NAMES) / 2
    height = TOP + ROW * len(shown) + 30
    percent = f"{100 * found.step:g} %"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="18" font-weight="bold">{escape(found.case_name)}: change of the optimal cost, {unit}, '
        f"when one number rises or falls by {percent}</text>",
        f'<text x="12" y="36"><tspan fill="{UP}">rises</tspan>, <tspan fill="{DOWN}">falls</tspan>; '
        "filled: certified re-solves, hollow: derivative</text>",
        f'<line x1="{middle}" x2="{middle}" y1="{TOP - 6}" y2="{height - 24}" stroke="#999"/>',
    ]
    for position, (worth, (down, up, solved)) in enumerate(zip(shown, changes, strict=True)):
        y = TOP + ROW * position
        name = worth.key if len(worth.key) <= 66 else f"{worth.key[:22]}...{worth.key[-41:]}"
        out.append(f'<text x="{NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        for value, color, top in ((up, UP, y + 1), (down, DOWN, y + 9)):
            length = abs(value) / most * half
            left = middle if value >= 0 else middle - length
            fill = color if solved else "white"
            said = escape(f"{worth.key}: {usd(value)}")
            box = f'x="{left:.1f}" y="{top}" width="{max(length, 0.5):.1f}" height="8"'
            out.append(f'<rect {box} fill="{fill}" stroke="{color}"><title>{said}</title></rect>')
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        at = middle + share * half
        out.append(f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{share * most / divisor:,.4g}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
