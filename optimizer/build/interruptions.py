"""Goodput of the pairs on interrupted pools: the share of the paid time on spot chips that is progress (case reference, section 4).

What interrupts a pool stands in its spot offer; formulas are those of `optimizer.performance.spot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from optimizer.build.numbers import Array
from optimizer.build.parameters import ONE, BuildError, ParameterTable, extended
from optimizer.build.pools import Pools
from optimizer.build.rates import SettingIndex
from optimizer.build.records import PairRecord, StreamRecord
from optimizer.performance.deployment import Deployment
from optimizer.performance.replicas import Groups
from optimizer.performance.spot import checkpoint_interval_s, inference_goodput, training_goodput
from optimizer.spec.resolved import Case, Interruptions, Quantity

LEAST_GOODPUT = 1e-3
"""Below it a pool does nothing but restart, and the program's coefficients lose their scale: the numbers are taken for a mistake."""
SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True)
class CheckpointedIndex:
    """Pairs of training; int[J] positions in the parameter vector."""

    per_hour: np.ndarray
    checkpoint_minutes: np.ndarray
    interval_minutes: np.ndarray  # ONE where the best interval is taken
    restore_minutes: np.ndarray

    def goodput(self, e: Array, xp: ModuleType) -> Array:
        """[J]; 1 at a rate of 0, where there is nothing to write checkpoints for, with a derivative of 0 (the limit is infinite)."""
        happens = e[self.per_hour] > 0
        rate = xp.where(happens, e[self.per_hour], 1.0)
        checkpoint, interval, restore = (
            SECONDS_PER_MINUTE * e[at] for at in (self.checkpoint_minutes, self.interval_minutes, self.restore_minutes)
        )
        interval = xp.where(self.interval_minutes == ONE, checkpoint_interval_s(rate, checkpoint, xp), interval)
        return xp.where(happens, training_goodput(rate, checkpoint, restore, interval, xp), 1.0)


@dataclass(frozen=True)
class RequestIndex:
    """Pairs of serving and batch; int[I] positions in the parameter vector, ZERO where a number is absent."""

    per_hour: np.ndarray
    restore_minutes: np.ndarray
    output_tokens: np.ndarray
    tpot_p99_ms: np.ndarray  # of a throughput row
    setting: np.ndarray  # the performance model's choice, the last (no setting) where there is none
    settings: SettingIndex  # [D]

    def goodput(self, e: Array, xp: ModuleType) -> Array:
        """[I]; 1 at a rate of 0."""
        tpot_s = e[self.tpot_p99_ms] / 1000
        if len(self.settings.chosen["chips"]):
            modelled = self.settings.operation(e, xp).tpot_s
            tpot_s = tpot_s + xp.concatenate([modelled, np.zeros(1)])[self.setting]
        residence_s = e[self.output_tokens] * tpot_s
        return inference_goodput(e[self.per_hour], residence_s, SECONDS_PER_MINUTE * e[self.restore_minutes], xp)


@dataclass(frozen=True)
class InterruptionIndex:
    """P pairs, of which some run on interrupted pools."""

    of_pair: np.ndarray  # int[P], into training, then requests, then 1
    training: CheckpointedIndex
    requests: RequestIndex

    def goodput(self, e: Array, xp: ModuleType) -> Array:
        """[P], in (0, 1]; 1 where nothing interrupts. `e` is the extended parameter vector."""
        if not len(self.training.per_hour) and not len(self.requests.per_hour):
            return np.ones(len(self.of_pair))
        return xp.concatenate([self.training.goodput(e, xp), self.requests.goodput(e, xp), np.ones(1)])[self.of_pair]


def interruption_structure(
    case: Case,
    table: ParameterTable,
    pools: Pools,
    streams: tuple[StreamRecord, ...],
    pairs: Sequence[PairRecord],
    deployments: Sequence[Deployment],
) -> InterruptionIndex:
    """Raises BuildError: less than LEAST_GOODPUT of a pair's paid time would be progress."""
    cause = {(o.chip, o.place): (o.name, o.interruptions) for o in case.offers.values() if o.preemptible and o.interruptions is not None}
    found: list[tuple[PairRecord, str, Interruptions]] = []
    for pair in pairs:
        pool = pools.candidates[pair.pool]
        if pool.preemptible and (pool.chip.name, pool.place.name) in cause:
            found.append((pair, *cause[pool.chip.name, pool.place.name]))
    training = [(pair, name, what) for pair, name, what in found if streams[pair.stream].kind == "training"]
    requests = [(pair, name, what) for pair, name, what in found if streams[pair.stream].kind != "training"]
    used = sorted({pair.deployment for pair, _, _ in requests if pair.deployment >= 0})
    of_pair = np.full(len(pairs), len(found))
    of_pair[[pair.index for pair, _, _ in (*training, *requests)]] = np.arange(len(found))

    def tpot(pair: PairRecord) -> Quantity | None:
        return pair.throughput.tpot_p99_ms if pair.deployment < 0 else None

    index = InterruptionIndex(
        of_pair,
        CheckpointedIndex(
            per_hour=table.all(what.per_hour for _, _, what in training),
            checkpoint_minutes=table.all(what.checkpoint_minutes for _, _, what in training),
            interval_minutes=table.all((what.checkpoint_interval_minutes for _, _, what in training), otherwise=ONE),
            restore_minutes=table.all(what.restore_minutes for _, _, what in training),
        ),
        RequestIndex(
            per_hour=table.all(what.per_hour for _, _, what in requests),
            restore_minutes=table.all(what.restore_minutes for _, _, what in requests),
            output_tokens=table.all(case.workloads[streams[pair.stream].workload].output_tokens for pair, _, _ in requests),
            tpot_p99_ms=table.all(tpot(pair) for pair, _, _ in requests),
            setting=np.array([used.index(p.deployment) if p.deployment >= 0 else len(used) for p, _, _ in requests], int),
            settings=SettingIndex.of([deployments[d].setting for d in used], table),
        ),
    )
    _check(index, table, found, streams)
    return index


def _check(
    index: InterruptionIndex, table: ParameterTable, found: Iterable[tuple[PairRecord, str, Interruptions]], streams: Sequence[StreamRecord]
) -> None:
    goodput = index.goodput(extended(table.parameters().values, np), np)
    for pair, offer, _ in found:
        if not goodput[pair.index] >= LEAST_GOODPUT:
            raise BuildError(
                f"offers.{offer}.interruptions: of the paid time {goodput[pair.index]:.2g} is progress of {streams[pair.stream].name}, "
                f"less than {LEAST_GOODPUT:g}; lower per_hour or restore_minutes, or set preemptible: false for the workload"
            )


def with_lost_time(groups: Groups | None, goodput: np.ndarray) -> Groups | None:
    """Replicas count as many chips as are paid so that one of them makes progress, spare ones too; goodput [P].

    The pairs of a group have one workload, pool and deployment, and so one goodput.
    """
    if groups is None:
        return None
    kept = np.ones(groups.size)
    member = groups.pair >= 0
    kept[groups.pair[member]] = goodput[member]
    return replace(groups, load=groups.load._replace(chips=groups.load.chips / kept))
