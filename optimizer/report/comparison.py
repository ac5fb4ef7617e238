"""Somebody's acquisitions beside the best plan."""

from __future__ import annotations

from optimizer.report import figures
from optimizer.report.frames import sums
from optimizer.report.page import Page, bullets, facts, grid, heading, line
from optimizer.report.result import Evaluation
from optimizer.report.summary import MEANING, MOST_ROWS, certificate_lines, cost_by_category


def evaluation_page(evaluation: Evaluation) -> Page:
    given, best = evaluation.given, evaluation.best
    page: Page = [line("The given acquisitions", "bold"), *certificate_lines(given)]
    if not given.has_values:
        page += [line(MEANING[given.status]), bullets(given.conflicts or (given.reason,))]
        return page
    page += [line("\nThe best plan", "bold"), *certificate_lines(best)]
    if not best.has_values:
        return [*page, line(MEANING[best.status]), bullets(best.conflicts or (best.reason,))]
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
    given, best = ({name: amounts[1] for name, amounts in cost_by_category(plan).items()} for plan in (evaluation.given, evaluation.best))
    divisor, unit = figures.usd_scale([*given.values(), *best.values()])
    pairs = sorted(_side_by_side(given, best), key=lambda row: -abs(row[1] - row[2]))

    def row(name: str, mine: float, theirs: float) -> list[str]:
        return [name, *(figures.scaled(amount, divisor) for amount in (mine, theirs, mine - theirs))]

    total = row("total", sum(given.values()), sum(best.values()))
    columns = ["category", "given", "best", "difference"]
    title = f"Cost by category, expected present value, {unit}"
    return [heading(title), grid(columns, [row(*pair) for pair in pairs], total=total)]


def _orders(evaluation: Evaluation) -> Page:
    """Expected chips signed by offer, where the two differ most."""
    tables = [plan.columns.acquisitions for plan in (evaluation.given, evaluation.best)]
    orders = [table.only(table["order"] == "order") for table in tables]
    given, best = (
        {offer: chips for (offer,), (chips,) in sums(table, ["offer"], ["count_chips"], "probability").items()} for table in orders
    )
    pairs = sorted(_side_by_side(given, best), key=lambda row: -abs(row[1] - row[2]))[:MOST_ROWS]
    rows = [[name, *(figures.chips(count) for count in (mine, theirs, mine - theirs))] for name, mine, theirs in pairs]
    if not rows:
        return []
    return [heading("Chips signed over the horizon, expected"), grid(["offer", "given", "best", "difference"], rows)]


def _side_by_side(given: dict[str, float], best: dict[str, float]) -> list[tuple[str, float, float]]:
    return [(name, given.get(name, 0.0), best.get(name, 0.0)) for name in {**best, **given}]
