"""Plans without the solver: HiGHS on the extensive form proposes, the certificate judges. Fast, and nothing compiles."""

from __future__ import annotations

import importlib

import pytest

import optimizer
from optimizer.build.build import build
from optimizer.program.certificate import certify, infeasible_certificate
from optimizer.program.infeasible import find_infeasibility
from optimizer.program.program import Program
from optimizer.report.tables import tables_of
from optimizer.settings import Settings
from optimizer.solve import Neighbours, Solution
from optimizer.spec.resolved import Case
from tests.oracle.extensive import solve_extensive


def oracle_solve(program: Program, settings: Settings | None = None, neighbours: Neighbours | None = None) -> Solution:
    """In the place of `optimizer.solve`."""
    program.check()
    seconds = {"compile": 0.0, "solve": 0.0, "certify": 0.0}
    found = find_infeasibility(program)
    if found is not None:
        return Solution(infeasible_certificate(program, found), 0, seconds, (), 0, found)
    result = solve_extensive(program)
    assert result.plan is not None and result.multipliers is not None, result.status
    certificate = certify(program, result.plan, result.multipliers, (settings or Settings()).gap_relative)
    return Solution(certificate, 1, seconds, (), 0, None, "cpu: oracle", {"scipy": "any"})


def oracle_plan(case: Case) -> optimizer.Plan:
    built = build(case)
    return tables_of(built, oracle_solve(built.program), Settings(), 0.0)


@pytest.fixture
def without_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """`optimizer.plan` and `optimizer.evaluate` ask HiGHS."""
    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", oracle_solve)
