"""From a resolved case to the structured program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.build.numbers import Array
from optimizer.build.parameters import Parameters
from optimizer.build.structure import Structure, structure_of
from optimizer.build.values import values
from optimizer.program.program import Program, Sparse
from optimizer.spec.resolved import Case


@dataclass(frozen=True)
class Built:
    """`program` is `program_of(structure, values(structure, parameters.values))`."""

    program: Program
    structure: Structure
    parameters: Parameters


def build(case: Case) -> Built:
    """The program of a case in numpy, a record for every row and column, and the vector of its numbers."""
    structure, parameters = structure_of(case)
    return Built(program_of(structure, values(structure, parameters.values)), structure, parameters)


def program_of(structure: Structure, arrays: dict[str, Array]) -> Program:
    """The program with these numbers (numpy arrays, or jax arrays whose values are known)."""
    s, tree, index = structure, structure.tree, structure.acquisition
    numbers: dict[str, Any] = {name: np.array(array, float) for name, array in arrays.items()}
    constant = float(numbers.pop("constant"))
    node, side, order, _ = s.share.held
    coordinates = {
        "held_matrix": (
            np.concatenate([index.held[0], node]),
            np.concatenate([index.pool[index.held[1]], side + len(s.pools)]),
            np.concatenate([index.held[1], order]),
        ),
        "limit_matrix": (s.limit.row, s.limit.acquisition),
        "link_placement": s.run.entry,
    }
    sparse: dict[str, Any] = {name: Sparse(where, numbers.pop(name)) for name, where in coordinates.items()}
    axes = {"link_acquisition": 2, "link_unserved": 4, "link_deferred": 3, "link_rent": 4}
    links: dict[str, Any] = {name: Sparse.empty(count) for name, count in axes.items()}
    for name in links:
        numbers.pop(name)
    return Program(
        parent=tree.parent,
        decision_of_state=np.arange(tree.decisions),
        state_of_node=tree.decision_of_recourse,
        scenario_of_node=np.repeat(np.arange(tree.scenarios), tree.periods),
        template_of_node=s.pair_index.errors.template_of_node,
        signed_at=index.decision,
        served=s.demand.served,
        deferrable=s.demand.deferrable,
        free=s.run.runs,
        pools=len(s.pools),
        pair_stream=s.pair_index.stream,
        pair_pool=s.pair_index.pool,
        upper_is_derived=index.derived,
        link_scenario=s.run.scenario,
        constant=constant,
        names=s.names,
        **sparse,
        **links,
        **numbers,
    )
