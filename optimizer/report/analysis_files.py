"""The results of an analysis on disk: a JSON document, tables as CSV, plots as SVG; each in one rename, the JSON last."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.report.files import plain
from optimizer.report.text_files import json_text, write_text

SCHEMA_VERSION = 1

Rows = Sequence[Mapping[str, Any]]


def write_analysis(
    directory: str | Path, name: str, document: Mapping[str, Any], tables: Mapping[str, Rows], plots: Mapping[str, str | None]
) -> Path:
    """`name`.json, a CSV per table and an SVG per plot (None: what an earlier run left there is removed); returns the directory. Raises
    OSError."""
    target = Path(directory)
    for stem, svg in plots.items():
        if svg is None:
            (target / f"{stem}.svg").unlink(missing_ok=True)
        else:
            write_text(target / f"{stem}.svg", svg)
    for stem, rows in tables.items():
        write_text(target / f"{stem}.csv", csv_text(rows))
    write_text(target / f"{name}.json", json_text(plain({"schema_version": SCHEMA_VERSION, **document})))
    return target


def csv_text(rows: Rows) -> str:
    """A line per row, the columns in the order in which rows name them; what does not exist is blank."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell(row.get(name)) for name in names])
    return out.getvalue()


def cell(value: Any) -> Any:
    """A number in full digits; blank for None, NaN and infinities."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    return "" if value is None else value
