"""Lines over a number as an SVG file that needs nothing else: frontiers, demand curves, break-even curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLORS = ("#0b5fff", "#00798c", "#2e933c", "#6b4f2a", "#e08e00", "#d1495b")
WIDTH, HEIGHT = 640, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 84, 112, 28, 44
TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line through `points` (x, y), in the order given, broken where one is not finite.
    `said`: what a point tells under the mouse; `marks`: draw its points."""

    name: str
    points: Sequence[tuple[float, float]]
    said: Sequence[str] = ()
    dashed: bool = False
    marks: bool = True


@dataclass(frozen=True)
class Chart:
    """A panel. `divisor` turns a value into what stands at the axis (1e9 for billions), `unit` follows it there."""

    title: str
    x_label: str
    series: Sequence[Series]
    divisor: float = 1.0
    unit: str = ""
    x_divisor: float = 1.0


def charts_svg(charts: Sequence[Chart]) -> str:
    """Panels one below the other; points that are not finite are left out, and so is a panel without any."""
    drawn = [chart for chart in charts if _points(chart)]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(drawn)}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for position, chart in enumerate(drawn):
        out += [f'<g transform="translate(0,{HEIGHT * position})">', *_panel(chart), "</g>"]
    return "\n".join([*out, "</svg>"]) + "\n"


def _points(chart: Chart) -> list[tuple[float, float]]:
    return [point for series in chart.series for point in series.points if all(map(math.isfinite, point))]


def _panel(chart: Chart) -> list[str]:
    points = _points(chart)
    x_of = Scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_of = Scale([y for _, y in points], HEIGHT - BOTTOM, TOP)
    out = frame(chart.title, chart.x_label, x_of, y_of, chart.divisor, chart.unit, chart.x_divisor)
    names = []
    for position, series in enumerate(chart.series):
        color = COLORS[position % len(COLORS)]
        kept = [(i, x, y) for i, (x, y) in enumerate(series.points) if math.isfinite(x) and math.isfinite(y)]
        if not kept:
            continue
        for run in _runs([i for i, _, _ in kept]):
            out += line([(x_of(x), y_of(y)) for i, x, y in kept if i in run], color, "4 3" if series.dashed else "")
        for i, x, y in kept if series.marks else ():
            told = series.said[i] if i < len(series.said) else f"{series.name}: {x:.6g}, {y / chart.divisor:.6g}{chart.unit}"
            at = f'cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.5"'
            out.append(f'<circle {at} fill="{color}"><title>{escape(told)}</title></circle>')
        names.append((series.name, color))
    return out + legend(names)


def _runs(positions: Sequence[int]) -> list[set[int]]:
    """Positions that follow each other: a point that is not finite breaks the line."""
    found: list[set[int]] = []
    for before, position in zip([-2, *positions], positions, strict=False):
        if position != before + 1:
            found.append(set())
        found[-1].add(position)
    return found


class Scale:
    """Values to places on the page."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            room = 0.05 * max(abs(low), abs(high)) or 1.0
            low, high = low - room, high + room
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside [low, high], about TICKS of them."""
    rough = (high - low) / TICKS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = scale * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def frame(title: str, label: str, x_of: Scale, y_of: Scale, divisor: float, unit: str = "", x_divisor: float = 1.0) -> list[str]:
    """Title, grid and numbers of a panel."""
    out = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>']
    for value in ticks(x_of.low, x_of.high):
        at = x_of(value)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value / x_divisor:.6g}</text>')
    for value in ticks(y_of.low, y_of.high):
        at = y_of(value)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value / divisor:,.6g}{unit}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    return out


def line(points: Sequence[tuple[float, float]], color: str, dashes: str = "") -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashed}/>']


def legend(names: Sequence[tuple[str, str]]) -> list[str]:
    """(name, colour) each, right of the panel."""
    out = []
    for position, (name, color) in enumerate(names):
        y = TOP + 10 + 18 * position
        out.append(f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 26}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 31}" y="{y + 4}">{escape(name)}</text>')
    return out
