"""The difference of two certified costs shared out among the inputs that changed, so that the shares add up to it exactly.

Few groups: the Shapley value (Shapley 1953), the mean of what a group adds over all orders in which the groups can change, from the
certified costs of all 2^k mixtures. Many: the same mean over random orders, each with its reverse (a forward and a backward waterfall),
which still adds up exactly and is an estimate of the Shapley value.

Every share is a weighted sum of certified costs with exact rational weights, so its bracket follows from theirs, whatever the plans found.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.analysis.mixtures import Chosen, Mixtures, NoMixture, Value, union

MOST_EXACT = 5
"""Groups up to which all mixtures are solved: 30 beside the two cases."""

ENOUGH = 8
"""Mixtures that are no case: so many tell which groups to merge next."""


@dataclass(frozen=True)
class Share:
    """What the groups `members` add to the cost: `usd`, certified between `least_usd` and `most_usd`. Over the orders it was between
    `lowest_usd` and `highest_usd` (of the plans found): far apart, where what one input is worth depends on the others."""

    members: tuple[int, ...]
    usd: float
    least_usd: float
    most_usd: float
    lowest_usd: float
    highest_usd: float


@dataclass(frozen=True)
class Division:
    """`orders`: how many orders were averaged, 0 for all."""

    shares: tuple[Share, ...]
    orders: int


def divide(mixtures: Mixtures, orders: int, seed: int) -> Division:
    """`orders`: pairs of random orders where there are more groups than MOST_EXACT. Raises NoMixture if the ends have no plan."""
    count = len(mixtures.groups)
    blocks: list[Chosen] = [frozenset({k}) for k in range(count)]
    if count <= MOST_EXACT:
        asked = [frozenset(choice) for size in range(1, count) for choice in itertools.combinations(range(count), size)]
    else:
        every = frozenset(range(count))
        asked = [choice for k in range(count) for choice in (frozenset({k}), every - {k})]
    while True:
        blocks = mixtures.merged(blocks, asked)
        asked = []
        try:
            if len(blocks) <= MOST_EXACT:
                return Division(_shapley(mixtures, blocks), 0)
            return Division(_waterfalls(mixtures, blocks, orders, seed), 2 * orders)
        except NoMixture:
            continue  # it is among the bad ones now, and its groups will be merged


def _shapley(mixtures: Mixtures, blocks: Sequence[Chosen]) -> tuple[Share, ...]:
    k = len(blocks)
    steps: list[list[tuple[Chosen, Chosen, Fraction]]] = [[] for _ in blocks]
    for i in range(k):
        others = [j for j in range(k) if j != i]
        for size in range(k):
            weight = Fraction(1, k * math.comb(k - 1, size))
            for choice in itertools.combinations(others, size):
                steps[i].append((union(blocks, choice), union(blocks, (*choice, i)), weight))
    return _shares(mixtures, blocks, steps)


def _waterfalls(mixtures: Mixtures, blocks: Sequence[Chosen], orders: int, seed: int) -> tuple[Share, ...]:
    generator = np.random.default_rng(seed)
    # a group keeps its place when others are merged, so that most mixtures of the orders are those that were solved already
    places = generator.random((orders, len(mixtures.groups)))
    drawn = [order for place in places for order in _both_ways(sorted(range(len(blocks)), key=lambda k, p=place: p[min(blocks[k])]))]
    steps: list[list[tuple[Chosen, Chosen, Fraction]]] = [[] for _ in blocks]
    for order in drawn:
        for position, i in enumerate(order):
            steps[i].append((union(blocks, order[:position]), union(blocks, order[: position + 1]), Fraction(1, len(drawn))))
    return _shares(mixtures, blocks, steps)


def _both_ways(order: list[int]) -> tuple[list[int], list[int]]:
    return order, order[::-1]


def _shares(mixtures: Mixtures, blocks: Sequence[Chosen], steps: Sequence[Sequence[tuple[Chosen, Chosen, Fraction]]]) -> tuple[Share, ...]:
    """`steps` of a block: (mixture before, mixture after, weight), weights adding up to one. Raises NoMixture."""
    wanted = list(dict.fromkeys(end for of_block in steps for step in of_block for end in step[:2]))
    bad: list[Chosen] = []
    for chosen in wanted:  # nothing is solved before all are cases
        bad += [] if mixtures.check(chosen) else [chosen]
        if len(bad) >= ENOUGH:
            break
    if bad:
        raise NoMixture(bad[0], mixtures.bad[bad[0]])
    value: dict[Chosen, Value] = {}
    missing: NoMixture | None = None
    for chosen in wanted:
        try:
            value[chosen] = mixtures.value(chosen)
        except NoMixture as error:  # the others are asked all the same: together they tell which inputs belong together
            missing = error
    if missing is not None:
        raise missing
    shares, exact = [], Fraction(0)
    for block, of_block in zip(blocks, steps, strict=True):
        weights: dict[Chosen, Fraction] = defaultdict(Fraction)
        for before, after, weight in of_block:
            weights[after] += weight
            weights[before] -= weight
        ends = [(w, Fraction(value[m].cost_usd), Fraction(value[m].lower_usd)) for m, w in weights.items()]
        usd = sum((w * cost for w, cost, _ in ends), Fraction(0))
        least = sum((w * (lower if w > 0 else cost) for w, cost, lower in ends), Fraction(0))
        most = sum((w * (cost if w > 0 else lower) for w, cost, lower in ends), Fraction(0))
        added = [value[after].cost_usd - value[before].cost_usd for before, after, _ in of_block]
        exact += usd
        shares.append(Share(tuple(sorted(block)), float(usd), float(least), float(most), min(added), max(added)))
    whole = union(blocks, range(len(blocks)))
    if exact != Fraction(value[whole].cost_usd) - Fraction(value[frozenset()].cost_usd):
        raise RuntimeError("the shares do not add up to the difference; please report this case")
    return tuple(shares)
