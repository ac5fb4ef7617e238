"""What the structure halves of all subjects share while one case is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.parameters import BuildError, ParameterTable, Scaled
from optimizer.build.paths import PathReader
from optimizer.economics.calendar import Calendar
from optimizer.spec.resolved import Case
from optimizer.uncertainty.tree import Tree


@dataclass(frozen=True)
class Draft:
    case: Case
    calendar: Calendar
    tree: Tree
    table: ParameterTable
    reader: PathReader
    cells: np.ndarray  # int[B], hours of the week in each block
    probability: Scaled  # [S]

    @staticmethod
    def of(case: Case) -> Draft:
        calendar = Calendar.of(case.horizon)
        reveal = None
        if case.reveal is not None:
            if case.reveal not in calendar.first_day[1:-1]:
                raise BuildError(f"scenarios.reveal: {case.reveal} is not the first day of a period after the first")
            reveal = calendar.first_day.index(case.reveal)
        table = ParameterTable()
        reader = PathReader(calendar, table)
        tree = Tree.of(len(case.scenarios), calendar.periods, reveal)
        cells = np.array([len(block.cells) for block in case.load_blocks], int)
        probability = Scaled(table.all(s.probability for s in case.scenarios), np.array([s.weight for s in case.scenarios]))
        return Draft(case, calendar, tree, table, reader, cells, probability)
