"""What makes a member of the family harder than the reference: work that may move between blocks, training inside a window of periods,
and a price on the worst scenarios. Each takes a Program and returns one with more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.program.program import Program, Sparse
from scripts.benchmarking.family_draws import UNSERVED_USD

WINDOW_SHARE = 0.5  # of the work that a stream of middling demand does in the window
TAIL = 0.1  # CVaR of the dearest tenth
TAIL_WEIGHT = 0.5  # beside the expected cost
PENALTY_SHARE = 0.4  # of the penalty on served work: work that may wait is worth less


def with_deferrable(program: Program, streams: int) -> Program:
    """The last `streams` served workloads become deferrable: one row over all blocks."""
    p = program
    kept = p.served - streams
    hours = p.block_hours[p.template_of_node]
    return replace(
        p,
        served=kept,
        deferrable=streams,
        demand=p.demand[:, :, :kept].copy(),
        demand_deferrable=np.einsum("nb,nbw->nw", hours, p.demand[:, :, kept:]),
        unserved_cost=p.unserved_cost[:, :, :kept].copy(),
        unserved_cost_deferrable=np.full((p.templates, streams), PENALTY_SHARE * UNSERVED_USD),
    )


def with_windows(program: Program, runs: int, first: int, last: int, seed: int) -> Program:
    """Training runs that may use any pool in the periods [first, last): a linking row per run and scenario, with a priced slack."""
    p, rng = program, np.random.default_rng([seed, 1])
    periods = p.nodes // p.scenarios
    pairs = runs * p.pools
    need = rng.uniform(0.5, 1.5, (runs, p.pools)).ravel()
    rate = float(np.median(p.demand)) * rng.uniform(0.5, 1.5, runs)
    hours = p.block_hours[0]
    amount = rate * float(hours.sum()) * (last - first) * WINDOW_SHARE
    run_of_pair = np.repeat(np.arange(runs), p.pools)
    upper = np.tile(np.repeat(4 * rate, p.pools), (1, p.blocks, 1))
    scenario, run = (a.ravel() for a in np.meshgrid(np.arange(p.scenarios), np.arange(runs), indexing="ij"))
    row, period, block, pair = (a.ravel() for a in np.indices((p.scenarios * runs, last - first, p.blocks, p.pools)))
    index = row, scenario[row] * periods + first + period, block, p.pairs + run[row] * p.pools + pair
    work = amount[run]
    energy = hours[None, :, None] * 0.05 * need[None, None, :]
    return replace(
        p,
        free=runs,
        pair_stream=np.concatenate([p.pair_stream, p.streams + run_of_pair]),
        pair_pool=np.concatenate([p.pair_pool, np.tile(np.arange(p.pools), runs)]),
        pair_capacity=np.concatenate([p.pair_capacity, need[None]], axis=1),
        placement_cost=np.concatenate([p.placement_cost, energy], axis=2),
        placement_upper=np.concatenate([p.placement_upper, upper], axis=2),
        side_pair=np.concatenate([p.side_pair, np.zeros((1, 0, p.blocks, pairs))], axis=3),
        link_lower=work,
        link_upper=work,
        link_scenario=scenario,
        link_placement=Sparse(index, hours[block]),
        link_slack_cost=np.full(len(work), PENALTY_SHARE * UNSERVED_USD / p.scenarios),
        link_slack_upper=work,
        link_slack_sign=np.ones(len(work)),
    )


def with_tail_price(program: Program) -> Program:
    """Expected cost plus TAIL_WEIGHT times the CVaR of what is paid for rent and unserved work: one row per scenario over its recourse,
    one level for all (Rockafellar and Uryasev)."""
    p = program
    periods = p.nodes // p.scenarios
    discount = p.node_weight * p.scenarios  # every scenario is equally likely
    unserved = discount[:, None, None] * p.unserved_cost[p.template_of_node]
    rent = discount[:, None, None] * p.rent_cost
    most = float((unserved * p.demand).sum() / p.scenarios) * 4
    node_u, block_u, stream = (a.ravel() for a in np.indices(unserved.shape))
    node_r, block_r, pool = (a.ravel() for a in np.indices(rent.shape))
    rows = np.arange(p.scenarios)
    return replace(
        p,
        signed_at=np.append(p.signed_at, 0),
        acquisition_cost=np.append(p.acquisition_cost, TAIL_WEIGHT),
        acquisition_lower=np.append(p.acquisition_lower, 0.0),
        acquisition_upper=np.append(p.acquisition_upper, most),
        upper_is_derived=np.append(p.upper_is_derived, False),
        link_lower=np.full(p.scenarios, -np.inf),
        link_upper=np.zeros(p.scenarios),
        link_scenario=rows,
        link_acquisition=Sparse((rows, np.full(p.scenarios, p.acquisitions)), np.full(p.scenarios, -1.0)),
        link_unserved=Sparse((node_u // periods, node_u, block_u, stream), unserved.ravel()),
        link_rent=Sparse((node_r // periods, node_r, block_r, pool), rent.ravel()),
        link_slack_cost=np.full(p.scenarios, TAIL_WEIGHT / (TAIL * p.scenarios)),
        link_slack_upper=np.full(p.scenarios, 3 * most),
        link_slack_sign=np.full(p.scenarios, -1.0),
    )
