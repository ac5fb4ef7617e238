"""The values half of the builder: one pure function from the parameter vector to every float array of the program.

Written against an array namespace: `xp = numpy` is the normal path (nothing compiles), `xp = jax.numpy` the one that derivatives
run through (float64 must be enabled by the caller).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from optimizer.build.acquisitions import acquisition_values, bounds
from optimizer.build.demand import demand_values
from optimizer.build.existing import existing_cost, existing_values
from optimizer.build.limits import limit_coefficients, limit_upper
from optimizer.build.numbers import Array
from optimizer.build.placement import chips_needed, placement_values
from optimizer.build.rent import rent_values
from optimizer.build.runs import placement_upper, run_rows, run_work
from optimizer.build.shares import side_values
from optimizer.build.structure import Structure


def values(structure: Structure, theta: Array, xp: ModuleType = np) -> dict[str, Array]:
    """Every float array of Program by the name of its field (of a sparse field: its value vector); theta float64[M]."""
    s, tree = structure, structure.tree
    n = s.numbers(theta, xp)
    nodes, periods, blocks, pools = tree.scenarios * tree.periods, tree.periods, len(s.blocks), len(s.pools)
    sides, pairs = len(s.sides), len(s.pairs)

    demand = demand_values(s.demand, n)
    placement = placement_values(s.pair_index, n)
    work = run_work(s.run, n)  # [S, K]
    probability = s.probability.read(n.e)
    run = run_rows(s.run, work, probability, n)
    rent = rent_values(s.rent, n)
    flows = existing_values(s.existing_index, n)
    acquired = acquisition_values(s.acquisition, n)
    side = side_values(s.share, s.acquisition, acquired, flows, rent, n)
    upper, _ = limit_upper(s.limit, s.share, flows, n)
    window_work = xp.where(s.run.inside, work[:, None, :], 0.0)  # [S, T, K]
    need = chips_needed(s.pair_index, s.demand, demand.served, demand.deferrable, window_work, placement.capacity, n)

    least, most = bounds(s.acquisition, need, acquired, n)
    _, order, when = s.acquisition.held

    standing = s.existing_index.pool >= 0
    base = n.segment_sum(flows.usable[standing], s.existing_index.pool[standing], pools)  # [G, T]
    state = xp.concatenate([xp.swapaxes(base, 0, 1), side.base], axis=1)  # [T, G + K]

    def every_scenario(per_period: Array) -> Array:
        """[S * T, ...] from [T, ...]: what does not depend on the scenario."""
        return xp.broadcast_to(per_period, (tree.scenarios, *per_period.shape)).reshape(nodes, *per_period.shape[1:])

    def every_point(per_period: Array) -> Array:
        """[C, ...] from [T, ...]: what does not depend on the throughput error."""
        points = len(s.pair_index.speed)
        return xp.broadcast_to(per_period, (points, *per_period.shape)).reshape(points * periods, *per_period.shape[1:])

    def by_node(per_scenario: Array) -> Array:
        """[S * T, ...] from [S, T, ...]."""
        return per_scenario.reshape(nodes, *per_scenario.shape[2:])

    return {
        "acquisition_cost": acquired.cost,
        "acquisition_lower": least,
        "acquisition_upper": most,
        "held_matrix": xp.concatenate([acquired.usable[order] * acquired.parts.counted[order, when], side.held]),
        "held_base": state[tree.period],
        "limit_matrix": limit_coefficients(s.limit, s.acquisition, s.share, acquired, n),
        "limit_lower": xp.full(len(s.limits), -np.inf),
        "limit_upper": upper,
        "node_weight": (probability[:, None] * n.mid).reshape(nodes),
        "block_hours": every_point(xp.asarray(n.block_hours)),
        "pair_capacity": xp.repeat(placement.capacity, periods, axis=0),
        "placement_cost": placement.cost,
        "placement_upper": every_point(placement_upper(s.run, work, pairs, n)),
        "unserved_cost": every_point(demand.unserved_cost),
        "unserved_cost_deferrable": every_point(demand.unserved_cost_deferrable),
        "demand": by_node(demand.served),
        "demand_deferrable": by_node(demand.deferrable),
        "availability": xp.ones((nodes, pools)),
        "rent_cost": by_node(rent.cost),
        "rent_upper": every_scenario(xp.broadcast_to(rent.upper[:, None], (periods, blocks, pools))),
        "side_pair": every_point(xp.zeros((periods, sides, blocks, pairs))),
        "side_rent": by_node(side.rent),
        "side_slack_cost": every_scenario(side.slack_cost),
        "side_slack_upper": xp.full((nodes, sides), np.inf),
        "link_lower": run.work,
        "link_upper": run.work,
        "link_acquisition": xp.zeros(0),
        "link_placement": run.hours,
        "link_unserved": xp.zeros(0),
        "link_deferred": xp.zeros(0),
        "link_rent": xp.zeros(0),
        "link_slack_cost": run.slack_cost,
        "link_slack_upper": run.work,
        "link_slack_sign": xp.ones(len(s.links)),
        "constant": existing_cost(flows, n),
    }
