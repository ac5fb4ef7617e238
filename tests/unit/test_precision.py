"""Shorter arithmetic: what it reaches, and that the certificate does not depend on it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from optimizer.program.certificate import Status
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver.interior_point import SINGLE_GAP, as_type, interior_point, suitable
from optimizer.solver.layout import make_layout
from tests.oracle.random_programs import FAMILIES, random_program

FAMILIES_TRIED = ("plain", "limits", "cvar", "tree_all_rows")


@pytest.mark.parametrize("family", FAMILIES_TRIED)
def test_each_precision_is_certified_at_its_gap(family: str) -> None:
    program = random_program(0, **FAMILIES[family])
    exact = solve(program, Settings(engine="interior", gap_relative=1e-8))
    assert exact.status is Status.CERTIFIED
    optimum = exact.certificate.objective
    for precision, gap in (("float32", 1e-4), ("mixed", 1e-6)):
        found = solve(program, Settings(engine="interior", gap_relative=gap, precision=precision))
        c = found.certificate
        assert found.status is Status.CERTIFIED, f"{family} {precision}: {c.reason}"
        slack = 1e-8 * abs(optimum)
        assert c.lower_bound <= optimum + slack and c.objective >= optimum - slack
        assert c.objective <= optimum + 1.01 * gap * max(1.0, abs(optimum)) + slack
        assert [line.iteration for line in found.log] == list(range(len(found.log)))  # the change of arithmetic repeats no iteration


def test_mixed_goes_through_single_and_ends_in_double_precision() -> None:
    layout = make_layout(random_program(0, **FAMILIES["plain"]))
    kinds = [(np.dtype(i.state.own.y.dtype).name, i.gap_estimate) for i in interior_point(layout, 30, 1e-8, precision="mixed")]
    single = [gap for name, gap in kinds if name == "float32"]
    assert [name for name, _ in kinds] == ["float32"] * len(single) + ["float64"] * (len(kinds) - len(single))
    assert len(single) > 2 and single[-1] < SINGLE_GAP and all(gap >= SINGLE_GAP for gap in single[:-1])
    assert min(gap for _, gap in kinds) < 1e-8


def test_a_solve_resumes_in_the_arithmetic_it_was_in() -> None:
    layout = make_layout(random_program(0, **FAMILIES["plain"]))
    whole = list(interior_point(layout, 30, 1e-8, precision="mixed"))
    for at in (2, len(whole) - 2):
        state = jax.device_get(whole[at].state)
        again = list(interior_point(layout, 30, 1e-8, state, whole[at].iteration, "mixed"))
        assert [i.iteration for i in again] == [i.iteration for i in whole[at:]]
        assert again[-1].primal_cost == pytest.approx(whole[-1].primal_cost, rel=1e-9)


def test_what_auto_stands_for() -> None:
    assert suitable("auto", "cpu") == suitable("auto", "gpu") == "float64" and suitable("auto", "tpu") == "mixed"
    assert suitable("float32", "cpu") == "float32"
    with pytest.raises(ValueError, match="must be one of auto, float64, mixed, float32"):
        Settings(precision="double")


def test_numbers_change_their_type_and_nothing_else_does() -> None:
    layout = make_layout(random_program(0, **FAMILIES["plain"]))
    short = as_type(layout.data, "float32")
    for a, b in zip(jax.tree.leaves(layout.data), jax.tree.leaves(short), strict=True):
        if a.dtype == np.float64:
            assert b.dtype == np.float32
        else:
            assert b.dtype == a.dtype
            np.testing.assert_array_equal(a, b)
