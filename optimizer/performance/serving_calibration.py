"""The calibration of the serving model as a catalog file, and a user's own measurements on top of it.

`calibration/serving.yaml` holds for every fitted parameter its value, the standard deviation of its logarithm and the prior it
started from; the residual standard deviations of log throughput, with the batch known and with a latency target alone; and the ratio
of mean to p99 time per output token that a target is multiplied by.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.performance.efficiency_parameters import Normal, efficiency, prior
from optimizer.performance.measured_points import MeasuredPoints
from optimizer.performance.serving import Efficiency
from optimizer.spec.yaml_file import read_yaml

if TYPE_CHECKING:  # loads jax
    from optimizer.performance.calibration import Fit

POINT_SIGMA = {"served": 0.12, "explicit": 0.12, "offline": 0.12}
MIXTURE_OFFLINE_SIGMA = 0.20
"""Offline rows of mixtures: their batch is inferred from memory and their kernels differ by model, so they count for less."""
RESIDUALS = ("given_batch", "slo_only")
_FIELDS = ("value", "log_std", "prior", "prior_log_std")


@dataclass(frozen=True)
class ServingCalibration:
    """Beliefs by parameter name after the fit, and before it."""

    values: Mapping[str, Normal]
    priors: Mapping[str, Normal]
    residual_log_std: Mapping[str, float]  # RESIDUALS: standard deviation of log throughput with the parameters known
    tpot_mean_over_p99: Normal
    fitted_from: str
    date: date

    def efficiency(self, architecture: str, data_type: str, stack: str) -> tuple[Efficiency, Efficiency]:
        """(values, log standard deviations) of a chip architecture, compute data type and serving stack."""
        return efficiency(self.values, architecture, data_type, stack)


def point_sigma(points: MeasuredPoints) -> np.ndarray:
    """Assumed standard deviation of the log rate of each point [n]."""
    mixture_offline = (points.model.expert_parameters > 0.0) & (np.array(points.basis) == "offline")
    return np.where(mixture_offline, MIXTURE_OFFLINE_SIGMA, [POINT_SIGMA[basis] for basis in points.basis])


def calibrate(
    points: MeasuredPoints,
    fitted_from: str,
    day: date,
    base: ServingCalibration | None = None,
    residual_log_std: Mapping[str, float] | None = None,
    tpot_mean_over_p99: Normal | None = None,
) -> ServingCalibration:
    """Fits `points`, on top of `base` (its values become the priors, parameters without a point keep them) or of the stated priors.

    Residuals and the mean / p99 ratio are those of `base` unless given; with neither they must be given. ValueError: neither is there,
    or a fit that does not converge.
    """
    from optimizer.performance.calibration import fit  # loads jax and optax, which a plan never needs

    if base is None and (residual_log_std is None or tpot_mean_over_p99 is None):
        raise ValueError("a calibration without a base needs its residuals and the ratio of mean to p99 time per output token")
    before = base.values if base is not None else {}
    result = fit(points, np.ones((1, len(points))), point_sigma(points), before)
    return updated(result, fitted_from, day, base, residual_log_std, tpot_mean_over_p99)


def updated(
    result: Fit,
    fitted_from: str,
    day: date,
    base: ServingCalibration | None = None,
    residual_log_std: Mapping[str, float] | None = None,
    tpot_mean_over_p99: Normal | None = None,
) -> ServingCalibration:
    """`base` with the parameters of the first of the fits in `result`; the arguments are those of `calibrate`."""
    before = dict(base.values) if base is not None else {}
    fitted = {
        name: Normal(float(np.exp(value)), float(std))
        for name, value, std in zip(result.names, result.log_value[0], result.log_std[0], strict=True)
    }
    beliefs = {name: before.get(name) or prior(name) for name in result.names}
    return ServingCalibration(
        values=before | fitted,
        priors=(dict(base.priors) if base is not None else {}) | beliefs,
        residual_log_std=residual_log_std if residual_log_std is not None else base.residual_log_std,  # type: ignore[union-attr]
        tpot_mean_over_p99=tpot_mean_over_p99 if tpot_mean_over_p99 is not None else base.tpot_mean_over_p99,  # type: ignore[union-attr]
        fitted_from=fitted_from,
        date=day,
    )


def write_serving_calibration(calibration: ServingCalibration, path: Path) -> None:
    """Writes the catalog file; whoever reads it meanwhile sees the old file or the new one, never a part."""
    lines = [
        "# Efficiencies of the serving model, fitted to measured points; docs/performance_model/serving.md says how, and how well it",
        "# holds. FIELD or FIELD.GROUP: chip architecture, architecture and data type, or serving stack. Shares of peaks, and seconds.",
        "",
        f"fitted_from: {calibration.fitted_from}",
        f"date: {calibration.date.isoformat()}",
        "residual_log_std:",
        *(f"  {name}: {_number(calibration.residual_log_std[name])}" for name in RESIDUALS),
        "tpot_mean_over_p99: " + _flow(("value", "log_std"), calibration.tpot_mean_over_p99),
        "parameters:",
        *(f"  {name}: {_flow(_FIELDS, (*calibration.values[name], *calibration.priors[name]))}" for name in sorted(calibration.values)),
        "",
    ]
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _number(value: float) -> str:
    """Six digits, in a form that the YAML reader takes for a number."""
    text = f"{value:.6g}"
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _flow(names: Sequence[str], values: Sequence[float]) -> str:
    return "{" + ", ".join(f"{name}: {_number(value)}" for name, value in zip(names, values, strict=True)) + "}"


def read_serving_calibration(path: Path) -> ServingCalibration:
    """Reads a file that write_serving_calibration wrote. Raises CaseError: a key that is missing, a number out of range."""
    document = read_yaml(path)

    def wrong(keys: tuple[str | int, ...], problem: str, remedy: str) -> Exception:
        return document.error(keys, problem, remedy)

    def at(keys: tuple[str, ...]) -> Any:
        value: Any = document.data
        for depth, key in enumerate(keys):
            if not isinstance(value, Mapping) or key not in value:
                raise wrong(keys[:depth], f"has no `{key}`", "write it, or run the calibration again")
            value = value[key]
        return value

    def number(keys: tuple[str, ...]) -> float:
        value = at(keys)
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0.0):
            raise wrong(keys, f"is {value!r}", "write a number greater than 0")
        return float(value)

    day = at(("date",))
    if not isinstance(day, date):
        raise wrong(("date",), f"is {day!r}, not a date", "write YYYY-MM-DD")
    parameters = at(("parameters",))
    if not isinstance(parameters, Mapping) or not parameters:
        raise wrong(("parameters",), "is empty", "write one line per parameter")
    values, priors = {}, {}
    for name in parameters:
        try:
            prior(name)
        except KeyError:
            remedy = "write a field of the serving model, a dot, and its chip architecture, data type or serving stack"
            raise wrong(("parameters", name), "is not a parameter of the serving model", remedy) from None
        value, log_std, believed, believed_std = (number(("parameters", name, field)) for field in _FIELDS)
        values[name], priors[name] = Normal(value, log_std), Normal(believed, believed_std)
    return ServingCalibration(
        values=values,
        priors=priors,
        residual_log_std={name: number(("residual_log_std", name)) for name in RESIDUALS},
        tpot_mean_over_p99=Normal(number(("tpot_mean_over_p99", "value")), number(("tpot_mean_over_p99", "log_std"))),
        fitted_from=str(at(("fitted_from",))),
        date=day,
    )
