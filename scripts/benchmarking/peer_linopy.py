"""linopy: the same problem stated in a modelling language, solved by HiGHS; what stating it costs is kept apart.

Capacity held by a state is a variable of its own, as a modeller would write it: acquisitions meet it once per state, not once per node.
"""

from __future__ import annotations

import time

import numpy as np

from optimizer.program.layout import held_operator, limit_operator
from optimizer.program.program import Multipliers, Plan, Program
from scripts.benchmarking.peer_highs import iteration_counts
from scripts.benchmarking.proposal import Goal, NotAvailableError, Proposal, UnfinishedError


def linopy_highs(program: Program, goal: Goal) -> Proposal:
    """Programs without deferrable and free streams, side rows and links; others raise NotAvailableError."""
    try:
        import linopy
        import xarray
    except ImportError as error:
        raise NotAvailableError(f"linopy cannot be imported ({error}); pip install capacity-optimizer[peers]") from error
    p = program
    if p.deferrable or p.free or p.sides or p.links:
        raise NotAvailableError("the linopy model states served streams, capacity and limits only")
    start = time.perf_counter()

    def labelled(values, *axes: str):
        coordinates = {axis: np.arange(size) for axis, size in zip(axes, np.shape(values), strict=True)}
        return xarray.DataArray(np.asarray(values, float), dims=axes, coords=coordinates)

    def group(of_pair, name: str):
        return xarray.DataArray(of_pair, dims="pair", coords={"pair": pair}, name=name)

    node, block, pair = np.arange(p.nodes), np.arange(p.blocks), np.arange(p.pairs)
    template = p.template_of_node
    model = linopy.Model()
    z = model.add_variables(labelled(p.acquisition_lower, "order"), labelled(p.acquisition_upper, "order"), name="z")
    x = model.add_variables(0, labelled(p.placement_upper[template], "node", "block", "pair"), name="x")
    u = model.add_variables(0, coords=[("node", node), ("block", block), ("stream", np.arange(p.served))], name="u")
    r = model.add_variables(0, labelled(p.rent_upper, "node", "block", "pool"), name="r")
    held = model.add_variables(coords=[("state", np.arange(p.states)), ("pool", np.arange(p.pools))], name="held")
    dense = held_operator(p).csr().toarray().reshape(p.states, p.pools, p.acquisitions)
    model.add_constraints(held - (z * labelled(dense, "state", "pool", "order")).sum("order") == labelled(p.held_base, "state", "pool"))
    placed = x.groupby(group(p.pair_stream, "stream")).sum()
    model.add_constraints(placed + u == labelled(p.demand, "node", "block", "stream"), name="demand")
    load = (x * labelled(p.pair_capacity[template], "node", "pair")).groupby(group(p.pair_pool, "pool")).sum()
    at = held.sel(state=xarray.DataArray(p.state_of_node, dims="node", coords={"node": node}))
    capacity = model.add_constraints(load - r - at * labelled(p.availability, "node", "pool") <= 0, name="capacity")
    limit = None
    if p.limits:
        rows = (z * labelled(limit_operator(p).csr().toarray(), "limit", "order")).sum("order")
        if np.isfinite(p.limit_lower).any():
            raise NotAvailableError("the linopy model states upper limits only")
        limit = model.add_constraints(rows <= labelled(p.limit_upper, "limit"), name="limit")
    weight = p.node_weight[:, None, None]
    model.add_objective(
        (z * labelled(p.acquisition_cost, "order")).sum()
        + (x * labelled(weight * p.placement_cost[template], "node", "block", "pair")).sum()
        + (u * labelled(weight * p.unserved_cost[template], "node", "block", "stream")).sum()
        + (r * labelled(weight * p.rent_cost, "node", "block", "pool")).sum()
    )
    began = time.perf_counter()
    status, condition = model.solve("highs", time_limit=float(goal.limit_s), log_to_console=False)
    ended = time.perf_counter()
    if status != "ok":
        raise UnfinishedError(f"linopy ends with {status}, {condition}", timed_out="time" in str(condition))
    multipliers = Multipliers(
        capacity.dual.transpose("node", "block", "pool").values, np.zeros((p.nodes, 0)),
        np.zeros(0) if limit is None else limit.dual.values, np.zeros(0),
    )  # fmt: skip
    plan = Plan(
        z.solution.values, x.solution.transpose("node", "block", "pair").values, u.solution.transpose("node", "block", "stream").values,
        np.zeros((p.nodes, 0)), r.solution.transpose("node", "block", "pool").values, np.zeros((p.nodes, 0)), np.zeros(0),
    )  # fmt: skip
    seconds = {"model": began - start, "solve": ended - began, "total": ended - began}
    counts = iteration_counts(model.solver_model.getInfo())
    detail = {**{f"{kind}_iterations": n for kind, n in counts.items() if n > 0}, "status": str(condition)}
    return Proposal(plan, multipliers, max(counts.values()), "HiGHS's choice, by linopy, which passes the model again", seconds, detail)
