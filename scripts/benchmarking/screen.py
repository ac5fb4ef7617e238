"""The report on screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def show(summary: dict, console: Console | None = None) -> None:
    """Medians, ratios and growth as tables."""
    console = console or Console(width=200)
    console.print(_medians(summary["medians"]))
    if summary["ratios"]:
        console.print(_ratios(summary["ratios"]))
    if summary["growth"]:
        console.print(_growth(summary["growth"]))
    for row in summary["disagreements"]:
        console.print(
            f"WRONG: {row['problem']}, {row['scenarios']} scenarios, seed {row['seed']}: the bound {row['bound']:.9g} by {row['bound_by']} "
            f"exceeds the plan {row['plan']:.9g} by {row['plan_by']}"
        )


def _table(title: str, left: list[str], right: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _medians(rows: list[dict]) -> Table:
    table = _table(
        "medians over seeds (seconds: after compilation where the solver compiles)",
        ["problem", "S", "solver", "certified"],
        ["seconds", "first run", "solve", "certify", "processor", "iterations", "most", "worst gap", "peak MiB"],
    )
    for row in rows:
        told = f"{row['certified']} of {row['seeds']}" + (f" ({', '.join(row['others'])})" if "others" in row else "")
        lead = [row["problem"], str(row["scenarios"] or "case"), row["solver"], told]
        if "seconds" not in row:
            table.add_row(*lead, *[""] * 9)
            continue
        phases = [f"{row[name]:.3f}" if name in row else "" for name in ("solve_seconds", "certify_seconds", "cpu_seconds")]
        table.add_row(
            *lead, f"{row['seconds']:.3f}", f"{row['seconds_first']:.3f}", *phases, f"{row['iterations']:g}", str(row["iterations_most"]),
            f"{row['gap_certified']:.1e}", f"{row['peak_bytes'] / 2**20:.0f}",
        )  # fmt: skip
    return table


def _ratios(rows: list[dict]) -> Table:
    right = ["seeds", "median", "least", "with our compilation", "processor time"]
    table = _table("seconds of the rival over ours", ["problem", "S", "ours", "rival", "ran"], right)
    for row in rows:
        mark = "at least " if row["at_least"] else ""
        table.add_row(
            row["problem"], str(row["scenarios"] or "case"), row["ours"], row["rival"], ", ".join(row["rival_ran"]), str(row["seeds"]),
            f"{mark}{row['ratio']:.2f}", f"{row['ratio_least']:.2f}", f"{row['ratio_first']:.2f}",
            "" if row["ratio_cpu"] is None else f"{row['ratio_cpu']:.2f}",
        )  # fmt: skip
    return table


def _growth(rows: list[dict]) -> Table:
    table = _table("growth: seconds ~ scenarios^k", ["problem", "solver"], ["from", "to", "sizes", "k"])
    for row in rows:
        table.add_row(row["problem"], row["solver"], str(row["from"]), str(row["to"]), str(row["sizes"]), f"{row['exponent']:.3f}")
    return table
