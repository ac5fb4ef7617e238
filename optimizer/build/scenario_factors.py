"""Which multipliers of a scenario reach which price and which demand (case reference, section 7).

The result is int[S, X, M]: for scenario s and item x the rows of the path table whose product is the multiplier, filled up with
the unit row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.paths import padded
from optimizer.build.selectors import selects_offer
from optimizer.economics.calendar import Calendar, Instants
from optimizer.spec.resolved import Offer, Selector, Workload


def price_factors(draft: Draft, offers: Sequence[Offer], instants: Instants) -> np.ndarray:
    """int[S, O, M] for the prices of offers, read at `instants`."""
    reached: dict[Selector, list[int]] = {}
    lists: list[list[int]] = []
    for scenario in draft.case.scenarios:
        rows: list[list[int]] = [[] for _ in offers]
        for multiplier in scenario.prices:
            if multiplier.selector not in reached:
                reached[multiplier.selector] = [i for i, o in enumerate(offers) if selects_offer(multiplier.selector, o, draft.case)]
            row = draft.reader.row(multiplier.path, instants)
            for item in reached[multiplier.selector]:
                rows[item].append(row)
        lists += rows
    return _shaped(draft, lists, len(offers))


def demand_factors(draft: Draft, workloads: Sequence[Workload]) -> np.ndarray:
    """int[S, W, M] for the demand of workloads, each read at the instant of its level."""
    lists: list[list[int]] = []
    for scenario in draft.case.scenarios:
        for workload in workloads:
            reaching = (m for m in scenario.demand if m.workloads is None or workload.name in m.workloads)
            instants = level_instants(draft.calendar, workload)
            lists.append([draft.reader.row(m.path, instants) for m in reaching])
    return _shaped(draft, lists, len(workloads))


def level_instants(calendar: Calendar, workload: Workload) -> Instants:
    """When the demand of a workload is read; for runs the start of a period, of which only that of the window's first one counts."""
    if workload.runs:
        return calendar.first
    return calendar.last if workload.level == "end" else calendar.mid


def _shaped(draft: Draft, lists: list[list[int]], items: int) -> np.ndarray:
    flat = padded(lists)
    return flat.reshape(len(draft.case.scenarios), items, flat.shape[1])
