"""The pages of a goal and of an inverse plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.page import Page, bullets, facts, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.goal import Goal
    from optimizer.analysis.inverse import Inverse, Regret
    from optimizer.analysis.what_if import Answer

GOAL_NOT_WRITTEN = "Results were not written; --out DIR would hold goal.csv, goal_points.csv, goal.json and goal.svg."
INVERSE_NOT_WRITTEN = "Results were not written; --out DIR would hold inverse.csv, inverse_points.csv, inverse.json and inverse.svg."
SIZES = {"l2": "root of the sum of squares of the relative changes", "l1": "sum of the relative changes"}
DIGITS = 5e-4  # relative: half of the last of the four digits of an amount
HELD = "A number of a catalog row moves with what may serve what as it is; a field of the case is read again with all that hangs on it."


def goal_page(found: Goal, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    good = found.exit_code == 0
    page: Page = [line(f"{found.case_name}: {found.target.text}: {found.verdict.upper()}", "bold green" if good else "bold yellow")]
    if not found.before.has_plan:
        page += [line(f"The case as it is has no plan: {found.before.status}."), bullets([found.before.reason or "No reason is known."])]
        return [*page, _results(where, GOAL_NOT_WRITTEN)]
    page += [line(_said(found)), facts(_answers(found))]
    moved = [f for f in found.fields if f.change != 0]
    if moved:
        title = "The change" if found.verdict == "met" else "The change that comes nearest, of those tried"
        page += [heading(title), grid(["from", "to", "change", "not yet at", "worth", "field"], [_goal_row(f) for f in moved], words=6)]
        page.append(line(f"size {figures.number(found.size)}: {SIZES[found.norm]}" + _proven_size(found.size_at_least)))
        notes = ["worth: what the cost changes by because this field moves too, the others as shown; certified re-solves"]
        if any(math.isfinite(f.refused) for f in moved):
            notes.append("not yet at: the target is certified not to be met there, on the straight way from the start")
        still = [f.key for f in found.fields if f.change == 0]
        notes += [f"not moved: {', '.join(still)}"] if still else []
        notes += [HELD] if any(not f.in_case for f in moved) else []
        notes += [found.claim[:1].upper() + found.claim[1:]] if found.claim else []
        page.append(bullets(notes))
    page.append(line(f"{figures.counted(found.solves, 'solve')}, each to the gap asked"))
    return [*page, _results(where, GOAL_NOT_WRITTEN)]


def _said(found: Goal) -> str:
    if found.verdict == "met already":
        return "The case as it is meets the target; nothing has to change."
    if found.verdict == "met":
        return "The best plan of the changed case meets the target, certified."
    if found.verdict == "out of reach":
        least = figures.usd_exact(found.least_cost_usd)
        return f"No change inside the ranges meets the target: the cost stays at or above {least}, certified."
    return "No change inside the ranges was found that meets the target. That is no proof: widen the ranges or name other fields."


def _answers(found: Goal) -> list[tuple[str, str, str]]:
    rows = []
    for name, answer in (("as it is", found.before), ("with the change", found.after)):
        if answer is None or (name != "as it is" and answer is found.before):
            continue
        bound = figures.usd_exact(answer.lower_bound_usd)
        rows.append((f"cost {name}", figures.usd_exact(answer.cost_usd), f"{answer.status}; no plan below {bound}"))
    if found.target.of_cost:
        return [*rows, ("target", figures.usd_exact(found.limit), "at most")]
    for name, answer in (("as it is", found.before), ("with the change", found.after)):
        if answer is not None and answer.has_plan and not (name != "as it is" and answer is found.before):
            rows.append((f"{found.target.measure} {name}", f"{found.target.bracket(answer)[0]:.6g}", "of the certified plan"))
    return [*rows, ("target", f"{found.limit:.6g}", "at least" if found.target.at_least else "at most")]


def _goal_row(f) -> list[str]:
    return [_value(f.start), _value(f.end), _change(f), _value(f.refused), _bracket(*f.alone_usd), f.key]


def inverse_page(found: Inverse, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    good = found.exit_code == 0
    title = f"{found.case_name}: the given acquisitions: {found.verdict.upper()}"
    page: Page = [line(title, "bold green" if good else "bold yellow")]
    if not found.before.known:
        told = [("The given acquisitions have", found.before.given), ("The case as it is has", found.before.best)]
        sentences = [f"{who} no certified plan: {answer.status}. {answer.reason}" for who, answer in told if not answer.has_plan]
        return [*page, bullets(sentences), _results(where, INVERSE_NOT_WRITTEN)]
    page += [line(_inverse_said(found)), facts(_regrets(found))]
    moved = [f for f in found.fields if f.change != 0]
    if moved:
        rows = [[_value(f.start), _value(f.end), _change(f), _bracket(*f.alone_usd), f.key] for f in moved]
        page += [heading("The change"), grid(["from", "to", "change", "regret without it", "field"], rows, words=5)]
        page.append(line(f"size {figures.number(found.size)}: {SIZES[found.norm]}" + _proven_size(found.size_at_least)))
        still = [f.key for f in found.fields if f.change == 0]
        notes = [f"not moved: {', '.join(still)}"] if still else []
        notes += [HELD] if any(not f.in_case for f in moved) else []
        notes.append(
            "The regret is convex in these fields (only costs of orders or probabilities change): what is proven holds in the whole ranges"
            if found.convex
            else "The regret need not be convex in these fields: the change is the best that was found, and a smaller one may exist"
        )
        page.append(bullets(notes))
    page.append(line(f"{figures.counted(found.solves, 'solve')}, each to the gap asked"))
    return [*page, _results(where, INVERSE_NOT_WRITTEN)]


def _inverse_said(found: Inverse) -> str:
    gaps = f"up to the gaps asked of the two solves ({figures.usd(found.within_usd)})"
    if found.verdict == "best already":
        return f"The acquisitions are the best plan of the case as it is, {gaps}."
    if found.verdict == "made best":
        return f"With this change the acquisitions are the best plan, {gaps}."
    if found.verdict == "not told apart":
        return (
            "With this change the acquisitions cannot be told from the best plan: the bracket of their regret holds 0, and is wider than "
            "the gap asked."
        )
    if found.verdict == "cannot be made best":
        least = figures.usd_exact(found.regret_at_least_usd)
        return f"These fields cannot make the acquisitions best: at least {least} of regret remain anywhere inside these ranges, certified."
    least = figures.usd_exact(found.after.at_least_usd)
    return (
        f"No change was found that makes the acquisitions best: at least {least} of regret remain at the point shown. That is no proof for "
        "the rest of the ranges."
    )


def _regrets(found: Inverse) -> list[tuple[str, str, str]]:
    rows = []
    both = (("as it is", found.before), ("with the change", found.after))
    for name, regret in both if found.after is not found.before else both[:1]:
        rows += [_cost(f"given, {name}", regret.given), _cost(f"best, {name}", regret.best), _regret(f"regret, {name}", regret)]
    return rows


def _cost(name: str, answer: Answer) -> tuple[str, str, str]:
    return name, figures.usd_exact(answer.cost_usd), f"{answer.status}; not below {figures.usd_exact(answer.lower_bound_usd)}"


def _regret(name: str, regret: Regret) -> tuple[str, str, str]:
    return name, figures.usd_exact(regret.at_least_usd), f"to {figures.usd_exact(regret.at_most_usd)}, certified"


def _proven_size(least: float) -> str:
    return f"; proven: not below {figures.number(least)}" if least > 0 else ""


def _value(value: float) -> str:
    """Nine digits: one field's value that meets a target and the next that does not differ late."""
    if not math.isfinite(value):
        return figures.NOTHING
    return f"{value:,.9g}" if abs(value) < 1e9 else f"{value:.9g}"


def _change(f) -> str:
    if not f.relative:
        return f"{100 * f.change:+.4g} points"
    return f"{100 * f.change:+.4g} %"


def _bracket(low: float, high: float) -> str:
    """One amount where both ends are alike to the digits shown; the files hold both."""
    if high - low <= DIGITS * max(abs(low), abs(high)):
        return figures.usd((low + high) / 2)
    return f"{figures.usd(low)} to {figures.usd(high)}"


def _results(where: str | None, absent: str):
    return unbroken(f"\nResults: {where}") if where else line(f"\n{absent}")
