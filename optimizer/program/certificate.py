"""The judge: what a plan costs at most above the best possible plan, from the plan, the multipliers and the program alone.

`certify` repairs the plan (an upper bound), evaluates the closed-form lower bound at the multipliers, recomputes every row of the repaired
plan by its own code (`rows`), and only then gives a status. Nothing that a solver says about itself is read. semantics.md section 6:

    gap_relative = (objective - lower_bound) / max(1, |objective - penalties - constant|)

so that a huge penalty or a sunk cost does not hide the plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from optimizer.program.bound import Bound, bound_at
from optimizer.program.cost import cost
from optimizer.program.folded import Folded
from optimizer.program.infeasible import Infeasibility, farkas_margin
from optimizer.program.node_programs import REACH
from optimizer.program.program import Array, Multipliers, Plan, Program, ProgramError
from optimizer.program.repair import repair_at
from optimizer.program.rows import name_of, violation
from optimizer.program.validate import check_arrays

DERIVED_BOUND_TOLERANCE = 1e-6
CONTRADICTION = 1e-9  # of the cost: a plan that is feasible to 1e-12 cannot be cheaper than the bound by more


class Status(Enum):
    """What is known about the answer; the value is the exit code."""

    CERTIFIED = 0
    FAILED = 1
    FEASIBLE = 3
    INFEASIBLE = 4

    @property
    def exit_code(self) -> int:
        return self.value


@dataclass(frozen=True)
class Certificate:
    """See `certify`. Money in the program's unit; objective and gaps are NaN where there is no plan."""

    status: Status
    reason: str
    objective: float
    lower_bound: float
    gap: float
    gap_relative: float
    penalties: float
    plan: Plan | None
    multipliers: Multipliers | None
    on_derived_bound: tuple[int, ...]
    worst_row_violation: float

    @property
    def exit_code(self) -> int:
        return self.status.exit_code


def certify(program: Program, plan: Plan, multipliers: Multipliers, tolerance: float) -> Certificate:
    """Judge a plan and multipliers, whatever their quality: CERTIFIED only if the repaired plan is feasible and within `tolerance`."""
    return certify_plans(program, (plan,), multipliers, tolerance)[-1]


def certify_plans(
    program: Program, plans: Iterable[Plan], multipliers: Multipliers, tolerance: float, reach: float = REACH
) -> list[Certificate]:
    """`certify` for several plans at the same multipliers, up to and including the first that is CERTIFIED: their bound is found once.

    reach: a plan whose repair ends further from the bound than this many tolerances is not improved; 1 where only CERTIFIED is of use.
    """
    found: list[Certificate] = []
    folded, bound = None, None
    for plan in plans:
        try:
            check_arrays(program)
        except ProgramError as error:
            return [*found, _failed(f"The program itself is not valid: {error}")]
        try:
            if folded is None or bound is None:
                folded = Folded(program, multipliers)
                bound = bound_at(folded)
            repaired = repair_at(folded, plan, (bound.value, tolerance), reach)
        except (ValueError, TypeError, IndexError) as error:
            return [*found, _failed(f"The plan or the multipliers do not fit the program: {error}.")]
        found.append(_judged(folded, bound, repaired, tolerance))
        if found[-1].status is Status.CERTIFIED:
            break
    return found


def _judged(folded: Folded, bound: Bound, repaired: Plan | None, tolerance: float) -> Certificate:
    """The certificate of a repaired plan."""
    program, clipped = folded.program, folded.multipliers
    if repaired is None:
        return _failed(
            "No acquisitions inside their bounds and limits were found near the plan; ask find_infeasibility for the reason.",
            bound,
            clipped,
        )
    found = violation(program, repaired)
    if not found.feasible:
        worst = (
            f"row {found.row_name} is off by {found.row:.1e} of its terms" if found.row > 1e-12 else f"{found.bound_name} leaves its bounds"
        )
        return _failed(f"The repaired plan is not feasible: {worst}.", bound, clipped, found.row)
    parts = cost(program, repaired)
    objective, penalties = parts["total"], parts["unserved"] + parts["slack"]
    gap = objective - bound.value
    scale = max(1.0, abs(objective - penalties - parts["constant"]))
    relative = gap / scale
    on_bound = tuple(np.nonzero(_on_derived_bound(program, repaired.z))[0].tolist())
    status, reason = _judge(program, bound, objective, gap, relative, tolerance, on_bound)
    return Certificate(status, reason, objective, bound.value, gap, relative, penalties, repaired, clipped, on_bound, found.row)


def _on_derived_bound(program: Program, z: Array) -> Array:
    """Acquisitions that sit on an upper bound which nobody stated."""
    upper = program.acquisition_upper
    close = z >= upper - DERIVED_BOUND_TOLERANCE * np.abs(upper)
    return program.upper_is_derived & close & (upper > program.acquisition_lower)


def _judge(
    program: Program, bound: Bound, objective: float, gap: float, relative: float, tolerance: float, on_bound: tuple[int, ...]
) -> tuple[Status, str]:
    """The status and its sentence."""
    if on_bound:
        name = name_of(program.names.acquisition, on_bound[0], "acquisition")
        more = f" and {len(on_bound) - 1} more" if len(on_bound) > 1 else ""
        return (
            Status.FAILED,
            f"The plan takes all of {name}{more} up to an upper bound that was derived, not given: state how much is available.",
        )
    if not (math.isfinite(objective) and not math.isnan(gap)):
        return Status.FAILED, "The plan's cost is not a finite number."
    if gap < -CONTRADICTION * max(1.0, abs(objective), abs(bound.value)):
        return Status.FAILED, f"The lower bound lies {-gap:.3g} above the plan's cost: the program's arrays contradict each other."
    if math.isfinite(gap) and relative <= tolerance:
        return (
            Status.CERTIFIED,
            f"The plan costs at most {max(gap, 0.0):.3g} more than the best possible plan ({max(relative, 0.0):.1e} of its cost).",
        )
    if not math.isfinite(gap):
        return Status.FEASIBLE, "The plan is feasible; nothing is known about how far it is from the best one."
    return (
        Status.FEASIBLE,
        f"The plan is feasible and costs at most {gap:.3g} more than the best one ({relative:.1e} of its cost, {tolerance:.1e} asked).",
    )


def _failed(reason: str, bound: Bound | None = None, multipliers: Multipliers | None = None, row: float = math.nan) -> Certificate:
    lower = bound.value if bound is not None else -math.inf
    return Certificate(Status.FAILED, reason, math.nan, lower, math.nan, math.nan, math.nan, None, multipliers, (), row)


def infeasible_certificate(program: Program, infeasibility: Infeasibility) -> Certificate:
    """INFEASIBLE if the Farkas multipliers prove it, checked again here; FAILED otherwise."""
    if not farkas_margin(program, infeasibility.farkas) > 0:
        return _failed("The multipliers do not prove that the limits contradict each other.")
    nothing = math.nan
    return Certificate(Status.INFEASIBLE, infeasibility.sentence, nothing, math.inf, nothing, nothing, nothing, None, None, (), nothing)
