"""What only the case as a whole can tell: sums, dates against the horizon, two offers in one pool."""

from __future__ import annotations

from collections.abc import Iterable

from .case_error import Location
from .checks_terms import check_terms, written_name
from .horizon_dates import period_starts
from .quantities import Source
from .resolved import Case, Quantity

SUM_TOLERANCE = 1e-9


def check_plan(case: Case, source: Source) -> None:
    """Raises CaseError for the first contradiction."""
    _check_sums(case, source)
    _check_windows(case, source)
    check_terms(case, source)
    _check_existing(case, source)
    _check_reveal(case, source)
    _check_pools(case, source)


def _check_sums(case: Case, source: Source) -> None:
    for name, workload in case.workloads.items():
        if workload.origins:
            _sums_to_one((share for _, share in workload.origins), "shares", ("workloads", name, "origins"), source)
    for offer in case.offers.values():
        shares = [tranche.share for tranche in offer.deliveries if tranche.share is not None]
        if shares:
            _sums_to_one(shares, "shares", ("offers", written_name(source, offer), "deliveries"), source)
    if source.file.scenarios is not None:
        _sums_to_one((scenario.probability for scenario in case.scenarios), "probabilities", ("scenarios", "cases"), source)


def _sums_to_one(values: Iterable[Quantity], what: str, location: Location, source: Source) -> None:
    total = sum(quantity.value for quantity in values)
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise source.error(location, f"the {what} sum to {total:.12g}", f"let the {what} sum to 1 (within 1e-9)")


def _check_windows(case: Case, source: Source) -> None:
    """A window that does not touch the horizon makes an offer that can never be used."""
    starts = period_starts(case.horizon)
    first, end = starts[0], starts[-1]
    for name, offer in source.file.offers.items():
        window = offer.window
        if window is None:
            continue
        here = ("offers", name, "window")
        if window.from_ is not None and window.from_ >= end:
            raise source.error((*here, "from"), f"{window.from_} is not before the horizon's end ({end})", "write an earlier date")
        if window.until is not None and window.until < first:
            raise source.error((*here, "until"), f"{window.until} is before the horizon's start ({first})", "write a later date")


def _check_existing(case: Case, source: Source) -> None:
    starts = period_starts(case.horizon)
    for name, fleet in case.existing.items():
        here = ("existing", name)
        if fleet.end <= starts[0]:
            raise source.error(
                (*here, "end"), f"{fleet.end} is not after the horizon start ({starts[0]})", "write a later date or remove the entry"
            )
        if fleet.start is not None and fleet.start >= starts[-1]:
            raise source.error((*here, "start"), f"{fleet.start} is not before the horizon's end ({starts[-1]})", "write an earlier date")


def _check_reveal(case: Case, source: Source) -> None:
    if case.reveal is None:
        return
    choices = period_starts(case.horizon)[1:-1]
    if case.reveal in choices:
        return
    here = ("scenarios", "reveal")
    if not choices:
        raise source.error(here, "needs a period after the first, and there is one period", "remove it, or plan more periods")
    near = sorted(choices, key=lambda day: abs((day - case.reveal).days) if case.reveal else 0)[:2]
    days = " or ".join(str(day) for day in sorted(near))
    raise source.error(here, f"{case.reveal} is not the first day of a period after the first", f"write {days}")


def _check_pools(case: Case, source: Source) -> None:
    taken: dict[tuple[str, str, bool], str] = {}
    for name, offer in case.offers.items():
        if not offer.is_rent:
            continue
        pool = (offer.chip, offer.place, offer.preemptible)
        if pool in taken:
            raise source.error(
                ("offers", written_name(source, offer)),
                f"is a second {offer.kind} offer for {offer.chip} in {offer.place}, beside `{taken[pool]}`",
                "keep one of them for each chip and place",
            )
        taken[pool] = name
