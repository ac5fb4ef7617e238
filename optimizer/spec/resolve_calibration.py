"""The catalog's calibration of the serving model, as fields that the case can be differentiated by."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .case_error import CaseError, shown
from .quantities import Source
from .resolved import Calibration, Quantity
from .yaml_file import read_yaml

FILE = Path("calibration") / "serving.yaml"
PLANNED_WITH = "slo_only"
"""Of the residual standard deviations, the one of a throughput that is predicted from the latency target alone, as a plan does."""


def resolve_calibration(source: Source) -> Calibration | None:
    """None where throughput comes from the rows. Raises CaseError: the catalog has no calibration, or a number in it is none."""
    if source.file.performance.throughput != "model":
        return None
    path = source.catalog.folder / FILE
    if not path.is_file():
        problem = f"is model, but the catalog has no {FILE.as_posix()}"
        raise source.error(("performance", "throughput"), problem, "write one with `capacity calibrate`, or set throughput: table")
    return read_calibration(path)


def read_calibration(path: Path) -> Calibration:
    """Raises CaseError: unreadable, a part missing, a number that is not positive."""
    data = read_yaml(path).data
    parameters, residual = data.get("parameters"), data.get("residual_log_std")
    if not isinstance(parameters, dict) or not parameters:
        raise CaseError(path, "parameters", "is missing", "write a map of names to {value, log_std}")
    if not isinstance(residual, dict):
        raise CaseError(path, "residual_log_std", "is missing", f"write a map with {PLANNED_WITH}")
    values, spread = {}, {}
    for name, entry in parameters.items():
        if not isinstance(entry, dict):
            raise CaseError(path, f"parameters.{name}", f"is {shown(entry)}", "write {value: ..., log_std: ...}")
        values[name] = Quantity(_positive(path, f"parameters.{name}.value", entry.get("value")), f"catalog.calibration.serving.{name}")
        spread[name] = _positive(path, f"parameters.{name}.log_std", entry.get("log_std"))
    return Calibration(values, spread, _positive(path, f"residual_log_std.{PLANNED_WITH}", residual.get(PLANNED_WITH)))


def _positive(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise CaseError(path, key, f"is {shown(value)}" if value is not None else "is missing", "write a number greater than 0")
    return float(value)
