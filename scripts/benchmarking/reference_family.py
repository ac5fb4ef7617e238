"""A member of the seeded family as a Program: pools that are owned, leased or rented for a growing and uncertain demand.

Minimise orders + expected energy, rent and unserved work, subject to demand per scenario, period, block and workload, capacity per pool,
power per site and period, and owned chips ordered per period. Without splits it is a two-stage program: the reference.

OPTIMA are those of the reference at default sizes and seed 0, by HiGHS 1.15 dual simplex on the extensive form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from optimizer.program.program import Array, Program, Sparse
from scripts.benchmarking.family_draws import DISCOUNT, HOURS_PER_QUARTER, MODES, SITES, UNSERVED_USD, Draws, Knobs, draw

OPTIMA = {
    1: 9_286_796.5130,
    5: 12_857_572.5502,
    20: 11_424_046.6993,
    50: 12_016_081.0153,
    100: 11_157_525.5524,
    200: 11_627_096.3972,
}
HELD_ALREADY = 5.0  # chips per pool
ORDER_MOST = 400.0  # chips per order
SITE_POWER = 600.0  # in the first period; grows by 5 % each
OWNED_ORDERED_MOST = 500.0  # chips per period


@dataclass(frozen=True)
class Forest:
    """Decision nodes: one path without splits. node_at [S, T] is where a scenario stands in a period."""

    parent: Array
    stage: Array
    probability: Array
    node_at: Array


@dataclass(frozen=True)
class Order:
    """One acquisition: signed at a node of the tree, held from the period `start` until before `end`."""

    decision: int
    pool: int
    mode: str
    start: int
    end: int
    cost_usd: float


def reference_program(scenarios: int, seed: int = 0) -> Program:
    """The member whose optimum is known for seed 0."""
    return family_program(Knobs(scenarios, seed))


def family_program(knobs: Knobs) -> Program:
    """The Program of a member. Raises ProgramError (from `check`) if sizes make no program."""
    d, forest = draw(knobs), forest_of(knobs)
    orders = _orders(knobs, d, forest)
    reaches = _reaches(orders, forest)
    limit_matrix, limit_upper = _limits(d, forest, orders, reaches)
    nodes, periods = knobs.scenarios * knobs.periods, np.tile(np.arange(knobs.periods), knobs.scenarios)
    stream, pool = np.nonzero(d.mask)
    empty = np.zeros(0)
    return Program(
        parent=forest.parent,
        decision_of_state=np.arange(len(forest.parent)),
        state_of_node=forest.node_at.ravel(),
        scenario_of_node=np.repeat(np.arange(knobs.scenarios), knobs.periods),
        template_of_node=np.zeros(nodes, np.int64),
        signed_at=np.array([order.decision for order in orders]),
        served=knobs.workloads,
        deferrable=0,
        free=0,
        pools=knobs.pools,
        pair_stream=stream,
        pair_pool=pool,
        acquisition_cost=np.array([order.cost_usd for order in orders]),
        acquisition_lower=np.zeros(len(orders)),
        acquisition_upper=np.full(len(orders), ORDER_MOST),
        upper_is_derived=np.zeros(len(orders), bool),
        held_matrix=Sparse((reaches[0], np.array([o.pool for o in orders])[reaches[1]], reaches[1]), np.ones(len(reaches[0]))),
        held_base=np.full((len(forest.parent), knobs.pools), HELD_ALREADY),
        limit_matrix=limit_matrix,
        limit_lower=np.full(len(limit_upper), -np.inf),
        limit_upper=limit_upper,
        node_weight=DISCOUNT**periods / knobs.scenarios,
        block_hours=d.hours[None],
        pair_capacity=d.chips_per_work[d.mask][None],
        placement_cost=d.hours[None, :, None] * (d.chips_per_work * d.energy_usd)[d.mask],
        placement_upper=np.full((1, knobs.blocks, len(stream)), np.inf),
        unserved_cost=np.repeat(UNSERVED_USD * d.hours[None, :, None], knobs.workloads, axis=2),
        unserved_cost_deferrable=np.zeros((1, 0)),
        demand=d.demand.reshape(nodes, knobs.blocks, knobs.workloads),
        demand_deferrable=np.zeros((nodes, 0)),
        availability=np.ones((nodes, knobs.pools)),
        rent_cost=np.tile(d.hours[:, None] * d.rent_usd, (nodes, 1, 1)),
        rent_upper=np.repeat(d.rent_most[periods][:, None, :], knobs.blocks, axis=1),
        side_pair=np.zeros((1, 0, knobs.blocks, len(stream))),
        side_rent=np.zeros((nodes, 0, knobs.blocks, knobs.pools)),
        side_slack_cost=np.zeros((nodes, 0)),
        side_slack_upper=np.zeros((nodes, 0)),
        link_lower=empty,
        link_upper=empty,
        link_scenario=np.zeros(0, np.int64),
        link_acquisition=Sparse.empty(2),
        link_placement=Sparse.empty(4),
        link_unserved=Sparse.empty(4),
        link_deferred=Sparse.empty(3),
        link_rent=Sparse.empty(4),
        link_slack_cost=empty,
        link_slack_upper=empty,
        link_slack_sign=empty,
    )


def forest_of(knobs: Knobs) -> Forest:
    """The tree of decisions: the scenarios of every branch part in two halves before each period in `splits`."""
    parent, stage, probability = [], [], []
    node_at = np.zeros((knobs.scenarios, knobs.periods), np.int64)
    branches: list[tuple[int, Array]] = [(-1, np.arange(knobs.scenarios))]
    for period in range(knobs.periods):
        if period in knobs.splits:
            branches = [(above, part) for above, members in branches for part in np.array_split(members, min(2, len(members)))]
        following = []
        for above, members in branches:
            node_at[members, period] = len(parent)
            following.append((len(parent), members))
            parent.append(above)
            stage.append(period)
            probability.append(len(members) / knobs.scenarios)
        branches = following
    return Forest(np.array(parent), np.array(stage), np.array(probability), node_at)


def _orders(knobs: Knobs, d: Draws, forest: Forest) -> list[Order]:
    """Every mode of every pool at every decision node; a degenerate member offers each twice at the same price."""
    orders = []
    for node, pool, (mode, (share, life, lead)) in product(range(len(forest.parent)), range(knobs.pools), MODES.items()):
        start = int(forest.stage[node]) + lead
        if start < knobs.periods:
            end = min(knobs.periods, start + life)
            cost = float(sum(DISCOUNT**t for t in range(start, end)) * share * d.rent_usd[pool] * HOURS_PER_QUARTER)
            orders += [Order(node, pool, mode, start, end, cost * float(forest.probability[node]))] * (2 if knobs.degenerate else 1)
    return orders


def _reaches(orders: list[Order], forest: Forest) -> tuple[Array, Array]:
    """(decision node, order) of every node at which an order is held."""
    below: list[list[int]] = [[node] for node in range(len(forest.parent))]
    for node in range(len(forest.parent) - 1, -1, -1):  # children come after their parents
        if forest.parent[node] >= 0:
            below[forest.parent[node]] += below[node]
    entries = [
        (node, number)
        for number, order in enumerate(orders)
        for node in below[order.decision]
        if order.start <= forest.stage[node] < order.end
    ]
    index = np.array(entries, dtype=np.int64).reshape(-1, 2)
    return index[:, 0], index[:, 1]


def _limits(d: Draws, forest: Forest, orders: list[Order], reaches: tuple[Array, Array]) -> tuple[Sparse, Array]:
    """(matrix, upper sides) of the power of owned chips per site and decision node, and of owned chips ordered per decision node. Rows
    without a term are left out."""
    owned = np.array([order.mode == "own" for order in orders])
    node, order = (index[owned[reaches[1]]] for index in reaches)
    pool_of, signed = np.array([o.pool for o in orders]), np.array([o.decision for o in orders])
    bought = np.nonzero(owned)[0]
    row = np.concatenate([node * SITES + d.site[pool_of[order]], len(forest.parent) * SITES + signed[bought]])
    upper = np.concatenate([np.repeat(SITE_POWER * 1.05**forest.stage, SITES), np.full(len(forest.parent), OWNED_ORDERED_MOST)])
    kept, row = np.unique(row, return_inverse=True)
    value = np.concatenate([d.power[pool_of[order]], np.ones(len(bought))])
    return Sparse((row, np.concatenate([order, bought])), value), upper[kept]
