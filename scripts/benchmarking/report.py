"""What the records say together: who is how much faster at the same certified gap, and how time grows with the number of scenarios."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

from scripts.benchmarking.solvers import HIGHS, OURS

AGREEMENT = 1e-12  # relative: the certificate's own tolerance for rows
GROWTH_FROM = 20  # scenarios: below, fixed costs dominate


def seconds_of(record: dict) -> float:
    """What a user waits: the second run where the solver compiles, else the first; the model's statement is left out."""
    return (record.get("again") or record["seconds"])["total"]


def good(record: dict) -> bool:
    """Certified at the gap that was asked for."""
    return record["status"] == "certified"


def grouped(records: list[dict]) -> dict[tuple[str, int], dict[str, dict[int, dict]]]:
    """(problem, scenarios) -> solver -> seed -> record."""
    out: dict[tuple[str, int], dict[str, dict[int, dict]]] = {}
    for record in records:
        by_solver = out.setdefault((record["problem"], record["scenarios"]), {})
        by_solver.setdefault(record["solver"], {})[record["seed"]] = record
    return out


def yardstick(by_solver: dict[str, dict[int, dict]], seed: int) -> tuple[float, bool, dict] | None:
    """(seconds, at least, record) of the fastest HiGHS variant of a seed; `at least` where all that ran reached their limit."""
    ran = [by_solver[name][seed] for name in HIGHS if seed in by_solver.get(name, {})]
    return least(ran)


def least(records: list[dict]) -> tuple[float, bool, dict] | None:
    """(seconds, at least, record) of the fastest certified record; the longest limit where none is and one ran out of time."""
    if found := [(seconds_of(record), False, record) for record in records if good(record)]:
        return min(found, key=lambda entry: entry[0])
    stopped = [(float(record["limit_s"]), True, record) for record in records if record["status"] == "timeout"]
    return max(stopped, key=lambda entry: entry[0]) if stopped else None


def ratios(records: list[dict], ours: str) -> list[dict]:
    """For every problem and size: median over seeds of the seconds of the fastest HiGHS variant, and of every other solver, over ours.

    `first` counts our compilation too. A solver that reached its limit counts with the limit, and `at_least` says so.
    """
    out = []
    for (problem, scenarios), by_solver in sorted(grouped(records).items()):
        mine = {seed: record for seed, record in by_solver.get(ours, {}).items() if good(record)}
        rivals = {"fastest_highs": lambda seed, b=by_solver: yardstick(b, seed)}
        for name in by_solver:
            if name != ours:
                rivals[name] = lambda seed, b=by_solver, n=name: least([b[n][seed]] if seed in b[n] else [])
        for rival, time_of in rivals.items():
            pairs = [(found, mine[seed]) for seed in sorted(mine) if (found := time_of(seed)) is not None]
            if pairs:
                out.append(
                    {
                        "problem": problem,
                        "scenarios": scenarios,
                        "ours": ours,
                        "rival": rival,
                        "seeds": len(pairs),
                        "ratio": median(found[0] / seconds_of(record) for found, record in pairs),
                        "ratio_least": min(found[0] / seconds_of(record) for found, record in pairs),
                        "ratio_first": median(found[0] / record["seconds"]["total"] for found, record in pairs),
                        "ratio_cpu": _ratio_of_cpu(pairs),
                        "gap_ours": max(record["gap_relative"] for _, record in pairs),
                        "gap_rival": max(found[2]["gap_relative"] for found, _ in pairs),
                        "at_least": any(found[1] for found, _ in pairs),
                        "rival_ran": sorted({found[2]["solver"] for found, _ in pairs}),
                    }
                )
    return out


def _cpu(record: dict) -> float | None:
    """Processor seconds of the run that `seconds_of` times."""
    return (record.get("again") or record["seconds"]).get("cpu")


def _ratio_of_cpu(pairs: list[tuple[tuple[float, bool, dict], dict]]) -> float | None:
    """Median over seeds of the rival's processor seconds over ours; None where one was not counted or ran out of time."""
    both = [(_cpu(found[2]), _cpu(record)) for found, record in pairs]
    if any(found[1] for found, _ in pairs) or any(None in values for values in both):
        return None
    return median(a / b for a, b in both if a is not None and b)


def medians(records: list[dict]) -> list[dict]:
    """One row per problem, size and solver: medians over the seeds that were certified, and how many were not."""
    out = []
    for (problem, scenarios), by_solver in sorted(grouped(records).items()):
        for solver, by_seed in by_solver.items():
            fine = [record for record in by_seed.values() if good(record)]
            others = sorted({record["status"] for record in by_seed.values() if not good(record)})
            row: dict = {"problem": problem, "scenarios": scenarios, "solver": solver, "seeds": len(by_seed), "certified": len(fine)}
            if others:
                row |= {"others": others, "message": next(r["message"] for r in by_seed.values() if not good(r))}
            if fine:
                row |= {
                    "seconds": median(seconds_of(record) for record in fine),
                    "seconds_first": median(record["seconds"]["total"] for record in fine),
                    "iterations": median(record["iterations"] for record in fine),
                    "iterations_most": max(record["iterations"] for record in fine),
                    "gap_certified": max(record["gap_certified"] for record in fine),
                    "peak_bytes": max(record["peak_bytes"] for record in fine),
                    "algorithm": sorted({record["algorithm"] for record in fine}),
                }
                for phase in ("compile", "solve", "certify", "cpu"):
                    values = [(record.get("again") or record["seconds"]).get(phase) for record in fine]
                    if all(value is not None for value in values):
                        row[f"{phase}_seconds"] = median(values)
            out.append(row)
    return out


def growth(records: list[dict]) -> list[dict]:
    """Exponent k of seconds ~ scenarios^k, least squares on logarithms of the medians from GROWTH_FROM scenarios on."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in medians(records):
        if row["scenarios"] >= GROWTH_FROM and "seconds" in row:
            series[row["problem"], row["solver"]].append((math.log(row["scenarios"]), math.log(row["seconds"])))
    return [
        {"problem": problem, "solver": solver, "sizes": len(points), "exponent": slope(points), "from": round(math.exp(points[0][0])),
         "to": round(math.exp(points[-1][0]))}
        for (problem, solver), points in sorted(series.items()) if len(points) > 1
    ]  # fmt: skip


def slope(points: list[tuple[float, float]]) -> float:
    """Of the least-squares line through (x, y)."""
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def disagreements(records: list[dict]) -> list[dict]:
    """Problems whose certified intervals have no point in common: one of the certificates is wrong."""
    out = []
    intervals: dict[tuple[str, int, int], list[dict]] = defaultdict(list)
    for record in filter(good, records):
        intervals[record["problem"], record["scenarios"], record["seed"]].append(record)
    for (problem, scenarios, seed), found in sorted(intervals.items()):
        highest, lowest = max(found, key=lambda r: r["lower_bound"]), min(found, key=lambda r: r["objective"])
        if highest["lower_bound"] > lowest["objective"] + AGREEMENT * abs(lowest["objective"]):
            where = {"problem": problem, "scenarios": scenarios, "seed": seed}
            out.append({**where, "bound": highest["lower_bound"], "bound_by": highest["solver"], "plan": lowest["objective"],
                        "plan_by": lowest["solver"]})  # fmt: skip
    return out


def summary(records: list[dict]) -> dict:
    """Everything above, for the JSON file."""
    ours = [name for name in OURS if any(record["solver"] == name for record in records)]
    return {
        "medians": medians(records),
        "ratios": [row for name in ours for row in ratios(records, name)],
        "growth": growth(records),
        "disagreements": disagreements(records),
    }
