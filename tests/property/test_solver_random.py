"""Seeded random programs of every row type, solved by each engine alone, against HiGHS on the extensive form and against each other."""

from __future__ import annotations

from functools import cache

import pytest

from optimizer.program.certificate import Certificate, Status
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solution import INTERIOR, SIMPLEX
from optimizer.solve import solve
from optimizer.solver.layout import make_layout
from tests.oracle.extensive import solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program

SEEDS = 15
GAP = 1e-6
shapes: set = set()


@cache
def program_of(family: str, seed: int) -> tuple[Program, float]:
    """The program and its optimum by the oracle."""
    program = random_program(seed, **FAMILIES[family])
    return program, solve_extensive(program).objective


@cache
def judged(family: str, seed: int, engine: str) -> Certificate:
    """What an engine certifies, which holds the optimum between its bound and its plan."""
    program, optimum = program_of(family, seed)
    found = solve(program, Settings(gap_relative=GAP, engine=engine))
    certificate, slack, told = found.certificate, 1e-9 * max(1.0, abs(optimum)), f"{family} {seed} by {engine}"
    assert found.engine == engine, told
    assert certificate.lower_bound <= optimum + slack, f"{told}: the bound exceeds the optimum"
    assert certificate.objective >= optimum - slack, f"{told}: the plan undercuts the optimum"
    if certificate.status is Status.CERTIFIED:
        denominator = max(1.0, abs(certificate.objective - certificate.penalties - program.constant))
        assert certificate.objective - optimum <= GAP * denominator + slack, told
    return certificate


def all_certified(family: str, engine: str) -> None:
    found = [judged(family, seed, engine) for seed in range(SEEDS)]
    missed = [(seed, c.status.name, c.gap_relative, c.reason) for seed, c in enumerate(found) if c.status is not Status.CERTIFIED]
    assert not missed, f"{family}: {len(missed)} of {SEEDS} not certified at {GAP}: {missed}"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_simplex_brackets_the_optimum(family: str) -> None:
    all_certified(family, SIMPLEX)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_certified_plan_brackets_the_optimum(family: str) -> None:
    """Of the interior point; and neither engine's bound exceeds the other's plan, to the last bit."""
    shapes.update(make_layout(program_of(family, seed)[0]).shape for seed in range(SEEDS))
    all_certified(family, INTERIOR)
    for seed in range(SEEDS):
        a, b = (judged(family, seed, engine) for engine in (INTERIOR, SIMPLEX))
        assert a.lower_bound <= b.objective and b.lower_bound <= a.objective, f"{family} {seed}: the engines contradict each other"


def test_the_programs_share_at_most_ten_compiled_shapes() -> None:
    if len(shapes) == 0:
        pytest.skip("runs after the programs of this module")
    assert len(shapes) <= 10, f"{len(shapes)} shapes"
