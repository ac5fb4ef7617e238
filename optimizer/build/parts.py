"""The parts in which acquisitions are delivered: when each counts, stands and is paid, and what of an acquisition it is (case reference,
section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer.build.numbers import Array, Numbers
from optimizer.build.orders import NEVER, Orders
from optimizer.build.parameters import ONE, ParameterTable
from optimizer.economics.calendar import Calendar
from optimizer.economics.cashflow import BreakShape, FlowShape


@dataclass(frozen=True)
class Parts:
    """What of one chip of each acquisition counts as capacity, stands at any time and is delivered in each period; flows per chip."""

    counted: Array  # [Z, T]
    present: Array  # [Z, T]
    shape: FlowShape  # of Z


@dataclass(frozen=True)
class PartIndex:
    """Y parts, sorted by acquisition."""

    acquisition: np.ndarray  # int[Y]
    share: np.ndarray  # int[Y], position; ONE for an acquisition that is delivered at once
    counted: np.ndarray  # [Y, T], 0 or 1
    present: np.ndarray  # [Y, T], 0 or 1
    shape: FlowShape  # of Y

    def read(self, numbers: Numbers, ownership: np.ndarray) -> Parts:
        """`ownership` int[Z]."""
        if np.all(self.share == ONE):  # then there is one part for each
            return Parts(self.counted, self.present, self.shape)
        share = numbers.e[self.share]

        def whole(per_part: Array) -> Array:
            weight = share if per_part.ndim == 1 else share[:, None]
            return numbers.segment_sum(weight * per_part, self.acquisition, len(ownership))

        flows = (whole(getattr(self.shape, name)) for name in ("overlap", "delivery", "prepaid_days", "end_share"))
        return Parts(whole(self.counted), whole(self.present), FlowShape(ownership, *flows))

    def mask(self, of_parts: np.ndarray, acquisitions: int) -> np.ndarray:
        """bool[Z, T]: where any part of an acquisition is not zero."""
        found = np.zeros((acquisitions, of_parts.shape[1]), bool)
        np.logical_or.at(found, self.acquisition, of_parts != 0)
        return found


def part_index(
    orders: Orders, stage: np.ndarray, ownership: np.ndarray, calendar: Calendar, table: ParameterTable, straight_line: bool
) -> PartIndex:
    """`stage`, `ownership` int[Z]: the stage that each acquisition decides, and the kind of its contract."""
    first = np.searchsorted(orders.part_stage, np.arange(len(orders.offer) + 1))
    many = np.diff(first)[stage]
    acquisition = np.repeat(np.arange(len(stage)), many)
    part = np.repeat(first[:-1][stage], many) + np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    start, end = orders.part_start[part], orders.part_end[part]
    shape = FlowShape.of(calendar, ownership[acquisition], start, end, straight_line)
    # an extension delivers nothing, and what is paid up front is of the whole term
    signed = (orders.previous[stage] < 0)[acquisition].astype(float)[:, None]
    term_end = np.where(orders.next_break[stage][acquisition] < NEVER, orders.contract_end[stage][acquisition], end)
    whole = calendar.overlap_days(start, np.minimum(term_end, int(calendar.day[-1]))).sum(axis=1).astype(float)[:, None]
    delivery = shape.delivery * signed
    return PartIndex(
        acquisition=acquisition,
        share=np.array([table.at(orders.part_share[p], ONE) for p in part.tolist()], int),
        counted=orders.part_counted[part].astype(float),
        present=(shape.overlap > 0).astype(float),
        shape=replace(shape, delivery=delivery, prepaid_days=delivery * whole),
    )


def break_shape(orders: Orders, stage: np.ndarray, calendar: Calendar) -> BreakShape:
    """Fees of leaving at the break that ends a stage, and of not having left at the one that begins it."""
    leaves, left = orders.next_break[stage], np.full(len(stage), NEVER)
    extends = orders.previous[stage] >= 0
    left[extends] = orders.next_break[orders.previous[stage][extends]]
    count, days = np.zeros((len(stage), calendar.periods)), np.zeros((len(stage), calendar.periods))
    for day, sign in ((leaves, 1.0), (left, -1.0)):
        z = np.nonzero(day < NEVER)[0]
        period = calendar.period_at(day[z])
        count[z, period] += sign
        days[z, period] += sign * (orders.contract_end[stage[z]] - day[z])
    return BreakShape(count, days)
