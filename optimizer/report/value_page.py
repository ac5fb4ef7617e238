"""The page of an offer's value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.deals import Lot, Value

MOST_DISPLACED = 8
NOT_WRITTEN = "Results were not written; --out DIR would hold value.json, value_curve.csv, value_displaced.csv and value.svg."


def value_page(found: Value, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    name, here = found.columns.name, found.with_offer.answer
    style = "bold green" if found.exit_code == 0 else "bold yellow"
    page: Page = [line(f"{found.case_name}: {name} is worth {bracket(found.worth_usd)}", style)]
    page.append(line(f"With it: {here.status}, {figures.usd(here.cost_usd)}. Without it: {_without(found)}."))
    if not here.has_plan:
        return [*page, line(here.reason)]
    page += [bullets([_highest(found), _average(found)]), *_curve(found), *_displaced(found)]
    if found.lot is not None:
        page += _lot(found.lot, name)
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def bracket(ends: tuple[float, float]) -> str:
    """Dollars between two certified ends; one number where they are the same to four digits."""
    low, high = ends
    if math.isinf(low):
        return "all: without it no plan meets the limits"
    if math.isnan(low):
        return "an amount that is not known: there is no certified plan on both sides"
    texts = figures.usd(low), figures.usd(high)
    return texts[0] if texts[0] == texts[1] else f"between {texts[0]} and {texts[1]}"


def _without(found: Value) -> str:
    a = found.without
    return f"{a.status}, {figures.usd(a.cost_usd)}" if a.has_plan else f"{a.status}. {a.reason}".rstrip(". ")


def _highest(found: Value) -> str:
    least, most = found.highest_factor
    if math.isnan(most):
        return "The highest price worth paying is not known."
    if math.isinf(most):
        return "No price is too high: nothing else meets the limits, or its price does not enter its cost."
    if most <= 0:
        return "It is worth nothing at any price."
    above = f"above about {most:.4g} times (an estimate)" if found.queues else f"above {most:.4g} times its price it is worth nothing"
    if least <= 0:
        return f"Highest price worth paying: {above}; at no price that was tried is it sure to be worth more than the gaps."
    return f"Highest price worth paying: at least {least:.4g} times its price; {above}."


def _average(found: Value) -> str:
    use = found.with_offer.use
    if not use.paid_usd > 0:
        return "The best plan takes none of it."
    most = 1 + found.worth_usd[0] / use.paid_usd if math.isfinite(found.worth_usd[0]) else math.inf
    paid = f"The best plan pays {figures.usd(use.paid_usd)} for {figures.number(use.chip_years)} chip-years of it (present value)"
    return f"{paid}; all of that, or nothing, would still be worth {most:.4g} times the price." if math.isfinite(most) else f"{paid}."


def _curve(found: Value) -> Page:
    divisor, unit = figures.usd_scale([point.answer.cost_usd for point in found.curve])
    rows = []
    for point in found.curve:
        a, use = point.answer, point.use
        cost = figures.scaled(a.cost_usd, divisor) if a.has_plan else figures.NOTHING
        amounts = figures.chips(use.signed_chips), figures.number(use.chip_years), figures.usd(point.factor * use.paid_usd)
        rows.append([f"{point.factor:.4g}", a.status, cost, *amounts])
    columns = ["times its price", "status", f"cost {unit}", "signed chips", "chip-years", "paid"]
    return [heading("How much the best plan takes at which price"), grid(columns, rows, words=2)]


def _displaced(found: Value) -> Page:
    rows = [row for row in found.displaced if abs(float(row["change_chip_years"])) >= 0.5][:MOST_DISPLACED]  # type: ignore[arg-type]
    if not rows:
        return []
    names = "chip_years_without", "chip_years_with", "change_chip_years"
    cells = [[f"{row['mode']} {row['chip']}", str(row["place"]), *(figures.number(float(row[n])) for n in names)] for row in rows]  # type: ignore[arg-type]
    return [heading("What it displaces, expected chip-years"), grid(["", "place", "without it", "with it", "change"], cells, words=2)]


def _lot(lot: Lot, name: str) -> Page:
    all_of_it = f"All {figures.chips(lot.count_chips)} chips are worth {bracket(lot.worth_usd)}, their price left out"
    sentences = [
        "They are signed when the terms allow, on several dates if those do.",
        f"{all_of_it}; used like that, their price would come to {figures.usd(lot.price_usd)}.",
    ]
    if lot.at_price.has_plan:
        paid = f"At their price the plan pays {figures.usd(lot.paid_usd)} for them"
        sentences.append(f"{paid}, and taking all of them gains {bracket(lot.gain_usd)}.")
    else:
        sentences.append(f"With all of them at their price: {lot.at_price.status}. {lot.at_price.reason}")
    if not lot.excluding_price.has_plan:
        sentences.append(f"With all of them for nothing: {lot.excluding_price.status}. {lot.excluding_price.reason}")
    if math.isfinite(lot.best_fraction):
        sentences.append(f"Where any part may be taken, the best is {figures.percent(lot.best_fraction)} of the lot.")
    return [heading(f"{name} as a lot, all or nothing"), bullets(sentences)]
