"""A comparison on disk: compare.json, tables of what changed, why, and in the plans, and the difference as a cascade of bars."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd, usd_scale
from optimizer.report.line_chart import Scale, ticks

if TYPE_CHECKING:
    from optimizer.analysis.compare import Comparison
    from optimizer.analysis.compare_plans import PlanComparison

MISSING = "(missed by the integration)"
MOST_BARS = 24
WIDTH, ROW, TOP, BOTTOM, NAMES, RIGHT = 900, 24, 40, 40, 330, 110
UP, DOWN, WHOLE = "#d1495b", "#00798c", "#555"


def write_comparison(found: Comparison, directory: str | Path) -> Path:
    """Raises OSError."""
    tables: dict[str, Any] = {
        "inputs": [{"field": one.key, "before": said(one.before), "after": said(one.after)} for one in (*found.changes, *found.catalog)],
        "contributions": contribution_rows(found),
        "plans": plan_rows(found),
        "first_year": first_year_rows(found),
    }
    svg = cascade_svg(found) if found.contributions or found.numbers else None
    return write_analysis(directory, "compare", document(found, tables), tables, {"compare": svg})


def write_plan_comparison(found: PlanComparison, directory: str | Path) -> Path:
    """Raises OSError."""
    tables = {"plans": plan_rows(found), "first_year": first_year_rows(found)}
    sides = {
        name: {
            "name": plan.name, "file": plan.file, "hash": plan.hash, "status": plan.status, "objective_usd": plan.cost_usd,
            "lower_bound_usd": plan.lower_usd,
        }
        for name, plan in (("before", found.before), ("after", found.after))
    }  # fmt: skip
    content = {
        **sides, "same_case": found.same_case, "change_usd": found.change_usd, "least_usd": found.least_usd, "most_usd": found.most_usd,
        "first_year_until": found.last_day, **tables,
    }  # fmt: skip
    return write_analysis(directory, "compare", content, tables, {"compare": None})


def document(found: Comparison, tables: dict[str, Any]) -> dict[str, Any]:
    """The content of compare.json."""
    sides = {
        name: {
            "name": side.name, "file": side.file, "status": side.status, "reason": side.reason, "objective_usd": side.cost_usd,
            "lower_bound_usd": side.lower_usd,
        }
        for name, side in (("before", found.before), ("after", found.after))
    }  # fmt: skip
    return {
        **sides, "change_usd": found.change_usd, "least_usd": found.least_usd, "most_usd": found.most_usd, "by": found.by,
        "orders": found.orders or "all", "solves": found.solves, "missing_usd": found.missing_usd, "first_year_until": found.last_day,
        **tables,
    }  # fmt: skip


def contribution_rows(found: Comparison) -> list[dict[str, Any]]:
    if found.numbers:
        return [
            *({"input": one.key, "before": one.before, "after": one.after, "usd": one.usd} for one in found.numbers),
            {"input": MISSING, "usd": found.missing_usd},
        ]
    return [
        {
            "input": one.name, "usd": one.usd, "least_usd": one.least_usd, "most_usd": one.most_usd, "lowest_of_orders_usd": one.lowest_usd,
            "highest_of_orders_usd": one.highest_usd, "merged_because": one.because,
        }
        for one in found.contributions
    ]  # fmt: skip


def plan_rows(found: Comparison | PlanComparison) -> list[dict[str, Any]]:
    return [{"table": one.table, "name": one.name, "before": one.before, "after": one.after, "change": one.change} for one in found.lines]


def first_year_rows(found: Comparison | PlanComparison) -> list[dict[str, Any]]:
    return [
        {
            "offer": one.offer, "signing_date": one.signing_date, "scenario": one.scenario, "before_chips": one.before_chips,
            "after_chips": one.after_chips, "both_chips": one.both_chips,
        }
        for one in found.first_year
    ]  # fmt: skip


def said(value: Any) -> str:
    """A value of a case for people; what is not there is '-'."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {said(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(said, value)) + "]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def cascade_svg(found: Comparison) -> str:
    """From the cost of the one to the cost of the other, a bar per input; of many inputs the largest, and the others together."""
    steps = [(one.name, one.usd) for one in found.contributions] or [(one.key, one.usd) for one in found.numbers]
    if found.numbers:
        steps.append((MISSING, found.missing_usd))
    if len(steps) > MOST_BARS:
        steps = [*steps[: MOST_BARS - 1], ("all others", sum(usd for _, usd in steps[MOST_BARS - 1 :]))]
    levels = [found.before.cost_usd]
    for _, amount in steps:
        levels.append(levels[-1] + amount)
    divisor, unit = usd_scale(levels)
    x_of = Scale(levels, NAMES, WIDTH - RIGHT)
    height = TOP + ROW * (len(steps) + 2) + BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="18" font-weight="bold">{escape(found.before.name)} to {escape(found.after.name)}: optimal cost, {unit}</text>',
    ]
    for value in ticks(x_of.low, x_of.high):
        at = x_of(value)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{height - BOTTOM + 4}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{height - BOTTOM + 18}" text-anchor="middle">{value / divisor:,.6g}</text>')
    bars = [(found.before.name, levels[0], levels[0], usd(levels[0]))]
    bars += [(name, levels[k], levels[k + 1], _signed(amount)) for k, (name, amount) in enumerate(steps)]
    bars.append((found.after.name, found.after.cost_usd, found.after.cost_usd, usd(found.after.cost_usd)))
    for position, bar in enumerate(bars):
        out += _bar(TOP + ROW * position, *bar, x_of=x_of)
    return "\n".join([*out, "</svg>"]) + "\n"


def _bar(y: float, name: str, start: float, end: float, told: str, x_of: Scale) -> Sequence[str]:
    short = name if len(name) <= 52 else f"{name[:16]}...{name[-33:]}"
    left, right = sorted((x_of(start), x_of(end)))
    color = WHOLE if start == end else UP if end > start else DOWN
    box = f'x="{left:.1f}" y="{y}" width="{max(right - left, 2.0):.1f}" height="{ROW - 8}" fill="{color}"'
    return [
        f'<text x="{NAMES - 10}" y="{y + 12}" text-anchor="end">{escape(short)}</text>',
        f"<rect {box}><title>{escape(f'{name}: {told}')}</title></rect>",
        f'<text x="{right + 6:.1f}" y="{y + 12}">{escape(told)}</text>',
    ]


def _signed(amount: float) -> str:
    return f"+{usd(amount)}" if amount > 0 else usd(amount)
