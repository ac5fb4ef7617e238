"""The page of a sensitivity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken
from optimizer.report.sensitivity_files import change_of

if TYPE_CHECKING:
    from optimizer.analysis.sensitivity import Sensitivity, Worth

MOST_FIELDS = 12
NOT_WRITTEN = "Results were not written; --out DIR would hold sensitivity.csv, sensitivity.json and sensitivity.svg."
MARKS = {
    "agrees": "the derivative lies between the certified quotients of the two re-solves",
    "curves": "the derivative is that of the case as it is; it changes on the way of the step",
    "bends": "one step up and one step down are worth different amounts: use the side that you mean",
    "differs": "neither plan nor prices are unique here: the re-solves are what counts, not the derivative",
    "not resolved": "the gap of the re-solves is too wide to check the derivative: ask for a smaller --gap",
    "one side": "to one side there is no such number, such as a share above one, or no certified plan",
}


def sensitivity_page(found: Sensitivity, where: str | None = None, named: tuple[str, ...] = ()) -> Page:
    """`where`: the directory that the results were written to; `named`: fields to show whatever they are worth."""
    c = found.certificate
    style = "bold green" if found.exit_code == 0 else "bold yellow"
    page: Page = [line(f"{found.case_name}: {c.status.name}, {figures.usd(c.objective)}", style), line(c.reason)]
    if not found.fields:
        return [*page, line("There is no plan, so nothing has a worth.")]
    shown = [worth for worth in found.fields if worth.rank > 0][:MOST_FIELDS]
    shown += [worth for worth in found.fields if worth.key in named and worth not in shown]
    step = f"{100 * found.step:g} %"
    page += [
        heading(f"What {step} of a number is worth: {len(shown)} of {len(found.fields):,} fields"),
        grid([f"-{step}", f"+{step}", "one more", "re-solved", "field and value"], [_row(found, w) for w in shown], words=5),
        line("Dollars of expected present cost; a plus is dearer. The plan adapts to every change."),
    ]
    used = [mark for mark in MARKS if any(worth.mark == mark for worth in shown)]
    if used:
        page += [heading("Re-solved"), bullets([f"{mark}: {MARKS[mark]}" for mark in used])]
    if any(not worth.alone for worth in shown):
        page.append(line("Shares and probabilities move with the others rescaled, so that they still add up to one."))
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _row(found: Sensitivity, worth: Worth) -> list[str]:
    """The name stands last: long ones are folded, and stay in one piece there."""
    down, up, _ = change_of(worth, found.step)
    named = f"{worth.key} = {figures.number(worth.value)}" + (" (assumed)" if worth.assumed else "")
    unit = "$" if worth.natural_unit.startswith("$") else worth.natural_unit.replace("point per year", "0.01")
    more = f"{figures.usd(worth.usd_per_natural_step)} / {unit}"
    return [figures.usd(down), figures.usd(up), more, worth.mark or figures.NOTHING, named]
