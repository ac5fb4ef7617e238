"""A program of some of another one's scenarios: the recourse nodes of those, their weights rescaled to as much as all had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.program.program import Array, Program, Sparse

OF_NODE = (
    "state_of_node", "scenario_of_node", "template_of_node", "node_weight", "demand", "demand_deferrable", "availability", "rent_cost",
    "rent_upper", "side_rent", "side_slack_cost", "side_slack_upper",
)  # fmt: skip
LINKED = ("link_placement", "link_unserved", "link_deferred", "link_rent")


def of_scenarios(program: Program, scenarios: list[int]) -> Program:
    """Acquisitions and their limits stay, those signed in other scenarios with nothing to serve. Rows over several nodes lose the terms of
    the nodes that go."""
    kept = np.isin(program.scenario_of_node, scenarios)
    place = np.cumsum(kept) - 1
    nodes = {name: getattr(program, name)[kept] for name in OF_NODE}
    nodes["node_weight"] = nodes["node_weight"] * (program.node_weight.sum() / nodes["node_weight"].sum())
    nodes["scenario_of_node"] = np.searchsorted(sorted(scenarios), nodes["scenario_of_node"])
    links = {name: _of_nodes(getattr(program, name), kept, place) for name in LINKED}
    recourse = tuple(name for name, stays in zip(program.names.recourse, kept, strict=False) if stays)
    return replace(program, **nodes, **links, names=replace(program.names, recourse=recourse))


def _of_nodes(terms: Sparse, kept: Array, place: Array) -> Sparse:
    stays = kept[terms.index[1]]
    row, node, *rest = (axis[stays] for axis in terms.index)
    return Sparse((row, place[node], *rest), terms.value[stays])
