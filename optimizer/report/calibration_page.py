"""How wrong the calibrated models are, and what a user's own measurements changed, as pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from optimizer.performance.training_calibration import ErrorRow as TrainingErrorRow
from optimizer.performance.training_calibration import TrainingFit
from optimizer.performance.training_parameters import error_table
from optimizer.report import figures
from optimizer.report.page import Page, facts, grid, heading, line

if TYPE_CHECKING:  # these load jax, which the page of training does not need
    from datetime import date

    from optimizer.performance.efficiency_parameters import Normal
    from optimizer.performance.first_token_errors import FirstTokenReport
    from optimizer.performance.own_measurements import OwnFit
    from optimizer.performance.serving_errors import ErrorReport, ErrorRow

COLUMNS = ("points", "mean", "median", "p90", "bias")
FEWEST_SHOWN = 1e-3
"""A parameter that moved by fewer standard deviations is not listed."""
GROWTH, GROWTH_FACTOR = 0.01, 1.15
"""A mean error that grew by less than this share, or by less than this factor, is the scatter of good measurements."""


def serving_page(report: ErrorReport, first: FirstTokenReport, fitted_from: str, day: date) -> Page:
    """`fitted_from`, `day`: of the calibration that the catalog has; the errors are of fits made now."""
    page: Page = [
        line(f"Serving: calibration of {day.isoformat()}, fitted to {fitted_from}"),
        heading("Errors: predicted / measured - 1 of output tokens per second and chip"),
        _errors("test", report.rows),
        heading("Leave one point out, by chip"),
        _errors("chip", report.by_chip),
        heading("Leave one point out, by model"),
        _errors("model", report.by_model),
        heading("Worst points, left out"),
        grid(("point", "error"), [(name, _signed(error)) for name, error in report.worst]),
        heading("What plans carry"),
        facts(
            [
                ("log std of a throughput", figures.number(report.residual_log_std["slo_only"]), "from the latency target alone"),
                ("", figures.number(report.residual_log_std["given_batch"]), "with the batch known"),
                ("mean / p99 TPOT", figures.number(report.tpot_mean_over_p99.value), f"log std {report.tpot_mean_over_p99.log_std:.2g}"),
            ]
        ),
    ]
    kinds = dict.fromkeys(row.scheduling for row in first.rows)
    tests = [("all with a token budget", first.summary()), *((kind.replace("_", " "), first.summary(kind)) for kind in kinds)]
    rows = [(name, str(count), f"{ratio:.2f}", f"{factor:.2f}") for name, (count, ratio, factor) in tests]
    return [
        *page,
        heading("p99 time to first token, never fitted: predicted / measured"),
        grid(("runs", "count", "geometric mean", "typical factor"), rows),
        line(f"  {figures.counted(first.without_budget, 'run')} without a stated token budget left out."),
    ]


def training_page(fit: TrainingFit, fitted_from: str, day: date) -> Page:
    columns, rows = error_table(fit.errors)
    spread = ", ".join(f"{kind} {value:.2f}" for kind, value in fit.residual_log_std.items())
    left_out = figures.counted(len(fit.not_fitted), "row")
    return [
        line(f"Training: calibration of {day.isoformat()}, fitted to {fitted_from}"),
        heading("Errors: predicted / measured - 1 of TFLOP/s per chip"),
        grid(columns, rows, words=2),
        line(f"  log std left out: {spread}; {left_out} kept and not fitted."),
    ]


def growth_warning(rows: Sequence[ErrorRow] | Sequence[TrainingErrorRow]) -> str | None:
    """What is wrong where a fit is worse on the points that it was made of than what it started from; the first row is before it."""
    before, *after = rows
    worst = max(after, key=lambda row: row.mean_absolute)
    if worst.mean_absolute <= max(before.mean_absolute + GROWTH, before.mean_absolute * GROWTH_FACTOR):
        return None
    change = f"from {_percent(before.mean_absolute)} before the fit to {_percent(worst.mean_absolute)} {worst.test}"
    return f"the mean error on your own measurements grew {change}"


def own_runs_page(rows: Sequence[TrainingErrorRow]) -> Page:
    """The errors of training on a user's own runs, for the page of the whole fit."""
    columns, cells = error_table(tuple(rows))
    return [heading("On your own runs"), grid(columns, cells, words=2), *_warned(rows)]


def own_page(own: OwnFit, source: str, count: int, new_stacks: Sequence[str] = ()) -> Page:
    """`new_stacks`: serving stacks that the calibration of the catalog does not know."""
    rows = [
        (one.name, _belief(one.before), _belief(one.after))
        for one in own.moved
        if abs(one.after.value / one.before.value - 1.0) > FEWEST_SHOWN * one.before.log_std
    ]
    return [
        line(f"{source}: {figures.counted(count, 'measurement')} on top of the calibration of the catalog"),
        heading("Errors on them: predicted / measured - 1 of output tokens per second and chip"),
        _errors("", own.errors),
        *_warned(own.errors),
        *(line(f"  {name} is a new serving stack: its layer_s and sequence_s start from the prior.") for name in new_stacks),
        heading("Parameters, farthest moved first (value x/ factor of one standard deviation)"),
        grid(("parameter", "before", "after"), rows),
    ]


def _warned(rows: Sequence[ErrorRow] | Sequence[TrainingErrorRow]) -> Page:
    grown = growth_warning(rows)
    if grown is None:
        return []
    return [line(f"  Warning: {grown}. They contradict each other, or one is wrong; do not use the result before you know which.", "bold")]


def _errors(name: str, rows: Sequence[ErrorRow]) -> RenderableType:
    return grid(
        (name, *COLUMNS),
        [(row.test, str(row.points), *(_percent(x) for x in row[2:5]), _signed(row.bias)) for row in rows],
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _belief(belief: Normal) -> str:
    return f"{belief.value:.3g} x/ {math.exp(belief.log_std):.2f}"
