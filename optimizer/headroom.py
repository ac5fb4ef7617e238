"""Plan with the spare chips that waiting needs: convex-concave steps around the linear solver, and a bound that holds for the true model.

The chips that a group of streams needs beyond those that are busy are concave in its load (`optimizer.performance.replicas`), which no
linear program can hold. So it is replaced, group by group and period by period, by a line:

    from below   a secant through zero, slope spare(U) / U with U the most that the group can ever be asked for. The program with secants
                 is a relaxation: its certified lower bound bounds the true cost.
    from above   draw + slope * load, touching at the last plan's load and nowhere below the true curve: every plan of this program holds
                 the true needs. The draw is a fixed amount of held capacity, paid whether or not the group is served, so it is made only
                 where existing capacity, rent or orders that must be signed cover it; elsewhere the group is kept off the pool for
                 this step.

Two gaps come out and are never merged: the solver gap, of the last program from above, and the headroom gap, between the cost of that
plan and the bound of the relaxation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from optimizer.performance.replicas import Groups, SpareCurves
from optimizer.program.bound import lower_bound
from optimizer.program.certificate import Status
from optimizer.program.layout import held, held_operator
from optimizer.program.program import Array, Multipliers, Plan, Program
from optimizer.settings import Settings
from optimizer.solve import Neighbours, Solution, solve

ROUGH_GAP = 1e-3  # of the relaxation: its plan only says where to touch the curves
STEPS = 3  # at most
IDLE = 1e-4  # a load below this share of the group's largest counts as none
WORTH = 1.0  # busy chips per chip drawn that make a draw worth while
COVERED = 0.5  # share of a plan's signed capacity that a step may require again to cover a draw


@dataclass(frozen=True)
class Headroom:
    """What came out beside the solution: `program` is the last one from above, `lower_bound_true` bounds the true cost."""

    program: Program
    solution: Solution
    lower_bound_true: float
    gap_relative: float  # true cost of the plan less lower_bound_true, relative like the solver's gap


def solve_with_headroom(program: Program, groups: Groups, settings: Settings, neighbours: Neighbours | None = None) -> Headroom:
    """Certify a plan that holds the true chips of every group. `program` is without headroom."""
    most = most_load(program, groups)
    curves = SpareCurves(groups.loads, most.max(axis=(0, 1)))
    below, neighbours = from_below(program, groups, curves, most), neighbours or Neighbours()
    solution = solve(below, replace(settings, gap_relative=max(settings.gap_relative, ROUGH_GAP)), neighbours)
    tight = by_node(program, groups, curves, most)
    found, spent = _judged(below, solution, tight, -math.inf, holds=False), [solution]
    for _ in range(STEPS):
        certificate = solution.certificate
        if certificate.plan is None or certificate.multipliers is None:
            break
        stated = from_above(program, groups, curves, most, certificate.plan, certificate.multipliers)
        solution = solve(stated, settings, neighbours)
        spent.append(solution)
        if solution.infeasibility is not None:  # the step before meets every limit, and so must this one
            raise RuntimeError("a step of the spare replicas is infeasible although the step before it is not; please report this case")
        new = _judged(stated, solution, tight, found.lower_bound_true, holds=True)
        better = math.isnan(found.gap_relative) or new.solution.certificate.objective < found.solution.certificate.objective
        found = new if better else replace(found, lower_bound_true=new.lower_bound_true)
        if not found.gap_relative > settings.headroom_gap_relative or not better:
            break
    return replace(found, solution=_together(found.solution, spent))


def _judged(stated: Program, solution: Solution, tight: Program, bound: float, holds: bool) -> Headroom:
    """A solve with the best bound so far and its headroom gap; NaN where there is no plan, or none that `holds` the true chips."""
    certificate = solution.certificate
    if certificate.multipliers is not None:
        bound = max(bound, lower_bound(tight, certificate.multipliers).value)
    if not holds or certificate.plan is None or certificate.status not in (Status.CERTIFIED, Status.FEASIBLE):
        return Headroom(stated, solution, bound, math.nan)
    scale = max(1.0, abs(certificate.objective - certificate.penalties - stated.constant))
    return Headroom(stated, solution, bound, (certificate.objective - bound) / scale)


def _together(last: Solution, spent: list[Solution]) -> Solution:
    """The solution with the time, the iterations and the notes of all solves."""
    seconds: dict[str, float] = {}
    for solution in spent:
        for name, value in solution.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    iterations, compilations = sum(s.iterations for s in spent), sum(s.compilations for s in spent)
    resumed = [s.resumed_at_iteration for s in spent if s.resumed_at_iteration is not None]
    notes = tuple(dict.fromkeys(note for s in spent for note in s.notes))
    return replace(
        last, seconds=seconds, iterations=iterations, compilations=compilations, notes=notes,
        resumed_at_iteration=sum(resumed) if resumed else None,
    )  # fmt: skip


# loads ----------------------------------------------------------------------------------------------------------------------------
def most_load(program: Program, groups: Groups) -> Array:
    """[N, B, Q]: all demand of a group's streams."""
    grouped = np.nonzero(groups.pair >= 0)[0]
    demand = np.zeros((program.nodes, program.blocks, program.pairs))
    demand[..., grouped] = program.demand[..., program.pair_stream[grouped]]
    return groups.rates(demand)


def by_template(program: Program, values: Array) -> Array:
    """[N, B, Q] -> [C, Q]: the largest over the nodes and blocks of a template."""
    out = np.zeros((program.templates, values.shape[-1]))
    np.maximum.at(out, program.template_of_node, values.max(axis=1))
    return out


# programs -------------------------------------------------------------------------------------------------------------------------
def sloped(program: Program, groups: Groups, slope: Array) -> Program:
    """The program with `slope` [C, Q] chips more per unit of work of each group."""
    more = np.concatenate([slope, np.zeros((len(slope), 1))], axis=1)[:, groups.pair]
    return replace(program, pair_capacity=program.pair_capacity + more)


def from_below(program: Program, groups: Groups, curves: SpareCurves, most: Array) -> Program:
    """The relaxation, with a secant per template."""
    return sloped(program, groups, curves.secant(by_template(program, most), groups.points(program.templates)))


def by_node(program: Program, groups: Groups, curves: SpareCurves, most: Array) -> Program:
    """The relaxation with a secant of its own in every node: tighter, and larger than a solver should get."""
    template = program.template_of_node
    spread = {
        name: getattr(program, name)[template]
        for name in (
            "block_hours", "pair_capacity", "placement_cost", "placement_upper", "unserved_cost", "unserved_cost_deferrable", "side_pair",
        )
    }  # fmt: skip
    alone = replace(program, template_of_node=np.arange(program.nodes), **spread)
    points = groups.points(program.templates)[template]
    return from_below(alone, replace(groups, point=points), curves, most)


def from_above(program: Program, groups: Groups, curves: SpareCurves, most: Array, plan: Plan, multipliers: Multipliers) -> Program:
    """The restriction around a plan: its optimum holds the true needs of every group."""
    largest = by_template(program, most)
    at = typical_load(program, groups, plan, multipliers)
    wanted = at > IDLE * largest
    touch = np.where(wanted, np.minimum(at, largest), largest)
    points = groups.points(program.templates)
    slope, draw = curves.tangent(np.where(largest > 0, touch, 1.0), np.where(largest > 0, largest, 1.0), points)
    sure, cover = _coverage(program, plan)
    kept = _affordable(program, groups, wanted & (largest > 0), _main(program, groups, plan), at, draw, sure + cover)
    slope, draw = np.where(kept, slope, 0.0), np.where(kept, draw, 0.0)
    owed = np.zeros((program.templates, program.pools))
    np.add.at(owed.T, groups.pool, draw.T)
    by_state = np.zeros((program.states, program.pools))
    np.maximum.at(by_state, program.state_of_node, owed[program.template_of_node])
    base = program.held_base.copy()
    base[:, : program.pools] -= by_state
    lower = _must_sign(program, plan, np.maximum(by_state - sure, 0.0), cover)
    away = np.concatenate([~kept, np.zeros((program.templates, 1), bool)], axis=1)[:, groups.pair]  # [C, P]
    upper = np.where(away[:, None, :], 0.0, program.placement_upper)
    return replace(sloped(program, groups, slope), held_base=base, acquisition_lower=lower, placement_upper=upper)


def typical_load(program: Program, groups: Groups, plan: Plan, multipliers: Multipliers) -> Array:
    """[C, Q]: the load at which a line from above costs least, summed over the nodes of a template: their mean, weighted by what capacity
    is worth there."""
    rate = groups.rates(plan.x)
    worth = np.maximum(-multipliers.capacity[:, :, groups.pool], 0.0)
    weighted, weight = np.zeros((2, program.templates, groups.size))
    np.add.at(weighted, program.template_of_node, (worth * rate).sum(axis=1))
    np.add.at(weight, program.template_of_node, worth.sum(axis=1))
    return np.where(weight > 0, weighted / np.where(weight > 0, weight, 1.0), by_template(program, rate))


def _coverage(program: Program, plan: Plan) -> tuple[Array, Array]:
    """[Q, G] each: capacity that a state has whatever is signed, rent included, and what the plan's orders could be held to."""
    sure = held(program, program.acquisition_lower)[:, : program.pools]
    rent = np.full(sure.shape, np.inf)
    np.minimum.at(rent, program.state_of_node, np.where(np.isfinite(program.rent_upper), program.rent_upper, 0.0).min(axis=1))
    sure = sure + np.where(np.isfinite(rent), rent, 0.0)
    positive = held_operator(program).maximum(0.0)
    signed = (positive @ np.maximum(plan.z - program.acquisition_lower, 0.0)).reshape(program.held_base.shape)[:, : program.pools]
    return sure, COVERED * signed


def _main(program: Program, groups: Groups, plan: Plan) -> Array:
    """bool[C, Q]: groups that carry more of some stream's work than any other group does."""
    work = np.zeros((program.templates, program.pairs))
    np.add.at(work, program.template_of_node, plan.x.sum(axis=1))
    found = np.zeros((program.templates, groups.size), bool)
    for stream in np.unique(program.pair_stream[groups.pair >= 0]):
        pairs = np.nonzero((program.pair_stream == stream) & (groups.pair >= 0))[0]
        found[np.arange(program.templates), groups.pair[pairs[work[:, pairs].argmax(axis=1)]]] = True
    return found


def _affordable(program: Program, groups: Groups, wanted: Array, main: Array, at: Array, draw: Array, most: Array) -> Array:
    """bool[C, Q]: groups whose draws fit into what can cover them, the ones that carry most work per chip drawn first.

    A group that would keep fewer chips busy than it draws is left out, unless it is the main one of a stream.
    """
    room = np.full((program.templates, program.pools), np.inf)
    np.minimum.at(room, program.template_of_node, most[program.state_of_node])
    kept = np.zeros(wanted.shape, bool)
    busy_s = groups.loads.busy_s[groups.points(program.templates)]  # [C, Q]
    worth = at * busy_s * groups.load.chips / np.maximum(draw, 1e-300)
    for c in range(program.templates):
        for q in np.argsort(-worth[c], kind="stable"):
            worthwhile = worth[c, q] >= WORTH or main[c, q]
            if wanted[c, q] and worthwhile and draw[c, q] <= room[c, groups.pool[q]]:
                kept[c, q] = True
                room[c, groups.pool[q]] -= draw[c, q]
    return kept


def _must_sign(program: Program, plan: Plan, short: Array, cover: Array) -> Array:
    """Lower bounds of the acquisitions that hold every state's draw: the plan's own orders, in the share that is needed."""
    share = np.zeros(program.held_base.shape)
    share[:, : program.pools] = COVERED * np.where(short > 0, short / np.where(cover > 0, cover, np.inf), 0.0)
    entries = held_operator(program)
    needed = np.zeros(program.acquisitions)
    np.maximum.at(needed, entries.column, np.where(entries.value > 0, share.ravel()[entries.row], 0.0))
    given = program.acquisition_lower
    return np.minimum(given + needed * (1 + 1e-9) * np.maximum(plan.z - given, 0.0), program.acquisition_upper)


def true_lower_bound(program: Program, groups: Groups, settings: Settings) -> float:
    """What every plan costs at least with the true spare replicas, by one solve of the relaxation; -inf where it gave nothing. `program` is
    without headroom."""
    most = most_load(program, groups)
    curves = SpareCurves(groups.loads, most.max(axis=(0, 1)))
    multipliers = solve(from_below(program, groups, curves, most), settings).certificate.multipliers
    return -math.inf if multipliers is None else lower_bound(by_node(program, groups, curves, most), multipliers).value
