"""The solver's linear algebra against what it claims: adjoint operators, an exact factorisation, a scaling that is undone exactly."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

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
from optimizer.solver.border import add_border
from optimizer.solver.coupling import close
from optimizer.solver.factor import factor_cells
from optimizer.solver.layout import bucket, make_layout
from optimizer.solver.normal import product
from optimizer.solver.operators import apply, transpose
from optimizer.solver.refinement import ROUNDS, Vector, Weights, attempt, by_kind, end_to_end, refine, room_for
from optimizer.solver.structure import Both, node_first
from optimizer.solver.substitution import Factor
from tests.oracle.random_programs import FAMILIES, random_program

INTERIOR = Settings(engine="interior")
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


def factor_of(shape, data, theta) -> Factor:
    """Without the proximal term."""
    found = jax.jit(partial(factor_cells, shape))(data, theta, jnp.asarray(0.0))
    coupling = jax.jit(partial(close, shape))(data._replace(cells=None), found.theta.own, found.state_schur, found.link_outputs)
    whole = Factor(found.theta, found.cells, found.link, coupling, None)
    return jax.jit(partial(add_border, shape))(data, whole) if shape.border else whole


def vectors(layout, seed: int) -> tuple:
    """(data, factor, its Theta, right-hand sides of the rows, the same and numbers for the acquisitions as one vector)."""
    shape, data = layout.shape, jax.tree.map(jnp.asarray, layout.data)
    theta, right = random_like(*columns(data), seed, positive=True), random_like(*rows(data), seed + 1)
    at_z = jnp.asarray(np.random.default_rng(seed + 2).normal(size=shape.acquisitions)) * data.own.active[: shape.acquisitions]
    cells = end_to_end(jax.vmap(lambda a: node_first(shape, a))(right.cells))
    return data, factor_of(shape, data, theta), theta, right, Vector(cells, jnp.concatenate([right.own, at_z]))


@pytest.mark.parametrize("family", FAMILIES_WITH_EVERY_ROW)
def test_the_factor_solves_the_product_and_the_product_is_that_through_the_columns(family: str) -> None:
    """A Theta A' y with the acquisitions apart: by cells, column by column, and inverted."""
    layout = make_layout(random_program(0, **FAMILIES[family]))
    shape = layout.shape
    data, f, theta, right, vector = vectors(layout, 3)
    z = vector.own[right.own.size :]
    got, got_z = jax.jit(partial(product, shape))(data, f, Both(by_kind(shape, vector.cells), right.own), z)
    prices = transpose(shape, data, right)
    moved = jax.tree.map(jnp.multiply, theta, prices)
    want = apply(shape, data, moved._replace(own=moved.own.at[: shape.acquisitions].set(z)))
    first = jax.vmap(lambda a: node_first(shape, a))(want.cells)
    for name, g, w in zip((*first._fields, "own"), (*got.cells, got.own), (*first, want.own), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-10, err_msg=f"{family} {name}")
    theta_z = theta.own[: shape.acquisitions]
    want_z = jnp.where(theta_z > 0, prices.own[: shape.acquisitions] - z / jnp.where(theta_z > 0, theta_z, 1.0), 0.0)
    np.testing.assert_allclose(got_z, want_z, atol=1e-10)
    one = jnp.asarray(1.0)
    _, found = jax.jit(partial(attempt, shape))(data, f, Weights(one, one), vector)
    for name, wanted, g in zip(vector._fields, vector, found, strict=True):
        np.testing.assert_allclose(g, wanted, atol=1e-8, err_msg=f"{family} {name}")


def test_work_that_takes_no_capacity_does_not_disturb_the_factor() -> None:
    """Placement on a pool that nothing uses otherwise: its capacity row is dropped, its columns are not."""
    program = random_program(0, **FAMILIES["plain"])
    capacity = program.pair_capacity.copy()
    capacity[:, program.pair_pool == program.pair_pool[0]] = 0.0
    free = replace(program, pair_capacity=capacity)
    assert not make_layout(free).presolved.capacity_active.all()
    found = solve(free, INTERIOR)
    assert found.status is Status.CERTIFIED
    assert sum(line.refinement_rounds for line in found.log) <= 10


def test_refinement_solves_what_a_wrong_factor_does_not() -> None:
    layout = make_layout(random_program(0, **FAMILIES["plain"]))
    shape = layout.shape
    data, f, _, right, _ = vectors(layout, 3)
    run = jax.jit(lambda f, tolerance: refine(shape, data, f, right, tolerance, 1e-9, room_for(shape, data))[0])
    exact = run(f, 1e-9)
    wrong = f._replace(cells=f.cells._replace(served=f.cells.served.at[0, 0, 0, :2].multiply(1e3)))  # a few directions are off
    found = run(wrong, 1e-9)
    assert int(exact.rounds) == 0 and 0 < int(found.rounds) <= ROUNDS
    size = float(jnp.sqrt(jnp.sum(right.cells**2) + jnp.sum(right.own**2)))
    assert float(found.error) <= 1e-9 * size
    for a, b in zip(jax.tree.leaves(found.y), jax.tree.leaves(exact.y), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    hopeless = run(f._replace(cells=f.cells._replace(served=f.cells.served * jnp.nan)), 1e-9)
    assert not float(hopeless.error) <= 1e-9 * size and int(hopeless.rounds) == 0


def test_buckets_waste_at_most_a_sixteenth_of_large_sizes() -> None:
    for n in range(1, 5000, 7):
        assert n <= bucket(n) <= max(n + 7, n * 17 / 16 + 1)
        assert bucket(bucket(n)) == bucket(n)


def test_a_second_solve_of_a_shape_compiles_nothing() -> None:
    solve(random_program(0, **FAMILIES["plain"]), INTERIOR)
    assert solve(random_program(1, **FAMILIES["plain"]), INTERIOR).compilations == 0


def test_one_iteration_is_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = interior_point.compile_for

    def counting(shape, data):
        k = real(shape, data)
        return k._replace(factor=lambda *a: (calls.append(1), k.factor(*a))[1])

    monkeypatch.setattr(interior_point, "compile_for", counting)
    solution = solve(random_program(0, **FAMILIES["plain"]), INTERIOR)
    assert len(calls) == solution.iterations + 1  # and one for the starting point


@pytest.mark.parametrize("family", ["sides", "limits"])
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


@pytest.mark.parametrize("family", ["tree", "linking", "cvar"])
def test_the_coupling_closed_over_outputs_finds_the_same_optimum(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What programs with more acquisitions than outputs take."""
    program = random_program(1, **FAMILIES[family])
    settings = replace(INTERIOR, gap_relative=1e-7)
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
    first = solve(program, INTERIOR)
    kept = compiled._compile.cache_info().currsize
    monkeypatch.setattr(devices, "MOST_MAPS", 0.0)
    again = solve(program, INTERIOR)
    assert kept >= 1
    assert compiled._compile.cache_info().currsize == 1
    assert again.compilations == 0
    assert again.certificate.objective == first.certificate.objective
