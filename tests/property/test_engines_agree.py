"""Both engines answer every case of the oracle, the shipped cases and a part of the flagship alike: each one's bound is below the other's
plan. The random programs are in test_solver_random."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from optimizer.build import build
from optimizer.program.certificate import Status
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solution import INTERIOR, SIMPLEX, Solution
from optimizer.solve import solve
from optimizer.spec import load_case
from scripts.benchmarking.problems import PROBLEMS
from tests.oracle.scenarios_of_program import of_scenarios

ORACLE = Path(__file__).resolve().parents[1] / "oracle" / "cases"
FLAGSHIP = "frontier_lab of two scenarios"
SHIPPED = ("two_clouds", "own_or_rent", FLAGSHIP)
NAMES = (*(path.stem for path in sorted(ORACLE.glob("*.yaml"))), *SHIPPED)
GAP = 1e-6


@cache
def program_named(name: str) -> Program:
    """Where work queues, the relaxation that a plan solves first."""
    if name == FLAGSHIP:
        return of_scenarios(PROBLEMS["frontier_lab"].build(0, 0), [0, 1])
    if name in SHIPPED:
        return PROBLEMS[name].build(0, 0)
    return build(load_case(ORACLE / f"{name}.yaml")).program


@cache
def answer(name: str, engine: str) -> Solution:
    return solve(program_named(name), Settings(gap_relative=GAP, engine=engine))


def judged(name: str, engine: str) -> None:
    """CERTIFIED by the engine that was asked; refused or infeasible where the case is so by its name."""
    found = answer(name, engine)
    if "infeasible" in name:
        assert found.status is Status.INFEASIBLE and found.engine == ""
    else:
        assert found.status is (Status.FAILED if "derived_bound" in name else Status.CERTIFIED), found.certificate.reason
        assert found.engine == engine and found.engine_reason == "asked for"


@pytest.mark.parametrize("name", NAMES)
def test_the_simplex_certifies(name: str) -> None:
    judged(name, SIMPLEX)


@pytest.mark.parametrize("name", [name for name in NAMES if "infeasible" not in name and "derived_bound" not in name])
def test_the_interior_point_certifies_the_same(name: str) -> None:
    judged(name, INTERIOR)
    a, b = (answer(name, engine).certificate for engine in (SIMPLEX, INTERIOR))
    assert a.lower_bound <= b.objective and b.lower_bound <= a.objective
    assert abs(a.objective - b.objective) <= max(a.gap, b.gap)


def test_a_part_of_the_flagship_is_a_program_of_its_scenarios() -> None:
    whole = PROBLEMS["frontier_lab"].build(0, 0)
    part = program_named(FLAGSHIP)
    assert len(np.unique(part.scenario_of_node)) == 2 < len(np.unique(whole.scenario_of_node))
    assert part.nodes == 2 * whole.nodes // len(np.unique(whole.scenario_of_node))
    same = of_scenarios(whole, list(range(len(np.unique(whole.scenario_of_node)))))
    assert np.allclose(same.node_weight, whole.node_weight, rtol=1e-12) and np.array_equal(same.demand, whole.demand)
