"""Tidy tables whose columns have one type each, with or without rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TEXT = frozenset(
    "period scenario category place provider source offer order kind chip mode block workload origin run unit name limit set_by price_unit "
    "first_period last_period min_chips_held slices_held one_place_and_chip precision binds pinned_by".split()
)
DATES = frozenset({"signing_date", "decision_date", "delivery_date", "end_date", "last_end_date"})
FLAGS = frozenset({"assumed", "preemptible", "binding", "expert_parallel"})
"""All other columns are numbers, with the unit at the end of the name or in the column `unit`."""


def frame(columns: Sequence[str], rows: Sequence[tuple] | Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """A table from rows, from one array per column, or from a wider table."""
    import pandas as pd  # takes longer to load than a small case to solve: not before there is something to tell

    data = pd.DataFrame(rows, columns=list(columns))
    types = {name: "bool" if name in FLAGS else "str" if name in TEXT else "float64" for name in columns if name not in DATES}
    return data.astype(types)


def sums(table: pd.DataFrame, by: Sequence[str], of: Sequence[str], weight: str | None = None) -> dict[tuple[Any, ...], list[float]]:
    """Sums of the columns `of`, weighted by a column, over rows with the same values of `by`; in the order of first appearance."""
    amounts = table[list(of)].to_numpy(dtype=float)
    if weight is not None:
        amounts = amounts * table[[weight]].to_numpy(dtype=float)
    found: dict[tuple[Any, ...], list[float]] = {}
    for key, row in zip(zip(*(table[name].tolist() for name in by), strict=True), amounts.tolist(), strict=True):
        total = found.setdefault(key, [0.0] * len(of))
        for column, value in enumerate(row):
            total[column] += value
    return found


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by the name of the column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
