"""rank(case, ranges): which uncertain inputs the optimal cost and the shares of own, reserved and rented compute depend on.

Every point is planned and certified by itself, by a sweep: finished points are on disk, and the same call goes on from there after a kill.
A sweep starts no solve from the state of another one, so that a resumed run has the same bits. That costs little: with the row that is
written, own_or_rent takes 0.11 s a point either way, two_clouds 0.25 s and not 0.23 s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.analysis.morris import Effects, elementary_effects, most_from_gaps, summed_up, trajectories
from optimizer.analysis.ranges import Range, checked_ranges
from optimizer.analysis.sobol import sobol_indices, sobol_rows
from optimizer.analysis.what_if import Progress
from optimizer.report.files import plain
from optimizer.settings import Settings
from optimizer.spec import CaseError, load_case
from optimizer.spec.case_error import Document
from optimizer.spec.extends import read_case_file
from optimizer.sweep import sweep
from optimizer.sweep_fields import Fields
from optimizer.sweep_points import MOST_POINTS, Point

METHODS = ("morris", "sobol")
SAMPLES = {"morris": 16, "sobol": 64}
COST = "objective_usd"
MOST_MISSING = 0.05  # of the points: with more without a plan, indices of the others would be about another range
SHARE_MOVES = 1e-4  # a share of the compute that moves by less is how the solves ended
RESOLVED = 1e-4  # of the variance: what the certified gaps may explain


@dataclass(frozen=True)
class Influence:
    """One input on one output. sobol: `first` and `total` with their intervals, shares of the variance. morris: `total` is mu*, `first` is
    mu, in units of the output per whole range, `sigma` beside them; no interval of mu."""

    key: str
    output: str
    total: float
    total_low: float
    total_high: float
    first: float
    first_low: float = math.nan
    first_high: float = math.nan
    sigma: float = math.nan


@dataclass(frozen=True)
class Rank:
    """`influences`: by output (the cost first), then by rank of the cost; empty where `refused` says why."""

    case_name: str
    case_file: str
    method: str
    ranges: tuple[Range, ...]
    now: tuple[Any, ...]  # what the case says, per range
    samples: int
    seed: int
    points: int
    solved: int  # by this call
    missing: tuple[tuple[str, int], ...]  # points without a plan: reason, how many
    left_out: int  # rows or trajectories
    outputs: tuple[str, ...]
    influences: tuple[Influence, ...]
    mean_usd: float
    deviation_usd: float
    least_usd: float
    most_usd: float
    gap_share: float  # of the variance of the cost that the certified gaps could explain at most
    gap_effect_usd: float  # morris: what the gaps can move mu* of the cost by at most
    refused: str
    exit_code: int
    settings: Settings

    def of(self, output: str) -> list[Influence]:
        return [one for one in self.influences if one.output == output]


def rank(
    case: str | Path,
    ranges: Sequence[Range],
    settings: Settings | None = None,
    *,
    method: str = "sobol",
    samples: int | None = None,
    seed: int = 0,
    directory: str | Path | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Rank:
    """`samples`: of sobol the rows (a power of two; d + 2 solves each), of morris the trajectories (d + 1 solves each).

    With a `directory` finished points are kept there and taken up again. Raises CaseError before anything is solved for a case, a field or
    a range that cannot be used; JournalError and OSError as `optimizer.sweep` does.
    """
    ranges = checked_ranges(ranges)
    samples = _checked(method, samples, len(ranges), seed)
    document = read_case_file(Path(case))
    fields = Fields(document, [one.key for one in ranges])
    for one in ranges:  # its ends, with the others in their middles
        for end in (0.0, 1.0):
            point = {other.key: other.at(end if other is one else 0.5) for other in ranges}
            load_case(case, fields.overrides(point))
    asked = _Asked(case, ranges, settings or Settings(), directory, fresh, progress)
    moved = None
    if method == "sobol":
        cube = sobol_rows(len(ranges), samples, seed)
        rows = asked.rows(cube[:samples])
        kept, left_out = _filled_up(asked, cube, rows, samples)
    else:
        cube, moved = trajectories(len(ranges), samples, seed)
        rows = asked.rows(cube)
        whole = [k for k, of_row in enumerate(rows) if all(map(_has_plan, of_row))]
        kept, left_out = [(k, rows[k]) for k in whole], samples - len(whole)
    return _result(document, asked, method, samples, seed, cube, moved, rows, kept, left_out)


def _checked(method: str, samples: int | None, inputs: int, seed: int) -> int:
    if method not in METHODS:
        raise CaseError("rank", "--method", f"is `{method}`", f"write one of {', '.join(METHODS)}")
    samples = SAMPLES[method] if samples is None else samples
    least = 4 if method == "morris" else 8
    if samples < least:
        raise CaseError("rank", "--samples", f"is {samples}", f"ask for {least} or more")
    if method == "sobol" and samples & (samples - 1):
        below = 1 << (samples.bit_length() - 1)
        raise CaseError("rank", "--samples", f"is {samples}, no power of two", f"write {below} or {2 * below}")
    if samples * (inputs + 2) > MOST_POINTS:
        raise CaseError("rank", "--samples", f"asks for more than {MOST_POINTS} points", f"write {MOST_POINTS // (inputs + 2)} or fewer")
    if seed < 0:
        raise CaseError("rank", "--seed", f"is {seed}", "give a whole number from 0")
    return samples


class _Asked:
    """Points of the unit cube to rows of a sweep."""

    def __init__(
        self, case: str | Path, ranges: Sequence[Range], settings: Settings, directory: str | Path | None, fresh: bool,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.case, self.ranges, self.settings, self.directory, self.progress = case, ranges, settings, directory, progress
        self.fresh, self.solved = fresh, 0
        self.points: list[Point] = []
        self.known: dict[str, dict[str, Any]] = {}

    def rows(self, cube: np.ndarray) -> list[list[dict[str, Any]]]:
        """[rows][points of a row] of [rows, points, d]."""
        asked = [[{r.key: r.at(float(u)) for r, u in zip(self.ranges, at, strict=True)} for at in row] for row in cube]
        new = {_key(point): point for row in asked for point in row if _key(point) not in self.known}
        if new:
            self.points += new.values()
            chosen = list(new.values()) if self.directory is None else self.points  # what is there is taken from there
            found = sweep(self.case, None, self.settings, self.directory, points=chosen, fresh=self.fresh, progress=self.progress)
            self.known |= {_key(point): row for point, row in found}
            self.fresh, self.solved = False, self.solved + found.solved
        return [[self.known[_key(point)] for point in row] for row in asked]


def _key(point: Point) -> str:
    return json.dumps(plain(point))


def _has_plan(row: dict[str, Any]) -> bool:
    return row["status"] in ("CERTIFIED", "FEASIBLE") and COST in row and "lower_bound_usd" in row


def _filled_up(asked: _Asked, cube: np.ndarray, rows: list[list[dict[str, Any]]], samples: int) -> tuple[list[tuple[int, Any]], int]:
    """Rows of which every point has a plan, as many as `samples`: others are replaced by the next ones of the sequence, because the
    estimators need whole rows and a power of two of them. Nothing more is solved where indices will be refused."""
    kept = [(k, row) for k, row in enumerate(rows) if all(map(_has_plan, row))]
    left_out = samples - len(kept)
    points = [row for of_row in rows for row in of_row]
    if sum(not _has_plan(row) for row in points) > MOST_MISSING * len(points):
        return kept, left_out
    at = samples
    while len(kept) < samples and at < len(cube):
        more = min(samples - len(kept), len(cube) - at)
        kept += [(at + k, row) for k, row in enumerate(asked.rows(cube[at : at + more])) if all(map(_has_plan, row))]
        at += more
    return kept, left_out


def _result(
    document: Document, asked: _Asked, method: str, samples: int, seed: int, cube: np.ndarray, moved: np.ndarray | None,
    rows: list[list[dict[str, Any]]], kept: list[tuple[int, list[dict[str, Any]]]], left_out: int,
) -> Rank:  # fmt: skip
    every = list(asked.known.values())
    missing: dict[str, int] = {}
    for row in every:
        if not _has_plan(row):
            said = f"{row['status']}: {row.get('reason', 'no plan')}"
            missing[said] = missing.get(said, 0) + 1
    good = [row for row in every if _has_plan(row)]
    cost = np.array([row[COST] for row in good])
    gap = np.array([max(0.0, row[COST] - row["lower_bound_usd"]) for row in good])
    variance = float(cost.var()) if len(cost) else 0.0
    could = float(np.mean(gap**2)) if len(gap) else math.nan
    gap_share = could / variance if variance > 0 else math.inf
    refused = _refusal(len(every), len(good), len(kept), samples, method)
    outputs, influences, effect = (), (), math.nan
    if not refused:
        index, whole = [k for k, _ in kept], [row for _, row in kept]
        shares = sorted({name for row in good for name in row if name.startswith("share_")})
        moving = [name for name in shares if np.ptp([row.get(name, 0.0) for row in good]) > SHARE_MOVES]
        outputs = (*((COST,) if gap_share < 1 else ()), *moving)
        table = np.array([[[row.get(name, 0.0) for row in of_row] for of_row in whole] for name in outputs])
        if outputs and moved is None:
            influences = _of_sobol(asked.ranges, outputs, table, seed)
        elif outputs and moved is not None:
            influences = _of_morris(asked.ranges, outputs, cube[index], moved[index], table, seed)
        if moved is not None:
            gaps = np.array([[row[COST] - row["lower_bound_usd"] for row in of_row] for of_row in whole])
            effect = float(most_from_gaps(moved[index], np.maximum(gaps, 0.0)).max())
    statuses = {row["status"] for row in every}
    failed = bool(refused) or bool(statuses & {"FAILED", "INVALID"})
    data: Any = document.data
    location = Fields(document, [one.key for one in asked.ranges]).location
    return Rank(
        str(data.get("name", Path(asked.case).stem)), str(asked.case), method, tuple(asked.ranges),
        tuple(_now(data, location[one.key]) for one in asked.ranges), samples, seed, len(every), asked.solved,
        tuple(sorted(missing.items(), key=lambda item: -item[1])), left_out, outputs, influences,
        float(cost.mean()) if len(cost) else math.nan, math.sqrt(variance), float(cost.min(initial=math.inf)),
        float(cost.max(initial=-math.inf)), gap_share, effect, refused, 1 if failed else 3 if "FEASIBLE" in statuses else 0,
        asked.settings,
    )  # fmt: skip


def _refusal(points: int, good: int, kept: int, samples: int, method: str) -> str:
    if points - good > MOST_MISSING * points:
        return (
            f"{points - good:,} of {points:,} points have no plan, more than {MOST_MISSING:.0%}: indices of the others would be about "
            "another range. Narrow the ranges, or relax the limits that clash."
        )
    if kept < (samples if method == "sobol" else 2):
        return "Too few rows of the sample have a plan at each of their points: narrow the ranges."
    return ""


def _now(data: Any, location: Sequence[Any]) -> Any:
    for step in location:
        if isinstance(data, dict) and step not in data:
            return None
        data = data[step]
    return data


def _of_sobol(ranges: Sequence[Range], outputs: Sequence[str], table: np.ndarray, seed: int) -> tuple[Influence, ...]:
    """`table` [S, rows, d + 2]."""
    found = sobol_indices(table, seed)
    order = np.argsort(-found[0, 1, 0], kind="stable")
    return tuple(
        Influence(ranges[i].key, name, *(float(v) for v in found[s, 1, :, i]), *(float(v) for v in found[s, 0, :, i]))
        for s, name in enumerate(outputs)
        for i in order
    )


def _of_morris(
    ranges: Sequence[Range], outputs: Sequence[str], points: np.ndarray, moved: np.ndarray, table: np.ndarray, seed: int
) -> tuple[Influence, ...]:
    """`table` [S, trajectories, d + 1]."""
    found: list[Effects] = [summed_up(elementary_effects(points, moved, output), seed) for output in table]
    order = np.argsort(-found[0].mu_star, kind="stable")
    return tuple(
        Influence(
            ranges[i].key, name, float(e.mu_star[i]), float(e.low[i]), float(e.high[i]), float(e.mu[i]), sigma=float(e.sigma[i])
        )
        for name, e in zip(outputs, found, strict=True)
        for i in order
    )  # fmt: skip
