"""What can be signed and when: orders, the dates on which their parts are delivered, and the stages of contracts with breaks (case
reference, section 3).

A contract with breaks is a chain of *stages*: the order itself, which stands from delivery to the first break, and one extension per
break, which stands from that break to the next one and is decided `notice_months` before it. Any other order is one stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.economics.calendar import Calendar
from optimizer.spec.resolved import Case, Offer, Quantity

NEVER = 10**7  # days


@dataclass(frozen=True)
class Orders:
    """K stages of all (offer, signing period) that deliver capacity for at least one whole period of the horizon: first the orders, by
    signing period and then by offer, then all extensions. Y parts, sorted by stage; all day offsets."""

    offers: tuple[Offer, ...]  # O: all that are signed
    offer: np.ndarray  # int[K]
    period: np.ndarray  # int[K], of signing
    decided: np.ndarray  # int[K], the period on whose first day the stage is decided; that of signing for an order
    previous: np.ndarray  # int[K], the stage that it extends; -1 for an order
    contract_end: np.ndarray  # int[K], day: end of the last part of the whole contract
    next_break: np.ndarray  # int[K], day: the break that ends the stage; NEVER where none inside the horizon does
    counted: np.ndarray  # bool[K, T], periods in which its chips are capacity
    useful: np.ndarray  # bool[K, T], those of the whole contract
    part_stage: np.ndarray  # int[Y]
    part_share: tuple[Quantity | None, ...]  # Y; None: all
    part_start: np.ndarray  # int[Y]
    part_end: np.ndarray  # int[Y]
    part_counted: np.ndarray  # bool[Y, T]

    @staticmethod
    def of(case: Case, calendar: Calendar) -> Orders:
        offers = tuple(o for o in case.offers.values() if not o.is_rent)
        tranches = [(o, tranche) for o, offer in enumerate(offers) for tranche in offer.deliveries]
        of_tranche = np.array([o for o, _ in tranches], int)
        step, periods = calendar.horizon.months_per_period, calendar.periods
        signing = np.arange(periods)[:, None] * step  # [T, 1], months since the start of the horizon
        lead, months = (np.array(column, int) for column in ([t.months for _, t in tranches], [offers[o].months for o in of_tranche]))
        delivery_month = np.minimum(signing + lead, periods * step)  # beyond H: nothing of it is inside
        end_month = delivery_month + months
        day = calendar.month_day(int(end_month.max(initial=0)))
        delivery, end = day[delivery_month], day[end_month]  # [T, tranches]
        counted = calendar.wholly_inside(delivery, end)
        there = np.array([calendar.offset(case.chips[o.chip].available_from) for o in offers], int)

        first = calendar.day[:-1, None]
        opens = np.array([-NEVER if o.window_from is None else calendar.offset(o.window_from) for o in offers], int)
        closes = np.array([NEVER if o.window_until is None else calendar.offset(o.window_until) for o in offers], int)
        kept = (first >= opens) & (first <= closes)  # [T, O]
        kept &= ~_any(np.asarray(delivery < there[of_tranche]), of_tranche, len(offers)) & _any(
            counted.any(axis=2), of_tranche, len(offers)
        )
        period, offer = np.nonzero(kept)

        many = np.array([len(o.deliveries) for o in offers], int)[offer]  # tranches of each order
        begin = np.searchsorted(of_tranche, offer)
        turn = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        stage, tranche = np.repeat(np.arange(len(offer)), many), np.repeat(begin, many) + turn
        at = np.repeat(period, many), tranche
        part_counted, ends = counted[at], np.full(len(offer), -NEVER)
        np.maximum.at(ends, stage, end[at])
        useful = _any_row(part_counted, stage, len(offer))
        whole = Orders(
            offers=offers,
            offer=offer,
            period=period,
            decided=period,
            previous=np.full(len(offer), -1),
            contract_end=ends,
            next_break=np.full(len(offer), NEVER),
            counted=useful,
            useful=useful,
            part_stage=stage,
            part_share=tuple(tranches[t][1].share for t in tranche.tolist()),
            part_start=delivery[at],
            part_end=end[at],
            part_counted=part_counted,
        )
        return whole if all(o.breaks is None for o in offers) else _with_extensions(whole, calendar)


def _with_extensions(orders: Orders, calendar: Calendar) -> Orders:
    """Contracts with breaks inside the horizon cut at them; a contract with breaks has one part, so its part is its stage."""
    step, horizon_months = calendar.horizon.months_per_period, calendar.periods * calendar.horizon.months_per_period
    day = calendar.month_day(horizon_months)
    starts, ends, next_break = orders.part_start.copy(), orders.part_end.copy(), orders.next_break.copy()
    begins: list[int] = []  # of the extensions
    stops: list[int] = []
    nexts: list[int] = []
    decided: list[int] = []
    previous: list[int] = []
    base: list[int] = []  # the order that each extends
    first_part = np.searchsorted(orders.part_stage, np.arange(len(orders.offer)))
    for k, (o, t) in enumerate(zip(orders.offer.tolist(), orders.period.tolist(), strict=True)):
        breaks = orders.offers[o].breaks
        if breaks is None:
            continue
        delivered = t * step + orders.offers[o].deliveries[0].months
        months = [delivered + month for month in breaks.months if delivered + month < horizon_months]
        if not months:
            continue
        days = [int(day[month]) for month in months]
        ends[first_part[k]], next_break[k] = days[0], days[0]
        for j, month in enumerate(months):
            last = j + 1 == len(months)
            begins.append(days[j])
            stops.append(int(orders.contract_end[k]) if last else days[j + 1])
            nexts.append(NEVER if last else days[j + 1])
            decided.append((month - breaks.notice_months) // step)
            previous.append(k if j == 0 else len(orders.offer) + len(base) - 1)
            base.append(k)
    at = np.array(base, int)
    part_stage = np.concatenate([orders.part_stage, len(orders.offer) + np.arange(len(base))])
    part_start, part_end = np.concatenate([starts, np.array(begins, int)]), np.concatenate([ends, np.array(stops, int)])
    # a period counts for the last stage that it needs: what is extended is there before and after a break inside the period
    delivery = np.concatenate([starts, starts[first_part[at]]])
    part_counted = calendar.wholly_inside(delivery, part_end) & (calendar.day[1:] > part_start[:, None])
    stages = len(orders.offer) + len(base)
    return Orders(
        offers=orders.offers,
        offer=np.concatenate([orders.offer, orders.offer[at]]),
        period=np.concatenate([orders.period, orders.period[at]]),
        decided=np.concatenate([orders.decided, np.array(decided, int)]),
        previous=np.concatenate([orders.previous, np.array(previous, int)]),
        contract_end=np.concatenate([orders.contract_end, orders.contract_end[at]]),
        next_break=np.concatenate([next_break, np.array(nexts, int)]),
        counted=_any_row(part_counted, part_stage, stages),
        useful=np.concatenate([orders.useful, orders.useful[at]]),
        part_stage=part_stage,
        part_share=(*orders.part_share, *(None for _ in base)),
        part_start=part_start,
        part_end=part_end,
        part_counted=part_counted,
    )


def _any(mask: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """bool[T, groups]: whether any entry of mask [T, X] of the group is True."""
    return _any_row(mask.T, group, groups).T


def _any_row(mask: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """bool[groups, ...]: whether any row of mask [X, ...] of the group is True."""
    found = np.zeros((groups, *mask.shape[1:]), bool)
    np.logical_or.at(found, group, mask)
    return found
