"""A ranking on disk: rank.json, rank.csv and bars with their intervals, rank.svg; the points themselves are in sweep.csv."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd_scale

if TYPE_CHECKING:
    from optimizer.analysis.rank import Influence, Rank

BARS = 30
WIDTH, ROW, TOP, NAMES, RIGHT = 900, 24, 56, 380, 40
FILLED, HOLLOW = "#0b5fff", "#00798c"


def write_rank(found: Rank, directory: str | Path) -> Path:
    """Raises OSError."""
    rows = influence_rows(found)
    svg = rank_svg(found) if found.influences else None
    return write_analysis(directory, "rank", document(found, rows), {"rank": rows}, {"rank": svg})


def influence_rows(found: Rank) -> list[dict[str, Any]]:
    """A row per output and input."""
    by_key = {one.key: (one, now) for one, now in zip(found.ranges, found.now, strict=True)}
    rows = []
    for one in found.influences:
        declared, now = by_key[one.key]
        row: dict[str, Any] = {
            "output": one.output, "input": one.key, "lowest": declared.lowest, "highest": declared.highest,
            "scale": "log" if declared.log else "uniform", "case_says": now if isinstance(now, int | float) else None,
        }  # fmt: skip
        if found.method == "sobol":
            row |= {
                "total": one.total, "total_low": one.total_low, "total_high": one.total_high, "first": one.first,
                "first_low": one.first_low, "first_high": one.first_high,
            }  # fmt: skip
        else:
            row |= {"mu_star": one.total, "mu_star_low": one.total_low, "mu_star_high": one.total_high, "mu": one.first, "sigma": one.sigma}
        rows.append(row)
    return rows


def document(found: Rank, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of rank.json."""
    return {
        "case": {"name": found.case_name, "file": found.case_file},
        "method": found.method, "samples": found.samples, "seed": found.seed, "points": found.points,
        "points_without_plan": [{"reason": reason, "points": count} for reason, count in found.missing],
        "rows_left_out": found.left_out, "refused": found.refused,
        "settings": {"gap_relative": found.settings.gap_relative, "headroom_gap_relative": found.settings.headroom_gap_relative},
        "cost_usd": {
            "mean": found.mean_usd, "standard_deviation": found.deviation_usd, "least": found.least_usd, "most": found.most_usd,
            "variance_share_of_gaps_at_most": found.gap_share, "mu_star_error_of_gaps_at_most": found.gap_effect_usd,
        },
        "influences": rows,
    }  # fmt: skip


def rank_svg(found: Rank) -> str:
    """Bars of the first output: total (filled) and first-order index (hollow), or mu*; lines are the intervals."""
    output = found.outputs[0]
    shown = found.of(output)[:BARS]
    sobol, dollars = found.method == "sobol", output.endswith("_usd")
    most = max([1.0] if sobol else [one.total_high for one in shown]) or 1.0
    divisor, unit = usd_scale([most]) if dollars and not sobol else (1.0, "")
    height = TOP + ROW * len(shown) + 34
    what = "the optimal cost" if dollars else f"the {output.replace('_', ' ')}"
    title = f"share of the variance of {what}" if sobol else f"mean size of an elementary effect on {what} {unit}".strip()
    told = "filled: with all interactions (total); hollow: alone (first order); lines: 95 % intervals"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="18" font-weight="bold">{escape(found.case_name)}: {escape(title)}</text>',
        f'<text x="12" y="36">{told if sobol else "per whole range of the input; lines: 95 % intervals"}</text>',
    ]

    def x_of(value: float) -> float:
        return NAMES + min(max(value / most, 0.0), 1.0) * (WIDTH - RIGHT - NAMES)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = x_of(share * most)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{height - 26}" stroke="#ddd"/>')
        out.append(f'<text x="{at:.1f}" y="{height - 10}" text-anchor="middle">{share * most / divisor:,.4g}</text>')
    for position, one in enumerate(shown):
        out += _bars(one, TOP + ROW * position, sobol, x_of)
    return "\n".join([*out, "</svg>"]) + "\n"


def _bars(one: Influence, y: float, sobol: bool, x_of: Any) -> list[str]:
    name = one.key if len(one.key) <= 58 else f"{one.key[:18]}...{one.key[-37:]}"
    out = [f'<text x="{NAMES - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>']
    bars = [(one.total, one.total_low, one.total_high, y, FILLED, FILLED)]
    if sobol:
        bars.append((one.first, one.first_low, one.first_high, y + 9, "white", HOLLOW))
    for value, low, high, top, fill, color in bars:
        box = f'x="{x_of(0.0):.1f}" y="{top}" width="{max(x_of(value) - x_of(0.0), 0.5):.1f}" height="8"'
        told = escape(f"{one.key}: {value:.4g} ({low:.4g} to {high:.4g})")
        out.append(f'<rect {box} fill="{fill}" stroke="{color}"><title>{told}</title></rect>')
        out.append(f'<line x1="{x_of(low):.1f}" x2="{x_of(high):.1f}" y1="{top + 4}" y2="{top + 4}" stroke="#222"/>')
    return out
