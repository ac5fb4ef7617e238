"""Lots, deliveries and breaks as the analyses see them: chips are counted once, from their own dates, and what must be taken may lose."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import optimizer
from optimizer.analysis.answer_differences import first_year_orders, signed_chips
from optimizer.analysis.decisions import chip_hours
from optimizer.analysis.offer_worth import worth_of
from optimizer.analysis.plan_measures import Weights
from optimizer.analysis.utilisation import utilisation
from optimizer.analysis.what_if import WhatIf
from optimizer.spec import CaseError

CASE = """name: one_year
extends: {base}
horizon: {{start: 2026-10-01, periods: 4, period: quarter}}
workloads: {{work: {{requests_per_second: 1000}}}}
scenarios: null
offers:
  buy: {buy}
"""
BASE = Path(__file__).resolve().parents[2] / "configs" / "cases" / "own_or_rent.yaml"
YEAR = 1000 * 30_000 * 365 / 365.25  # what renting all of the work costs, 8760 of 8766 hours
HOURS = 365 * 24
LEASE = "kind: lease, chip: h100, place: \"aws:us-east-1\", term_months: 12"
ONCE = "window: {from: 2026-10-01, until: 2026-10-01}"


def case(where: Path, lease: str = "", buy: str = "null") -> Path:
    path = where / "case.yaml"
    path.write_text(CASE.format(base=BASE, buy=buy) + (f"  lease: {lease}\n" if lease else ""))
    return path


def test_a_lot_that_must_be_taken_may_be_worth_less_than_nothing(tmp_path: Path) -> None:
    path = case(tmp_path, f"{{{LEASE}, price_usd_per_chip_hour: 3, lot_chips: 2000, take: all, {ONCE}}}")
    found = optimizer.value(path, "lease", factors=(), refined=0)
    price = 2000 * 3 * HOURS
    assert sum(found.worth_usd) / 2 == pytest.approx(YEAR - price, rel=1e-5) and found.worth_usd[1] < 0
    assert found.lot is not None and found.lot.best_fraction == pytest.approx(0.5, rel=1e-4)  # of any part: what the work needs
    assert sum(found.lot.gain_usd) / 2 == pytest.approx(YEAR - price, rel=1e-5)
    what_if = WhatIf(path)
    here = what_if.at()
    low, high = worth_of(what_if, {}, (here.lower_bound_usd, here.cost_usd), "lease")
    assert low <= YEAR - price <= high


@pytest.mark.parametrize("breaks", ["", ", breaks: {months: [6]}"])
def test_a_lot_is_worth_the_same_whether_its_contract_has_breaks(tmp_path: Path, breaks: str) -> None:
    """Free chips are kept to the end; what is not taken now must not bound what may be kept."""
    path = case(tmp_path, f"{{{LEASE}, price_usd_per_chip_hour: 3, lot_chips: 1000, take: nothing, {ONCE}{breaks}}}")
    found = optimizer.value(path, "lease", factors=(), refined=0)
    assert found.lot is not None and sum(found.lot.worth_usd) / 2 == pytest.approx(YEAR, rel=1e-5)


def test_more_than_is_available_is_no_lot(tmp_path: Path) -> None:
    path = case(tmp_path, f"{{{LEASE}, price_usd_per_chip_hour: 3, available_chips: 100, {ONCE}}}")
    with pytest.raises(CaseError, match="at most 100 can be signed"):
        optimizer.value(path, "lease", factors=(), refined=0, lot_chips=1000)


def test_tranches_count_from_their_own_dates(tmp_path: Path) -> None:
    """A quarter of the chips now, the rest after six months: 0.25 + 0.75 / 2 of a year each."""
    deliveries = "deliveries: [{months: 0, share: 0.25}, {months: 6, share: 0.75}]"
    buy = f"{{price_usd_per_chip: 5000, life_months: 48, available_chips: 1000, {ONCE}, {deliveries}}}"
    found = WhatIf(case(tmp_path, buy=buy)).at()
    built, plan = found.found.built, found.found.solution.certificate.plan
    assert plan is not None
    years = float(plan.z.sum()) * (0.25 + 0.75 * 0.5)
    assert years > 100
    assert chip_hours(built.structure, plan)["buy"] / 8766 == pytest.approx(years, rel=5e-3)
    assert Weights(built).by_offer(plan)["buy"] == pytest.approx(years * 989e-3, rel=5e-3)
    owned = utilisation(case(tmp_path, buy=buy)).owned
    assert len(owned) == 1 and 0 < owned[0].mean <= 1 + 1e-6


def test_extensions_are_no_further_chips(tmp_path: Path) -> None:
    lease = f"{{{LEASE}, price_usd_per_chip_hour: 2, available_chips: 1000, {ONCE}, breaks: {{every_months: 3}}}}"
    plan = optimizer.plan(case(tmp_path, lease))
    assert len(plan.acquisitions) == 4
    assert signed_chips(plan.acquisitions) == pytest.approx({"lease": 1000}, rel=1e-4)
    orders = first_year_orders(plan.acquisitions, plan.acquisitions, "2027-10-01")
    assert len(orders) == 1 and orders[0].both_chips == pytest.approx(1000, rel=1e-4)
    assert not math.isnan(plan.objective_usd)
