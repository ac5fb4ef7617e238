"""The values half's view of one parameter vector: paths read, discount factors, block hours - in numpy or in jax.numpy."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from optimizer.build.parameters import extended
from optimizer.build.paths import PathTable
from optimizer.economics.calendar import Calendar
from optimizer.economics.cashflow import discount

Array = Any  # numpy or jax array


@dataclass(frozen=True)
class Numbers:
    """Everything that the subjects read of a parameter vector; no subject reads the vector itself."""

    xp: ModuleType
    e: Array  # [M + 2], the extended vector: e[positions]
    rows: Array  # [R, T], the paths
    mid: Array  # [T], discount factor of the middle of the period
    start: Array  # [T], discount factor of its first day
    end: Array  # scalar, discount factor of the end of the horizon
    block_hours: np.ndarray  # [T, B]
    hours: np.ndarray  # [T]

    @staticmethod
    def of(theta: Array, paths: PathTable, rate: int, calendar: Calendar, cells: np.ndarray, xp: ModuleType) -> Numbers:
        """`rate`: position of the discount rate; cells int[B]: hours of the week in each block."""
        e = extended(theta, xp)
        mid, start, end = (discount(e[rate], years) for years in (calendar.mid_years, calendar.start_years, calendar.end_years))
        return Numbers(xp, e, paths.read(e), mid, start, end, calendar.block_hours(cells), calendar.hours)

    def segment_sum(self, values: Array, segment: np.ndarray, size: int) -> Array:
        """[size, ...]: sums of values[i, ...] over equal segment[i]."""
        if self.xp is np:
            total = np.zeros((size, *np.shape(values)[1:]))
            np.add.at(total, segment, values)
            return total
        if hasattr(self.xp, "segment_sum"):  # optimizer.build.reverse_mode
            return self.xp.segment_sum(values, segment, size)
        return self.xp.zeros((size, *values.shape[1:])).at[segment].add(values)
