"""The structured stochastic linear program: arrays only, axes declared once.

Axes
    D  decision nodes      a forest; acquisitions are signed here
    Q  capacity states     where capacity is accounted; each belongs to one decision node. Usually Q = D; a decision node gets a
                           second state where another view of its capacity is needed (a supplier switched off)
    N  recourse nodes      a scenario in a period; each hangs on one capacity state. Contingency nodes are recourse nodes
    B  load blocks         inside a recourse node
    C  templates           coefficients shared by many recourse nodes (what is constant over scenarios is stored once)
    G  pools
    K  side rows           inside a recourse node
    W  streams             first `served` (one demand row per block), then `deferrable` (one row over all blocks), then the rest
                           ("free": no demand row; they occur only in capacity, side and linking rows, e.g. windowed training)
    P  pairs               (stream, pool) that may be placed; sorted by stream, every stream's pairs contiguous
    Z  acquisitions        and any other column that is no recourse: a CVaR level is an acquisition without capacity
    L  limits              rows over acquisitions only
    R  linking rows        rows over acquisitions and the recourse of several nodes

Variables
    z[Z]                 acquisition_lower <= z <= acquisition_upper
    x[N,B,P]             0 <= x <= placement_upper (derived from demand where infinite; must be finite for free streams)
    u[N,B,served]        0 <= u <= demand                unserved work of served streams
    ud[N,deferrable]     0 <= ud <= demand_deferrable    unserved work of deferrable streams
    r[N,B,G]             0 <= r <= rent_upper            capacity rented by the hour
    e[N,K], e[R]         0 <= e <= side_slack_upper, link_slack_upper; present where the cost is finite

minimise
    constant + acquisition_cost.z + sum_n node_weight[n] * ( sum placement_cost[C,B,P] x + sum unserved_cost[C,B,served] u
      + sum unserved_cost_deferrable[C,deferrable] ud + sum rent_cost[N,B,G] r + sum side_slack_cost[N,K] e ) + sum link_slack_cost[R] e

subject to, with c = template_of_node[n], q = state_of_node[n] and held[q, o] = held_base[q, o] + sum_i held_matrix[q, o, i] z[i]
    demand      sum_{p of w} x[n,b,p] + u[n,b,w] = demand[n,b,w]
    deferrable  sum_b sum_{p of w} block_hours[c,b] x[n,b,p] + ud[n,w] = demand_deferrable[n,w]
    capacity    sum_{p of g} pair_capacity[c,p] x[n,b,p] - r[n,b,g] <= availability[n,g] * held[q, g]
                    held[q, g] is below zero where more is drawn than held: rent must then cover the rest in every block
    side        sum side_pair[c,k,b,p] x[n,b,p] + sum side_rent[n,k,b,g] r[n,b,g] - e[n,k] <= held[q, G+k]
    limits      limit_lower <= limit_matrix z <= limit_upper
    linking     link_lower <= (terms over z, x, u, ud, r) + link_slack_sign * e <= link_upper

A side row meets z through its own output of held (o = G + k): any linear function of the acquisitions of its state. Every side row must
be satisfiable by serving nothing for every z inside box and limits, or carry a priced slack; every linking row likewise: `Program.check`
refuses otherwise, because only then does every z have a feasible plan and every plan a price.

Published two-stage instances are stated directly. LandS has four pools with one acquisition each (held_matrix = identity), one block,
three served streams, a pair for every (stream, pool) with pair_capacity 1 and placement_cost = duration x running cost, the budget
and the least fleet as limits, and one recourse node per load level on one capacity state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

Array = np.ndarray


class ProgramError(ValueError):
    """The arrays do not state a program that can be certified; the message names the field and the offending entry."""


@dataclass(frozen=True)
class Sparse:
    """Coordinates of a sparse array: `index` is a tuple of int arrays, one per axis, `value` float64. Coordinates are unique."""

    index: tuple[Array, ...]
    value: Array

    @staticmethod
    def empty(axes: int) -> Sparse:
        return Sparse(tuple(np.zeros(0, np.int64) for _ in range(axes)), np.zeros(0))

    @property
    def size(self) -> int:
        return int(np.shape(self.value)[0])


@dataclass(frozen=True)
class Names:
    """A name for every row and column, for reports and error messages; empty where a planner gave none."""

    decision: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    recourse: tuple[str, ...] = ()
    block: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    side: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()
    acquisition: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """See the module's docstring for the meaning; every array's axes stand beside it. Money is in one unit throughout (dollars)."""

    # structure
    parent: Array  # int[D], -1 for a root
    decision_of_state: Array  # int[Q]
    state_of_node: Array  # int[N]
    scenario_of_node: Array  # int[N], any labels 0..S-1; linking rows inside one scenario are cheap
    template_of_node: Array  # int[N]
    signed_at: Array  # int[Z], the decision node; held_matrix may reach only states of this node and of its descendants
    served: int
    deferrable: int
    free: int
    pools: int
    pair_stream: Array  # int[P], ascending
    pair_pool: Array  # int[P]
    # acquisitions
    acquisition_cost: Array  # [Z]
    acquisition_lower: Array  # [Z]
    acquisition_upper: Array  # [Z], finite
    upper_is_derived: Array  # bool[Z]: a plan that sits on such a bound is refused
    held_matrix: Sparse  # (Q, G+K, Z)
    held_base: Array  # [Q, G+K]
    limit_matrix: Sparse  # (L, Z)
    limit_lower: Array  # [L], may be -inf
    limit_upper: Array  # [L], may be +inf; equal to lower: an equality
    # recourse
    node_weight: Array  # [N] > 0, probability x discount
    block_hours: Array  # [C, B] > 0, the coefficient of x in deferrable rows
    pair_capacity: Array  # [C, P] >= 0
    placement_cost: Array  # [C, B, P]
    placement_upper: Array  # [C, B, P], inf where a demand row bounds x
    unserved_cost: Array  # [C, B, served]
    unserved_cost_deferrable: Array  # [C, deferrable]
    demand: Array  # [N, B, served] >= 0
    demand_deferrable: Array  # [N, deferrable] >= 0
    availability: Array  # [N, G] >= 0
    rent_cost: Array  # [N, B, G]
    rent_upper: Array  # [N, B, G] >= 0; 0 = none; inf = what all demand could use
    # rows inside a node
    side_pair: Array  # [C, K, B, P]
    side_rent: Array  # [N, K, B, G]
    side_slack_cost: Array  # [N, K], inf = no slack
    side_slack_upper: Array  # [N, K], inf = derived
    # rows over several nodes
    link_lower: Array  # [R]
    link_upper: Array  # [R]
    link_scenario: Array  # int[R]: the one scenario whose recourse the row touches, -1 if several
    link_acquisition: Sparse  # (R, Z)
    link_placement: Sparse  # (R, N, B, P)
    link_unserved: Sparse  # (R, N, B, served)
    link_deferred: Sparse  # (R, N, deferrable)
    link_rent: Sparse  # (R, N, B, G)
    link_slack_cost: Array  # [R], inf = no slack
    link_slack_upper: Array  # [R], finite where the cost is
    link_slack_sign: Array  # [R], +1 or -1
    # the rest
    constant: float = 0.0  # cost that no decision can change
    names: Names = field(default_factory=Names)

    # sizes ------------------------------------------------------------------------------------------------------------------
    @property
    def decisions(self) -> int:
        return len(self.parent)

    @property
    def states(self) -> int:
        return len(self.decision_of_state)

    @property
    def nodes(self) -> int:
        return len(self.state_of_node)

    @property
    def blocks(self) -> int:
        return self.block_hours.shape[1]

    @property
    def templates(self) -> int:
        return self.block_hours.shape[0]

    @property
    def sides(self) -> int:
        return self.side_pair.shape[1]

    @property
    def streams(self) -> int:
        return self.served + self.deferrable + self.free

    @property
    def pairs(self) -> int:
        return len(self.pair_stream)

    @property
    def acquisitions(self) -> int:
        return len(self.acquisition_cost)

    @property
    def limits(self) -> int:
        return len(self.limit_lower)

    @property
    def links(self) -> int:
        return len(self.link_lower)

    @property
    def scenarios(self) -> int:
        return int(self.scenario_of_node.max()) + 1 if self.nodes else 0

    def check(self) -> Program:
        """Raise ProgramError unless the arrays state a program that can be certified; returns self. Once for a program, whose arrays stay
        as they are; the certificate looks at them again whatever was found here."""
        if not self.__dict__.get("_checked", False):
            from optimizer.program.validate import validate

            validate(self)
            object.__setattr__(self, "_checked", True)
        return self


@dataclass(frozen=True)
class Plan:
    """Values for every variable; shapes as in the module's docstring. `side_slack` is [N, K], `link_slack` [R]."""

    z: Array
    x: Array
    u: Array
    ud: Array
    r: Array
    side_slack: Array
    link_slack: Array


@dataclass(frozen=True)
class Multipliers:
    """One multiplier per row that is no demand row, in dollars per unit of the row's right-hand side: the derivative of the optimal
    cost with respect to it. So capacity <= 0 and side <= 0 (<= rows); a limit or link is <= 0 on its upper side, >= 0 on its lower."""

    capacity: Array  # [N, B, G]
    side: Array  # [N, K]
    limit: Array  # [L]
    link: Array  # [R]


def array_fields() -> tuple[str, ...]:
    """Names of the fields that hold numbers (dense arrays and sparse values), in declaration order."""
    return tuple(f.name for f in fields(Program) if f.name not in ("served", "deferrable", "free", "pools", "names"))
