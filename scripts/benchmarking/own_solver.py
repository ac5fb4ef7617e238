"""This program's solver: each engine, and the interior point in each precision that its settings offer."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solution import INTERIOR
from optimizer.solve import solve
from scripts.benchmarking.proposal import Goal, NotAvailableError, Proposal, Solve, UnfinishedError


def own(engine: str, precision: str = "auto") -> Solve:
    """The engine "interior" in "float64", "mixed" or "float32"; "simplex"; or "auto", the one that the rule expects to be done first."""

    def run(program: Program, goal: Goal) -> Proposal:
        settings = replace(settings_for(precision, goal.gap_relative), engine=engine)
        start = time.perf_counter()
        solution = solve(program, settings)
        total = time.perf_counter() - start
        certificate = solution.certificate
        if certificate.plan is None or certificate.multipliers is None:
            raise UnfinishedError(f"{certificate.status.name}: {certificate.reason}")
        detail = {
            "engine": solution.engine,
            "engine_reason": solution.engine_reason,
            "compilations": solution.compilations,
            "status": certificate.status.name,
            "gap_relative_own": certificate.gap_relative,
            "correctors": sum(line.correctors for line in solution.log),
            "refinement_rounds": sum(line.refinement_rounds for line in solution.log),
            "iteration_certified": next(
                (line.iteration for line in solution.log if (line.certified_gap_relative or 1.0) <= goal.gap_relative), None
            ),  # the rest went into getting rid of tiny orders
            "certificates": sum(line.certified_gap_relative is not None for line in solution.log),
        }
        seconds = {**solution.seconds, "total": total}
        algorithm = f"interior point, {precision}" if solution.engine == INTERIOR else solution.engine
        return Proposal(certificate.plan, certificate.multipliers, solution.iterations, algorithm, seconds, detail, solution.device)

    return run


def settings_for(precision: str, gap_relative: float) -> Settings:
    """Raises NotAvailableError where the settings offer no such precision."""
    if any(field.name == "precision" for field in fields(Settings)):
        more: dict[str, Any] = {"precision": precision}
        try:
            return Settings(gap_relative=gap_relative, **more)
        except ValueError as error:
            raise NotAvailableError(f"the solver offers no precision {precision}: {error}") from error
    if precision != "float64":
        raise NotAvailableError(f"the solver offers no precision {precision}")
    return Settings(gap_relative=gap_relative)
