"""What `capacity check` says about a case that has not been solved."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.build.build import Built
from optimizer.build.structure import Structure
from optimizer.report import figures
from optimizer.report.page import Page, bullets, facts, grid, heading, line

MOST_POOLS = 4


def check_page(built: Built, conflicts: Sequence[str], seconds: float) -> Page:
    """`conflicts`: sentences about limits that clash."""
    structure = built.structure
    case = structure.case
    verdict = "its limits clash" if conflicts else "can be planned"
    page: Page = [line(f"{case.name}: {verdict}", "bold red" if conflicts else "bold green")]
    page += [bullets(conflicts)] if conflicts else []
    page += [heading("Size"), facts(_sizes(built)), heading("Pools that may serve a workload"), _eligible(structure)]
    page += _unplaced(structure)
    if structure.warnings:
        page += [heading(figures.counted(len(structure.warnings), "warning")), bullets(structure.warnings, "yellow")]
    page.append(line(f"\nhash {case.hash[:16]}; read and built in {figures.seconds(seconds)}"))
    return page


def _sizes(built: Built) -> list[tuple[str, str, str]]:
    p, structure = built.program, built.structure
    calendar = structure.calendar
    per_node = p.blocks * (p.pairs + p.served + int((p.rent_upper[:1] > 0).any(axis=(0, 1)).sum())) + p.deferrable + p.sides
    rows = p.nodes * (p.blocks * (p.served + p.pools) + p.deferrable + p.sides) + p.limits + p.links
    return [
        ("periods", str(calendar.periods), f"{calendar.first_day[0]} to {calendar.end}, {figures.counted(p.blocks, 'load block')} each"),
        ("scenarios", str(len(structure.case.scenarios)), _scenarios(structure)),
        ("workload streams", str(p.streams), f"{p.served} by block, {p.deferrable} movable{f', {p.free} runs' if p.free else ''}"),
        ("pools", str(p.pools), "chip x place x firm or preemptible"),
        ("possible placements", str(p.pairs), "stream x pool"),
        ("possible orders", str(p.acquisitions), f"on {figures.counted(p.decisions, 'decision node')}"),
        ("limits", str(p.limits), f"and {figures.counted(p.sides, 'share')} of the total in each of {p.nodes} nodes" if p.sides else ""),
        ("numbers", f"{len(built.parameters):,}", "of the case and the catalog that the answer depends on"),
        ("program", f"{p.acquisitions + p.nodes * per_node + p.links:,}", f"columns, {rows:,} rows"),
    ]


def _scenarios(structure: Structure) -> str:
    points = len(structure.pair_index.speed)
    said = [f"{len(structure.case.scenarios) // points} of the case at {points} points of the throughput error"] if points > 1 else []
    said += [] if structure.tree.reveal is None else [f"revealed {structure.case.reveal}"]
    return ", ".join(said)


def _eligible(structure: Structure):
    """For each stream how many pools may serve it, and the first of them."""
    rows = []
    for stream in structure.streams:
        pools = [structure.pools[pair.pool].name for pair in structure.pairs if pair.stream == stream.index]
        listed = ", ".join(pools[:MOST_POOLS]) + (f" and {len(pools) - MOST_POOLS} more" if len(pools) > MOST_POOLS else "")
        rows.append([stream.name, f"{len(pools)} of {len(structure.pools)}", listed or "none"])
    return grid(["stream", "pools", "which"], rows, words=3)


def _unplaced(structure: Structure) -> Page:
    """Every pool's reasons for the streams that none may serve."""
    page: Page = []
    for index in structure.unplaced:
        stream = structure.streams[index]
        page.append(heading(f"No pool may serve {stream.name}:"))
        said = [f"{excuse.pool}: {excuse.sentence}" for excuse in structure.excuses_of(index)]
        page.append(bullets(said or ["there is no pool at all"]))
    return page
