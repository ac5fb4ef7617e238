"""A sweep over one number as an SVG file that needs nothing else: cost with its lower bound, and who provides the compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from optimizer.report.figures import usd, usd_scale
from optimizer.report.summary import MODES
from optimizer.report.sweep_result import Sweep

COLORS = ("#0b5fff", "#00798c", "#2e933c", "#6b4f2a", "#e08e00", "#d1495b")
WIDTH, HEIGHT = 640, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 84, 112, 28, 44
TICKS = 5

Axis = Callable[[float], float]


def can_be_plotted(sweep: Sweep) -> bool:
    """One field whose values are numbers, at least two of them different, and some plan."""
    if len(sweep.fields) != 1:
        return False
    values = [point[sweep.fields[0]] for point in sweep.points]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and len(set(values)) > 1 and any("objective_usd" in row for row in sweep.rows)


def sweep_svg(sweep: Sweep) -> str:
    """Two panels over the varied field. Points without a plan are crosses on the axis."""
    name = sweep.fields[0]
    ordered = sorted(((float(point[name]), row) for point, row in sweep), key=lambda pair: pair[0])
    with_plan = [(x, row) for x, row in ordered if "objective_usd" in row]
    x_of = _scale([x for x, _ in ordered], LEFT, WIDTH - RIGHT)
    costs = [row["objective_usd"] for _, row in with_plan]
    bounds = [row.get("lower_bound_usd", row["objective_usd"]) for _, row in with_plan]
    divisor, unit = usd_scale(costs)
    y_of = _scale([*costs, *bounds], HEIGHT - BOTTOM, TOP)
    cost = [*_frame(f"{sweep.case_name}: cost, expected present value, {unit}", name, x_of, y_of, divisor)]
    cost += _line([(x_of(x), y_of(y)) for (x, _), y in zip(with_plan, bounds, strict=True)], "#999", "4 3")
    cost += _line([(x_of(x), y_of(y)) for (x, _), y in zip(with_plan, costs, strict=True)], COLORS[0])
    for (x, row), y in zip(with_plan, costs, strict=True):
        fill = COLORS[0] if row["status"] == "CERTIFIED" else "white"
        said = escape(f"{name} = {x:g}: {usd(y)}, {row['status']}")
        at = f'cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.5"'
        cost.append(f'<circle {at} fill="{fill}" stroke="{COLORS[0]}"><title>{said}</title></circle>')
    for x, row in ordered:
        if "objective_usd" not in row:
            said = escape(f"{name} = {x:g}: {row['status']}")
            at = f'x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 4}" text-anchor="middle"'
            cost.append(f'<text {at} fill="#d1495b">x<title>{said}</title></text>')
    cost += _legend([("cost", COLORS[0]), ("lower bound", "#999")])

    share_of = _scale([0.0, 1.0], HEIGHT - BOTTOM, TOP)
    share = [*_frame("share of the expected compute held or rented", name, x_of, share_of, 0.01, " %")]
    legend = []
    for word, color in zip(MODES, COLORS, strict=True):
        column = f"share_{word.replace('-', '_')}"
        values = [row.get(column, 0.0) for _, row in with_plan]
        if any(values):
            share += _line([(x_of(x), share_of(y)) for (x, _), y in zip(with_plan, values, strict=True)], color)
            legend.append((word, color))
    share += _legend(legend)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{2 * HEIGHT}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *cost, f'<g transform="translate(0,{HEIGHT})">', *share, "</g></svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside [low, high], about TICKS of them."""
    rough = (high - low) / TICKS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = scale * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


class _scale:
    """Values to places on the page."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            room = 0.05 * max(abs(low), abs(high)) or 1.0
            low, high = low - room, high + room
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _frame(title: str, label: str, x_of: _scale, y_of: _scale, divisor: float, unit: str = "") -> list[str]:
    out = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>']
    for value in ticks(x_of.low, x_of.high):
        at = x_of(value)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.6g}</text>')
    for value in ticks(y_of.low, y_of.high):
        at = y_of(value)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value / divisor:,.6g}{unit}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    return out


def _line(points: Sequence[tuple[float, float]], color: str, dashes: str = "") -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashed}/>']


def _legend(names: Sequence[tuple[str, str]]) -> list[str]:
    out = []
    for position, (name, color) in enumerate(names):
        y = TOP + 10 + 18 * position
        out.append(f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 26}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 31}" y="{y + 4}">{escape(name)}</text>')
    return out
