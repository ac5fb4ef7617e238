"""Frontiers: closed forms, HiGHS on the same programs, convexity, and the command."""

from __future__ import annotations

import csv
import json
import math
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from optimizer.analysis.frontier import Frontier, FrontierPoint, compared, frontier
from optimizer.analysis.frontier_axes import axis_of_word
from optimizer.analysis.what_if import WhatIf
from optimizer.cli import main
from optimizer.settings import Settings
from optimizer.spec import CaseError
from tests.oracle.extensive import solve_extensive

ROOT = Path(__file__).resolve().parents[2]
CASES, SMALL_CASES = ROOT / "configs" / "cases", ROOT / "tests" / "oracle" / "cases"
OWN_OR_RENT, TWO_CLOUDS = CASES / "own_or_rent.yaml", CASES / "two_clouds.yaml"
TINY = SMALL_CASES / "49_hand_newsvendor.yaml"
TIGHT = Settings(gap_relative=1e-9)
DEMANDS = [100_000, 150_000, 200_000, 250_000, 300_000, 400_000, 500_000, 700_000, 900_000, 1_200_000]


def own_cost(owned: float) -> float:
    """own_or_rent: 35,000 $ and four years at 5,000 $ per own chip, 30,000 $ a year for what is rented."""
    return 55_000 * owned + 120_000 * sum(max(0.0, d - owned) for d in DEMANDS) / 10


def check_convex(found: Frontier) -> None:
    """Within the brackets: no point above the line between its neighbours, every slope between the chords, every tangent below."""
    points = [point for point in found.points if point.known]
    assert len(points) > 3
    for a, b, c in zip(points, points[1:], points[2:], strict=False):
        share = (c.value - b.value) / (c.value - a.value)
        assert b.lower_bound_usd <= share * a.cost_usd + (1 - share) * c.cost_usd
        assert b.mark in ("convex", "straight", ""), b
    for at in points:
        for other in points:
            if math.isfinite(at.slope_usd):
                line = at.lower_bound_usd + at.slope_usd * (other.value - at.value)
                assert line <= other.cost_usd + 1e-5 * abs(at.slope_usd * (other.value - at.value)) + 1e-6 * abs(other.cost_usd)


def check_highs(found: Frontier) -> None:
    """HiGHS on the program of every point lies in its bracket, and so do the chords."""
    what_if = WhatIf(found.case_file)
    truth = []
    for point in found.points:
        result = solve_extensive(what_if.built(*found.axis.change(point.value)).program)
        if point.known:
            room = 1e-9 * abs(result.objective)
            assert point.lower_bound_usd - room <= result.objective <= point.cost_usd + room
        else:
            assert result.status == point.status.lower()
        truth.append(result.objective)
    for (a, b), (low, high) in zip(pairwise(found.points), pairwise(truth), strict=True):
        if a.known and b.known:
            assert b.change_least - 1e-9 * abs(high) <= high - low <= b.change_most + 1e-9 * abs(high)


def test_the_closed_form_of_power() -> None:
    """1.2 times 1.4 kW per chip: so many chips may be owned; the slope is what one more of them saves."""
    found = frontier(OWN_OR_RENT, TIGHT, field="sites.hall.power_mw", values=[700, 100, 300, 500, 300])
    kw = WhatIf(OWN_OR_RENT).read().chips["h100"].provisioned_power_kw_per_chip.value * 1.2
    assert [point.value for point in found.points] == [100, 300, 500, 700] and found.exit_code == 0
    for point in found.points:
        most = point.value * 1000 / kw
        owned = min(most, 400_000)
        assert point.cost_usd == pytest.approx(own_cost(owned), rel=1e-7)
        slope = (55_000 - 120_000 * sum(d > owned for d in DEMANDS) / 10) * 1000 / kw if most < 400_000 else 0.0
        assert point.slope_usd == pytest.approx(slope, rel=1e-6, abs=1e-3 * 1e6)
    check_convex(found)
    check_highs(found)


def test_the_closed_form_of_an_own_share() -> None:
    """At least s of what is held: with the largest demand D the hall holds max(400,000, s D), as rent is at most (1 - s)/s of it."""
    found = frontier(OWN_OR_RENT, TIGHT, limit="own_share", values=[0.2, 0.4, 0.55, 0.7, 0.9])
    for point in found.points:
        assert point.status in ("CERTIFIED", "FEASIBLE")
        assert point.cost_usd == pytest.approx(own_cost(max(400_000, point.value * 1_200_000)), rel=1e-6)
        above = sum(d > point.value * 1_200_000 for d in DEMANDS) / 10
        slope = (55_000 - 120_000 * above) * 1_200_000 if point.value * 1_200_000 > 400_000 else 0.0
        assert point.slope_usd == pytest.approx(slope, rel=1e-4, abs=1e5)
    check_convex(found)
    mirrored = frontier(OWN_OR_RENT, TIGHT, limit="rent_share", values=[0.1, 0.3])
    for point in mirrored.points:
        assert point.cost_usd == pytest.approx(own_cost((1 - point.value) * 1_200_000), rel=1e-6) and point.slope_usd < 0


@pytest.mark.parametrize(
    ("along", "values"),
    [
        ({"limit": "power"}, [0.2, 0.5, 0.8, 1.0]),
        ({"limit": "supply_chips"}, [300, 600, 1000, 2000]),
        ({"field": "limits.capex.board.max_usd"}, [5e6, 1e7, 2e7, 4e7]),
    ],
)
def test_right_hand_sides_are_convex_and_agree_with_highs(along: dict[str, Any], values: list[float]) -> None:
    found = frontier(TWO_CLOUDS, Settings(gap_relative=1e-8), **along, values=values)
    check_convex(found)
    check_highs(found)
    assert all(a.cost_usd >= b.lower_bound_usd for a, b in pairwise(found.points)), "more room never costs more"
    assert found.dearest_step == (found.points[1], found.points[0])


def test_a_share_of_a_provider_agrees_with_highs() -> None:
    found = frontier(TWO_CLOUDS, Settings(gap_relative=1e-8), limit="provider_share:gcp", values=[0.1, 0.2, 0.3])
    check_highs(found)
    assert all(point.mark == "convex" for point in found.points[1:-1]) and all(point.slope_usd < 0 for point in found.points)


def test_at_the_end_of_an_axis_there_is_no_slope() -> None:
    found = frontier(OWN_OR_RENT, limit="capex_usd", values=[0, 1e10])
    assert math.isnan(found.points[0].slope_usd) and "the axis ends" in found.points[0].no_slope and found.points[1].slope_usd < 0


def test_the_price_of_unserved_work() -> None:
    """The slope is the unserved work at the case's own prices, it falls as the price rises, and the cost is concave in the price."""
    found = frontier(TINY, TIGHT, limit="unserved", values=[0.001, 0.02, 0.05, 0.5])
    check_highs(found)
    left = [point.unserved_usd for point in found.points]
    assert left == sorted(left, reverse=True) and left[0] == pytest.approx(50 * 1e5 * 2.15) and left[0] > left[2] > left[-1]
    for point in found.points:
        assert point.slope_usd == pytest.approx(point.unserved_usd, rel=1e-5, abs=1.0)
    for a, b in pairwise(found.points):
        assert b.lower_bound_usd <= a.cost_usd + a.slope_usd * (b.value - a.value) + 1e-6 * b.cost_usd  # below every tangent


def test_a_provider_that_is_the_only_one() -> None:
    """Less than all of it with aws: then nothing may be held, and all work is left at its price."""
    found = frontier(TINY, TIGHT, limit="provider_share:aws", values=[0.5, 1.0])
    low, high = found.points
    assert low.status in ("CERTIFIED", "FEASIBLE") and low.cost_usd == pytest.approx(50 * 1e5 * 2.15, rel=1e-6)
    assert high.cost_usd < low.cost_usd


def test_a_share_that_cannot_be_met_is_said(tmp_path: Path) -> None:
    """A fleet that stands cannot be thinned where the only provider is its own."""
    case = tmp_path / "standing.yaml"
    fleet = '{class: reserved, chip: g90, place: "aws:us-east-1", count_chips: 10, end: 2029-01-01, price_usd_per_chip_hour: 2}'
    case.write_text(f"extends: {TINY}\nname: standing\nexisting: {{old: {fleet}}}\n")
    found = frontier(case, limit="provider_share:aws", values=[0.5, 1.0])
    missed, met = found.points
    assert missed.status == "NOT MET" and not missed.known and "missed by up to" in missed.reason and found.exit_code == 3
    assert met.status == "CERTIFIED" and missed.lower_bound_usd > met.cost_usd


def test_limits_that_clash_are_a_point(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    case, out = str(SMALL_CASES / "41_infeasible_share.yaml"), tmp_path / "out"
    assert main(["frontier", case, "--field", "offers.own_texas.available_chips=50,100,2000", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "INFEASIBLE" in page and "misses its minimum" in " ".join(page.split())
    rows = list(csv.DictReader(open(out / "frontier.csv", newline="")))
    assert [row["status"] for row in rows[:2]] == ["INFEASIBLE"] * 2 and rows[0]["cost_usd"] == ""
    assert "power at site texas leaves" in rows[1]["reason"]


def test_a_field_that_works_in_steps_has_no_slope() -> None:
    found = frontier(TWO_CLOUDS, field="workloads.chat.ttft_p99_ms", values=[600, 1300])
    assert all(math.isnan(point.slope_usd) and "in steps" in point.no_slope for point in found.points)
    assert found.points[0].cost_usd > found.points[1].cost_usd


def test_a_factor_reaches_every_level_of_a_path() -> None:
    axis = axis_of_word(WhatIf(TWO_CLOUDS), "power")
    assert dict(axis.slopes(1.0)) == {"sites.texas.power_mw.by_date.0.value": 1.0, "sites.texas.power_mw.by_date.1.value": 3.0}
    steps = axis.change(0.5)[1]["sites"]["texas"]["power_mw"]["by_date"]
    assert steps == [{"from": date(2026, 10, 1), "value": 0.5}, {"from": date(2027, 4, 1), "value": 1.5}]


def test_an_own_share_begins_when_own_chips_can_stand() -> None:
    laid = axis_of_word(WhatIf(TWO_CLOUDS), "own_share").change(0.3)[1]["limits"]["share"]["frontier"]
    assert laid["min"]["by_date"] == [{"from": date(2026, 10, 1), "value": 0}, {"from": date(2027, 4, 1), "value": 0.3}]
    later = axis_of_word(WhatIf(TWO_CLOUDS), "rent_share", date(2027, 10, 1)).change(0.3)[1]["limits"]["share"]["frontier"]
    assert [step["value"] for step in later["max"]["by_date"]] == [1, 0.3]


@pytest.mark.parametrize(
    ("costs", "slope", "mark"),
    [([9, 4, 1], -4.0, "convex"), ([0, 4, 6], 3.0, "concave"), ([0, 1, 2], 1.0, "straight"), ([9, 4, 1], -6.0, "outside")],
)
def test_what_a_slope_says_beside_the_chords(costs: list[float], slope: float, mark: str) -> None:
    points = [FrontierPoint(float(i), "CERTIFIED", cost, cost - 1e-9, slope) for i, cost in enumerate(costs)]
    assert compared(points)[1].mark == mark


def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "front"
    assert main(["frontier", str(OWN_OR_RENT), "--limit", "own_share=0.2:0.8:3", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "least cost against own_share: 3 CERTIFIED" in page and "The last step, from 0.5 to 0.8, costs" in page
    assert page.splitlines()[-1] == f"Results: {out}"
    rows = list(csv.DictReader(open(out / "frontier.csv", newline="")))
    document = json.loads((out / "frontier.json").read_text())
    assert [float(row["cost_usd"]) for row in rows] == [point["cost_usd"] for point in document["points"]]
    for row in rows[1:]:
        assert float(row["change_least_usd"]) <= float(row["change_most_usd"])
    drawn = list(ElementTree.fromstring((out / "frontier.svg").read_text()).iter())
    assert {"tangents", "least cost", "own_share (share)"} <= {e.text for e in drawn if e.tag.endswith("text")}
    assert sum(e.tag.endswith("polyline") for e in drawn) == 2 + 3  # cost, bound, and a tangent of its own at every point


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--field", "sites.hall.powr_mw=1:2:2"], "`sites.hall.power_mw`"),
        (["--field", "sites.hall.power_mw=a,b"], "finite numbers"),
        (["--field", "sites.hall.power_mw=2:1:3"], "whose lowest is above its highest"),
        (["--field", "sites.hall.power_mw"], "KEY.PATH=lowest:highest:count"),
        (["--field", "sites.hall.power_mw=-5,5"], "power_mw"),
        (["--field", "name=1,2"], "name"),
        (["--limit", "own_shar=0:1:3"], "did you mean own_share"),
        (["--limit", "own_share=0:2:3"], "from 0 to 1"),
        (["--limit", "provider_share=0:1:3"], "provider_share:NAME"),
        (["--limit", "provider_share:awz=0:1:3"], "did you mean aws"),
        (["--limit", "rent_share=0:1:3", "--from", "1999-01-01"], "outside of the horizon"),
        (["--limit", "rent_share=0:1:3", "--from", "soon"], "YYYY-MM-DD"),
        (["--limit", "power=0:1:3", "--from", "2026-10-01"], "no meaning"),
    ],
)
def test_bad_arguments_get_a_sentence(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "front"
    assert main(["frontier", str(OWN_OR_RENT), *options, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not out.exists()


def test_one_of_field_and_limit() -> None:
    with pytest.raises(CaseError, match="give one of the two"):
        frontier(OWN_OR_RENT, field="a", limit="power", values=[1])
    with pytest.raises(CaseError, match="has no values"):
        frontier(OWN_OR_RENT, limit="power")
