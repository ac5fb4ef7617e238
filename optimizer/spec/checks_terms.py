"""Lots: one contract of a fixed count needs one signing date, and a date on which it can serve (case reference, section 3)."""

from __future__ import annotations

from itertools import pairwise

from .horizon_dates import add_months, period_starts
from .quantities import Source
from .resolved import Case, Offer

MOST_DATES = 3


def check_terms(case: Case, source: Source) -> None:
    """Raises CaseError for a lot that has no signing date or several, and for one that is taken whole and can never serve."""
    starts = period_starts(case.horizon)
    for offer in case.offers.values():
        if offer.lot_chips is None:
            continue
        here = ("offers", written_name(source, offer))
        days = [t for t in range(case.horizon.periods) if _in_window(offer, case, t)]
        if offer.window_from is None or offer.window_until is None:
            remedy = f"write `window: {{from: {starts[0]}, until: {starts[0]}}}` with the first day of the period in which it is signed"
            raise source.error((*here, "window"), "leaves open when the lot is signed, and a lot is one contract of one date", remedy)
        if len(days) != 1:
            some = ", ".join(str(starts[t]) for t in days[:MOST_DATES]) + (", ..." if len(days) > MOST_DATES else "")
            problem = f"holds {len(days)} signing dates ({some}), and a lot is signed on one" if days else "holds no first day of a period"
            raise source.error((*here, "window"), problem, "let it hold the first day of one period")
        if offer.take == "all" and not serves(case, offer, days[0]):
            available = case.chips[offer.chip].available_from
            problem = f"signed on {starts[days[0]]} the lot serves no whole period of the horizon (chip available from {available})"
            raise source.error((*here, "take"), problem, "sign it earlier, deliver it sooner, or write `take: nothing`")


def written_name(source: Source, offer: Offer) -> str:
    """The name under which the file has an offer that may be one of several chips and places."""
    return offer.name if offer.name in source.file.offers else offer.name.removesuffix(f"/{offer.chip}/{offer.place}")


def serves(case: Case, offer: Offer, t: int) -> bool:
    """Whether an order signed on the first day of period t is delivered no earlier than its chip exists, and stands for at least one
    whole period of the horizon."""
    starts, available = period_starts(case.horizon), case.chips[offer.chip].available_from
    found = False
    for tranche in offer.deliveries:
        delivery = add_months(starts[t], tranche.months)
        end = add_months(delivery, offer.months)
        if delivery < available:
            return False
        found = found or any(a >= delivery and b <= end for a, b in pairwise(starts))
    return found


def _in_window(offer: Offer, case: Case, t: int) -> bool:
    first = period_starts(case.horizon)[t]
    return (offer.window_from is None or first >= offer.window_from) and (offer.window_until is None or first <= offer.window_until)
