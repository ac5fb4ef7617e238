"""Training utilisation fitted to published runs: maximum a posteriori in logarithms, with the errors on points left out.

    ln MFU = ln base[precision, kind] + ln f[architecture] + ln f[architecture, precision, kind]
             + log10(P_a / 30e9) * ln(tenfold[kind])
             - gamma_inside * ln(min(n / S, 1)) - gamma_across[kind] * ln(max(n / S, 1))

kind: dense or mixture of experts; S: chips of the scale-up domain; MFU as a share of the dense peak of the precision. All
parameters are positive with log-normal priors, so that only the gammas are not linear: Gauss-Newton steps solve a linear Gaussian problem
each. The factors of architectures are a priori 1, which shrinks a chip with one point towards its kind, and is what a chip
without any point gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.performance.training_points import KINDS, PRECISIONS, TrainingPoint

Array = np.ndarray
Group = tuple[str, str, str]  # architecture, precision, kind

REFERENCE_BILLION = 30.0
RESIDUAL = {"dense": 0.08, "mixture": 0.25}
"""Standard deviations of ln MFU that the fit weighs the points with."""
BASE_PRIOR = {
    ("bf16", "dense"): (0.50, 0.3), ("fp8", "dense"): (0.42, 0.3), ("bf16", "mixture"): (0.30, 0.4), ("fp8", "mixture"): (0.20, 0.4),
}  # fmt: skip
"""(median, log standard deviation)."""
ARCHITECTURE_PRIOR, GROUP_PRIOR = (1.0, 0.2), (1.0, 0.2)
TENFOLD_PRIOR = {"dense": (1.12, 0.23), "mixture": (1.41, 0.35)}
INSIDE_PRIOR = (0.004, 0.5)
"""One architecture measured on 64 and on 256 chips of one domain: 0.001 to 0.004."""
ACROSS_PRIOR = {"dense": (0.045, 0.6), "mixture": (0.1, 0.8)}
"""Dense: 0.02 to 0.10 in eight published scaling series, across domains."""
GAMMAS = 3


@dataclass(frozen=True)
class Parameter:
    """One fitted number: exp of a posterior mode, with the standard deviations of its logarithm."""

    value: float
    log_std: float
    prior: float
    prior_log_std: float


@dataclass(frozen=True)
class ErrorRow:
    """Predicted over measured - 1, over the points of one test; shares, not percent."""

    test: str
    kind: str  # all | dense | mixture
    points: int
    mean_absolute: float
    median_absolute: float
    p90_absolute: float
    bias: float
    log_rms: float


@dataclass(frozen=True)
class TrainingFit:
    """`parameters`: "gamma_inside", "gamma_across.KIND", "tenfold.KIND" (factor on the MFU for ten times the active parameters) and
    "mfu.ARCHITECTURE.PRECISION.KIND" (of 30 billion active parameters on one scale-up domain; architecture "other": none of the
    fitted ones). `residual_log_std` by kind: root mean square of the leave-one-out errors of ln MFU."""

    parameters: dict[str, Parameter]
    residual_log_std: dict[str, float]
    errors: tuple[ErrorRow, ...]
    points: tuple[TrainingPoint, ...]  # fitted ones
    predicted_tflops: Array  # [points], in sample
    left_out_tflops: Array  # [points], each predicted by a fit without it
    not_fitted: tuple[TrainingPoint, ...]


@dataclass(frozen=True)
class _Columns:
    """The names of the linear columns; the gammas follow them."""

    architectures: tuple[str, ...]
    groups: tuple[Group, ...]

    @staticmethod
    def of(points: Sequence[TrainingPoint]) -> _Columns:
        return _Columns(tuple(sorted({p.architecture for p in points})), tuple(sorted({_group(p) for p in points})))

    @property
    def linear(self) -> int:
        return len(BASE_PRIOR) + len(self.architectures) + len(self.groups) + len(KINDS)

    def priors(self) -> tuple[Array, Array]:
        """(means, standard deviations) of the logarithms, gammas last: inside, across dense, across mixture."""
        of = [
            *BASE_PRIOR.values(), *[ARCHITECTURE_PRIOR] * len(self.architectures), *[GROUP_PRIOR] * len(self.groups),
            *(TENFOLD_PRIOR[kind] for kind in KINDS), INSIDE_PRIOR, *(ACROSS_PRIOR[kind] for kind in KINDS),
        ]  # fmt: skip
        median, spread = np.array(of, float).T
        return np.log(median), spread

    def design(self, points: Sequence[TrainingPoint]) -> Array:
        """[points, columns]: the last three multiply the gammas themselves, the others logarithms."""
        rows = []
        for p in points:
            ratio = np.log((p.chips or p.scale_up_chips) / p.scale_up_chips)  # not stated: taken as one domain
            size = np.log10(p.active_parameters_billion / REFERENCE_BILLION)
            rows.append(
                [
                    *(float(key == (p.precision, p.kind)) for key in BASE_PRIOR),
                    *(float(name == p.architecture) for name in self.architectures),
                    *(float(group == _group(p)) for group in self.groups),
                    *(size * (kind == p.kind) for kind in KINDS),
                    -min(ratio, 0.0),
                    *(-max(ratio, 0.0) * (kind == p.kind) for kind in KINDS),
                ]
            )
        return np.array(rows, float).reshape(len(points), self.linear + GAMMAS)


def calibrate_training(points: Sequence[TrainingPoint]) -> TrainingFit:
    """Fit all points that are marked so, and judge by leaving out points, chips and models. Raises ValueError below three points."""
    fitted = tuple(p for p in points if p.fitted)
    if len(fitted) < 3:
        raise ValueError(f"{len(fitted)} training measurements are marked as fitted; a fit needs at least 3")
    columns = _Columns.of(fitted)
    mode, covariance = _mode(fitted, columns)
    measured = np.log([p.mfu for p in fitted])
    inside = _log_mfu(fitted, columns, mode)
    tests: list[tuple[str, Array]] = [("in sample", inside - measured)]
    names: tuple[tuple[str, Callable[[int], object]], ...] = (
        ("leave one point out", lambda i: i),
        ("leave one chip out", lambda i: fitted[i].chip),
        ("leave one model out", lambda i: fitted[i].model),
    )
    for name, key in names:
        tests.append((name, _left_out(fitted, columns, [key(i) for i in range(len(fitted))]) - measured))
    errors = tuple(_error(name, kind, error, fitted) for name, error in tests for kind in ("all", *KINDS))
    peak = np.array([p.peak_tflops for p in fitted])
    return TrainingFit(
        parameters=_parameters(columns, mode, covariance),
        residual_log_std={row.kind: row.log_rms for row in errors if row.test == "leave one point out" and row.kind != "all"},
        errors=errors,
        points=fitted,
        predicted_tflops=peak * np.exp(inside),
        left_out_tflops=peak * np.exp(tests[1][1] + measured),
        not_fitted=tuple(p for p in points if not p.fitted),
    )


def own_errors(fit: TrainingFit, base: Sequence[TrainingPoint], own: Sequence[TrainingPoint]) -> tuple[ErrorRow, ...]:
    """Errors on `own` of a fit to `base` alone, of `fit`, made of both with `own` last, and of each point by a fit without it.

    Raises ValueError: no point of `own` is marked as fitted, or `fit` puts a utilisation above 1.
    """
    fitted = tuple(p for p in own if p.fitted)
    if not fitted:
        raise ValueError("no row is marked as fitted, so nothing would change; write yes in the column fitted")
    above = {name: one.value for name, one in fit.parameters.items() if name.startswith("mfu.") and one.value > 1.0}
    if above:
        name = max(above, key=lambda one: above[one])
        raise ValueError(f"the fit puts {name} at {above[name]:.3g} of the peak, and no chip can do more than 1")
    columns = _Columns.of(fit.points)
    mode, _ = _mode([p for p in base if p.fitted], columns)
    measured = np.log([p.mfu for p in fitted])
    after, alone = (
        np.log(tflops[-len(fitted) :] / [p.peak_tflops for p in fitted]) for tflops in (fit.predicted_tflops, fit.left_out_tflops)
    )
    tests = (("before", _log_mfu(fitted, columns, mode)), ("after", after), ("after, leave one point out", alone))
    return tuple(_error(name, "all", found - measured, fitted) for name, found in tests)


def _mode(points: Sequence[TrainingPoint], columns: _Columns) -> tuple[Array, Array]:
    """(posterior mode of the logarithms, covariance there): Gauss-Newton, linear but for the gammas."""
    prior, spread = columns.priors()
    design, linear = columns.design(points), columns.linear
    weight = np.array([RESIDUAL[p.kind] for p in points]) ** -2.0
    measured = np.log([p.mfu for p in points])
    theta = prior.copy()
    for _ in range(100):
        slope = design.copy()
        slope[:, linear:] *= np.exp(theta[linear:])
        rest = measured - _predict(design, linear, theta)
        information = (slope.T * weight) @ slope + np.diag(spread**-2.0)
        step = np.linalg.solve(information, slope.T @ (weight * rest) + (prior - theta) * spread**-2.0)
        theta = theta + np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-12:
            return theta, np.linalg.inv(information)
    raise ValueError("the fit of the training measurements does not settle; look for a point that contradicts all others")


def _predict(design: Array, linear: int, theta: Array) -> Array:
    return design[:, :linear] @ theta[:linear] + design[:, linear:] @ np.exp(theta[linear:])


def _log_mfu(points: Sequence[TrainingPoint], columns: _Columns, theta: Array) -> Array:
    return _predict(columns.design(points), columns.linear, theta)


def _left_out(points: tuple[TrainingPoint, ...], columns: _Columns, keys: list) -> Array:
    """[points], ln MFU of each by a fit without all points of its key; columns without points keep their priors."""
    found = np.zeros(len(points))
    for key in dict.fromkeys(keys):
        out = [i for i, other in enumerate(keys) if other == key]
        theta, _ = _mode([p for i, p in enumerate(points) if i not in out], columns)
        found[out] = _log_mfu([points[i] for i in out], columns, theta)
    return found


def _error(test: str, kind: str, log_error: Array, points: Sequence[TrainingPoint]) -> ErrorRow:
    chosen = log_error[[kind in ("all", p.kind) for p in points]]
    if not len(chosen):
        return ErrorRow(test, kind, 0, *[float("nan")] * 5)
    share = np.expm1(chosen)
    size = np.abs(share)
    rms = float(np.sqrt(np.mean(chosen**2)))
    return ErrorRow(test, kind, len(chosen), float(size.mean()), float(np.median(size)), float(np.quantile(size, 0.9)),
                    float(share.mean()), rms)  # fmt: skip


def _parameters(columns: _Columns, theta: Array, covariance: Array) -> dict[str, Parameter]:
    prior, spread = columns.priors()
    linear, first = columns.linear, len(BASE_PRIOR)

    def combined(positions: list[int], unknown: float = 0.0) -> Parameter:
        """exp of the sum of some logarithms; `unknown`: variance of factors that no column has."""
        pick = np.zeros(len(theta))
        pick[positions] = 1.0
        return Parameter(
            float(np.exp(pick @ theta)), float(np.sqrt(pick @ covariance @ pick + unknown)),
            float(np.exp(pick @ prior)), float(np.sqrt(pick @ spread**2 + unknown)),
        )  # fmt: skip

    found = {"gamma_inside": combined([linear])}
    for i, kind in enumerate(KINDS):
        found[f"gamma_across.{kind}"] = combined([linear + 1 + i])
        found[f"tenfold.{kind}"] = combined([linear - len(KINDS) + i])
    for architecture in (*columns.architectures, "other"):
        for precision, kind in ((p, k) for p in PRECISIONS for k in KINDS):
            at, unknown = [list(BASE_PRIOR).index((precision, kind))], 0.0
            if architecture in columns.architectures:
                at.append(first + columns.architectures.index(architecture))
            else:
                unknown += ARCHITECTURE_PRIOR[1] ** 2
            group = (architecture, precision, kind)
            if group in columns.groups:
                at.append(first + len(columns.architectures) + columns.groups.index(group))
            else:
                unknown += GROUP_PRIOR[1] ** 2
            found[f"mfu.{architecture}.{precision}.{kind}"] = combined(at, unknown)
    return found


def _group(point: TrainingPoint) -> Group:
    return point.architecture, point.precision, point.kind
