"""Measures of a plan in words that a buyer understands, linear in what is signed and rented.

Compute is counted in PFLOP/s-years (dense bf16, chips paid for, inside the horizon, expected over the scenarios). What stands already is
not counted, as no plan changes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from optimizer.build.acquisitions import acquisition_values
from optimizer.build.build import Built
from optimizer.economics.calendar import add_months
from optimizer.program.program import Array, Plan, Program
from optimizer.spec.resolved import Offer

HOURS_PER_YEAR = 8766.0
USED = 1e-4  # of all compute: what has less is not used
ALL = 0.999  # of all compute: what has more is all there is


@dataclass(frozen=True)
class Measure:
    """sum z_weight z + sum r_weight r. `sign` 1: the less the better; -1: the more. `scale`: what a large change of it is."""

    name: str
    unit: str  # PFLOP/s-years | USD
    sign: int
    z: Array  # [Z]
    r: Array  # [N, B, G]
    scale: float

    def value(self, plan: Plan) -> float:
        return math.fsum((self.z * plan.z).tolist()) + float(np.einsum("nbg,nbg->", self.r, plan.r))

    def laid_on(self, program: Program, price: float) -> Program:
        """The program whose cost is the old one plus price * sign * measure; price in dollars per unit."""
        by = price * self.sign
        rent = program.rent_cost + by * self.r / program.node_weight[:, None, None]
        return replace(program, acquisition_cost=program.acquisition_cost + by * self.z, rent_cost=rent)


class Weights:
    """What one chip of every order and of every rent weighs, and which offer it belongs to."""

    def __init__(self, built: Built) -> None:
        self.built, self.structure, self.case = built, built.structure, built.structure.case

    @cached_property
    def petaflops(self) -> Array:
        """[G], per chip."""
        return np.array([self.case.chips[pool.chip].bf16_dense_tflops.value / 1000 for pool in self.structure.pools])

    @cached_property
    def years(self) -> Array:
        """[T]."""
        return np.array([period.days * 24 / HOURS_PER_YEAR for period in self.structure.periods])

    @cached_property
    def first_year(self) -> Array:
        """bool[T]: periods that begin in the first twelve months."""
        end = add_months(self.structure.periods[0].start, 12)
        return np.array([period.start < end for period in self.structure.periods])

    @cached_property
    def signed(self) -> Array:
        """[Z], PFLOP/s-years per chip, weighted by the probability of its branch."""
        chance = {s.name: s.weighted_probability for s in self.case.scenarios}
        return np.array(
            [
                self.petaflops[a.pool]
                * sum(part.share * self.years[list(part.counted)].sum() for part in a.parts)
                * chance.get(a.scenario or "", 1.0)
                for a in self.structure.acquisitions
            ]
        )

    @cached_property
    def rented(self) -> Array:
        """[N, B, G], PFLOP/s-years per usable chip, weighted by the node's probability; 0 where nothing can be rented."""
        program = self.built.program
        paid = np.zeros(program.pools)
        for rent in self.structure.rents:
            paid[rent.pool] = 1 / rent.usable_share
        chance = np.array([node.probability for node in self.structure.recourse])
        hours = program.block_hours[program.template_of_node] / HOURS_PER_YEAR
        return chance[:, None, None] * hours[:, :, None] * (self.petaflops * paid)[None, None, :]

    @cached_property
    def offer_of_order(self) -> list[Offer]:
        """[Z]."""
        return [self.case.offers[a.offer] for a in self.structure.acquisitions]

    @cached_property
    def offer_of_rent(self) -> dict[int, Offer]:
        """By pool."""
        return {rent.pool: self.case.offers[rent.name] for rent in self.structure.rents}

    def by_offer(self, plan: Plan) -> dict[str, float]:
        """PFLOP/s-years of every offer that the plan uses."""
        found: dict[str, float] = {}
        for offer, amount in zip(self.offer_of_order, (self.signed * plan.z).tolist(), strict=True):
            found[offer.name] = found.get(offer.name, 0.0) + amount
        by_pool = np.einsum("nbg,nbg->g", self.rented, plan.r)
        for pool, offer in self.offer_of_rent.items():
            found[offer.name] = found.get(offer.name, 0.0) + float(by_pool[pool])
        least = 1e-9 * sum(found.values())
        return {name: amount for name, amount in found.items() if amount > least}

    def grouped(self, by_offer: dict[str, float], key: Callable[[Offer], str]) -> dict[str, float]:
        """Sums over the offers with one key, largest first."""
        found: dict[str, float] = {}
        for name, amount in by_offer.items():
            word = key(self.case.offers[name])
            found[word] = found.get(word, 0.0) + amount
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def compute(self, name: str, sign: int, chosen: Callable[[Offer], bool], scale: float) -> Measure:
        """Compute signed and rented of the chosen offers."""
        orders = np.array([chosen(offer) for offer in self.offer_of_order], float)
        pools = np.zeros(self.built.program.pools)
        for pool, offer in self.offer_of_rent.items():
            pools[pool] = chosen(offer)
        return Measure(name, "PFLOP/s-years", sign, self.signed * orders, self.rented * pools, scale)

    def provider(self, offer: Offer) -> str:
        return self.case.places[offer.place].provider

    def family(self, offer: Offer) -> str:
        return self.case.chips[offer.chip].family

    def vendor(self, offer: Offer) -> str:
        return self.case.chips[offer.chip].vendor


def measures(built: Built, plan: Plan) -> list[Measure]:
    """What an alternative to this plan may have least or most of: the largest provider, ownership, capital, the largest vendor and chip
    family, renting, early commitment; then the other providers and families that the plan uses. What cannot get less is left out."""
    w = Weights(built)
    by_offer = w.by_offer(plan)
    total = sum(by_offer.values()) or 1.0

    def least(what: str, key: Callable[[Offer], str]) -> list[Measure]:
        used = w.grouped(by_offer, key)
        return [
            w.compute(f"least {what} {word}", 1, lambda offer, word=word: key(offer) == word, amount)
            for word, amount in used.items()
            if USED * total < amount < ALL * total
        ]

    sites = {place.provider for place in w.case.places.values() if place.is_site}
    providers = [m for m in least("compute with", w.provider) if m.name.rpartition(" ")[2] not in sites]
    vendors, families = least("chips made by", w.vendor), least("compute on", w.family)
    own = [offer.kind == "own" for offer in w.offer_of_order]
    acquired = acquisition_values(built.structure.acquisition, built.structure.numbers(built.parameters.values))
    weight = np.asarray(acquired.weight, float)
    none = np.zeros((built.program.nodes, built.program.blocks, built.program.pools))
    spend = np.asarray(acquired.cash.spend(), float).sum(axis=1) * weight
    decided = [built.structure.decisions[a.decision].period for a in built.structure.acquisitions]  # of an extension its notice
    early = w.first_year[np.array(decided, int)]
    money = [
        Measure("least capital", "USD", 1, np.where(own, np.asarray(acquired.cash.purchase, float).sum(axis=1) * weight, 0.0), none, 0.0),
        Measure("least signed in the first year", "USD", 1, np.where(early, spend, 0.0), none, 0.0),
    ]
    found = [
        *providers[:1],
        *([w.compute("most owned", -1, lambda offer: offer.kind == "own", total)] if any(own) else []),
        *vendors[:1],
        w.compute("least rented by the hour", 1, lambda offer: offer.is_rent, 0.0),
        *money,
        *families[:1],
        *(m for pair in interleaved(providers[1:], families[1:]) for m in pair),
    ]
    kept = []
    for measure in found:
        here = measure.value(plan)
        if any(np.array_equal(measure.z, other.z) and np.array_equal(measure.r, other.r) for other in kept if other.sign == measure.sign):
            continue  # the same under another name, such as the only family of a provider
        if measure.sign < 0 or (here > 0 and (measure.unit == "USD" or here > USED * total)):
            kept.append(replace(measure, scale=measure.scale or here))
    return kept


def interleaved(a: list[Measure], b: list[Measure]) -> list[list[Measure]]:
    """[[a0, b0], [a1, b1], ...] without what is missing."""
    return [[*a[i : i + 1], *b[i : i + 1]] for i in range(max(len(a), len(b)))]


def distance(a: dict[str, float], b: dict[str, float]) -> float:
    """Half the sum of the differences of the offers' shares in all signed and rented compute: 0 the same, 1 nothing in common."""
    whole = sum(a.values()) or 1.0, sum(b.values()) or 1.0
    return 0.5 * sum(abs(a.get(name, 0.0) / whole[0] - b.get(name, 0.0) / whole[1]) for name in {*a, *b})
