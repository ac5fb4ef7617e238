"""Paths read over the periods, all in one table (case reference, section 1).

Row k of the table is a path at one instant per period:  value[k, t] = e[base[k, t]] * (1 + e[growth[k, t]]) ** years[k, t]
with e the extended parameter vector. Every form of a path fits: only the form "growth" has a growth that is not ZERO.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from optimizer.build.parameters import ONE, ZERO, ParameterTable
from optimizer.economics.calendar import Calendar, Instants
from optimizer.spec.resolved import Path, Quantity

UNIT_ROW = 0
"""The row of ones: pads lists of factors."""


@dataclass(frozen=True)
class PathTable:
    """Structure of R rows."""

    base: np.ndarray  # int[R, T]
    growth: np.ndarray  # int[R, T]
    years: np.ndarray  # [R, T]

    def read(self, e: Any) -> Any:
        """[R, T]: the value of every row; `e` is the extended parameter vector, numpy or jax."""
        return e[self.base] * (1.0 + e[self.growth]) ** self.years


@dataclass
class PathReader:
    """Collects rows while the structure is built; the same path at the same instants is one row."""

    calendar: Calendar
    table: ParameterTable
    _rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    _known: dict[tuple, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add(np.full(self.calendar.periods, ONE), np.full(self.calendar.periods, ZERO), np.zeros(self.calendar.periods))

    def row(self, path: Path, instants: Instants) -> int:
        """The row of a path at one instant per period."""
        key = (path.form, tuple(q.key for q in path.values), path.dates, instants.name)
        if key not in self._known:
            self._known[key] = self._add(*self._reads(path, instants))
        return self._known[key]

    def growth_row(self, growth_per_year: Quantity, instants: Instants) -> int:
        """The row of (1 + g) ** years; the unit row where the number is zero by default is still a row, because g is a parameter."""
        key = ("price_growth", growth_per_year.key, instants.name)
        if key not in self._known:
            periods = self.calendar.periods
            growth = np.full(periods, self.table.at(growth_per_year))
            self._known[key] = self._add(np.full(periods, ONE), growth, instants.years)
        return self._known[key]

    def least_rows(self, path: Path) -> list[int]:
        """Rows whose minimum is the least over the period: the first day, and every step that starts inside a period."""
        rows = [self.row(path, self.calendar.first)]
        if path.form != "by_date":
            return rows
        offsets = np.array([self.calendar.offset(d) for d in path.dates])
        steps = self.table.all(path.values)
        first = steps[_entry(offsets, self.calendar.first.offset)]
        inside = [np.nonzero((offsets > a) & (offsets < b))[0] for a, b in zip(self.calendar.day[:-1], self.calendar.day[1:], strict=True)]
        for turn in range(max((len(i) for i in inside), default=0)):
            base = np.array([steps[i[turn]] if turn < len(i) else before for i, before in zip(inside, first, strict=True)])
            rows.append(self._add(base, np.full(len(base), ZERO), np.zeros(len(base))))
        return rows

    def keys(self, rows: list[int], t: int) -> tuple[str, ...]:
        """Key paths of the numbers that the rows read in period t."""
        return self.table.keys(int(column[t]) for row in rows for column in self._rows[row][:2])

    def paths(self) -> PathTable:
        base, growth, years = (np.array(column) for column in zip(*self._rows, strict=True))
        return PathTable(base, growth, years)

    def _reads(self, path: Path, instants: Instants) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        periods = self.calendar.periods
        at = self.table.all(path.values)
        flat, still = np.full(periods, ZERO), np.zeros(periods)
        if path.form == "constant":
            return np.full(periods, at[0]), flat, still
        if path.form == "growth":
            return np.full(periods, at[0]), np.full(periods, at[1]), instants.years
        if path.form == "by_period":
            return at[np.arange(periods)], flat, still
        offsets = np.array([self.calendar.offset(d) for d in path.dates])
        return at[_entry(offsets, instants.offset)], flat, still

    def _add(self, base: np.ndarray, growth: np.ndarray, years: np.ndarray) -> int:
        self._rows.append((base, growth, years))
        return len(self._rows) - 1


def _entry(offsets: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """int[T]: the last entry with from <= instant (the first entry where none is)."""
    return np.maximum(np.searchsorted(offsets, instants, side="right") - 1, 0)


def padded(lists: list[list[int]], fill: int = UNIT_ROW) -> np.ndarray:
    """int[X, longest]: lists of row numbers, filled up with a neutral row."""
    longest = max((len(one) for one in lists), default=0)
    return np.array([one + [fill] * (longest - len(one)) for one in lists], int).reshape(len(lists), longest)


def product(rows: Any, factors: np.ndarray, xp: ModuleType) -> Any:
    """[..., T]: the product over the last axis of `factors` int[..., M] of the rows it names; ones where M = 0."""
    result = xp.ones((*factors.shape[:-1], rows.shape[1]))
    for m in range(factors.shape[-1]):
        result = result * rows[factors[..., m]]
    return result
