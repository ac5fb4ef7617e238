"""Training runs with a window: work that may be spread over several periods (case reference, section 4).

A run is a free stream: no demand row, but one linking row per scenario,

    sum over the periods of its window, blocks and pairs of  block_hours * x  +  e  =  exaFLOP of the run,

whose slack e is the work that stays undone at the price of unserved work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.build.demand import DemandIndex
from optimizer.build.draft import Draft
from optimizer.build.numbers import Array, Numbers
from optimizer.build.paths import product
from optimizer.build.placement import PairIndex
from optimizer.build.records import LinkRecord, StreamRecord


@dataclass(frozen=True)
class RunIndex:
    """K runs in the order of the free streams; rows R = S * K of the program, by scenario, then run; J entries of their placements."""

    exaflop: np.ndarray  # int[K], position of the amount
    factors: np.ndarray  # int[S, K, M], rows of the scenario's demand multipliers
    price: np.ndarray  # int[K], position of the price of undone work
    inside: np.ndarray  # bool[T, K], periods of the window
    free_pair: np.ndarray  # int[F], the pairs of free streams
    run_of_pair: np.ndarray  # int[F], their run
    scenario: np.ndarray  # int[R]
    entry: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # (row, node, block, pair), int[J] each
    period: np.ndarray  # int[J], the period of each entry

    @property
    def runs(self) -> int:
        return len(self.exaflop)


@dataclass(frozen=True)
class RunRows:
    """Right-hand sides, slack and coefficients of the linking rows."""

    work: Array  # [R], exaFLOP
    slack_cost: Array  # [R], dollars of present value per exaFLOP, weighted by probability
    hours: Array  # [J], coefficient of x (exaFLOP per hour)


def run_structure(
    draft: Draft, streams: tuple[StreamRecord, ...], demand: DemandIndex, pairs: PairIndex
) -> tuple[RunIndex, tuple[LinkRecord, ...]]:
    case, periods, blocks = draft.case, draft.calendar.periods, len(draft.cells)
    free = [stream for stream in streams if stream.run is not None]
    runs = [next(run for run in case.workloads[stream.workload].runs if run.name == stream.run) for stream in free]
    inside = np.zeros((periods, len(runs)), bool)
    for k, run in enumerate(runs):
        inside[list(run.periods), k] = True
    first = demand.streams - len(runs)
    free_pair = np.nonzero(pairs.stream >= first)[0]
    run_of_pair = pairs.stream[free_pair] - first
    pair, period = np.nonzero(inside[:, run_of_pair].T)  # entries of one scenario and one block, by pair
    scenarios = len(case.scenarios)
    shape = (scenarios, len(pair), blocks)
    s, at, block = (axis.ravel() for axis in np.indices(shape))
    index = RunIndex(
        exaflop=draft.table.all(run.exaflop for run in runs),
        factors=demand.factors[:, demand.workload[first:]],
        price=demand.price[first:],
        inside=inside,
        free_pair=free_pair,
        run_of_pair=run_of_pair,
        scenario=np.repeat(np.arange(scenarios), len(runs)),
        entry=(s * len(runs) + run_of_pair[pair[at]], s * periods + period[at], block, free_pair[pair[at]]),
        period=period[at],
    )
    records = tuple(
        LinkRecord(i * len(runs) + k, f"{stream.name} [{scenario.name}]", scenario.name, i, stream.index, run.periods, (run.exaflop.key,))
        for i, scenario in enumerate(case.scenarios)
        for k, (stream, run) in enumerate(zip(free, runs, strict=True))
    )
    return index, records


def run_work(index: RunIndex, numbers: Numbers) -> Array:
    """[S, K], exaFLOP of each run: its amount times the scenario's multipliers on the first day of its first period."""
    at_start = np.argmax(index.inside, axis=0)  # [K]
    multiplier = product(numbers.rows, index.factors, numbers.xp)[:, np.arange(index.runs), at_start]
    return numbers.e[index.exaflop] * multiplier


def run_rows(index: RunIndex, work: Array, probability: Array, numbers: Numbers) -> RunRows:
    """work [S, K] of `run_work`; probability [S]."""
    xp, periods = numbers.xp, index.inside.shape[0]
    last = periods - 1 - np.argmax(index.inside[::-1], axis=0)  # [K]
    price = probability[:, None] * (numbers.mid[last] * numbers.e[index.price])
    return RunRows(work.reshape(-1), price.reshape(-1), xp.asarray(numbers.block_hours[index.period, index.entry[2]]))


def placement_upper(index: RunIndex, work: Array, pairs: int, numbers: Numbers) -> Array:
    """[T, B, P]: a run's pair could do all of the run (the largest over scenarios) in one block of a period of its window, and nothing
    outside; infinite for streams whose demand row bounds them."""
    xp = numbers.xp
    upper = xp.full((*numbers.block_hours.shape, pairs), np.inf)
    if not index.runs:
        return upper
    most = xp.where(index.inside, xp.max(work, axis=0), 0.0)[:, index.run_of_pair]  # [T, F]
    free = most[:, None, :] / numbers.block_hours[:, :, None]
    return xp.concatenate([upper[:, :, : pairs - len(index.free_pair)], free], axis=2)
