"""Tidy tables whose columns have one type each, with or without rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

TEXT = frozenset(
    "period scenario category place provider source offer kind chip mode block workload origin unit name limit set_by price_unit".split()
)
DATES = frozenset({"signing_date", "delivery_date", "end_date", "last_end_date"})
FLAGS = frozenset({"assumed", "preemptible", "binding"})
"""All other columns are numbers, with the unit at the end of the name or in the column `unit`."""


def frame(columns: Sequence[str], rows: Sequence[tuple] | Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """A table from rows, from one array per column, or from a wider table."""
    data = pd.DataFrame(rows, columns=list(columns))
    types = {name: "bool" if name in FLAGS else "str" if name in TEXT else "float64" for name in columns if name not in DATES}
    return data.astype(types)
