"""The cost table adds up to the objective: the accounts know the case and the quantities, the objective knows the program's arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer.build.build import Built, build
from optimizer.program.cost import cost, slack_costs
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import COLUMNS, cost_table, total_usd
from optimizer.spec import load_case

HERE = Path(__file__).resolve().parent.parent
SMALL = sorted((HERE / "oracle" / "cases").glob("*.yaml"))
LARGE = sorted((HERE.parent / "configs" / "cases").glob("*.yaml"))
CASES = [*SMALL, HERE / "unit" / "small_case.yaml", *LARGE]
PARTS = {
    "purchase": "acquisition", "operations": "acquisition", "lease": "acquisition", "reserved": "acquisition", "end_value": "acquisition",
    "on_demand": "rent", "spot": "rent", "existing": "constant", "unserved": "unserved", "share_excess": "slack",
}  # fmt: skip


def random_values(built: Built, seed: int) -> Values:
    """Any quantities: the identity is linear, so that feasibility does not matter and every coefficient is asked."""
    p, rng = built.program, np.random.default_rng(seed)
    n, b = p.nodes, p.blocks
    return Values(
        z=rng.exponential(50.0, p.acquisitions),
        x=rng.exponential(1.0, (n, b, p.pairs)),
        u=rng.exponential(1.0, (n, b, p.served)),
        ud=rng.exponential(1e3, (n, p.deferrable)),
        r=rng.exponential(5.0, (n, b, p.pools)) * (p.rent_upper > 0),
        side_slack=rng.exponential(1.0, (n, p.sides)),
        link_slack=rng.exponential(1e3, p.links),
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_any_quantities_cost_the_same_in_both_accounts(path: Path) -> None:
    built = build(load_case(path))
    values = random_values(built, 7)
    table = cost_table(built.structure, values).frame
    parts = cost(built.program, values)
    assert tuple(table.columns) == COLUMNS
    assert total_usd(table) == pytest.approx(parts["total"], rel=1e-12)
    by_category = table.groupby("category")["expected_present_value_usd"].sum()
    undone = slack_costs(built.program, values.side_slack, values.link_slack)[1].sum()  # unserved work of runs
    parts["unserved"] += undone
    parts["slack"] -= undone
    for part in ("rent", "constant", "unserved", "slack"):
        mine = sum(by_category.get(category, 0.0) for category, of in PARTS.items() if of == part)
        assert mine == pytest.approx(parts[part], rel=1e-11, abs=1e-9), part


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_the_table_of_a_plan_adds_up_to_its_certified_objective(path: Path) -> None:
    plan = optimizer.plan(load_case(path))
    if not plan.has_values:
        assert plan.cost.empty
        return
    assert total_usd(plan.cost) == pytest.approx(plan.objective_usd, rel=1e-9)
    assert not any("ADD UP" in warning for warning in plan.warnings)
    assert (plan.cost["expected_present_value_usd"] == plan.cost["probability"] * plan.cost["present_value_usd"]).all()
    penalties = plan.cost.loc[plan.cost["category"].isin(["unserved", "share_excess"]), "expected_present_value_usd"].sum()
    assert penalties == pytest.approx(plan.penalties_usd, rel=1e-9, abs=1e-9 * abs(plan.objective_usd))


def test_other_tables_hold_the_same_dollars() -> None:
    """Orders and unserved work are priced a second time, row by row."""
    plan = optimizer.plan(load_case(HERE / "unit" / "small_case.yaml"))
    by_category = plan.cost.groupby("category")["expected_present_value_usd"].sum()
    assert plan.unserved["expected_present_value_usd"].sum() == pytest.approx(by_category["unserved"], rel=1e-9)
    of_orders = plan.cost[plan.cost["source"].isin(plan.acquisitions["offer"])]
    assert plan.acquisitions["expected_present_value_usd"].sum() == pytest.approx(of_orders["expected_present_value_usd"].sum(), rel=1e-9)


def test_doubling_a_price_doubles_its_lines_and_no_others() -> None:
    path = HERE / "unit" / "small_case.yaml"
    before, after = (build(load_case(path, change)) for change in (None, {"offers": {"rent_east": {"price_usd_per_chip_hour": 7.8}}}))
    values = random_values(before, 3)
    old, new = (cost_table(built.structure, values).frame.groupby("source")["nominal_usd"].sum() for built in (before, after))
    ratio = new / old
    assert ratio["rent_east"] == pytest.approx(2.0)
    assert ratio.drop("rent_east").to_numpy() == pytest.approx(1.0)
