"""What every acquisition is in words: offer, dates, parts, and what an extension extends."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.orders import Orders
from optimizer.build.records import AcquisitionRecord, PartRecord
from optimizer.economics.calendar import add_months
from optimizer.spec.resolved import Breaks, Offer

if TYPE_CHECKING:
    from optimizer.build.acquisitions import AcquisitionIndex


def acquisition_records(
    draft: Draft, orders: Orders, stage: np.ndarray, signed: np.ndarray, index: AcquisitionIndex
) -> tuple[AcquisitionRecord, ...]:
    """`stage`, `signed` int[Z]: what each acquisition decides, and the branch on which its contract was signed (SHARED: none)."""
    calendar, tree = draft.calendar, draft.tree
    names = [*(s.name for s in draft.case.scenarios), None]  # SHARED = -1: None
    of_stage = _stages(draft, orders)  # what the branches of one order share
    records = []
    places = (stage, index.pool, index.decision, tree.scenario[index.decision], signed, index.previous)
    for z, (x, pool, decision, own, branch, previous) in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        offer, common = of_stage[x]
        scenario, extends = names[own], f" extended {common['delivery_date']}" if previous >= 0 else ""
        records.append(
            AcquisitionRecord(
                index=z,
                name=f"{offer.name} @{common['signing_date']}{extends}" + (f" [{scenario}]" if scenario else ""),
                offer=offer.name,
                kind=offer.kind,
                chip=offer.chip,
                place=offer.place,
                pool=pool,
                decision=decision,
                scenario=scenario,
                usable_share=offer.usable_share.value,
                bound="lot_chips" if offer.lot_chips is not None else "derived" if offer.available_chips is None else "available_chips",
                assumed=offer.assumed,
                extends=previous,
                decision_date=calendar.first_day[int(tree.period[decision])],
                signed_scenario=names[branch],
                **common,
            )
        )
    return tuple(records)


def _stages(draft: Draft, orders: Orders) -> list[tuple[Offer, dict[str, Any]]]:
    """Offer, dates, parts and periods of every stage."""
    calendar, found = draft.calendar, []
    first = np.searchsorted(orders.part_stage, np.arange(len(orders.offer) + 1))
    present = np.zeros(orders.counted.shape, bool)
    np.logical_or.at(present, orders.part_stage, calendar.overlap_days(orders.part_start, orders.part_end) > 0)
    delivered = calendar.period_at(orders.part_start[first[:-1]]).tolist()
    columns = (orders.offer.tolist(), orders.period.tolist(), delivered)
    for x, (o, t, period) in enumerate(zip(*columns, strict=True)):
        offer, signed = orders.offers[o], calendar.first_day[t]
        parts = []
        for tranche, y in enumerate(range(first[x], first[x + 1])):
            share = orders.part_share[y]
            if offer.breaks is None:
                delivery = add_months(signed, offer.deliveries[tranche].months)
                end = add_months(delivery, offer.months)
            else:
                delivery, end = _stage_dates(orders, x, offer, offer.breaks, signed)
            parts.append(PartRecord(1.0 if share is None else share.value, delivery, end, _periods(orders.part_counted[y])))
        common = {
            "period": t,
            "signing_date": signed,
            "delivery_date": parts[0].delivery_date,
            "end_date": parts[-1].end_date,
            "delivery_period": period,
            "counted": _periods(orders.counted[x]),
            "present": _periods(present[x]),
            "parts": tuple(parts),
            "contract_end": add_months(signed, offer.deliveries[-1].months + offer.months),
        }
        found.append((offer, common))
    return found


def _stage_dates(orders: Orders, x: int, offer: Offer, breaks: Breaks, signed: date) -> tuple[date, date]:
    """(first day, first day after) of a stage of a contract with breaks; what no break inside the horizon ends, ends with the next one."""
    stage, k = 0, x
    while orders.previous[k] >= 0:
        stage, k = stage + 1, int(orders.previous[k])
    delivery = add_months(signed, offer.deliveries[0].months)
    months = (0, *breaks.months, offer.months)
    return add_months(delivery, months[stage]), add_months(delivery, months[stage + 1])


def _periods(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.nonzero(mask)[0].tolist())
