"""Chips that work keeps busy, per pool."""

from __future__ import annotations

import numpy as np

from optimizer.build.records import PairRecord
from optimizer.build.structure import Structure
from optimizer.report.case_prices import Array, CasePrices


def chips_per_work(structure: Structure, prices: CasePrices) -> Array:
    """[S, P], chips per unit of work of each pair (stream, pool), with the time that interruptions cost and the scenario's throughput."""
    case = structure.case
    workloads = [case.workloads[stream.workload] for stream in structure.streams]
    needed = np.array([prices.chips_per_work(workloads[p.stream], p.throughput) for p in structure.pairs])
    for pair in structure.pairs:
        pool = structure.pools[pair.pool]
        if pool.preemptible and pool.rent_offer is not None:
            needed[pair.index] /= prices.goodput(workloads[pair.stream], _tpot_mean_ms(structure, pair), case.offers[pool.rent_offer])
    log_std = [(p.throughput.log_std or 0.0) if p.deployment >= 0 else 0.0 for p in structure.pairs]  # rows are taken as they are
    return needed / np.exp(np.multiply.outer([scenario.throughput_sd for scenario in case.scenarios], log_std))


def _tpot_mean_ms(structure: Structure, pair: PairRecord) -> float:
    """Mean time per output token: the performance model's, else the 99th percentile of the row, else 0."""
    if pair.deployment >= 0:
        return structure.pair_index.deployments[pair.deployment].tpot_mean_ms
    tpot = pair.throughput.tpot_p99_ms
    return 0.0 if tpot is None else tpot.value


def chips_used(structure: Structure, prices: CasePrices, x: Array) -> Array:
    """[N, B, G], chips busy in each node, block and pool."""
    used = np.zeros((*x.shape[:2], len(structure.pools)))
    per_work = np.repeat(chips_per_work(structure, prices), structure.calendar.periods, axis=0)  # [N, P]
    of_pool: dict[int, list[int]] = {}
    for pair in structure.pairs:
        of_pool.setdefault(pair.pool, []).append(pair.index)
    for pool, pairs in of_pool.items():
        used[:, :, pool] = np.einsum("nbp,np->nb", x[:, :, pairs], per_work[:, pairs])
    return used
