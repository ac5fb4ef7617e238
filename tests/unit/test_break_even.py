"""Where decisions flip: closed forms of own_or_rent, HiGHS as a second opinion, and the command.

In own_or_rent an own chip costs P + 4 * 5,000 $ over four years and does work that would cost 4 R to rent, if demand exceeds the level
below it, which it does with probability q: own up to a level iff P + 20,000 < 4 R q.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from optimizer.analysis.break_even import FieldRange, break_even
from optimizer.analysis.flip_search import Flip, between, grid
from optimizer.analysis.utilisation import utilisation
from optimizer.cli import main
from optimizer.settings import Settings
from optimizer.spec import CaseError

ROOT = Path(__file__).resolve().parents[2]
OWN_OR_RENT = ROOT / "configs" / "cases" / "own_or_rent.yaml"
TINY = ROOT / "tests" / "oracle" / "cases" / "49_hand_newsvendor.yaml"
PRICE, RENT = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year"
LEVELS = (100, 150, 200, 250, 300, 400, 500, 700, 900, 1200)  # thousands of chips, each demanded with probability 0.1
TIGHT = Settings(gap_relative=1e-8)


def extended(folder: Path, more: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(f"name: changed\nextends: {OWN_OR_RENT}\n{more}")
    return path


def only(flips: list[Flip]) -> Flip:
    (flip,) = flips
    return flip


def holds(flip: Flip, value: float, tolerance: float) -> None:
    """The bracket holds the closed form and is as narrow as was asked."""
    a, b = flip.before.value, flip.after.value
    slack = 1e-6 * value  # a plan within the gap may decide otherwise very close to the flip
    assert a - slack <= value <= b + slack, (flip.decision.text, a, value, b)
    assert flip.resolved and b - a <= tolerance * b


# closed forms ---------------------------------------------------------------------------------------------------------------------
def test_every_step_of_the_own_share_along_the_price() -> None:
    """Level k from below is exceeded by what lies below it with probability 1 - k / 10: P = 120,000 q - 20,000, for q = 0.2 .. 1."""
    below = [0, *LEVELS]
    wanted = {f"offer=buy@{1000 * (below[k] + below[k + 1]) / 2:g}": 120_000 * (1 - k / 10) - 20_000 for k in range(9)}
    found = break_even(OWN_OR_RENT, (PRICE, 1000, 110_000), list(wanted), tolerance=4e-3)
    assert found.exit_code == 0 and found.own_value == 35_000 and not found.whole_numbers
    for asked in found.decisions:
        flip = only(found.of(asked))
        holds(flip, wanted[asked.text], 4e-3)
        assert flip.before.reading.state.startswith("more") and flip.after.reading.state.startswith("at most")
        for end in (flip.before, flip.after):
            assert end.status == "CERTIFIED" and 0 <= end.cost_usd - end.lower_bound_usd <= 1e-8 * end.cost_usd
    values = [point.value for point in found.points]
    assert values == sorted(values) and 35_000 in values and len(values) == found.solves


def test_along_the_rent_and_for_pairs() -> None:
    """R = (P + 20,000) / (4 q); the share steps with the order, and both ends of a bracket tell it."""
    flip = only(list(break_even(OWN_OR_RENT, (RENT, 40_000, 60_000), "offer=buy@600000", points=3).flips))
    holds(flip, 55_000 / (4 * 0.3), 1e-4)
    assert flip.before.reading.measure == pytest.approx(500_000, rel=1e-3)
    assert flip.after.reading.measure == pytest.approx(700_000, rel=1e-3)
    found = break_even(OWN_OR_RENT, (PRICE, 10_000, 120_000), "own_share=0.6", against=(RENT, [20_000, 36_000]), points=3, tolerance=1e-3)
    for rent in (20_000, 36_000):  # 300,000 owned are 58 % of the compute, 400,000 are 70 %
        holds(only(found.of(found.decisions[0], rent)), 4 * rent * 0.5 - 20_000, 1e-3)
    assert found.own_against == 30_000 and {point.against for point in found.points} == {20_000, 36_000}


def test_a_cost_that_is_reached_is_told_from_bounds() -> None:
    """Owning 400,000 chips costs 400,000 (P + 20,000) + 20.4 B$: 43 B$ at P = 36,500. A wide gap widens the bracket, and never moves it."""
    for gap, tolerance in ((1e-8, 1e-3), (1e-3, 1e-3)):
        found = break_even(OWN_OR_RENT, (PRICE, 30_000, 39_000), "cost_usd=43e9", Settings(gap_relative=gap), points=3, tolerance=tolerance)
        flip = only(list(found.flips))
        assert flip.before.value < 36_500 < flip.after.value
        assert flip.before.cost_usd < 43e9 <= flip.after.lower_bound_usd
        assert flip.resolved == (flip.after.value - flip.before.value <= tolerance * flip.after.value)
    assert all(flip.before.reading.state == "below" and flip.after.reading.state == "at least" for flip in found.flips)


def test_whole_numbers_end_at_neighbours() -> None:
    """Delivery after L months: a chip works for the whole quarters that are left and costs 35,000 + 5,000 a year. In 18 months it spares
    45,000 $ of rent and costs 42,500; ordered one month later it spares 37,500."""
    found = break_even(OWN_OR_RENT, ("offers.buy.lead_time_months", 0, 47), "offer=buy")
    flip = only(list(found.flips))
    assert found.whole_numbers and flip.resolved
    assert (flip.before.value, flip.after.value) == (30, 31)
    assert all(isinstance(point.value, int) for point in found.points)


def test_work_goes_unserved_where_renting_is_dearer() -> None:
    """One request per second is 3.6 M output tokens an hour, and rent 30,000 / 8,766 $: at 0.9506 $ per M tokens."""
    field = "workloads.work.unserved_usd_per_million_output_tokens"
    flip = only(list(break_even(OWN_OR_RENT, (field, 0.5, 2), "unserved", points=3, tolerance=1e-3).flips))
    holds(flip, 30_000 / 8766 / 3.6, 1e-3)
    assert flip.before.reading.state == "unserved" and flip.after.reading.measure <= 1e-4


def test_what_an_offer_is_worth_on_both_sides() -> None:
    """Above 88,000 the 100,000 chips that always work are worth 100,000 (100,000 - P)."""
    found = break_even(OWN_OR_RENT, (PRICE, 99_000, 103_000), "offer=buy", points=2, tolerance=0.05)
    flip = only(list(found.flips))
    assert (flip.before.value, flip.after.value) == (99_000, 103_000)
    least, most = flip.before.worth_usd or (math.nan, math.nan)
    assert 0 < least <= 1e8 <= most and most - least <= 2000
    least, most = flip.after.worth_usd or (math.nan, math.nan)
    assert least == 0 <= most <= 2000


def test_where_no_plan_is_possible_is_named_and_bracketed(tmp_path: Path) -> None:
    """100,000 chips that stand already need power: below it the case is infeasible."""
    chips = "existing: {old: {class: own, chip: h100, place: hall, count_chips: 100000, end: 2031-01-01}}\n"
    case = extended(tmp_path, f"{chips}chips: {{h100: {{provisioned_power_kw_per_chip: 1.5}}}}")
    found = break_even(case, ("sites.hall.power_mw", 10, 1000), "own_share=0.01", points=3, tolerance=1e-2)
    edge = 100_000 * 1.5 * 1.2 / 1000
    flip = found.flips[0]
    assert flip.before.reading.state == "INFEASIBLE" and flip.before.reason and math.isnan(flip.before.cost_usd)
    assert flip.before.value <= edge <= flip.after.value and flip.resolved
    assert {point.status for point in found.points} == {"CERTIFIED", "INFEASIBLE"} and found.exit_code == 0
    assert len(found.points) == found.solves


def test_two_flips_are_both_found_and_the_second_of_none_is_not_invented() -> None:
    """Along the price 400,000 chips are owned up to 40,000; a threshold that is never crossed has no flip."""
    found = break_even(OWN_OR_RENT, FieldRange(PRICE, 1000, 110_000, ratios=True), ["own_share=0.99", "own_share=0"], points=5)
    assert not found.flips and len(found.points) == 6  # the case's own price is on the grid
    assert found.points[1].value == pytest.approx(1000 * 110**0.25, rel=0.01)


def test_highs_flips_at_the_same_place() -> None:
    """As the interior point does."""
    field = "offers.reserve.price_usd_per_chip_hour"
    decisions = ["offer=reserve", "reserved_share=0.6"]
    ours, theirs = (
        break_even(TINY, (field, 0.5, 6), decisions, replace(TIGHT, engine=engine), tolerance=1e-2, points=5)
        for engine in ("interior", "simplex")
    )
    assert [f.decision.text for f in ours.flips] == [f.decision.text for f in theirs.flips] and len(ours.flips) >= 2
    for a, b in zip(ours.flips, theirs.flips, strict=True):
        assert (a.before.reading.state, a.after.reading.state) == (b.before.reading.state, b.after.reading.state)
        assert max(a.before.value, b.before.value) <= min(a.after.value, b.after.value) * (1 + 1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1e-9), (39_999.0, 40_000.0), (1e12, 1e12 + 1), (-3.0, 8.0), (0.123456, 0.123457)])
def test_halving_lands_inside_and_near_the_middle(a: float, b: float) -> None:
    middle = between(a, b, whole=False)
    assert abs(middle - (a + b) / 2) <= 0.06 * (b - a)
    assert between(3, 4, whole=True) == 3 and grid(FieldRange("x", 0, 4), 9, whole=True) == [0, 1, 2, 3, 4]


# owning against renting -----------------------------------------------------------------------------------------------------------
def test_the_utilisation_of_own_or_rent() -> None:
    """13,750 / 30,000; 400,000 chips, of which min(demand, 400,000) work: 300,000 on average, all of them in five of ten scenarios."""
    found = utilisation(OWN_OR_RENT, TIGHT)
    (rivals,), (owned,) = found.rivals, found.owned
    assert rivals.own_usd_per_chip_year == pytest.approx(13_750, rel=1e-12)
    assert rivals.other_usd_per_chip_hour * 8766 == pytest.approx(30_000, rel=1e-12)
    assert rivals.break_even == pytest.approx(13_750 / 30_000, rel=1e-12) == pytest.approx(0.4583, abs=1e-4)
    assert owned.held_chips == pytest.approx(400_000, rel=1e-6) and owned.mean == pytest.approx(0.75, rel=1e-6)
    assert owned.last_chip == pytest.approx(0.5) and owned.last_chip > rivals.break_even > 0.4  # one more chip would work 0.4 of the time


def test_the_utilisation_with_energy_discount_and_end_value(tmp_path: Path) -> None:
    """Against the formula written out: two years by year, 8 %, life of 48 months, idle and load energy, usable shares."""
    case = extended(
        tmp_path,
        "discount_rate_per_year: 0.08\nend_value: straight_line\nhorizon: {start: 2026-10-01, periods: 2, period: year}\n"
        "chips: {h100: {idle_power_kw_per_chip: 0.4, load_power_kw_per_chip: 1.0}}\n"
        "offers: {buy: {usable_share: 0.9}, rent: {usable_share: 0.8, price_growth_per_year: 0.1}}\n",
    )
    (r,) = utilisation(case).rivals
    mid = [182.5 / 365.25, (365 + 183) / 365.25]  # the second year holds 29 February 2028
    hours, factor = [365 * 24, 366 * 24], [1.08**-y for y in mid]
    idle, load = (kw * 1.2 / 1000 * 66 for kw in (0.4, 1.0 - 0.4))
    days_of_life, days_left = 1461, 1461 - 731
    paid = 35_000 - 35_000 * days_left / days_of_life * 1.08 ** -(731 / 365.25)
    paid += sum(f * (5000 * h / 24 / 365.25 + idle * h) for f, h in zip(factor, hours, strict=True))
    weight = sum(f * h for f, h in zip(factor, hours, strict=True))
    own, use = paid / weight * 8766 / 0.9, load * 8766
    rent = sum(f * h * 30_000 / 8766 * 1.1**y for f, h, y in zip(factor, hours, mid, strict=True)) / weight / 0.8
    assert r.own_usd_per_chip_year == pytest.approx(own, rel=1e-9) and r.use_usd_per_chip_year == pytest.approx(use, rel=1e-9)
    assert r.other_usd_per_chip_hour == pytest.approx(rent, rel=1e-9)
    assert r.break_even == pytest.approx(own / (8766 * rent - use), rel=1e-9)
    at = r.own_usd_per_used_hour(r.break_even)
    assert at == pytest.approx(r.rent_usd_per_used_hour, rel=1e-9)  # there both cost the same per used hour


def test_what_replaces_a_chip_is_weighed_by_the_work_that_it_does(tmp_path: Path) -> None:
    """Two workloads on own chips, 1 and 3 chips of work: the rented chip does half as much of the first, and none of the second."""
    case = tmp_path / "case.yaml"
    text = (
        f"name: two\nextends: {OWN_OR_RENT}\nscenarios: null\nchips: {{h200: {{}}}}\noffers: {{rent: {{chip: h200}}}}\n"
        "throughput: {other: {chip: h200, model: dense_70b, task: serving, input_tokens: 1000, output_tokens: 1000, "
        "output_tokens_per_second_per_chip: 500}}\nworkloads:\n  work: {requests_per_second: 1000}\n"
        "  kept: {kind: serving, model: dense_70b, input_tokens: 1000, output_tokens: 1000, origins: {users: 1}, "
        "requests_per_second: 3000, allowed_chips: [h100], unserved_usd_per_million_output_tokens: 10}\n"
    )
    case.write_text(text)
    (r,) = utilisation(case).rivals
    assert (r.other_chip, r.chips_for_one) == ("h200", pytest.approx(2))
    assert r.work_share == pytest.approx(0.25) and r.break_even == pytest.approx(13_750 / 60_000)


def test_a_case_without_own_offers_has_no_break_even_utilisation(capsys: pytest.CaptureFixture) -> None:
    assert main(["break-even", str(TINY)]) == 2
    assert "no own offer" in capsys.readouterr().err


# the command ----------------------------------------------------------------------------------------------------------------------
def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "flips"
    options = ["--field", f"{PRICE}=20000:60000", "--when", "own_share=0.6", "--points", "3", "--tolerance", "0.01"]
    assert main(["break-even", str(OWN_OR_RENT), *options, "--against", f"{RENT}=30000,34000", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    with open(out / "break_even.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["against"] for row in rows] == ["30000", "34000"] and all(row["resolved"] == "true" for row in rows)
    for row, flip in zip(rows, (40_000, 48_000), strict=True):
        assert float(row["before_value"]) <= flip <= float(row["after_value"])
        assert (row["before_state"], row["after_state"]) == ("at least", "below")
        assert f"{float(row['before_value']):.12g}" in page and f"{float(row['after_value']):.12g}" in page
        assert float(row["before_lower_bound_usd"]) <= float(row["before_cost_usd"])
    document = json.loads((out / "break_even.json").read_text())
    assert document["field"] == PRICE and document["own_value"] == 35_000 and len(document["flips"]) == 2
    with open(out / "points.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(document["points"])
    drawn = "".join(ElementTree.fromstring((out / "break_even.svg").read_text()).itertext())
    assert "this case" in drawn and "34000: at least to" in drawn
    assert f"Results: {out}" in page and "nothing is claimed" in " ".join(page.split())


def test_the_page_without_a_field(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "use"
    assert main(["break-even", str(OWN_OR_RENT), "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "46 %" in page and "75 %" in page and "50 %" in page and "13,750" in page
    with open(out / "utilisation.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["break_even_utilisation"]) == pytest.approx(13_750 / 30_000) and float(row["plan_utilisation"]) == pytest.approx(0.75)
    drawn = "".join(ElementTree.fromstring((out / "utilisation.svg").read_text()).itertext())
    assert "break-even" in drawn and "plan: last" in drawn


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--field", "offers.buy.price_usd_per_chp=1:2", "--when", "unserved"], "`offers.buy.price_usd_per_chip`"),
        (["--field", f"{PRICE}=2:1", "--when", "unserved"], "which is empty"),
        (["--field", f"{PRICE}=1:1", "--when", "unserved"], "which is empty"),
        (["--field", f"{PRICE}=1:x", "--when", "unserved"], "`x` is no number"),
        (["--field", f"{PRICE}=1:inf", "--when", "unserved"], "two finite numbers"),
        (["--field", f"{PRICE}=-1:2", "--when", "unserved"], "greater than 0"),
        (["--field", f"{PRICE}=1", "--when", "unserved"], "is not KEY.PATH=lowest:highest"),
        (["--field", "horizon.start=1:2", "--when", "unserved"], "not a number"),
        (["--field", "load_blocks.always.utc_hours=1:2", "--when", "unserved"], "not a number"),
        (["--field", f"{PRICE}=1:2"], "--when: is missing"),
        (["--field", f"{PRICE}=1:2", "--when", "own_shar=0.4"], "did you mean `own_share`"),
        (["--field", f"{PRICE}=1:2", "--when", "own_share=1.4"], "is no share"),
        (["--field", f"{PRICE}=1:2", "--when", "own_share"], "has no value"),
        (["--field", f"{PRICE}=1:2", "--when", "cost_usd=much"], "which is no number"),
        (["--field", f"{PRICE}=1:2", "--when", "offer=bue"], "did you mean `buy`"),
        (["--field", f"{PRICE}=1:2", "--when", "offer=buy@-3"], "count of 0 or more"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved=3"], "gives `unserved` a value"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--points", "1"], "2 or more"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--tolerance", "0"], "relative width"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--least", "1"], "from 0 to below 1"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--against", f"{PRICE}=3,4"], "name another field"),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--against", f"{RENT}="], "--against: "),
        (["--field", f"{PRICE}=1:2", "--when", "unserved", "--against", f"{RENT}=-5"], "greater than 0"),
        (["--when", "unserved"], "without --field"),
    ],
)
def test_bad_arguments_get_a_sentence(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "flips"
    assert main(["break-even", str(OWN_OR_RENT), *options, "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and not told.out and not out.exists()


def test_an_unwritable_place_is_refused_before_anything_is_solved(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert main(["break-even", str(OWN_OR_RENT), "--out", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
    with pytest.raises(CaseError, match="names no decision"):
        break_even(OWN_OR_RENT, (PRICE, 1, 2), [])
