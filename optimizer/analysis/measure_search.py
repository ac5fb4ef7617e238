"""The least of a measure that a budget allows: a search over its price, with a certified bound.

Let c(v) be the cost of a plan v of the program and m(v) its measure. For a price l > 0 the program that minimises c + l m differs from the
case's own in its costs only, so every plan of it is a plan of the case, and its certificate gives a number L(l) <= c(v) + l m(v) for every
plan v. For a plan within the budget, c(v) <= B, that says

    m(v) >= (L(l) - B) / l          for every l > 0 (weak duality)

which is how far any plan can go. From above: the program is convex, so a mix of a plan a with c(a) <= B and a plan b with c(b) > B in the
proportion at which the cost is B is a plan, with the mixed measure. The next price is the slope of the line from a to b: where both are
optimal for it, no plan lies below the line and the two bounds meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from optimizer.analysis.plan_measures import Measure
from optimizer.program.certificate import Status
from optimizer.program.cost import cost
from optimizer.program.program import Plan, Program
from optimizer.settings import Settings
from optimizer.solve import Neighbours, solve

SOLVES = 7  # at most, for one measure
CLOSE = 0.05  # of what was gained: a bound nearer than that ends the search
NOTHING = 1e-3  # of the measure's scale: a gain below that is not looked for
FASTER = 6.0  # the largest step of the price
SAME = 1e-3  # a step of the price below that changes nothing
INSIDE = 1e-7  # of the allowance: what a mix stays below the budget
ROUGH, OF_ALLOWANCE = 3e-4, 0.02


@dataclass(frozen=True)
class Corner:
    plan: Plan
    cost_usd: float
    measure: float  # signed: the less the better


@dataclass(frozen=True)
class Extreme:
    """`measure` of the plan; `bound`: no plan of the program within the budget has less (a measure with sign -1: more), NaN where nothing
    is known; `price`: the last one, in dollars per unit of the measure."""

    plan: Plan
    cost_usd: float
    measure: float
    bound: float
    price: float


def rough(settings: Settings, best_usd: float, budget_usd: float) -> Settings:
    """The gap that a search needs: OF_ALLOWANCE of the allowance, and at most ROUGH."""
    share = OF_ALLOWANCE * (budget_usd - best_usd) / max(abs(budget_usd), 1e-300)
    return replace(settings, gap_relative=max(settings.gap_relative, min(ROUGH, share)))


def bound_on(measure: Measure, lower_bound_usd: float, budget_usd: float, price: float) -> float:
    """How far the measure can go within the budget, where no plan costs less than `lower_bound_usd` with the measure at this price."""
    bound = (lower_bound_usd - budget_usd) / price
    return measure.sign * bound if math.isfinite(bound) else math.nan


def least_within(program: Program, best: Plan, measure: Measure, budget_usd: float, settings: Settings, neighbours: Neighbours) -> Extreme:
    """The plan with the least (most) of the measure among those that cost at most the budget. `best` is a plan of the program within it."""
    first = Corner(best, cost(program, best)["total"], measure.sign * measure.value(best))
    inside, outside, bound = first, None, -math.inf
    allowance = budget_usd - first.cost_usd
    if not (allowance > 0 and measure.scale > 0):
        return _mixed(program, measure, inside, outside, budget_usd, bound, math.nan)
    enough = rough(settings, first.cost_usd, budget_usd)
    price = 4.0 * allowance / measure.scale
    for _ in range(SOLVES):
        certificate = solve(measure.laid_on(program, price), enough, neighbours).certificate
        if certificate.plan is None:
            price /= FASTER
            continue
        if certificate.status in (Status.CERTIFIED, Status.FEASIBLE):
            bound = max(bound, (certificate.lower_bound - budget_usd) / price)
        corner = Corner(certificate.plan, cost(program, certificate.plan)["total"], measure.sign * measure.value(certificate.plan))
        if corner.cost_usd <= budget_usd:
            inside = corner if corner.measure < inside.measure else inside
        elif outside is None or corner.cost_usd < outside.cost_usd:
            outside = corner
        reached = inside.measure if outside is None else min(inside.measure, _between(inside, outside, budget_usd))
        if reached - bound <= max(CLOSE * (first.measure - reached), NOTHING * measure.scale):
            break
        following = _next(first, inside, outside, corner, price, budget_usd)
        if abs(following / price - 1) < SAME:
            break
        price = following
    return _mixed(program, measure, inside, outside, budget_usd, bound, price)


def _next(first: Corner, inside: Corner, outside: Corner | None, last: Corner, price: float, budget_usd: float) -> float:
    """The slope between the two corners beside the budget; before there are both, the price at which a cost that rises with the square of
    what is gained, as it did from the best plan to the last corner, meets the budget."""
    if outside is not None and inside is not first:
        return (outside.cost_usd - inside.cost_usd) / max(inside.measure - outside.measure, 1e-300)
    gained, paid, allowance = first.measure - last.measure, last.cost_usd - first.cost_usd, budget_usd - first.cost_usd
    if not (gained > 0 and paid > 0):
        return price * FASTER if outside is None else price / FASTER
    wanted = 2 * allowance / (gained * math.sqrt(allowance / paid))
    if outside is None:
        return min(max(wanted, 1.5 * price), FASTER * price)
    return max(min(wanted, price / 1.5), price / FASTER)


def _share(inside: Corner, outside: Corner, budget_usd: float) -> float:
    """Of the plan outside, in the mix that costs just less than the budget."""
    room = budget_usd - inside.cost_usd
    return max(0.0, room * (1 - INSIDE) / (outside.cost_usd - inside.cost_usd))


def _between(inside: Corner, outside: Corner, budget_usd: float) -> float:
    return inside.measure + _share(inside, outside, budget_usd) * (outside.measure - inside.measure)


def _mixed(
    program: Program, measure: Measure, inside: Corner, outside: Corner | None, budget_usd: float, bound: float, price: float
) -> Extreme:
    plan = inside.plan
    if outside is not None and outside.measure < inside.measure:
        share = _share(inside, outside, budget_usd)
        plan = Plan(*((1 - share) * a + share * b for a, b in zip(_arrays(inside.plan), _arrays(outside.plan), strict=True)))
    known = measure.sign * bound if math.isfinite(bound) else math.nan
    return Extreme(plan, cost(program, plan)["total"], measure.value(plan), known, price)


def _arrays(plan: Plan) -> tuple[np.ndarray, ...]:
    return plan.z, plan.x, plan.u, plan.ud, plan.r, plan.side_slack, plan.link_slack
