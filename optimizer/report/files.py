"""A plan on disk: plan.json, and every table as CSV and Parquet. Nothing is ever left half-written.

Everything is written into a hidden directory first. A new target appears in one rename; into an existing directory the files are moved
one by one (each in one rename), plan.json last and after the old one is gone, so that a plan.json always stands beside its own tables.
Other files in the directory are left alone.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.report.frames import records, sums
from optimizer.report.text_files import json_text, umask

if TYPE_CHECKING:
    from optimizer.report.result import Evaluation, Plan

SCHEMA_VERSION = 1
PLAN_FILE = "plan.json"


def plan_document(plan: Plan) -> dict[str, Any]:
    """The content of plan.json: plain dictionaries, lists, numbers and texts; what is no finite number is None."""
    by_category = sums(plan.columns.cost, ["category"], ["expected_nominal_usd", "expected_present_value_usd"])
    document = {
        "schema_version": SCHEMA_VERSION,
        "status": plan.status,
        "reason": plan.reason,
        "objective_usd": plan.objective_usd,
        "lower_bound_usd": plan.lower_bound_usd,
        "gap_usd": plan.gap_usd,
        "gap_relative": plan.gap_relative,
        "lower_bound_true_usd": plan.lower_bound_true_usd,
        "headroom_gap_relative": plan.headroom_gap_relative,
        "penalties_usd": plan.penalties_usd,
        "engine": plan.engine,
        "engine_reason": plan.engine_reason,
        "iterations": plan.iterations,
        "compilations": plan.compilations,
        "seconds": plan.seconds,
        "versions": plan.versions,
        "device": plan.device,
        "case": {"name": plan.case_name, "hash": plan.case_hash, "file": str(plan.case.file)},
        "settings": {"gap_relative": plan.settings.gap_relative, "max_iterations": plan.settings.max_iterations},
        "warnings": plan.warnings,
        "conflicts": plan.conflicts,
        "excuses": [asdict(excuse) for excuse in plan.excuses],
        "cost_by_category_usd": {
            category: {"nominal": nominal, "present_value": present} for (category,), (nominal, present) in sorted(by_category.items())
        },
        "assumed_share_of_cost": {"price": plan.assumed.price, "throughput": plan.assumed.throughput, "either": plan.assumed.either},
        "acquisitions": records(plan.columns.acquisitions),
    }
    return plain(document)


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """The content of evaluation.json: the bracket, and both plans in the form of plan.json."""
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "above_best_usd": evaluation.above_best_usd,
            "at_least_usd": evaluation.at_least_usd,
            "at_most_usd": evaluation.at_most_usd,
            "given": plan_document(evaluation.given),
            "best": plan_document(evaluation.best),
        }
    )


def plain(value: Any) -> Any:
    """The same in types that JSON has; NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(below) for below in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    return value


def write_plan(plan: Plan, directory: str | Path) -> Path:
    """plan.json and the tables of a plan; returns the directory."""
    import pyarrow
    from pyarrow import csv, parquet

    target = Path(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".plan.", dir=target if target.exists() else target.parent))
    try:
        for name, frame in plan.tables().items():
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            csv.write_csv(table, stage / f"{name}.csv", csv.WriteOptions(quoting_style="needed"))
            parquet.write_table(table, stage / f"{name}.parquet")
        (stage / PLAN_FILE).write_text(json_text(plan_document(plan)), encoding="utf-8")
        _publish(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


def _publish(stage: Path, target: Path) -> None:
    stage.chmod(0o777 & ~umask())  # mkdtemp makes it private
    if not target.exists():
        os.rename(stage, target)
        return
    (target / PLAN_FILE).unlink(missing_ok=True)
    for file in sorted(stage.iterdir(), key=lambda file: file.name == PLAN_FILE):
        os.replace(file, target / file.name)


def read_acquisitions(path: str | Path) -> list[dict[str, Any]]:
    """The acquisitions of a plan.json, of a JSON list, or of a CSV with the same columns.

    Raises ValueError with one line for a file that holds none.
    """
    path = Path(path)
    if path.suffix == ".csv":
        import pandas as pd

        return records(pd.read_csv(path, dtype={"scenario": str, "offer": str}, keep_default_na=False))
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = document.get("acquisitions") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ValueError("holds no list `acquisitions`")
    return rows
