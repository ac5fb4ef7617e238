"""The page of a ranking of uncertain inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optimizer.report import figures
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken
from optimizer.report.sweep_page import WORDS

if TYPE_CHECKING:
    from optimizer.analysis.ranges import Range
    from optimizer.analysis.rank import Influence, Rank

COST = "objective_usd"
RESOLVED = 1e-4
"""Share of the variance from which on the certified gaps are no longer small: an index may be off by some four times its root."""
MOST_INPUTS = 20
MOST_REASONS = 4
BAR = 10
NOT_WRITTEN = "Results were not written; --out DIR would hold rank.csv, rank.json, rank.svg and every point, and go on after a kill."


def rank_page(found: Rank, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    what = {"sobol": "Sobol indices", "morris": "elementary effects"}[found.method]
    of = f"{found.samples} {'rows' if found.method == 'sobol' else 'trajectories'}, seed {found.seed}"
    title = f"{found.case_name}: {figures.counted(len(found.ranges), 'uncertain input')}, {what} from {found.points:,} plans ({of})"
    page: Page = [line(title, "bold green" if found.exit_code == 0 else "bold yellow")]
    if found.solved < found.points:
        page.append(line(f"{found.points - found.solved:,} points of an earlier run taken as they were, {found.solved:,} solved now."))
    if found.refused:
        page.append(line(f"NO INDICES: {found.refused}", "yellow"))
    else:
        page += [*_spread(found), *_table(found), *_others(found)]
    page += _missing(found)
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _spread(found: Rank) -> Page:
    mean, deviation, least, most = map(figures.usd, (found.mean_usd, found.deviation_usd, found.least_usd, found.most_usd))
    page: Page = [line(f"Optimal cost: mean {mean}, standard deviation {deviation}, from {least} to {most}.")]
    if found.gap_share >= 1:
        return [*page, line("It moves by no more than the certified gaps: no input is ranked by it. Ask for a smaller --gap.", "yellow")]
    page.append(line(f"The certified gaps could explain at most {figures.small(found.gap_share)} of its variance."))
    if found.gap_share > RESOLVED:
        page.append(line(f"That is not small: an index may be off by {4 * math.sqrt(found.gap_share):.1g}.", "yellow"))
    return page


def _table(found: Rank) -> Page:
    """The name stands last: long ones are folded, and stay in one piece there."""
    if not found.outputs:
        return [line("No share of the compute moves either.")]
    output = found.outputs[0]
    shown = found.of(output)[:MOST_INPUTS]
    what = "the optimal cost depends on" if output == COST else f"the share of {WORDS[output]} compute depends on"
    some = "" if len(shown) == len(found.ranges) else f" ({len(shown)} of {len(found.ranges)} inputs)"
    said = {one.key: _range(one) for one in found.ranges}
    if found.method == "sobol":
        rows = [
            [_index(one.total), f"{_index(one.total_low)} - {_index(one.total_high)}", _index(one.first),
             "#" * round(BAR * min(max(one.total, 0.0), 1.0)), f"{one.key}: {said[one.key]}"]
            for one in shown
        ]  # fmt: skip
        alone = sum(one.first for one in found.of(output))
        told = (
            "total: share of the variance that would be left if everything else were known; first: what knowing it would take away. "
            f"The first-order indices add up to {_index(alone)}; the rest to 1 is interplay and the error of the sample. Intervals of 95 %."
        )
        columns = ["total", "interval", "first", "", "input and range"]
    else:
        divisor, unit = figures.usd_scale([one.total for one in shown]) if output == COST else (0.01, "points")
        most = max((one.total for one in shown), default=0.0) or 1.0

        def amount(value: float) -> str:
            return f"{value / divisor:,.2f}" if output != COST else figures.scaled(value, divisor)

        rows = [
            [amount(one.total), f"{amount(one.total_low)} - {amount(one.total_high)}", amount(one.first), amount(one.sigma),
             "#" * round(BAR * one.total / most), f"{one.key}: {said[one.key]}"]
            for one in shown
        ]  # fmt: skip
        told = (
            f"In {unit} per whole range. mu*: mean size of an elementary effect, with its 95 % interval; mu: with its sign; sigma: how "
            "much it differs from place to place (not linear, or interplay)."
        )
        columns = ["mu*", "interval", "mu", "sigma", "", "input and range"]
    page: Page = [heading(f"What {what}{some}"), grid(columns, rows, words=len(columns)), line(told)]
    if found.method == "morris" and output == COST:
        page.append(line(f"The certified gaps can move a mu* by at most {figures.usd(found.gap_effect_usd)}."))
    return page


def _others(found: Rank) -> Page:
    """The same for the shares of the compute, one column each."""
    outputs = [output for output in found.outputs[1:] if output in WORDS]
    if not outputs:
        return []
    of: dict[tuple[str, str], Influence] = {(one.key, one.output): one for one in found.influences}
    shown = [one.key for one in found.of(found.outputs[0])][:MOST_INPUTS]
    if found.method == "sobol":
        title = "What the shares of the compute depend on: total indices"
        rows = [[key, *(_index(of[key, output].total) for output in outputs)] for key in shown]
    else:
        title = "What the shares of the compute depend on: mu*, points per whole range"
        rows = [[key, *(f"{100 * of[key, output].total:.2f}" for output in outputs)] for key in shown]
    told = "Shares are those of the plans found: where several plans cost the same, some of their movement is arbitrary."
    return [heading(title), grid(["input", *(WORDS[output] for output in outputs)], rows), line(told)]


def _missing(found: Rank) -> Page:
    if not found.missing:
        return []
    count = sum(points for _, points in found.missing)
    if found.method == "sobol":
        told = f"{figures.counted(found.left_out, 'row')} of the sample replaced by further ones"
    else:
        told = f"{found.left_out} of {found.samples} trajectories left out"
    handled = "" if found.refused else f"; {told}, so the indices are about the rest of the ranges"
    reasons = [f"{figures.counted(points, 'point')}: {reason}" for reason, points in found.missing[:MOST_REASONS]]
    return [heading(f"Points without a plan: {count:,} of {found.points:,}{handled}"), bullets(reasons, "yellow")]


def _range(one: Range) -> str:
    return f"{figures.number(one.lowest)} - {figures.number(one.highest)}{' log' if one.log else ''}"


def _index(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.005 or value == 0 else "~0"
