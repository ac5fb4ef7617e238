"""Somebody's acquisitions beside the best plan."""

from __future__ import annotations

from optimizer.report import figures
from optimizer.report.page import Page, facts, grid, heading, line
from optimizer.report.result import Evaluation
from optimizer.report.summary import MEANING, MOST_ROWS, certificate_lines, cost_by_category


def evaluation_page(evaluation: Evaluation) -> Page:
    given, best = evaluation.given, evaluation.best
    page: Page = [line("The given acquisitions", "bold"), *certificate_lines(given)]
    if not given.has_values:
        page += [line(MEANING[given.status]), *(line(f"  - {sentence}") for sentence in given.conflicts or (given.reason,))]
        return page
    page += [line("\nThe best plan", "bold"), *certificate_lines(best)]
    if not best.has_values:
        return [*page, line(MEANING[best.status]), *(line(f"  - {sentence}") for sentence in best.conflicts or (best.reason,))]
    share = evaluation.above_best_usd / abs(best.objective_usd) if best.objective_usd else 0.0
    page += [
        heading("What the given acquisitions cost above the best plan"),
        facts(
            [
                ("difference", figures.usd_exact(evaluation.above_best_usd), f"{figures.percent(share)} of the best plan"),
                ("at least", figures.usd_exact(evaluation.at_least_usd), "certified"),
                ("at most", figures.usd_exact(evaluation.at_most_usd), "certified"),
            ]
        ),
    ]
    return [*page, *_cost(evaluation), *_orders(evaluation)]


def _cost(evaluation: Evaluation) -> Page:
    given, best = (cost_by_category(plan)["expected_present_value_usd"] for plan in (evaluation.given, evaluation.best))
    divisor, unit = figures.usd_scale([*given, *best])
    names = sorted({*given.index, *best.index}, key=lambda name: -abs(given.get(name, 0.0) - best.get(name, 0.0)))

    def row(name: str, mine: float, theirs: float) -> list[str]:
        return [name, figures.scaled(mine, divisor), figures.scaled(theirs, divisor), figures.scaled(mine - theirs, divisor)]

    rows = [row(str(name), float(given.get(name, 0.0)), float(best.get(name, 0.0))) for name in names]
    total = row("total", float(given.sum()), float(best.sum()))
    columns = ["category", "given", "best", "difference"]
    return [heading(f"Cost by category, expected present value, {unit}"), grid(columns, rows, total=total)]


def _orders(evaluation: Evaluation) -> Page:
    """Expected chips signed by offer, where the two differ most."""
    given, best = (
        plan.acquisitions.assign(chips=plan.acquisitions["probability"] * plan.acquisitions["count_chips"]).groupby("offer")["chips"].sum()
        for plan in (evaluation.given, evaluation.best)
    )
    names = sorted({*given.index, *best.index}, key=lambda name: -abs(given.get(name, 0.0) - best.get(name, 0.0)))[:MOST_ROWS]
    if not names:
        return []
    counts = [(str(name), float(given.get(name, 0.0)), float(best.get(name, 0.0))) for name in names]
    rows = [[name, *(figures.chips(count) for count in (mine, theirs, mine - theirs))] for name, mine, theirs in counts]
    return [heading("Chips signed over the horizon, expected"), grid(["offer", "given", "best", "difference"], rows)]
