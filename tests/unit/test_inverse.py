"""What would make a given plan the best, against the closed form of own_or_rent.

Owning 500,000 chips is best where (P(demand > 500,000), P(demand > 400,000)) = (0.3, 0.4) hold the ratio of what an own chip costs in four
years, price + 4 x opex, to four years of rent between them.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from optimizer.analysis.inverse import Inverse, inverse
from optimizer.cli import main
from optimizer.spec import CaseError

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "configs" / "cases" / "own_or_rent.yaml"
BUY, RENT, OPEX = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year", "offers.buy.opex_usd_per_chip_year"
BELIEF, WORK = "scenarios.cases.chips_500k.probability", "workloads.work.requests_per_second"
LEVELS = np.array([100, 150, 200, 250, 300, 400, 500, 700, 900, 1200]) * 1e3


def own(chips: float) -> list[dict]:
    return [{"offer": "buy", "signing_date": "2026-10-01", "count_chips": chips}]


def regret_usd(chips: float, buy: float = 35_000.0, rent: float = 30_000.0) -> float:
    def cost(z: float) -> float:
        return z * (buy + 20_000) + 4 * rent * float(np.maximum(LEVELS - z, 0).mean())

    return cost(chips) - min(cost(z) for z in (0.0, *LEVELS))


def ends(found: Inverse) -> list[float]:
    return [field.end for field in found.fields]


def bracketed(found: Inverse, wanted: float) -> None:
    """The certified bracket of the regret as the case is holds the closed form, and is narrow."""
    assert found.before.at_least_usd <= wanted <= found.before.at_most_usd and found.before.at_most_usd - found.before.at_least_usd < 1e5


def test_a_price_that_makes_more_chips_worth_owning() -> None:
    found = inverse(CASE, own(500_000), {BUY: (10_000, 40_000)})
    bracketed(found, regret_usd(500_000))
    assert found.verdict == "made best" and found.exit_code == 0 and found.convex
    assert ends(found) == pytest.approx([28_000], rel=2e-5) and found.after.at_most_usd <= found.within_usd < 1e5
    assert 0.2 * (1 - 1e-4) <= found.size_at_least <= 0.2 and found.size == pytest.approx(0.2, rel=1e-4)
    assert found.fields[0].alone_usd[0] <= regret_usd(500_000) <= found.fields[0].alone_usd[1]


def test_a_range_that_ends_too_early_is_proven() -> None:
    """At 30,000 $ the 100,000 chips too many cost 2,000 $ each more than what they save; anywhere else they cost more."""
    found = inverse(CASE, own(500_000), {BUY: (30_000, 40_000)})
    least = regret_usd(500_000, buy=30_000)
    assert least == pytest.approx(200e6) and found.verdict == "cannot be made best" and found.exit_code == 4
    assert least - 1e5 <= found.regret_at_least_usd <= least and ends(found) == pytest.approx([30_000])
    assert found.after.at_least_usd <= least <= found.after.at_most_usd


def test_too_few_chips_want_a_higher_price() -> None:
    """300,000 are best between 0.5 and 0.6, the chances of more than 300,000 and of more than 250,000, of four years of rent."""
    found = inverse(CASE, own(300_000), {BUY: (30_000, 60_000)})
    assert found.verdict == "made best" and ends(found) == pytest.approx([40_000], rel=2e-5)


def test_a_belief() -> None:
    """P(demand > 400,000) must rise to 55 / 120; a third of what this scenario gains, its three larger siblings lose."""
    found = inverse(CASE, own(500_000), {BELIEF: (0.05, 0.4)})
    assert found.verdict == "made best" and found.convex and ends(found) == pytest.approx([0.1875], rel=1e-4)
    assert found.size_at_least == pytest.approx(0.875, rel=1e-4)


def test_two_prices_share_the_way() -> None:
    """price + 4 opex must fall by 7,000: in proportion to the squares of what they are."""
    found = inverse(CASE, own(500_000), {BUY: (10_000, 40_000), OPEX: (1_000, 6_000)})
    worth = np.array([35_000.0, 4 * 5_000.0])
    assert [f.change for f in found.fields] == pytest.approx(-7_000 * worth / (worth @ worth), rel=1e-3)
    assert found.size == pytest.approx(7_000 / np.hypot(*worth), rel=1e-4) and found.size_at_least == pytest.approx(found.size, rel=1e-4)
    found = inverse(CASE, own(500_000), {BUY: (10_000, 40_000), OPEX: (1_000, 6_000)}, norm="l1")
    assert [f.change for f in found.fields] == pytest.approx([-0.2, 0], abs=1e-4)


@pytest.mark.parametrize(("key", "ranges", "wanted"), [(RENT, (20_000, 60_000), 34_375.0), (WORK, (50_000, 200_000), 125_000.0)])
def test_other_fields_are_a_local_search(key: str, ranges: tuple, wanted: float) -> None:
    """Rent at which 55,000 $ are 0.4 of four years; demand of which 500,000 chips are what 400,000 were."""
    found = inverse(CASE, own(500_000), {key: ranges})
    assert found.verdict == "made best" and not found.convex and found.size_at_least == 0
    assert ends(found) == pytest.approx([wanted], rel=1e-4) and found.after.at_most_usd <= found.within_usd


def test_what_is_best_already_and_what_is_no_plan() -> None:
    found = inverse(CASE, own(400_000), {BUY: (10_000, 40_000)})
    assert found.verdict == "best already" and found.exit_code == 0 and found.size == 0
    found = inverse(CASE, own(4_000_000), {BUY: (10_000, 40_000)})  # more than the hall has power for
    assert found.verdict == "no plan" and found.exit_code == 4 and found.before.given.status == "INFEASIBLE"


def test_not_found_claims_only_the_point() -> None:
    found = inverse(CASE, own(500_000), {RENT: (29_000, 32_000)})
    assert found.verdict == "not found" and found.exit_code == 3 and found.regret_at_least_usd == 0
    best = min(regret_usd(500_000, rent=rent) for rent in np.linspace(29_000, 32_000, 301))
    assert (
        found.after.at_least_usd <= best + 1e5
        and found.after.at_most_usd >= best - 1e5
        and ends(found) == pytest.approx([32_000], rel=1e-3)
    )


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # names stay in one piece
    plan, out = tmp_path / "mine.json", tmp_path / "out"
    plan.write_text(json.dumps(own(500_000)))
    assert main(["goal", str(CASE), "--plan", str(plan), "--change", f"{BUY}=10000:40000", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "MADE BEST" in page and BUY in page and "$700.0 M" in page
    document = json.loads((out / "inverse.json").read_text())
    assert document["verdict"] == "made best" and document["after"]["at_most_usd"] <= document["within_usd"]
    with open(out / "inverse_points.csv", newline="") as stream:
        points = list(csv.DictReader(stream))
    for point in points:
        truth = regret_usd(500_000, buy=float(point[BUY]))
        assert float(point["regret_at_least_usd"]) - 1 <= truth <= float(point["regret_at_most_usd"]) + 1
    assert (out / "inverse.svg").read_text().startswith("<svg")
    plan.write_text(json.dumps([{"offer": "bye", "signing_date": "2026-10-01", "count_chips": 1}]))
    assert main(["goal", str(CASE), "--plan", str(plan), "--change", f"{BUY}=10000:40000", "--out", str(tmp_path / "no")]) == 2
    assert "`bye` is no offer" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_ranges_are_pairs() -> None:
    with pytest.raises(CaseError, match="two numbers"):
        inverse(CASE, own(1), {BUY: (1,)})
