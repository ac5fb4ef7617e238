"""The builder against the independent second builder of the oracle: both follow docs/case_reference.md and share no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.build import build, unit_costs
from optimizer.program import Plan, Program
from optimizer.spec import load_case
from tests.oracle.extensive import solve_extensive
from tests.oracle.second_builder import solve_case

CASES = sorted((Path(__file__).parents[1] / "oracle" / "cases").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_optimum_and_bounds(path: Path) -> None:
    second, built = solve_case(path), build(load_case(path))
    first = solve_extensive(built.program)
    assert first.status == second.status
    if first.status != "optimal":
        return
    assert first.objective == pytest.approx(second.objective, rel=1e-9)
    np.testing.assert_allclose(np.sort(built.program.acquisition_upper), np.sort(list(second.upper.values())), rtol=1e-12)
    assert built.program.constant == pytest.approx(second.cost_by_category["existing"], rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    "stem", ["02_reserved_upfront_lease_lead", "17_existing_fleet", "20_spot_and_firm", "30_share_total_compute", "35_reveal"]
)
def test_cost_table(stem: str) -> None:
    """The categories of the optimum; these cases have one optimal plan."""
    path = next(p for p in CASES if p.stem == stem)
    second, built = solve_case(path), build(load_case(path))
    plan = solve_extensive(built.program).plan
    assert plan is not None
    p, costs = built.program, unit_costs(built.structure, built.parameters.values)
    table = {name: float(costs.weight * plan.z @ array.sum(axis=1)) for name, array in costs.present.items()}
    for name, amount in _recourse(p, plan).items():
        table[name] = table.get(name, 0.0) + amount
    table["existing"] = float(costs.existing_present.sum())
    assert sum(table.values()) == pytest.approx(second.objective, rel=1e-9)
    for name, amount in second.cost_by_category.items():
        assert table.get(name, 0.0) == pytest.approx(amount, rel=1e-6, abs=1e-6 * second.objective), name


def _recourse(p: Program, plan: Plan) -> dict[str, float]:
    c, weight = p.template_of_node, p.node_weight
    rent = np.einsum("n,nbg,nbg->g", weight, p.rent_cost, plan.r)
    spot = np.array([name.endswith("(preemptible)") for name in p.names.pool])
    unserved = np.einsum("n,nbw,nbw->", weight, p.unserved_cost[c], plan.u)
    deferred = np.einsum("n,nw,nw->", weight, p.unserved_cost_deferrable[c], plan.ud)
    excess = np.where(np.isfinite(p.side_slack_cost), p.side_slack_cost, 0.0)
    return {
        "energy": np.einsum("n,nbp,nbp->", weight, p.placement_cost[c], plan.x),
        "on_demand": rent[~spot].sum(),
        "spot": rent[spot].sum(),
        "unserved": unserved + deferred,
        "share_excess": np.einsum("n,nk,nk->", weight, excess, plan.side_slack),
    }
