"""A user's own serving measurements on top of a calibration: the fit, and how far off the model was and is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from optimizer.performance.calibration import fit, leave_out_weights, log_rate, parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal, efficiency, parameter_names, prior
from optimizer.performance.measured_points import MeasuredPoints
from optimizer.performance.own_points import attention_peak_ratio
from optimizer.performance.serving_calibration import ServingCalibration, point_sigma, updated
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
    """The values of `base` are the priors. Raises ValueError: a fit that does not converge, or one with a share of a peak above 1."""
    without, at = leave_out_weights(points)  # in one go with the fit to all points: what costs is to compile it
    fits = fit(points, np.concatenate([np.ones((1, len(points))), without]), point_sigma(points), base.values)
    new = updated(fits, fitted_from, day, base)
    names = fits.names
    above = {name: share for name, share in shares_of_peaks(points, new.values).items() if share > 1.0}
    if above:
        name = max(above, key=lambda one: above[one])
        raise ValueError(f"the fit puts {name} at {above[name]:.3g} of its peak, and no chip can do more than 1")
    after = np.exp(fits.log_rate - np.log(points.rate)) - 1.0
    rows = [error_row("before", _errors(points, base.values)), error_row("after", after[0])]
    if len(points) > 1:
        rows.append(error_row("after, leave one point out", after[1 + at, np.arange(len(points))]))
    moved = [Moved(name, base.values.get(name) or prior(name), new.values[name]) for name in names]
    moved.sort(key=lambda one: -abs(np.log(one.after.value / one.before.value)) / one.before.log_std)
    return OwnFit(new, tuple(rows), tuple(moved))


def shares_of_peaks(points: MeasuredPoints, values: Mapping[str, Normal]) -> dict[str, float]:
    """The shares of peaks that `values` give the chips of the points, by the names of their parameters; "A x B": a product of two.

    Attention counts against the fastest peak that it may run at; where points of one name differ in that, the largest share.
    """
    shares: dict[str, float] = {}
    for group, ratio in zip(points.group, attention_peak_ratio(points).tolist(), strict=True):
        name = parameter_names(*group)
        value, _ = efficiency(values, *group)
        for key, share in (
            (name.compute, value.compute),
            (f"{name.compute} x {name.expert_compute}", value.compute * value.expert_compute),
            (name.memory, value.memory),
            (name.network, value.network),
            (name.usable_memory_share, value.usable_memory_share),
            (name.attention, value.attention / ratio),
            (f"{name.attention} x {name.decode_attention}", value.attention * value.decode_attention / ratio),
        ):
            shares[key] = max(float(share), shares.get(key, 0.0))
    return shares


def _errors(points: MeasuredPoints, values: Mapping[str, Normal]) -> np.ndarray:
    names, index = parameters_of(points)
    log_value = np.log([(values.get(name) or prior(name)).value for name in names])
    return np.exp(log_rate(log_value, points, index, names.index(OLDER_SOFTWARE), xp=np)) / points.rate - 1.0
