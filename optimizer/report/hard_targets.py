"""After the solve: does everything that was placed keep its latency targets, on hard values and from the numbers alone?

The program only knows pairs that were allowed when it was built. Here every pair that carries work is judged again: network round trips
from the catalog, prefill and time per token of its replica from the serving equations without any smoothing, or the figures of its row.
"""

from __future__ import annotations

import numpy as np

from optimizer.build.structure import Structure
from optimizer.performance.eligibility import Eligibility
from optimizer.performance.setting import inputs_of, run
from optimizer.program.program import Plan as Values

PLACED = 1e-9
"""Work below this share of the stream's largest is rounding."""
ROUNDING = 1e-9


def broken_targets(structure: Structure, values: Values) -> tuple[str, ...]:
    """One sentence per pair that carries work beyond its targets; empty: every target is kept."""
    largest = values.x.max(axis=(0, 1), initial=0.0)
    of_stream = np.zeros(len(structure.streams))
    stream = np.array([p.stream for p in structure.pairs], int)
    np.maximum.at(of_stream, stream, largest)
    network = Eligibility(structure.case)
    said = []
    for index in np.nonzero(largest > PLACED * of_stream[stream])[0]:
        pair = structure.pairs[index]
        record = structure.streams[pair.stream]
        workload = structure.case.workloads[record.workload]
        if workload.kind != "serving":
            continue
        first_ms, tpot_ms = _hard_figures(structure, index)
        if workload.ttft_p99_ms is not None:
            place = structure.case.places[structure.pools[pair.pool].place]
            trips_ms = workload.round_trips_per_request.value * network.round_trip_ms(workload, record.origin, place)
            late = trips_ms + first_ms - workload.ttft_p99_ms.value
            if not late <= ROUNDING * workload.ttft_p99_ms.value:
                said.append(f"{pair.name}: network {trips_ms:.4g} ms + prefill {first_ms:.4g} ms are {late:.3g} ms beyond the TTFT target")
        if workload.tpot_p99_ms is not None:
            late = tpot_ms - workload.tpot_p99_ms.value
            if not late <= ROUNDING * workload.tpot_p99_ms.value:
                said.append(f"{pair.name}: {tpot_ms:.4g} ms per output token are {late:.3g} ms beyond the TPOT target")
    return tuple(said)


def _hard_figures(structure: Structure, index: int) -> tuple[float, float]:
    """(own prefill, time per output token) at the 99th percentile, ms; inf where a row lacks the figure."""
    pair = structure.pairs[index]
    if pair.deployment < 0:
        row = pair.throughput
        return tuple(float("inf") if q is None else q.value for q in (row.ttft_p99_ms, row.tpot_p99_ms))  # type: ignore[return-value]
    chosen = structure.pair_index.deployments[pair.deployment]
    operation = run(inputs_of([chosen.setting]))
    seconds = float(operation.tpot_s[0]) if operation.feasible[0] else float("inf")
    return chosen.own_ms, 1e3 * seconds / structure.case.performance.tpot_mean_over_p99.value
