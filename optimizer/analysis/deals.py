"""value(case, offer): what an offer is worth, the highest price worth paying, how much to take at which price, and what it displaces.

    worth            cost of the best plan without the offer less cost of the best plan with it, each certified: a bracket
    highest price    the factor on the offer's price above which it is worth nothing. From above: with the multipliers m of the case without
                     it, every column of the offer has a reduced cost r(f) linear in the factor f; from f = max over columns of
                     r(0) / (r(0) - r(1)) on none is negative, so m proves the bound of the case without the offer for the case with it.
                     From below: a certified plan with the offer that costs less than the bound without it. Bisection brings the two
                     together, as far as the gaps let costs be told apart. Where work queues, m belongs to lines for spare replicas, and
                     the end from above is an estimate.
    demand curve     the best plan at each factor. The optimal cost is concave in f, and its slope is what is paid at f = 1
    a lot            all or nothing: the count fixed, price excluded; the difference to the case without is the most to pay for all of it
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.analysis.offer_changes import OfferColumns, Use, columns_of_offer, forbidden, priced, taken, use_of
from optimizer.analysis.offer_worth import more_without
from optimizer.analysis.what_if import Answer, Progress, WhatIf
from optimizer.build.build import Built
from optimizer.economics.calendar import HOURS_PER_YEAR
from optimizer.program.lagrangian import reduced_acquisition_costs
from optimizer.program.program import Array, Multipliers, Program
from optimizer.report.frames import records
from optimizer.report.orders import mix_table
from optimizer.settings import Settings
from optimizer.spec import CaseError

FACTORS = (0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0)
REFINED = 6  # bisections of the highest price
CLOSE = 1.01  # between the ends of its bracket
NOTHING = 8.0  # gaps that were asked for: an offer that is worth at most so much is worth nothing
MOST_FACTOR = 1e6

Bracket = tuple[float, float]


@dataclass(frozen=True)
class AtPrice:
    """The best plan when the offer's price is `factor` times what it is; `use` is NaN without a plan."""

    factor: float
    answer: Answer
    use: Use


@dataclass(frozen=True)
class Lot:
    """All of `count_chips` or nothing. Dollars of present value, brackets.

    worth_usd      the most to pay for the whole lot
    price_usd      what its price comes to when it is used as it is then (with breaks: what is free is kept)
    gain_usd       the case without the offer less the case with the lot at its price, of which paid_usd is paid
    best_fraction  of the lot, where any part may be taken; NaN without a plan
    """

    count_chips: float
    excluding_price: Answer
    at_price: Answer
    any_part: Answer
    worth_usd: Bracket
    price_usd: float
    paid_usd: float
    gain_usd: Bracket
    best_fraction: float


@dataclass(frozen=True)
class Value:
    """`worth_usd` and `highest_factor` are brackets; where work `queues`, the end of the latter from above is an estimate. `displaced`:
    rows of chip-years by mode, chip and place, without the offer and with it."""

    case_name: str
    case_file: str
    columns: OfferColumns
    with_offer: AtPrice
    without: Answer
    worth_usd: Bracket
    highest_factor: Bracket
    curve: tuple[AtPrice, ...]  # by factor; the case as it is among them
    displaced: tuple[dict[str, object], ...]
    lot: Lot | None
    queues: bool
    settings: Settings
    solves: int

    @property
    def exit_code(self) -> int:
        """Of the case as it is; that of the case without the offer where only that has no plan."""
        mine, other = (a.found.solution.certificate.exit_code for a in (self.with_offer.answer, self.without))
        return mine or (0 if self.without.status == "INFEASIBLE" else other)


def value(
    case: str | Path,
    offer: str,
    settings: Settings | None = None,
    *,
    factors: Sequence[float] = FACTORS,
    lot_chips: float | None = None,
    refined: int = REFINED,
    progress: Progress | None = None,
) -> Value:
    """What an offer of a case is worth. `factors`: on its price, for the demand curve (1 and what the highest price needs are added);
    `lot_chips`: value so many chips of it as a whole too (an offer of a lot: that lot); `refined`: most bisections of the highest price.

    Raises CaseError for a case that cannot be used, an offer that it does not have or can never sign, and factors or counts that are not
    above zero.
    """
    what_if = WhatIf(case, settings)
    for factor in factors:
        if not 0 <= factor <= MOST_FACTOR:
            raise CaseError(str(case), "--factors", f"is {factor:g}", "give a factor on the price between 0 and 1e6")
    if lot_chips is not None and not (math.isfinite(lot_chips) and lot_chips > 0):
        raise CaseError(str(case), "--lot", f"is {lot_chips:g}", "give a number of chips above zero")
    built = what_if.built()
    columns = columns_of_offer(built.structure, offer)
    lots = [o.lot_chips.value for name in columns.offers if (o := built.structure.case.offers[name]).lot_chips is not None]
    if lot_chips is None and len(lots) == len(columns.offers) == 1:
        lot_chips = lots[0]
    if columns.nothing:
        raise CaseError(str(case), "--offer", f"`{offer}` can never be signed or rented in the horizon", "look at its window and lead time")
    if lot_chips is not None:
        taken(built, columns, lot_chips)
    steps = len(set(factors) - {1.0}) + 2 + refined + (3 if lot_chips is not None else 0)

    def told() -> None:
        if progress is not None:
            progress(min(what_if.solves, steps), steps)

    told()
    gap, may = what_if.settings.gap_relative, not built.program.acquisition_lower[columns.acquisitions].any()
    free = priced(built, columns, 0.0)
    here = _at(what_if, built, free, columns, 1.0)
    told()
    without = what_if.of(forbidden(built, columns))
    told()
    most = highest_factor(built.program, free.program, columns, without)
    points = {1.0: here}
    for factor in dict.fromkeys(factors):
        if factor not in points:
            points[factor] = _at(what_if, built, free, columns, factor)
            told()
    least = max((f for f, point in points.items() if _sign(point, without, gap, may) > 0), default=0.0)
    most = min([most, *(f for f, point in points.items() if f > least and _sign(point, without, gap, may) == 0)])
    for _ in range(refined if 0 < most < math.inf else 0):
        if most <= CLOSE * least:
            break
        factor = math.sqrt(least * most) if least > 0 else most / 4
        points[factor] = _at(what_if, built, free, columns, factor)
        told()
        sign = _sign(points[factor], without, gap, may)
        if sign < 0:
            break
        least, most = (factor, most) if sign else (least, factor)
    lot = None if lot_chips is None else _lot(what_if, built, free, columns, lot_chips, without)
    if progress is not None:
        progress(steps, steps)
    return Value(
        what_if.name, str(case), columns, here, without, difference(without, here.answer, may), (least, most),
        tuple(points[f] for f in sorted(points)), tuple(displaced(without, here.answer)), lot,
        here.answer.found.true is not None, what_if.settings, what_if.solves,
    )  # fmt: skip


def _sign(point: AtPrice, without: Answer, gap: float, may: bool) -> int:
    """1: the offer is worth something at this price, certified; 0: it is worth nothing; -1: the gaps are too wide to say."""
    low, high = difference(without, point.answer, may)
    if low > 0:
        return 1
    return 0 if high <= NOTHING * gap * abs(without.cost_usd) else -1


def difference(without: Answer, answer: Answer, may: bool) -> Bracket:
    """`more_without` of an answer; NaN where it has no plan."""
    return more_without(without, (answer.lower_bound_usd, answer.cost_usd), may) if answer.has_plan else (math.nan, math.nan)


def highest_factor(program: Program, free: Program, columns: OfferColumns, without: Answer) -> float:
    """See the module; `free` has the price at zero. NaN without multipliers, inf where no price is high enough."""
    multipliers = without.found.solution.certificate.multipliers
    if multipliers is None or not without.has_plan:
        return math.inf if without.status == "INFEASIBLE" else math.nan
    at_zero, at_one = ([*_reduced(p, multipliers, columns)] for p in (free, program))
    most = 0.0
    for zero, one in zip(at_zero, at_one, strict=True):
        slope, wanted = one - zero, zero < 0
        if (slope < -1e-9 * np.abs(zero)).any() or (slope[wanted] <= 0).any():  # a higher price is a reward: shares of spend
            return math.inf
        most = max(most, float((-zero[wanted] / slope[wanted]).max(initial=0.0)))
    return most


def _reduced(p: Program, m: Multipliers, columns: OfferColumns) -> tuple[Array, Array]:
    """Reduced costs of the offer's acquisitions, and of its rents [N, B, its pools]."""
    rent = p.node_weight[:, None, None] * p.rent_cost + m.capacity - np.einsum("nk,nkbg->nbg", m.side, p.side_rent)
    if p.link_rent.size:
        row, *where = p.link_rent.index
        np.add.at(rent, tuple(where), -m.link[row] * p.link_rent.value)
    return reduced_acquisition_costs(p, m)[columns.acquisitions], np.where(p.rent_upper > 0, rent, 0.0)[:, :, columns.pools]


def _at(what_if: WhatIf, built: Built, free: Built, columns: OfferColumns, factor: float) -> AtPrice:
    answer = what_if.at() if factor == 1.0 else what_if.of(priced(built, columns, factor))
    return AtPrice(factor, answer, _use(answer, built, free, columns))


def _use(answer: Answer, built: Built, free: Built, columns: OfferColumns) -> Use:
    plan = answer.found.solution.certificate.plan
    return Use(math.nan, math.nan, math.nan) if plan is None or not answer.has_plan else use_of(built, free.program, columns, plan)


def _lot(what_if: WhatIf, built: Built, free: Built, columns: OfferColumns, count: float, without: Answer) -> Lot:
    excluding = what_if.of(taken(free, columns, count))
    at_price = what_if.of(taken(built, columns, count))
    part = what_if.of(taken(built, columns, count, all_of_it=False))
    worth, gain = (difference(without, answer, may=False) for answer in (excluding, at_price))
    price, paid = (_use(answer, built, free, columns).paid_usd for answer in (excluding, at_price))
    return Lot(count, excluding, at_price, part, worth, price, paid, gain, _use(part, built, free, columns).signed_chips / count)


def displaced(without: Answer, answer: Answer) -> list[dict[str, object]]:
    """Expected chip-years by mode, chip and place in both plans, the largest differences first."""
    if not (without.has_plan and answer.has_plan):
        return []
    sides = [_chip_years(a) for a in (without, answer)]
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(key, 0.0) for side in sides)
        mode, chip, place = key
        rows.append({"mode": mode, "chip": chip, "place": place, "chip_years_without": a, "chip_years_with": b, "change_chip_years": b - a})
    return sorted(rows, key=lambda row: -abs(row["change_chip_years"]))


def _chip_years(answer: Answer) -> dict[tuple[str, str, str], float]:
    structure, plan = answer.found.built.structure, answer.found.solution.certificate.plan
    assert plan is not None
    found: dict[tuple[str, str, str], float] = {}
    years = dict(zip(structure.calendar.names, structure.calendar.hours / HOURS_PER_YEAR, strict=True))
    for row in records(mix_table(structure, plan)):
        key = row["mode"], row["chip"], row["place"]
        found[key] = found.get(key, 0.0) + float(row["probability"] * row["chips"] * years[row["period"]])
    return found
