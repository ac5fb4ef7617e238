"""Derivatives of the smoothed plan against differences of smoothed plans at the same barrier, and forward against reverse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer.analysis.moved_program import moved_program
from optimizer.devices import prepare
from optimizer.program.program import Plan, Program, Sparse, array_fields
from optimizer.solver.smoothed import PLAN, smoothed_program
from optimizer.spec import CaseError
from tests.oracle.random_programs import FAMILIES, random_program

CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"
CLOSE = 1e-6
STEP, NEAR = 1e-5, 1e-7
TIED = {"limit_lower": "limit_upper", "link_lower": "link_upper", "acquisition_lower": "acquisition_upper"}
"""Bounds that may be equal, and must then move together."""


def numbers(program: Program, name: str) -> np.ndarray:
    found = getattr(program, name)
    return np.asarray(found.value if isinstance(found, Sparse) else found, float)


def direction(program: Program, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """A random change of every finite number, relative to it."""
    found: dict[str, np.ndarray] = {}
    for name in array_fields():
        array = getattr(program, name)
        if isinstance(array, Sparse) or np.issubdtype(np.asarray(array).dtype, np.floating):
            value = numbers(program, name)
            found[name] = np.where(np.isfinite(value), draw.uniform(-1, 1, value.shape) * np.where(np.isfinite(value), value, 0.0), 0.0)
    for lower, upper in TIED.items():
        tied = numbers(program, lower) == numbers(program, upper)
        found[upper] = np.where(tied, found[lower], found[upper])
    return found


def along(program: Program, d: dict[str, np.ndarray], step: float) -> Program:
    changes = {}
    for name, change in d.items():
        old = getattr(program, name)
        value = numbers(program, name) + step * change
        changes[name] = Sparse(old.index, value) if isinstance(old, Sparse) else float(value) if name == "constant" else value
    return replace(program, **changes)


def difference(above: Plan, below: Plan, step: float) -> dict[str, np.ndarray]:
    return {name: (getattr(above, name) - getattr(below, name)) / (2 * step) for name in PLAN}


def agree(found: Plan, quotient: dict[str, np.ndarray]) -> None:
    for name in PLAN:
        size = np.abs(quotient[name]).max(initial=0.0)
        assert np.abs(getattr(found, name) - quotient[name]).max(initial=0.0) <= CLOSE * max(size, 1e-9), name


@pytest.mark.parametrize("family", ["tree_all_rows", "boxed", "rent_open"])
def test_forward_and_reverse_of_programs(family: str) -> None:
    prepare()
    draw = np.random.default_rng(5)
    program = random_program(3, **FAMILIES[family])
    found = smoothed_program(program)
    d = direction(program, draw)
    forward = found.forward(along(program, d, STEP), along(program, d, -STEP), STEP)
    again = [smoothed_program(along(program, d, sign * NEAR), found.barrier_usd).plan for sign in (1, -1)]
    agree(forward, difference(again[0], again[1], NEAR))
    cotangent = {name: draw.standard_normal(np.shape(getattr(found.plan, name))) for name in PLAN}
    slopes = found.reverse(cotangent)
    one = sum(float((cotangent[name] * getattr(forward, name)).sum()) for name in PLAN)
    other = sum(float((slope * d[name]).sum()) for name, slope in slopes.items())
    size = sum(float(np.abs(cotangent[name] * getattr(forward, name)).sum()) for name in PLAN)
    assert one == pytest.approx(other, abs=1e-7 * size)


def test_forward_and_reverse_of_a_case() -> None:
    found = optimizer.smoothed_plan(CASES / "own_or_rent.yaml")
    draw = np.random.default_rng(1)
    d = draw.standard_normal(len(found.values)) * found.values
    forward = found.forward(d)
    again = [smoothed_program(moved_program(found.built, found.values + s * NEAR * d), found.barrier_usd).plan for s in (1, -1)]
    agree(forward, difference(again[0], again[1], NEAR))
    assert found.reverse({"z": np.ones(len(found.plan.z))}) @ d == pytest.approx(forward.z.sum(), rel=1e-7)


def test_a_dearer_chip_is_bought_less_and_the_barrier_is_named() -> None:
    """The optimum does not move for a dollar; the smoothed plan does, the more the larger the barrier."""
    rough, fine = (optimizer.smoothed_plan(CASES / "own_or_rent.yaml", barrier_usd) for barrier_usd in (1e5, 1e3))
    key = "offers.buy.price_usd_per_chip"
    slopes = [found.forward({key: 1.0}).z.sum() for found in (rough, fine)]
    assert slopes[0] < slopes[1] < 0
    assert (rough.barrier_usd, fine.barrier_usd) == (1e5, 1e3) and rough.excess_usd == pytest.approx(100 * fine.excess_usd)
    assert fine.plan.z.sum() == pytest.approx(400_000, rel=0.01)


def test_what_is_no_derivative_is_refused() -> None:
    with pytest.raises(CaseError, match="dollars above zero"):
        optimizer.smoothed_plan(CASES / "own_or_rent.yaml", -1.0)
    found = optimizer.smoothed_plan(CASES / "own_or_rent.yaml")
    with pytest.raises(KeyError):
        found.forward({"offers.buy.price": 1.0})
    with pytest.raises(ValueError, match="zero everywhere"):
        found.forward({})
    with pytest.raises(ValueError, match="has no orders"):
        found.reverse({"orders": np.ones(1)})
