"""Programs around one: those that differ from it in right-hand sides and bounds alone, in one HiGHS model, each from the same basis."""

from __future__ import annotations

import numpy as np

from optimizer.program.certificate import Certificate, certify
from optimizer.program.program import Array, Program
from optimizer.simplex.extensive import bounds_of, extensive_form
from optimizer.simplex.model import Model
from optimizer.simplex.propose import TOLERANCES, Start

GAP = 1e-12  # asked of every certificate; what was reached stands in it
MOST_PIVOTS = 1_000  # and as many again as there are rows: a program that moved a little needs a handful


class Around:
    """`certificate` of a neighbour depends on that neighbour alone: every one starts from the basis of the program itself."""

    def __init__(self, program: Program, start: Start) -> None:
        """`start`: where the simplex ended on the program. Raises ValueError where it is one of another form."""
        self.form = extensive_form(program)
        if start.size != self.form.entries.shape:
            raise ValueError(f"a basis of {start.size} for a form of {self.form.entries.shape}")
        self.model, self.basis = Model(self.form), start.basis
        self.here = self.certificate(program)
        self.basis = self.model.basis

    def certificate(self, program: Program) -> Certificate | None:
        """Of a program with the same rows, columns, costs and coefficients; None where HiGHS left nothing to judge."""
        form = self.form
        row_lower, row_upper, lower, upper = bounds_of(program, form)
        rows = _changed((form.row_lower, row_lower), (form.row_upper, row_upper))
        columns = _changed((form.lower, lower), (form.upper, upper))
        self.model.set_bounds(rows, row_lower, row_upper, columns, lower, upper)
        self.model.start_from(self.basis)
        vertex = self.model.run(MOST_PIVOTS + self.model.rows, TOLERANCES[-1])
        self.model.set_bounds(rows, form.row_lower, form.row_upper, columns, form.lower, form.upper)
        if vertex is None:
            return None
        return certify(program, form.plan(vertex.values), form.multipliers(vertex.duals), GAP)


def _changed(*pairs: tuple[Array, Array]) -> list[int]:
    """Positions at which any of the pairs differs."""
    return np.nonzero(np.any([old != new for old, new in pairs], axis=0))[0].tolist()
