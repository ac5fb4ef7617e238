"""Streams: what must be served, in which unit, at what price if it is not (case reference, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import ONE
from optimizer.build.paths import UNIT_ROW, product
from optimizer.build.records import StreamRecord
from optimizer.build.scenario_factors import demand_factors, level_instants
from optimizer.spec.resolved import Workload

WEEK = 168
SATURDAY = 120  # first hour of the weekend


@dataclass(frozen=True)
class DemandIndex:
    """W streams: the served ones first (a row per block), then the movable ones (a row per period), then the runs of training (a row
    over the periods of their window: `optimizer.build.runs`), each in the order of the case."""

    served: int
    deferrable: int
    workload: np.ndarray  # int[W], index into the case's workloads
    origin: np.ndarray  # int[W], index into the curves; the last curve is flat
    share: np.ndarray  # int[W], position of the origin's share, ONE without origins
    level: np.ndarray  # int[workloads], row of the demand path, UNIT_ROW where runs stand in its place
    factors: np.ndarray  # int[S, workloads, M], rows of the scenario's multipliers
    hourly: np.ndarray  # bool[W], demand of the period is spread over its hours: batch and training that may not move
    price: np.ndarray  # int[W], position of the price of unserved work
    tokens: np.ndarray  # int[W], position of output tokens, ONE for training
    price_scale: np.ndarray  # [W], dollars per unit of work and per (price x tokens)
    curve: np.ndarray  # int[O, 24], positions of local_hours
    weekend: np.ndarray  # int[O], position of weekend_factor
    local: np.ndarray  # int[O, 168], the local hour of the week at each UTC hour
    cells: np.ndarray  # [B, 168], 1 where the UTC hour belongs to the block
    shortest: int  # the block with the fewest hours (the first of them)

    @property
    def streams(self) -> int:
        return len(self.workload)


@dataclass(frozen=True)
class Demand:
    served: Array  # [S, T, B, served], unit of x
    deferrable: Array  # [S, T, deferrable], requests or exaFLOP of the period
    unserved_cost: Array  # [T, B, served]
    unserved_cost_deferrable: Array  # [T, deferrable]


def demand_structure(draft: Draft) -> tuple[DemandIndex, tuple[StreamRecord, ...]]:
    case, table = draft.case, draft.table
    workloads = tuple(case.workloads.values())
    streams = [
        (i, w, o, share, run)
        for i, w in enumerate(workloads)
        for o, share in (w.origins or ((None, None),))
        for run in ([r.name for r in w.runs] or [None])
    ]
    streams.sort(key=lambda stream: (stream[4] is not None, stream[1].movable))  # stable: served first, runs last
    served = sum(not w.movable for _, w, _, _, _ in streams)
    deferrable = sum(w.movable and run is None for _, w, _, _, run in streams)
    curved = [o for o in case.origins.values() if o.profile is not None]
    curve_of = {o.name: index for index, o in enumerate(curved)}
    index = DemandIndex(
        served=served,
        deferrable=deferrable,
        workload=np.array([i for i, *_ in streams], int),
        origin=np.array([curve_of.get(o or "", len(curved)) for _, _, o, _, _ in streams], int),
        share=table.all((share for _, _, _, share, _ in streams), otherwise=ONE),
        level=np.array([_level_row(draft, w) for w in workloads], int),
        factors=demand_factors(draft, workloads),
        hourly=np.array([w.kind != "serving" and not w.movable for _, w, _, _, _ in streams], bool),
        price=table.all(w.unserved_price for _, w, _, _, _ in streams),
        tokens=table.all((w.output_tokens if w.kind != "training" else None for _, w, _, _, _ in streams), otherwise=ONE),
        price_scale=np.array([{"serving": 3600 / 1e6, "batch": 1 / 1e6, "training": 1.0}[w.kind] for _, w, _, _, _ in streams]),
        curve=np.array([table.all(o.profile.local_hours) for o in curved if o.profile], int).reshape(len(curved), 24),
        weekend=table.all(o.profile.weekend_factor for o in curved if o.profile),
        local=np.array([(np.arange(WEEK) + o.utc_offset_hours) % WEEK for o in curved], int).reshape(len(curved), WEEK),
        cells=np.array([np.isin(np.arange(WEEK), block.cells) for block in case.load_blocks], float),
        shortest=int(np.argmin(draft.cells)),
    )
    starts = (0, served, served + deferrable)
    records = tuple(_record(i, i - max(start for start in starts if start <= i), w, o, run) for i, (_, w, o, _, run) in enumerate(streams))
    return index, records


def _level_row(draft: Draft, w: Workload) -> int:
    return UNIT_ROW if w.demand is None else draft.reader.row(w.demand, level_instants(draft.calendar, w))


def demand_values(index: DemandIndex, numbers: Numbers) -> Demand:
    xp, e, served, last = numbers.xp, numbers.e, index.served, index.served + index.deferrable
    level = numbers.rows[index.level] * product(numbers.rows, index.factors, xp)  # [S, workloads, T]
    level = level[:, index.workload] * e[index.share][:, None]  # [S, W, T]
    level = xp.swapaxes(level, 1, 2)  # [S, T, W]
    mean = profile_mean(index, numbers)  # [O + 1, B]
    spread = np.where(index.hourly, numbers.hours[:, None], 1.0)[:, :served]  # [T, served]
    per_hour = level[:, :, :served] / spread
    price = e[index.price] * e[index.tokens] * index.price_scale  # [W], dollars per unit of work (per hour for a served stream)
    return Demand(
        served=per_hour[:, :, None, :] * xp.swapaxes(mean[index.origin[:served]], 0, 1),
        deferrable=level[:, :, served:last],
        unserved_cost=numbers.block_hours[:, :, None] * price[:served],
        unserved_cost_deferrable=xp.ones((len(numbers.hours), 1)) * price[served:last],
    )


def profile_mean(index: DemandIndex, numbers: Numbers) -> Array:
    """[O + 1, B]: the mean of each origin's curve over a block, divided by its mean over the week; ones in the last row."""
    xp, e = numbers.xp, numbers.e
    hours = e[index.curve]  # [O, 24]
    week = xp.concatenate([xp.tile(hours, (1, 5)), xp.tile(hours, (1, 2)) * e[index.weekend][:, None]], axis=1)  # [O, 168] local
    utc = week[np.arange(len(index.local))[:, None], index.local]
    mean = (utc @ index.cells.T) / np.sum(index.cells, axis=1) / xp.mean(week, axis=1, keepdims=True)
    return xp.concatenate([mean, np.ones((1, len(index.cells)))])


def _record(index: int, position: int, w: Workload, origin: str | None, run: str | None) -> StreamRecord:
    work = {"serving": "requests/s", "batch": "requests/h", "training": "exaFLOP/h"}[w.kind]
    total = {"serving": "requests/s", "batch": "requests", "training": "exaFLOP"}[w.kind]
    name = " ".join(part for part in (w.name, origin, run) if part is not None)
    return StreamRecord(index, name, w.name, origin, w.kind, w.model, w.movable, position, work, total if w.movable else work, run)
