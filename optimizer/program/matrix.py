"""A sparse matrix by its coordinates, for the few products that the bound, the repair and the checks take with it.

scipy.sparse takes longer to load than a small program to certify; it is loaded where scipy's own HiGHS is handed a matrix, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from optimizer.program.program import Array

if TYPE_CHECKING:
    import scipy.sparse as sparse


@dataclass(frozen=True)
class Matrix:
    """value[i] stands at (row[i], column[i]); entries at one place add up."""

    row: Array  # int[E]
    column: Array  # int[E]
    value: Array  # [E]
    shape: tuple[int, int]

    def __matmul__(self, vector: Array) -> Array:
        return np.bincount(self.row, self.value * vector[self.column], self.shape[0])

    @property
    def T(self) -> Matrix:
        return Matrix(self.column, self.row, self.value, (self.shape[1], self.shape[0]))

    def __abs__(self) -> Matrix:
        """Of every entry: of every place where no place has two."""
        return replace(self, value=np.abs(self.value))

    def __rmul__(self, factor: float) -> Matrix:
        return replace(self, value=factor * self.value)

    def maximum(self, least: float) -> Matrix:
        """Of every entry; least <= 0 keeps the zeros."""
        return replace(self, value=np.maximum(self.value, least))

    def sums_of_rows(self) -> Array:
        return np.bincount(self.row, self.value, self.shape[0])

    def merged(self) -> Matrix:
        """One entry for each place whose sum is not zero."""
        place, entry = np.unique(self.row * self.shape[1] + self.column, return_inverse=True)
        value = np.bincount(entry, self.value, len(place))
        some = value != 0
        row, column = np.divmod(place[some], max(self.shape[1], 1))
        return Matrix(row, column, value[some], self.shape)

    def dense(self, rows: Sequence[int] | Array) -> Array:
        """Some rows, [len(rows), shape[1]]."""
        position = np.full(self.shape[0], -1)
        position[rows] = np.arange(len(rows))
        at = position[self.row]
        mine = at >= 0
        out = np.zeros((len(rows), self.shape[1]))
        np.add.at(out, (at[mine], self.column[mine]), self.value[mine])
        return out

    def csr(self) -> sparse.csr_matrix:
        import scipy.sparse as sparse

        return sparse.csr_matrix((self.value, (self.row, self.column)), shape=self.shape)
