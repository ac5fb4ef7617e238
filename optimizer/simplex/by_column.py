"""A sparse matrix by columns, as HiGHS takes it, put together from coordinates in numpy alone.

scipy.sparse takes longer to load than a small program to solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.program import Array

INDEX = np.int32  # HiGHS's own


@dataclass(frozen=True)
class ByColumn:
    """value[i] stands in row[i] of the column j with start[j] <= i < start[j + 1]."""

    start: Array  # int32[columns + 1]
    row: Array  # int32[E]
    value: Array  # [E]
    shape: tuple[int, int]  # rows, columns


class Entries:
    """Coordinates of a matrix under construction; no place is put twice."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []

    def put(self, row: Array, column: Array, value: Array | float) -> None:
        """One entry per element of the broadcast of the three; zeros are left out."""
        value = np.asarray(value, float)
        everything = bool((value != 0).all())  # asked before the broadcast, which may be hundreds of times as large
        spread = np.broadcast_arrays(row, column, value)
        kept = () if everything else spread[2] != 0
        row, column, value = (part[kept].ravel() for part in spread)
        if len(row):
            self.parts.append(_part(row, column, value))

    def by_column(self, shape: tuple[int, int]) -> ByColumn:
        """Every column holds its entries in the order in which they were put."""
        start = np.zeros(shape[1] + 1, INDEX)
        count = start[1:]
        for part in self.parts:
            count[part.columns] += part.lengths
        np.cumsum(count, out=count)
        row, value, following = np.empty(start[-1], INDEX), np.empty(start[-1]), start[:-1].copy()
        for part in self.parts:
            first = following[part.columns]
            place = first.copy() if part.begins is None else np.arange(len(part.row)) + np.repeat(first - part.begins, part.lengths)
            row[place], value[place] = part.row, part.value
            following[part.columns] += part.lengths
        return ByColumn(start, row, value, shape)


@dataclass(frozen=True)
class _Part:
    """What one `put` brought, by ascending column: `lengths` entries in each of `columns`, the first at `begins` (None: one in each)."""

    row: Array
    value: Array
    columns: Array | slice
    lengths: Array | int
    begins: Array | None


def _part(row: Array, column: Array, value: Array) -> _Part:
    step = np.diff(column)
    if (step > 0).all():
        first, last = int(column[0]), int(column[-1])
        together = last - first + 1 == len(column)
        return _Part(row, value, slice(first, last + 1) if together else column, 1, None)
    if (step < 0).any():
        order = np.argsort(column, kind="stable")
        row, column, value = row[order], column[order], value[order]
        step = np.diff(column)
    begins = np.concatenate([[0], np.flatnonzero(step) + 1])
    return _Part(row, value, column[begins], np.diff(np.append(begins, len(column))), begins)
