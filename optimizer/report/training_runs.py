"""Where each run of training goes, and what of its gang, its slices and its one place the plan holds.

The program lets a run be split over places, chips and hours as it likes: gang minimum, whole slices and one place with one chip type are
relaxed there. This table judges the plan afterwards and says of each `held` or `relaxed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.build.records import StreamRecord
from optimizer.build.structure import Structure
from optimizer.performance.training import whole_slices
from optimizer.program.program import Plan as Values
from optimizer.report import figures
from optimizer.report.accounting import by_scenario
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.chips_used import chips_per_work
from optimizer.report.frames import Table, records
from optimizer.spec.resolved import Run

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.report.page import Page

COLUMNS = (
    "scenario",
    "probability",
    "workload",
    "run",
    "first_period",
    "last_period",
    "exaflop",
    "done_exaflop",
    "undone_exaflop",
    "chip",
    "place",
    "largest_share",
    "places_and_chips",
    "peak_chips",
    "least_chips",
    "min_chips",
    "slice_chips",
    "whole_chips",
    "min_chips_held",
    "slices_held",
    "one_place_and_chip",
)
"""chip, place: of the largest share of the work; places_and_chips: how many of them carry some; peak and least chips: busy at a time, over
the blocks in which the run runs; whole_chips: the peaks of all places and chips rounded up to the gang minimum and to whole slices."""

DUST = 1e-4
"""Chips or work below this share of a run's largest are rounding; so is a distance from a whole slice below this share of the slice."""
HELD, RELAXED, NOT_ASKED, IDLE = "held", "relaxed", "not asked", "nothing runs"
MOST_ROWS = 12


def training_runs_table(structure: Structure, values: Values) -> Table:
    """One row per scenario and run, in the order of the scenarios."""
    prices = CasePrices.of(structure.case)
    scenarios = structure.case.scenarios
    free = [stream for stream in structure.streams if stream.run is not None]
    undone = values.link_slack.reshape(len(scenarios), len(free))
    x = by_scenario(structure, values.x)  # [S, T, B, P]
    per_work = chips_per_work(structure, prices)  # [S, P]
    rows = []
    for s, scenario in enumerate(scenarios):
        for stream in free:
            run = next(run for run in structure.case.workloads[stream.workload].runs if run.name == stream.run)
            done, judged = _judge(structure, prices, stream, run, x[s], per_work[s])
            left = float(undone[s, stream.position])
            names = structure.calendar.names
            row = {
                "scenario": scenario.name,
                "probability": scenario.weighted_probability,
                "workload": stream.workload,
                "run": stream.run,
                "first_period": names[run.periods[0]],
                "last_period": names[run.periods[-1]],
                "exaflop": done + left,
                "done_exaflop": done,
                "undone_exaflop": left,
                "min_chips": run.min_chips,
                "slice_chips": run.slice_chips,
                **judged,
            }
            rows.append(tuple(row[column] for column in COLUMNS))
    return Table(COLUMNS, rows)


def _judge(
    structure: Structure, prices: CasePrices, stream: StreamRecord, run: Run, x: Array, per_work: Array
) -> tuple[float, dict[str, object]]:
    """x [T, B, P] of one scenario: (exaFLOP done, the columns that depend on the placement)."""
    pairs = [pair for pair in structure.pairs if pair.stream == stream.index]
    where = list(dict.fromkeys((structure.pools[pair.pool].chip, structure.pools[pair.pool].place) for pair in pairs))
    work, busy = np.zeros(len(where)), np.zeros((*x.shape[:2], len(where)))
    for pair in pairs:
        at = where.index((structure.pools[pair.pool].chip, structure.pools[pair.pool].place))
        work[at] += float((prices.block_hours * x[..., pair.index]).sum())
        busy[..., at] += x[..., pair.index] * per_work[pair.index]
    done, peak = float(work.sum()), float(busy.sum(axis=-1).max(initial=0.0))
    if peak == 0.0:
        nothing = dict.fromkeys(("min_chips_held", "slices_held", "one_place_and_chip"), IDLE)
        numbers = dict.fromkeys(("largest_share", "places_and_chips", "peak_chips", "least_chips", "whole_chips"), 0.0)
        return done, {"chip": "", "place": "", **numbers, **nothing}
    largest = int(np.argmax(work))
    used = busy > DUST * peak  # [T, B, where]
    together = busy.sum(axis=-1)[used.any(axis=-1)]  # while it runs
    least = float(together.min())
    apart = busy[used] / run.slice_chips
    whole = bool(np.all(np.abs(apart - np.round(apart)) <= DUST))
    parts = int((work > DUST * done).sum())
    gang = parts == 1 and least >= run.min_chips * (1 - DUST)
    return done, {
        "chip": where[largest][0],
        "place": where[largest][1],
        "largest_share": work[largest] / done,
        "places_and_chips": parts,
        "peak_chips": peak,
        "least_chips": least,
        "whole_chips": sum(float(whole_slices(p, run.slice_chips, run.min_chips).chips) for p in busy.max(axis=(0, 1)) if p > DUST * peak),
        "min_chips_held": NOT_ASKED if run.min_chips == 0 else HELD if gang else RELAXED,
        "slices_held": NOT_ASKED if run.slice_chips == 1 else HELD if whole else RELAXED,
        "one_place_and_chip": HELD if parts == 1 else RELAXED,
    }


def training_runs_page(table: Table | pd.DataFrame) -> Page:
    """The rows in words, for the page of a plan; empty where the case has no runs."""
    from optimizer.report.page import grid, heading, line

    if table.empty:
        return []
    rows = []
    for row in records(table)[:MOST_ROWS]:
        run = " ".join(part for part in (row["workload"], row["run"], row["scenario"]) if part)
        where = f"{row['chip']} {row['place']} {figures.percent(row['largest_share'])}" if row["chip"] else "nowhere"
        undone = figures.percent(row["undone_exaflop"] / row["exaflop"] if row["exaflop"] else 0.0)
        rows.append(
            [run, where, undone, figures.chips(row["peak_chips"]), row["min_chips_held"], row["slices_held"], row["one_place_and_chip"]]
        )
    more = f", the first {len(rows)} of {len(table)}" if len(table) > len(rows) else ""
    columns = ["run", "most of it on", "undone", "peak chips", "gang", "slices", "one place, chip"]
    note = line("  gang minimum, whole slices and one place with one chip type are not enforced; held or relaxed is judged after the solve")
    return [heading(f"Training runs{more}"), grid(columns, rows, words=2), note]
