"""The page of a comparison: of two cases, or of two plans as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.compare_files import MISSING, said
from optimizer.report.page import Page, bullets, facts, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.answer_differences import Line
    from optimizer.analysis.case_differences import Difference
    from optimizer.analysis.compare import Comparison, Side
    from optimizer.analysis.compare_plans import PlanComparison

MOST_ROWS = 12
MOST_VALUE = 32  # characters of a value
NOT_WRITTEN = "Results were not written; --out DIR would hold compare.json and its tables."
SIGNIFICANT = 1e-4
"""Of the largest entry of a table: what differs by less is how the two solves ended, and is not shown."""
WORDS = ("first", "second")
TITLES = {
    "cost": "Cost by category, expected present value",
    "kind": "Kinds of offers: compute held or rented, expected, mean of the periods, PFLOP/s (dense bf16)",
    "signed": "Chips signed over the horizon, expected",
    "rented": "Chips rented, expected, mean of the periods",
    "place": "Chips held or rented, expected, mean of the periods",
    "work": "Chips busy, expected, mean of all hours",
    "unserved": "Price of unserved work, expected present value",
}


def compare_page(found: Comparison, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    a, b = found.before, found.after
    page: Page = [line(f"{a.name} -> {b.name}: {_verdict(found)}", "bold green" if found.exit_code == 0 else "bold yellow")]
    names = column_names(found)
    rows = [_of_side(name, side) for name, side in zip(names, (a, b), strict=True)]
    if found.has_plans and found.changes:
        rows.append(("difference", figures.usd_exact(found.change_usd), _between(found.least_usd, found.most_usd)))
    page += [facts(rows), *_inputs(found, names)]
    if found.has_plans:
        page += [*_why(found, names), *_plans(found.lines, *names), *_first_year(found, names)]
        if found.changes:
            page.append(line("Amounts are those of the two plans found; another plan inside the gap may hold other ones."))
    else:
        page.append(line("One of the two has no plan, so there is no difference to explain."))
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def plan_compare_page(found: PlanComparison, where: str | None = None) -> Page:
    a, b = found.before, found.after
    same = "two plans of the same case" if found.same_case else "plans of two different cases"
    page: Page = [line(f"{a.file} -> {b.file}: {same}", "bold")]
    page.append(
        facts(
            (f"{plan.name} ({word})", figures.usd_exact(plan.cost_usd), _lower(plan.status, plan.lower_usd))
            for word, plan in (("first", a), ("second", b))
        )
    )
    told = "as read from the plans; nothing was solved"
    page.append(facts([("difference", figures.usd_exact(found.change_usd), told)]))
    if found.same_case:
        page.append(line("The least possible cost is the same, so the difference is what the dearer plan wastes beyond the other one."))
    else:
        page.append(line(f"The least possible costs of the two cases differ by something {_between(found.least_usd, found.most_usd)}."))
    page += [line(f"  {note}") for note in found.notes]
    page += [*_plans(found.lines, *WORDS), *_first_year(found, WORDS)]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def column_names(found: Comparison) -> tuple[str, str]:
    """The cases by name; by file, and in the end by place, where they have the same one."""
    stems = Path(found.before.file).stem, Path(found.after.file).stem
    return next(pair for pair in ((found.before.name, found.after.name), stems, WORDS) if pair[0] != pair[1])


def _verdict(found: Comparison) -> str:
    if not found.changes:
        return "the same inputs, so the same answer"
    if not found.has_plans:
        return "no plan to compare with"
    if found.least_usd <= 0 <= found.most_usd:
        return "no difference in cost that the certificates can tell"
    share = abs(found.change_usd / found.before.cost_usd) if found.before.cost_usd else float("nan")
    word = "dearer" if found.change_usd > 0 else "cheaper"
    return f"{figures.usd(abs(found.change_usd))} {word} ({figures.percent(share)})"


def _of_side(name: str, side: Side) -> tuple[str, str, str]:
    lower = _lower(side.status, side.lower_usd) if side.cost_usd == side.cost_usd else f"{side.status}: {side.reason}"
    return name, figures.usd_exact(side.cost_usd), lower


def _lower(status: str, lower_usd: float) -> str:
    return f"{status}, no plan costs less than {figures.usd_exact(lower_usd)}"


def _between(least: float, most: float) -> str:
    return f"certified between {figures.usd_exact(least)} and {figures.usd_exact(most)}"


def _inputs(found: Comparison, names: tuple[str, str]) -> Page:
    changes: Sequence[Difference] = found.changes
    if not changes:
        return []
    page: Page = [heading(f"What changed: {figures.counted(len(changes), 'field')} of the case")]
    rows = [[one.key, _short(one.before), _short(one.after)] for one in changes[:MOST_ROWS]]
    page.append(grid(["field", *names], rows))
    if len(changes) > MOST_ROWS:
        page.append(line(f"  and {len(changes) - MOST_ROWS:,} more"))
    if found.catalog:
        page.append(heading(f"What changed in the catalog: {figures.counted(len(found.catalog), 'number')} that a plan depends on"))
        rows = [[one.key, _short(one.before), _short(one.after)] for one in found.catalog[:MOST_ROWS]]
        page.append(grid(["number", *names], rows))
    return page


def _why(found: Comparison, names: tuple[str, str]) -> Page:
    if found.numbers:
        return _why_numbers(found, names)
    if not found.contributions:
        return []
    shown = found.contributions
    divisor, unit = figures.usd_scale([amount for one in shown for amount in (one.usd, one.lowest_usd, one.highest_usd)])

    def row(name: str, *amounts: float) -> list[str]:
        return [name, *(figures.scaled(amount, divisor) for amount in amounts)]

    rows = [row(one.name, one.usd, one.least_usd, one.most_usd, one.lowest_usd, one.highest_usd) for one in shown]
    total = [*row("difference", found.change_usd, found.least_usd, found.most_usd), "", ""]
    method = (
        f"{found.orders} random orders of change, half of them the other half backwards"
        if found.orders
        else "all orders of change (Shapley values)"
    )
    page: Page = [
        heading(f"Why: what each input adds to the cost, {unit}"),
        grid(["input", "adds", "at least", "at most", "lowest", "highest"], rows, total=total),
        line(f"Mean of {method}; {figures.counted(found.solves, 'certified solve')}. The inputs add up to the difference exactly."),
        line("At least, at most: certified. Lowest, highest: over the orders; far apart, an input is worth more or less with the others."),
    ]
    merged = [f"{one.name} go together: one without the other is no case or has no plan ({one.because})" for one in shown if one.because]
    return [*page, bullets(merged, "yellow")] if merged else page


def _why_numbers(found: Comparison, names: tuple[str, str]) -> Page:
    divisor, unit = figures.usd_scale([one.usd for one in found.numbers])
    shown = found.numbers[:MOST_ROWS]
    rows = [[one.key, figures.number(one.before), figures.number(one.after), figures.scaled(one.usd, divisor)] for one in shown]
    rest = sum(one.usd for one in found.numbers[MOST_ROWS:])
    if len(found.numbers) > MOST_ROWS:
        rows.append([f"{len(found.numbers) - MOST_ROWS:,} further numbers", "", "", figures.scaled(rest, divisor)])
    rows.append([MISSING, "", "", figures.scaled(found.missing_usd, divisor)])
    share = abs(found.missing_usd / found.change_usd) if found.change_usd else float("inf")
    page: Page = [
        heading(f"Why: what each number adds to the cost, {unit}"),
        grid(
            ["number", *names, "adds"], rows,
            total=["difference", "", "", figures.scaled(found.change_usd, divisor)],
        ),
        line(f"Derivatives summed along the straight way from one case to the other, {found.solves} certified solves (Aumann-Shapley)."),
    ]  # fmt: skip
    told = f"Derivatives are not certified. They miss {figures.usd(found.missing_usd)}, {figures.percent(share)} of the difference."
    page.append(line(told))
    if share > 0.01:
        warning = (
            "More than 1 % of the difference is missed: the plan changes its form on the way, or the gaps are too wide. Allow more "
            "--solves, ask for a smaller --gap, or use --by field."
        )
        page.append(line(warning, "yellow"))
    return page


def _plans(lines: Sequence[Line], before: str, after: str) -> Page:
    page: Page = []
    for table, title in TITLES.items():
        of_table = [one for one in lines if one.table == table]
        largest = max((abs(amount) for one in of_table for amount in (one.before, one.after)), default=0.0)
        shown = [one for one in of_table if abs(one.change) > SIGNIFICANT * largest][:MOST_ROWS]
        if not shown:
            continue
        dollars = table in ("cost", "unserved")
        divisor, unit = figures.usd_scale([amount for one in shown for amount in (one.before, one.after)]) if dollars else (1.0, "")

        def amount(value: float, divisor: float = divisor, dollars: bool = dollars) -> str:
            return figures.scaled(value, divisor) if dollars else figures.chips(value)

        rows = [[figures.name(one.name), *(amount(value) for value in (one.before, one.after, one.change))] for one in shown]
        total = None
        if table == "cost":
            total = ["total", *(amount(sum(values)) for values in zip(*((o.before, o.after, o.change) for o in of_table), strict=True))]
        page += [heading(f"{title}{f', {unit}' if dollars else ''}"), grid(["", before, after, "change"], rows, total=total)]
    return page


def _first_year(found: Comparison | PlanComparison, names: tuple[str, str]) -> Page:
    largest = max((amount for one in found.first_year for amount in (one.before_chips, one.after_chips)), default=0.0)
    shown = [one for one in found.first_year if max(one.before_chips, one.after_chips) > SIGNIFICANT * largest]
    if not shown:
        return []
    shown.sort(key=lambda one: -one.both_chips)
    rows = [
        [f"{figures.name(one.offer)}{f' ({one.scenario})' if one.scenario else ''}", one.signing_date, figures.chips(one.before_chips),
         figures.chips(one.after_chips), figures.chips(one.both_chips)]
        for one in shown[:MOST_ROWS]
    ]  # fmt: skip
    page: Page = [
        heading(f"Orders of the first year, before {found.last_day}, chips: what both plans sign"),
        grid(["offer", "signed", *names, "both"], rows, words=2),
    ]
    if len(shown) > MOST_ROWS:
        page.append(line(f"  and {len(shown) - MOST_ROWS:,} more"))
    return page


def _short(value: object) -> str:
    text = said(value)
    return text if len(text) <= MOST_VALUE else f"{text[: MOST_VALUE - 3]}..."
