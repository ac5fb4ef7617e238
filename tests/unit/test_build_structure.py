"""Rows, columns and their names; single coefficients by hand (case reference, sections 3, 4, 6 and 7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from optimizer.build import BuildError, Built, build
from optimizer.spec.resolved import Quantity
from tests.unit.small_case import small_case


@pytest.fixture(scope="module")
def built() -> Built:
    return build(small_case())


def at(names: tuple[str, ...], name: str) -> int:
    return names.index(name)


def test_every_row_and_column_has_its_own_name(built: Built) -> None:
    p = built.program
    sizes = {
        "decision": p.decisions,
        "state": p.states,
        "recourse": p.nodes,
        "block": p.blocks,
        "pool": p.pools,
        "side": p.sides,
        "stream": p.streams,
        "acquisition": p.acquisitions,
        "limit": p.limits,
    }
    for axis, size in sizes.items():
        names = getattr(p.names, axis)
        assert len(names) == len(set(names)) == size, axis
    assert p.names.recourse[5] == "boom 2027Q1"
    assert p.names.stream == ("chat europe", "chat us", "helper europe", "mail europe", "tune", "digest", "train")


def test_records_stand_at_their_index(built: Built) -> None:
    s = built.structure
    for records in (
        s.periods,
        s.blocks,
        s.decisions,
        s.recourse,
        s.pools,
        s.streams,
        s.pairs,
        s.acquisitions,
        s.limits,
        s.sides,
        s.existing,
    ):
        assert [record.index for record in records] == list(range(len(records)))
    assert [p.stream for p in s.pairs] == built.program.pair_stream.tolist() == sorted(p.stream for p in s.pairs)
    assert [p.pool for p in s.pairs] == built.program.pair_pool.tolist()


def test_dates_of_an_order(built: Built) -> None:
    record = built.structure.acquisitions[at(built.program.names.acquisition, "own_texas @2026-10-01")]
    assert (record.delivery_date, record.end_date) == (date(2027, 1, 1), date(2031, 1, 1))  # 3 months, then 48
    assert (record.delivery_period, record.counted, record.present) == (1, (1, 2, 3), (1, 2, 3))
    names = built.program.names.acquisition
    assert "own_texas @2027-07-01 [base]" not in names  # delivered at the end of the horizon
    assert "own_sweden @2027-01-01" not in names  # the chip comes on 2027-02-15
    assert "reserved_west @2026-10-01" not in names  # the window opens on 2027-01-01


def test_price_of_a_shared_and_of_a_branch_order(built: Built) -> None:
    p = built.program
    # lease_north: 19000 / 8766 dollars per hour, signed 2027-01-01 for six months: 90 and 91 days, a quarter of it up front.
    hourly = 19000 / 8766
    start, first, second = (1.07 ** (-days / 365.25) for days in (92, 92 + 45, 182 + 45.5))
    cash = hourly * 24 * (0.75 * (90 * first + 91 * second) + 0.25 * 181 * start)
    expected = 0.6 + 0.4 * 1.15  # gpus cost 1.15 in boom
    assert p.acquisition_cost[at(p.names.acquisition, "lease_north @2027-01-01")] == pytest.approx(expected * cash, rel=1e-13)
    # the same at the first node of the branch of boom (probability 0.4): 91 and 92 days
    start, first, second = (1.07 ** (-days / 365.25) for days in (182, 182 + 45.5, 273 + 46))
    cash = 1.15 * hourly * 24 * (0.75 * (91 * first + 92 * second) + 0.25 * 183 * start)
    assert p.acquisition_cost[at(p.names.acquisition, "lease_north @2027-04-01 [boom]")] == pytest.approx(0.4 * cash, rel=1e-13)


def test_rent_is_in_usable_chips(built: Built) -> None:
    p = built.program
    n, g = at(p.names.recourse, "boom 2027Q2"), at(p.names.pool, "g90 aws:us-east-1")
    years = (182 + 45.5) / 365.25
    price = 3.9 * 0.8**years * (1.2 * 1.1**years) * 1.15
    hours = 50 * 91 / 7  # ten hours on five days of the week
    assert p.rent_cost[n, 0, g] == pytest.approx(price * hours / 0.9, rel=1e-13)
    assert p.rent_upper[n, 0, g] == pytest.approx(30 * 0.9, rel=1e-15)
    assert built.structure.pools[g].rent_usable_share == 0.9


def test_demand_by_hand(built: Built) -> None:
    p = built.program
    n = at(p.names.recourse, "boom 2026Q4")
    # chat us, no profile: level end, so all of it at 92 days: 150 * 1.6^y * 0.6 of the origin * (1.1 * 1.5^y) * 1.3
    y = 92 / 365.25
    assert p.demand[n, 1, at(p.names.stream, "chat us")] == pytest.approx(150 * 1.6**y * 0.6 * 1.1 * 1.5**y * 1.3, rel=1e-13)
    # tune may not move: 9000 exaFLOP * (1.1 * 1.5^y) at mid-period, over 2208 hours
    y = 46 / 365.25
    assert p.demand[n, 0, at(p.names.stream, "tune")] == pytest.approx(9000 * 1.1 * 1.5**y / 2208, rel=1e-13)
    # train: the step of 2027-02-01 is before the middle (2027-02-15) of the first quarter
    n, train = at(p.names.recourse, "base 2027Q1"), at(p.names.stream, "train") - p.served
    assert p.demand_deferrable[n, train] == 50000


def test_profile_by_hand(built: Built) -> None:
    p = built.program
    local = [2, 1.5, 1.2, 1, 1, 1.3, 2, 3.5, 6, 8.5, 9.5, 10, 9, 9.7, 10.2, 9.9, 9, 8, 6.5, 5.5, 5, 4.2, 3.3, 2.6]
    curve = [local[hour % 24] * (0.43 if hour >= 120 else 1.0) for hour in range(168)]  # Saturday 00:00 is hour 120, local time
    day = [curve[(24 * weekday + hour + 1) % 168] for weekday in range(5) for hour in range(8, 18)]
    mean = (sum(day) / 50) / (sum(curve) / 168)
    n, helper = at(p.names.recourse, "base 2026Q4"), at(p.names.stream, "helper europe")
    assert p.demand[n, 0, helper] == pytest.approx(90 * mean, rel=1e-13)
    hours = p.block_hours[0]
    assert p.demand[n, :, helper] @ hours == pytest.approx(90 * hours.sum(), rel=1e-13)  # the mean over the week is 1


def test_chips_and_energy_per_unit(built: Built) -> None:
    p = built.program
    pair = next(q for q in built.structure.pairs if q.name == "chat us on g90 texas")
    assert pair.throughput.rate.value == 2210  # 33 + 450 <= 600
    chips = 500 / 2210
    assert p.pair_capacity[0, pair.index] == pytest.approx(chips, rel=1e-15)
    # load 0.94, idle 0.29 kW, PUE 1.17; 53 dollars per MWh growing by 4 % a year; 50 * 92 / 7 hours
    energy = chips * (0.94 - 0.29) * 1.17 * (50 * 92 / 7) / 1000 * 53 * 1.04 ** (46 / 365.25)
    assert p.placement_cost[0, 0, pair.index] == pytest.approx(energy, rel=1e-13)
    cloud = next(q for q in built.structure.pairs if q.name == "chat us on g90 aws:us-east-1")
    assert not p.placement_cost[:, :, cloud.index].any()


def test_unserved_prices(built: Built) -> None:
    p, hours = built.program, 50 * 92 / 7
    assert p.unserved_cost[0, 0, at(p.names.stream, "chat us")] == pytest.approx(9 / 1e6 * 500 * 3600 * hours, rel=1e-14)
    assert p.unserved_cost[0, 0, at(p.names.stream, "mail europe")] == pytest.approx(5 / 1e6 * 500 * hours, rel=1e-14)
    assert p.unserved_cost[0, 0, at(p.names.stream, "tune")] == pytest.approx(9 * hours, rel=1e-14)
    movable = p.unserved_cost_deferrable[0]
    assert movable.tolist() == [pytest.approx(3 / 1e6 * 250), 8]


def test_power_row(built: Built) -> None:
    """Texas in the first quarter of 2027: the least of 0.09, 0.07 (from 10 February) and 0.11 MW, less 12 old chips of 0.77 kW."""
    p, limit = built.program, next(r for r in built.structure.limits if r.name == "power texas 2027Q1")
    assert p.limit_upper[limit.index] == pytest.approx(0.07 - 12 * 0.77 * 1.17 / 1000, rel=1e-13)
    columns = p.limit_matrix.index[1][p.limit_matrix.index[0] == limit.index]
    assert [p.names.acquisition[z] for z in columns] == ["own_texas @2026-10-01"]
    values = p.limit_matrix.value[p.limit_matrix.index[0] == limit.index]
    assert values.tolist() == [pytest.approx(1.31 * 1.17 / 1000, rel=1e-15)]


def test_rows_of_siblings_are_stated_once(built: Built) -> None:
    """What both branches hold in 2027Q2 in Texas was signed before the reveal (lead time 3 months): one row for two nodes."""
    limit = next(r for r in built.structure.limits if r.name == "power texas 2027Q2")
    assert limit.decisions == (2, 4) and limit.scenario is None
    assert next(r for r in built.structure.limits if r.name == "power texas 2027Q3 [boom]").scenario == "boom"


def test_rows_without_columns() -> None:
    """Before anything can be delivered in Texas, 12 old chips draw 10.8 kW: 12 kW hold them and the row goes, 10 kW do not and it stays."""
    fits = build(small_case({"sites": {"texas": {"power_mw": {"by_date": None, "by_period": [0.012, 0.1, 0.1, 0.1]}}}}))
    assert "power texas 2026Q4" not in fits.program.names.limit
    short = build(small_case({"sites": {"texas": {"power_mw": {"by_date": None, "by_period": [0.010, 0.1, 0.1, 0.1]}}}}))
    limit = next(r for r in short.structure.limits if r.name == "power texas 2026Q4")
    assert limit.empty and short.program.limit_upper[limit.index] == pytest.approx(0.010 - 12 * 0.77 * 1.17 / 1000, rel=1e-12)
    assert not (short.program.limit_matrix.index[0] == limit.index).any()


def test_side_row(built: Built) -> None:
    """own_compute max 0.8 in base 2027Q1: the left side of  group - 0.8 * all <= e  for one chip of each kind."""
    p, s = built.program, built.structure
    k, q = at(p.names.side, "share own_compute max"), at(p.names.state, "2027Q1")
    state, output, acquisition = p.held_matrix.index
    row = {
        p.names.acquisition[z]: v
        for d, o, z, v in zip(state, output, acquisition, p.held_matrix.value, strict=True)
        if (d, o) == (q, p.pools + k)
    }
    assert row["own_texas @2026-10-01"] == pytest.approx(-(1 - 0.8) * 0.987, rel=1e-14)  # 987 TFLOP/s; held stands on the right
    assert row["lease_north @2026-10-01"] == pytest.approx(0.8 * 0.987, rel=1e-14)
    # existing, wholly there in 2027Q1: 12 own p6 of 918 TFLOP/s, 7 contracted g90
    assert p.held_base[q, p.pools + k] == pytest.approx(-(0.2 * 12 * 0.918 - 0.8 * 7 * 0.987), rel=1e-13)
    # a usable chip rented in a block of 50 of 168 hours is 50 / 168 / 0.9 paid chips on average
    n, g = at(p.names.recourse, "base 2027Q1"), at(p.names.pool, "g90 aws:us-east-1")
    assert p.side_rent[n, k, 0, g] == pytest.approx(-0.8 * 0.987 * 50 / 168 / 0.9, rel=1e-13)
    assert p.side_slack_cost[n, k] == 2.5 * 24 * 90
    spend = at(p.names.side, "share cloud_spend max")
    assert p.side_rent[n, spend, 0, g] == pytest.approx((1 - 0.5) * p.rent_cost[n, 0, g], rel=1e-14)
    assert p.side_slack_cost[n, spend] == 0.3
    assert s.sides[spend].unit == "USD"


def test_existing_fleet_is_the_constant(built: Built) -> None:
    # old: 12 p6 in Texas to 2027-05-15: 92, 90, 44 days; 900 / 365.25 dollars a day and idle 0.17 kW
    mid = [1.07 ** (-days / 365.25) for days in (46, 92 + 45, 182 + 45.5)]
    power = [53 * 1.04 ** (days / 365.25) for days in (46, 92 + 45, 182 + 45.5)]
    old = sum(12 * d * (900 / 365.25 + 0.17 * 1.17 * 24 / 1000 * e) * m for d, e, m in zip((92, 90, 44), power, mid, strict=True))
    # contract: 7 g90 from 2026-11-01 to 2027-07-01: 61, 90, 91 days
    contract = sum(7 * d * 24 * 2.2 * m for d, m in zip((61, 90, 91), mid, strict=True))
    assert built.program.constant == pytest.approx(old + contract, rel=1e-13)
    assert built.structure.existing[0].counted == (0, 1) and built.structure.existing[1].counted == (1, 2)


def test_two_numbers_under_one_key_are_refused() -> None:
    case = small_case()
    workload = case.workloads["chat"]
    clash = replace(workload, unserved_price=Quantity(workload.unserved_price.value + 1, case.workloads["helper"].unserved_price.key))
    with pytest.raises(BuildError, match="helper"):
        build(replace(case, workloads={**case.workloads, "chat": clash}))


def test_two_rents_in_one_pool_are_refused() -> None:
    case = small_case()
    twin = replace(case.offers["rent_east"], name="twin")
    with pytest.raises(BuildError, match="twin"):
        build(replace(case, offers={**case.offers, "twin": twin}))


def test_nothing_but_demand() -> None:
    """A case without offers and limits still has a program: everything unserved."""
    case = small_case()
    bare = replace(case, offers={}, existing={}, supply=(), capex=(), share=())
    built = build(bare)
    assert built.program.pools == built.program.pairs == built.program.acquisitions == built.program.limits == built.program.sides == 0
    assert built.structure.unplaced == tuple(range(7))
    assert np.all(built.program.unserved_cost > 0)
