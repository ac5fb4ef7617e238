"""Pairs (stream, pool): chips and energy per unit of work (case reference, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.demand import DemandIndex
from optimizer.build.draft import Draft
from optimizer.build.interruptions import InterruptionIndex, interruption_structure, with_lost_time
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import BuildError, extended
from optimizer.build.paths import UNIT_ROW
from optimizer.build.pools import Pools
from optimizer.build.rates import RateIndex
from optimizer.build.records import PairRecord, StreamRecord
from optimizer.build.sharing import Chosen
from optimizer.performance.deployment import Deployment, NotModelled
from optimizer.performance.eligibility import Eligibility, Excuse, MissingRoundTrip
from optimizer.performance.error_points import ErrorPoints
from optimizer.performance.replicas import Groups


@dataclass(frozen=True)
class PairIndex:
    """P pairs, sorted by stream, then pool."""

    stream: np.ndarray  # int[P]
    pool: np.ndarray  # int[P]
    pools: int
    rate: RateIndex
    tokens: np.ndarray  # int[P], position of output tokens, ONE for training
    scale: np.ndarray  # [P], chips per unit of work = scale * tokens / rate / goodput
    interruptions: InterruptionIndex
    load_kw: np.ndarray  # int[P], ZERO in regions
    idle_kw: np.ndarray  # int[P], ZERO in regions
    pue: np.ndarray  # int[P], ZERO in regions
    electricity: np.ndarray  # int[P], row
    errors: ErrorPoints
    speed: np.ndarray  # [K, P], throughput at each error point over its median
    deployments: tuple[Deployment, ...]  # what the performance model chose, each once
    groups: Groups | None  # streams that share replicas; None where nothing queues


@dataclass(frozen=True)
class Placement:
    capacity: Array  # [K, P], chips per unit of x
    cost: Array  # [K T, B, P], energy of use, dollars per unit of x


def pair_structure(
    draft: Draft, pools: Pools, streams: tuple[StreamRecord, ...], demand: DemandIndex
) -> tuple[PairIndex, tuple[PairRecord, ...], tuple[Excuse, ...]]:
    case, table = draft.case, draft.table
    eligibility = Eligibility(case)
    pairs: list[PairRecord] = []
    excuses: list[Excuse] = []
    chosen = Chosen(case)
    for stream in streams:
        workload = case.workloads[stream.workload]
        for g, candidate in enumerate(pools.candidates):
            try:
                verdict = eligibility.judge(workload, stream.origin, candidate)
            except (MissingRoundTrip, NotModelled) as missing:
                raise BuildError(str(missing)) from missing
            excuses += verdict.excuses
            name = f"{stream.name} on {candidate.name}"
            if verdict.deployment is not None:
                row, at = chosen.add(workload, candidate.chip.name, g, verdict.deployment)
                pairs.append(PairRecord(len(pairs), name, stream.index, g, row, at))
            elif verdict.row is not None:
                chosen.skip()
                pairs.append(PairRecord(len(pairs), name, stream.index, g, case.throughput[verdict.row]))
    stream_of = np.array([p.stream for p in pairs], int)
    places = [pools.candidates[p.pool].place for p in pairs]
    chips = [pools.candidates[p.pool].chip for p in pairs]
    scale = {"serving": 1.0, "batch": 1 / 3600, "training": 1e6 / 3600}
    deployment = np.array([p.deployment for p in pairs], int)
    rows = table.all(p.throughput.rate if p.deployment < 0 else None for p in pairs)
    interruptions = interruption_structure(case, table, pools, streams, pairs, chosen.deployments)
    errors = ErrorPoints.of(case, draft.calendar.periods)
    log_std = np.array([chosen.deployments[d].log_std if d >= 0 else 0.0 for d in deployment.tolist()])
    index = PairIndex(
        stream=stream_of,
        pool=np.array([p.pool for p in pairs], int),
        pools=len(pools),
        rate=RateIndex.of(rows, deployment, chosen.deployments, case.performance.quantile, table),
        tokens=demand.tokens[stream_of],
        scale=np.array([scale[streams[p.stream].kind] for p in pairs], float),
        interruptions=interruptions,
        load_kw=table.all(c.load_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        idle_kw=table.all(c.idle_power_kw_per_chip if p.is_site else None for c, p in zip(chips, places, strict=True)),
        pue=table.all(place.pue for place in places),
        electricity=np.array([electricity_row(draft, place.name) for place in places], int),
        errors=errors,
        speed=errors.speed(log_std),
        deployments=tuple(chosen.deployments),
        groups=with_lost_time(chosen.groups(errors), interruptions.goodput(extended(table.parameters().values, np), np)),
    )
    return index, tuple(pairs), tuple(excuses)


def placement_values(index: PairIndex, numbers: Numbers) -> Placement:
    xp, e = numbers.xp, numbers.e
    capacity = index.scale * e[index.tokens] / index.rate.values(numbers) / index.interruptions.goodput(e, xp) / index.speed  # [K, P]
    kw = (e[index.load_kw] - e[index.idle_kw]) * e[index.pue]  # 0 in regions
    usd_per_hour = (capacity * kw / 1000)[:, None] * xp.swapaxes(numbers.rows[index.electricity], 0, 1)  # [K, T, P]
    cost = numbers.block_hours[:, :, None] * usd_per_hour[:, :, None]  # [K, T, B, P]
    return Placement(capacity, cost.reshape(len(index.errors.of_template), *cost.shape[2:]))


def chips_needed(
    index: PairIndex, demand: DemandIndex, served: Array, deferrable: Array, runs: Array, capacity: Array, numbers: Numbers
) -> Array:
    """[S, T, G]: the most chips that all eligible demand would need on each pool in any block, movable work all in the shortest block,
    and so, in every period of its window, a whole run; runs [S, T, runs], capacity [K, P] (case reference, section 8)."""
    xp, streams, pools = numbers.xp, demand.streams, index.pools
    per_work = numbers.segment_sum(xp.swapaxes(capacity, 0, 1), index.stream * pools + index.pool, streams * pools)  # [W G, K]
    per_work = xp.moveaxis(per_work.reshape(streams, pools, len(index.speed)), 2, 0)[index.errors.of_scenario]  # [S, W, G]
    need = served @ per_work[:, None, : demand.served]  # [S, T, B, G]
    short = demand.shortest
    moved = xp.concatenate([deferrable, runs], axis=2) @ per_work[:, demand.served :] / numbers.block_hours[:, short, None]  # [S, T, G]
    return xp.maximum(xp.max(need, axis=2), need[:, :, short] + moved)


def electricity_row(draft: Draft, place: str) -> int:
    """The row of a site's electricity price mid-period; the unit row elsewhere (it is multiplied by zero there)."""
    path = draft.case.places[place].electricity_usd_per_mwh
    return UNIT_ROW if path is None else draft.reader.row(path, draft.calendar.mid)
