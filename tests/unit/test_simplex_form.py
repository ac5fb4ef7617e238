"""The extensive form's matrix, put together by columns, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse

from optimizer.simplex.by_column import Entries
from optimizer.simplex.extensive import extensive_form
from scripts.benchmarking.reference_family import reference_program
from tests.oracle.random_programs import FAMILIES, random_program


@pytest.mark.parametrize("seed", range(5))
def test_columns_hold_what_was_put(seed: int) -> None:
    """In columns that ascend, that lie together, that repeat and in no order; zeros are left out."""
    rng = np.random.default_rng(seed)
    shape, entries, dense = (40, 30), Entries(), np.zeros((40, 30))
    ascending, together = np.sort(rng.choice(30, 12, replace=False)), np.arange(5, 25)
    for first, columns in ((0, ascending), (10, together), (20, np.sort(rng.integers(0, 30, 50))), (30, rng.integers(0, 30, 60))):
        row = first + rng.integers(0, 10, len(columns))
        place = np.unique(np.stack([row, columns], 1), axis=0, return_index=True)[1]
        kept = np.sort(place)
        value = np.where(rng.random(len(kept)) < 0.2, 0.0, rng.normal(size=len(kept)))
        entries.put(row[kept], columns[kept], value)
        dense[row[kept], columns[kept]] = value
    entries.put(np.zeros((0, 1), int), np.zeros((1, 3), int), 1.0)
    found = entries.by_column(shape)
    again = sparse.csc_matrix((found.value, found.row, found.start), shape=found.shape)
    assert np.array_equal(again.toarray(), dense)
    assert len(found.value) == np.count_nonzero(dense)
    assert (found.start.dtype, found.row.dtype) == (np.int32, np.int32)


def test_one_value_is_spread_over_rows_and_columns() -> None:
    entries = Entries()
    entries.put(np.array([[0], [1]]), np.array([0, 2]), -1.0)
    found = entries.by_column((2, 3))
    assert found.start.tolist() == [0, 2, 2, 4] and found.row.tolist() == [0, 1, 0, 1] and set(found.value) == {-1.0}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_place_stands_twice(family: str) -> None:
    """HiGHS refuses a matrix in which one does."""
    form = extensive_form(random_program(1, **FAMILIES[family]))
    place = form.entries.row * form.entries.shape[1] + np.repeat(np.arange(form.entries.shape[1]), np.diff(form.entries.start))
    assert len(np.unique(place)) == len(place)


def test_rows_ascend_in_every_column_of_the_reference_family() -> None:
    assert extensive_form(reference_program(2)).matrix.has_sorted_indices
