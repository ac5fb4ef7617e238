"""How work runs: the performance model's choice for each workload and chip, and the replicas that each pool keeps for it."""

from __future__ import annotations

import numpy as np

from optimizer.build.structure import Structure
from optimizer.performance.replicas import ReplicaLoad, spare_chips
from optimizer.program.program import Plan as Values
from optimizer.report.frames import Table

DEPLOYMENT_COLUMNS = (
    "workload", "chip", "precision", "replica_chips", "pipeline_stages", "expert_parallel", "batch", "tpot_p99_ms",
    "prefill_p99_ms", "step_ms", "output_tokens_per_second_per_chip", "log_std", "binds", "pinned_by", "pinned_weight",
)  # fmt: skip
REPLICA_COLUMNS = (
    "scenario", "period", "block", "workload", "chip", "place", "replica_chips", "requests_per_second", "slack_ms", "chips_busy",
    "chips_spare", "utilisation",
)  # fmt: skip
SMALLEST = 1e-6
"""Load below this share of the largest of all groups is rounding."""


def deployments_table(structure: Structure) -> Table:
    """One row per workload and chip and layout that the performance model chose; empty where throughput comes from rows."""
    found = {p.deployment: (structure.streams[p.stream].workload, p.throughput) for p in structure.pairs if p.deployment >= 0}
    rows = []
    for at, chosen in enumerate(structure.pair_index.deployments):
        workload, row = found[at]
        setting, pin = chosen.setting, chosen.pin
        rows.append((
            workload, row.chip, setting.precision, setting.chips, setting.pipeline_stages, bool(setting.data_parallel_attention),
            chosen.batch, chosen.tpot_p99_ms, chosen.prefill_ms, chosen.step_ms, row.rate.value, chosen.log_std, chosen.binds,
            "" if pin is None else pin.row.rate.key.rpartition(".")[0], 0.0 if pin is None else pin.weight,
        ))  # fmt: skip
    return Table(DEPLOYMENT_COLUMNS, rows)


def replicas_table(structure: Structure, values: Values) -> Table:
    """Busy and spare chips of every group of streams that shares replicas, in each period in the node and
    block where most of them are busy."""
    groups = structure.pair_index.groups
    if groups is None:
        return Table(REPLICA_COLUMNS, [])
    periods, blocks = structure.calendar.periods, len(structure.blocks)
    rate = groups.rates(values.x).reshape(-1, periods, blocks, groups.size)  # [S, T, B, Q]
    load, point = groups.loads, structure.pair_index.errors.of_scenario  # [K, Q], [S]
    busy_of = rate * (load.busy_s * load.chips)[point][:, None, None]
    busy_of, rate = (np.moveaxis(a, 1, 0).reshape(periods, -1, groups.size) for a in (busy_of, rate))  # [T, S * B, Q]
    at, largest = busy_of.argmax(axis=1), busy_of.max(axis=1)
    t, q = np.nonzero(largest > SMALLEST * largest.max(initial=0.0))
    s, b = np.divmod(at[t, q], blocks)
    busy, asked = largest[t, q], rate[t, at[t, q], q]
    spare = spare_chips(asked, ReplicaLoad(*(leaf[point[s], q] for leaf in load)))
    pools = [structure.pools[g] for g in groups.pool]
    first = {int(g): structure.pairs[i] for i, g in reversed(list(enumerate(groups.pair.tolist()))) if g >= 0}
    workload = [structure.streams[first[i].stream].workload for i in range(groups.size)]

    def of(names: list, at: np.ndarray) -> list:
        return [names[i] for i in at.tolist()]

    return Table(
        REPLICA_COLUMNS,
        {
            "scenario": of([x.name for x in structure.case.scenarios], s),
            "period": of(list(structure.calendar.names), t),
            "block": of([x.name for x in structure.blocks], b),
            "workload": of(workload, q),
            "chip": of([pool.chip for pool in pools], q),
            "place": of([pool.place for pool in pools], q),
            "replica_chips": np.array([structure.pair_index.deployments[first[i].deployment].setting.chips for i in range(groups.size)])[q],
            "requests_per_second": asked,
            "slack_ms": 1e3 * load.slack_s[point[s], q],
            "chips_busy": busy,
            "chips_spare": spare,
            "utilisation": busy / (busy + spare),
        },
    )
