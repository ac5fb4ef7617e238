"""The plan that a barrier smooths, and its derivatives: for gradient-based outer problems that look at the plan and not only at its cost.

The optimal plan jumps from vertex to vertex: its derivative is zero, or there is none. At a named barrier (dollars per logarithm, see
`optimizer.solver.adjoint`) the plan is unique and smooth; it costs more than the best plan, and by how much at most is stated. It is no
certified plan, and its derivatives are not those of the optimal cost: for those see `optimal_cost`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.analysis.moved_program import added_lines, moved_program
from optimizer.analysis.pullback import pulled_back
from optimizer.build.build import Built
from optimizer.devices import prepare
from optimizer.plan import CaseOrPath, build, load, solved
from optimizer.program.program import Array, Plan
from optimizer.settings import Settings
from optimizer.spec import CaseError
from optimizer.spec.resolved import Case

if TYPE_CHECKING:
    from optimizer.solver.smoothed import SmoothedProgram

MOVE = 1e-5  # relative, of the numbers: the conditions are polynomials of low degree in them, and the central quotient is exact to 1e-9


class SmoothedPlan:
    """`plan` at `barrier_usd`; `excess_usd`: the most by which it is dearer than the best plan. Parameters are those of `keys`, [M]."""

    def __init__(self, built: Built, found: SmoothedProgram) -> None:
        self.built, self._found = built, found
        self.keys, self.values = built.parameters.keys, built.parameters.values
        self.plan, self.barrier_usd, self.excess_usd = found.plan, found.barrier_usd, found.excess_usd

    def forward(self, direction: Array | Mapping[str, float]) -> Plan:
        """How every value of the plan changes per unit of a direction in the parameters: [M], or {key path: change}. Raises KeyError for a
        key that is none, ValueError where the direction makes or removes rows or columns."""
        d = self._vector(direction)
        if not d.any():
            raise ValueError("the direction is zero everywhere")
        step = MOVE / float(np.max(np.abs(d) / np.where(self.values != 0, np.abs(self.values), 1.0)))
        above, below = (moved_program(self.built, self.values + sign * step * d, self._lines) for sign in (1, -1))
        return self._found.forward(above, below, step)

    def reverse(self, cotangent: Plan | Mapping[str, Array]) -> Array:
        """[M]: the derivative of a function of the plan with respect to every parameter, from its derivative with respect to the plan's
        values (shapes of `Plan`; what a mapping leaves out is zero)."""
        return pulled_back(self.built.structure, self.values, self._found.reverse(cotangent))

    def _vector(self, direction: Array | Mapping[str, float]) -> Array:
        if not isinstance(direction, Mapping):
            return np.asarray(direction, float)
        d = np.zeros(len(self.keys))
        for key, change in direction.items():
            d[self.built.parameters.index(key)] = change
        return d

    @cached_property
    def _lines(self) -> dict[str, Any]:
        return added_lines(self.built)


def smoothed_plan(case: CaseOrPath, barrier_usd: float | None = None, settings: Settings | None = None) -> SmoothedPlan:
    """The smoothed plan of a case; without a barrier, with the one that leaves it 0.1 % above the best plan. Raises CaseError for a case
    that cannot be used and a barrier that is not above zero; ArithmeticError where the barrier is too small to be reached."""
    prepare()
    from optimizer.solver.smoothed import smoothed_program

    case = case if isinstance(case, Case) else load(case)
    if barrier_usd is not None and not (np.isfinite(barrier_usd) and barrier_usd > 0):
        raise CaseError(str(case.file), "barrier_usd", f"is {barrier_usd:g}", "give dollars above zero")
    built = build(case)
    if built.structure.pair_index.groups is not None:
        built = solved(built, settings or Settings()).built
    return SmoothedPlan(built, smoothed_program(built.program, barrier_usd))
