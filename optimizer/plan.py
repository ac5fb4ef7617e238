"""plan(case): load, build, solve, tell - the data flow on one page."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from optimizer.both_sides import Asked, both_sides, most_asked
from optimizer.build.build import Built
from optimizer.build.build import build as build_program
from optimizer.build.parameters import BuildError
from optimizer.checkpoint import whole_run
from optimizer.given_orders import Orders, fixed, signed_counts
from optimizer.headroom import solve_with_headroom
from optimizer.program.program import ProgramError
from optimizer.program.right_side import RightSide, TwoPrices
from optimizer.report.binding import worth_asking
from optimizer.report.limit_prices import priced_rows
from optimizer.report.result import Evaluation, Plan
from optimizer.report.tables import tables_of
from optimizer.settings import Settings
from optimizer.solve import Neighbours, Solution, solve
from optimizer.spec import CaseError, load_case
from optimizer.spec.resolved import Case

CaseOrPath = Case | str | Path


class Solved(NamedTuple):
    """`built` holds the program that was solved last; `true`: (lower bound, relative gap) with the spare replicas as they are and not as
    lines, None where nothing queues."""

    built: Built
    solution: Solution
    true: tuple[float, float] | None


def load(path: str | Path) -> Case:
    """The case in a YAML file, checked and resolved. Raises CaseError: one line that names file, key, problem and remedy."""
    return load_case(path)


def build(case: Case) -> Built:
    """The case's program and the meaning of its rows and columns. Raises CaseError where the case contradicts itself."""
    try:
        built = build_program(case)
        built.program.check()
    except (BuildError, ProgramError) as error:
        raise CaseError(case.file, "", str(error), "change the case") from error
    return built


def plan(case: CaseOrPath, settings: Settings | None = None) -> Plan:
    """The best plan of a case, certified.

    Raises CaseError for a case that cannot be used. Everything else is a status of the plan: CERTIFIED, FEASIBLE, INFEASIBLE, FAILED.
    """
    settings, began = settings or Settings(), time.perf_counter()
    case = case if isinstance(case, Case) else load(case)
    built = build(case)
    with whole_run():
        return _told(built, settings, time.perf_counter() - began, two_sided=True)


def evaluate(case: CaseOrPath, acquisitions: Orders, settings: Settings | None = None, source: str = "acquisitions") -> Evaluation:
    """What somebody's acquisitions cost, certified, and how much that is above the best plan.

    `acquisitions` holds rows with offer, signing_date, count_chips and (optional; '' for all) scenario, such as `Plan.acquisitions` or the
    list of that name in plan.json; what is not named is not signed. Raises CaseError, with `source` as the file, for an acquisition that
    the case does not offer.
    """
    settings, began = settings or Settings(), time.perf_counter()
    case = case if isinstance(case, Case) else load(case)
    built = build(case)
    seconds = time.perf_counter() - began
    with whole_run():
        neighbours = Neighbours()
        best = _told(built, settings, seconds, neighbours)
        began = time.perf_counter()
        given = fixed(built, signed_counts(built.structure, acquisitions, source))
        return _compared(_told(given, settings, time.perf_counter() - began, neighbours), best)


def solved(built: Built, settings: Settings, neighbours: Neighbours | None = None) -> Solved:
    """The case's program certified, with spare replicas where work queues. Cases of one form are solved in fewer iterations when they
    share one `neighbours`."""
    groups = built.structure.pair_index.groups
    if groups is None:
        return Solved(built, solve(built.program, settings, neighbours), None)
    found = solve_with_headroom(built.program, groups, settings, neighbours)
    return Solved(replace(built, program=found.program), found.solution, (found.lower_bound_true, found.gap_relative))


def _told(
    built: Built, settings: Settings, build_seconds: float, neighbours: Neighbours | None = None, two_sided: bool = False
) -> Plan:
    """Solve, and put everything that a reader asks into tables; `two_sided`: with both sides of the prices that are worth asking for."""
    found = solved(built, settings, neighbours)
    began = time.perf_counter()
    both = _both_sides(found) if two_sided else {}
    asking = time.perf_counter() - began
    plan = tables_of(found.built, found.solution, settings, build_seconds, found.true, both)
    seconds = {**plan.seconds, "report": plan.seconds["report"] + asking}
    return replace(plan, seconds=seconds, warnings=(*plan.warnings, *found.solution.notes))


def _both_sides(found: Solved) -> dict[RightSide, TwoPrices]:
    """Of the dearest limits of a small program, which refer to it as it was solved last."""
    certificate, most = found.solution.certificate, most_asked(found.solution)
    if not most or certificate.plan is None or certificate.multipliers is None:
        return {}
    rows = priced_rows(found.built.structure, found.built.program, certificate.plan, certificate.multipliers)
    dearest = worth_asking(rows, certificate.objective, most)
    return both_sides(found.built.program, found.solution, [Asked(one.side, one.price, one.size) for one in dearest])


def _compared(given: Plan, best: Plan) -> Evaluation:
    """Any bound of the case bounds the given acquisitions too, so the difference is at least 0. The bounds are those of the true spare
    replicas: the solver's own hold for one set of lines above them, and the two plans have different ones."""
    if not (given.has_values and best.has_values):
        return Evaluation(given, best, math.nan, math.nan, math.nan)
    least, most = given.lower_bound_true_usd - best.objective_usd, given.objective_usd - best.lower_bound_true_usd
    return Evaluation(given, best, given.objective_usd - best.objective_usd, max(0.0, least), max(0.0, most))
