"""Two cases side by side: closed forms of what each input adds, groups that only go together, written plans, and the command."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from optimizer.analysis import shares_of_difference
from optimizer.analysis.case_differences import differences, groups, overlay
from optimizer.analysis.compare import Comparison, compare
from optimizer.analysis.mixtures import Value, union
from optimizer.analysis.path_integral import centred
from optimizer.analysis.shares_of_difference import divide
from optimizer.cli import main
from optimizer.spec import CaseError, load_case
from optimizer.spec.extends import read_case_file

ROOT = Path(__file__).resolve().parents[2]
OWN_OR_RENT = ROOT / "configs" / "cases" / "own_or_rent.yaml"
TINY = ROOT / "tests" / "oracle" / "cases" / "49_hand_newsvendor.yaml"
LEVELS = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 7, 9, 12])
BUY, RENT, WORK = "offers.buy", "offers.rent", "workloads.work"



def written(folder: Path, name: str, text: str, base: Path = OWN_OR_RENT) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(f"name: {name}\nextends: {base}\n{text}\n")
    return file


def prices(folder: Path, name: str, buy: float, rent: float, work: float) -> Path:
    text = (
        f"offers: {{buy: {{price_usd_per_chip: {buy}}}, rent: {{price_usd_per_chip_year: {rent}}}}}\n"
        f"workloads: {{work: {{requests_per_second: {work}}}}}"
    )
    return written(folder, name, text)


def closed_form(buy: float, rent: float, work: float) -> float:
    """The newsvendor: own one of the ten levels, rent what is above it; 16 quarters are four years of 365.25 days."""
    demand = LEVELS * work
    return min(own * (buy + 4 * 5000) + 4 * rent * np.maximum(demand - own, 0).mean() for own in (0.0, *demand))


def shapley(value: dict[frozenset[int], float], count: int) -> list[float]:
    """By its definition: the mean over all orders."""
    added = np.zeros(count)
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        for k, i in enumerate(order):
            added[i] += value[frozenset(order[: k + 1])] - value[frozenset(order[:k])]
    return list(added / len(orders))


# what differs ---------------------------------------------------------------------------------------------------------------------
def test_differences_are_what_makes_one_case_of_the_other(tmp_path: Path) -> None:
    text = """
description: other words
offers: {rent: {available_chips: 2000000.0, price_usd_per_chip_year: 31000}, buy: null, lease: {kind: lease, chip: h100,
  place: "aws:us-east-1", price_usd_per_chip_hour: 2, term_months: 24}}
load_blocks: {always: {utc_hours: [23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}}
"""
    other = written(tmp_path, "other", text)
    found = differences(read_case_file(OWN_OR_RENT), read_case_file(other))
    keys = [one.key for one in found]
    assert keys == ["load_blocks.always.utc_hours", "offers.buy", "offers.lease", "offers.rent.price_usd_per_chip_year"]
    assert [group.name for group in groups(found)] == ["load_blocks", "offers.buy", "offers.lease", "offers.rent"]
    assert [group.name for group in groups(found, "section")] == ["load_blocks", "offers"]
    assert [group.name for group in groups(found, "field")] == keys
    laid, itself = load_case(OWN_OR_RENT, {**overlay(groups(found)), "name": "other", "description": "other words"}), load_case(other)
    assert {**laid.offers} == {**itself.offers} and laid.load_blocks == itself.load_blocks and laid.hash == itself.hash


# what each input adds ---------------------------------------------------------------------------------------------------------------
def test_the_shapley_values_of_three_prices_in_closed_form(tmp_path: Path) -> None:
    before, after = (35000, 30000, 100000), (29000, 26000, 130000)
    found = compare(OWN_OR_RENT, prices(tmp_path, "b", *after))
    names = (BUY, RENT, WORK)
    value = {
        frozenset(chosen): closed_form(*(after[k] if k in chosen else before[k] for k in range(3)))
        for size in range(4)
        for chosen in itertools.combinations(range(3), size)
    }
    wanted = dict(zip(names, shapley(value, 3), strict=True))
    assert {one.name for one in found.contributions} == set(names) and found.orders == 0 and found.solves == 8 and found.exit_code == 0
    for one in found.contributions:
        assert one.usd == pytest.approx(wanted[one.name], rel=1e-6)
        slack = 1e-9 * closed_form(*before)  # HiGHS and the closed form round differently
        assert one.least_usd - slack <= wanted[one.name] <= one.most_usd + slack and one.most_usd - one.least_usd < 1e-5 * abs(one.usd)
        assert one.lowest_usd <= one.usd <= one.highest_usd
    assert math.fsum(one.usd for one in found.contributions) == pytest.approx(found.change_usd, rel=1e-14)
    assert found.change_usd == pytest.approx(value[frozenset({0, 1, 2})] - value[frozenset()], rel=1e-6)
    assert found.least_usd <= found.change_usd <= found.most_usd


def test_there_is_back_with_the_other_sign_and_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    one = written(tmp_path, "one", "offers: {rent: {price_usd_per_chip_year: 40000}, buy: {price_usd_per_chip: 30000}}")
    two = written(tmp_path, "two", "offers: {buy: {price_usd_per_chip: 30000}, rent: {price_usd_per_chip_year: 40000}}")
    there, again, back = compare(OWN_OR_RENT, one), compare(OWN_OR_RENT, two), compare(one, OWN_OR_RENT)
    assert there.contributions == again.contributions
    of = {found.name: found.usd for found in back.contributions}
    for found in there.contributions:
        assert found.usd == pytest.approx(-of[found.name], abs=1e-8 * there.before.cost_usd)
    assert back.change_usd == pytest.approx(-there.change_usd, abs=1e-8 * there.before.cost_usd)
    # two inputs: half of first alone, half of first after the other
    half = 0.5 * (closed_form(35000, 40000, 1e5) - closed_form(35000, 30000, 1e5))
    half += 0.5 * (closed_form(30000, 40000, 1e5) - closed_form(30000, 30000, 1e5))
    assert next(c.usd for c in there.contributions if c.name == RENT) == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize("by", ["item", "number"])
def test_a_case_beside_itself_changes_nothing(by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = written(tmp_path, "same", "offers: {rent: {price_usd_per_chip_year: 3e4}}")
    found = compare(OWN_OR_RENT, same, by=by)
    assert not found.changes and not found.contributions and not found.numbers and found.solves == 1
    assert found.change_usd == found.least_usd == found.most_usd == 0 and all(line.change == 0 for line in found.lines)
    assert main(["compare", str(OWN_OR_RENT), str(same), "--by", by]) == 0
    assert "the same inputs, so the same answer" in capsys.readouterr().out


def game(count: int, value: dict[frozenset[int], float], bad: frozenset[frozenset[int]] = frozenset()):
    """In the place of certified mixtures."""
    known = {chosen: Value(usd, usd - 1.0, "CERTIFIED") for chosen, usd in value.items() if chosen not in bad}
    return SimpleNamespace(
        groups=range(count),
        known=known,
        bad={},
        value=known.__getitem__,
        check=known.__contains__,
        merged=lambda blocks, asked: list(blocks),
    )


def test_any_game_is_shared_out_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    count = 4
    subsets = [frozenset(c) for size in range(count + 1) for c in itertools.combinations(range(count), size)]
    value = {chosen: float(generator.normal(scale=1e9)) for chosen in subsets}
    exact = divide(game(count, value), 3, 0)  # type: ignore[arg-type]
    assert [share.usd for share in exact.shares] == pytest.approx(shapley(value, count))
    # each weight's sign decides which end of the bracket counts: half of the terms are taken one dollar down on either side
    assert all(share.usd - 1 == pytest.approx(share.least_usd) and share.usd + 1 == pytest.approx(share.most_usd) for share in exact.shares)
    monkeypatch.setattr(shares_of_difference, "MOST_EXACT", 2)
    estimate, again, other = (divide(game(count, value), 3, seed) for seed in (0, 0, 1))  # type: ignore[arg-type]
    assert estimate == again != other and estimate.orders == 6
    whole = value[frozenset(range(count))] - value[frozenset()]
    for found in (exact, estimate, other):
        assert math.fsum(share.usd for share in found.shares) == pytest.approx(whole, rel=1e-12)
        assert all(share.lowest_usd <= share.usd <= share.highest_usd for share in found.shares)
    many = divide(game(count, value), 4000, 0)  # type: ignore[arg-type]
    assert [share.usd for share in many.shares] == pytest.approx([share.usd for share in exact.shares], abs=5e7)
    # inputs that do not meet: every order says the same
    alone = generator.normal(size=count)
    flat = divide(game(count, {chosen: float(sum(alone[i] for i in chosen)) for chosen in subsets}), 1, 0)  # type: ignore[arg-type]
    assert [share.usd for share in flat.shares] == pytest.approx(list(alone))
    assert union([frozenset({1}), frozenset({0, 2})], [1]) == {0, 2}


def test_many_inputs_go_by_random_orders(tmp_path: Path) -> None:
    text = """
discount_rate_per_year: 0.03
offers: {reserve: {price_usd_per_chip_hour: 2.2}, rent: {price_usd_per_chip_hour: 5, available_chips: 900}}
workloads: {train: {exaflop_per_period: 1.1e+5, unserved_usd_per_exaflop: 60}}
scenarios: {cases: {low: {demand: {all: {path: 1.2}}}, high: {demand: {all: {path: 3.5}}}}}
end_value: none
"""
    other = written(tmp_path, "b", text, TINY)
    found = compare(TINY, other, by="field", orders=2, seed=4)
    assert len(found.contributions) == 9 and found.orders == 4
    assert math.fsum(one.usd for one in found.contributions) == pytest.approx(found.change_usd, rel=1e-12)
    assert next(one for one in found.contributions if one.name == "end_value").usd == pytest.approx(0, abs=1e-6 * found.after.cost_usd)
    assert found.contributions == compare(TINY, other, by="field", orders=2, seed=4).contributions


# inputs that only go together -------------------------------------------------------------------------------------------------------
LEASED = """
existing: {leased: {class: lease, chip: g90, place: "aws:us-east-1", count_chips: 60, end: 2028-01-01, price_usd_per_chip_hour: 2}}
"""


def test_inputs_without_a_case_between_them_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Probabilities that must add up to one; a limit that cannot be met without more to sign."""
    before = written(tmp_path, "before", f"{LEASED}offers: {{reserve: {{available_chips: 100}}}}", TINY)
    text = """
offers: {reserve: {available_chips: 200}, rent: {price_usd_per_chip_hour: 5}}
limits: {share: {floor: {min: 0.7, of: signed, basis: chips, kinds: [reserved_1y]}}}
"""
    after = written(tmp_path, "after", text, before)
    found = compare(before, after)
    of = {one.name: one for one in found.contributions}
    assert set(of) == {"limits.share.floor + offers.reserve", "offers.rent"}
    assert "INFEASIBLE" in of["limits.share.floor + offers.reserve"].because and not of["offers.rent"].because
    assert math.fsum(one.usd for one in found.contributions) == pytest.approx(found.change_usd, rel=1e-12)
    assert main(["compare", str(before), str(after)]) == 0
    assert "go together" in capsys.readouterr().out

    text = "scenarios: {cases: {low: {probability: 0.35}, high: {probability: 0.3}}}\noffers: {rent: {price_usd_per_chip_hour: 5}}"
    found = compare(TINY, written(tmp_path, "odds", text, TINY), by="field")
    assert {one.name for one in found.contributions} == {
        "scenarios.cases.high.probability + scenarios.cases.low.probability", "offers.rent.price_usd_per_chip_hour",
    }  # fmt: skip


def test_two_partners_among_many(tmp_path: Path) -> None:
    """More groups than are tried in all mixtures."""
    text = """
discount_rate_per_year: 0.03
offers: {reserve: {price_usd_per_chip_hour: 2.2}, rent: {price_usd_per_chip_hour: 5, available_chips: 900}}
workloads: {train: {unserved_usd_per_exaflop: 60}}
scenarios: {cases: {low: {probability: 0.35}, high: {probability: 0.3}}}
"""
    found = compare(TINY, written(tmp_path, "b", text, TINY), by="field", orders=1)
    names = {one.name for one in found.contributions}
    assert "scenarios.cases.high.probability + scenarios.cases.low.probability" in names and len(names) == 6


def test_a_section_that_one_case_does_not_have_is_compared_item_by_item(tmp_path: Path) -> None:
    text = "limits: {supply: {all: {max_chips: 900}, late: {max_chips: 800}}}\n" + LEASED
    other = written(tmp_path, "b", text, TINY)
    for pair in ((TINY, other), (other, TINY)):
        found = groups(differences(*(read_case_file(path) for path in pair)))
        assert [group.name for group in found] == ["existing.leased", "limits.supply.all", "limits.supply.late"]
        load_case(pair[0], overlay(found[1:]))
        load_case(pair[0], overlay(found))


def test_a_case_without_a_plan_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{LEASED}offers: {{reserve: {{available_chips: 5}}}}\n"
    text += "limits: {share: {floor: {min: 0.7, of: signed, basis: chips, kinds: [reserved_1y]}}}"
    after = written(tmp_path, "after", text, TINY)
    assert main(["compare", str(TINY), str(after), "--out", str(tmp_path / "out")]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "no plan to compare with" in said and "INFEASIBLE" in said and "limits.share.floor" in said
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["after"]["objective_usd"] is None


# by number --------------------------------------------------------------------------------------------------------------------------
def test_the_path_integral_in_closed_form(tmp_path: Path) -> None:
    """While 400,000 chips per 100,000 requests stay best, the cost is work (4 (buy + 20,000) + 6.8 rent): a trilinear form, of which the
    integral along the diagonal is exact."""
    a, b = np.array([35000.0, 30000.0, 100000.0]), np.array([35500.0, 30400.0, 110000.0])

    def price(t: float) -> np.ndarray:
        return a + t * (b - a)

    at, weight = np.polynomial.legendre.leggauss(6)
    wanted = np.zeros(3)
    for x, w in zip((at + 1) / 2, weight / 2, strict=True):
        buy, rent, work = price(x)
        wanted += w * (b - a) * np.array([4 * work, 6.8 * work, 4 * (buy + 20000) + 6.8 * rent])
    found = compare(OWN_OR_RENT, prices(tmp_path, "b", *b), by="number")
    of = {one.key: one.usd for one in found.numbers}
    keys = ("offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year", "workloads.work.requests_per_second")
    assert [of[key] for key in keys] == pytest.approx(list(wanted), rel=1e-6) and len(of) == 3
    assert sum(of.values()) + found.missing_usd == pytest.approx(found.change_usd, rel=1e-12)
    assert abs(found.missing_usd) < 1e-5 * abs(found.change_usd)


def test_a_way_on_which_the_plan_changes_its_form_is_cut(tmp_path: Path) -> None:
    """From owning 400,000 chips to owning 300,000: a kink on the way; more points miss less, and the line says how much."""
    other = prices(tmp_path, "b", 40000, 27000, 100000)
    rough, fine = (compare(OWN_OR_RENT, other, by="number", solves=solves) for solves in (3, 24))
    change = closed_form(40000, 27000, 1e5) - closed_form(35000, 30000, 1e5)
    assert abs(fine.missing_usd) < 0.2 * abs(rough.missing_usd) and abs(fine.missing_usd) < 0.02 * abs(change)
    for found in (rough, fine):
        assert sum(one.usd for one in found.numbers) + found.missing_usd == pytest.approx(change, rel=1e-6)


def test_shares_are_measured_from_their_mean(tmp_path: Path) -> None:
    keys = ("scenarios.cases.a.probability", "scenarios.cases.b.probability", "x")
    assert centred(np.array([5.0, 9.0, 7.0]), np.array([0.75, 0.25, 1.0]), keys) == pytest.approx([-1, 3, 7])
    text = "scenarios: {cases: {chips_100k: {probability: 0.09}, chips_1200k: {probability: 0.11}}}"
    found = compare(OWN_OR_RENT, written(tmp_path, "b", text), by="number")
    assert {one.key for one in found.numbers} == {"scenarios.cases.chips_100k.probability", "scenarios.cases.chips_1200k.probability"}
    # an owned fleet of 400,000: the largest demand rents 800,000 for four years, the smallest nothing
    assert found.change_usd == pytest.approx(0.01 * 800_000 * 4 * 30000, rel=1e-6)
    assert abs(found.missing_usd) < 1e-4 * found.change_usd and all(one.usd > 0 for one in found.numbers)


def test_by_number_refuses_what_is_more_than_numbers(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"numbers only.*offers\.lease.*--by field"):
        text = "offers: {lease: {kind: lease, chip: h100, place: 'aws:us-east-1', price_usd_per_chip_hour: 2, term_months: 24}}"
        compare(OWN_OR_RENT, written(tmp_path, "b", text), by="number")
    with pytest.raises(CaseError, match="numbers only"):
        compare(OWN_OR_RENT, written(tmp_path, "c", "offers: {buy: {life_months: 36}}"), by="number")


# the command ------------------------------------------------------------------------------------------------------------------------
def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    other = prices(tmp_path, "cheap", 30000, 25000, 120000)
    assert main(["compare", str(OWN_OR_RENT), str(other), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("own_or_rent -> cheap: $2.00 B dearer (4.7 %)") and said.endswith(f"Results: {out}\n")
    with open(out / "contributions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    document = json.loads((out / "compare.json").read_text())
    assert math.fsum(float(row["usd"]) for row in rows) == pytest.approx(document["change_usd"], rel=1e-12)
    assert [row["input"] for row in rows] == [WORK, RENT, BUY] and document["orders"] == "all"
    plans = {(row["table"], row["name"]): row for row in document["plans"]}
    costs = [row["after"] for (table, _), row in plans.items() if table == "cost"]
    assert sum(costs) == pytest.approx(document["after"]["objective_usd"], rel=1e-9)
    assert plans["signed", "buy"]["before"] == pytest.approx(400_000, rel=1e-6)
    first_year = document["first_year"][0]
    assert first_year["both_chips"] == min(first_year["before_chips"], first_year["after_chips"])
    words = {element.text for element in ElementTree.fromstring((out / "compare.svg").read_text()).iter() if element.tag.endswith("text")}
    assert {"own_or_rent", "cheap", WORK, RENT, BUY} <= words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such.yaml"], "no_such.yaml"),
        (["OTHER", "--orders", "0"], "1 or more"),
        (["OTHER", "--solves", "1"], "3 or more"),
        (["OTHER", "--seed", "-1"], "from 0"),
        (["plan.json"], "compare two case files, or two plans"),
        (["OTHER", "--out", str(TINY)], "name a directory"),
    ],
)
def test_bad_arguments_get_a_sentence(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = prices(tmp_path, "b", 30000, 25000, 120000)
    assert main(["compare", str(OWN_OR_RENT), *(str(other) if word == "OTHER" else word for word in arguments)]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == "" and {path.name for path in tmp_path.iterdir()} == {"b.yaml"}


# written plans ----------------------------------------------------------------------------------------------------------------------
def test_two_written_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = prices(tmp_path, "cheap", 31000, 25000, 120000)  # at 30,000 owning 300,000 chips and 400,000 cost the same
    for case, name in ((OWN_OR_RENT, "a"), (OWN_OR_RENT, "again"), (other, "b")):
        assert main(["plan", str(case), "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    a, again, b = (str(tmp_path / name) for name in ("a", "again", "b"))
    assert main(["compare", a, f"{b}/plan.json", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "plans of two different cases" in said and "nothing was solved" in said and "certified between" in said
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    solved: Comparison = compare(OWN_OR_RENT, other)
    assert document["change_usd"] == pytest.approx(solved.change_usd, rel=1e-9) and document["same_case"] is False
    mine = {(row["table"], row["name"]): (row["before"], row["after"]) for row in document["plans"]}
    for line in solved.lines:
        if line.table != "work":  # placement does not say the hours of its blocks
            assert mine[line.table, line.name] == pytest.approx((line.before, line.after), rel=1e-9)
    assert main(["compare", a, again]) == 0
    assert "two plans of the same case" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "b" / "mix.csv").unlink()
    assert main(["compare", a, b]) == 0
    assert "lies no mix.csv" in capsys.readouterr().out
    empty = '{"acquisitions": [], "objective_usd": null}'
    for content, words in (("{", "it is no JSON"), ("{}", "is no plan.json"), (empty, "schema_version")):
        (tmp_path / "b" / "plan.json").write_text(content)
        assert main(["compare", a, b]) == 2
        assert words in capsys.readouterr().err
