"""The least change that meets a target, against the closed form of own_or_rent, and its parts against brute force."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from optimizer.analysis.cost_shape import cost_shape
from optimizer.analysis.crossing import crossing
from optimizer.analysis.descent import descend
from optimizer.analysis.goal import goal
from optimizer.analysis.goal_target import read_target
from optimizer.analysis.least_change import least_change, lowest_of_highest, size
from optimizer.analysis.moved_case import MovedCase
from optimizer.analysis.what_if import WhatIf
from optimizer.cli import main
from optimizer.spec import CaseError

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "configs" / "cases"
OWN_OR_RENT = CASES / "own_or_rent.yaml"
TWO_CLOUDS = CASES / "two_clouds.yaml"
BUY, RENT = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year"
WORK, LEAST_LIKELY = "workloads.work.requests_per_second", "scenarios.cases.chips_100k.probability"
LEVELS = np.array([100, 150, 200, 250, 300, 400, 500, 700, 900, 1200]) * 1e3
H200 = "catalog.prices.h200.any.own.price_usd_per_chip"


def least_usd(buy: float = 35_000.0, rent: float = 30_000.0, chance: np.ndarray | None = None, scale: float = 1.0) -> float:
    """The newsvendor: four years, own one of the levels, rent what is above."""
    chance = np.full(10, 0.1) if chance is None else chance
    demand = LEVELS * scale
    return min(z * (buy + 20_000) + 4 * rent * float(chance @ np.maximum(demand - z, 0)) for z in (0.0, *demand))


def test_one_price() -> None:
    """Own 400,000 chips down to 28,000 $, 500,000 below: 2.4 B$ less costs 6,000 $ per chip, 4.8 B$ come at 24,000 $."""
    for limit, wanted in ((40.0e9, 29_000.0), (37.6e9, 24_000.0)):
        assert least_usd(buy=wanted) == pytest.approx(limit, rel=1e-12)
        found = goal(OWN_OR_RENT, f"cost_usd<={limit:g}", {BUY: (15_000, 40_000)})
        assert found.verdict == "met" and found.exit_code == 0
        field = found.fields[0]
        assert field.end == pytest.approx(wanted, rel=5e-6) and field.end <= field.refused <= field.end * (1 + 5e-6)
        assert found.after is not None and found.after.cost_usd <= limit < least_usd(buy=field.refused)
        assert found.size == pytest.approx((35_000 - wanted) / 35_000, rel=1e-5)
        assert found.size * (1 - 1e-5) <= found.size_at_least <= (35_000 - wanted) / 35_000 + 1e-9
        low, high = field.alone_usd
        assert low <= limit - 42.4e9 + 1e5 and high >= limit - 42.4e9 - 1e6 and high - low < 1e5
        assert found.solves <= 12


def test_a_fall_in_percent_is_certified() -> None:
    found = goal(OWN_OR_RENT, "cost<=-5%", {BUY: (15_000, 40_000)})
    assert found.after is not None and found.after.cost_usd <= 0.95 * found.before.lower_bound_usd
    assert found.fields[0].end == pytest.approx(35_000 - 0.05 * 42.4e9 / 400_000, rel=1e-5)


def test_several_prices_in_both_norms() -> None:
    """The cost falls by 14.0 B$ and 20.4 B$ per unit of the relative changes of the two prices."""
    ranges = {BUY: (15_000, 40_000), RENT: (20_000, 40_000)}
    slope = np.array([400_000 * 35_000.0, 680_000 * 30_000.0])
    found = goal(OWN_OR_RENT, "cost_usd<=41.4e9", ranges)
    expected = -1e9 * slope / (slope @ slope)
    assert [f.change for f in found.fields] == pytest.approx(expected, rel=1e-3) and found.size == pytest.approx(
        1e9 / math.hypot(*slope), rel=1e-4
    )
    assert "local" in found.claim and found.size_at_least == 0
    assert sum(sum(f.alone_usd) / 2 for f in found.fields) == pytest.approx(-1e9, rel=1e-3)
    found = goal(OWN_OR_RENT, "cost_usd<=41.4e9", ranges, norm="l1")
    assert [f.change for f in found.fields] == pytest.approx([0, -1e9 / slope[1]], rel=1e-4)


def test_a_belief_takes_from_the_others() -> None:
    def cost(p: float) -> float:
        return least_usd(chance=np.array([p, *np.full(9, (1 - p) / 9)]))

    found = goal(OWN_OR_RENT, "cost_usd<=41.4e9", {LEAST_LIKELY: (0.05, 0.4)})
    assert found.fields[0].end == pytest.approx(brentq(lambda p: cost(p) - 41.4e9, 0.1, 0.4), rel=1e-5)
    assert "crossed once" in found.claim


def test_demand_is_convex_and_proven() -> None:
    """Two demands above what is owned: 1.2 B$ per unit of the path in each, a tenth of the time rented."""
    paths = [f"scenarios.cases.chips_{k}k.demand.level.path" for k in (1200, 900)]
    found = goal(OWN_OR_RENT, "cost_usd<=41.4e9", {paths[0]: (6, 12), paths[1]: (6, 9)})
    slope = 1.2e9 * np.array([12.0, 9.0])
    assert [f.change for f in found.fields] == pytest.approx(-1e9 * slope / (slope @ slope), rel=1e-3)
    assert found.size == pytest.approx(1 / 18, rel=1e-4) and 1 / 18 * (1 - 1e-4) <= found.size_at_least <= 1 / 18
    found = goal(OWN_OR_RENT, "cost_usd<=30e9", {paths[0]: (11, 12), paths[1]: (8.5, 9)})
    assert found.verdict == "out of reach" and found.exit_code == 4
    reached = 42.4e9 - 1.2e9 - 0.6e9
    assert reached * (1 - 1e-5) <= found.least_cost_usd <= reached


def test_price_and_demand_together_are_a_local_search() -> None:
    def cost(u: np.ndarray) -> float:
        return least_usd(buy=35_000 * (1 + u[0]), scale=1 + u[1])

    bowl = minimize(lambda u: u @ u, [-0.1, -0.1], constraints={"type": "ineq", "fun": lambda u: (40e9 - cost(u)) / 1e9}, method="SLSQP")
    found = goal(OWN_OR_RENT, "cost_usd<=40e9", {BUY: (20_000, 40_000), WORK: (60_000, 120_000)})
    u = np.array([f.change for f in found.fields])
    assert found.verdict == "met" and found.after is not None and found.after.cost_usd <= 40e9 and cost(u) <= 40e9
    assert found.size == pytest.approx(math.sqrt(bowl.fun), rel=2e-3) and "local" in found.claim and found.size_at_least == 0


def test_out_of_reach_is_proven_by_the_lowest_price() -> None:
    found = goal(OWN_OR_RENT, "cost_usd<=20e9", {BUY: (15_000, 40_000), RENT: (29_000, 40_000)})
    least = least_usd(buy=15_000, rent=29_000)
    assert found.verdict == "out of reach" and found.exit_code == 4 and least * (1 - 1e-5) <= found.least_cost_usd <= least
    assert found.after is not None and found.after.cost_usd == pytest.approx(least, rel=1e-5)


def test_nothing_to_change() -> None:
    found = goal(OWN_OR_RENT, "cost_usd<=43e9", {BUY: (15_000, 40_000)})
    assert found.verdict == "met already" and found.exit_code == 0 and found.size == 0 and found.solves == 1


def test_shares_of_the_plan() -> None:
    """500,000 chips are owned below 28,000 $: 77 % of the compute. No price in the ranges owns all of it."""
    found = goal(OWN_OR_RENT, "own_share>=75%", {BUY: (20_000, 40_000)})
    assert (
        found.verdict == "met"
        and found.fields[0].end == pytest.approx(28_000, rel=2e-4)
        and found.fields[0].end < 28_000 < found.fields[0].refused
    )
    assert found.size_at_least == 0 and "nothing proves" in found.claim
    found = goal(OWN_OR_RENT, "share_own>=75%", {BUY: (20_000, 40_000), RENT: (25_000, 40_000)})
    buy, rent = (f.end for f in found.fields)
    assert found.verdict == "met" and (buy + 20_000) / (4 * rent) == pytest.approx(0.4, rel=1e-3)
    found = goal(OWN_OR_RENT, "share_own>=99%", {BUY: (30_000, 40_000)})
    assert found.verdict == "not found" and found.exit_code == 3 and found.least_cost_usd == -math.inf


def test_a_price_of_the_catalog_moves_as_one_of_the_case_would() -> None:
    found = goal(TWO_CLOUDS, "cost<=-1%", {H200: (30_000, 45_000)})
    assert found.verdict == "met" and found.after is not None and not found.fields[0].in_case
    again = WhatIf(TWO_CLOUDS).at({"offers.buy.price_usd_per_chip": found.fields[0].end})
    assert again.lower_bound_usd - 1 <= found.after.cost_usd and found.after.lower_bound_usd - 1 <= again.cost_usd <= found.limit * (
        1 + 1e-6
    )


def test_unserved_work(tmp_path: Path) -> None:
    """At 0.5 $ per million tokens (15,779 $ per chip-year) 150,000 chips are owned, the rest is not served; rent pays from 30,000 $."""
    case, key = tmp_path / "case.yaml", "workloads.work.unserved_usd_per_million_output_tokens"
    case.write_text(f"extends: {OWN_OR_RENT}\nworkloads: {{work: {{unserved_usd_per_million_output_tokens: 0.5}}}}\n")
    found = goal(case, "unserved<=1%", {key: (0.4, 2)})
    share = np.maximum(LEVELS - 150_000, 0).sum() / LEVELS.sum()
    assert found.target.bracket(found.before)[0] == pytest.approx(share, rel=1e-4)
    assert found.verdict == "met" and found.fields[0].end == pytest.approx(30_000 / (3.6 * 8766), rel=2e-4)


# parts ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("case", "ranges", "kind", "rises"),
    [
        (OWN_OR_RENT, {BUY: (2e4, 4e4), RENT: (2e4, 4e4)}, "concave", (1, 1)),
        (OWN_OR_RENT, {LEAST_LIKELY: (0.05, 0.4)}, "concave", (0,)),
        (OWN_OR_RENT, {LEAST_LIKELY: (0.05, 0.4), RENT: (2e4, 4e4)}, "none", (0, 0)),  # chance times price
        (OWN_OR_RENT, {WORK: (5e4, 2e5)}, "convex", (0,)),
        (OWN_OR_RENT, {"throughput.unit.output_tokens_per_second_per_chip": (900, 1100)}, "none", (0,)),
        (OWN_OR_RENT, {"discount_rate_per_year": (0, 0.1)}, "none", (0,)),
        (TWO_CLOUDS, {H200: (3e4, 5e4)}, "none", (1,)),  # it stands in the budget too
        (TWO_CLOUDS, {"sites.texas.power_mw.by_date.1.value": (1, 5)}, "convex", (-1,)),
    ],
)
def test_how_the_cost_can_bend(case: Path, ranges: dict, kind: str, rises: tuple) -> None:
    shape = cost_shape(MovedCase(WhatIf(case), ranges))
    assert (shape.kind, shape.rises) == (kind, rises)


def test_the_gradient_against_certified_resolves() -> None:
    """One of several shares under a sum rule, the rest taking up its change, at a point away from the start."""
    moved = MovedCase(
        WhatIf(OWN_OR_RENT), {LEAST_LIKELY: (0.05, 0.4), "scenarios.cases.chips_900k.probability": (0.05, 0.3), RENT: (2e4, 4e4)}
    )
    u = np.array([0.5, 0.2, -0.01])
    gradient, h = moved.gradient(moved.at(u)), 1e-3
    for i in range(3):
        step = h * np.eye(3)[i]
        quotient = (moved.at(u + step).cost_usd - moved.at(u - step).cost_usd) / (2 * h)
        assert gradient[i] == pytest.approx(quotient, rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_least_change_under_conditions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, low, high = rng.normal(size=(4, 3)), -rng.uniform(0.5, 2, 3), rng.uniform(0.5, 2, 3)
    most = slopes @ (low + rng.uniform(size=3) * (high - low)) + 0.01
    bounds, rows = list(zip(low, high, strict=True)), {"type": "ineq", "fun": lambda u: most - slopes @ u}
    for norm, worth in (("l2", lambda u: u @ u), ("l1", lambda u: np.sqrt(u * u + 1e-14).sum())):
        u = least_change(slopes, most, low, high, norm)
        assert u is not None and (slopes @ u <= most + 1e-8).all() and (low <= u).all() and (u <= high).all()
        starts = [rng.uniform(low, high) for _ in range(5)]
        best = min(
            (minimize(worth, s, bounds=bounds, constraints=rows, method="SLSQP") for s in starts),
            key=lambda r: r.fun if r.success else math.inf,
        )
        assert size(u, norm) <= size(best.x, norm) * (1 + 1e-4) + 1e-6
    assert least_change(np.array([[1.0, 0, 0]]), np.array([low[0] - 0.1]), low, high, "l2") is None
    level = rng.normal(size=4)
    u, value = lowest_of_highest(slopes, level, low, high)
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, 25) for a, b in bounds)), -1).reshape(-1, 3)
    assert value <= (level + slopes @ u).max() + 1e-9 and value <= (level + grid @ slopes.T).max(axis=1).min() + 1e-9
    assert (level + slopes @ u).max() == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("gap", [0.0, 1e-3])
@pytest.mark.parametrize("end", [1.0, -1.0])
@pytest.mark.parametrize("steep", [True, False])
def test_a_crossing_is_closed_from_both_sides(gap: float, end: float, steep: bool) -> None:
    """A kinked curve known up to a gap: the inside is good whatever is true within it, the outside is not."""
    asked = []

    def excess(t: float) -> tuple[float, float]:
        asked.append(t)
        value = max(0.3 - abs(t), 2 * (0.3 - abs(t)) - 0.2 * abs(t))
        return value - gap, value + gap

    found = crossing(excess, 0.0, end, 1e-6, (lambda t: -math.copysign(1.0, end)) if steep else None)
    assert abs(found.outside) <= 0.3 - gap / 2.2 + 1e-9 and abs(found.inside) >= 0.3 + gap - 1e-9
    assert abs(found.inside - found.outside) <= 2 * gap + 3e-6
    assert len(asked) <= (14 if steep else 60)


def test_descent_stays_in_the_box() -> None:
    low, high = np.array([-1.0, 0.0]), np.array([1.0, 5.0])
    centre = np.array([2.0, 1.0])
    seen = []

    def bowl(u: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(u)
        return float((u - centre) @ (u - centre)), 2 * (u - centre)

    best = descend(bowl, np.array([0.0, 4.0]), low, high, 40)
    assert best == pytest.approx([1.0, 1.0], abs=0.05) and all((low <= u).all() and (u <= high).all() for u in seen)


def test_descent_comes_back_from_where_there_is_no_plan() -> None:
    def cliff(u: np.ndarray) -> tuple[float, np.ndarray]:
        return (np.inf, np.array([np.nan])) if u[0] > 0.55 else (float(-u[0]), np.array([-1.0]))

    assert 0.5 <= descend(cliff, np.array([0.3]), np.zeros(1), np.ones(1), 25)[0] <= 0.55


def test_targets_are_read() -> None:
    assert read_target("cost_usd <= 2.0e9").value == 2e9 and read_target("cost<=-5%").value == -0.05
    target = read_target("on-demand_share<=20%")
    assert target.measure == "share_on_demand" and target.value == pytest.approx(0.2) and not target.at_least
    for text in (
        "cost_usd",
        "cost_usd=3",
        "cost_usd<=x",
        "profit>=3",
        "cost<=5",
        "cost_usd<=-5%",
        "share_own>=70",
        "unserved>=0.1",
        "cost<=-100%",
    ):
        with pytest.raises(CaseError):
            read_target(text)


# the command ------------------------------------------------------------------------------------------------------------------------
def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # names stay in one piece
    out = tmp_path / "goal"
    assert main(["goal", str(OWN_OR_RENT), "--meet", "cost_usd<=40e9", "--change", f"{BUY}=15000:40000", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "MET" in page and BUY in page and f"Results: {out}" in page and "$40,000,000,000.00" in page
    document = json.loads((out / "goal.json").read_text())
    with open(out / "goal.csv", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["field"] == BUY and float(row["end"]) == document["fields"][0]["end"] == pytest.approx(29_000, rel=1e-5)
    assert document["after"]["lower_bound_usd"] <= document["after"]["cost_usd"] <= 40e9 and document["verdict"] == "met"
    with open(out / "goal_points.csv", newline="") as stream:
        points = list(csv.DictReader(stream))
    assert len(points) == document["solves"] and all(abs(least_usd(buy=float(p[BUY])) - float(p["cost_usd"])) < 1e6 for p in points)
    assert "<svg" in (out / "goal.svg").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--meet", "cost_usd<=1e9", "--change", "offers.buy.price_usd=1:2"], "price_usd_per_chip"),
        (["--meet", "cost_usd<=1e9", "--change", f"{BUY}=1:x"], "not two numbers"),
        (["--meet", "cost_usd<=1e9", "--change", BUY], "LOWEST:HIGHEST"),
        (["--meet", "cost_usd<=1e9", "--change", f"{BUY}=40000:30000"], "the lowest first"),
        (["--meet", "cost_usd<=1e9", "--change", f"{BUY}=36000:40000"], "holds 35000"),
        (["--meet", "cost_usd<=1e9", "--change", f"{BUY}=-5:40000"], "at or above 0"),
        (["--meet", "cost_usd<=1e9", "--change", f"{BUY}=1:40000", "--change", f"{BUY}=2:40000"], "twice"),
        (["--meet", "cost_usd<=1e9", "--change", "horizon.start=1:2"], "no single number"),
        (["--meet", "cost_usd<=1e9", "--change", "horizon.periods=10.5:16"], "periods"),
        (["--meet", "cost_usd<=1e9", "--change", "catalog.chips.h100.bf16=1:2"], "bf16_dense_tflops"),
        (["--meet", "cost_usd<=1e9", "--change", "sites.hall.pue=0.5:2"], "1"),
        (["--meet", "profit>=1", "--change", f"{BUY}=1:40000"], "cost_usd<=X"),
        (["--meet", "cost_usd<=1e9", "--change", f"{LEAST_LIKELY}=0.05:1"], "1 or more"),
        (["--plan", "missing.json", "--change", f"{BUY}=1:40000"], "cannot be read"),
    ],
)
def test_bad_arguments_get_a_sentence(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "goal"
    assert main(["goal", str(OWN_OR_RENT), *options, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not out.exists()


def test_a_case_without_a_plan_has_no_goal(capsys: pytest.CaptureFixture) -> None:
    case = str(ROOT / "tests" / "oracle" / "cases" / "40_infeasible_constant.yaml")
    assert main(["goal", case, "--meet", "cost_usd<=1", "--change", "discount_rate_per_year=0:0.2"]) == 4
    assert "has no plan: INFEASIBLE" in capsys.readouterr().out
