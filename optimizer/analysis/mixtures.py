"""Certified costs of the mixtures of two cases: the first one with some groups of its inputs taken from the second.

A mixture may be no case at all (an offer is gone while a limit still names it) or have no plan. Such groups have no effects of their own;
they are merged until every mixture that is asked for has a certified plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from optimizer.analysis.case_differences import Group, overlay
from optimizer.analysis.what_if import Answer, WhatIf
from optimizer.spec import CaseError

Chosen = frozenset[int]
"""Positions of the groups that are those of the second case."""


@dataclass(frozen=True)
class Value:
    """A certified cost: the best plan found costs `cost_usd`, none costs less than `lower_usd`."""

    cost_usd: float
    lower_usd: float
    status: str


class NoMixture(Exception):
    """The mixture is no case, or has no plan; `str()` says why."""

    def __init__(self, chosen: Chosen, reason: str) -> None:
        super().__init__(reason)
        self.chosen = chosen


class Mixtures:
    """`value(chosen)` of any choice of groups, each solved once. `before` and `after` are the answers of the two cases as they are."""

    def __init__(self, what_if: WhatIf, groups: Sequence[Group], before: Answer, after: Answer) -> None:
        self.what_if, self.groups = what_if, tuple(groups)
        self.known: dict[Chosen, Value] = {frozenset(): value_of(before), frozenset(range(len(groups))): value_of(after)}
        self.bad: dict[Chosen, str] = {}
        self._built: set[Chosen] = set()
        self.solved: Callable[[], None] = lambda: None  # told after every solve

    def check(self, chosen: Chosen) -> bool:
        """Whether it is a case at all; nothing is solved."""
        if chosen in self.known or chosen in self._built:
            return True
        if chosen not in self.bad:
            try:
                self.what_if.built(more=overlay(self.groups[i] for i in sorted(chosen)))
                self._built.add(chosen)
            except CaseError as error:
                self.bad[chosen] = f"{error.key_path}: {error.problem}"
        return chosen not in self.bad

    def value(self, chosen: Chosen) -> Value:
        """Raises NoMixture. The plan is let go: of the largest cases a few dozen would not fit into memory."""
        if chosen in self.bad:
            raise NoMixture(chosen, self.bad[chosen])
        if chosen not in self.known:
            try:
                answer = self.what_if.of(self.what_if.built(more=overlay(self.groups[i] for i in sorted(chosen))))
            except CaseError as error:
                self.bad[chosen] = f"{error.key_path}: {error.problem}"
                raise NoMixture(chosen, self.bad[chosen]) from error
            self.solved()
            if not answer.has_plan:
                self.bad[chosen] = f"{answer.status}: {answer.reason}"
                raise NoMixture(chosen, self.bad[chosen])
            self.known[chosen] = value_of(answer)
        return self.known[chosen]

    def merged(self, blocks: Sequence[Chosen], asked: Iterable[Chosen]) -> list[Chosen]:
        """The blocks of groups, merged until no mixture of blocks that is known to be bad is a mixture of blocks any more. `asked`: choices
        of blocks (positions) to check first."""
        for choice in asked:
            self.check(union(blocks, choice))
        left = list(blocks)
        while True:
            bad = [found for found in self.bad if _is_mixture(left, found)]
            if not bad:
                return left
            good = [found for found in (*self.known, *self._built) if _is_mixture(left, found) and found not in self.bad]

            def kills(pair: tuple[int, int], of: list[Chosen], left: list[Chosen] = left) -> int:
                return sum((left[pair[0]] <= found) != (left[pair[1]] <= found) for found in of)

            pairs = list(itertools.combinations(range(len(left)), 2))
            one, other = min(pairs, key=lambda pair: (-kills(pair, bad), kills(pair, good), pair))
            left = [block for k, block in enumerate(left) if k not in (one, other)] + [left[one] | left[other]]
            left.sort(key=min)


def value_of(answer: Answer) -> Value:
    return Value(answer.cost_usd, min(answer.lower_bound_usd, answer.cost_usd), answer.status)


def union(blocks: Sequence[Chosen], choice: Iterable[int]) -> Chosen:
    return frozenset().union(*(blocks[k] for k in choice))


def _is_mixture(blocks: Sequence[Chosen], chosen: Chosen) -> bool:
    """Whether each block is in it as a whole or not at all."""
    return all(block <= chosen or not block & chosen for block in blocks)
