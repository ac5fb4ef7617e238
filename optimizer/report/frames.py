"""Tidy tables whose columns have one type each, with or without rows.

pandas takes as long to load as a small case to build, solve and certify. So a table is its columns until somebody asks for a DataFrame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TEXT = frozenset(
    "period scenario category place provider source offer order kind chip mode block workload origin run unit name limit set_by price_unit "
    "first_period last_period min_chips_held slices_held one_place_and_chip precision binds pinned_by".split()
)
DATES = frozenset({"signing_date", "decision_date", "delivery_date", "end_date", "last_end_date"})
FLAGS = frozenset({"assumed", "preemptible", "binding", "expert_parallel", "two_prices"})
"""All other columns are numbers, with the unit at the end of the name or in the column `unit`."""


class Table:
    """`columns`: one array per name, all of one length: texts and dates as objects, flags as bool, numbers as float64."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple] | Mapping[str, Any]) -> None:
        """From rows, or from one array per column."""
        if not isinstance(rows, Mapping):
            rows = dict(zip(columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True))
        self.columns: dict[str, np.ndarray] = {name: np.array(rows[name], _type(name)) for name in columns}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    @property
    def empty(self) -> bool:
        return len(self) == 0

    def only(self, rows: np.ndarray | slice) -> Table:
        """The rows of a mask, of positions or of a slice."""
        return Table(tuple(self.columns), {name: values[rows] for name, values in self.columns.items()})

    @cached_property
    def frame(self) -> pd.DataFrame:
        return frame(tuple(self.columns), self.columns)


def _type(column: str) -> type:
    return bool if column in FLAGS else object if column in TEXT | DATES else float


def frame(columns: Sequence[str], rows: Sequence[tuple] | Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """A DataFrame from rows, from one array per column, or from a wider one."""
    import pandas as pd

    data = pd.DataFrame(rows, columns=list(columns))
    types = {name: "bool" if name in FLAGS else "str" if name in TEXT else "float64" for name in columns if name not in DATES}
    return data.astype(types)


def sums(
    table: Table | pd.DataFrame, by: Sequence[str], of: Sequence[str], weight: str | None = None
) -> dict[tuple[Any, ...], list[float]]:
    """Sums of the columns `of`, weighted by a column, over rows with the same values of `by`; in the order of first appearance."""
    amounts = np.array([np.asarray(table[name], float) for name in of]).T
    if weight is not None:
        amounts = amounts * np.asarray(table[weight], float)[:, None]
    found: dict[tuple[Any, ...], list[float]] = {}
    for key, row in zip(zip(*(table[name].tolist() for name in by), strict=True), amounts.tolist(), strict=True):
        total = found.setdefault(key, [0.0] * len(of))
        for column, value in enumerate(row):
            total[column] += value
    return found


def records(table: Table | pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by the name of the column."""
    names = [str(name) for name in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*(table[name].tolist() for name in table.columns), strict=True)]
