"""Seeded random programs of every row type, solved by our solver alone, against HiGHS on the extensive form."""

from __future__ import annotations

import pytest

from optimizer.program.certificate import Status
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver.layout import make_layout
from tests.oracle.extensive import solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program

SEEDS = 15
GAP = 1e-6
shapes: set = set()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_certified_plan_brackets_the_optimum(family: str) -> None:
    missed = []
    for seed in range(SEEDS):
        program = random_program(seed, **FAMILIES[family])
        shapes.add(make_layout(program).shape)
        optimum = solve_extensive(program).objective
        certificate = solve(program, Settings(gap_relative=GAP)).certificate
        slack = 1e-9 * max(1.0, abs(optimum))
        assert certificate.lower_bound <= optimum + slack, f"{family} {seed}: the bound exceeds the optimum"
        assert certificate.objective >= optimum - slack, f"{family} {seed}: the plan undercuts the optimum"
        if certificate.status is Status.CERTIFIED:
            denominator = max(1.0, abs(certificate.objective - certificate.penalties - program.constant))
            assert certificate.objective - optimum <= GAP * denominator + slack
        else:
            missed.append((seed, certificate.status.name, certificate.gap_relative, certificate.reason))
    assert not missed, f"{family}: {len(missed)} of {SEEDS} not certified at {GAP}: {missed}"


def test_the_programs_share_at_most_ten_compiled_shapes() -> None:
    if len(shapes) == 0:
        pytest.skip("runs after the programs of this module")
    assert len(shapes) <= 10, f"{len(shapes)} shapes"
