"""A certified answer by the simplex: HiGHS proposes a vertex, the certificate judges it, and where the gap is not reached HiGHS goes on at
tighter tolerances."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.program.certificate import Certificate, Status, certify
from optimizer.program.program import Program
from optimizer.program.tidy import without_dust
from optimizer.simplex.basis import basis_of, packed_statuses
from optimizer.simplex.extensive import Extensive, extensive_form
from optimizer.simplex.model import Model, Vertex

TOLERANCES = (1e-7, 1e-10)
"""Primal and dual, of rows and reduced costs as they are stated: HiGHS's default, then the least that it takes."""
WARM_SHARE = 0.1


@dataclass(frozen=True)
class Start:
    """Where a neighbour's simplex ended: a basis of a form with so many rows and columns."""

    basis: Any
    size: tuple[int, int]

    def written(self) -> dict[str, str]:
        """As texts, which `Start.read` makes the same start of."""
        return {"columns": packed_statuses(self.basis.col_status), "rows": packed_statuses(self.basis.row_status)}

    @staticmethod
    def read(texts: Mapping[str, str]) -> Start | None:
        """None where the texts are no basis."""
        basis = basis_of(texts.get("columns", ""), texts.get("rows", ""))
        return None if basis is None else Start(basis, (len(basis.row_status), len(basis.col_status)))


@dataclass(frozen=True)
class Answer:
    """`certificate`: the best of what was proposed. `start`: for a program of the same form."""

    certificate: Certificate
    pivots: int
    certify_seconds: float
    start: Start | None


def propose(program: Program, gap_relative: float, most_pivots: int, start: Start | None = None) -> Answer:
    """Pivot at most `most_pivots` times in all, from a neighbour's basis where it fits. A basis that leads nowhere within its share of
    that is given up for a start without one."""
    form = extensive_form(program)
    judge = _Judge(program, form, gap_relative)
    pivots = 0
    if start is not None and start.size == form.entries.shape:
        model = Model(form)
        model.start_from(start.basis)
        judge.run(model, max(1, int(WARM_SHARE * most_pivots)))
        pivots = model.pivots
    if not judge.certified:
        model = Model(form)
        judge.run(model, most_pivots - pivots)
        pivots += model.pivots
    end = Start(model.basis, form.entries.shape) if judge.certified else None
    return Answer(judge.tidied(), pivots, judge.seconds, end)


class _Judge:
    """The best certificate of what one form's models proposed."""

    def __init__(self, program: Program, form: Extensive, gap_relative: float) -> None:
        self.program, self.form, self.gap_relative = program, form, gap_relative
        self.best: Certificate | None = None
        self.seconds = 0.0

    @property
    def certified(self) -> bool:
        return self.best is not None and self.best.status is Status.CERTIFIED

    def run(self, model: Model, most_pivots: int) -> None:
        for tolerance in TOLERANCES:
            vertex = model.run(max(0, most_pivots - model.pivots), tolerance)
            self._consider(vertex or Vertex(np.zeros(model.columns), np.zeros(model.rows)))
            if self.certified:
                return

    def _consider(self, vertex: Vertex) -> None:
        began = time.perf_counter()
        plan, multipliers = self.form.plan(vertex.values), self.form.multipliers(vertex.duals)
        new = certify(self.program, plan, multipliers, self.gap_relative)
        if self.best is None or new.status is Status.CERTIFIED or new.gap < self.best.gap:
            self.best = new
        self.seconds += time.perf_counter() - began

    def tidied(self) -> Certificate:
        """A vertex has few orders, but the repair, or a tolerance, may have left some that are too small to mean anything."""
        assert self.best is not None, "something was proposed, be it nothing"
        if not self.certified:
            return self.best
        began = time.perf_counter()
        clean = without_dust(self.program, self.best, self.gap_relative)
        self.seconds += time.perf_counter() - began
        return clean or self.best
