"""solve(program): an engine and the certificate brought together, for planners with their own arrays too.

An engine proposes, the certificate disposes: HiGHS's simplex (`optimizer.simplex`) or the interior point (`optimizer.interior`), chosen by
a rule that knows the program and the device only (`optimizer.engine`). What the simplex cannot certify in its effort falls through to the
interior point.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

from optimizer.checkpoint import whole_run
from optimizer.engine import Choice, choose
from optimizer.process import end_of_start, versions_of
from optimizer.program import Program
from optimizer.program.certificate import Status, infeasible_certificate
from optimizer.program.infeasible import find_infeasibility
from optimizer.progress import working
from optimizer.settings import Settings
from optimizer.solution import SIMPLEX
from optimizer.solution import LogLine as LogLine
from optimizer.solution import Neighbours as Neighbours
from optimizer.solution import Solution as Solution

SIMPLEX_PACKAGES = ("highspy", "numpy", "scipy")
ROUNDING = 1e-13  # of the cost: a gap that no other plan or bound could close


def solve(program: Program, settings: Settings | None = None, neighbours: Neighbours | None = None) -> Solution:
    """Certify a plan for the program. Programs that differ in their numbers only are solved in fewer iterations when they share one
    `neighbours`: the simplex goes on from the last one's basis, the interior point from an early state of the first.

    Raises ProgramError when the arrays state no program that can be certified. Everything else is a status: CERTIFIED, FEASIBLE (the gap is
    stated), INFEASIBLE (with the limits that clash), FAILED (with the reason).
    """
    settings = settings or Settings()
    program.check()
    end_of_start()
    began = time.perf_counter()
    infeasibility = find_infeasibility(program)
    proving = time.perf_counter() - began
    if infeasibility is not None:
        seconds = {"compile": 0.0, "solve": 0.0, "certify": proving}
        judged = infeasible_certificate(program, infeasibility)
        return Solution(judged, 0, seconds, (), 0, infeasibility, "cpu", versions_of(*SIMPLEX_PACKAGES))
    choice = choose(program, settings)
    with whole_run():
        found = by_simplex(program, settings, choice, neighbours) if choice.engine == SIMPLEX else None
        if found is not None and (settings.engine == SIMPLEX or _is_final(found)):
            return _later(found, proving)
        from optimizer.interior import by_interior_point  # JAX

        solution = replace(by_interior_point(program, settings, neighbours), engine_reason=choice.reason)
        return _later(solution if found is None else _after(found, solution), proving)


def _is_final(found: Solution) -> bool:
    """Whether the interior point could not do better either: the gap is reached, or is rounding. (It is relative to the cost without
    penalties and constant, which may be nothing.)"""
    c = found.certificate
    return c.status is Status.CERTIFIED or (c.status is Status.FEASIBLE and c.gap <= ROUNDING * max(1.0, abs(c.objective)))


def by_simplex(program: Program, settings: Settings, choice: Choice, neighbours: Neighbours | None) -> Solution:
    """The simplex's best, certified or not."""
    from optimizer.simplex.propose import propose

    began, start = time.perf_counter(), None if neighbours is None else neighbours.start
    with working(settings, f"simplex: {choice.size}"):
        answer = propose(program, settings.gap_relative, choice.most_pivots, start)
    if neighbours is not None and answer.start is not None:
        neighbours.start = answer.start
    if settings.verbose:
        said = f"{answer.pivots:,} pivots  certified gap {answer.certificate.gap_relative:.2e}"
        print(f"simplex, {choice.size}: {said}", file=sys.stderr)
    solving = max(0.0, time.perf_counter() - began - answer.certify_seconds)
    seconds = {"compile": 0.0, "solve": solving, "certify": answer.certify_seconds}
    return Solution(
        answer.certificate, answer.pivots, seconds, (), 0, None, "cpu", versions_of(*SIMPLEX_PACKAGES), engine=SIMPLEX,
        engine_reason=choice.reason, start=answer.start,
    )  # fmt: skip


def _after(simplex: Solution, interior: Solution) -> Solution:
    """The better of the two where the simplex did not reach the gap, with what both took."""
    gap, pivots = simplex.certificate.gap_relative, simplex.iterations
    reached = f"to a gap of {gap:.1e}" if math.isfinite(gap) else "without a plan that could be judged"
    note = f"The simplex came {reached} in {pivots:,} pivots; the interior point went on from the beginning."
    kept = interior
    if interior.status is not Status.CERTIFIED and not interior.certificate.gap <= simplex.certificate.gap and math.isfinite(gap):
        kept = replace(simplex, log=interior.log, compilations=interior.compilations, cut_short=interior.cut_short)
    seconds = {name: interior.seconds[name] + simplex.seconds[name] for name in interior.seconds}
    reason = f"{simplex.engine_reason}, but the simplex did not reach the gap" if kept is interior else kept.engine_reason
    return replace(kept, seconds=seconds, notes=(note, *interior.notes), engine_reason=reason)


def _later(solution: Solution, proving: float) -> Solution:
    """With the seconds that the search for a contradiction of the limits took."""
    return replace(solution, seconds={**solution.seconds, "certify": solution.seconds["certify"] + proving})

