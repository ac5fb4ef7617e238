"""Tables against the plan's arrays and against each other, and shadow prices against re-solves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer.report.frames import frame, sums
from optimizer.spec import load_case
from tests.oracle.extensive import solve_extensive
from tests.unit.small_case import small_case

CASES = Path(__file__).resolve().parent.parent / "oracle" / "cases"


@pytest.fixture(scope="module")
def plan() -> optimizer.Plan:
    return optimizer.plan(small_case())


def test_orders_are_the_arrays_in_words(plan: optimizer.Plan) -> None:
    values, records = plan.solution.certificate.plan, plan.built.structure.acquisitions
    assert values is not None
    assert plan.acquisitions["count_chips"].sum() == pytest.approx(values.z.sum(), rel=1e-8)
    row = plan.acquisitions.iloc[0]
    (record,) = (a for a in records if (a.offer, a.signing_date, a.scenario or "") == (row["offer"], row["signing_date"], row["scenario"]))
    assert row["count_chips"] == values.z[record.index] and row["usable_chips"] == row["count_chips"] * record.usable_share
    assert row["delivery_date"] == record.delivery_date and row["end_date"] == record.end_date


def test_what_is_held_and_rented_carries_the_work(plan: optimizer.Plan) -> None:
    """For every scenario, period and place: chips used on average over blocks never exceed the usable chips of the mix."""
    structure = plan.built.structure
    hours = {block.name: block.hours_per_week / 168 for block in structure.blocks}
    used: dict[tuple, float] = {}
    for row in plan.placement.to_dict("records"):
        key = row["scenario"], row["period"], row["chip"], row["place"]
        used[key] = used.get(key, 0.0) + row["chips_used"] * hours[row["block"]]
    have: dict[tuple, float] = {}
    for row in plan.mix.to_dict("records"):
        for scenario in [row["scenario"]] if row["scenario"] else ["base", "boom"]:
            key = scenario, row["period"], row["chip"], row["place"]
            have[key] = have.get(key, 0.0) + row["usable_chips"]
    assert used
    for key, chips in used.items():
        assert chips <= have[key] * (1 + 1e-9), key


def test_placed_and_unserved_work_is_the_demand(plan: optimizer.Plan) -> None:
    program, structure = plan.built.program, plan.built.structure
    (stream,) = (s for s in structure.streams if s.name == "chat us")
    placed = plan.placement[(plan.placement["workload"] == "chat") & (plan.placement["origin"] == "us")]
    left = plan.unserved[(plan.unserved["workload"] == "chat") & (plan.unserved["origin"] == "us")]
    assert len(left)
    for row in left.to_dict("records"):
        same = placed[(placed["scenario"] == row["scenario"]) & (placed["period"] == row["period"]) & (placed["block"] == row["block"])]
        (node,) = (n for n in structure.recourse if n.scenario == row["scenario"] and structure.periods[n.period].name == row["period"])
        (block,) = (b.index for b in structure.blocks if b.name == row["block"])
        demand = program.demand[node.index, block, stream.position]
        assert same["work"].sum() + row["amount"] == pytest.approx(demand, rel=1e-8)
        assert row["share_of_demand"] == pytest.approx(row["amount"] / demand, rel=1e-8)


def test_commitments_beyond_the_horizon_by_hand() -> None:
    plan = optimizer.plan(load_case(CASES / "51_long_contracts.yaml"))
    table = plan.commitments_beyond_horizon
    assert set(table["kind"]) == {"lease", "reserved_1y", "reserved_3y"} & set(table["kind"]) and len(table)
    end = plan.built.structure.calendar.end
    for row in table.to_dict("records"):
        orders = plan.acquisitions[(plan.acquisitions["offer"] == row["offer"]) & (plan.acquisitions["scenario"] == row["scenario"])]
        late = [o for o in orders.to_dict("records") if o["end_date"] > end]
        days = [(o["end_date"] - max(end, o["delivery_date"])).days for o in late]
        due = sum(o["count_chips"] * o["price_at_signing_usd"] * 24 * d for o, d in zip(late, days, strict=True))
        assert row["nominal_usd"] == pytest.approx(due) and row["chips"] == pytest.approx(sum(o["count_chips"] for o in late))


def test_prices_of_limits_are_slopes_of_the_optimal_cost(plan: optimizer.Plan) -> None:
    """The cost is convex in a right-hand side, so a re-solve on either side lies above the line whose slope is the price."""
    program, prices = plan.built.program, plan.prices
    base = solve_extensive(program).objective
    rows = prices[prices["kind"].isin(["site_power", "supply", "capex", "total", "share"])].reset_index(drop=True)
    asked = [i for i in rows.index if rows.loc[i, "price_usd_per_unit"] > 0][:3]
    assert asked
    for i in asked:
        price, step = float(rows.loc[i, "price_usd_per_unit"]), 1e-3 * max(abs(float(rows.loc[i, "limit_value"])), 1e-3)
        for sign in (1, -1):
            upper = program.limit_upper.copy()
            upper[i] += sign * step
            moved = solve_extensive(replace(program, limit_upper=upper)).objective
            assert moved >= base - sign * price * step - 1e-7 * abs(base), rows.loc[i, "name"]
        assert rows.loc[i, "binding"]


def test_prices_of_availability_are_slopes_of_the_optimal_cost(plan: optimizer.Plan) -> None:
    program, structure, prices = plan.built.program, plan.built.structure, plan.prices
    base = solve_extensive(program).objective
    row = prices[prices["kind"] == "available_chips"].iloc[0]
    (record,) = (a for a in structure.acquisitions if a.name == row["name"])
    upper = program.acquisition_upper.copy()
    upper[record.index] += 0.1
    moved = solve_extensive(replace(program, acquisition_upper=upper)).objective
    assert base - 0.1 * row["price_usd_per_unit"] - 1e-6 * base <= moved <= base + 1e-6 * base

    row = prices[prices["kind"] == "available_rent"].iloc[0]
    (rent,) = (r for r in structure.rents if r.name == row["limit"])
    (node,) = (n for n in structure.recourse if f"{rent.name} {n.name}" == row["name"])
    rent_upper = program.rent_upper.copy()
    rent_upper[node.index, :, rent.pool] += 0.01 * rent.usable_share  # one hundredth of a paid chip
    moved = solve_extensive(replace(program, rent_upper=rent_upper)).objective
    assert base - moved == pytest.approx(0.01 * row["price_usd_per_unit"], rel=1e-3, abs=1e-6 * base * 0.01)


def test_capacity_prices_are_slopes_of_the_optimal_cost(plan: optimizer.Plan) -> None:
    program, structure = plan.built.program, plan.built.structure
    base = solve_extensive(program).objective
    rows = plan.prices[plan.prices["kind"] == "capacity"].sort_values("price_usd_per_unit", ascending=False)
    place = {f"{g.name} {d.name}": (d.index, g.index) for d in structure.decisions for g in structure.pools}
    for row in rows.head(3).to_dict("records"):
        assert row["price_usd_per_unit"] > 0 and row["binding"]
        held = program.held_base.copy()
        held[place[row["name"]]] += 0.01
        moved = solve_extensive(replace(program, held_base=held)).objective
        assert base + 1e-9 * base >= moved >= base - 0.01 * row["price_usd_per_unit"] - 1e-7 * base, row["name"]


def test_share_of_the_cost_on_assumed_numbers() -> None:
    """Half of two equal pools' cost rests on an assumed price when one of the two prices is assumed."""
    case = small_case()
    none = optimizer.plan(case).assumed
    assert (none.price, none.throughput, none.either) == (0.0, 0.0, 0.0)
    offers = {name: {"assumed": True} for name in ("own_texas", "lease_north")}
    some = optimizer.plan(small_case({"offers": offers}))
    cost = some.cost.assign(size=some.cost["expected_present_value_usd"].abs())
    mine = cost[cost["source"].isin(offers) & (cost["category"] != "energy")]["size"].sum() / cost["size"].sum()
    assert some.assumed.price == pytest.approx(mine) and 0 < mine < 1 and some.assumed.either == pytest.approx(mine)


def test_workloads_that_no_pool_may_serve_are_excused() -> None:
    plan = optimizer.plan(load_case(CASES / "22_latency_points.yaml"))
    assert {e.workload for e in plan.excuses} == {"near"}
    assert len({e.pool for e in plan.excuses}) == len(plan.built.structure.pools)
    assert all(e.sentence for e in plan.excuses)


def test_tables_without_rows_keep_the_types_of_their_columns(plan: optimizer.Plan) -> None:
    empty = optimizer.plan(load_case(CASES / "40_infeasible_constant.yaml"))
    assert empty.status == "INFEASIBLE" and np.isnan(empty.objective_usd)
    for name, table in empty.tables().items():
        assert table.empty, name
        full = plan.tables()[name]
        assert list(table.columns) == list(full.columns), name
        kinds = {column: full[column].dtype.kind for column in full if "date" not in column}
        assert {column: table[column].dtype.kind for column in kinds} == kinds, name


def test_sums_keep_the_order_and_weigh() -> None:
    table = frame(("period", "chips", "probability"), [("b", 1.0, 0.5), ("a", 2.0, 1.0), ("b", 4.0, 0.25)])
    assert sums(table, ["period"], ["chips"]) == {("b",): [5.0], ("a",): [2.0]}
    assert sums(table, ["period"], ["chips"], "probability") == {("b",): [1.5], ("a",): [2.0]}
