"""configs/cases/own_or_rent.yaml against closed forms: the published unit costs, and the newsvendor rule when demand is uncertain."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

import optimizer

CASE = Path(__file__).resolve().parent.parent.parent / "configs" / "cases" / "own_or_rent.yaml"
YEARS = 4
RENT_USD_PER_CHIP_YEAR = 30_000.0
OPEX_USD_PER_CHIP_YEAR = 5_000.0
PRICE_USD_PER_CHIP = 35_000.0
LEVELS = (1e5, 1.5e5, 2e5, 2.5e5, 3e5, 4e5, 5e5, 7e5, 9e5, 1.2e6)  # chips, equally likely
GAP = 1e-8


def child(folder: Path, change: dict) -> Path:
    """A case that extends own_or_rent.yaml and changes what is given."""
    path = folder / "child.yaml"
    path.write_text(yaml.safe_dump({"name": "child", "extends": str(CASE), **change}, sort_keys=False))
    return path


def solved(path: Path) -> optimizer.Plan:
    plan = optimizer.plan(path, optimizer.Settings(gap_relative=GAP))
    assert plan.status == "CERTIFIED", plan.reason
    return plan


def bought(plan: optimizer.Plan) -> dict[str, float]:
    """Chips bought by signing date."""
    rows = plan.acquisitions[plan.acquisitions["offer"] == "buy"]
    return {str(date)[:10]: float(count) for date, count in zip(rows["signing_date"], rows["count_chips"], strict=True)}


def owning(price_usd_per_chip: float) -> float:
    """$ per chip-year of owning."""
    return price_usd_per_chip / YEARS + OPEX_USD_PER_CHIP_YEAR


def newsvendor(price_usd_per_chip: float) -> tuple[float, float]:
    """Chips to own and the expected cost: own while the chance of needing the next chip exceeds owning / renting."""
    ratio = owning(price_usd_per_chip) / RENT_USD_PER_CHIP_YEAR
    own = next((y for y in (0.0, *LEVELS) if sum(d > y for d in LEVELS) / len(LEVELS) < ratio), LEVELS[-1])
    rented = math.fsum(max(0.0, d - own) for d in LEVELS) / len(LEVELS)
    return own, YEARS * (own * owning(price_usd_per_chip) + rented * RENT_USD_PER_CHIP_YEAR)


def test_certain_demand_buys_everything(tmp_path: Path) -> None:
    plan = solved(child(tmp_path, {"scenarios": None}))
    chip_years = 100_000 * YEARS
    assert owning(PRICE_USD_PER_CHIP) == 13_750
    assert plan.objective_usd / chip_years == pytest.approx(13_750, rel=1e-6)
    assert bought(plan)["2026-10-01"] == pytest.approx(100_000, rel=1e-6)
    assert sum(bought(plan).values()) == pytest.approx(100_000, rel=1e-6)
    assert plan.penalties_usd <= 1e-6 * plan.objective_usd


def test_certain_demand_without_the_offer_to_buy(tmp_path: Path) -> None:
    plan = solved(child(tmp_path, {"scenarios": None, "offers": {"buy": None}}))
    assert plan.objective_usd / (100_000 * YEARS) == pytest.approx(30_000, rel=1e-6)


def test_uncertain_demand_owns_to_the_quantile() -> None:
    """Own 400,000: exceeded with probability 0.4, while 300,000 is exceeded with 0.5; 13,750 / 30,000 = 0.458 lies between."""
    plan = solved(CASE)
    own, cost_usd = newsvendor(PRICE_USD_PER_CHIP)
    assert (own, cost_usd) == (400_000, pytest.approx(42.4e9, rel=1e-12))
    assert plan.objective_usd == pytest.approx(cost_usd, rel=1e-6)
    assert plan.lower_bound_usd == pytest.approx(cost_usd, rel=1e-6)
    assert bought(plan)["2026-10-01"] == pytest.approx(own, rel=1e-6)
    assert sum(bought(plan).values()) == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("price_usd_per_chip", [10_000.0, 55_000.0, 75_000.0, 110_000.0])
def test_other_prices_own_to_other_quantiles(price_usd_per_chip: float, tmp_path: Path) -> None:
    plan = solved(child(tmp_path, {"offers": {"buy": {"price_usd_per_chip": price_usd_per_chip}}}))
    own, cost_usd = newsvendor(price_usd_per_chip)
    assert plan.objective_usd == pytest.approx(cost_usd, rel=1e-6)
    assert sum(bought(plan).values()) == pytest.approx(own, rel=1e-6, abs=1e-3)
