"""From a solution to the plan that a reader holds: every table, the accounts, and why a case is infeasible."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from optimizer.build.build import Built
from optimizer.build.structure import Structure
from optimizer.program.certificate import Certificate
from optimizer.program.program import Multipliers
from optimizer.program.program import Plan as Values
from optimizer.program.right_side import RightSide, TwoPrices
from optimizer.report import figures
from optimizer.report.accounting import cost_table, total_usd
from optimizer.report.assumed import assumed_share
from optimizer.report.deployments import deployments_table, replicas_table
from optimizer.report.frames import Table
from optimizer.report.hard_targets import broken_targets
from optimizer.report.infeasibility import conflicts
from optimizer.report.limit_prices import priced_rows, prices_table
from optimizer.report.orders import acquisitions_table, commitments_table, mix_table
from optimizer.report.result import Plan, Tables
from optimizer.report.training_runs import training_runs_table
from optimizer.report.work import placement_table, unserved_table

if TYPE_CHECKING:
    from optimizer.settings import Settings
    from optimizer.solve import Solution

WHOLE = 1e-6
"""A lot taken to within this share of all or of nothing is taken or left."""
RECONCILED = 1e-9
"""The cost table adds up to the objective within this share of the sum of its absolute entries."""


def tables_of(
    built: Built,
    solution: Solution,
    settings: Settings,
    build_seconds: float,
    true: tuple[float, float] | None = None,
    both: Mapping[RightSide, TwoPrices] | None = None,
) -> Plan:
    """`true`: (lower bound, relative gap) with the spare replicas as they are and not as lines; None where nothing queues. `both`: what one
    more and one less of some right-hand sides is worth."""
    began = time.perf_counter()
    structure, program, certificate = built.structure, built.program, solution.certificate
    case = structure.case
    values = certificate.plan
    sentences = conflicts(structure, program, solution.infeasibility) if solution.infeasibility is not None else ()
    columns = _columns(built, solution, values if values is not None else _nothing(built), both or {})
    if values is None:
        columns = Tables(*(table.only(slice(0)) for table in columns))
    shares = assumed_share(structure, values if values is not None else _nothing(built), columns.cost)
    unplaced = {(structure.streams[w].workload, structure.streams[w].origin) for w in structure.unplaced}
    return Plan(
        status=solution.status.name,
        reason=" ".join(sentences) if sentences else _reason(certificate, true),
        objective_usd=certificate.objective,
        lower_bound_usd=certificate.lower_bound,
        gap_usd=certificate.gap,
        gap_relative=certificate.gap_relative,
        lower_bound_true_usd=certificate.lower_bound if true is None or values is None else true[0],
        headroom_gap_relative=0.0 if true is None else true[1],
        penalties_usd=certificate.penalties,
        engine=solution.engine,
        engine_reason=solution.engine_reason,
        iterations=solution.iterations,
        compilations=solution.compilations,
        versions=solution.versions,
        device=solution.device,
        case_name=case.name,
        case_hash=case.hash,
        warnings=(
            *structure.warnings,
            *_disagreement(columns.cost, certificate.objective),
            *_contradictions(both or {}),
            *_late(structure, values),
            *divided_lots(structure, values),
        ),
        excuses=tuple(e for e in structure.excuses if (e.workload, e.origin) in unplaced),
        assumed=shares,
        conflicts=sentences,
        columns=columns,
        case=case,
        settings=settings,
        built=built,
        solution=solution,
        seconds={"build": build_seconds, **solution.seconds, "report": time.perf_counter() - began},
    )


def _columns(built: Built, solution: Solution, values: Values, both: Mapping[RightSide, TwoPrices]) -> Tables:
    structure, program = built.structure, built.program
    multipliers = solution.certificate.multipliers
    if multipliers is None:
        n, b, g, k = program.nodes, program.blocks, program.pools, program.sides
        multipliers = Multipliers(np.zeros((n, b, g)), np.zeros((n, k)), np.zeros(program.limits), np.zeros(program.links))
    return Tables(
        acquisitions=acquisitions_table(structure, values),
        mix=mix_table(structure, values),
        placement=placement_table(structure, values),
        cost=cost_table(structure, values),
        prices=prices_table(priced_rows(structure, program, values, multipliers), both),
        unserved=unserved_table(structure, values),
        deployments=deployments_table(structure),
        replicas=replicas_table(structure, values),
        commitments_beyond_horizon=commitments_table(structure, values),
        training_runs=training_runs_table(structure, values),
    )


def _reason(certificate: Certificate, true: tuple[float, float] | None) -> str:
    """The certificate's sentence, in dollars; where work queues, against the bound that holds for the true spare replicas."""
    if certificate.status.name not in ("CERTIFIED", "FEASIBLE") or not math.isfinite(certificate.gap):
        return certificate.reason
    if true is not None:
        most = figures.usd_exact(max(certificate.objective - true[0], 0.0))
        return f"The plan costs at most {most} more than the best possible plan ({figures.small(max(true[1], 0.0))} relative)."
    sentence = f"The plan costs at most {figures.usd_exact(max(certificate.gap, 0.0))} more than the best possible plan"
    return f"{sentence} ({figures.small(max(certificate.gap_relative, 0.0))} relative)."


def _disagreement(cost: Table, objective: float) -> tuple[str, ...]:
    """A warning if the accounts, which know nothing of the program, do not add up to the certified objective."""
    total, size = total_usd(cost), math.fsum(np.abs(cost["expected_present_value_usd"]).tolist())
    if not math.isfinite(objective) or abs(total - objective) <= RECONCILED * size:
        return ()
    return (f"THE COST TABLE DOES NOT ADD UP: {total!r} USD against the certified {objective!r} USD; please report this case",)


def _contradictions(both: Mapping[RightSide, TwoPrices]) -> tuple[str, ...]:
    """A warning for every right-hand side of which one more would save more than its price, or one less cost less."""
    return tuple(
        f"THE TWO PRICES OF {side.what} {side.at} CONTRADICT ITS MULTIPLIER: {two.more.least!r} to {two.less.most!r} USD against "
        f"{two.price!r} USD; please report this case"
        for side, two in both.items()
        if two.contradict
    )


def _late(structure: Structure, values: Values | None) -> tuple[str, ...]:
    """Warnings where placed work breaks a latency target on hard values: the program should have had no such pair."""
    broken = () if values is None else broken_targets(structure, values)
    return tuple(f"A PLACEMENT BREAKS ITS TARGET, please report this case: {sentence}" for sentence in broken)


def divided_lots(structure: Structure, values: Values | None) -> tuple[str, ...]:
    """A sentence for every lot of which the plan takes a part, which nobody sells."""
    if values is None:
        return ()
    said = []
    for a in structure.acquisitions:
        lot = structure.case.offers[a.offer].lot_chips
        if lot is None or a.extends >= 0:
            continue
        part = float(values.z[a.index]) / lot.value
        if WHOLE < part < 1 - WHOLE:
            where = f" in scenario {a.scenario}" if a.scenario else ""
            said.append(f"offers.{a.offer}: the plan takes {figures.percent(part)} of the lot of {figures.chips(lot.value)} chips{where}")
    return tuple(said)


def _nothing(built: Built) -> Values:
    """Zeros in the place of a plan that does not exist: the tables then have their columns, and lose their rows."""
    p = built.program
    n, b = p.nodes, p.blocks
    return Values(
        z=np.zeros(p.acquisitions),
        x=np.zeros((n, b, p.pairs)),
        u=np.zeros((n, b, p.served)),
        ud=np.zeros((n, p.deferrable)),
        r=np.zeros((n, b, p.pools)),
        side_slack=np.zeros((n, p.sides)),
        link_slack=np.zeros(p.links),
    )
