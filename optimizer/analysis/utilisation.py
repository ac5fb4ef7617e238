"""utilisation(case): above which utilisation owning is cheaper than renting, and how busy the plan's own chips are.

Of one chip of an own offer, signed on the first date on which it can be, per year in which it counts as capacity:

    C = F / A      F: present value of price, operations and idle energy less the credit at the end of the horizon
                   A: chip-years, the counted periods' hours / 8766, discounted at mid-period like every recurring flow
    e              what a year of use costs on top of idling (load energy), levelised with the same weights
    p              $ per chip-hour of the other offer, expected over the scenarios, levelised with the same weights
    k              chips of the other offer that do the work of one own chip, on average over the work that the plan runs on such own
                   chips (or, where it has none, over all work that may run on them), as far as the other offer may do it

and, with both prices per usable chip (divided by usable_share), owning is cheaper than renting by the hour above the utilisation

    u* = C / (8766 k p - e)

that is u* = C / (8766 p) where prices hold the energy. It is the marginal rule of a newsvendor: own chips as long as the last one is busy
more than u* of the time. A lease or a reservation is paid whether it is used or not: no utilisation decides between it and owning, so of
those only the ratio of costs at full use is told, each over its own first order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from optimizer.analysis.what_if import Answer, WhatIf
from optimizer.build.records import AcquisitionRecord
from optimizer.build.structure import Structure
from optimizer.economics.calendar import HOURS_PER_YEAR
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import by_scenario, order_flows
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.chips_used import chips_per_work, chips_used
from optimizer.settings import Settings
from optimizer.spec import CaseError

HALF = 0.5  # a rival that may do less of the work than this is the cheapest of its kind only where no other does more
FULL = 1e-4  # a pool with less than this share of its chips idle has its last chip busy
RENTED = ("on_demand", "spot")


@dataclass(frozen=True)
class OwnedChips:
    """The plan's own chips of one pool, all own offers and own existing fleet together, expected over the scenarios. `mean`: chip-hours
    used over chip-hours held; `last_chip`: share of the hours in which no chip is idle, NaN where spare replicas stand by on purpose."""

    chip: str
    place: str
    held_chips: float  # while any stand
    mean: float
    last_chip: float


@dataclass(frozen=True)
class Rivals:
    """An own offer against another way to have the work done. Dollars per usable chip; `break_even` is u*, inf where owning never pays, NaN
    for a rival that is paid whether used or not."""

    own_offer: str
    chip: str
    place: str
    signing_date: date
    own_usd_per_chip_year: float  # C
    use_usd_per_chip_year: float  # e
    other_offer: str
    other_kind: str
    other_chip: str
    other_usd_per_chip_hour: float  # p
    chips_for_one: float  # k
    work_share: float  # of the work over which k is an average: what the other may do of it
    break_even: float
    cost_ratio_full_use: float  # (C + e) / (8766 k p)
    cheapest: bool  # of its kind, for this own offer

    def own_usd_per_used_hour(self, utilisation: float) -> float:
        """What a used chip-hour of owned capacity costs."""
        return self.own_usd_per_chip_year / (HOURS_PER_YEAR * utilisation) + self.use_usd_per_chip_year / HOURS_PER_YEAR

    @property
    def rent_usd_per_used_hour(self) -> float:
        """What the rival charges for the work of one own chip-hour."""
        return self.chips_for_one * self.other_usd_per_chip_hour


@dataclass(frozen=True)
class Utilisation:
    """`owned` holds the pools in which the plan has own chips; it is empty where there is no certified plan."""

    case_name: str
    case_file: str
    answer: Answer
    rivals: tuple[Rivals, ...]
    owned: tuple[OwnedChips, ...]
    alone: tuple[str, ...]  # own offers for which nothing else does any of their work

    @property
    def exit_code(self) -> int:
        return self.answer.found.solution.certificate.exit_code

    def owned_at(self, rivals: Rivals) -> OwnedChips | None:
        return next((o for o in self.owned if (o.chip, o.place) == (rivals.chip, rivals.place)), None)


def utilisation(case: str | Path, settings: Settings | None = None) -> Utilisation:
    """The break-even utilisation of every own offer of a case, beside the certified best plan's own utilisation.

    An own offer is held against every other offer of the same chip that may do some of the same work; where there is none, against the
    offer of each kind that does it cheapest. Raises CaseError for a case that cannot be used or that has no own offer that can be signed.
    """
    what_if = WhatIf(case, settings)
    structure = what_if.built().structure
    if not any(a.kind == "own" for a in structure.acquisitions):
        raise CaseError(str(what_if.path), "offers", "holds no own offer that can be signed", "add one of kind own, or ask with --field")
    answer = what_if.at()
    structure, plan = answer.found.built.structure, answer.found.solution.certificate.plan
    rivals = rivals_of(structure, plan if answer.has_plan else None)
    named = {r.own_offer for r in rivals}
    alone = [a.offer for a in structure.acquisitions if a.kind == "own" and a.offer not in named]
    owned = owned_chips(structure, plan) if answer.has_plan and plan is not None else ()
    return Utilisation(what_if.name, str(what_if.path), answer, rivals, owned, tuple(dict.fromkeys(alone)))


def rivals_of(structure: Structure, plan: Values | None = None) -> tuple[Rivals, ...]:
    """By own offer in the order of the case; of every rival kind the cheapest first. Without a plan all streams weigh alike in k."""
    level = _Levels(structure, plan)
    found: list[Rivals] = []
    for name in dict.fromkeys(a.offer for a in structure.acquisitions if a.kind == "own"):
        all_of_it = [r for other in structure.case.offers.values() if other.kind != "own" and (r := level.rivals(name, other.name))]
        same = [r for r in all_of_it if r.other_chip == r.chip]
        kept = sorted(same or all_of_it, key=_preference)
        first = {r.other_kind: r.other_offer for r in reversed(kept)}
        marked = [replace(r, cheapest=first[r.other_kind] == r.other_offer) for r in kept]
        found += marked if same else [r for r in marked if r.cheapest]
    return tuple(found)


def _preference(r: Rivals) -> tuple[bool, str, float, float]:
    """Rent first, then by kind: those that may do most of the work by price, the others by how much they may do."""
    little = r.work_share < HALF
    return r.other_kind not in RENTED, r.other_kind, 1 - r.work_share if little else 0.0, r.rent_usd_per_used_hour


def owned_chips(structure: Structure, plan: Values) -> tuple[OwnedChips, ...]:
    """The pools with own chips (signed or there before), by chip and place."""
    prices, case = CasePrices.of(structure.case), structure.case
    scenarios, periods = [s.name for s in case.scenarios], structure.calendar.periods
    chance, hours = np.array([s.weighted_probability for s in case.scenarios]), prices.block_hours
    used = by_scenario(structure, chips_used(structure, prices, plan.x))  # [S, T, B, G]
    held = np.zeros((len(scenarios), periods, len(structure.pools)))
    for a in structure.acquisitions:
        if a.kind == "own" and plan.z[a.index] > 0:
            rows = slice(None) if a.scenario is None else scenarios.index(a.scenario)
            for part in a.parts:
                held[rows, list(part.counted), a.pool] += float(plan.z[a.index]) * a.usable_share * part.share
    for record in structure.existing:
        if record.ownership == "own" and record.pool >= 0:
            fleet = case.existing[record.name]
            held[:, list(record.counted), record.pool] += fleet.count_chips.value * fleet.usable_share.value
    weight = np.einsum("s,tb->stb", chance, hours)
    least = 1e-6 * max(held.max(initial=0.0), used.max(initial=0.0))
    found = []
    for pool in structure.pools:
        h, u = held[:, :, pool.index], used[..., pool.index]
        stand = h > least
        if not stand.any():
            continue
        there = weight * stand[:, :, None]
        busy = u >= (1 - FULL) * h[:, :, None]
        queues = structure.pair_index.groups is not None
        found.append(
            OwnedChips(
                pool.chip,
                pool.place,
                float((there * h[:, :, None]).sum() / there.sum()),
                float((there * u).sum() / (there * h[:, :, None]).sum()),
                math.nan if queues else float((there * busy).sum() / there.sum()),
            )
        )
    return tuple(found)


class _Levels:
    """Levelised costs of the first orders of one case."""

    def __init__(self, structure: Structure, plan: Values | None) -> None:
        self.structure, self.prices = structure, CasePrices.of(structure.case)
        self.hours, self.discount = structure.calendar.hours, self.prices.discount_mid
        self.chance = {s.name: s.weighted_probability for s in structure.case.scenarios}
        weights = np.array(list(self.chance.values()))
        self.per_work = weights @ chips_per_work(structure, self.prices) if structure.pairs else np.zeros(0)  # [P]
        self.weights = weights
        self.of_pool: dict[int, dict[int, int]] = {}  # pool -> stream -> pair
        for pair in structure.pairs:
            self.of_pool.setdefault(pair.pool, {})[pair.stream] = pair.index
        self.work = np.ones(len(structure.pairs))  # [P], expected over the horizon
        if plan is not None:
            self.work = np.einsum("s,tb,stbp->p", weights, self.prices.block_hours, by_scenario(structure, plan.x))

    def chips_of_work(self, pool: int) -> dict[int, float]:
        """By stream, what weighs in k: chips of the pool that the work which the plan runs there keeps busy, or else that all of the plan's
        work would keep busy there."""
        pairs = self.of_pool.get(pool, {})
        here = {w: float(self.per_work[p] * self.work[p]) for w, p in pairs.items()}
        if sum(here.values()) > 0:
            return here
        streams = np.array([pair.stream for pair in self.structure.pairs], int)
        return {w: float(self.per_work[p] * self.work[streams == w].sum()) for w, p in pairs.items()}

    def rivals(self, own: str, other: str) -> Rivals | None:
        """None where no work may run on both, or where the other is never there while the own chip counts."""
        case, first = self.structure.case, self.first_orders(own)
        mine, its = case.offers[own], case.offers[other]
        theirs = self.pool_of(other)
        if theirs is None:
            return None
        mine_of, its_of = self.of_pool.get(first[0].pool, {}), self.of_pool.get(theirs, {})
        ratio = {w: float(self.per_work[its_of[w]] / self.per_work[mine_of[w]]) for w in mine_of if w in its_of}
        weight = self.chips_of_work(first[0].pool)
        done = sum(weight[w] for w in ratio)
        price = self.price(other, first[0])
        if not done > 0 or price is None:
            return None
        for_one = sum(weight[w] * of_one for w, of_one in ratio.items()) / done
        years = self.chip_years_of(first[0])
        owned = self.present_value(first) / years / mine.usable_share.value
        load = self.prices.load_usd_per_chip_hour(mine.chip, mine.place)
        use = sum(q.share * float(sum(self.discount[t] * self.hours[t] * load[t] for t in q.counted)) for q in first[0].parts) / years
        rent = for_one * price / its.usable_share.value * HOURS_PER_YEAR
        room = rent - use
        break_even = math.nan if its.kind not in RENTED else owned / room if room > 0 else math.inf
        return Rivals(
            own, mine.chip, mine.place, first[0].signing_date, owned, use, other, its.kind, its.chip, price / its.usable_share.value,
            for_one, done / sum(weight.values()), break_even, (owned + use) / rent, False,
        )  # fmt: skip

    def first_orders(self, offer: str) -> list[AcquisitionRecord]:
        """The order of the earliest date, on every branch on which it can be signed then."""
        orders = [a for a in self.structure.acquisitions if a.offer == offer and a.extends < 0]
        return [a for a in orders if a.period == min(b.period for b in orders)]

    def pool_of(self, offer: str) -> int | None:
        rent = next((r.pool for r in self.structure.rents if r.name == offer), None)
        orders = [a.pool for a in self.structure.acquisitions if a.offer == offer]
        return rent if rent is not None else orders[0] if orders else None

    def chip_years_of(self, order: AcquisitionRecord) -> float:
        """Discounted, of one chip signed."""
        return sum(part.share * float(sum(self.discount[t] * self.hours[t] for t in part.counted)) for part in order.parts) / HOURS_PER_YEAR

    def present_value(self, orders: list[AcquisitionRecord]) -> float:
        """Per chip, averaged over the branches."""
        worth = order_flows(self.prices, orders)[1].present_value(
            self.prices.discount_start, self.prices.discount_mid, self.prices.discount_end
        )
        chance = [1.0 if a.scenario is None else self.chance[a.scenario] for a in orders]
        of_parts: Array = np.array([p * part.share for a, p in zip(orders, chance, strict=True) for part in a.parts])
        return float(worth @ of_parts / sum(chance))

    def price(self, offer: str, own: AcquisitionRecord) -> float | None:
        """$ per paid chip-hour: of rent over the periods in which the own chip counts, of a contract over its own first order."""
        rent = next((r for r in self.structure.rents if r.name == offer), None)
        if rent is None:
            orders = self.first_orders(offer)
            return self.present_value(orders) / self.chip_years_of(orders[0]) / HOURS_PER_YEAR
        both = [t for t in own.counted if t in rent.periods]
        if not both:
            return None
        hourly = self.weights @ self.prices.rent_price(self.structure.case.offers[offer])
        weight = np.array([self.discount[t] * self.hours[t] for t in both])
        return float(weight @ hourly[both] / weight.sum())
