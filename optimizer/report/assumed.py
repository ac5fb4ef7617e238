"""How much of the cost rests on numbers that the case or the catalog marks as assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import by_scenario
from optimizer.report.case_prices import CasePrices
from optimizer.report.chips_used import chips_per_work
from optimizer.report.frames import Table


@dataclass(frozen=True)
class AssumedShare:
    """Shares of the sum of absolute expected present values (credits count as costs). `price`: the line's price is assumed;
    `throughput`: the part of a pool's cost that belongs to chip-hours used at an assumed throughput; `either`: at least one of the two."""

    price: float
    throughput: float
    either: float


def assumed_share(structure: Structure, values: Values, cost: Table) -> AssumedShare:
    amount = np.abs(cost["expected_present_value_usd"])
    whole = float(amount.sum())
    if whole == 0:
        return AssumedShare(0.0, 0.0, 0.0)
    price = cost["assumed"].astype(float)
    by_pool = _throughput_share(structure, values)
    pool_of = _pool_of_source(structure)
    sources = zip(cost["category"] == "existing", cost["source"], strict=True)
    throughput = np.array([by_pool[pool_of[key]] if key in pool_of else 0.0 for key in sources])
    either = price + (1 - price) * throughput
    return AssumedShare(*(float(amount @ share) / whole for share in (price, throughput, either)))


def _throughput_share(structure: Structure, values: Values) -> np.ndarray:
    """[G]: expected chip-hours at an assumed throughput over all that are used, over the horizon; 0 for an idle pool."""
    prices = CasePrices.of(structure.case)
    probability = np.array([s.weighted_probability for s in structure.case.scenarios])
    work = np.einsum("s,tb,stbp->sp", probability, prices.block_hours, by_scenario(structure, values.x))
    hours = (work * chips_per_work(structure, prices)).sum(axis=0)
    assumed = np.array([p.throughput.rate.assumed for p in structure.pairs], bool)
    pool, pools = np.array([p.pool for p in structure.pairs], int), len(structure.pools)
    used = np.bincount(pool, hours, pools)
    return np.bincount(pool, hours * assumed, pools) / np.where(used > 0, used, 1.0)


def _pool_of_source(structure: Structure) -> dict[tuple[bool, str], int]:
    """The pool of each source of the cost table, by (existing fleet or not, name); unserved work and share limits have none."""
    return (
        {(False, a.offer): a.pool for a in structure.acquisitions}
        | {(False, rent.name): rent.pool for rent in structure.rents}
        | {(False, f"load {pool.name}"): pool.index for pool in structure.pools}
        | {(True, fleet.name): fleet.pool for fleet in structure.existing if fleet.pool >= 0}
    )
