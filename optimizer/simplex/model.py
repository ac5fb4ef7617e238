"""An extensive form in HiGHS: stated, run by the simplex with a limit on pivots, its vertex read.

HiGHS's own status is never asked: whatever its columns and row duals are when it ends goes to the certificate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np

from optimizer.program.program import Array
from optimizer.simplex.by_column import INDEX
from optimizer.simplex.extensive import Extensive

AT_ONCE_ROWS = 2_000  # a smaller form is solved before anybody could interrupt it
PATIENCE_S = 0.1  # between two looks for Ctrl-C
CHOOSE = 0  # simplex_strategy: the primal method from a basis that is primal feasible, else the dual


class Vertex(NamedTuple):
    """Column values and row duals [d cost / d right-hand side] where HiGHS ended."""

    values: Array
    duals: Array


def stated(form: Extensive) -> highspy.Highs:
    """The form in a HiGHS of its own that prints nothing and otherwise keeps HiGHS's defaults. By arrays: a sixth of the time that the
    fields of a HighsLp take."""
    highs, matrix = highspy.Highs(), form.entries
    highs.setOptionValue("log_to_console", False)
    rows, columns = matrix.shape
    highs.passModel(
        columns, rows, len(matrix.value), int(highspy.MatrixFormat.kColwise), int(highspy.ObjSense.kMinimize), form.constant, form.cost,
        form.lower, form.upper, form.row_lower, form.row_upper, matrix.start, matrix.row, matrix.value, np.zeros(columns, INDEX),
    )  # fmt: skip
    return highs


class Model:
    """One form in HiGHS; `run` may be called again and goes on from where the last call ended."""

    def __init__(self, form: Extensive) -> None:
        self.highs = stated(form)
        self._set(solver="simplex", simplex_strategy=CHOOSE)
        self.rows, self.columns = form.entries.shape
        self.pivots = 0

    def start_from(self, basis: Any) -> None:
        """Begin at a basis that `basis` gave for a form of the same rows and columns; without presolve, which would lose it. What earlier
        runs left (a factorisation, random numbers) is dropped: the next one depends on the form and the basis alone."""
        self.highs.clearSolver()
        self.highs.setBasis(basis)

    def set_bounds(self, rows: list[int], row_lower: Array, row_upper: Array, columns: list[int], lower: Array, upper: Array) -> None:
        """Take the bounds of some rows and columns from arrays over all of them; a basis is kept."""
        for row in rows:
            self.highs.changeRowBounds(row, float(row_lower[row]), float(row_upper[row]))
        for column in columns:
            self.highs.changeColBounds(column, float(lower[column]), float(upper[column]))

    def run(self, most_pivots: int, tolerance: float) -> Vertex | None:
        """Pivot until HiGHS ends, at most so many times; None where it left no values or duals."""
        self._set(simplex_iteration_limit=most_pivots, primal_feasibility_tolerance=tolerance, dual_feasibility_tolerance=tolerance)
        if self.rows < AT_ONCE_ROWS:
            self.highs.run()
        else:
            self._run_interruptibly()
        self.pivots += max(0, int(self.highs.getInfo().simplex_iteration_count))
        found = self.highs.getSolution()
        values, duals = np.asarray(found.col_value, float), np.asarray(found.row_dual, float)
        complete = len(values) == self.columns and len(duals) == self.rows
        return Vertex(values, duals) if complete else None

    @property
    def basis(self) -> Any:
        """Where the last run ended."""
        return self.highs.getBasis()

    def _run_interruptibly(self) -> None:
        """In a thread, so that Ctrl-C ends it and not only what comes after it. HiGHS asks after every pivot whether to go on, which costs
        a twentieth of the time of a small program; to begin with that while it runs was seen to fail."""
        self.highs.HandleKeyboardInterrupt = True
        try:
            self.highs.startSolve()
            while not self.highs.wait(PATIENCE_S)[0]:
                pass
        except KeyboardInterrupt:
            self.highs.cancelSolve()
            self.highs.wait()
            raise

    def _set(self, **options: Any) -> None:
        for name, value in options.items():
            if self.highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
                raise ValueError(f"this build of HiGHS, {self.highs.version()}, refuses {name} = {value}")
