"""Derivatives of the optimal cost against re-solves by HiGHS on the extensive form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.program import Program
from optimizer.program.certificate import Status
from optimizer.program.lagrangian import lagrangian_gradient
from optimizer.program.program import Sparse
from optimizer.settings import Settings
from optimizer.solve import solve
from tests.oracle.extensive import solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program

COSTS = (
    "acquisition_cost", "placement_cost", "unserved_cost", "unserved_cost_deferrable", "rent_cost", "side_slack_cost", "link_slack_cost",
)  # fmt: skip
SIDES = (
    "demand", "demand_deferrable", "held_base", "limit_upper", "limit_lower", "rent_upper", "acquisition_upper", "acquisition_lower",
    "placement_upper",
)  # fmt: skip
COEFFICIENTS = ("pair_capacity", "held_matrix", "limit_matrix", "availability", "side_pair", "side_rent", "block_hours", "node_weight")
STEP = 1e-4
EACH = 3  # entries per array
TRIED = [(family, seed) for family in FAMILIES for seed in range(2)]


def entries(program: Program, name: str, draw: np.random.Generator) -> list[int]:
    """Flat positions whose change leaves a valid program: finite, and above zero where zero is the edge of the allowed."""
    value = values_of(program, name).ravel()
    good = np.isfinite(value) & (value != 0)
    if name in ("limit_upper", "limit_lower"):
        good = np.isfinite(value) & (program.limit_lower != program.limit_upper)
    if name == "acquisition_upper":
        good &= ~program.upper_is_derived
    at = np.nonzero(good)[0]
    return draw.choice(at, min(EACH, len(at)), replace=False).tolist()


def values_of(program: Program, name: str) -> np.ndarray:
    found = getattr(program, name)
    return found.value if isinstance(found, Sparse) else np.asarray(found, float)


def moved(program: Program, name: str, at: int, by: float) -> Program:
    old = getattr(program, name)
    value = values_of(program, name).copy()
    value.reshape(-1)[at] += by
    return replace(program, **{name: Sparse(old.index, value) if isinstance(old, Sparse) else value})


def optimum(program: Program) -> float:
    found = solve_extensive(program)
    assert found.objective is not None
    return float(found.objective)


@pytest.mark.parametrize(("family", "seed"), TRIED)
def test_every_kind_of_number_against_resolves(family: str, seed: int) -> None:
    program = random_program(seed, **FAMILIES[family])
    found = solve(program, Settings(gap_relative=1e-9))
    c = found.certificate
    assert c.status in (Status.CERTIFIED, Status.FEASIBLE) and c.gap_relative < 1e-7, c.reason
    assert c.plan is not None and c.multipliers is not None
    gradient = lagrangian_gradient(program, c.plan, c.multipliers)
    draw, centre = np.random.default_rng(seed), optimum(program)
    assert c.objective == pytest.approx(centre, rel=1e-6)
    compared = 0
    for name in (*COSTS, *SIDES, *COEFFICIENTS):
        assert gradient[name].shape == values_of(program, name).shape, name
        for at in entries(program, name, draw):
            value = float(values_of(program, name).ravel()[at])
            h = STEP * max(abs(value), 1e-3)
            left = (centre - optimum(moved(program, name, at, -h))) / h
            right = (optimum(moved(program, name, at, h)) - centre) / h
            if not np.isfinite(left + right):  # no room to one side: a fixed acquisition
                continue
            g = float(gradient[name].ravel()[at])
            noise = (1e-8 * abs(centre) + c.gap) / h + 1e-5 * max(abs(left), abs(right))
            told = f"{family} {seed} {name}[{at}] = {value}: left {left}, right {right}, ours {g}, noise {noise}"
            if name in COSTS:
                assert right - noise <= g <= left + noise, told
            elif name in SIDES:
                assert left - noise <= g <= right + noise, told
            elif abs(right - left) <= noise:
                assert abs(g - (left + right) / 2) <= 2 * noise, told
            compared += 1
    assert compared > 20
