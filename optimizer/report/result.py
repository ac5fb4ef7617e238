"""The answer: what `optimizer.plan` and `optimizer.evaluate` return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optimizer.performance.eligibility import Excuse
from optimizer.report.assumed import AssumedShare
from optimizer.report.frames import Table
from optimizer.spec.resolved import Case

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.build.build import Built
    from optimizer.program.certificate import Status
    from optimizer.settings import Settings
    from optimizer.solve import Solution


class Tables(NamedTuple):
    """The tables of a plan as columns; `Plan` gives each as a DataFrame."""

    acquisitions: Table
    mix: Table
    placement: Table
    cost: Table
    prices: Table
    unserved: Table
    commitments_beyond_horizon: Table
    training_runs: Table
    deployments: Table
    replicas: Table


TABLES = Tables._fields


@dataclass(frozen=True)
class Plan:
    """A plan with its certificate.

    Dollars are expected present values at the start of the horizon unless a column says nominal; what does not exist (the cost of an
    infeasible case) is NaN. `reason` is the certificate's sentence, or why the case is infeasible. `seconds` by phase: build, compile,
    solve, certify, report. Tables are tidy, with units in the names of columns: `optimizer.report` has one module per table.
    """

    status: str  # CERTIFIED | FEASIBLE | INFEASIBLE | FAILED
    reason: str
    objective_usd: float
    lower_bound_usd: float
    gap_usd: float
    gap_relative: float  # of the solver: the program with its lines for spare replicas, where there are any
    lower_bound_true_usd: float  # bounds the cost with the spare replicas as they are; the lower bound where nothing queues
    headroom_gap_relative: float  # objective less lower_bound_true_usd, relative like gap_relative; 0 where nothing queues
    penalties_usd: float  # unserved work and exceeded share limits, part of the objective
    engine: str  # simplex | interior: what proposed the plan that the certificate judged; "" where the limits clash
    engine_reason: str  # why that one
    iterations: int  # pivots of the simplex, factorisations of the interior point
    compilations: int
    seconds: dict[str, float]
    versions: dict[str, str]
    device: str
    case_name: str
    case_hash: str
    warnings: tuple[str, ...]
    excuses: tuple[Excuse, ...]  # for every stream that no pool may serve: every pool, with the reason
    assumed: AssumedShare  # share of the cost that rests on assumed numbers
    conflicts: tuple[str, ...]  # INFEASIBLE: the limits that clash, one sentence each
    columns: Tables = field(repr=False)  # pandas is loaded for the first table that is asked for as a DataFrame
    case: Case = field(repr=False)
    settings: Settings = field(repr=False)
    built: Built = field(repr=False)
    solution: Solution = field(repr=False)

    @property
    def has_values(self) -> bool:
        """Whether there is a plan at all: tables are empty without one."""
        return self.solution.certificate.plan is not None

    @property
    def exit_code(self) -> int:
        """0 CERTIFIED, 1 FAILED, 3 FEASIBLE, 4 INFEASIBLE."""
        return self.kind.exit_code

    @property
    def kind(self) -> Status:
        """The status as an enum."""
        return self.solution.status

    @property
    def acquisitions(self) -> pd.DataFrame:
        return self.columns.acquisitions.frame

    @property
    def mix(self) -> pd.DataFrame:
        return self.columns.mix.frame

    @property
    def placement(self) -> pd.DataFrame:
        return self.columns.placement.frame

    @property
    def cost(self) -> pd.DataFrame:
        return self.columns.cost.frame

    @property
    def prices(self) -> pd.DataFrame:
        return self.columns.prices.frame

    @property
    def unserved(self) -> pd.DataFrame:
        return self.columns.unserved.frame

    @property
    def commitments_beyond_horizon(self) -> pd.DataFrame:
        return self.columns.commitments_beyond_horizon.frame

    @property
    def training_runs(self) -> pd.DataFrame:
        return self.columns.training_runs.frame

    @property
    def deployments(self) -> pd.DataFrame:
        return self.columns.deployments.frame

    @property
    def replicas(self) -> pd.DataFrame:
        return self.columns.replicas.frame

    def tables(self) -> dict[str, pd.DataFrame]:
        return {name: getattr(self, name) for name in TABLES}

    def to_json(self) -> dict[str, Any]:
        """The content of plan.json."""
        from optimizer.report.files import plan_document

        return plan_document(self)

    def write(self, directory: str | Path) -> Path:
        """plan.json and every table as CSV and Parquet; nothing is ever left half-written. Returns the directory."""
        from optimizer.report.files import write_plan

        return write_plan(self, directory)

    def summary(self, width: int = 100) -> str:
        """The page that `capacity plan` prints, without colours."""
        from optimizer.report.page import text_of
        from optimizer.report.summary import plan_page

        return text_of(plan_page(self), width)


@dataclass(frozen=True)
class Evaluation:
    """Somebody's acquisitions, certified, beside the best plan.

    The true cost of the given acquisitions lies in [given.lower_bound_true_usd, given.objective_usd] and the least possible cost in
    [best.lower_bound_true_usd, best.objective_usd], so that the acquisitions cost between at_least_usd and at_most_usd too much.
    """

    given: Plan
    best: Plan
    above_best_usd: float  # given.objective_usd - best.objective_usd
    at_least_usd: float
    at_most_usd: float

    @property
    def exit_code(self) -> int:
        """That of the given plan, or of the best one where only the latter is not certified."""
        return self.given.exit_code or self.best.exit_code

    def summary(self, width: int = 100) -> str:
        from optimizer.report.comparison import evaluation_page
        from optimizer.report.page import text_of

        return text_of(evaluation_page(self), width)
