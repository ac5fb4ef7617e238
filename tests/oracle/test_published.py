"""Instances with known optima, stated through `Program`: LandS as published, a tree worked out by hand, random trees against HiGHS."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import optimizer
from optimizer.program.certificate import Certificate, Status
from optimizer.program.program import Program, Sparse
from optimizer.program.rows import violation
from tests.oracle.extensive import Result, solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program

LANDS_OPTIMUM = 381.85 + 1 / 300  # published to six digits, 381.853333
GAP = 1e-8
TREES = 50


def stated(**given: object) -> Program:
    """A program without side and linking rows, deferrable and free streams and rent; `given` states the rest. Its arrays fix the sizes."""
    demand = np.asarray(given["demand"], dtype=float)
    nodes, blocks, served = demand.shape
    pairs, pools = len(given["pair_pool"]), given["pools"]  # type: ignore[arg-type]
    assert isinstance(pools, int)
    parts: dict = dict(
        scenario_of_node=np.arange(nodes), template_of_node=np.zeros(nodes, int), served=served, deferrable=0, free=0,
        block_hours=np.ones((1, blocks)), pair_capacity=np.ones((1, pairs)), placement_upper=np.full((1, blocks, pairs), np.inf),
        unserved_cost_deferrable=np.zeros((1, 0)), demand_deferrable=np.zeros((nodes, 0)), availability=np.ones((nodes, pools)),
        rent_cost=np.zeros((nodes, blocks, pools)), rent_upper=np.zeros((nodes, blocks, pools)),
        limit_matrix=Sparse.empty(2), limit_lower=np.zeros(0), limit_upper=np.zeros(0),
        side_pair=np.zeros((1, 0, blocks, pairs)), side_rent=np.zeros((nodes, 0, blocks, pools)),
        side_slack_cost=np.zeros((nodes, 0)), side_slack_upper=np.zeros((nodes, 0)),
        link_lower=np.zeros(0), link_upper=np.zeros(0), link_scenario=np.zeros(0, int),
        link_acquisition=Sparse.empty(2), link_placement=Sparse.empty(4), link_unserved=Sparse.empty(4),
        link_deferred=Sparse.empty(3), link_rent=Sparse.empty(4),
        link_slack_cost=np.zeros(0), link_slack_upper=np.zeros(0), link_slack_sign=np.zeros(0),
    )  # fmt: skip
    return Program(**{**parts, **given, "demand": demand})


def lands() -> Program:
    """LandS (Louveaux and Smeers, 1988): four plants, three modes of demand served together, three futures of the first mode."""
    capex, running = np.array([10.0, 7, 16, 6]), np.array([4.0, 4.5, 3.2, 5.5])
    duration = np.array([10.0, 6, 1])
    plant = np.arange(4)
    stream, pool = np.repeat(np.arange(3), 4), np.tile(plant, 3)
    return stated(
        parent=np.array([-1]),
        decision_of_state=np.array([0]),
        state_of_node=np.zeros(3, int),
        signed_at=np.zeros(4, int),
        pools=4,
        pair_stream=stream,
        pair_pool=pool,
        acquisition_cost=capex,
        acquisition_lower=np.zeros(4),
        acquisition_upper=np.full(4, 100.0),
        upper_is_derived=np.zeros(4, bool),
        held_matrix=Sparse((np.zeros(4, int), plant, plant), np.ones(4)),
        held_base=np.zeros((1, 4)),
        limit_matrix=Sparse((np.repeat([0, 1], 4), np.tile(plant, 2)), np.concatenate([capex, np.ones(4)])),
        limit_lower=np.array([-np.inf, 12.0]),
        limit_upper=np.array([120.0, np.inf]),
        node_weight=np.array([0.3, 0.4, 0.3]),
        placement_cost=(duration[stream] * running[pool]).reshape(1, 1, 12),
        unserved_cost=np.full((1, 1, 3), 1000.0),
        demand=np.array([[[first, 3.0, 2.0]] for first in (3, 5, 7)]),
    )


# A tree of three stages with a purchase at every node. Node 0 is today; 1, 2 follow it; 3, 4 follow 1; 5, 6 follow 2; both ways are
# equally likely everywhere. One pool; what is bought lasts to the end. A chip costs 9 today, 6 at the second stage, 4 at the third; a unit
# of work that is not served costs 5 per stage.
TREE_PARENT = (-1, 0, 0, 1, 1, 2, 2)
TREE_CHANCE = (1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25)
TREE_PRICE = (9.0, 6.0, 6.0, 4.0, 4.0, 4.0, 4.0)
TREE_DEMAND = (2.0, 6.0, 2.0, 10.0, 6.0, 4.0, 2.0)
TREE_UNSERVED = 5.0


def hand_tree() -> Program:
    """The tree above; one recourse node on each decision node."""
    parent, nodes = TREE_PARENT, len(TREE_PARENT)
    reached = [(state, bought) for state in range(nodes) for bought in range(nodes) if bought in ancestors(state)]
    state, bought = (np.array(side) for side in zip(*reached, strict=True))
    return stated(
        parent=np.array(parent),
        decision_of_state=np.arange(nodes),
        state_of_node=np.arange(nodes),
        signed_at=np.arange(nodes),
        pools=1,
        pair_stream=np.array([0]),
        pair_pool=np.array([0]),
        acquisition_cost=np.array(TREE_CHANCE) * np.array(TREE_PRICE),
        acquisition_lower=np.zeros(nodes),
        acquisition_upper=np.full(nodes, 50.0),
        upper_is_derived=np.zeros(nodes, bool),
        held_matrix=Sparse((state, np.zeros(len(state), int), bought), np.ones(len(state))),
        held_base=np.zeros((nodes, 1)),
        node_weight=np.array(TREE_CHANCE),
        placement_cost=np.zeros((1, 1, 1)),
        unserved_cost=np.full((1, 1, 1), TREE_UNSERVED),
        demand=np.array(TREE_DEMAND).reshape(nodes, 1, 1),
    )


def ancestors(node: int) -> list[int]:
    """The node and every node before it."""
    return [] if node < 0 else [node, *ancestors(TREE_PARENT[node])]


def stopping_cost(node: int, level: float) -> float:
    """Least expected cost, seen from the node, of the unit of work at this level of demand while no chip has been bought for it."""
    following = [k for k, before in enumerate(TREE_PARENT) if before == node]
    waiting = sum(stopping_cost(k, level) for k in following) / max(1, len(following))
    return min(TREE_PRICE[node], TREE_UNSERVED * (TREE_DEMAND[node] > level) + waiting)


def certified(program: Program, gap_relative: float) -> Certificate:
    """The certificate, which must be CERTIFIED, with a plan that keeps every row."""
    certificate = optimizer.solve(program, optimizer.Settings(gap_relative=gap_relative)).certificate
    assert certificate.status is Status.CERTIFIED, certificate.reason
    assert certificate.plan is not None and violation(program, certificate.plan).feasible
    assert certificate.gap_relative <= gap_relative
    return certificate


def agrees(certificate: Certificate, known: Result) -> None:
    """Lower bound <= optimum <= cost of the plan, up to what HiGHS's own tolerances allow."""
    assert known.status == "optimal"
    slack = 1e-9 * max(1.0, abs(known.objective))
    assert certificate.lower_bound <= known.objective + slack
    assert certificate.objective >= known.objective - slack
    assert abs(certificate.objective - known.objective) <= certificate.gap + slack


def test_lands() -> None:
    program = lands()
    certificate = certified(program, GAP)
    assert certificate.plan is not None
    assert certificate.objective == pytest.approx(LANDS_OPTIMUM, rel=1.1 * GAP)
    assert certificate.lower_bound == pytest.approx(LANDS_OPTIMUM, rel=1.1 * GAP)
    np.testing.assert_allclose(certificate.plan.z, [8 / 3, 4, 10 / 3, 2], rtol=1e-6)
    assert certificate.plan.u.max() < 1e-9
    assert certificate.penalties < 1e-6
    agrees(certificate, solve_extensive(program))


def test_tree_by_hand() -> None:
    """Every level of demand is its own problem of when to stop waiting:

    levels 0 to 2   needed everywhere: buy today                                              9      x 2 = 18
    levels 2 to 4   needed at 1, 3, 4 and at 5: buy at 1 (6), at 5 (4, half the time)         4      x 2 =  8
    levels 4 to 6   needed at 1, 3, 4: buy at 1 (6)                                           3      x 2 =  6
    levels 6 to 10  needed at 3: buy there (4)                                                1      x 4 =  4
    """
    levels = (0.0, *sorted(set(TREE_DEMAND)))
    closed_form = sum((high - low) * stopping_cost(0, (low + high) / 2) for low, high in pairwise(levels))
    assert closed_form == pytest.approx(36.0, abs=1e-12)
    program = hand_tree()
    certificate = certified(program, GAP)
    assert certificate.plan is not None
    assert certificate.objective == pytest.approx(36.0, abs=1e-6)
    np.testing.assert_allclose(certificate.plan.z, [2, 4, 0, 4, 0, 2, 0], rtol=1e-6, atol=1e-6)
    agrees(certificate, solve_extensive(program))


@pytest.mark.parametrize("seed", range(TREES))
def test_random_tree(seed: int) -> None:
    program = random_program(seed, **FAMILIES["tree"])
    assert set(program.signed_at.tolist()) == set(range(program.decisions)), "something can be bought at every node"
    certificate = certified(program, GAP)
    agrees(certificate, solve_extensive(program))


def test_random_trees_have_one_shape() -> None:
    """So that fifty of them compile once."""
    sizes = {(p.decisions, p.nodes, p.pairs, p.acquisitions, p.limits, p.links, p.sides) for p in map(tree, range(TREES))}
    assert len(sizes) == 1


def tree(seed: int) -> Program:
    """One of the random trees."""
    return random_program(seed, **FAMILIES["tree"])
