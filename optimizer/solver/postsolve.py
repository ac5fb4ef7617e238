"""Multipliers for what presolve dropped, so that the bound loses nothing.

A pool that can hold no capacity in a node gets the price at which nobody wants it; a limit that fixed its acquisitions gets the price
at which none of them is worth having. Both cost nothing in the bound, because their right-hand sides meet zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.program import Multipliers, Program
from optimizer.solver.layout import Layout


def complete(layout: Layout, m: Multipliers) -> Multipliers:
    """Multipliers with the dropped rows filled in."""
    p, pre = layout.program, layout.presolved
    capacity = idle_pool_prices(p, pre.x_active, pre.priced_out, m)
    limit = forced_limit_prices(p, pre.forced, replace(m, capacity=capacity))
    return replace(m, capacity=capacity, limit=limit)


def reduced_placement_cost(p: Program, m: Multipliers) -> np.ndarray:
    """[N, B, P] cost of a pair after capacity, side and linking prices."""
    t = p.template_of_node
    cost = p.node_weight[:, None, None] * p.placement_cost[t]
    cost = cost - p.pair_capacity[t][:, None, :] * m.capacity[:, :, p.pair_pool]
    if p.sides:
        cost = cost - np.einsum("nk,nkbp->nbp", m.side, p.side_pair[t])
    if p.link_placement.size:
        r, n, b, c = p.link_placement.index
        np.add.at(cost, (n, b, c), -m.link[r] * p.link_placement.value)
    return cost


def idle_pool_prices(p: Program, x_active: np.ndarray, dropped: np.ndarray, m: Multipliers) -> np.ndarray:
    """[N, B, G] capacity prices where a pool without capacity is priced out of reach; `dropped` bool[N, B, P] is the work on it."""
    if not dropped.any():
        return m.capacity
    t = p.template_of_node
    cost = reduced_placement_cost(p, m)
    # the price of work from the pairs that are there
    value = np.full((p.nodes, p.blocks, p.streams), np.inf)
    weight = p.node_weight[:, None, None]
    unserved = weight * p.unserved_cost[t]
    if p.link_unserved.size:
        r, n, b, w = p.link_unserved.index
        np.add.at(unserved, (n, b, w), -m.link[r] * p.link_unserved.value)
    late = p.node_weight[:, None] * p.unserved_cost_deferrable[t]
    if p.link_deferred.size:
        r, n, w = p.link_deferred.index
        np.add.at(late, (n, w), -m.link[r] * p.link_deferred.value)
    hours = p.block_hours[t][:, :, None]
    value[:, :, : p.served] = unserved
    value[:, :, p.served : p.served + p.deferrable] = late[:, None, :] * hours
    value[:, :, p.served + p.deferrable :] = 0.0
    np.minimum.at(value, (slice(None), slice(None), p.pair_stream), np.where(x_active, cost, np.inf))
    if p.deferrable:  # movable work takes the cheapest block: the price per unit of work is common
        part = slice(p.served, p.served + p.deferrable)
        value[:, :, part] = (value[:, :, part] / hours).min(1, keepdims=True) * hours
    a = np.where(dropped, p.pair_capacity[t][:, None, :], 1.0)
    short = np.where(dropped, np.minimum((cost - value[:, :, p.pair_stream]) / a, 0.0), 0.0)
    price = np.zeros_like(m.capacity)
    np.minimum.at(price, (slice(None), slice(None), p.pair_pool), short)
    return np.minimum(m.capacity, price)


def forced_limit_prices(p: Program, forced: list[tuple[int, np.ndarray, int]], m: Multipliers) -> np.ndarray:
    """[L] limit prices; the last forcing limit is priced first, as it was found with the earlier ones in place."""
    limit = m.limit.copy()
    if not forced:
        return limit
    q, o, i = p.held_matrix.index
    held = np.zeros((p.states, p.pools + p.sides))
    np.add.at(held[:, : p.pools], p.state_of_node, (m.capacity.sum(1)) * p.availability)
    np.add.at(held[:, p.pools :], p.state_of_node, m.side)
    # a <= row's held side enters the reduced cost of z with a plus: c - M'pi with M on the right-hand side
    cost = p.acquisition_cost + np.bincount(i, p.held_matrix.value * held[q, o], p.acquisitions)
    cost = cost - np.bincount(p.link_acquisition.index[1], p.link_acquisition.value * m.link[p.link_acquisition.index[0]], p.acquisitions)
    rows, cols = p.limit_matrix.index
    value = p.limit_matrix.value
    cost = cost - np.bincount(cols, value * limit[rows], p.acquisitions)
    for row, who, side in reversed(forced):
        entries = np.nonzero((rows == row) & np.isin(cols, who))[0]
        ratio = cost[cols[entries]] / value[entries]
        # upper side (+1): a column at its lower bound (value > 0) needs cost - value*price >= 0; at its upper bound the reverse
        price = min(0.0, float(ratio.min())) if side > 0 else max(0.0, float(ratio.max()))
        change = price
        limit[row] += change
        mine = rows == row
        np.add.at(cost, cols[mine], -value[mine] * change)
    return limit
