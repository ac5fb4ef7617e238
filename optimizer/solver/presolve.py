"""Which variables and rows have an interior: an interior point cannot move along a direction of zero width.

Forcing limits (their least activity already meets the bound: a site without power yet) fix their acquisitions; pools that can hold no
capacity in a node drop out with all placement on them; streams without demand drop out of their node. What was dropped gets its
multipliers back in `postsolve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Program

ZERO_WIDTH = 1e-9


@dataclass(frozen=True)
class Presolved:
    """Masks in the axes of Program; `forced` lists (limit, acquisitions fixed by it, +1 upper side / -1 lower side) in order."""

    z_lower: np.ndarray  # [Z] fixed variables have z_lower == z_upper
    z_upper: np.ndarray
    z_fixed: np.ndarray  # bool[Z]
    forced: list[tuple[int, np.ndarray, int]]
    limit_active: np.ndarray  # bool[L]
    x_active: np.ndarray  # bool[N, B, P]
    r_active: np.ndarray  # bool[N, B, G]
    capacity_active: np.ndarray  # bool[N, B, G]
    rent_upper: np.ndarray  # [N, B, G], derived where it was infinite
    priced_out: np.ndarray  # bool[N, B, P]: work that has demand but stands on a pool without any capacity


def presolve(p: Program) -> Presolved:
    """Masks for the program; never changes its optimum."""
    z_lower, z_upper, fixed, forced, limit_active = force_limits(p)
    x_active = demand_present(p)
    rent_upper = derived_rent_upper(p, x_active)
    held = np.zeros((p.states, p.pools + p.sides))
    q, o, i = p.held_matrix.index
    np.add.at(held, (q, o), np.maximum(p.held_matrix.value * z_lower[i], p.held_matrix.value * z_upper[i]))
    most = (p.held_base + held)[p.state_of_node][:, : p.pools] * p.availability  # [N, G]
    scale = 1.0 + np.abs(p.held_base[:, : p.pools]).max(initial=0.0)
    most = most[:, None, :] + rent_upper
    has_capacity = most > ZERO_WIDTH * scale
    needs = p.pair_capacity[p.template_of_node] > 0  # [N, P]
    priced_out = x_active & ~has_capacity[:, :, p.pair_pool] & needs[:, None, :]
    x_active &= ~priced_out
    r_active = rent_upper > ZERO_WIDTH * np.maximum(1.0, rent_upper)
    used = np.zeros((p.nodes, p.blocks, p.pools), bool)
    np.logical_or.at(used, (slice(None), slice(None), p.pair_pool), x_active & needs[:, None, :])
    keeps_rent = p.sides > 0 or p.link_rent.size > 0
    drawn = (p.availability * p.held_base[p.state_of_node][:, : p.pools] < 0)[:, None, :]  # what is drawn is paid, used or not
    capacity_active = has_capacity & (used | keeps_rent | drawn)
    r_active &= capacity_active
    return Presolved(z_lower, z_upper, fixed, forced, limit_active, x_active, r_active, capacity_active, rent_upper, priced_out)


def force_limits(p: Program):
    """Fix acquisitions that a limit leaves no room; repeated, because one forcing may cause another."""
    lower, upper = p.acquisition_lower.astype(float).copy(), p.acquisition_upper.astype(float).copy()
    fixed = upper - lower <= ZERO_WIDTH * np.maximum(1.0, np.abs(upper))
    upper = np.where(fixed, lower, upper)
    rows, cols = p.limit_matrix.index
    value = p.limit_matrix.value
    active = np.ones(p.limits, bool)
    forced: list[tuple[int, np.ndarray, int]] = []
    for _ in range(5):
        low_term = np.minimum(value * lower[cols], value * upper[cols])
        high_term = np.maximum(value * lower[cols], value * upper[cols])
        least = np.bincount(rows, low_term, p.limits)
        most = np.bincount(rows, high_term, p.limits)
        size = np.bincount(rows, np.maximum(np.abs(low_term), np.abs(high_term)), p.limits)
        tolerance = ZERO_WIDTH * np.maximum(size, 1e-300)
        at_upper = active & (p.limit_upper - least <= tolerance)
        at_lower = active & (most - p.limit_lower <= tolerance) & ~at_upper
        changed = False
        for limit, side in [(k, 1) for k in np.nonzero(at_upper)[0]] + [(k, -1) for k in np.nonzero(at_lower)[0]]:
            entries = np.nonzero((rows == limit) & ~fixed[cols] & (value != 0))[0]
            active[limit] = False
            if not len(entries):
                continue
            to_lower = (value[entries] > 0) == (side > 0)
            who = cols[entries]
            lower[who] = upper[who] = np.where(to_lower, lower[who], upper[who])
            fixed[who] = True
            forced.append((int(limit), who, side))
            changed = True
        if not changed:
            break
    # A limit whose acquisitions are all fixed is decided: it is satisfied, or the feasibility check has said otherwise.
    free = np.bincount(rows, (~fixed[cols] & (value != 0)).astype(float), p.limits) > 0
    infinite = np.isinf(p.limit_lower) & np.isinf(p.limit_upper)
    return lower, upper, fixed, forced, active & free & ~infinite


def demand_present(p: Program) -> np.ndarray:
    """bool[N, B, P]: the pair's stream has demand in the node (free streams: the pair has width)."""
    positive = np.zeros((p.nodes, p.blocks, p.streams), bool)
    positive[:, :, : p.served] = p.demand > 0
    positive[:, :, p.served : p.served + p.deferrable] = (p.demand_deferrable > 0)[:, None, :]
    positive[:, :, p.served + p.deferrable :] = True
    active = positive[:, :, p.pair_stream]
    return active & (p.placement_upper[p.template_of_node] > 0)


def derived_rent_upper(p: Program, x_active: np.ndarray) -> np.ndarray:
    """Where rent has no bound: what all demand could use."""
    if not np.isinf(p.rent_upper).any():
        return p.rent_upper
    most = most_placement(p)
    need = np.zeros((p.nodes, p.blocks, p.pools))
    np.add.at(
        need, (slice(None), slice(None), p.pair_pool), np.where(x_active, most * p.pair_capacity[p.template_of_node][:, None, :], 0.0)
    )
    return np.where(np.isinf(p.rent_upper), need, p.rent_upper)


def most_placement(p: Program) -> np.ndarray:
    """[N, B, P] the most that a pair can place: its demand, or its own bound."""
    t = p.template_of_node
    demand = np.full((p.nodes, p.blocks, p.streams), np.inf)
    demand[:, :, : p.served] = p.demand
    demand[:, :, p.served : p.served + p.deferrable] = p.demand_deferrable[:, None, :] / p.block_hours[t][:, :, None]
    return np.minimum(demand[:, :, p.pair_stream], p.placement_upper[t])
