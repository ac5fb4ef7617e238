"""alternatives(case): plans that cost at most a little more than the best one and are as different as possible, and what they share.

Every alternative is a plan of the case: its cost is certified in the case's own program, next to the bound on the best possible plan.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from optimizer.analysis.fewest import Key, contract_of, fewest, place_of
from optimizer.analysis.measure_search import Extreme, bound_on, least_within, rough
from optimizer.analysis.plan_measures import Measure, Weights, distance, measures
from optimizer.analysis.what_if import Answer, Progress, WhatIf
from optimizer.build.build import Built
from optimizer.headroom import true_lower_bound
from optimizer.program.certificate import certify_plans
from optimizer.program.program import Plan
from optimizer.settings import Settings
from optimizer.solve import Neighbours
from optimizer.spec import CaseError

BEST = "best"
COUNTED: tuple[tuple[str, Key, str], ...] = (("fewest places", place_of, "places"), ("fewest contracts", contract_of, "contracts"))
FEWEST_AFTER = 6  # measures tried before these
SMALLEST = 1e-6  # of a measure: less is rounding
LEAST_CHIPS = 0.5  # of an order in the core


@dataclass(frozen=True)
class Alternative:
    """One plan. `measure` is what it has of its aim, `best_measure` what the best plan has, `bound` what no plan within the budget
    passes (NaN: not known; for counts, that this few were found is all that is known). Distances are 0 to 1 (`plan_measures.distance`)."""

    name: str
    cost_usd: float
    above_best: float  # relative to the best plan's cost
    above_possible: float  # at most so much above the best possible plan
    unit: str
    best_measure: float
    measure: float
    bound: float
    from_best: float
    from_nearest: float
    plan: Plan
    built: Built
    by_offer: dict[str, float]  # PFLOP/s-years signed and rented


@dataclass(frozen=True)
class CoreOrder:
    """An order of the first year that every plan signs at least `count_chips` of; `best_chips`: in the best plan."""

    offer: str
    signing_date: date
    scenario: str
    count_chips: float
    best_chips: float
    share: float  # of the best plan's compute-years signed in the first year


@dataclass(frozen=True)
class Alternatives:
    """`plans`: the best one first. `left_out`: (aim, why it gave no further plan)."""

    case_name: str
    case_file: str
    status: str
    reason: str
    within: float
    apart: float
    budget_usd: float
    lower_bound_usd: float
    plans: tuple[Alternative, ...]
    left_out: tuple[tuple[str, str], ...]
    core: tuple[CoreOrder, ...]
    core_share: float
    exit_code: int


def alternatives(
    case: str | Path,
    settings: Settings | None = None,
    *,
    within: float = 0.02,
    count: int = 6,
    goals: Sequence[str] = (),
    apart: float = 0.05,
    progress: Progress | None = None,
) -> Alternatives:
    """Up to `count` plans besides the best, each at most `within` above its cost and at least `apart` from every plan before it.

    `goals`: only these aims, by name. Raises CaseError for a case or a number that cannot be used, and for an aim that the best plan does
    not leave.
    """
    if not 0 <= within <= 1:
        raise CaseError("alternatives", "within", f"is {within:g}", "give a share of the cost from 0 to 1, such as 0.02")
    if not 0 <= apart < 1:
        raise CaseError("alternatives", "apart", f"is {apart:g}", "give a distance from 0 to below 1, such as 0.05")
    if count < 1:
        raise CaseError("alternatives", "count", f"is {count}", "give how many alternatives to look for, 1 or more")
    what_if = WhatIf(case, settings)
    best = what_if.at()
    c = best.found.solution.certificate
    if not best.has_plan or c.plan is None or c.multipliers is None:
        return Alternatives(
            what_if.name, str(what_if.path), best.status, best.reason, within, apart, math.nan, math.nan, (), (), (), math.nan,
            best.found.solution.status.exit_code,
        )  # fmt: skip
    if not best.lower_bound_usd > 0:
        raise CaseError(str(case), "", "has a best plan that costs nothing, so no share of its cost is an allowance", "use another case")
    return _Search(what_if, best, within, apart).run(count, goals, progress)


class _Search:
    """The plans found so far."""

    def __init__(self, what_if: WhatIf, best: Answer, within: float, apart: float) -> None:
        self.what_if, self.best, self.within, self.apart = what_if, best, within, apart
        self.built = best.found.built  # with the lines of spare replicas
        self.base = what_if.built()
        self.certificate = best.found.solution.certificate
        self.budget = best.cost_usd * (1 + within)
        self.weights = Weights(self.built)
        self.neighbours = Neighbours()
        assert self.certificate.plan is not None
        self.plans = [self._told(BEST, self.certificate.plan, self.built, best.cost_usd, "", math.nan, math.nan, math.nan)]
        self.left_out: list[tuple[str, str]] = []

    def run(self, count: int, goals: Sequence[str], progress: Progress | None) -> Alternatives:
        assert self.certificate.plan is not None
        found = measures(self.built, self.certificate.plan)
        tried: list[tuple[str, Callable[[], Alternative | str]]] = [(m.name, partial(self._extreme, m)) for m in found]
        tried[FEWEST_AFTER:FEWEST_AFTER] = [(name, partial(self._few, name, key, unit)) for name, key, unit in COUNTED]
        tried = _chosen(str(self.what_if.path), tried, goals)
        for done, (name, search) in enumerate(tried):
            if progress is not None:
                progress(done, len(tried))
            if len(self.plans) > count:
                self.left_out.append((name, f"not tried: {count} alternatives were asked for"))
                continue
            if self.within == 0:
                self.left_out.append((name, "nothing may be spent on it"))
                continue
            self._keep(name, search())
        if progress is not None:
            progress(len(tried), len(tried))
        core, share = common_core(self.plans)
        return Alternatives(
            self.what_if.name, str(self.what_if.path), self.best.status, self.certificate.reason, self.within, self.apart, self.budget,
            self.best.lower_bound_usd, tuple(self.plans), tuple(self.left_out), core, share, self.best.found.solution.status.exit_code,
        )  # fmt: skip

    def _keep(self, name: str, found: Alternative | str) -> None:
        if isinstance(found, str):
            self.left_out.append((name, found))
        elif found.from_nearest < self.apart:
            near = min(self.plans, key=lambda plan: distance(plan.by_offer, found.by_offer))
            self.left_out.append(
                (name, f"its plan is {found.from_nearest:.2g} from `{near.name}`: {found.above_best:.2%} dearer than the best")
            )
        else:
            self.plans.append(found)

    def _extreme(self, measure: Measure) -> Alternative | str:
        plan = self.certificate.plan
        assert plan is not None and self.certificate.multipliers is not None
        found = least_within(self.built.program, plan, measure, self.budget, self.what_if.settings, self.neighbours)
        # reach 1: the plan is dearer than the best on purpose, and must not be improved
        [c] = certify_plans(self.built.program, [found.plan], self.certificate.multipliers, self.what_if.settings.gap_relative, reach=1.0)
        if c.plan is None or not math.isfinite(c.objective) or c.on_derived_bound:
            return f"no plan could be certified: {c.reason}"
        if c.objective > self.budget:
            return "the plan that was found exceeds the budget"
        before = measure.value(plan)
        if measure.sign * (before - measure.value(c.plan)) <= SMALLEST * max(abs(before), measure.scale):
            return "no plan within the budget was found that goes further than the best plan"
        return self._told(
            measure.name, c.plan, self.built, c.objective, measure.unit, before, measure.value(c.plan), self._bound(measure, found)
        )

    def _bound(self, measure: Measure, found: Extreme) -> float:
        """How far any plan of the case can go. Where work queues the program of the search is a restriction (the lines of spare replicas),
        and the relaxation is asked."""
        groups = self.built.structure.pair_index.groups
        if groups is None or not math.isfinite(found.price):
            return found.bound
        stated, enough = measure.laid_on(self.base.program, found.price), rough(self.what_if.settings, self.best.cost_usd, self.budget)
        return bound_on(measure, true_lower_bound(stated, groups, enough), self.budget, found.price)

    def _few(self, name: str, key: Key, unit: str) -> Alternative | str:
        found = fewest(self.what_if, self.base, self.best, key, self.budget)
        if found.answer is None or found.after >= found.before:
            return f"none of {found.before} {unit} can be left out within the budget"
        c = found.answer.found.solution.certificate
        assert c.plan is not None
        return self._told(name, c.plan, found.answer.found.built, found.answer.cost_usd, unit, found.before, found.after, math.nan)

    def _told(
        self, name: str, plan: Plan, built: Built, cost_usd: float, unit: str, before: float, measure: float, bound: float
    ) -> Alternative:
        by_offer = self.weights.by_offer(plan)
        apart = [distance(by_offer, other.by_offer) for other in getattr(self, "plans", ())]
        return Alternative(
            name, cost_usd, cost_usd / self.best.cost_usd - 1, cost_usd / self.best.lower_bound_usd - 1, unit, before, measure, bound,
            apart[0] if apart else 0.0, min(apart, default=0.0), plan, built, by_offer,
        )  # fmt: skip


def _chosen(case: str, tried: list[tuple[str, Callable[[], Alternative | str]]], goals: Sequence[str]) -> list:
    names = [name for name, _ in tried]
    for goal in goals:
        if goal not in names:
            near = difflib.get_close_matches(goal, names, 2, 0.4)
            remedy = f"did you mean {' or '.join(near)}?" if near else f"choose among {', '.join(names)}"
            raise CaseError(case, "--goal", f"`{goal}` is no aim that an alternative to the best plan can have", remedy)
    return [(name, search) for name, search in tried if not goals or name in goals]


def common_core(plans: Sequence[Alternative]) -> tuple[tuple[CoreOrder, ...], float]:
    """The orders of the first year that all plans sign, each with the least count; and their share of the best plan's compute-years signed
    in that year (NaN where it signs nothing)."""
    structure = plans[0].built.structure
    weights = Weights(plans[0].built)
    best = plans[0].plan.z
    first = [a for a in structure.acquisitions if weights.first_year[a.period]]
    whole = sum(float(weights.signed[a.index] * best[a.index]) for a in first)
    core = []
    for a in first:
        if a.extends >= 0:  # no further chips
            continue
        count = min(float(plan.plan.z[a.index]) for plan in plans)
        if count >= LEAST_CHIPS:
            share = float(weights.signed[a.index]) * count / whole if whole > 0 else math.nan
            core.append(CoreOrder(a.offer, a.signing_date, a.scenario or "", count, float(best[a.index]), share))
    core.sort(key=lambda order: (order.signing_date, -order.share))
    return tuple(core), sum(order.share for order in core) if whole > 0 else math.nan
