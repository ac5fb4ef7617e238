"""Seeded random programs of every row type, solved by each engine alone, against HiGHS on the extensive form and against each other."""

from __future__ import annotations

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


def judged(program: Program, engine: str, optimum: float, told: str) -> Certificate:
    """What an engine certifies, which holds the optimum between its bound and its plan."""
    found = solve(program, Settings(gap_relative=GAP, engine=engine))
    certificate, slack = found.certificate, 1e-9 * max(1.0, abs(optimum))
    assert found.engine == engine, told
    assert certificate.lower_bound <= optimum + slack, f"{told}: the bound exceeds the optimum"
    assert certificate.objective >= optimum - slack, f"{told}: the plan undercuts the optimum"
    if certificate.status is Status.CERTIFIED:
        denominator = max(1.0, abs(certificate.objective - certificate.penalties - program.constant))
        assert certificate.objective - optimum <= GAP * denominator + slack, told
    return certificate


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_certified_plan_brackets_the_optimum(family: str) -> None:
    """Of both engines; and neither's bound exceeds the other's plan, to the last bit."""
    missed = []
    for seed in range(SEEDS):
        program = random_program(seed, **FAMILIES[family])
        shapes.add(make_layout(program).shape)
        optimum = solve_extensive(program).objective
        a, b = (judged(program, engine, optimum, f"{family} {seed} by {engine}") for engine in (INTERIOR, SIMPLEX))
        assert a.lower_bound <= b.objective and b.lower_bound <= a.objective, f"{family} {seed}: the engines contradict each other"
        missed += [(seed, c.status.name, c.gap_relative, c.reason) for c in (a, b) if c.status is not Status.CERTIFIED]
    assert not missed, f"{family}: {len(missed)} of {2 * SEEDS} not certified at {GAP}: {missed}"


def test_the_programs_share_at_most_ten_compiled_shapes() -> None:
    if len(shapes) == 0:
        pytest.skip("runs after the programs of this module")
    assert len(shapes) <= 10, f"{len(shapes)} shapes"
