"""A plan as `capacity plan --out` wrote it, read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.files import PLAN_FILE, SCHEMA_VERSION
from optimizer.report.frames import frame
from optimizer.report.orders import ACQUISITION_COLUMNS
from optimizer.spec import CaseError

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "give a plan.json, or the directory of `capacity plan --out`"


@dataclass(frozen=True)
class WrittenPlan:
    """`tables` holds cost, mix and unserved where they lie beside plan.json; `acquisitions` and `cost_by_category_usd` (present value) come
    from plan.json itself."""

    file: str
    name: str
    hash: str
    status: str
    cost_usd: float
    lower_usd: float
    cost_by_category_usd: dict[str, float]
    acquisitions: pd.DataFrame
    tables: dict[str, pd.DataFrame]


def read_written_plan(path: str | Path) -> WrittenPlan:
    """From plan.json or its directory. Raises CaseError: unreadable, no plan.json, a plan without values."""
    import pandas as pd

    file = Path(path) / PLAN_FILE if Path(path).is_dir() else Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is no JSON"
        raise CaseError(file, "", f"cannot be read ({told})", REMEDY) from error
    if not isinstance(content, dict) or "acquisitions" not in content or "objective_usd" not in content:
        raise CaseError(file, "", "is no plan.json", REMEDY)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise CaseError(file, "schema_version", f"is {content.get('schema_version')}", "plan the case again with this version")
    cost, lower = content.get("objective_usd"), content.get("lower_bound_true_usd")
    if cost is None or lower is None:
        raise CaseError(file, "objective_usd", f"is missing: the plan is {content.get('status')}", "give a plan that exists")
    tables = {}
    for name in ("cost", "mix", "unserved"):
        table = file.parent / f"{name}.csv"
        if table.is_file():
            tables[name] = pd.read_csv(table, keep_default_na=False)
    try:
        categories = {str(name): float(both["present_value"]) for name, both in content["cost_by_category_usd"].items()}
        rows: list[dict[str, Any]] = content["acquisitions"]
        signed = frame(ACQUISITION_COLUMNS, pd.DataFrame(rows, columns=list(ACQUISITION_COLUMNS)))
        case = content["case"]
        return WrittenPlan(
            str(path), str(case["name"]), str(case["hash"]), str(content["status"]), float(cost), float(lower), categories, signed, tables
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CaseError(file, "", f"is no plan.json ({' '.join(str(error).split())})", REMEDY) from error
