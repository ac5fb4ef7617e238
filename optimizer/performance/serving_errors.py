"""How wrong the serving model is on measured points that the fit has not seen, as tables.

Errors are relative: predicted / measured - 1 of the output tokens per second per chip. The tables of the calibration set train and test
only within its own rows; the mixtures of the second set have helped to choose the structure; the third set was held out until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from optimizer.performance.batch import operate
from optimizer.performance.calibration import Fit, fit, leave_out_weights, parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal
from optimizer.performance.measured_points import MeasuredPoints, joined, read_points
from optimizer.performance.serving import Efficiency
from optimizer.performance.serving_calibration import point_sigma
from optimizer.spec.catalog import Catalog

POINTS, MIXTURES, HELD_OUT = "serving_points.csv", "mixture_points.csv", "mixture_held_out_points.csv"
JUDGED_MODELS = ("moe_qwen3_235b", "moe_qwen3_30b")
"""Of the held-out points those that the structure was judged on; the rest of the file is only reported."""
PLANNING_RATIO = 0.85
"""Ratio of mean to p99 time per output token that a p99 target is multiplied by before it meets the mean of the model."""


class ErrorRow(NamedTuple):
    """Statistics of relative errors."""

    test: str
    points: int
    mean_absolute: float
    median_absolute: float
    p90_absolute: float
    bias: float


@dataclass(frozen=True)
class ErrorReport:
    """All tables. `worst`: (name, leave-one-out error) by size."""

    rows: tuple[ErrorRow, ...]
    by_chip: tuple[ErrorRow, ...]  # leave-one-out
    by_model: tuple[ErrorRow, ...]
    worst: tuple[tuple[str, float], ...]
    residual_log_std: dict[str, float]
    tpot_mean_over_p99: Normal
    held_out: tuple[tuple[str, float], ...]  # every held-out point

    def text(self) -> str:
        """The tables as lines of fixed width."""
        head = f"{'test':<46}{'points':>7}{'mean':>8}{'median':>8}{'p90':>8}{'bias':>8}"
        lines = [head]
        for title, rows in (("", self.rows), ("leave-one-out by chip", self.by_chip), ("leave-one-out by model", self.by_model)):
            lines += ["", title] if title else []
            lines += [f"{r.test:<46}{r.points:>7}" + "".join(f"{share:>8.1%}" for share in r[2:5]) + f"{r.bias:>+8.1%}" for r in rows]
        lines += ["", "worst, leave-one-out", *(f"{error:>+8.1%}  {name}" for name, error in self.worst)]
        lines += ["", "held out", *(f"{error:>+8.1%}  {name}" for name, error in self.held_out)]
        ratio, spread = self.tpot_mean_over_p99
        lines += ["", f"mean / p99 time per output token: median {ratio:.3f}, log standard deviation {spread:.3f}"]
        lines += [f"residual log standard deviation, {kind}: {value:.3f}" for kind, value in self.residual_log_std.items()]
        return "\n".join(lines)


def error_row(test: str, errors: np.ndarray) -> ErrorRow:
    """Mean, median, 90th percentile of |error|, and the mean error."""
    size = np.abs(errors)
    return ErrorRow(test, len(errors), float(size.mean()), float(np.median(size)), float(np.quantile(size, 0.9)), float(errors.mean()))


def error_report(catalog: Catalog) -> ErrorReport:
    """Fits the catalog's measured points in every split and tabulates the errors (about a minute). CaseError: a row that is wrong."""
    folder = catalog.folder / "measurements"
    points, mixtures, held_out = (read_points(folder / name, catalog) for name in (POINTS, MIXTURES, HELD_OUT))
    left_out: list[tuple[str, Sequence[str] | None]] = [
        ("leave one point out", None),
        ("leave one chip out", points.chip_name),
        ("leave one model out", points.model_name),
        ("leave one serving stack out", [group[2] for group in points.group]),
    ]
    weights, at = [np.ones((1, len(points)))], [np.zeros(len(points), int)]
    for _, by in left_out:
        more, where = leave_out_weights(points, by)
        at.append(where + sum(map(len, weights)))
        weights.append(more)
    fits = fit(points, np.concatenate(weights), point_sigma(points))
    every = np.arange(len(points))
    errors = [np.exp(fits.log_rate[where, every] - np.log(points.rate)) - 1.0 for where in at]
    rows = [error_row(name, e) for name, e in zip(("in sample", *(name for name, _ in left_out)), errors, strict=True)]
    alone = errors[1]
    slo = slo_only_errors(points, fits, at[1])
    rows.append(error_row("leave one point out, from the target alone", slo))
    mixed, judged, held = _mixture_errors(points, mixtures, held_out)
    rows.append(error_row("mixtures the structure was chosen on, in sample", mixed))
    rows.append(error_row("Qwen3 mixtures, held out, judged once", judged))
    worst = np.argsort(-np.abs(alone))[:8]
    return ErrorReport(
        rows=tuple(rows),
        by_chip=_by(points.chip_name, alone),
        by_model=_by(points.model_name, alone),
        worst=tuple((points.name[i], float(alone[i])) for i in worst),
        residual_log_std={"given_batch": _log_rms(alone), "slo_only": _log_rms(slo)},
        tpot_mean_over_p99=mean_over_p99(points),
        held_out=tuple(zip(held_out.name, held.tolist(), strict=True)),
    )


def _mixture_errors(
    points: MeasuredPoints, mixtures: MeasuredPoints, held_out: MeasuredPoints
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mixtures in sample, judged held-out points, all held-out points) of one fit to the first two sets."""
    both = joined(points, mixtures)
    everything = joined(both, held_out)
    used = (np.arange(len(everything)) < len(both)).astype(float)
    together = fit(everything, used, point_sigma(everything))
    errors = np.exp(together.log_rate[0] - np.log(everything.rate)) - 1.0
    held = errors[len(both) :]
    return errors[len(points) : len(both)], held[np.isin(held_out.model_name, JUDGED_MODELS)], held


def slo_only_errors(points: MeasuredPoints, fits: Fit, at: np.ndarray) -> np.ndarray:
    """Errors of the served points with a target, where the batch too comes from the model; fit `at[i]` [n] is used for point i.

    The model's batch is the largest that memory holds and whose mean time per token is PLANNING_RATIO times the p99 target.
    """
    names, index = parameters_of(points)
    limit = points.latency["tpot_limit_ms"]
    served = np.flatnonzero((np.array(points.basis) == "served") & np.isfinite(limit))
    log_value = fits.log_value[at[served]]
    one = points.select(np.isin(np.arange(len(points)), served))
    efficiency = Efficiency(*(np.exp(log_value[np.arange(len(served)), place[served]]) for place in index))
    slower = np.exp(one.older * log_value[:, names.index(OLDER_SOFTWARE)])
    target = 1e-3 * PLANNING_RATIO * limit[served] / slower
    found = operate(one.chip, one.model, one.precision, efficiency, one.layout, one.work, target)
    return np.asarray(found.output_tokens_per_s_per_chip) / slower / one.rate - 1.0


def mean_over_p99(points: MeasuredPoints) -> Normal:
    """Median and log standard deviation of mean / p99 time per output token over the served points that publish both."""
    ratio = points.latency["tpot_mean_ms"] / points.latency["tpot_p99_ms"]
    known = ratio[np.isfinite(ratio)]
    return Normal(float(np.median(known)), float(np.std(np.log(known), ddof=1)))


def _by(labels: Sequence[str], errors: np.ndarray) -> tuple[ErrorRow, ...]:
    return tuple(error_row(kind, errors[np.array(labels) == kind]) for kind in dict.fromkeys(labels))


def _log_rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.log1p(errors) ** 2)))
