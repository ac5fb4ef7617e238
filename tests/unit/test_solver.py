"""The solver's linear algebra against what it claims: adjoint operators, an exact factorisation, a scaling that is undone exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver import newton, substitution
from optimizer.solver.layout import bucket, make_layout
from optimizer.solver.operators import apply, dot, system, transpose
from tests.oracle.random_programs import FAMILIES, random_program

FAMILIES_WITH_EVERY_ROW = ("plain", "limits", "sides", "cvar", "windows", "linking", "contingency", "tree_all_rows")


def random_like(tree, mask, seed: int, positive: bool = False):
    rng = np.random.default_rng(seed)

    def draw(a, m):
        values = rng.normal(size=np.shape(a))
        return jnp.asarray(np.exp(values) if positive else values) * m

    return jax.tree.map(draw, tree, mask)


@pytest.mark.parametrize("family", FAMILIES_WITH_EVERY_ROW)
def test_transpose_is_the_adjoint_of_apply(family: str) -> None:
    layout = make_layout(random_program(0, **FAMILIES[family]))
    v = random_like(layout.data.cost, layout.data.active, 1)
    y = random_like(layout.data.rhs, layout.data.row_active, 2)
    left, right = dot(apply(layout.shape, layout.data, v), y), dot(v, transpose(layout.shape, layout.data, y))
    assert abs(float(left - right)) <= 1e-12 * (1 + abs(float(left)))


@pytest.mark.parametrize("family", FAMILIES_WITH_EVERY_ROW)
def test_the_factor_solves_its_system(family: str) -> None:
    layout = make_layout(random_program(0, **FAMILIES[family]))
    shape, data = layout.shape, layout.data
    theta = random_like(data.cost, data.active, 3, positive=True)
    y = random_like(data.rhs, data.row_active, 4)
    z = jnp.asarray(np.random.default_rng(5).normal(size=shape.acquisitions)) * data.active.z
    rows, own = jax.jit(system, static_argnums=0)(shape, data, theta, y, z)
    f = newton.factor(shape, data, theta)
    got_y, got_z = jax.jit(substitution.solve, static_argnums=0)(shape, data, f, rows, own)
    for name, want, got in zip(y._fields, y, got_y, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-8, err_msg=f"{family} {name}")
    np.testing.assert_allclose(got_z, z, atol=1e-8)


def test_buckets_waste_at_most_an_eighth_of_large_sizes() -> None:
    for n in range(33, 5000, 7):
        assert n <= bucket(n) <= 1.125 * n + 1
        assert bucket(bucket(n)) == bucket(n)


def test_a_second_solve_of_a_shape_compiles_nothing() -> None:
    solve(random_program(0, **FAMILIES["plain"]), Settings())
    assert solve(random_program(1, **FAMILIES["plain"]), Settings()).compilations == 0


def test_one_iteration_is_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = newton.factor
    monkeypatch.setattr(newton, "factor", lambda *a: (calls.append(1), real(*a))[1])
    solution = solve(random_program(0, **FAMILIES["plain"]), Settings())
    assert len(calls) == solution.iterations + 1  # and one for the starting point
