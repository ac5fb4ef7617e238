"""The results as a plain table. kB/node: of the device's memory; at ceiling: what it could have moved in the time of an iteration."""

from __future__ import annotations

from typing import Any

COLUMNS = (
    "part", "status", "nodes", "iterations", "gap", "ms/iteration", "us/node", "kB/node", "kB/node at ceiling", "compile s", "solve s",
)  # fmt: skip


def table(parts: dict[str, dict[str, Any]]) -> str:
    """A line per part, and what was skipped or failed in words below."""
    rows = [COLUMNS, *(row(name, found) for name, found in parts.items())]
    widths = [max(len(line[k]) for line in rows) for k in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
    words = [f"{name}: {found['reason']}" for name, found in parts.items() if found["status"] != "passed" or "nodes" not in found]
    return "\n".join([*lines, "", *words])


def row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    def number(key: str, form: str, scale: int = 1) -> str:
        value = found.get(key)
        return "" if value is None else format(value / scale, form)

    seconds = found.get("seconds", {})
    return (
        name, found["status"], number("nodes", ",.0f"), number("iterations", ".0f"), number("gap", ".1e"),
        number("ms_per_iteration", ".1f"), number("us_per_node_and_iteration", ".2f"), number("peak_bytes_per_node", ".0f", 1000),
        number("ceiling_bytes_per_node_and_iteration", ".0f", 1000),
        format(seconds["compile"], ".1f") if seconds else "", format(seconds["solve"], ".1f") if seconds else "",
    )  # fmt: skip
