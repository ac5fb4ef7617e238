"""The solver's linear algebra against what it claims: adjoint operators, an exact factorisation, a scaling that is undone exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer import devices
from optimizer.program.certificate import Status
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver import compiled, cut, interior_point
from optimizer.solver import layout as layouts
from optimizer.solver.layout import bucket, make_layout
from optimizer.solver.operators import apply, transpose
from optimizer.solver.refinement import ROUNDS, Vector, Weights, gmres
from optimizer.solver.structure import Both
from tests.oracle.random_programs import FAMILIES, random_program

FAMILIES_WITH_EVERY_ROW = ("plain", "limits", "sides", "cvar", "windows", "linking", "contingency", "tree_all_rows")


def random_like(tree, mask, seed: int, positive: bool = False):
    rng = np.random.default_rng(seed)

    def draw(a, m):
        values = rng.normal(size=np.shape(a))
        return jnp.asarray(np.exp(values) if positive else values) * m

    return jax.tree.map(draw, tree, mask)


def columns(data) -> tuple[Both, Both]:
    """(numbers in the shape of the columns, which of them are variables)."""
    return Both(data.cells.terms.cost, data.own.cost), Both(data.cells.terms.active, data.own.active)


def rows(data) -> tuple[Both, Both]:
    return Both(data.cells.terms.rhs, data.own.rhs), Both(data.cells.terms.row_active, data.own.row_active)


def dot(a, b) -> float:
    return float(sum(jnp.vdot(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)))


@pytest.mark.parametrize("family", FAMILIES_WITH_EVERY_ROW)
def test_transpose_is_the_adjoint_of_apply(family: str) -> None:
    layout = make_layout(random_program(0, **FAMILIES[family]))
    v, y = random_like(*columns(layout.data), 1), random_like(*rows(layout.data), 2)
    left, right = dot(apply(layout.shape, layout.data, v), y), dot(v, transpose(layout.shape, layout.data, y))
    assert abs(left - right) <= 1e-12 * (1 + abs(left))


@pytest.mark.parametrize("family", FAMILIES_WITH_EVERY_ROW)
def test_the_factor_solves_its_system(family: str) -> None:
    layout = make_layout(random_program(0, **FAMILIES[family]))
    shape, k = layout.shape, compiled.compile_for(layout.shape, layout.data)
    data = k.place(layout.data)
    theta, right = random_like(*columns(data), 3, positive=True), random_like(*rows(data), 4)
    at_z = jnp.asarray(np.random.default_rng(5).normal(size=shape.acquisitions)) * data.own.active[: shape.acquisitions]
    f = k.factor(data, theta, jnp.asarray(1.0))
    wanted = Vector(right.cells, jnp.concatenate([right.own, at_z]))
    # the product is that with the proximal term, which the factor holds too
    _, product = k.attempt(data, f, Weights(jnp.asarray(1.0), jnp.asarray(1.0)), wanted)
    for name, want, got in zip(wanted._fields, wanted, product, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-8, err_msg=f"{family} {name}")


def test_buckets_waste_at_most_a_sixteenth_of_large_sizes() -> None:
    for n in range(1, 5000, 7):
        assert n <= bucket(n) <= max(n + 7, n * 17 / 16 + 1)
        assert bucket(bucket(n)) == bucket(n)


def test_a_second_solve_of_a_shape_compiles_nothing() -> None:
    solve(random_program(0, **FAMILIES["plain"]), Settings())
    assert solve(random_program(1, **FAMILIES["plain"]), Settings()).compilations == 0


def test_one_iteration_is_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = interior_point.compile_for

    def counting(shape, data):
        k = real(shape, data)
        return k._replace(factor=lambda *a: (calls.append(1), k.factor(*a))[1])

    monkeypatch.setattr(interior_point, "compile_for", counting)
    solution = solve(random_program(0, **FAMILIES["plain"]), Settings())
    assert len(calls) == solution.iterations + 1  # and one for the starting point


@pytest.mark.parametrize("family", ["plain", "sides", "limits", "cvar"])
def test_the_acquisitions_of_a_pool_close_the_coupling_as_the_dense_product_does(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large programs take the structured product; here it is made to serve a small one."""
    program = random_program(0, **FAMILIES[family])
    dense = make_layout(program)
    monkeypatch.setattr(layouts, "SMALL", (dict.fromkeys(layouts.SMALL[0], 0),))
    structured = make_layout(program)
    assert structured.shape.members > 0
    assert dense.shape.members == 0
    answers = []
    for layout in (dense, structured):
        iterates = interior_point.interior_point(layout, 30, 1e-9)
        best = min(iterates, key=lambda i: i.gap_estimate + i.primal_error + i.dual_error)  # beyond the goal digits are lost again
        answers.append(best.primal_cost)
    assert answers[0] == pytest.approx(answers[1], rel=1e-7)


def test_gmres_solves_what_a_wrong_preconditioner_does_not() -> None:
    rng = np.random.default_rng(0)
    n = 40
    matrix = np.eye(n) + 0.01 * rng.normal(size=(n, n))
    matrix[:3] *= 1e4  # three directions that the preconditioner has not seen
    want = rng.normal(size=n)
    scale = 1e12
    right = matrix @ want * scale

    def combine(a, b, s, t):
        return s * a + t * b, np.linalg.norm(s * a + t * b)

    def project(a, b):
        return a - (a @ b) * b, a @ b

    parts, left = gmres(lambda v: (v, matrix @ v * scale), project, combine, right, float(np.linalg.norm(right)))
    x = sum(weight * vector for weight, vector in parts)
    assert len(parts) <= ROUNDS
    assert np.linalg.norm(matrix @ x - matrix @ want) <= 1e-6 * np.linalg.norm(matrix @ want)
    assert left >= 0


@pytest.mark.parametrize("family", ["tree", "linking", "cvar"])
def test_the_coupling_closed_over_outputs_finds_the_same_optimum(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What programs with more acquisitions than outputs take."""
    program = random_program(1, **FAMILIES[family])
    settings = Settings(gap_relative=1e-7)
    over_acquisitions = solve(program, settings)
    real = layouts.padded_shape
    monkeypatch.setattr(layouts, "padded_shape", lambda *a: real(*a)._replace(acquisition_space=False))
    assert not make_layout(program).shape.acquisition_space
    over_outputs = solve(program, settings)
    assert over_acquisitions.status is over_outputs.status is Status.CERTIFIED
    assert over_outputs.certificate.objective == pytest.approx(over_acquisitions.certificate.objective, rel=2e-7)


def test_all_chunks_at_once_find_what_one_after_the_other_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelerators with memory to spare take."""
    program = random_program(0, **FAMILIES["windows"])
    monkeypatch.setattr(layouts, "SMALL", (dict.fromkeys(layouts.SMALL[0], 0),))
    for name, value in (("LEAST_BYTES", 0), ("CHUNK_BYTES", 1), ("LEAST_LANES", 1)):
        monkeypatch.setattr(cut, name, value)
    answers = []
    for streamed in (True, False):
        layout = make_layout(program, streamed=streamed)
        assert layout.shape.groups > 1 and layout.shape.streaming == streamed and (streamed or layout.shape.chunks == 1)
        iterates = interior_point.interior_point(layout, 12, 1e-7)
        answers.append(min(iterates, key=lambda i: i.gap_estimate + i.primal_error + i.dual_error).primal_cost)
    assert answers[0] == pytest.approx(answers[1], rel=1e-7)


def test_compiled_code_is_dropped_when_the_process_is_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer, from code that is loaded anew, and no compilation."""
    program = random_program(0, **FAMILIES["plain"])
    first = solve(program, Settings())
    kept = compiled._compile.cache_info().currsize
    monkeypatch.setattr(devices, "MOST_MAPS", 0.0)
    again = solve(program, Settings())
    assert kept >= 1
    assert compiled._compile.cache_info().currsize == 1
    assert again.compilations == 0
    assert again.certificate.objective == first.certificate.objective
