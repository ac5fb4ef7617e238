"""Spare replicas in the plan: against the best of all whole assignments, and on random programs against the true chips."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from optimizer.headroom import from_above, most_load, solve_with_headroom
from optimizer.performance.replicas import Groups, ReplicaLoad, SpareCurves, chips_needed, spare_chips
from optimizer.program.certificate import Status
from optimizer.program.layout import Layout, held
from optimizer.program.program import Multipliers, Names, Plan, Program, Sparse
from optimizer.settings import Settings
from tests.oracle.random_programs import random_program

EPS = 1e-9


def some_load(rng: np.random.Generator, size: int, **fixed: float) -> ReplicaLoad:
    """Groups of every kind: small and large replicas, tight and loose slacks, smooth and bursty, pooled and sticky."""
    prefill = np.exp(rng.uniform(np.log(0.02), np.log(0.5), size))
    sticky = rng.choice([0.0, 0.0, 1.0], size)  # with bursts and no slack a queue of one server carries next to nothing
    load = ReplicaLoad(
        chips=rng.choice([1.0, 2.0, 4.0, 8.0], size),
        busy_s=prefill * np.exp(rng.uniform(0.0, np.log(20.0), size)),
        prefill_s=prefill,
        slack_s=prefill * np.exp(rng.uniform(np.log(0.3), np.log(30.0), size)) * np.where(sticky > 0, 10.0, 1.0),
        slots=rng.choice([1.0, 8.0, 64.0, 300.0], size),
        arrival_cv2=np.where(sticky > 0, 1.0, rng.choice([1.0, 3.0], size)),
        service_cv2=rng.choice([0.0, 1.0, 3.0], size),
        peakedness=rng.choice([1.0, 2.0], size),
        sticky=sticky,
    )
    return load._replace(**{name: np.full(size, value) for name, value in fixed.items()})


# lines ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_a_tangent_is_nowhere_below_and_a_secant_nowhere_above(seed: int) -> None:
    rng = np.random.default_rng(seed)
    load = some_load(rng, 60)
    most = np.exp(rng.uniform(np.log(0.1), np.log(1e5), 60))
    at = most * np.exp(rng.uniform(np.log(1e-3), 0.0, 60))
    curves = SpareCurves(load, most * np.exp(rng.uniform(0.0, 2.0, 60)))
    slope, draw = (line[0] for line in curves.tangent(at[None], most[None]))
    below = curves.secant(most)
    for share in np.geomspace(1e-7, 1.0, 500):
        rate = most * share
        true = spare_chips(rate, load)
        assert (draw + slope * rate >= true * (1 - 1e-7) - EPS).all()
        assert (below * rate <= true * (1 + 1e-7) + EPS).all()
    assert (draw >= 0).all() and (slope >= 0).all()
    touching = draw + slope * at - spare_chips(at, load)
    assert (touching >= -EPS).all()
    assert np.median(touching / chips_needed(at, load)) < 1e-3  # it touches: only where the two needs cross does it stand off


# the whole against enumeration ----------------------------------------------------------------------------------------------------
def market(rng: np.random.Generator, streams: int = 4, pools: int = 3) -> tuple[Program, Groups]:
    """One node, one block: every stream may rent in every pool, two streams each share replicas; prices and sizes at random."""
    pair_stream, pair_pool = (a.ravel() for a in np.meshgrid(np.arange(streams), np.arange(pools), indexing="ij"))
    group = pair_pool * (streams // 2) + pair_stream // 2
    count = pools * (streams // 2)
    load = some_load(rng, count)
    pool = np.arange(count) // (streams // 2)
    demand = np.exp(rng.uniform(np.log(0.5), np.log(60.0), streams))
    most = 3 * chips_needed(demand.sum(), load).max()
    program = Program(
        parent=np.array([-1]), decision_of_state=np.array([0]), state_of_node=np.array([0]), scenario_of_node=np.array([0]),
        template_of_node=np.array([0]), signed_at=np.zeros(1, int), served=streams, deferrable=0, free=0, pools=pools,
        pair_stream=pair_stream, pair_pool=pair_pool, acquisition_cost=np.ones(1), acquisition_lower=np.zeros(1),
        acquisition_upper=np.ones(1), upper_is_derived=np.zeros(1, bool), held_matrix=Sparse.empty(3), held_base=np.zeros((1, pools)),
        limit_matrix=Sparse.empty(2), limit_lower=np.zeros(0), limit_upper=np.zeros(0), node_weight=np.ones(1),
        block_hours=np.ones((1, 1)), pair_capacity=(load.chips * load.busy_s)[group][None], placement_cost=np.zeros((1, 1, len(group))),
        placement_upper=np.full((1, 1, len(group)), np.inf), unserved_cost=np.full((1, 1, streams), 1e4),
        unserved_cost_deferrable=np.zeros((1, 0)), demand=demand[None, None], demand_deferrable=np.zeros((1, 0)),
        availability=np.ones((1, pools)), rent_cost=np.exp(rng.uniform(0.0, 0.7, (1, 1, pools))),
        rent_upper=np.full((1, 1, pools), most), side_pair=np.zeros((1, 0, 1, len(group))), side_rent=np.zeros((1, 0, 1, pools)),
        side_slack_cost=np.zeros((1, 0)), side_slack_upper=np.zeros((1, 0)), link_lower=np.zeros(0), link_upper=np.zeros(0),
        link_scenario=np.zeros(0, int), link_acquisition=Sparse.empty(2), link_placement=Sparse.empty(4), link_unserved=Sparse.empty(4),
        link_deferred=Sparse.empty(3), link_rent=Sparse.empty(4), link_slack_cost=np.zeros(0), link_slack_upper=np.zeros(0),
        link_slack_sign=np.zeros(0), names=Names(),
    )  # fmt: skip
    return program, Groups(group, pool, load)


def cheapest_assignment(program: Program, groups: Groups) -> float:
    """The true optimum: costs are concave and nothing couples the pools but demand, so every stream goes whole to one pool."""
    streams, pools = program.served, program.pools
    best = np.inf
    for choice in product(range(pools), repeat=streams):
        x = np.zeros(program.pairs)
        x[np.arange(streams) * pools + np.array(choice)] = program.demand[0, 0]
        chips = np.bincount(groups.pool, chips_needed(groups.rates(x), groups.load), pools)
        best = min(best, float(chips @ program.rent_cost[0, 0]))
    return best


def test_the_plan_is_near_the_best_assignment_and_the_bound_below_it() -> None:
    over = []
    for seed in range(12):
        program, groups = market(np.random.default_rng([seed, 3]))
        best = cheapest_assignment(program, groups)
        found = solve_with_headroom(program, groups, Settings())
        certificate = found.solution.certificate
        assert certificate.status is Status.CERTIFIED
        assert found.lower_bound_true <= best * (1 + 1e-9)
        assert certificate.objective >= best * (1 - 1e-6)
        assert found.gap_relative == pytest.approx((certificate.objective - found.lower_bound_true) / certificate.objective)
        over.append(certificate.objective / best - 1)
    assert np.median(over) < 0.02 and max(over) < 0.25, over


# random programs ------------------------------------------------------------------------------------------------------------------
def with_groups(program: Program, rng: np.random.Generator) -> Groups:
    """Every pair of a served stream is a group of its own."""
    own = np.nonzero(program.pair_stream < program.served)[0]
    group = np.full(program.pairs, -1)
    group[own] = np.arange(len(own))
    load = some_load(rng, len(own), chips=0.25)
    return Groups(group, program.pair_pool[own], load._replace(busy_s=program.pair_capacity[0, own] / load.chips))


def overrun(program: Program, groups: Groups, plan: Plan) -> float:
    """The largest true need of a pool over what it holds and rents, in shares of what it needs."""
    layout = Layout.of(program)
    load = layout.sum_by_pool(plan.x * program.pair_capacity[program.template_of_node][:, None], program.pools)
    spare = spare_chips(groups.rates(plan.x), groups.load)
    np.add.at(np.moveaxis(load, -1, 0), groups.pool, np.moveaxis(spare, -1, 0))
    room = (program.availability * held(program, plan.z)[program.state_of_node][:, : program.pools])[:, None] + plan.r
    return float(((load - room) / np.maximum(load, 1.0)).max())


@pytest.mark.parametrize(
    "family", [{"deferrable": 1}, {"scenarios": 3, "tree": True, "periods": 2}, {"rent": "none"}, {"floors": 2, "sides": 1}]
)
def test_plans_hold_the_true_chips(family: dict) -> None:
    for seed in range(3):
        program = random_program(seed, **family)
        groups = with_groups(program, np.random.default_rng(seed))
        found = solve_with_headroom(program, groups, Settings())
        certificate = found.solution.certificate
        assert certificate.plan is not None and certificate.status is Status.CERTIFIED
        assert overrun(program, groups, certificate.plan) <= 1e-7
        plain = solve_with_headroom(program, without_wait(groups), Settings()).solution.certificate
        assert certificate.objective >= plain.objective - 1e-6 * abs(plain.objective)  # spare chips are never free
        assert found.lower_bound_true <= certificate.objective
        assert found.lower_bound_true >= plain.lower_bound - 1e-3 * abs(plain.objective)


def without_wait(groups: Groups) -> Groups:
    """The same with next to no variability and all the time to wait."""
    load = groups.load
    calm = load._replace(slack_s=1e6 * load.prefill_s, slots=np.full_like(load.slots, 1e9), prefill_s=1e-3 * load.busy_s)
    return replace(groups, load=calm)


def test_every_program_from_above_has_a_feasible_plan_for_all_acquisitions() -> None:
    for seed in range(6):
        program = random_program(seed, deferrable=1, floors=1)
        rng = np.random.default_rng(seed)
        groups = with_groups(program, rng)
        most = most_load(program, groups)
        n, b, p = program.nodes, program.blocks, program.pairs
        guess = Plan(
            program.acquisition_upper * rng.random(program.acquisitions), rng.random((n, b, p)) * 5, np.zeros((n, b, program.served)),
            np.zeros((n, program.deferrable)), np.zeros((n, b, program.pools)), np.zeros((n, 0)), np.zeros(0),
        )  # fmt: skip
        prices = Multipliers(-rng.random((n, b, program.pools)), np.zeros((n, 0)), np.zeros(program.limits), np.zeros(0))
        stated = from_above(program, groups, SpareCurves(groups.load, most.max(axis=(0, 1))), most, guess, prices)
        stated.check()
        assert (stated.pair_capacity >= program.pair_capacity).all() and (stated.held_base <= program.held_base).all()
