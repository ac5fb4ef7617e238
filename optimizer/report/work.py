"""What runs where, and what does not run: placement and unserved work."""

from __future__ import annotations

import numpy as np

from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import by_scenario
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.chips_used import chips_per_work
from optimizer.report.frames import Table

SMALLEST = 1e-9
"""Work below this share of the stream's largest is rounding."""

PLACEMENT_COLUMNS = (
    "scenario",
    "period",
    "block",
    "workload",
    "origin",
    "run",
    "chip",
    "place",
    "preemptible",
    "work",
    "unit",
    "chips_used",
)
UNSERVED_COLUMNS = (
    "scenario",
    "probability",
    "period",
    "block",
    "workload",
    "origin",
    "run",
    "amount",
    "unit",
    "share_of_demand",
    "nominal_usd",
    "expected_present_value_usd",
)


def placement_table(structure: Structure, values: Values) -> Table:
    """Work by scenario, period, block, stream and pool: a rate that holds during the block (unit), and the chips it keeps busy."""
    x, streams, pools = values.x, structure.streams, structure.pools
    largest = x.max(axis=(0, 1), initial=0.0)  # [P]
    of_stream = np.zeros(len(streams))
    stream = np.array([p.stream for p in structure.pairs], int)
    np.maximum.at(of_stream, stream, largest)
    n, b, p = np.nonzero(x > SMALLEST * of_stream[stream])
    work = x[n, b, p]
    s, t = np.divmod(n, structure.calendar.periods)
    of_pair = [pools[pair.pool] for pair in structure.pairs]

    def named(values_by_index: list, index: Array) -> Array:
        return np.array(values_by_index, object)[index] if len(values_by_index) else np.array([], object)

    columns = (
        named([scenario.name for scenario in structure.case.scenarios], s),
        named(list(structure.calendar.names), t),
        named([block.name for block in structure.blocks], b),
        named([streams[w].workload for w in stream], p),
        named([streams[w].origin or "" for w in stream], p),
        named([streams[w].run or "" for w in stream], p),
        named([pool.chip for pool in of_pair], p),
        named([pool.place for pool in of_pair], p),
        np.array([pool.preemptible for pool in of_pair], bool)[p],
        work,
        named([streams[w].work_unit for w in stream], p),
        work * chips_per_work(structure, CasePrices.of(structure.case))[s, p] if len(p) else work,
    )
    return Table(PLACEMENT_COLUMNS, dict(zip(PLACEMENT_COLUMNS, columns, strict=True)))


def unserved_table(structure: Structure, values: Values) -> Table:
    """Work that is not served, as a rate during the block, or (movable work; block '') as an amount of the period, or (runs) as an
    amount of the whole window, in its last period."""
    case, prices = structure.case, CasePrices.of(structure.case)
    hours = prices.block_hours
    x, u, ud = (by_scenario(structure, a) for a in (values.x, values.u, values.ud))
    undone = values.link_slack.reshape(len(case.scenarios), structure.run.runs)
    pairs = {w: [p.index for p in structure.pairs if p.stream == w] for w in range(len(structure.streams))}
    parts = []
    for stream in structure.streams:
        workload = case.workloads[stream.workload]
        price = prices.unserved_usd_per_work(workload) * (3600 if stream.kind == "serving" else 1)
        placed = x[..., pairs[stream.index]].sum(axis=-1)  # [S, T, B]
        if stream.run is not None:
            last = structure.link_of_run(stream).periods[-1]
            amount, demand = np.zeros((2, *placed.shape[:2], 1))
            amount[:, last, 0] = undone[:, stream.position]
            demand[:, last, 0] = amount[:, last, 0] + np.einsum("tb,stb->s", hours, placed)
            usd, blocks = amount * price, [""]
        elif stream.movable:
            amount = ud[:, :, None, stream.position]
            demand, usd, blocks = amount + np.einsum("tb,stb->st", hours, placed)[:, :, None], amount * price, [""]
        else:
            amount = u[..., stream.position]
            demand, usd, blocks = amount + placed, amount * hours * price, [block.name for block in structure.blocks]
        s, t, b = np.nonzero(amount > SMALLEST * demand)
        probability = np.array([scenario.weighted_probability for scenario in case.scenarios])[s]
        parts.append(
            (
                np.array([scenario.name for scenario in case.scenarios], object)[s],
                probability,
                np.array(structure.calendar.names, object)[t],
                np.array(blocks, object)[b],
                *(np.full(len(s), text, object) for text in (stream.workload, stream.origin or "", stream.run or "")),
                amount[s, t, b],
                np.full(len(s), stream.demand_unit, object),
                amount[s, t, b] / demand[s, t, b],
                usd[s, t, b],
                probability * prices.discount_mid[t] * usd[s, t, b],
            )
        )
    columns = (np.concatenate(of_streams) for of_streams in zip(*parts, strict=True)) if parts else [()] * len(UNSERVED_COLUMNS)
    return Table(UNSERVED_COLUMNS, dict(zip(UNSERVED_COLUMNS, columns, strict=True)))
