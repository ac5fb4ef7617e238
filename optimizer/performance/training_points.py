"""Published training throughput: one row per measured point, as `measurements/training.csv` of the catalog has them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from optimizer.spec import CaseError

KINDS = ("dense", "mixture")
PRECISIONS = ("bf16", "fp8")
NEEDED = (
    "chip",
    "public_model",
    "kind",
    "active_parameters_billion",
    "architecture",
    "scale_up_chips",
    "precision",
    "peak_tflops",
    "chips",
    "training_tflops_per_chip",
    "fitted",
    "source",
    "date",
)


@dataclass(frozen=True)
class TrainingPoint:
    """One measured run. `tflops_per_chip` counts attention causally; `chips` None: not stated by the source."""

    chip: str
    model: str  # the public name
    mixture: bool
    active_parameters_billion: float
    architecture: str
    scale_up_chips: float
    precision: str  # bf16 | fp8
    peak_tflops: float  # of the precision, dense
    chips: float | None
    tflops_per_chip: float
    fitted: bool  # False: kept, and left out of the fit for the reason in its note
    source: str
    date: str

    @property
    def mfu(self) -> float:
        """Share of the dense peak of the precision."""
        return self.tflops_per_chip / self.peak_tflops

    @property
    def kind(self) -> str:
        return KINDS[self.mixture]


def read_training_points(path: str | Path) -> tuple[TrainingPoint, ...]:
    """All rows of the file, in its order. Raises CaseError: no such file, a missing column, a wrong value (with its line)."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(str(path), "", f"cannot be read ({error})", "give a CSV file of training measurements") from error
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise CaseError(str(path), missing[0], "is not a column of the file", f"write the columns {', '.join(NEEDED)}")
    if not rows:
        raise CaseError(str(path), "", "has no rows", "write one row per measured run")
    return tuple(_point(path, line, row) for line, row in enumerate(rows, start=2))


def _point(path: Path, line: int, row: dict[str, str]) -> TrainingPoint:
    def choice(name: str, among: tuple[str, ...]) -> str:
        if row[name] not in among:
            raise CaseError(str(path), name, f"is {row[name]!r}", f"write one of {', '.join(among)}", line)
        return row[name]

    def positive(name: str) -> float:
        try:
            value = float(row[name])
        except (TypeError, ValueError):
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise CaseError(str(path), name, f"is {row[name]!r}", "write a number greater than 0", line)
        return value

    for name in ("chip", "public_model", "architecture", "source", "date"):
        if not row[name]:
            raise CaseError(
                str(path), name, "is empty", "every measurement has a chip, a model, an architecture, a source and a date", line
            )
    point = TrainingPoint(
        chip=row["chip"],
        model=row["public_model"],
        mixture=choice("kind", KINDS) == "mixture",
        active_parameters_billion=positive("active_parameters_billion"),
        architecture=row["architecture"],
        scale_up_chips=positive("scale_up_chips"),
        precision=choice("precision", PRECISIONS),
        peak_tflops=positive("peak_tflops"),
        chips=positive("chips") if row["chips"] else None,
        tflops_per_chip=positive("training_tflops_per_chip"),
        fitted=choice("fitted", ("yes", "no")) == "yes",
        source=row["source"],
        date=row["date"],
    )
    if point.mfu >= 1.0:
        problem = f"is {point.tflops_per_chip:g}, above the dense {point.precision} peak of {point.peak_tflops:g}"
        raise CaseError(str(path), "training_tflops_per_chip", problem, "check the precision and the count of FLOP", line)
    return point
