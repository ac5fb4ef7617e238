"""The fitted numbers of training as a catalog file: written from a fit, read safely, and turned into rates.

`calibration/training.yaml` holds under `parameters` for every name of `TrainingFit.parameters` the value, the standard deviation of its
logarithm, and the prior's median and standard deviation; beside them the residual of ln MFU by kind, the fitted file and the date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from optimizer.performance.training import Scaling, mfu
from optimizer.performance.training_calibration import REFERENCE_BILLION, ErrorRow, Parameter, TrainingFit
from optimizer.performance.training_points import KINDS, PRECISIONS
from optimizer.spec import CaseError
from optimizer.spec.yaml_file import read_yaml

FIELDS = ("value", "log_std", "prior", "prior_log_std")
OTHER = "other"
"""The architecture of chips that no measured point has."""


class TrainingRate(NamedTuple):
    """TFLOP/s per chip, without failures, and the standard deviation of its logarithm."""

    tflops_per_chip: float
    log_std: float


@dataclass(frozen=True)
class TrainingCalibration:
    """The content of the file; `parameters` as in `TrainingFit`."""

    parameters: dict[str, Parameter]
    residual_log_std: dict[str, float]  # by kind
    fitted_from: str
    date: date

    def scaling(self, architecture: str, precision: str, mixture: bool, active_parameters_billion: float, scale_up_chips: float) -> Scaling:
        """Utilisation of a model on a chip, relative to the dense peak of the precision; an architecture without points is "other".

        Raises ValueError: a precision without parameters, or a number that is not positive."""
        kind, base = self._base(architecture, precision, mixture)
        for what, number in (("active_parameters_billion", active_parameters_billion), ("scale_up_chips", scale_up_chips)):
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"{what} is {number!r}; it must be greater than 0")
        tenfold = math.log10(active_parameters_billion / REFERENCE_BILLION)
        return Scaling(
            mfu=base.value * self.parameters[f"tenfold.{kind}"].value ** tenfold,
            reference_chips=scale_up_chips,
            gamma_inside=self.parameters["gamma_inside"].value,
            gamma_across=self.parameters[f"gamma_across.{kind}"].value,
            scale_up_chips=scale_up_chips,
        )

    def rate(
        self,
        architecture: str,
        precision: str,
        mixture: bool,
        active_parameters_billion: float,
        scale_up_chips: float,
        peak_tflops: float,
        chips: float,
    ) -> TrainingRate:
        """The rate of a run; its log_std joins the residual of points left out with the uncertainty of the MFU, which is large for a
        chip, precision and kind that no point has (the residual holds a little of it already: on the safe side)."""
        scaling = self.scaling(architecture, precision, mixture, active_parameters_billion, scale_up_chips)
        kind, base = self._base(architecture, precision, mixture)
        return TrainingRate(peak_tflops * float(mfu(chips, scaling)), math.hypot(self.residual_log_std[kind], base.log_std))

    def _base(self, architecture: str, precision: str, mixture: bool) -> tuple[str, Parameter]:
        kind = KINDS[mixture]
        found = self.parameters.get(f"mfu.{architecture}.{precision}.{kind}") or self.parameters.get(f"mfu.{OTHER}.{precision}.{kind}")
        if found is None:
            raise ValueError(f"training in {precision} has no fitted utilisation; use one of {', '.join(PRECISIONS)}")
        return kind, found


def calibration_of(fit: TrainingFit, fitted_from: str, day: date) -> TrainingCalibration:
    """What of a fit is kept in the file."""
    return TrainingCalibration(fit.parameters, fit.residual_log_std, fitted_from, day)


def calibration_text(calibration: TrainingCalibration) -> str:
    """The file's content, rounded to six digits."""
    lines = [
        "# Utilisation of training runs, fitted to published ones; docs/performance_model/training.md says how, and how well it holds.",
        "# mfu.ARCHITECTURE.PRECISION.KIND: share of the dense peak of the precision, 30 billion active parameters, one scale-up domain;",
        "# tenfold.KIND: factor on it for ten times the active parameters; gamma: exponents of the number of chips.",
        "",
        f"fitted_from: {calibration.fitted_from}",
        f"date: {calibration.date.isoformat()}",
        "residual_log_std:",
        *(f"  {kind}: {calibration.residual_log_std[kind]:.6g}" for kind in KINDS),
        "parameters:",
    ]
    for name, parameter in calibration.parameters.items():
        numbers = ", ".join(f"{field}: {getattr(parameter, field):.6g}" for field in FIELDS)
        lines.append(f"  {name}: {{{numbers}}}")
    return "\n".join(lines) + "\n"


def load_training_calibration(path: str | Path) -> TrainingCalibration:
    """Raises CaseError: no such file, no YAML, a missing or an impossible number."""
    document = read_yaml(Path(path))
    data, file = document.data, str(path)

    def part(name: str, kind: type) -> Any:
        value = data.get(name)
        if not isinstance(value, kind):
            raise CaseError(file, name, "is missing or of the wrong kind", "write the file with `capacity calibrate --training`")
        return value

    residual = {kind: _positive(file, f"residual_log_std.{kind}", part("residual_log_std", dict).get(kind)) for kind in KINDS}
    parameters: dict[str, Parameter] = {}
    for name, written in part("parameters", dict).items():
        if not isinstance(written, Mapping) or set(written) != set(FIELDS):
            raise CaseError(file, f"parameters.{name}", "is not a fitted number", f"write the fields {', '.join(FIELDS)}")
        parameters[name] = Parameter(*(_positive(file, f"parameters.{name}.{field}", written[field]) for field in FIELDS))
    needed = ("gamma_inside", *(f"{word}.{kind}" for word in ("gamma_across", "tenfold") for kind in KINDS))
    needed += tuple(f"mfu.{OTHER}.{precision}.{kind}" for precision in PRECISIONS for kind in KINDS)
    for name in needed:
        if name not in parameters:
            raise CaseError(file, f"parameters.{name}", "is missing", "write the file with `capacity calibrate --training`")
    for name in needed:
        if name.startswith("gamma") and parameters[name].value >= 1:
            problem = f"is {parameters[name].value:g}"
            raise CaseError(file, f"parameters.{name}", problem, "write an exponent below 1: more chips must do more work")
    return TrainingCalibration(parameters, residual, part("fitted_from", str), part("date", date))


def error_table(errors: tuple[ErrorRow, ...]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of the errors of a fit as text, in percent: for the printed page and the documentation."""
    columns = ["test", "models", "points", "mean %", "median %", "p90 %", "bias %"]
    rows = []
    for row in errors:
        numbers = (row.mean_absolute, row.median_absolute, row.p90_absolute)
        rows.append([row.test, row.kind, str(row.points), *(f"{100 * x:.1f}" for x in numbers), f"{100 * row.bias:+.1f}"])
    return columns, rows


def _positive(file: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise CaseError(file, key, f"is {value!r}", "write a finite number greater than 0")
    return float(value)
