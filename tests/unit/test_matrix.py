"""The products of `Matrix` are those of scipy.sparse."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.program.matrix import Matrix


@pytest.mark.parametrize("entries", [0, 60])
def test_products_are_scipys(entries: int) -> None:
    rng = np.random.default_rng(1)
    place = rng.choice(7 * 11, entries, replace=False)
    m = Matrix(place // 11, place % 11, rng.normal(size=entries), (7, 11))
    theirs, wide, tall = m.csr(), rng.normal(size=11), rng.normal(size=7)
    np.testing.assert_allclose(m @ wide, theirs @ wide, atol=1e-14)
    np.testing.assert_allclose(m.T @ tall, theirs.T @ tall, atol=1e-14)
    np.testing.assert_allclose(abs(m).T @ tall, abs(theirs).T @ tall, atol=1e-14)
    np.testing.assert_allclose((-2.0 * m).maximum(0.0) @ wide, (-2.0 * theirs).maximum(0) @ wide, atol=1e-14)
    np.testing.assert_allclose(m.sums_of_rows(), np.asarray(theirs.sum(axis=1)).ravel(), atol=1e-14)
    np.testing.assert_array_equal(m.dense([5, 2]), theirs.toarray()[[5, 2]])


def test_places_are_merged_and_what_cancels_is_gone() -> None:
    m = Matrix(np.array([1, 0, 1, 0]), np.array([2, 0, 2, 0]), np.array([1.0, 3.0, 0.5, -3.0]), (2, 3)).merged()
    assert (m.row.tolist(), m.column.tolist(), m.value.tolist()) == ([1], [2], [1.5])
