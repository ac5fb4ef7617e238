"""The value of an offer on disk: value.json, value_curve.csv, value_displaced.csv and value.svg."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.analysis_files import write_analysis
from optimizer.report.figures import usd_scale
from optimizer.report.line_chart import Chart, Series, charts_svg

if TYPE_CHECKING:
    from optimizer.analysis.deals import AtPrice, Lot, Value
    from optimizer.analysis.what_if import Answer


def write_value(found: Value, directory: str | Path) -> Path:
    """Raises OSError."""
    rows = [curve_row(point) for point in found.curve]
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "offer": found.columns.name,
        "offers": found.columns.offers,
        "worth_usd": {"least": found.worth_usd[0], "most": found.worth_usd[1]},
        "highest_price_factor": {"least": found.highest_factor[0], "most": found.highest_factor[1], "most_is_estimate": found.queues},
        "with_offer": answer_row(found.with_offer.answer),
        "without_offer": answer_row(found.without),
        "lot": None if found.lot is None else lot_row(found.lot),
        "curve": rows,
        "displaced": found.displaced,
        "solves": found.solves,
    }
    known = [point for point in found.curve if point.answer.has_plan]
    svg = _svg(found, known) if len(known) > 1 else None
    return write_analysis(directory, "value", document, {"value_curve": rows, "value_displaced": found.displaced}, {"value": svg})


def answer_row(answer: Answer) -> dict[str, Any]:
    return {
        "status": answer.status, "reason": answer.reason, "cost_usd": answer.cost_usd if answer.has_plan else math.nan,
        "lower_bound_usd": answer.lower_bound_usd if answer.has_plan else math.nan,
    }  # fmt: skip


def curve_row(point: AtPrice) -> dict[str, Any]:
    use = point.use
    more = {"signed_chips": use.signed_chips, "chip_years": use.chip_years, "paid_at_list_price_usd": use.paid_usd}
    return {"price_factor": point.factor, **answer_row(point.answer), **more, "paid_usd": point.factor * use.paid_usd}


def lot_row(lot: Lot) -> dict[str, Any]:
    return {
        "count_chips": lot.count_chips,
        "worth_usd": {"least": lot.worth_usd[0], "most": lot.worth_usd[1]},
        "price_usd": lot.price_usd,
        "paid_at_its_price_usd": lot.paid_usd,
        "gain_usd": {"least": lot.gain_usd[0], "most": lot.gain_usd[1]},
        "best_fraction": lot.best_fraction,
        "excluding_price": answer_row(lot.excluding_price),
        "at_price": answer_row(lot.at_price),
        "any_part": answer_row(lot.any_part),
    }


def _svg(found: Value, known: list[AtPrice]) -> str:
    """How much is taken at which price, and the least cost."""
    costs = [point.answer.cost_usd for point in known]
    divisor, unit = usd_scale(costs)
    label = f"price of {found.columns.name}, times what it is"
    taken = Series("taken", [(point.factor, point.use.chip_years) for point in known])
    cost = Series("with it", list(zip([point.factor for point in known], costs, strict=True)))
    series = [cost]
    if found.without.has_plan:
        ends = known[0].factor, known[-1].factor
        series.append(Series("without it", [(x, found.without.cost_usd) for x in ends], dashed=True, marks=False))
    return charts_svg([
        Chart(f"{found.case_name}: chip-years of {found.columns.name} in the best plan", label, [taken]),
        Chart(f"{found.case_name}: least cost, {unit}", label, series, divisor),
    ])  # fmt: skip
