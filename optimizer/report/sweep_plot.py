"""A sweep over one number as an SVG file that needs nothing else: cost with its lower bound, and who provides the compute."""

from __future__ import annotations

from html import escape

from optimizer.report.figures import usd, usd_scale
from optimizer.report.line_chart import BOTTOM, COLORS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, frame, legend, line
from optimizer.report.summary import MODES
from optimizer.report.sweep_result import Sweep


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
    x_of = Scale([x for x, _ in ordered], LEFT, WIDTH - RIGHT)
    costs = [row["objective_usd"] for _, row in with_plan]
    bounds = [row.get("lower_bound_usd", row["objective_usd"]) for _, row in with_plan]
    divisor, unit = usd_scale(costs)
    y_of = Scale([*costs, *bounds], HEIGHT - BOTTOM, TOP)
    cost = [*frame(f"{sweep.case_name}: cost, expected present value, {unit}", name, x_of, y_of, divisor)]
    cost += line([(x_of(x), y_of(y)) for (x, _), y in zip(with_plan, bounds, strict=True)], "#999", "4 3")
    cost += line([(x_of(x), y_of(y)) for (x, _), y in zip(with_plan, costs, strict=True)], COLORS[0])
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
    cost += legend([("cost", COLORS[0]), ("lower bound", "#999")])

    share_of = Scale([0.0, 1.0], HEIGHT - BOTTOM, TOP)
    share = [*frame("share of the expected compute held or rented", name, x_of, share_of, 0.01, " %")]
    names = []
    for word, color in zip(MODES, COLORS, strict=True):
        column = f"share_{word.replace('-', '_')}"
        values = [row.get(column, 0.0) for _, row in with_plan]
        if any(values):
            share += line([(x_of(x), share_of(y)) for (x, _), y in zip(with_plan, values, strict=True)], color)
            names.append((word, color))
    share += legend(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{2 * HEIGHT}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *cost, f'<g transform="translate(0,{HEIGHT})">', *share, "</g></svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"
