"""The kernels against dense numpy."""

from __future__ import annotations

from fractions import Fraction

import jax.numpy as jnp
import numpy as np

from kernels import blocked
from kernels.cells import inverse_factor, schur
from kernels.segments import exclusive_of_group, segment_sum


def test_segment_sum_is_the_one_hot_product() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=(20, 3, 5)), rng.integers(0, 6, 20)
    np.testing.assert_allclose(segment_sum(values, groups, 6), np.tensordot(np.eye(6)[:, groups], values, 1), atol=1e-14)


def test_exclusive_sums_keep_all_digits_where_one_member_dominates() -> None:
    values = np.array([[1e12], [1e-9], [3e-9], [2.0], [2.0]])
    groups, other = np.array([0, 0, 0, 1, 1]), np.array([[1e-10], [0.5]])
    total, without = exclusive_of_group(jnp.asarray(values), jnp.asarray(groups), jnp.asarray(other))
    for i, g in enumerate(groups):
        exact = Fraction(other[g, 0]) + sum(Fraction(values[j, 0]) for j in range(5) if groups[j] == g and j != i)
        assert abs(Fraction(float(without[i, 0])) - exact) <= Fraction(1, 10**14) * exact
    np.testing.assert_allclose(total[:, 0], [1e12, 4.5], rtol=1e-15)


def test_inverse_factor_and_schur() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 6, 6)) * 10.0 ** rng.uniform(-6, 6, (4, 6, 1))
    matrix = root @ root.transpose(0, 2, 1)
    inverse = np.asarray(inverse_factor(jnp.asarray(matrix), 0.0))
    np.testing.assert_allclose(inverse @ matrix @ inverse.transpose(0, 2, 1), np.broadcast_to(np.eye(6), (4, 6, 6)), atol=1e-6)
    coupling, diagonal = rng.normal(size=(2, 3, 4, 5)), rng.uniform(1, 2, (2, 3, 5))
    want = -np.einsum("nbig,nbg,nbjg->nbij", coupling, 1 / diagonal, coupling)
    np.testing.assert_allclose(schur(jnp.asarray(coupling), jnp.asarray(diagonal)), want, atol=1e-12)


def test_the_blocked_factor_solves_across_its_blocks(monkeypatch) -> None:
    monkeypatch.setattr(blocked, "BLOCK", 7)
    rng = np.random.default_rng(2)
    root = rng.normal(size=(30, 30)) * 10.0 ** rng.uniform(-4, 4, (30, 1))
    matrix, want = root @ root.T, rng.normal(size=30)
    f = blocked.blocked_factor(jnp.asarray(matrix), (0.0, 1e-10))
    assert len(f.inverse) == 5
    got = blocked.blocked_solve(f, jnp.asarray(matrix @ want))
    np.testing.assert_allclose(matrix @ got, matrix @ want, rtol=1e-8, atol=1e-8 * np.abs(matrix @ want).max())


def test_the_blocked_factor_of_a_singular_matrix_is_that_of_its_shift() -> None:
    matrix = np.ones((6, 6))
    f = blocked.blocked_factor(jnp.asarray(matrix), (0.0, 1e-6))
    vector = np.arange(6.0)
    got = np.asarray(blocked.blocked_solve(f, jnp.asarray(vector)))
    np.testing.assert_allclose((matrix + 1e-6 * np.eye(6)) @ got, vector, atol=1e-8)
