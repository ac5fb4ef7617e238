"""Decides what accelerator capacity to own, lease, reserve and rent, and certifies the answer in dollars.

    import optimizer
    plan = optimizer.plan("configs/cases/two_clouds.yaml")
    print(plan.summary())

Nothing is imported until a name is used; JAX only when something is solved.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.analysis.alternatives import Alternatives as Alternatives
    from optimizer.analysis.alternatives import alternatives as alternatives
    from optimizer.analysis.break_even import BreakEven as BreakEven
    from optimizer.analysis.break_even import break_even as break_even
    from optimizer.analysis.compare import Comparison as Comparison
    from optimizer.analysis.compare import compare as compare
    from optimizer.analysis.compare_plans import compare_plans as compare_plans
    from optimizer.analysis.deals import value as value
    from optimizer.analysis.frontier import Frontier as Frontier
    from optimizer.analysis.frontier import frontier as frontier
    from optimizer.analysis.goal import Goal as Goal
    from optimizer.analysis.goal import goal as goal
    from optimizer.analysis.inverse import Inverse as Inverse
    from optimizer.analysis.inverse import inverse as inverse
    from optimizer.analysis.optimal_cost import OptimalCost as OptimalCost
    from optimizer.analysis.optimal_cost import optimal_cost as optimal_cost
    from optimizer.analysis.ranges import Range as Range
    from optimizer.analysis.rank import Rank as Rank
    from optimizer.analysis.rank import rank as rank
    from optimizer.analysis.sensitivity import Sensitivity as Sensitivity
    from optimizer.analysis.sensitivity import sensitivity as sensitivity
    from optimizer.analysis.smoothed_plan import SmoothedPlan as SmoothedPlan
    from optimizer.analysis.smoothed_plan import smoothed_plan as smoothed_plan
    from optimizer.analysis.utilisation import Utilisation as Utilisation
    from optimizer.analysis.utilisation import utilisation as utilisation
    from optimizer.performance.serve import serve as serve
    from optimizer.plan import evaluate as evaluate
    from optimizer.plan import load as load
    from optimizer.plan import plan as plan
    from optimizer.program.certificate import Status as Status
    from optimizer.program.program import Multipliers as Multipliers
    from optimizer.program.program import Names as Names
    from optimizer.program.program import Program as Program
    from optimizer.program.program import ProgramError as ProgramError
    from optimizer.program.program import Sparse as Sparse
    from optimizer.report.result import Evaluation as Evaluation
    from optimizer.report.result import Plan as Plan
    from optimizer.report.sweep_result import Sweep as Sweep
    from optimizer.settings import Settings as Settings
    from optimizer.solve import Solution as Solution
    from optimizer.solve import solve as solve
    from optimizer.spec import CaseError as CaseError
    from optimizer.spec.resolved import Case as Case
    from optimizer.sweep import sweep as sweep

__version__ = "0.1.0"

_HOME = {
    "Alternatives": "optimizer.analysis.alternatives",
    "BreakEven": "optimizer.analysis.break_even",
    "Case": "optimizer.spec.resolved",
    "CaseError": "optimizer.spec",
    "Comparison": "optimizer.analysis.compare",
    "Evaluation": "optimizer.report.result",
    "Frontier": "optimizer.analysis.frontier",
    "Goal": "optimizer.analysis.goal",
    "Inverse": "optimizer.analysis.inverse",
    "Multipliers": "optimizer.program.program",
    "Names": "optimizer.program.program",
    "OptimalCost": "optimizer.analysis.optimal_cost",
    "Plan": "optimizer.report.result",
    "Program": "optimizer.program.program",
    "ProgramError": "optimizer.program.program",
    "Range": "optimizer.analysis.ranges",
    "Rank": "optimizer.analysis.rank",
    "Sensitivity": "optimizer.analysis.sensitivity",
    "Settings": "optimizer.settings",
    "SmoothedPlan": "optimizer.analysis.smoothed_plan",
    "Solution": "optimizer.solve",
    "Sparse": "optimizer.program.program",
    "Status": "optimizer.program.certificate",
    "Sweep": "optimizer.report.sweep_result",
    "Utilisation": "optimizer.analysis.utilisation",
    "alternatives": "optimizer.analysis.alternatives",
    "break_even": "optimizer.analysis.break_even",
    "compare": "optimizer.analysis.compare",
    "compare_plans": "optimizer.analysis.compare_plans",
    "evaluate": "optimizer.plan",
    "frontier": "optimizer.analysis.frontier",
    "goal": "optimizer.analysis.goal",
    "inverse": "optimizer.analysis.inverse",
    "load": "optimizer.plan",
    "optimal_cost": "optimizer.analysis.optimal_cost",
    "plan": "optimizer.plan",
    "rank": "optimizer.analysis.rank",
    "sensitivity": "optimizer.analysis.sensitivity",
    "serve": "optimizer.performance.serve",
    "smoothed_plan": "optimizer.analysis.smoothed_plan",
    "solve": "optimizer.solve",
    "sweep": "optimizer.sweep",
    "value": "optimizer.analysis.deals",
}
__all__ = [  # noqa: RUF022
    "plan", "alternatives", "break_even", "compare", "compare_plans", "evaluate", "frontier", "goal", "inverse", "load", "optimal_cost",
    "rank", "sensitivity", "serve", "smoothed_plan", "solve", "sweep", "value", "Alternatives", "BreakEven", "Case", "CaseError",
    "Comparison", "Evaluation", "Frontier", "Goal", "Inverse", "Multipliers", "Names", "OptimalCost", "Plan", "Program", "ProgramError",
    "Range", "Rank", "Sensitivity", "Settings", "SmoothedPlan", "Solution", "Sparse", "Status", "Sweep", "Utilisation",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


class _Package(ModuleType):
    """`optimizer.plan`, `optimizer.solve` and `optimizer.sweep` are functions that live in modules of the same names. Python's import sets
    the module as an attribute of its package; here it becomes the function, whichever of the two is asked for first."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("plan", "solve", "sweep") and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
