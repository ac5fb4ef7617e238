"""Lots, tables of deliveries and breaks against closed forms, brute force and other ways to say the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import optimizer
from optimizer.analysis.field_gradient import field_gradient, moved
from optimizer.analysis.moved_program import moved_program
from optimizer.build.build import Built
from optimizer.given_orders import fixed, signed_counts
from optimizer.plan import build
from optimizer.report.accounting import total_usd
from optimizer.solve import solve
from optimizer.spec import CaseError, load_case
from optimizer.spec.extends import read_case_file
from tests.oracle.extensive import solve_extensive

ROOT = Path(__file__).resolve().parents[2]
REGION = "aws:us-east-1"
LEASE = {"kind": "lease", "chip": "h100", "place": REGION, "price_usd_per_chip_hour": 2, "term_months": 24}
ON_FIRST_DAY = {"window": {"from": date(2026, 10, 1), "until": date(2026, 10, 1)}}
DAYS = [92, 90, 91, 92, 92, 91, 91, 92]  # of the eight quarters
FALLS = [100] * 4 + [40] * 4


def case_file(folder: Path, offers: Mapping[str, Any], demand: list[float], more: Mapping[str, Any] | None = None) -> Path:
    """The case own_or_rent with one scenario, eight quarters, rent at 10 dollars an hour, and these offers; one chip per request/s."""
    data: dict[str, Any] = {
        "name": "terms",
        "extends": str(ROOT / "configs" / "cases" / "own_or_rent.yaml"),
        "horizon": {"periods": 8},
        "scenarios": None,
        "sites": {"hall": {"power_mw": 5000}},
        "offers": {"buy": None, "rent": {"price_usd_per_chip_year": None, "price_usd_per_chip_hour": 10}, **offers},
        "workloads": {"work": {"requests_per_second": {"by_period": demand}, "unserved_usd_per_million_output_tokens": 1000}},
    }
    path = folder / f"case{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(data))
    if more:
        second = folder / f"{path.stem}_more.yaml"
        second.write_text(yaml.safe_dump({"name": "terms", "extends": str(path), **more}))
        return second
    return path


def built_of(folder: Path, offers: Mapping[str, Any], demand: list[float], more: Mapping[str, Any] | None = None) -> Built:
    return build(load_case(case_file(folder, offers, demand, more)))


def best_usd(built: Built) -> float:
    found = solve(built.program).certificate
    assert found.status.name == "CERTIFIED", found.reason
    return found.objective


def cost_usd(built: Built, orders: list[dict[str, Any]]) -> float:
    return best_usd(fixed(built, signed_counts(built.structure, orders)))


# breaks ---------------------------------------------------------------------------------------------------------------------------
YEAR_TWO = 24 * sum(DAYS[4:])  # hours


@pytest.mark.parametrize(
    ("terms", "saved_per_chip"),
    [
        ({}, 2 * YEAR_TWO),
        ({"fee_usd_per_chip": 500}, 2 * YEAR_TWO - 500),
        ({"fee_usd_per_chip": 2 * YEAR_TWO + 1}, 0),
        ({"fee_share": 0.3}, 0.7 * 2 * YEAR_TWO),
        ({"notice_months": 12, "fee_share": 0.3}, 0.7 * 2 * YEAR_TWO),
    ],
)
def test_a_break_is_worth_the_rent_it_saves(terms: dict[str, Any], saved_per_chip: float, tmp_path: Path) -> None:
    """100 chips are needed for a year and 40 for another; a lease is cheaper than renting for the first year even without breaks."""
    whole = best_usd(built_of(tmp_path, {"flex": LEASE | ON_FIRST_DAY}, FALLS))
    assert whole == pytest.approx(100 * 2 * 24 * sum(DAYS), rel=1e-12)
    with_break = best_usd(built_of(tmp_path, {"flex": LEASE | ON_FIRST_DAY | {"breaks": {"months": [12], **terms}}}, FALLS))
    assert whole - with_break == pytest.approx(60 * saved_per_chip, rel=1e-9, abs=1e-3)


def test_what_is_paid_up_front_is_gone(tmp_path: Path) -> None:
    """A quarter of the whole contract is paid at delivery, also for chips handed back after a year."""
    offer = LEASE | ON_FIRST_DAY | {"upfront_share": 0.25, "breaks": {"months": [12]}}
    expected = 100 * 2 * 24 * (sum(DAYS) * 0.25 + sum(DAYS[:4]) * 0.75) + 40 * 2 * YEAR_TWO * 0.75
    assert best_usd(built_of(tmp_path, {"flex": offer}, FALLS)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("notice_months", "known"), [(3, True), (4, False)])
def test_a_break_follows_what_is_known_when_it_is_decided(notice_months: int, known: bool, tmp_path: Path) -> None:
    """Demand halves in one scenario, which is known from 2027-07-01 on. The break is on 2027-10-01: with a notice of three months its chips
    go in that scenario only; with four they stay in both, since renting them in the other is dearer."""
    scenarios = {
        "reveal": date(2027, 7, 1),
        "cases": {
            "stays": {"probability": 0.5},
            "falls": {"probability": 0.5, "demand": {"less": {"path": {"by_period": [1] * 4 + [0.5] * 4}}}},
        },
    }
    offer = LEASE | ON_FIRST_DAY | {"breaks": {"months": [12], "notice_months": notice_months}}
    built = built_of(tmp_path, {"flex": offer}, [100] * 8, {"scenarios": scenarios})
    expected = 100 * 2 * 24 * sum(DAYS) - (0.5 * 50 * 2 * YEAR_TWO if known else 0)
    assert best_usd(built) == pytest.approx(expected, rel=1e-12)
    extensions = [a for a in built.structure.acquisitions if a.extends >= 0]
    assert {a.scenario for a in extensions} == ({"stays", "falls"} if known else {None})
    assert {a.decision_date for a in extensions} == {date(2027, 7, 1) if known else date(2027, 4, 1)}


def test_the_price_of_an_extension_is_that_of_the_signing(tmp_path: Path) -> None:
    """New leases cost twice as much in one scenario; the extension of the old one does not."""
    scenarios = {
        "reveal": date(2027, 1, 1),
        "cases": {
            "same": {"probability": 0.5},
            "dear": {"probability": 0.5, "prices": {"up": {"path": {"by_period": [1] + [2] * 7}, "kinds": ["lease"]}}},
        },
    }
    offer = LEASE | ON_FIRST_DAY | {"breaks": {"every_months": 12}}
    built = built_of(tmp_path, {"flex": offer}, [100] * 8, {"scenarios": scenarios})
    assert best_usd(built) == pytest.approx(100 * 2 * 24 * sum(DAYS), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_break_every_period_is_leases_of_every_length(seed: int, tmp_path: Path) -> None:
    """A count that may only fall, at one price, is a sum of leases of 3, 6, .. 24 months signed on the same day."""
    rng = np.random.default_rng(seed)
    demand = [float(d) for d in rng.integers(10, 200, 8)]
    free = {"price_usd_per_chip_hour": 6} | ON_FIRST_DAY
    flexible = best_usd(built_of(tmp_path, {"flex": LEASE | free | {"breaks": {"every_months": 3}}}, demand))
    lengths = {f"lease_{m}": LEASE | free | {"term_months": m} for m in range(3, 25, 3)}
    assert flexible == pytest.approx(best_usd(built_of(tmp_path, lengths, demand)), rel=1e-10)
    least = min(best_usd(built_of(tmp_path, {"one": offer}, demand)) for offer in (lengths["lease_3"], lengths["lease_24"]))
    assert flexible < least


def test_more_breaks_and_lower_fees_never_cost_more(tmp_path: Path) -> None:
    demand = [80.0, 120, 100, 90, 40, 70, 20, 10]
    costs = [
        best_usd(built_of(tmp_path, {"flex": LEASE | {"breaks": terms}}, demand))
        for terms in ({"months": [12], "fee_share": 0.2}, {"months": [6, 12, 18], "fee_share": 0.2}, {"months": [6, 12, 18]})
    ]
    none = best_usd(built_of(tmp_path, {"flex": LEASE}, demand))
    for dearer, cheaper in itertools.pairwise([none, *costs]):
        assert cheaper <= dearer * (1 + 1e-12)
    assert costs[-1] < 0.99 * none


def test_a_break_inside_a_period_keeps_what_is_extended(tmp_path: Path) -> None:
    """With a break in the middle of a year the chips that stay count for the whole year; those that go count for none of it."""
    more = {"horizon": {"period": "year", "periods": 2}, "workloads": {"work": {"requests_per_second": {"by_period": [100, 40]}}}}
    offer = LEASE | ON_FIRST_DAY | {"breaks": {"months": [18]}}
    built = built_of(tmp_path, {"flex": offer}, [1] * 8, more)
    assert [a.counted for a in built.structure.acquisitions] == [(0,), (1,)]
    # 60 chips for 18 months (547 days) and 40 for 24
    half = (date(2028, 4, 1) - date(2026, 10, 1)).days
    assert best_usd(built) == pytest.approx(2 * 24 * (60 * half + 40 * sum(DAYS)), rel=1e-12)


# deliveries -----------------------------------------------------------------------------------------------------------------------
OWN = {
    "kind": "own", "chip": "h100", "place": "hall", "price_usd_per_chip": 30000, "opex_usd_per_chip_year": 1000, "life_months": 36,
}  # fmt: skip
LIMITS = {
    "discount_rate_per_year": 0.08,
    "end_value": "straight_line",
    "limits": {
        "capex": {"board": {"max_usd": 1500000}},
        "supply": {"yard": {"max_chips": 55}},
        "share": {"own": {"max": 0.8, "of": "signed", "basis": "spend", "kinds": ["own"]}},
    },
    "sites": {"hall": {"power_mw": {"by_period": [0.05, 0.1, 0.1, 0.15, 0.15, 0.2, 0.2, 0.2]}}},
}


@pytest.mark.parametrize("offer", [OWN, LEASE | {"upfront_share": 0.5}], ids=["own", "lease"])
def test_one_delivery_is_a_lead_time(offer: dict[str, Any], tmp_path: Path) -> None:
    demand = [100.0 + 10 * t for t in range(8)]
    one, other = (
        built_of(tmp_path, {"x": offer | terms, "y": LEASE}, demand, LIMITS)
        for terms in ({"lead_time_months": 4}, {"deliveries": [{"months": 4, "share": 1}]})
    )
    assert one.program.names.acquisition == other.program.names.acquisition
    for field in ("acquisition_cost", "acquisition_upper", "limit_upper"):
        np.testing.assert_allclose(getattr(one.program, field), getattr(other.program, field), rtol=1e-14)
    for field in ("limit_matrix", "held_matrix"):
        np.testing.assert_array_equal(getattr(one.program, field).index, getattr(other.program, field).index)
        np.testing.assert_allclose(getattr(one.program, field).value, getattr(other.program, field).value, rtol=1e-14)
    assert best_usd(one) == pytest.approx(best_usd(other), rel=1e-12)


@pytest.mark.parametrize("offer", [OWN, LEASE | {"upfront_share": 0.5}], ids=["own", "lease"])
@pytest.mark.parametrize("signed", [["2026-10-01"], ["2026-10-01", "2027-04-01", "2027-10-01"]])
def test_two_deliveries_are_two_offers_in_proportion(offer: dict[str, Any], signed: list[str], tmp_path: Path) -> None:
    demand, first, second = [100.0 + 10 * t for t in range(8)], {"lead_time_months": 2}, {"lead_time_months": 6}
    staged = {"deliveries": [{"months": 2, "share": 0.3}, {"months": 6, "share": 0.7}]}
    together = built_of(tmp_path, {"x": offer | staged, "y": LEASE}, demand, LIMITS)
    apart = built_of(tmp_path, {"a": offer | first, "b": offer | second, "y": LEASE}, demand, LIMITS)
    of = {"x": [("x", 1.0)], "both": [("a", 0.3), ("b", 0.7)]}
    for chips in (10.0, 17.5):
        costs = [
            cost_usd(built, [{"offer": o, "signing_date": day, "count_chips": chips * part} for o, part in of[name] for day in signed]
                     + [{"offer": "y", "signing_date": "2026-10-01", "count_chips": 40}])
            for built, name in ((together, "x"), (apart, "both"))
        ]  # fmt: skip
        assert costs[0] == pytest.approx(costs[1], rel=1e-12)


def test_limits_follow_each_delivery(tmp_path: Path) -> None:
    """The most that can be signed is what the tightest delivery allows: of supply, of the budget, of the power then there."""
    tranches = {"deliveries": [{"months": 3, "share": 0.25}, {"months": 9, "share": 0.75}], **ON_FIRST_DAY, "price_usd_per_chip": 1}
    power = {"sites": {"hall": {"power_mw": {"by_period": [0] + [0.05] * 2 + [0.1] * 5}}}}
    kilowatts = 1.2 * load_case(case_file(tmp_path, {"x": OWN | tranches}, FALLS)).chips["h100"].provisioned_power_kw_per_chip.value
    for more, most in (
        ({"limits": {"supply": {"yard": {"max_chips": {"by_period": [0, 9, 0, 24, 0, 0, 0, 0]}}}}}, 24 / 0.75),
        ({"limits": {"capex": {"board": {"max_usd": {"by_period": [0, 5, 0, 100, 0, 0, 0, 0]}}}}}, 5 / 0.25),
        (power, min(50 / 0.25, 100) / kilowatts),
    ):
        plan = optimizer.plan(load_case(case_file(tmp_path, {"x": OWN | tranches}, [1000] * 8, more)))
        assert plan.acquisitions["count_chips"].sum() == pytest.approx(most, rel=1e-9)
        assert plan.acquisitions["count_chips"].tolist() == pytest.approx([0.25 * most, 0.75 * most], rel=1e-9)


def test_a_delivery_after_the_horizon_is_committed_and_not_paid(tmp_path: Path) -> None:
    offer = (
        OWN | ON_FIRST_DAY | {"deliveries": [{"months": 0, "share": 0.5}, {"months": 30, "share": 0.5}], "lot_chips": 100, "take": "all"}
    )
    plan = optimizer.plan(load_case(case_file(tmp_path, {"x": offer}, [50] * 8)))
    assert plan.objective_usd == pytest.approx(50 * 30000 + 50 * 1000 / 365.25 * sum(DAYS), rel=1e-9)
    (late,) = plan.commitments_beyond_horizon.to_dict("records")
    assert (late["chips"], late["nominal_usd"], late["last_end_date"]) == (50, 50 * 30000, date(2032, 4, 1))


# lots -----------------------------------------------------------------------------------------------------------------------------
DEMAND = [60.0, 90, 130, 180, 160, 120, 90, 70]


def test_a_lot_against_brute_force(tmp_path: Path) -> None:
    """All and nothing are the two ends; the best part of the lot is the least of all parts."""

    def lot(take: str) -> Built:
        return built_of(tmp_path, {"deal": LEASE | ON_FIRST_DAY | {"lot_chips": 200, "take": take, "price_usd_per_chip_hour": 5}}, DEMAND)

    part = lot("fraction")
    costs = {n: cost_usd(part, [{"offer": "deal", "signing_date": "2026-10-01", "count_chips": n}]) for n in range(0, 201, 10)}
    assert best_usd(lot("all")) == pytest.approx(costs[200], rel=1e-12)
    assert best_usd(lot("nothing")) == pytest.approx(costs[0], rel=1e-12)
    assert best_usd(part) == pytest.approx(min(costs.values()), rel=1e-9)  # the best is at a level of demand
    assert 0 < min(costs, key=lambda n: costs[n]) < 200


def test_a_part_of_a_lot_is_named(tmp_path: Path) -> None:
    offer = LEASE | ON_FIRST_DAY | {"lot_chips": 200, "price_usd_per_chip_hour": 5}
    plan = optimizer.plan(load_case(case_file(tmp_path, {"deal": offer}, DEMAND)))
    said = [warning for warning in plan.warnings if warning.startswith("offers.deal")]
    assert len(said) == 2 and "`take: all`" in said[0] and "the plan takes 60 % of the lot of 200 chips" in said[1]
    for take, count in (("all", 200), ("nothing", 0)):
        plan = optimizer.plan(load_case(case_file(tmp_path, {"deal": offer | {"take": take}}, DEMAND)))
        assert not any("offers.deal" in warning for warning in plan.warnings)
        assert plan.acquisitions["count_chips"].sum() == count


def test_a_lot_that_breaks_a_limit_is_infeasible(tmp_path: Path) -> None:
    offer = OWN | ON_FIRST_DAY | {"lot_chips": 100, "take": "all"}
    plan = optimizer.plan(load_case(case_file(tmp_path, {"deal": offer}, DEMAND, {"limits": {"capex": {"board": {"max_usd": 2.0e6}}}})))
    assert plan.status == "INFEASIBLE" and "board" in plan.reason and "deal" in plan.reason


def test_the_chain_of_a_lot(tmp_path: Path) -> None:
    """All of it is signed; at the break any part goes."""
    offer = LEASE | ON_FIRST_DAY | {"lot_chips": 100, "take": "all", "breaks": {"months": [12]}}
    plan = optimizer.plan(load_case(case_file(tmp_path, {"deal": offer}, FALLS)))
    assert plan.acquisitions["count_chips"].tolist() == pytest.approx([100, 40], rel=1e-9)
    assert plan.objective_usd == pytest.approx(2 * 24 * (100 * sum(DAYS[:4]) + 40 * sum(DAYS[4:])), rel=1e-9)


# reports --------------------------------------------------------------------------------------------------------------------------
TERMS = {
    "flex": LEASE | {"term_months": 36, "breaks": {"every_months": 6, "notice_months": 3, "fee_share": 0.05}, "price_usd_per_chip_hour": 3},
    "staged": OWN | {"deliveries": [{"months": 3, "share": 0.4}, {"months": 9, "share": 0.6}], "available_chips": 20},
}
TWO = {
    "scenarios": {
        "reveal": date(2027, 7, 1),
        "cases": {"a": {"probability": 0.4}, "b": {"probability": 0.6, "demand": {"less": {"path": {"by_period": [1] * 4 + [0.4] * 4}}}}},
    }
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> optimizer.Plan:
    return optimizer.plan(load_case(case_file(tmp_path_factory.mktemp("terms"), TERMS, DEMAND, TWO)))


def test_the_tables_of_a_plan_with_terms(plan: optimizer.Plan) -> None:
    assert total_usd(plan.cost) == pytest.approx(plan.objective_usd, rel=1e-9)
    by_category = plan.cost.groupby("category")["expected_present_value_usd"].sum()
    assert by_category["break_fee"] > 0
    of_orders = plan.cost[plan.cost["source"].isin(["flex", "staged"])]
    assert plan.acquisitions["expected_present_value_usd"].sum() == pytest.approx(of_orders["expected_present_value_usd"].sum(), rel=1e-9)
    table = plan.acquisitions
    assert set(table["order"]) == {"order", "extension"}
    extended = table[table["order"] == "extension"]
    assert (extended["decision_date"] < extended["delivery_date"]).all() and (extended["signing_date"] < extended["decision_date"]).all()
    for _, parts in table[table["offer"] == "staged"].groupby(["signing_date", "scenario"]):
        assert (parts["count_chips"] / parts["count_chips"].sum()).tolist() == pytest.approx([0.4, 0.6])
    assert "(extended)" in plan.summary()


def test_fees_are_paid_for_what_is_handed_back(plan: optimizer.Plan) -> None:
    """Per break and branch, from the chips of the acquisitions table."""
    z, records, total = plan.solution.certificate.plan, plan.built.structure.acquisitions, 0.0
    assert z is not None
    for a in records:
        if a.extends >= 0:
            left = (date(a.signing_date.year + 3, a.signing_date.month, 1) - a.delivery_date).days  # 36 months
            probability = {None: 1.0, "a": 0.4, "b": 0.6}[a.scenario]
            total += probability * (z.z[a.extends] - z.z[a.index]) * 0.05 * 3 * 24 * left
    fees = plan.cost[plan.cost["category"] == "break_fee"]
    assert fees["expected_nominal_usd"].sum() == pytest.approx(total, rel=1e-9)
    assert (fees["nominal_usd"] > -1e-6).all()


def test_what_stands_carries_the_work(plan: optimizer.Plan) -> None:
    """Signed, extended and rented chips of every scenario and period cover the demand: one chip per request/s, all of it served."""
    names = plan.built.structure.calendar.names
    for scenario, factor in (("a", [1.0] * 8), ("b", [1.0] * 4 + [0.4] * 4)):
        rows = plan.mix[plan.mix["scenario"].isin(["", scenario])]
        held = rows.groupby("period")["usable_chips"].sum()
        for t, name in enumerate(names):
            assert held[name] >= DEMAND[t] * factor[t] * (1 - 1e-9)
    assert plan.unserved["expected_present_value_usd"].sum() == pytest.approx(0, abs=1e-3)


def test_a_plan_with_terms_is_evaluated_as_it_was_written(plan: optimizer.Plan, tmp_path: Path) -> None:
    written = plan.write(tmp_path / "out")
    orders = json.loads((written / "plan.json").read_text())["acquisitions"]
    for given in (orders, plan.acquisitions):
        evaluation = optimizer.evaluate(plan.case, given)
        assert evaluation.given.objective_usd == pytest.approx(plan.objective_usd, rel=1e-9)
    by_hand = [{"offer": "flex", "signing_date": "2026-10-01", "count_chips": 60}]
    assert any("handed back on 2027-04-01" in warning for warning in optimizer.evaluate(plan.case, by_hand).given.warnings)
    kept = [*by_hand, {**by_hand[0], "order": "extension", "delivery_date": "2027-04-01", "count_chips": 70}]
    refused = optimizer.evaluate(plan.case, kept).given
    assert refused.status == "INFEASIBLE" and "more of flex is extended than is held" in refused.reason


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"order": "extension", "delivery_date": "2027-05-01"}, "its breaks are 2027-04-01, 2027-10-01, 2028-04-01"),
        ({"order": "extension"}, "write the break"),
        ({"order": "extend", "delivery_date": "2027-04-01"}, "none of order, extension"),
        ({"order": "extension", "delivery_date": "2027-04-01", "scenario": "a"}, "the same in all scenarios"),
    ],
)
def test_given_extensions_that_cannot_be(plan: optimizer.Plan, row: dict[str, Any], said: str) -> None:
    with pytest.raises(CaseError, match=said):
        signed_counts(plan.built.structure, [{"offer": "flex", "signing_date": "2026-10-01", "count_chips": 1, **row}])


def test_given_orders_may_not_contradict_a_lot(tmp_path: Path) -> None:
    offer = LEASE | ON_FIRST_DAY | {"lot_chips": 100, "take": "all"}
    structure = built_of(tmp_path, {"deal": offer}, DEMAND).structure
    row = {"offer": "deal", "signing_date": "2026-10-01", "count_chips": 100 * (1 + 1e-9)}
    assert signed_counts(structure, [row]).tolist() == [100]
    with pytest.raises(CaseError, match="sign 100, or write `take: fraction`"):
        signed_counts(structure, [])


# derivatives ----------------------------------------------------------------------------------------------------------------------
def test_terms_have_derivatives(tmp_path: Path) -> None:
    """Shares of deliveries (moved with the rest rescaled), the count of a lot, and fees, against re-solves to both sides by HiGHS."""
    lot = LEASE | ON_FIRST_DAY | {"lot_chips": 45, "take": "all", "price_usd_per_chip_hour": 3.5}
    fee = LEASE | {"breaks": {"months": [9], "fee_usd_per_chip": 700}, "price_usd_per_chip_hour": 4}
    demand = [float(d) for d in (101.3, 122.7, 163.1, 157.9, 141.2, 97.3, 62.1, 41.7)]
    built = built_of(tmp_path, {**TERMS, "deal": lot, "paid": fee}, demand, LIMITS)
    answer = solve_extensive(built.program)
    assert answer.plan is not None and answer.multipliers is not None
    gradient = field_gradient(built, answer.plan, answer.multipliers)
    of = dict(zip(gradient.keys, range(len(gradient.keys)), strict=True))
    checked = 0
    for key in (
        "offers.staged.deliveries.0.share", "offers.staged.deliveries.1.share", "offers.deal.lot_chips", "offers.flex.breaks.fee_share",
        "offers.paid.breaks.fee_usd_per_chip",
    ):  # fmt: skip
        i, h = of[key], 1e-4 * gradient.values[of[key]]
        ends = [best_usd_of(moved_program(built, moved(gradient.values, gradient.keys, i, by))) for by in (-h, h)]
        left, right = (answer.objective - ends[0]) / h, (ends[1] - answer.objective) / h
        g, room = gradient.derivative[i], 1e-3 * max(abs(left), abs(right)) + 1e-10 * answer.objective / h
        assert min(left, right) - room <= g <= max(left, right) + room, (key, left, g, right)
        checked += abs(g) > 1
        assert gradient.alone[i] == ("share" not in key or "fee" in key)
    assert checked >= 3


def best_usd_of(program: Any) -> float:
    answer = solve_extensive(program)
    assert answer.status == "optimal"
    return answer.objective


# bad input ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"lot_chips": 10}, "offers.x.window: leaves open"),
        ({"lot_chips": 10, "window": {"from": date(2026, 10, 1), "until": date(2027, 5, 1)}}, "offers.x.window: holds 3 signing dates"),
        ({"lot_chips": 10, "window": {"from": date(2026, 10, 2), "until": date(2026, 12, 1)}}, "holds no first day of a period"),
        ({"lot_chips": 10, "take": "all", "lead_time_months": 30, **ON_FIRST_DAY}, "serves no whole period"),
        ({"lot_chips": 10, "take": "al", **ON_FIRST_DAY}, "did you mean `all`"),
        ({"lot_chips": 10, "available_chips": 10, **ON_FIRST_DAY}, "stands beside `lot_chips`"),
        ({"lot_chips": 10, "place": None, "places": [REGION, "gcp:us-central1"], **ON_FIRST_DAY}, "a lot is one contract"),
        ({"take": "all"}, "belongs to an offer with `lot_chips`"),
        ({"deliveries": [{"months": 1, "share": 0.5}]}, "offers.x.deliveries: the shares sum to 0.5"),
        ({"deliveries": [{"months": 1, "share": 0.5}, {"months": 1, "share": 0.5}]}, "does not come after"),
        ({"deliveries": [{"months": 1, "share": 1}], "lead_time_months": 1}, "stands beside `lead_time_months`"),
        ({"breaks": {}}, "breaks.every_months: is missing"),
        ({"breaks": {"every_months": 24}}, "the term has 24 months"),
        ({"breaks": {"months": [6, 24]}}, "breaks.months.1: is 24"),
        ({"breaks": {"months": [6], "notice_months": 8, "fee_share": 0.1}}, "write at most 6"),
        ({"breaks": {"months": [6], "fee_share": 0.1, "fee_usd_per_chip": 1}}, "stands beside `fee_usd_per_chip`"),
        ({"breaks": {"months": [6], "fee": 0.1}}, "breaks.fee: is not a key here"),
        ({"breaks": {"months": [6]}, "deliveries": [{"months": 1, "share": 1}]}, "stands beside `deliveries`"),
    ],
)
def test_bad_terms_get_a_sentence(terms: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError) as error:
        offer = {key: value for key, value in (LEASE | terms).items() if value is not None}
        load_case(case_file(tmp_path, {"x": offer}, DEMAND))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_terms_of_other_kinds_are_refused(tmp_path: Path) -> None:
    rent = {"kind": "on_demand", "chip": "h100", "place": REGION, "price_usd_per_chip_hour": 1, "available_chips": 1, "lot_chips": 1}
    for offer, said in ((OWN | {"breaks": {"every_months": 6}}, "is not handed back"), (rent, "rent is by the hour")):
        with pytest.raises(CaseError, match=said):
            load_case(case_file(tmp_path, {"x": offer}, DEMAND))


def test_terms_are_laid_on_by_others(tmp_path: Path) -> None:
    """Null takes an inherited lead time away; the file that extends may set what is taken of a lot."""
    path = case_file(tmp_path, {"x": OWN | {"lead_time_months": 3}}, DEMAND)
    change = {
        "offers": {
            "x": {"lead_time_months": None, "deliveries": [{"months": 2, "share": 1}], "lot_chips": 5, "take": "all", **ON_FIRST_DAY}
        }
    }
    assert read_case_file(path, change).data["offers"]["x"]["take"] == "all"
    offer = load_case(path, change).offers["x"]
    assert (offer.take, offer.lot_chips.value if offer.lot_chips else 0, offer.deliveries[0].months) == ("all", 5, 2)
