"""Plans with few places or few contracts: what is used least is forbidden, the case is solved again, as long as the budget holds.

Each of these plans is certified; that no other plan does with fewer is not claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from optimizer.analysis.plan_measures import USED, Weights
from optimizer.analysis.what_if import Answer, WhatIf
from optimizer.build.build import Built
from optimizer.spec.resolved import Offer

SOLVES = 10  # at most

Key = Callable[[Offer], str]


@dataclass(frozen=True)
class Fewest:
    """`answer`: None where nothing could be left out within the budget. `before`, `after`: how many are used."""

    answer: Answer | None
    before: int
    after: int
    solves: int


def place_of(offer: Offer) -> str:
    """Where it stands; of what is signed and rented."""
    return offer.place


def contract_of(offer: Offer) -> str:
    """The offer that is signed; '' for what is rented by the hour."""
    return "" if offer.is_rent else offer.name


def fewest(what_if: WhatIf, base: Built, best: Answer, key: Key, budget_usd: float, solves: int = SOLVES) -> Fewest:
    """Leave out as many places or contracts as the budget allows: half of what may still go at once, fewer after a failure. `base`: the
    case as it is; `best`: its best plan. What the best plan does not use is forbidden from the start, so that it is not used instead."""
    weights = Weights(base)
    used, found, spent = _used(weights, best, key), None, 0
    before = len(used)
    forbidden = {key(offer) for offer in base.structure.case.offers.values()} - set(used) - {""}
    needed: set[str] = set()
    batch = max(1, len(used) // 2)
    while spent < solves:
        candidates = [name for name in used if name not in needed]
        if not candidates:
            break
        tried = candidates[:batch]
        spent += 1
        answer = what_if.of(without(base, key, forbidden | set(tried)))
        if answer.has_plan and answer.cost_usd <= budget_usd:
            found, forbidden = answer, forbidden | set(tried)
            used = _used(weights, answer, key)
            batch = max(1, min(batch, len(used) // 2))
        elif len(tried) == 1:
            needed.add(tried[0])
        else:
            batch = len(tried) // 2
    return Fewest(found, before, len(used), spent)


def _used(weights: Weights, answer: Answer, key: Key) -> list[str]:
    """Ascending by the compute signed and rented there."""
    plan = answer.found.solution.certificate.plan
    assert plan is not None
    grouped = weights.grouped(weights.by_offer(plan), key)
    least = USED * sum(grouped.values())
    return [name for name in reversed(grouped) if name and grouped[name] > least]


def without(base: Built, key: Key, forbidden: Iterable[str]) -> Built:
    """The case with no order and no rent of what is forbidden; what must be signed anyway stays."""
    weights, names, program = Weights(base), set(forbidden), base.program
    orders = np.array([key(offer) in names for offer in weights.offer_of_order], bool)
    pools = np.zeros(program.pools, bool)
    for pool, offer in weights.offer_of_rent.items():
        pools[pool] = key(offer) in names
    upper = np.where(orders, program.acquisition_lower, program.acquisition_upper)
    rent = np.where(pools[None, None, :], 0.0, program.rent_upper)
    return replace(base, program=replace(program, acquisition_upper=upper, rent_upper=rent))
