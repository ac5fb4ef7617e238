"""Typical sizes of a program, as powers of two, so that scaling and unscaling are exact.

Work is measured in chips (a stream's unit of work times its typical chips per unit), chips in a typical node's need, money in a typical
cost, rows by their largest coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Program
from optimizer.solver.presolve import Presolved


def power_of_two(value: np.ndarray | float) -> np.ndarray:
    """Nearest power of two of positive values; 1 where the value is not positive and finite."""
    value = np.asarray(value, float)
    good = np.isfinite(value) & (value > 0)
    return np.where(good, np.exp2(np.round(np.log2(np.where(good, value, 1.0)))), 1.0)


@dataclass(frozen=True)
class Scales:
    """Scaled variable = variable / scale; scaled row = row / scale; scaled money = money / money."""

    money: float
    chips: float
    work: np.ndarray  # [W] units of work per scaled unit
    hours: float
    z: np.ndarray  # [Z]
    side: np.ndarray  # [K]
    limit: np.ndarray  # [L]
    link: np.ndarray  # [R]


def largest(size: int, index: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Largest absolute value per index."""
    out = np.zeros(size)
    np.maximum.at(out, index, np.abs(value))
    return out


def make_scales(p: Program, pre: Presolved) -> Scales:
    """Typical sizes, as powers of two."""
    t = p.template_of_node
    log_a = np.where(p.pair_capacity > 0, np.log(np.where(p.pair_capacity > 0, p.pair_capacity, 1.0)), 0.0).sum(0)
    count = (p.pair_capacity > 0).sum(0)
    total = np.bincount(p.pair_stream, log_a, p.streams)
    number = np.bincount(p.pair_stream, count, p.streams)
    typical = np.exp(total / np.maximum(number, 1))  # chips per unit of work, [W]
    hours = float(power_of_two(p.block_hours.mean()))
    need = (p.demand * typical[: p.served]).ravel()
    late = p.demand_deferrable * typical[p.served : p.served + p.deferrable] / p.block_hours[t].sum(1)[:, None]
    need = np.concatenate([need, late.ravel()])
    need = need[need > 0]
    base = np.abs(p.held_base[:, : p.pools])
    chips = float(power_of_two(need.mean() if len(need) else (base[base > 0].mean() if (base > 0).any() else 1.0)))
    work = power_of_two(chips / typical)
    _, o, i = p.held_matrix.index
    is_pool = o < p.pools
    reach = largest(p.acquisitions, i[is_pool], p.held_matrix.value[is_pool])
    pair_work = work[p.pair_stream]
    link = np.zeros(p.links)
    parts = [
        (p.link_placement, pair_work, -1, 1.0),
        (p.link_unserved, work[: p.served], -1, 1.0),
        (p.link_deferred, work[p.served : p.served + p.deferrable], -1, hours),
    ]
    for sparse, unit, axis, factor in parts:
        if sparse.size:
            link = np.maximum(link, largest(p.links, sparse.index[0], sparse.value * unit[sparse.index[axis]] * factor))
    if p.link_rent.size:
        link = np.maximum(link, largest(p.links, p.link_rent.index[0], p.link_rent.value * chips))
    # An acquisition without chips (the level of a CVaR) is as large as the rows that it links; its box may be a thousand times larger.
    in_row, of_row = p.link_acquisition.index
    value = np.abs(p.link_acquisition.value)
    from_row = np.full(p.acquisitions, np.inf)
    use = (value > 0) & (link[in_row] > 0)
    np.minimum.at(from_row, of_row[use], link[in_row[use]] / value[use])
    width = pre.z_upper - pre.z_lower
    z = np.where(reach > 0, chips / np.where(reach > 0, reach, 1.0), np.where(np.isfinite(from_row), from_row, width))
    z = power_of_two(z)
    link = np.where(link > 0, link, largest(p.links, in_row, value * z[of_row]))
    side = np.zeros(p.sides)
    if p.sides:
        side = np.maximum(side, np.abs(p.side_pair * pair_work).max((0, 2, 3), initial=0.0))
        side = np.maximum(side, np.abs(p.side_rent * chips).max((0, 2, 3), initial=0.0))
        side = np.maximum(side, largest(p.pools + p.sides, o, p.held_matrix.value * z[i])[p.pools :])
    limit = largest(p.limits, p.limit_matrix.index[0], p.limit_matrix.value * z[p.limit_matrix.index[1]])
    weight = p.node_weight[:, None, None]
    costs = np.concatenate(
        [
            np.abs(weight * p.placement_cost[t] * pair_work)[pre.x_active],
            np.abs(weight * p.rent_cost * chips)[pre.r_active],
            np.abs(p.acquisition_cost * z)[~pre.z_fixed],
        ]
    )
    costs = costs[costs > 0]
    if not len(costs):
        costs = np.abs(weight * p.unserved_cost[t] * work[: p.served]).ravel()
        costs = costs[costs > 0]
    money = float(power_of_two(np.exp(np.log(costs).mean()) if len(costs) else 1.0))
    return Scales(money, chips, work, hours, z, power_of_two(side), power_of_two(limit), power_of_two(link))
