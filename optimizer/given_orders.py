"""Somebody's acquisitions laid on a case: matched by offer, signing date and scenario (extensions by their break too), and fixed in the
program."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from optimizer.build.build import Built
from optimizer.build.records import AcquisitionRecord, LimitRecord
from optimizer.build.structure import Structure
from optimizer.program.layout import limit_operator
from optimizer.program.program import Array, Program, Sparse
from optimizer.spec import CaseError

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6
"""A given plan that exceeds a limit by less than this share of the row's terms meets it: people write counts with few digits."""

Orders: TypeAlias = "Iterable[Mapping[str, Any]] | pd.DataFrame"


def signed_counts(structure: Structure, acquisitions: Orders, file: str = "acquisitions") -> Array:
    """[Z], chips: what the rows sign; rows that mean the same order are added.

    Raises CaseError (with `file` as the place of the mistake) for a row that names no order of the case.
    """
    rows = acquisitions.to_dict("records") if hasattr(acquisitions, "to_dict") else list(acquisitions)
    offers = {a.offer for a in structure.acquisitions}
    dates = {(a.offer, a.signing_date) for a in structure.acquisitions}
    known = {(a.offer, a.signing_date, _break(a), a.scenario): a.index for a in structure.acquisitions}
    branches = [s.name for s in structure.case.scenarios]
    counts = np.zeros(len(structure.acquisitions))
    for number, row in enumerate(rows):
        here = f"acquisitions.{number}"
        offer, signed, chips, scenario, extended = _row(row, file, here)
        if offer not in offers:
            what = "is an offer of the case that cannot be signed" if offer in structure.case.offers else "is no offer of the case"
            raise CaseError(file, f"{here}.offer", f"`{offer}` {what}", "name an own, lease or reserved offer that can be signed")
        if (offer, signed) not in dates:
            days = sorted(str(day) for name, day in dates if name == offer)
            some = ", ".join(days[:4]) + (f" and {len(days) - 4} more" if len(days) > 4 else "")
            raise CaseError(file, f"{here}.signing_date", f"`{offer}` cannot be signed on {signed}", f"its dates are {some}")
        breaks = sorted({str(key[2]) for key in known if key[:2] == (offer, signed) and key[2] is not None})
        if extended is not None and str(extended) not in breaks:
            remedy = f"its breaks are {', '.join(breaks)}" if breaks else "it has none inside the horizon; remove the row"
            raise CaseError(file, f"{here}.delivery_date", f"`{offer}` signed on {signed} has no break on {extended}", remedy)
        if (offer, signed, extended, scenario or None) in known:
            counts[known[offer, signed, extended, scenario or None]] += chips
        elif not scenario:  # '' after the reveal: the same order on every branch
            for branch in branches:
                counts[known[offer, signed, extended, branch]] += chips
        elif scenario in branches:
            raise CaseError(
                file, f"{here}.scenario", f"on {signed} an order is the same in all scenarios, not only in `{scenario}`", "leave it empty"
            )
        else:
            raise CaseError(file, f"{here}.scenario", f"`{scenario}` is no scenario of the case", f"use one of {', '.join(branches[:12])}")
    return _with_lots(structure, counts, file)


def _break(a: AcquisitionRecord) -> date | None:
    """The break beyond which it stands; None for an order."""
    return a.delivery_date if a.extends >= 0 else None


def _with_lots(structure: Structure, counts: Array, file: str) -> Array:
    """Raises CaseError where the case takes a lot whole or not at all and the rows say otherwise."""
    for a in structure.acquisitions:
        offer = structure.case.offers[a.offer]
        if offer.lot_chips is None or offer.take == "fraction" or a.extends >= 0:
            continue
        wanted, given = offer.lot_chips.value if offer.take == "all" else 0.0, float(counts[a.index])
        if abs(given - wanted) > ROUNDING * offer.lot_chips.value:
            problem = f"`{a.offer}` is signed for {given:,.6g} chips, and the case says `take: {offer.take}` of a lot of "
            remedy = f"sign {wanted:,.6g}, or write `take: fraction` in the case"
            raise CaseError(file, "acquisitions", f"{problem}{offer.lot_chips.value:,.6g}", remedy)
        counts[a.index] = wanted
    return counts


def _row(row: Mapping[str, Any], file: str, here: str) -> tuple[str, date, float, str, date | None]:
    """Offer, signing date, chips, scenario ('' for all), and of an extension the break beyond which it stands."""
    if not isinstance(row, Mapping):
        raise CaseError(file, here, "is no mapping", "write offer, signing_date, count_chips and scenario")
    for key in ("offer", "signing_date", "count_chips"):
        if key not in row:
            raise CaseError(file, f"{here}.{key}", "is missing", "write offer, signing_date and count_chips in every row")
    chips, scenario, order = row["count_chips"], row.get("scenario", ""), row.get("order")
    signed = _day(row["signing_date"], file, f"{here}.signing_date")
    if isinstance(chips, bool) or not isinstance(chips, int | float | np.number) or not (math.isfinite(chips) and chips >= 0):
        raise CaseError(file, f"{here}.count_chips", f"'{chips}' is no count", "write a finite number, 0 or more")
    if _nothing(order) or order == "order":
        extended = None
    elif order == "extension":
        if "delivery_date" not in row:
            raise CaseError(file, f"{here}.delivery_date", "is missing", "write the break beyond which the chips are kept")
        extended = _day(row["delivery_date"], file, f"{here}.delivery_date")
    else:
        raise CaseError(file, f"{here}.order", f"'{order}' is none of order, extension", "write one of the two, or leave it empty")
    return str(row["offer"]), signed, float(chips), "" if _nothing(scenario) else str(scenario), extended


def _day(value: Any, file: str, here: str) -> date:
    if isinstance(value, datetime):
        value = value.date()
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise CaseError(file, here, f"'{value}' is no date", "write YYYY-MM-DD") from error


def _nothing(value: Any) -> bool:
    """An absent value, or an empty cell of a CSV."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def fixed(built: Built, counts: Array) -> Built:
    """The program in which exactly these chips are signed. What an offer has too few of becomes a limit that cannot be met."""
    program = _met_to_rounding(built.program, counts)
    short = np.nonzero(~program.upper_is_derived & (counts > program.acquisition_upper * (1 + ROUNDING)))[0]
    program, structure = _with_available(program, built.structure, short)
    structure = replace(structure, warnings=(*structure.warnings, *_not_extended(structure, counts)))
    return replace(built, program=replace(program, acquisition_lower=counts, acquisition_upper=counts), structure=structure)


def _not_extended(structure: Structure, counts: Array) -> list[str]:
    """Offers of which the rows hand back everything at a first break: whoever writes orders by hand may not have meant it."""
    kept = {(a.offer, a.signing_date) for a in structure.acquisitions if a.extends >= 0 and counts[a.index] > 0}
    ends = {
        (a.offer, a.signing_date): a.delivery_date
        for a in structure.acquisitions
        if a.extends >= 0 and structure.acquisitions[a.extends].extends < 0 and counts[a.extends] > 0
    }
    return [
        f"offers.{offer}: the given orders extend nothing of what is signed on {signed}, so all of it is handed back on {day}"
        for (offer, signed), day in ends.items()
        if (offer, signed) not in kept
    ]


def _met_to_rounding(program: Program, counts: Array) -> Program:
    matrix = limit_operator(program)
    value, size = matrix @ counts, abs(matrix) @ counts
    close = ROUNDING * np.maximum(size, np.where(np.isfinite(program.limit_upper), np.abs(program.limit_upper), 0.0))
    over = value - program.limit_upper
    return replace(program, limit_upper=np.where((over > -close) & (over <= close), value + close, program.limit_upper))


def _with_available(program: Program, structure: Structure, short: Array) -> tuple[Program, Structure]:
    """A limit row for each acquisition whose stated availability the given count exceeds."""
    if not len(short):
        return program, structure
    first, records = program.limits, []
    for row, z in enumerate(short.tolist(), start=first):
        a = structure.acquisitions[z]
        offer = structure.case.offers[a.offer]
        stated = offer.available_chips.values if offer.available_chips else (offer.lot_chips,) if offer.lot_chips else ()
        keys = tuple(quantity.key for quantity in stated)
        records.append(
            LimitRecord(
                index=row,
                name=f"available {a.name}",
                kind="available",
                limit=a.offer,
                bound="max",
                period=a.period,
                decisions=(a.decision,),
                scenario=a.scenario,
                unit="chips",
                place=a.place,
                keys=keys,
                empty=False,
            )
        )
    rows = np.arange(first, first + len(short))
    matrix = program.limit_matrix
    return (
        replace(
            program,
            limit_matrix=Sparse(
                (np.concatenate([matrix.index[0], rows]), np.concatenate([matrix.index[1], short])),
                np.concatenate([matrix.value, np.ones(len(short))]),
            ),
            limit_lower=np.concatenate([program.limit_lower, np.full(len(short), -np.inf)]),
            limit_upper=np.concatenate([program.limit_upper, program.acquisition_upper[short]]),
            names=replace(program.names, limit=(*program.names.limit, *(record.name for record in records))),
        ),
        replace(structure, limits=(*structure.limits, *records)),
    )
