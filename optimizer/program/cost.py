"""What a plan costs, part by part."""

from __future__ import annotations

import math

import numpy as np

from optimizer.program.layout import node_chunks
from optimizer.program.program import Array, Plan, Program


def node_costs(program: Program, x: Array, u: Array, ud: Array, r: Array) -> tuple[Array, Array, Array]:
    """(placement, unserved, rent) of every node, weighted, each [N]."""
    p, template = program, program.template_of_node
    placement = np.empty(p.nodes)
    for nodes in node_chunks(p):
        placement[nodes] = np.einsum("nbp,nbp->n", p.placement_cost[template[nodes]], x[nodes])
    unserved = np.einsum("nbw,nbw->n", p.unserved_cost[template], u) + np.einsum("nw,nw->n", p.unserved_cost_deferrable[template], ud)
    rent = np.einsum("nbg,nbg->n", p.rent_cost, r)
    return p.node_weight * placement, p.node_weight * unserved, p.node_weight * rent


def slack_costs(program: Program, side_slack: Array, link_slack: Array) -> tuple[Array, Array]:
    """(side slack of every node [N], slack of every linking row [R]), in money."""
    side = np.where(np.isfinite(program.side_slack_cost), program.side_slack_cost, 0.0) * side_slack
    link = np.where(np.isfinite(program.link_slack_cost), program.link_slack_cost, 0.0) * link_slack
    return program.node_weight * side.sum(axis=1), link


def cost(program: Program, plan: Plan) -> dict[str, float]:
    """The plan's cost by part: acquisition, placement, unserved, rent, slack, constant, and their total."""
    placement, unserved, rent = (math.fsum(a.tolist()) for a in node_costs(program, plan.x, plan.u, plan.ud, plan.r))
    side, link = slack_costs(program, plan.side_slack, plan.link_slack)
    parts = {
        "acquisition": math.fsum((program.acquisition_cost * plan.z).tolist()),
        "placement": placement,
        "unserved": unserved,
        "rent": rent,
        "slack": math.fsum(side.tolist()) + math.fsum(link.tolist()),
        "constant": float(program.constant),
    }
    return {"total": math.fsum(parts.values()), **parts}
