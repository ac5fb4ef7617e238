"""The difference of two certified costs shared out among the numbers that changed, where nothing but numbers did.

The numbers of the first case move straight to those of the second, theta(t) = a + t (b - a), and number i is given

    (b_i - a_i) * integral over t from 0 to 1 of  d cost / d theta_i (theta(t))  dt          (Aumann and Shapley 1974)

The derivative jumps where the best plan changes its form, so the way is cut into panels of Gauss-Legendre points, the panel that misses
the certified costs of its two ends by most is cut in half, and what is missing in the end is stated as a line of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.analysis.field_gradient import field_gradient, siblings
from optimizer.build.build import Built, program_of
from optimizer.build.values import values
from optimizer.plan import Solved, solved
from optimizer.program.certificate import Status
from optimizer.program.program import ProgramError, array_fields
from optimizer.settings import Settings
from optimizer.solve import Neighbours
from optimizer.spec import CaseError

POINTS = 3  # of a panel; the middle one is an end of both halves
NODE, WEIGHT = np.polynomial.legendre.leggauss(POINTS)  # of [-1, 1]
CLOSE = 1e-3  # of the difference: panels are cut until they miss no more together
SAME = 1e-9  # relative: two arrays of a program that hold the same numbers


@dataclass(frozen=True)
class NumberShare:
    """What one number of the case or of a catalog row adds; not certified: a derivative has no bracket."""

    key: str
    before: float
    after: float
    usd: float


@dataclass(frozen=True)
class PathIntegral:
    """`shares` of all numbers that changed; they miss the difference by `missing_usd`. `solves`: points of the way."""

    shares: tuple[NumberShare, ...]
    missing_usd: float
    solves: int


@dataclass(frozen=True)
class _Panel:
    start: float
    end: float
    parts: np.ndarray  # [M], dollars
    start_usd: float
    middle_usd: float
    end_usd: float

    @property
    def missing(self) -> float:
        return self.end_usd - self.start_usd - float(self.parts.sum())


def path_integral(
    before: Built, after: Built, ends_usd: tuple[float, float], settings: Settings, most_solves: int,
    progress: Callable[[int, int], None] | None = None,
) -> PathIntegral:  # fmt: skip
    """`after` must have the form of `before` (`other_form`). Raises CaseError where there is no plan on the way."""
    way = _Way(before, after, settings)
    panels = [way.panel(0.0, 1.0, *ends_usd)]
    difference = ends_usd[1] - ends_usd[0]
    while way.solves + 2 * POINTS <= most_solves:
        if progress is not None:
            progress(way.solves, most_solves)
        if sum(abs(panel.missing) for panel in panels) <= CLOSE * abs(difference):
            break
        worst = max(panels, key=lambda panel: abs(panel.missing))
        middle = (worst.start + worst.end) / 2
        panels.remove(worst)
        panels += [
            way.panel(worst.start, middle, worst.start_usd, worst.middle_usd),
            way.panel(middle, worst.end, worst.middle_usd, worst.end_usd),
        ]
    if progress is not None:
        progress(most_solves, most_solves)
    parts = np.sum([panel.parts for panel in sorted(panels, key=lambda panel: panel.start)], axis=0)
    moved = np.nonzero(way.step)[0]
    shares = [NumberShare(way.keys[i], float(way.start[i]), float(way.start[i] + way.step[i]), float(parts[i])) for i in moved]
    shares.sort(key=lambda share: (-abs(share.usd), share.key))
    return PathIntegral(tuple(shares), difference - sum(share.usd for share in shares), way.solves)


class _Way:
    def __init__(self, before: Built, after: Built, settings: Settings) -> None:
        self.built, self.settings, self.neighbours = before, settings, Neighbours()
        self.keys, self.start = before.parameters.keys, before.parameters.values
        self.step = after.parameters.values[[after.parameters.index(key) for key in self.keys]] - self.start
        self.solves = 0

    def panel(self, start: float, end: float, start_usd: float, end_usd: float) -> _Panel:
        parts, costs = np.zeros(len(self.keys)), []
        for node, weight in zip(NODE, WEIGHT, strict=True):
            found, theta = self.at(start + (end - start) * (1 + float(node)) / 2)
            c = found.solution.certificate
            assert c.plan is not None and c.multipliers is not None
            gradient = field_gradient(found.built, c.plan, c.multipliers).partial
            parts += weight / 2 * (end - start) * self.step * centred(gradient, theta, self.keys)
            costs.append(c.objective)
        return _Panel(start, end, parts, start_usd, costs[POINTS // 2], end_usd)

    def at(self, t: float) -> tuple[Solved, np.ndarray]:
        theta = self.start + t * self.step
        self.solves += 1
        try:
            program = program_of(self.built.structure, values(self.built.structure, theta)).check()
        except ProgramError as error:
            raise _no_plan(self.built, t, str(error)) from error
        there = replace(self.built, program=program, parameters=replace(self.built.parameters, values=theta))
        found = solved(there, self.settings, self.neighbours)
        c = found.solution.certificate
        if c.plan is None or c.multipliers is None or c.status not in (Status.CERTIFIED, Status.FEASIBLE):
            raise _no_plan(self.built, t, f"{c.status.name} {c.reason}".strip())
        return found, theta


def centred(gradient: np.ndarray, theta: np.ndarray, keys: tuple[str, ...]) -> np.ndarray:
    """The derivative with that of shares and probabilities measured from their mean: they move by amounts that add up to nothing, so a
    constant among siblings is nobody's."""
    out = gradient.copy()
    for members in siblings(keys):
        whole = theta[members].sum()
        out[members] -= gradient[members] @ theta[members] / whole if whole else gradient[members].mean()
    return out


def other_form(before: Built, after: Built) -> str:
    """Why the second case is not the first one with other numbers; '' where it is."""
    a, b = before.parameters, after.parameters
    for key in (*a.keys, *b.keys):
        if key not in a or key not in b:
            return f"the cost of only one of them depends on {key}"
    try:
        moved = program_of(before.structure, values(before.structure, b.values[[b.index(key) for key in a.keys]]))
    except (ProgramError, ValueError) as error:
        return " ".join(str(error).split())
    for name in array_fields():
        if not _same(getattr(moved, name), getattr(after.program, name)):
            return f"more than numbers changed (`{name}` of the program)"
    if not _same(before.structure.pair_index.groups, after.structure.pair_index.groups):
        return "the replicas that queues share are not the same"
    return ""


def _same(one: Any, other: Any) -> bool:
    """Arrays, and what holds arrays."""
    if one is None or other is None:
        return one is other
    if dataclasses.is_dataclass(one):
        return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    return bool(np.allclose(one, other, rtol=SAME, atol=0, equal_nan=True) if one.dtype.kind == "f" else np.array_equal(one, other))


def _no_plan(built: Built, t: float, reason: str) -> CaseError:
    what = f"cannot be told apart by number: {100 * t:.3g} % of the way there is no plan ({reason})"
    return CaseError(built.structure.case.file, "--by number", what, "use --by field")
