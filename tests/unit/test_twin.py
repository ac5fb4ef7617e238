"""The jnp bound and repair agree with numpy's on every kind of program."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)

from optimizer.program import twin  # noqa: E402
from optimizer.program.bound import lower_bound  # noqa: E402
from optimizer.program.cost import cost  # noqa: E402
from optimizer.program.program import Multipliers, Plan, Program  # noqa: E402
from optimizer.program.rows import violation  # noqa: E402
from tests.oracle.extensive import Result, solve_extensive  # noqa: E402
from tests.oracle.random_programs import FAMILIES, random_program  # noqa: E402


@cache
def solved(family: str, seed: int) -> tuple[Program, Result]:
    program = random_program(seed, **FAMILIES[family])
    return program, solve_extensive(program)


def noisy(values: Plan | Multipliers, scale: float, seed: int) -> Plan | Multipliers:
    rng = np.random.default_rng(seed)
    return type(values)(*(a * (1 + scale * rng.standard_normal(a.shape)) for a in (getattr(values, f.name) for f in fields(values))))


SOME = ("two_stage", "limits", "sides", "tree_all_rows", "boxed", "rent_open")  # a family costs seconds of compilation


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bound_agrees_to_1e_12(family: str) -> None:
    for seed in range(2):
        program, result = solved(family, seed)
        a = twin.arrays(program)
        for scale in (0.0, 1e-6, 1.0, 1e3):
            multipliers = noisy(result.multipliers, scale, seed)
            bound = lower_bound(program, multipliers)
            value = float(twin.lower_bound_jnp(a, twin.multiplier_arrays(multipliers)))
            size = max(1.0, abs(bound.value), bound.rounding * 1e12 * 1e-2)
            assert abs(value - (bound.value + bound.rounding)) <= 1e-12 * size
            assert abs(value - (bound.value + bound.rounding)) <= max(bound.rounding, 1e-13 * size)


@pytest.mark.parametrize("family", SOME)
def test_the_repaired_plan_is_feasible_and_near(family: str) -> None:
    """Where no row needs a linear program; elsewhere the violation says so."""
    program, result = solved(family, 0)
    a = twin.arrays(program)
    multipliers = twin.multiplier_arrays(result.multipliers)
    for scale, near in ((0.0, 1e-9), (1e-9, 1e-6), (1e-3, 0.5)):
        plan = twin.plan_arrays(noisy(result.plan, scale, 1))
        repaired = twin.repair_jnp(a, plan, multipliers)
        value, worst = twin.upper_bound_jnp(a, plan, multipliers)
        as_plan = Plan(**{k: np.asarray(v) for k, v in repaired.items()})
        found = violation(program, as_plan)
        assert found.bound <= 0.0
        assert float(worst) == pytest.approx(found.row, rel=1e-3, abs=2e-15)
        assert float(value) == pytest.approx(cost(program, as_plan)["total"], rel=1e-12)
        if found.feasible:
            assert result.objective * (1 - 1e-9) - 1e-9 <= float(value)
            assert float(value) - result.objective <= near * max(1.0, abs(result.objective))
        else:
            assert program.limits or program.links or program.sides


def test_nothing_that_is_no_number_leaves_the_repair() -> None:
    program, result = solved("tree_all_rows", 0)
    broken = {k: np.full_like(v, np.nan) for k, v in twin.plan_arrays(result.plan).items()}
    multipliers = {k: np.full_like(v, np.inf) for k, v in twin.multiplier_arrays(result.multipliers).items()}
    value, worst = twin.upper_bound_jnp(twin.arrays(program), broken, multipliers)
    assert np.isfinite(float(value)) and np.isfinite(float(worst))
    assert float(twin.lower_bound_jnp(twin.arrays(program), multipliers)) <= result.objective


def test_one_compilation_serves_a_family() -> None:
    before = twin.lower_bound_jnp._cache_size()
    for seed in range(3):
        program, result = solved("two_stage", seed)
        twin.lower_bound_jnp(twin.arrays(program), twin.multiplier_arrays(result.multipliers))
    assert twin.lower_bound_jnp._cache_size() - before <= 1
