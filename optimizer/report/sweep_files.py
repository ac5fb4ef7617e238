"""A sweep on disk: sweep.csv, sweep.json and, where one number is varied, sweep.svg; each in one rename."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from optimizer.report.files import plain
from optimizer.report.sweep_plot import can_be_plotted, sweep_svg
from optimizer.report.sweep_result import Sweep
from optimizer.report.text_files import json_text, write_text

SCHEMA_VERSION = 1


def write_sweep(sweep: Sweep, directory: str | Path) -> Path:
    """Raises OSError."""
    target = Path(directory)
    if can_be_plotted(sweep):
        write_text(target / "sweep.svg", sweep_svg(sweep))
    else:
        (target / "sweep.svg").unlink(missing_ok=True)  # of another sweep that was here
    write_text(target / "sweep.csv", csv_text(sweep))
    write_text(target / "sweep.json", json_text(sweep_document(sweep)))
    return target


def csv_text(sweep: Sweep) -> str:
    """A row per point; the varied fields first. What does not exist (the cost of an infeasible point) is blank."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*sweep.fields, *sweep.columns])
    for point, row in sweep:
        writer.writerow([*(_cell(point[name]) for name in sweep.fields), *(_cell(row.get(name, "")) for name in sweep.columns)])
    return out.getvalue()


def sweep_document(sweep: Sweep) -> dict[str, Any]:
    """The content of sweep.json."""
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "case": {"name": sweep.case_name, "file": sweep.case_file},
            "settings": {
                name: getattr(sweep.settings, name) for name in ("gap_relative", "headroom_gap_relative", "engine", "max_iterations")
            },
            "fields": sweep.fields,
            "points": [{"values": point, **row} for point, row in sweep],
        }
    )  # fmt: skip


def _cell(value: Any) -> Any:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else value
