"""One point of a sweep as a row: the certificate, and what a plan's tables say in a few totals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.report.accounting import cost_table, total_usd
from optimizer.report.frames import sums
from optimizer.report.hard_targets import broken_targets
from optimizer.report.infeasibility import conflicts
from optimizer.report.orders import mix_table
from optimizer.report.summary import MODES
from optimizer.report.tables import RECONCILED

if TYPE_CHECKING:
    from optimizer.build.build import Built
    from optimizer.solve import Solution


def sweep_row(built: Built, solution: Solution, true: tuple[float, float] | None) -> dict[str, Any]:
    """See `optimizer.report.sweep_result.Sweep`; `true`: (lower bound, relative gap) with the spare replicas as they are, None where
    nothing queues. What is not finite is left out."""
    structure, certificate = built.structure, solution.certificate
    row: dict[str, Any] = {"status": solution.status.name, "iterations": solution.iterations}
    if solution.infeasibility is not None:
        row["reason"] = " ".join(conflicts(structure, built.program, solution.infeasibility))
    elif solution.status.name != "CERTIFIED":
        row["reason"] = certificate.reason
    notes = [*solution.notes]
    if certificate.plan is not None:
        bound, gap = (certificate.lower_bound, certificate.gap_relative) if true is None else true
        numbers = {
            "objective_usd": certificate.objective, "lower_bound_usd": bound, "gap_relative": gap, "penalties_usd": certificate.penalties,
        }  # fmt: skip
        cost = cost_table(structure, certificate.plan)
        for (category,), (usd,) in sorted(sums(cost, ["category"], ["expected_present_value_usd"]).items()):
            numbers[f"cost_{category}_usd"] = usd
        compute = sums(mix_table(structure, certificate.plan), ["mode"], ["compute_pflops"], "probability")
        whole = sum(amount for (amount,) in compute.values())
        for word, modes in MODES.items():
            held = sum(compute.get((mode,), [0.0])[0] for mode in modes)
            numbers[f"share_{word.replace('-', '_')}"] = held / whole if whole else 0.0
        size = math.fsum(np.abs(cost["expected_present_value_usd"]).tolist())
        if math.isfinite(certificate.objective) and not abs(total_usd(cost) - certificate.objective) <= RECONCILED * size:
            notes.append("THE COST TABLE DOES NOT ADD UP; please report this case")
        notes += [f"A PLACEMENT BREAKS ITS TARGET, please report this case: {said}" for said in broken_targets(structure, certificate.plan)]
        row |= {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
    if notes:
        row["notes"] = " ".join(notes)
    return row
