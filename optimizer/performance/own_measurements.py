"""A user's own serving measurements on top of a calibration: the fit, and how far off the model was and is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from optimizer.performance.calibration import fit, leave_out_weights, log_rate, parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal, prior
from optimizer.performance.measured_points import MeasuredPoints
from optimizer.performance.serving_calibration import ServingCalibration, calibrate, point_sigma
from optimizer.performance.serving_errors import ErrorRow, error_row


class Moved(NamedTuple):
    """A parameter that the measurements touch."""

    name: str
    before: Normal
    after: Normal


@dataclass(frozen=True)
class OwnFit:
    """`errors`: predicted over measured - 1 on the own points, before the fit, after it, and each point by a fit without it."""

    calibration: ServingCalibration
    errors: tuple[ErrorRow, ...]
    moved: tuple[Moved, ...]  # farthest first, in standard deviations of the belief before


def fit_own_measurements(points: MeasuredPoints, base: ServingCalibration, fitted_from: str, day: date) -> OwnFit:
    """The values of `base` are the priors. Raises ValueError: a fit that does not converge."""
    new = calibrate(points, fitted_from, day, base)
    names, _ = parameters_of(points)
    rows = [error_row("before", _errors(points, base.values)), error_row("after", _errors(points, new.values))]
    if len(points) > 1:
        weights, at = leave_out_weights(points)
        without = fit(points, weights, point_sigma(points), base.values)
        every = np.arange(len(points))
        rows.append(error_row("after, leave one point out", np.exp(without.log_rate[at, every] - np.log(points.rate)) - 1.0))
    moved = [Moved(name, base.values.get(name) or prior(name), new.values[name]) for name in names]
    moved.sort(key=lambda one: -abs(np.log(one.after.value / one.before.value)) / one.before.log_std)
    return OwnFit(new, tuple(rows), tuple(moved))


def _errors(points: MeasuredPoints, values: Mapping[str, Normal]) -> np.ndarray:
    names, index = parameters_of(points)
    log_value = np.log([(values.get(name) or prior(name)).value for name in names])
    return np.exp(log_rate(log_value, points, index, names.index(OLDER_SOFTWARE), xp=np)) / points.rate - 1.0
