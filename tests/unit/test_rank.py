"""Which uncertain inputs matter: designs and indices against closed forms, a case whose cost is linear, kills, and the command."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from optimizer.analysis.morris import LEVELS, STEP, elementary_effects, most_from_gaps, summed_up, trajectories
from optimizer.analysis.ranges import Range, checked_ranges, read_ranges, read_ranges_file
from optimizer.analysis.rank import COST, rank
from optimizer.analysis.sobol import sobol_indices, sobol_rows
from optimizer.cli import main
from optimizer.spec import CaseError

ROOT = Path(__file__).resolve().parents[2]
OWN_OR_RENT = ROOT / "configs" / "cases" / "own_or_rent.yaml"
TINY = ROOT / "tests" / "oracle" / "cases" / "49_hand_newsvendor.yaml"
RENT, RESERVE = "offers.rent.price_usd_per_chip_hour", "offers.reserve.price_usd_per_chip_hour"
BUY_USD, RENT_USD, CHIPS = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year", "offers.rent.available_chips"



# ranges -----------------------------------------------------------------------------------------------------------------------------
def test_ranges_as_the_user_writes_them(tmp_path: Path) -> None:
    found = read_ranges(["a.b=1:3", "c=0.5:8:log"])
    assert found == [Range("a.b", 1, 3), Range("c", 0.5, 8, True)]
    assert [found[0].at(u) for u in (0, 0.5, 1)] == [1, 2, 3] and [found[1].at(u) for u in (0, 0.5, 1)] == [0.5, 2, 8]
    file = tmp_path / "ranges.yaml"
    file.write_text("a.b: [1, 3]\nc: [0.5, 8, log]\n")
    assert read_ranges_file(file) == found


@pytest.mark.parametrize("text", ["a", "a=1", "a=x:2", "a=1:2:3", "a=2:1", "a=1:1", "a=0:1:log", "a=1:inf", "=1:2", "a=nan:1"])
def test_a_wrong_range_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError):
        read_ranges([text])
    file = tmp_path / "ranges.yaml"
    for content in ("a: 3\n", "a: [1]\n", "a: [2, 1]\n", "a: [x, 1]\n", "a: [1, 2, lin]\n", "a: [true, 2]\n"):
        file.write_text(content)
        with pytest.raises(CaseError):
            read_ranges_file(file)
    with pytest.raises(CaseError, match="two ranges"):
        checked_ranges([Range("a", 1, 2), Range("a", 1, 3)])


# designs ----------------------------------------------------------------------------------------------------------------------------
def test_a_trajectory_moves_every_input_once_by_the_step() -> None:
    points, moved = trajectories(5, 200, 1)
    assert points.shape == (200, 6, 5) and (np.sort(moved, axis=1) == np.arange(5)).all()
    by = np.diff(points, axis=1)
    size = np.take_along_axis(np.abs(by), moved[:, :, None], axis=2)[:, :, 0]
    assert size == pytest.approx(STEP) and np.abs(by).sum(axis=2) == pytest.approx(STEP)
    levels = points * (LEVELS - 1)
    assert levels == pytest.approx(levels.round()) and points.min() >= 0 and points.max() <= 1
    counts = np.bincount(levels.round().astype(int).ravel(), minlength=LEVELS) / levels.size
    assert counts == pytest.approx(1 / LEVELS, abs=0.03)  # all levels alike
    assert (trajectories(5, 200, 1)[0] == points).all() and not (trajectories(5, 200, 2)[0] == points).all()


def test_elementary_effects_of_known_functions() -> None:
    """Linear: the slopes, and no spread. A product of two: the effect of the one is the other, whose mean is 1/2."""
    points, moved = trajectories(3, 400, 0)
    slopes = np.array([3.0, -2.0, 0.0])
    found = summed_up(elementary_effects(points, moved, points @ slopes), 0)
    assert (
        found.mu_star == pytest.approx([3, 2, 0]) and found.mu == pytest.approx([3, -2, 0]) and found.sigma == pytest.approx(0, abs=1e-12)
    )
    effects = elementary_effects(points, moved, points[..., 0] * points[..., 1])
    found = summed_up(effects, 0)
    assert found.mu_star == pytest.approx([0.5, 0.5, 0], abs=0.05) and found.sigma[:2] == pytest.approx(np.sqrt(5 / 36), abs=0.03)
    assert (found.low <= found.mu_star).all() and (found.mu_star <= found.high).all() and found.high[0] - found.low[0] < 0.1
    # what a gap may do to an effect: one point of every trajectory lies one too high
    output, gaps = points @ slopes, np.zeros(points.shape[:2])
    gaps[:, 1] = 1.0
    off = summed_up(elementary_effects(points, moved, output + gaps), 0).mu_star - np.abs(slopes)
    assert (np.abs(off) <= most_from_gaps(moved, gaps) + 1e-12).all() and most_from_gaps(moved, gaps).max() <= 1 / STEP


def test_sobol_indices_of_known_functions() -> None:
    """x1 x2 on the unit square: 3/7 each alone, 4/7 with the other; 3 x1 + x2: 0.9 and 0.1; what is not there: 0."""
    cube = sobol_rows(3, 1024, 5)[:1024]
    assert cube.shape == (1024, 5, 3) and (cube[:, 2, 0] == cube[:, 1, 0]).all() and (cube[:, 2, 1:] == cube[:, 0, 1:]).all()
    outputs = np.stack([cube[..., 0] * cube[..., 1], 3 * cube[..., 0] + cube[..., 1]])
    found = sobol_indices(outputs, 0)
    assert found[0, 0, 0] == pytest.approx([3 / 7, 3 / 7, 0], abs=0.03) and found[0, 1, 0] == pytest.approx([4 / 7, 4 / 7, 0], abs=0.03)
    assert found[1, 0, 0] == pytest.approx([0.9, 0.1, 0], abs=0.03) and found[1, 1, 0] == pytest.approx([0.9, 0.1, 0], abs=0.03)
    assert (found[:, :, 1] <= found[:, :, 0] + 1e-9).all() and (found[:, :, 0] <= found[:, :, 2] + 1e-9).all()
    assert (sobol_indices(outputs[:1], 0)[0] == sobol_indices(outputs[:1], 0)[0]).all()
    one = sobol_rows(1, 64, 0)[:64]  # one input, one output
    assert sobol_indices(one[None, :, :, 0], 0)[0, :, 0, 0] == pytest.approx([1, 1], abs=0.05)


# a case with a closed form ------------------------------------------------------------------------------------------------------------
RANGES = [Range(RENT_USD, 29800, 30200), Range(BUY_USD, 34500, 35500), Range(CHIPS, 1.9e6, 2.1e6)]
SLOPES = {RENT_USD: 400 * 680_000, BUY_USD: 1000 * 400_000, CHIPS: 0.0}  # dollars per whole range, while 400,000 chips are owned


def test_elementary_effects_where_the_cost_is_linear() -> None:
    found = rank(OWN_OR_RENT, RANGES, method="morris", samples=4, seed=2)
    assert found.exit_code == 0 and not found.missing and found.gap_share < 1e-8 and found.gap_effect_usd < 1e-3 * SLOPES[BUY_USD]
    of = {one.key: one for one in found.of(COST)}
    assert [one.key for one in found.of(COST)] == [BUY_USD, RENT_USD, CHIPS]
    for key, slope in SLOPES.items():
        assert of[key].total == pytest.approx(slope, abs=found.gap_effect_usd + 1e-6 * slope)
        assert of[key].sigma == pytest.approx(0, abs=2 * found.gap_effect_usd + 1e-6 * slope)
    assert found.now == (30000, 35000, 2000000)
    assert found.outputs == (COST,), "the shares do not move in these ranges"


def test_shares_of_the_variance_where_the_cost_is_linear() -> None:
    found = rank(OWN_OR_RENT, RANGES, method="sobol", samples=16, seed=1)
    whole = sum(slope**2 for slope in SLOPES.values())
    linear = sobol_rows(3, 16, 1)[:16] @ [SLOPES[one.key] for one in RANGES]  # at the same points
    same = {one.key: sobol_indices(linear[None], 1)[0, :, 0, i] for i, one in enumerate(RANGES)}
    for one in found.of(COST):
        wanted = SLOPES[one.key] ** 2 / whole
        assert one.total_low - 0.02 <= wanted <= one.total_high + 0.02 and one.total == pytest.approx(wanted, abs=0.25)
        assert one.first_low - 0.02 <= wanted <= one.first_high + 0.02
        assert (one.first, one.total) == pytest.approx(tuple(same[one.key]), abs=1e-5)
    last = found.of(COST)[-1]
    assert last.key == CHIPS and last.total == pytest.approx(0, abs=1e-6)
    assert found.deviation_usd == pytest.approx(np.sqrt(whole / 12), rel=0.1) and found.points == 16 * 5


def test_where_nothing_moves_nothing_is_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["rank", str(OWN_OR_RENT), "--range", f"{CHIPS}=1900000:2100000", "--method", "morris", "--samples", "4"]
    assert main(options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no input is ranked by it" in said or ("mu*" in said and "0.0" in said)


# points without a plan, and kills -----------------------------------------------------------------------------------------------------
def floor(folder: Path) -> Path:
    """At least half of what is signed reserved: 60 chips are leased already, so fewer than 60 to reserve are infeasible."""
    file = folder / "floor.yaml"
    file.write_text(
        f"name: floor\nextends: {TINY}\n"
        'existing: {leased: {class: lease, chip: g90, place: "aws:us-east-1", count_chips: 60, end: 2028-01-01, '
        "price_usd_per_chip_hour: 2}}\n"
        "offers: {reserve: {available_chips: 100}}\n"
        "limits: {share: {floor: {min: 0.5, of: signed, basis: chips, kinds: [reserved_1y]}}}\n"
    )
    return file


def test_points_without_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, out = str(floor(tmp_path)), tmp_path / "out"
    command = ["rank", case, "--range", f"{RESERVE}=1.5:2.5", "--samples", "16", "--out", str(out)]
    assert main([*command, "--range", "offers.reserve.available_chips=58.5:100"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    document = json.loads((out / "rank.json").read_text())
    missing = sum(row["points"] for row in document["points_without_plan"])
    assert document["rows_left_out"] >= 1 and "INFEASIBLE" in document["points_without_plan"][0]["reason"]
    assert f"Points without a plan: {missing} of {document['points']}; {document['rows_left_out']} row" in said and "replaced" in said
    assert 0 < missing <= 0.05 * document["points"] and len(document["influences"]) >= 2
    assert main([*command, "--range", "offers.reserve.available_chips=50:100", "--fresh"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "NO INDICES" in said and "more than 5%" in said
    assert not json.loads((out / "rank.json").read_text())["influences"] and not (out / "rank.svg").exists()
    assert (
        main([*command, "--range", "offers.reserve.available_chips=59.9:100", "--method", "morris", "--fresh"]) == 1
    )  # a quarter at the lowest level


def test_an_interrupted_ranking_goes_on_to_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("optimizer.plan")
    solve, calls = module.solve, []

    def pressed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return solve(*arguments)

    command = ["rank", str(TINY), "--range", f"{RENT}=3:5", "--range", f"{RESERVE}=1.5:2.5:log", "--samples", "8", "--out"]
    monkeypatch.setattr("optimizer.report.waiting.SAID_EVERY_S", float("inf"))  # how far it is would be said on a slow machine
    assert main([*command, str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(module, "solve", pressed)
    assert main([*command, str(tmp_path / "killed")]) == 130 and not (tmp_path / "killed" / "rank.json").exists()
    assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"
    assert main([*command, str(tmp_path / "killed")]) == 0
    assert len(calls) == 33 and "8 points of an earlier run taken as they were, 24 solved now." in capsys.readouterr().out
    documents = [json.loads((tmp_path / name / "rank.json").read_text()) for name in ("whole", "killed")]
    assert documents[0] == documents[1]
    assert (tmp_path / "whole" / "rank.csv").read_bytes() == (tmp_path / "killed" / "rank.csv").read_bytes()


# the command ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["sobol", "morris"])
def test_the_command_writes_what_it_shows(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, file = tmp_path / "out", tmp_path / "ranges.yaml"
    file.write_text(f"{RENT}: [3, 5]\n{RESERVE}: [1.9, 2.1, log]\n")
    assert main(["rank", str(TINY), "--ranges", str(file), "--method", method, "--samples", "8", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    with open(out / "rank.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["output"] == COST]
    name = "total" if method == "sobol" else "mu_star"
    assert [float(row[name]) for row in rows] == sorted((float(row[name]) for row in rows), reverse=True) and len(rows) == 2
    assert said.endswith(f"Results: {out}\n") and "hand_newsvendor: 2 uncertain inputs" in said and RENT in "".join(said.split())
    words = {element.text for element in ElementTree.fromstring((out / "rank.svg").read_text()).iter() if element.tag.endswith("text")}
    assert {RENT, RESERVE} <= words
    assert len(json.loads((out / "sweep.json").read_text())["points"]) == json.loads((out / "rank.json").read_text())["points"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "names no input"),
        (["--range", "offers.rent.price_usd_per_chip_hou=1:2"], "`offers.rent.price_usd_per_chip_hour`"),
        (["--range", f"{RENT}=a:2"], "no finite number"),
        (["--range", f"{RENT}=2:2"], "empty range"),
        (["--range", f"{RENT}=-3:5"], "not greater than 0"),
        (["--range", "scenarios.cases.low.probability=0.2:0.3"], "probabilit"),
        (["--range", "name=1:2"], "name"),
        (["--range", f"{RENT}=3:5", "--samples", "100"], "write 64 or 128"),
        (["--range", f"{RENT}=3:5", "--samples", "2"], "8 or more"),
        (["--range", f"{RENT}=3:5", "--samples", "65536"], "100000 points"),
        (["--range", f"{RENT}=3:5", "--seed", "-1"], "from 0"),
        (["--ranges", "none.yaml"], "none.yaml"),
        (["--range", f"{RENT}=3:5", "--out", str(TINY)], "name a directory"),
    ],
)
def test_bad_arguments_get_a_sentence_before_anything_is_solved(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was solved")

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", never)
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in arguments else ["--out", "out"]
    assert main(["rank", str(TINY), *arguments, *out]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == "" and not list(tmp_path.iterdir())
