"""Re-solves of moved programs by HiGHS's simplex, each from the optimal basis of the first, judged by our certificate.

A program whose numbers moved by a ten-thousandth has nearly the same optimal vertex: on the flagship case (131,122 rows, 868,745 free
columns) the first solve takes minutes and a further one a second, at certified gaps of 1e-12. They check derivatives to digits that two
solves by an interior method do not have, and by another method.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.program.certificate import Certificate, certify
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.simplex.by_column import ByColumn
from optimizer.simplex.extensive import Extensive, extensive_form
from optimizer.solve import solve
from scripts.benchmarking.peer_highs import imported_highspy

TOLERANCE = 1e-9  # primal and dual, of HiGHS; the least that it takes is 1e-10
DUAL, PRIMAL = 1, 4  # HiGHS's simplex strategies
ATTEMPTS = (DUAL, 5.0), (PRIMAL, 5.0), (DUAL, 60.0), (PRIMAL, 60.0)
"""(strategy, seconds). Where only costs moved the primal simplex needs a handful of pivots and the dual may wander; else the reverse."""


class WarmHighs:
    """Call it with programs of one form, the one that was not moved first. What HiGHS ends without an optimum (moved until nothing is
    feasible) is left to our interior point. Raises NotAvailableError without highspy."""

    def __init__(self, gap_relative: float = 1e-9) -> None:
        self.highspy, self.gap_relative = imported_highspy(), gap_relative
        self.basis: Any = None
        self.columns = np.zeros(0, int)

    def __call__(self, program: Program) -> Certificate:
        form = extensive_form(program)
        free = form.upper > form.lower
        held = np.zeros(len(free), bool)
        held[self.columns] = True
        if self.basis is None or np.any(free & ~held):
            self.basis, self.columns = None, np.flatnonzero(free)
        fixed = form.lower.copy()
        fixed[self.columns] = 0.0
        model = self._model(form, fixed)
        if self.basis is None:
            if not self._optimal(model):  # at HiGHS's own tolerances, with its presolve
                return self._own(program)
            self.basis = model.getBasis()
        if not any(self._optimal(model, *attempt) for attempt in ATTEMPTS):
            return self._own(program)
        found = model.getSolution()
        values = fixed
        values[self.columns] = np.asarray(found.col_value)
        return certify(program, form.plan(values), form.multipliers(np.asarray(found.row_dual)), self.gap_relative)

    def _model(self, form: Extensive, fixed: np.ndarray) -> Any:
        already, kept = form.matrix @ fixed, self.columns
        matrix = form.matrix[:, kept]
        part = replace(
            form, cost=form.cost[kept], lower=form.lower[kept], upper=form.upper[kept],
            entries=ByColumn(matrix.indptr, matrix.indices, matrix.data, matrix.shape),
            row_lower=form.row_lower - already, row_upper=form.row_upper - already,
        )  # fmt: skip
        from optimizer.simplex.model import stated

        model = stated(part)
        model.setOptionValue("solver", "simplex")
        return model

    def _optimal(self, model: Any, strategy: int = DUAL, limit_s: float = math.inf) -> bool:
        """Whether it ends with an optimum, from the basis where there is one."""
        if self.basis is not None:
            options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE, "simplex_strategy": strategy}
            for name, value in {**options, "time_limit": model.getRunTime() + limit_s}.items():  # of all its runs together
                model.setOptionValue(name, value)
            model.setBasis(self.basis)
        model.run()
        return model.getModelStatus() == self.highspy.HighsModelStatus.kOptimal

    def _own(self, program: Program) -> Certificate:
        return solve(program, Settings(gap_relative=self.gap_relative, engine="interior", progress=False)).certificate
