"""sweep(case, vary): the certified best plan of a case at every point of a grid of its fields, killed and resumed at will.

A point is the case file with some fields replaced, read by the same code as a file that extends it. Every finished point is on disk before
the next one begins, and a point that takes long leaves checkpoints of its own, so that the same call after a kill repeats next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optimizer import __version__
from optimizer.checkpoint import whole_run
from optimizer.engine import choose
from optimizer.plan import build, solved
from optimizer.report.files import plain
from optimizer.report.sweep_files import write_sweep
from optimizer.report.sweep_result import INVALID, Sweep
from optimizer.report.sweep_row import sweep_row
from optimizer.settings import Settings
from optimizer.solution import SIMPLEX, Neighbours
from optimizer.spec import CaseError, load_case
from optimizer.spec.case_error import Document
from optimizer.spec.catalog import shipped_catalog
from optimizer.spec.extends import read_case_file
from optimizer.spec.resolved import Case
from optimizer.sweep_fields import Fields
from optimizer.sweep_journal import Journal
from optimizer.sweep_points import Point, grid, read_points
from optimizer.sweep_start import Origin

CHECKED = 20  # values of a field that are tried before anything is solved; of more, the lowest, the highest and what is no number

Progress = Callable[[int, int], None]
"""Called with (points done, points in all)."""


def sweep(
    case: str | Path,
    vary: Mapping[str, Sequence[Any]] | None = None,
    settings: Settings | None = None,
    directory: str | Path | None = None,
    *,
    points: Sequence[Mapping[str, Any]] | str | Path | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Sweep:
    """Plan a case at every combination of values, `{"sites.texas.power_mw": [6, 12]}`, or at `points`: a list of `{key path: value}`, or a
    CSV file with a column per field.

    With a `directory` the state is kept there and sweep.csv, sweep.json and (one number varied) sweep.svg are written there at the end; a
    call with the same case, catalog and settings takes finished points from there unless `fresh`. A point that is infeasible, fails or
    contradicts itself is a row, not an error.

    Raises CaseError before anything is solved for a case, a field or a value that cannot be used (of a long list of numbers the lowest and
    the highest are tried); JournalError where the directory holds another sweep or cannot be written; OSError where its disk is full.
    """
    settings = replace(settings or Settings(), progress=False)
    path, folder = Path(case), None if directory is None else Path(directory)
    chosen = _points(vary, points)
    document = read_case_file(path)
    fields = Fields(document, list(chosen[0]))
    cases = _tried(path, fields, chosen)
    checkpoints = None
    if folder is not None and settings.checkpoint is None:
        checkpoints = folder / "checkpoint"
        settings = replace(settings, checkpoint=checkpoints)
    rows, done_now = [], 0
    with nullcontext() if folder is None else Journal(folder, _identity(path, document, chosen, settings), fresh) as journal:
        known = {} if journal is None else journal.rows
        origin = Origin(folder, fresh, partial(_solve_first, path, fields.overrides(chosen[0]), settings))
        for number, point in enumerate(chosen):
            key = json.dumps(point, sort_keys=True, default=str)
            row = known.get(key)
            if row is None:
                neighbours = Neighbours() if number == 0 else origin.neighbours()
                row, lasting = _solved_point(path, fields.overrides(point), cases.pop(number, None), settings, neighbours)
                if number == 0:
                    origin.keep(neighbours)
                done_now += 1
                if journal is not None and lasting:
                    journal.add(key, row)
                else:
                    known[key] = row
            rows.append(row)
            if progress is not None:
                progress(number + 1, len(chosen))
        name = str(document.data.get("name", path.stem))
        found = Sweep(
            name, str(path), tuple(chosen[0]), tuple(chosen), tuple(rows), done_now, folder, settings, _notes(journal)
        )  # fmt: skip
        if folder is not None:
            write_sweep(found, folder)
    if checkpoints is not None:
        with suppress(OSError):
            checkpoints.rmdir()  # where it is empty
    return found


def _points(vary: Mapping[str, Sequence[Any]] | None, points: Any) -> list[Point]:
    if (vary is None) == (points is None):
        raise CaseError("sweep", "vary", "and points are both given" if points is not None else "names no field", "give one of the two")
    if vary is not None:
        return grid(vary)
    if isinstance(points, str | Path):
        return read_points(points)
    chosen = [dict(point) for point in points]
    if not chosen or not chosen[0]:
        raise CaseError("sweep", "points", "are none", "give at least one, with a value for at least one field")
    for number, point in enumerate(chosen):
        if list(point) != list(chosen[0]):
            raise CaseError("sweep", f"points.{number}", "has other fields than the first point", "give every point the same fields")
    return chosen


def _tried(path: Path, fields: Fields, chosen: list[Point]) -> dict[int, Case]:
    """Points loaded before anything is solved, so that a wrong value is refused at once: of every field each value, or, where there are
    many, the lowest, the highest and what is no number (ranges of the reference are intervals)."""
    wanted: set[int] = {0}
    for name in fields.location:
        first: dict[str, int] = {}
        for number, point in enumerate(chosen):
            first.setdefault(json.dumps(plain(point[name]), sort_keys=True, default=str), number)
        if len(first) > CHECKED:
            numbers = [n for n in first.values() if isinstance(chosen[n][name], int | float) and not isinstance(chosen[n][name], bool)]
            others = [n for n in first.values() if n not in set(numbers)]
            numbers.sort(key=lambda n: chosen[n][name])
            wanted.update([*numbers[:1], *numbers[-1:], *others[:CHECKED]])
        else:
            wanted.update(first.values())
    return {number: load_case(path, fields.overrides(chosen[number])) for number in sorted(wanted)}


def _solve_first(path: Path, overrides: dict[str, Any], settings: Settings, neighbours: Neighbours) -> None:
    with suppress(CaseError):
        built = build(load_case(path, overrides))
        if choose(built.program, settings).engine == SIMPLEX:
            solved(built, settings, neighbours)


def _solved_point(
    path: Path, overrides: dict[str, Any], case: Case | None, settings: Settings, neighbours: Neighbours
) -> tuple[dict[str, Any], bool]:
    """(row, whether it is an answer that a later run may take over: an unexpected error is none, nor is what memory cut short)."""
    began, lasting = time.perf_counter(), True
    try:
        built = build(case if case is not None else load_case(path, overrides))
        with whole_run():
            found = solved(built, settings, neighbours)
            row, lasting = sweep_row(*found), not found.solution.cut_short
    except CaseError as error:
        row = {"status": INVALID, "reason": str(error)}
    except Exception as error:  # one point must not take the others with it
        row, lasting = {"status": "FAILED", "reason": f"unexpected {type(error).__name__}: {_one_line(error)}"}, False
    return plain({**row, "seconds": round(time.perf_counter() - began, 3)}), lasting


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or "no message"


def _notes(journal: Journal | None) -> tuple[str, ...]:
    if journal is None or not journal.damaged:
        return ()
    return (f"{journal.damaged} damaged lines of {journal.path} were dropped and their points solved again.",)


def _identity(path: Path, document: Document, chosen: list[Point], settings: Settings) -> dict[str, Any]:
    """What finished points depend on beside their own values: the case as merged from its files, every file of its catalog, settings."""
    content = {name: value for name, value in document.data.items() if name != "catalog"}
    named = {document.data.get("catalog", shipped_catalog()), *(path.parent / point["catalog"] for point in chosen if "catalog" in point)}
    digest = hashlib.sha256()
    for folder in sorted(map(Path, named)):
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder).as_posix()} ".encode() + hashlib.sha256(file.read_bytes()).digest())
    text = json.dumps(plain(content), sort_keys=True)
    return {
        "case": hashlib.sha256(text.encode()).hexdigest(),
        "catalog": digest.hexdigest(),
        **{name: getattr(settings, name) for name in ("gap_relative", "headroom_gap_relative", "engine", "max_iterations", "precision")},
        "version": __version__,
    }
