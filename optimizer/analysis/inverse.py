"""inverse(case, acquisitions, change): the least change of named numbers that makes given acquisitions the best plan.

The regret of the acquisitions is what they cost, placed and rented around as well as can be, less the least cost: F(u) - C(u) >= 0, each
side a certified solve, the gradient the difference of the two Lagrangian gradients. Where only the costs of orders change, or the
probabilities of scenarios, F is linear in u and C is the least of linear functions (one per plan): the regret is convex, a certified plan
gives a line under it,

    F(u) - C(u) >= F(0) + f'u - (cost of that plan at u),

and the lines prove what cannot be reached. Anywhere else the search is local, and only the regret at its end is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.analysis.cost_shape import cost_shape
from optimizer.analysis.descent import descend
from optimizer.analysis.goal import Counted, refuse_steps, refused_ranges
from optimizer.analysis.goal_line import along
from optimizer.analysis.least_change import NORMS, least_change, lowest_of_highest, size
from optimizer.analysis.moved_case import MovedCase
from optimizer.analysis.what_if import Answer, Progress
from optimizer.build.values import values
from optimizer.given_orders import Orders, fixed, signed_counts
from optimizer.settings import Settings
from optimizer.spec import CaseError

BEST_ALREADY, MADE_BEST, OPEN, NO_PLAN = "best already", "made best", "not told apart", "no plan"
CANNOT, NOT_FOUND = "cannot be made best", "not found"
MOST_CUTS, MOST_STEPS, DESCENT_STEPS, PROBES = 40, 10, 20, 8
SAME = 1e-8
HALVINGS = 5
Array = np.ndarray


@dataclass(frozen=True)
class Regret:
    """Certified answers for the given acquisitions and for the best plan at one change; dollars."""

    given: Answer
    best: Answer

    @property
    def known(self) -> bool:
        return self.given.has_plan and self.best.has_plan

    @property
    def at_least_usd(self) -> float:
        if not self.known:
            return math.inf if self.best.has_plan and self.given.status == "INFEASIBLE" else 0.0
        return max(0.0, self.given.lower_bound_usd - self.best.cost_usd)

    @property
    def at_most_usd(self) -> float:
        return max(0.0, self.given.cost_usd - self.best.lower_bound_usd) if self.known else math.inf

    @property
    def between_usd(self) -> float:
        """The difference of the two plans, inside the bracket up to the gaps."""
        return self.given.cost_usd - self.best.cost_usd if self.known else math.inf


@dataclass(frozen=True)
class BelievedField:
    """`alone_usd`: the certified regret (at least, at most) if this field alone stayed as it was while the others moved."""

    key: str
    start: float
    end: float
    lowest: float
    highest: float
    change: float
    relative: bool
    in_case: bool
    alone_usd: tuple[float, float]


@dataclass(frozen=True)
class Inverse:
    """`within_usd`: a regret of at most that counts as none (the gaps asked of the two solves); `regret_at_least_usd`: no change inside the
    ranges leaves less, where the regret is convex, else 0; `size_at_least`: no smaller change makes the acquisitions best, likewise."""

    case_name: str
    case_file: str
    plan_file: str
    norm: str
    verdict: str
    fields: tuple[BelievedField, ...]
    before: Regret
    after: Regret
    within_usd: float
    convex: bool
    regret_at_least_usd: float
    size: float
    size_at_least: float
    points: tuple[Mapping[str, Any], ...]
    solves: int

    @property
    def exit_code(self) -> int:
        """0 where the acquisitions are certified best within the gaps; 3 where that is not told apart or not found, 4 where it is proven
        impossible or the acquisitions break a limit, 1 where a solve failed."""
        if self.verdict == NO_PLAN:
            codes = [a.found.solution.certificate.exit_code for a in (self.before.best, self.before.given) if not a.has_plan]
            return codes[0] or 1
        return 0 if self.verdict in (BEST_ALREADY, MADE_BEST) else 4 if self.verdict == CANNOT else 3


class _Priced:
    """Regrets of one plan at changes of a case; each solved once."""

    def __init__(self, moved: MovedCase, rows: list[Mapping[str, Any]], source: str, beside: Counted) -> None:
        self.moved, self.rows, self.source, self.beside = moved, rows, source, beside
        self._known: dict[bytes, Regret] = {}
        self._held: dict[int, Answer] = {}
        self.order: list[Array] = []
        signed_counts(moved.base.structure, rows, source)  # refuses what the case does not offer

    def at(self, u: Array) -> Regret:
        u = np.clip(np.asarray(u, float) + 0.0, self.moved.low, self.moved.high)
        key = np.round(u / SAME * 1e3).tobytes()
        if key not in self._known:
            best = self.moved.at(u)
            built = self.moved.built(u)
            given = fixed(built, signed_counts(built.structure, self.rows, self.source))
            self._known[key] = Regret(self.beside.of(given, self.moved.changed(u)), best)
            self.order.append(u)
        return self._known[key]

    def gradients(self, u: Array) -> tuple[Array, Array]:
        """Slopes (of the cost of the acquisitions, of the least cost), [K] each. The counts are given: what an offer has, on which the free
        program's bounds depend, bounds them no more."""
        regret = self.at(u)
        if id(regret) not in self._held:  # regrets are kept, and with them their identities
            built = regret.given.found.built
            counts_hold = replace(built.program, upper_is_derived=np.ones_like(built.program.upper_is_derived))
            self._held[id(regret)] = replace(regret.given, found=regret.given.found._replace(built=replace(built, program=counts_hold)))
        return self.moved.gradient(self._held[id(regret)]), self.moved.gradient(regret.best)


def inverse(
    case: str | Path,
    acquisitions: Orders,
    change: Mapping[str, Sequence[float]],
    settings: Settings | None = None,
    *,
    norm: str = "l2",
    source: str = "acquisitions",
    progress: Progress | None = None,
) -> Inverse:
    """`acquisitions` as for `optimizer.evaluate` (what is not named is not signed); `change`: {key path: (lowest, highest)}. Raises
    CaseError for what cannot be used; acquisitions that cannot be made best are a verdict."""
    ranges = refused_ranges(change)
    if norm not in NORMS:
        raise CaseError("inverse", "norm", f"is {norm!r}", f"use one of {', '.join(NORMS)}")
    settings = settings or Settings()
    what_if, beside = Counted(case, settings, progress), Counted(case, settings, progress)
    moved = MovedCase(what_if, ranges)
    refuse_steps(moved)
    table: Any = acquisitions
    rows: list[Mapping[str, Any]] = table.to_dict("records") if hasattr(table, "to_dict") else list(table)
    priced = _Priced(moved, rows, source, beside)
    zero = np.zeros(len(moved.fields))
    before = priced.at(zero)
    shape = cost_shape(moved)
    convex = shape.kind == "concave" and shape.fixed_plan_linear
    within = math.nan
    if before.known:
        c, p = before.best.found.solution.certificate, before.best.found.built.program
        within = 2 * settings.gap_relative * max(1.0, abs(c.objective - c.penalties - p.constant))

    def told(verdict: str, u: Array, least: float = 0.0, smallest: float = 0.0) -> Inverse:
        fields = tuple(_field(moved, priced, i, u) for i in range(len(u)))
        return Inverse(
            what_if.name, str(what_if.path), source, norm, verdict, fields, before, priced.at(u), within, convex, least, size(u, norm),
            smallest, _points(moved, priced), what_if.solves + beside.solves,
        )  # fmt: skip

    if not before.known:
        return told(NO_PLAN, zero)
    if before.at_most_usd <= within:
        return told(BEST_ALREADY, zero)
    u, least, smallest = _by_lines(priced, within, norm) if convex else (_locally(priced, within, norm), 0.0, 0.0)
    after = priced.at(u)
    if after.at_most_usd <= within:
        return told(MADE_BEST, u, 0.0, smallest)
    if least > within:
        return told(CANNOT, u, least)
    return told(OPEN if after.at_least_usd <= 0 else NOT_FOUND, u, max(least, 0.0))


def _by_lines(priced: _Priced, within: float, norm: str) -> tuple[Array, float, float]:
    """(change, proven least regret over the box, proven least size) where the regret is convex."""
    moved = priced.moved
    low, high = moved.low, moved.high
    u, seen = np.zeros(len(low)), []
    slopes, levels, sure = [], [], []  # lines under the regret; `sure` is lower by what the gaps leave open
    start = priced.at(u)
    given_slope, _ = priced.gradients(u)
    # given orders: the gap of their cost is a sum over the nodes, each in proportion to its weight
    open_usd = _most_weight(moved) * max(0.0, start.given.cost_usd - start.given.lower_bound_usd)
    for _ in range(MOST_CUTS):
        regret = priced.at(u)
        if not regret.known:
            break
        seen.append(u)
        if regret.at_most_usd <= within:
            break
        best_slope = priced.gradients(u)[1]
        slope = given_slope - best_slope
        plan_at_zero = regret.best.cost_usd - float(best_slope @ u)
        slopes.append(slope)
        levels.append(regret.between_usd - float(slope @ u))
        sure.append(start.given.cost_usd - open_usd - plan_at_zero)
        step = least_change(np.array(slopes), -np.array(levels), low, high, norm)
        if step is None:
            step, _ = lowest_of_highest(np.array(slopes), np.array(levels), low, high)
        if any(np.abs(step - other).max() <= SAME for other in seen):
            break
        u = step
    u = min(seen, key=lambda v: (priced.at(v).at_most_usd > within, priced.at(v).between_usd))
    if not slopes:
        return u, 0.0, 0.0
    least = lowest_of_highest(np.array(slopes), np.array(sure), low, high)[1]
    smallest = least_change(np.array(slopes), -np.array(sure), low, high, norm)
    return u, least, 0.0 if smallest is None else size(smallest, norm)


def _most_weight(moved: MovedCase) -> float:
    """The most that the weight of a node can be in the box, over what it is."""

    def weight(u: Array) -> Array:
        return np.asarray(values(moved.base.structure, moved.theta(u))["node_weight"], float)

    zero = np.zeros(len(moved.fields))
    start, more = weight(zero), np.zeros(moved.base.program.nodes)
    for i in range(len(zero)):
        ends = []
        for end in (moved.low[i], moved.high[i]):
            u = zero.copy()
            u[i] = end
            ends.append(weight(u) - start)
        more += np.maximum(np.maximum(*ends), 0.0)
    return float(((start + more) / start).max())


def _locally(priced: _Priced, within: float, norm: str) -> Array:
    """Linear steps towards no regret, then projected descent from the best of them; the smallest change where there are several."""
    moved = priced.moved
    low, high = moved.low, moved.high
    u = np.zeros(len(low))

    def step_from(u: Array) -> Array | None:
        regret = priced.at(u)
        if not regret.known:
            return None
        given, best = priced.gradients(u)
        slope = given - best
        step = least_change(slope, slope @ u - regret.between_usd, low, high, norm)
        return step if step is not None else np.where(slope > 0, low, np.where(slope < 0, high, u))

    for _ in range(MOST_STEPS):
        step = step_from(u)
        if step is None or priced.at(u).at_most_usd <= within or np.abs(step - u).max() <= SAME:
            break
        for _ in range(HALVINGS):  # a step may lead to where the acquisitions break a limit
            if priced.at(step).known:
                break
            step = (u + step) / 2
        u = step
    done = [v for v in priced.order if priced.at(v).known]
    u = min(done, key=lambda v: priced.at(v).between_usd)
    if not priced.at(u).at_most_usd <= within:

        def regret_and_slope(at: Array) -> tuple[float, Array]:
            regret = priced.at(at)
            if not regret.known:
                return math.inf, np.full(len(at), math.nan)
            given, best = priced.gradients(at)
            return regret.between_usd, given - best

        descend(regret_and_slope, u, low, high, DESCENT_STEPS, lambda value: value <= within / 2)
        if len(low) == 1:
            for t in np.linspace(low[0], high[0], PROBES):
                priced.at(np.array([t]))
    done = [v for v in priced.order if priced.at(v).known]
    none_left = [v for v in done if priced.at(v).at_most_usd <= within]
    if not none_left and len(low) > 1:
        done.append(_without_what_hurts(priced, min(done, key=lambda v: priced.at(v).between_usd)))
        none_left = [v for v in done[-1:] if priced.at(v).at_most_usd <= within]
    if not none_left:
        return min(done, key=lambda v: priced.at(v).between_usd)
    return _closer(priced, min(none_left, key=lambda v: size(v, norm)), within)


def _without_what_hurts(priced: _Priced, u: Array) -> Array:
    """Fields that are better back where they were are put there, the one that gains most first."""
    while True:
        tries = [np.where(np.arange(len(u)) == i, 0.0, u) for i in np.nonzero(u)[0]]
        better = [v for v in tries if priced.at(v).between_usd < priced.at(u).between_usd]
        if not better:
            return u
        u = min(better, key=lambda v: priced.at(v).between_usd)


def _closer(priced: _Priced, u: Array, within: float) -> Array:
    """Back along the straight way while the acquisitions stay best."""

    def excess(v: Array) -> tuple[float, float]:
        regret = priced.at(v)
        return regret.at_least_usd - within, regret.at_most_usd - within

    return along(priced.moved, excess, u, of_cost=False).inside * u


def _field(moved: MovedCase, priced: _Priced, i: int, u: Array) -> BelievedField:
    f = moved.fields[i]
    without = u.copy()
    without[i] = 0.0
    regret = priced.at(without)
    return BelievedField(
        f.key, f.value, f.at(u[i]), f.lowest, f.highest, float(u[i]), f.relative, f.in_case, (regret.at_least_usd, regret.at_most_usd)
    )


def _points(moved: MovedCase, priced: _Priced) -> tuple[dict[str, Any], ...]:
    rows = []
    for number, u in enumerate(priced.order):
        regret = priced.at(u)
        row: dict[str, Any] = {"point": number, **{f.key: f.at(c) for f, c in zip(moved.fields, u, strict=True)}}
        for name, answer in (("given", regret.given), ("best", regret.best)):
            row |= {f"{name}_status": answer.status, f"{name}_cost_usd": answer.cost_usd, f"{name}_lower_bound_usd": answer.lower_bound_usd}
        rows.append({**row, "regret_at_least_usd": regret.at_least_usd, "regret_at_most_usd": regret.at_most_usd})
    return tuple(rows)
