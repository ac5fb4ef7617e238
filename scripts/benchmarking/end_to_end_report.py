"""What the records of `end_to_end` say: per problem and size every row beside HiGHS's own run, and whether it is within the bar.

The bar: from the program to the certified answer at most MOST_RATIO times HiGHS's own run on the same program, plus MOST_ADDED_S.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from rich.console import Console
from rich.table import Table

from scripts.benchmarking.end_to_end import PEER
from scripts.benchmarking.report import disagreements, good

MOST_RATIO, MOST_ADDED_S = 1.3, 0.1
NEIGHBOUR = "moved neighbour"
SPENT = ("wall", "cpu")


def rows(records: list[dict]) -> list[dict]:
    """One per problem, size, solver and state. Over the repetitions of a seed medians and minima are taken, over the seeds medians; ratios
    and the bar compare the two sides seed by seed."""
    out = []
    sizes: dict[tuple[str, int], dict[tuple[str, str], dict[int, list[dict]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in [*records, *_neighbours(records)]:
        sizes[record["problem"], record["scenarios"]][record["solver"], record["state"]][record["seed"]].append(record)
    for (problem, scenarios), by_row in sorted(sizes.items()):
        peer = by_row.get((PEER, ""), {})
        for (solver, state), by_seed in by_row.items():
            row = {"problem": problem, "scenarios": scenarios, "solver": solver, "state": state}
            out.append({**row, **_row(by_seed, peer)})
    return out


def _neighbours(records: list[dict]) -> list[dict]:
    """What the processes solved after their program, as rows of their own: from a program in memory to its answer, nothing else."""
    found = []
    for record in records:
        if record.get("neighbour"):
            seconds = {"answer": record["neighbour"]["parts"]["answer"]}
            found.append({**record, **record["neighbour"], "state": NEIGHBOUR, "seconds": seconds, "total": seconds["answer"]})
    return found


def _row(by_seed: dict[int, list[dict]], peer: dict[int, list[dict]]) -> dict:
    everything = [record for found in by_seed.values() for record in found]
    fine = {seed: [record for record in found if good(record)] for seed, found in by_seed.items()}
    fine = {seed: found for seed, found in fine.items() if found}
    row: dict = {"seeds": len(by_seed), "runs": len(everything), "certified": sum(map(len, fine.values()))}
    if row["certified"] < len(everything):
        row["message"] = next(record["message"] for record in everything if not good(record))
    if not fine:
        return row
    kept = [record for found in fine.values() for record in found]
    row |= {name: sorted({record[name] for record in kept}) for name in ("engine", "engine_reason")}
    row |= {"iterations": median(record["iterations"] for record in kept), "gap_certified": max(record["gap_certified"] for record in kept)}
    row["peak_bytes"] = max(record["peak_bytes"] for record in kept)
    for kind in SPENT:
        for name, of in (("before", before), ("answer", answer), ("report", report), ("total", total)):
            values = {seed: [of(record, kind) for record in found] for seed, found in fine.items()}
            row[f"{name}_{kind}_s"] = median(median(found) for found in values.values())
            row[f"{name}_{kind}_least_s"] = median(min(found) for found in values.values())
        row[f"parts_{kind}_s"] = _medians([{name: spent[kind] for name, spent in parts(record).items()} for record in kept])
    return {**row, **_beside(fine, peer)}


def _medians(spent: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for entry in spent for name in entry)
    return {name: median(entry[name] for entry in spent if name in entry) for name in names}


def _beside(fine: dict[int, list[dict]], peer: dict[int, list[dict]]) -> dict:
    """Ratios to HiGHS's own run, of wall and of processor seconds, and at how many seeds the bar is kept; nothing without the peer."""
    found: dict = {}
    for kind in SPENT:
        pairs = [
            ([answer(record, kind) for record in fine[seed]], [answer(record, kind) for record in peer[seed] if good(record)])
            for seed in fine
            if any(map(good, peer.get(seed, [])))
        ]
        if pairs:
            found[f"ratio_{kind}"] = median(median(ours) / median(theirs) for ours, theirs in pairs)
            found[f"ratio_{kind}_least"] = median(min(ours) / min(theirs) for ours, theirs in pairs)
            found[f"within_{kind}"] = sum(median(ours) <= MOST_RATIO * median(theirs) + MOST_ADDED_S for ours, theirs in pairs)
            found["compared"] = len(pairs)
    return found


def before(record: dict, kind: str) -> float:
    """Start and imports, and building the program."""
    return sum(record["seconds"][name][kind] for name in ("start", "build") if name in record["seconds"])


def answer(record: dict, kind: str) -> float:
    """From the program to the certified answer; of the peer HiGHS's own run alone."""
    return record["seconds"]["run" if record["solver"] == PEER else "answer"][kind]


def report(record: dict, kind: str) -> float:
    """Tables and page, where the row writes them."""
    return record["seconds"].get("report", {}).get(kind, 0.0)


def total(record: dict, kind: str) -> float:
    """From the start of the process to the certified answer, of the peer to its values and row duals; of a neighbour its answer alone. The
    record's own `total` goes on to the end of the process."""
    return sum(spent[kind] for name, spent in record["seconds"].items() if name not in ("report", "certify"))


def parts(record: dict) -> dict[str, dict[str, float]]:
    """What the answer consists of: import, form, pass and run of the simplex; of the peer its phases."""
    if record["solver"] == PEER:
        return {name: spent for name, spent in record["seconds"].items() if name not in ("start", "build")}
    return record["parts"]


def summary(records: list[dict]) -> dict:
    """For the JSON file; `medians` are what the plot needs."""
    found = rows(records)
    medians = [
        {"problem": row["problem"], "scenarios": row["scenarios"], "solver": name_of(row), "seconds": row["answer_wall_s"]}
        for row in found
        if "answer_wall_s" in row
    ]
    bar = {"most_ratio": MOST_RATIO, "most_added_s": MOST_ADDED_S}
    return {"rows": found, "bar": bar, "medians": medians, "disagreements": disagreements(records)}


def name_of(row: dict) -> str:
    """`ours_auto, cold`; the peer has no state."""
    return f"{row['solver']}, {row['state']}" if row["state"] else row["solver"]


def show(told: dict, console: Console | None = None) -> None:
    """One table per problem and size."""
    console = console or Console(width=200)
    for problem, scenarios in dict.fromkeys((row["problem"], row["scenarios"]) for row in told["rows"]):
        size = f"{scenarios} scenario{'s' * (scenarios != 1)}" if scenarios else "capacity plan"
        table = Table(title=f"{problem}, {size}: wall seconds, median (least)", title_justify="left")
        for name in ("row", "engine", "certified"):
            table.add_column(name, no_wrap=True)
        right = "start+build", "answer", "processor", "report", "total", "iterations", "gap", "MiB", "ratio", "of processor"
        for name in right:
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("within", "by processor"):
            table.add_column(name)
        for row in told["rows"]:
            if (row["problem"], row["scenarios"]) == (problem, scenarios):
                table.add_row(*_cells(row))
        console.print(table)
    for row in told["rows"]:
        if "message" in row:
            console.print(f"{row['problem']}/{row['scenarios']}, {name_of(row)}: {row['message']}")
    console.print(
        f"answer: from the program to the certified answer, processor: the same in processor seconds; of {PEER} HiGHS's own run alone, to "
        "which ratios refer. total: from the start of the process to the answer."
    )
    console.print(f"within: answer <= {MOST_RATIO:g} x HiGHS's own run + {MOST_ADDED_S:g} s.")


def _cells(row: dict) -> list[str]:
    lead = [name_of(row), ", ".join(row.get("engine", ())), f"{row['certified']} of {row['runs']}"]
    if "answer_wall_s" not in row:
        return lead
    before, report, total = (f"{row[f'{name}_wall_s']:.2f}" if row[f"{name}_wall_s"] else "" for name in ("before", "report", "total"))
    answer, processor = (f"{row[f'answer_{kind}_s']:.3f} ({row[f'answer_{kind}_least_s']:.3f})" for kind in SPENT)
    sizes = [f"{row['iterations']:g}", f"{row['gap_certified']:.1e}", f"{row['peak_bytes'] / 2**20:.0f}"]
    cells = [*lead, before, answer, processor, report, total, *sizes]
    if "compared" not in row or row["solver"] == PEER:
        return cells
    ratios = [f"{row[f'ratio_{kind}']:.2f} ({row[f'ratio_{kind}_least']:.2f})" for kind in SPENT]
    return [*cells, *ratios, *(_within(row[f"within_{kind}"], row["compared"]) for kind in SPENT)]


def _within(kept: int, compared: int) -> str:
    """Yes only where it is so at every seed."""
    return "yes" if kept == compared else f"no: {kept} of {compared} seeds" if kept else "no"
