"""Chips that work keeps busy, per pool."""

from __future__ import annotations

import numpy as np

from optimizer.build.structure import Structure
from optimizer.report.case_prices import Array, CasePrices


def chips_per_work(structure: Structure, prices: CasePrices) -> Array:
    """[P], chips per unit of work of each pair (stream, pool)."""
    case = structure.case
    workloads = [case.workloads[stream.workload] for stream in structure.streams]
    return np.array([prices.chips_per_work(workloads[p.stream], p.throughput) for p in structure.pairs])


def chips_used(structure: Structure, prices: CasePrices, x: Array) -> Array:
    """[N, B, G], chips busy in each node, block and pool."""
    used = np.zeros((*x.shape[:2], len(structure.pools)))
    per_work = chips_per_work(structure, prices)
    of_pool: dict[int, list[int]] = {}
    for pair in structure.pairs:
        of_pool.setdefault(pair.pool, []).append(pair.index)
    for pool, pairs in of_pool.items():
        used[:, :, pool] = x[:, :, pairs] @ per_work[pairs]
    return used
