"""The random numbers of the seeded family of planning programs: demand, speeds, prices, what may run where.

The order of the draws is part of the family: the known optima of `reference_family` hold for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.program import Array

HOURS_PER_QUARTER = 8760 / 4
DISCOUNT = 0.98  # per quarter
ENERGY_USD_PER_CHIP_HOUR = 0.08  # of a chip of speed 1
UNSERVED_USD = 20.0  # per unit of work and hour
MODES = {"own": (0.45, 16, 2), "three_year": (0.6, 12, 0), "one_year": (0.75, 4, 0)}  # share of the rent, periods, lead periods
SITES = 4


@dataclass(frozen=True)
class Knobs:
    """Sizes of a member, and what makes it harder than the reference. `splits`: periods before which every branch of the tree of
    decisions parts in two (none: all orders are signed before anything is known)."""

    scenarios: int
    seed: int = 0
    workloads: int = 12
    pools: int = 16
    periods: int = 12
    blocks: int = 3
    splits: tuple[int, ...] = ()
    degenerate: bool = False


@dataclass(frozen=True)
class Draws:
    """Axes: S scenarios, T periods, B blocks, W workloads, G pools. Money in dollars, capacity in chips."""

    mask: Array  # bool[W, G]: may run
    chips_per_work: Array  # [W, G]
    hours: Array  # [B], per period
    demand: Array  # [S, T, B, W], work per hour
    rent_usd: Array  # [G], per chip-hour
    energy_usd: Array  # [G], per chip-hour
    rent_most: Array  # [T, G], chips
    site: Array  # int[G]
    power: Array  # [G], per chip


def draw(knobs: Knobs) -> Draws:
    """The numbers of one member; the same knobs give the same numbers."""
    k, rng = knobs, np.random.default_rng(knobs.seed)
    speed = rng.uniform(0.5, 2.0, k.pools)
    affinity = rng.uniform(0.6, 1.4, (k.workloads, k.pools))
    mask = rng.random((k.workloads, k.pools)) < 0.7
    mask[:, 0] = True
    share = np.array([0.2, 0.5, 0.3])[: k.blocks] if k.blocks <= 3 else np.full(k.blocks, 1.0)
    load = np.array([1.0, 0.7, 0.4])[: k.blocks] if k.blocks <= 3 else np.linspace(1.0, 0.4, k.blocks)
    base = rng.lognormal(3, 1, k.workloads)
    growth = rng.lognormal(np.log(1.12), 0.08, (k.scenarios, k.periods)).cumprod(axis=1)
    noise = rng.lognormal(0, 0.1, (k.scenarios, k.periods, k.workloads))
    demand = base * growth[:, :, None, None] * noise[:, :, None, :] * load[:, None]
    rent = 1.5 * speed * rng.uniform(0.9, 1.2, k.pools)
    rent_most = rng.uniform(20, 80, k.pools) * 1.05 ** np.arange(k.periods)[:, None]
    power = rng.uniform(0.7, 1.3, k.pools)
    chips_per_work = 1.0 / (speed * affinity)
    if k.degenerate:
        speed = _halves(speed)
        chips_per_work, demand, rent_most = _halves(chips_per_work), np.round(demand), np.round(rent_most)
        rent, power = 1.5 * speed, np.ones(k.pools)
    energy = ENERGY_USD_PER_CHIP_HOUR * speed**0.5
    hours = share / share.sum() * HOURS_PER_QUARTER
    return Draws(mask, chips_per_work, hours, demand, rent, energy, rent_most, np.arange(k.pools) % SITES, power)


def _halves(values: Array) -> Array:
    """Rounded to halves, at least one half: many ties."""
    return np.maximum(np.round(2 * values) / 2, 0.5)
