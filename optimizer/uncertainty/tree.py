"""Decision nodes, states and recourse nodes of a case with or without a reveal (case reference, section 7).

Without a reveal one path of T decision nodes is shared by all scenarios. With a reveal at period k the nodes 0 .. k-1 are
shared and every scenario has its own nodes k .. T-1. A recourse node (s, t) hangs on the decision node of t on the path of s.
Decision nodes are numbered parents first: the shared ones by period, then scenario by scenario.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARED = -1
"""Scenario of a decision node that all scenarios share."""


@dataclass(frozen=True)
class Tree:
    """D decision nodes, S scenarios, T periods, N = S * T recourse nodes ordered by scenario, then period."""

    scenarios: int
    periods: int
    reveal: int | None  # k, the first period whose orders may differ by scenario; None: never
    parent: np.ndarray  # int[D], -1 for the root
    period: np.ndarray  # int[D]
    scenario: np.ndarray  # int[D], SHARED or a scenario
    node_at: np.ndarray  # int[S, T]: the decision node on the path of s in t

    @staticmethod
    def of(scenarios: int, periods: int, reveal: int | None) -> Tree:
        """`reveal` is a period index in 1 .. periods - 1, or None."""
        if reveal is not None and not 1 <= reveal < periods:
            raise ValueError(f"reveal must be the first day of a period after the first: period {reveal} of {periods}")
        shared = periods if reveal is None else reveal
        branch = periods - shared
        period = np.concatenate([np.arange(shared), np.tile(np.arange(shared, periods), scenarios if branch else 0)]).astype(int)
        scenario = np.concatenate([np.full(shared, SHARED), np.repeat(np.arange(scenarios), branch)]).astype(int)
        node_at = np.empty((scenarios, periods), int)
        node_at[:, :shared] = np.arange(shared)
        node_at[:, shared:] = shared + np.arange(scenarios * branch).reshape(scenarios, branch)
        parent = np.arange(len(period)) - 1
        if branch:
            parent[shared::branch] = shared - 1
        return Tree(scenarios, periods, reveal, parent, period, scenario, node_at)

    @property
    def decisions(self) -> int:
        return len(self.parent)

    @property
    def decision_of_recourse(self) -> np.ndarray:
        """int[N]."""
        return self.node_at.reshape(-1)

    @property
    def leaves(self) -> np.ndarray:
        """int[1 or S], the last decision nodes, ascending."""
        return np.unique(self.node_at[:, -1])

    def scenarios_of(self, decision: int) -> np.ndarray:
        """int[...], the scenarios whose path passes the node."""
        own = self.scenario[decision]
        return np.arange(self.scenarios) if own == SHARED else np.array([own])

    def reach(self, signed_at: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every (decision node, order, period) such that mask[order, period] and the node of that period lies below (or is) the node at
        which the order was signed. signed_at int[Z], mask bool[Z, T], False before signing. Sorted by order, period, node."""
        order, period = np.nonzero(mask)
        own = self.scenario[signed_at[order]]
        split = (own == SHARED) & (period >= (self.periods if self.reveal is None else self.reveal))
        repeat = np.where(split, self.scenarios, 1)
        order, period, own = (np.repeat(a, repeat) for a in (order, period, own))
        turn = np.arange(len(order)) - np.repeat(np.cumsum(repeat) - repeat, repeat)  # 0, 1, .. inside each repetition
        node = self.node_at[np.where(own == SHARED, turn, own), period]
        return node, order, period
