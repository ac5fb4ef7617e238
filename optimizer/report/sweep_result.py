"""The answer to a sweep: one row per point."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.settings import Settings

PROVEN = ("CERTIFIED", "INFEASIBLE")
INVALID = "INVALID"


@dataclass(frozen=True)
class Sweep:
    """`rows` stand in the order of `points` (key path -> value). A row holds

    status              that of a plan, or INVALID: the case cannot be used with these values
    reason              where the status is not CERTIFIED
    objective_usd, lower_bound_usd, penalties_usd    as in a plan, expected present value; absent where there is no plan
    gap_relative        of the lower bound, which holds for the true spare replicas where work queues
    iterations, seconds
    cost_CATEGORY_usd   expected present value; the categories add up to objective_usd
    share_MODE          share of the expected compute held or rented over the horizon
    notes               warnings that are not those of the case
    """

    case_name: str
    case_file: str
    fields: tuple[str, ...]
    points: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]
    solved: int  # points that this call solved; the others were there
    directory: Path | None
    settings: Settings = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the rows, in a fixed order; costs and shares that are zero in every point are left out."""
        known = ("status", "objective_usd", "lower_bound_usd", "gap_relative", "penalties_usd", "iterations", "seconds")
        names = {name for row in self.rows for name in row}
        groups = [sorted(name for name in names if name.startswith(prefix)) for prefix in ("share_", "cost_")]
        moving = [name for group in groups for name in group if any(row.get(name) for row in self.rows)]
        return (*known, *moving, "reason", "notes")

    @property
    def table(self) -> pd.DataFrame:
        """A row per point: the varied fields, then `columns`."""
        import pandas as pd

        return pd.DataFrame([{**point, **{name: row.get(name) for name in self.columns}} for point, row in self])

    def __iter__(self):
        """(point, row) in turn."""
        return iter(zip(self.points, self.rows, strict=True))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def exit_code(self) -> int:
        """0 where every point is CERTIFIED or proven INFEASIBLE, 1 where some FAILED or are INVALID, else 3."""
        statuses = {row["status"] for row in self.rows}
        if statuses & {"FAILED", INVALID}:
            return 1
        return 3 if statuses - set(PROVEN) else 0

    def summary(self, width: int = 100) -> str:
        """The page that `capacity sweep` prints, without colours."""
        from optimizer.report.page import text_of
        from optimizer.report.sweep_page import sweep_page

        return text_of(sweep_page(self), width)
