"""Sweeps: the same plans as one by one, what the user writes after --vary, and a state that survives kill -9.

CAPACITY_LONG_TESTS=1 kills a sweep of 1,000 points (about three minutes) in the place of a short one.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import optimizer
from optimizer import cli
from optimizer.report.files import plain
from optimizer.spec import CaseError, load_case
from optimizer.spec.extends import read_case_file
from optimizer.sweep_fields import Fields
from optimizer.sweep_journal import NAME, JournalError
from optimizer.sweep_points import grid, read_points, read_vary
from optimizer.sweep_start import NAME as START

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests" / "oracle" / "cases"
TINY = CASES / "49_hand_newsvendor.yaml"
RESERVE = "offers.reserve.price_usd_per_chip_hour"
RENT = "offers.rent.price_usd_per_chip_hour"
LONG = os.environ.get("CAPACITY_LONG_TESTS") == "1"
POINTS = 1000 if LONG else 24


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A case with its catalog, both to be changed at will."""
    shutil.copytree(ROOT / "tests" / "oracle" / "catalog", tmp_path / "case" / "catalog")
    (tmp_path / "case" / "tiny.yaml").write_text(TINY.read_text().replace("../catalog", "catalog"))
    return tmp_path / "case" / "tiny.yaml"


def timeless(rows: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def table(directory: Path) -> list[dict[str, Any]]:
    with open(directory / "sweep.csv", newline="") as file:
        return timeless(csv.DictReader(file))


def journal_lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / NAME).read_text().splitlines()[1:]]


# what a point is ------------------------------------------------------------------------------------------------------------------
def test_a_point_is_the_plan_of_the_case_with_these_values(tmp_path: Path) -> None:
    """Solved by themselves, outside the sweep."""
    found = optimizer.sweep(TINY, {RESERVE: [1.5, 3], RENT: [4, 5]}, directory=tmp_path)
    assert [tuple(point.values()) for point in found.points] == [(1.5, 4), (1.5, 5), (3, 4), (3, 5)] and found.exit_code == 0
    for point, row in found:
        over = {"offers": {"reserve": {"price_usd_per_chip_hour": point[RESERVE]}, "rent": {"price_usd_per_chip_hour": point[RENT]}}}
        plan = optimizer.plan(load_case(TINY, over))
        assert row["status"] == plan.status == "CERTIFIED"
        assert (row["objective_usd"], row["lower_bound_usd"]) == (plan.objective_usd, plan.lower_bound_usd)
        costs = plan.cost.groupby("category")["expected_present_value_usd"].sum()
        assert {name: row[f"cost_{name}_usd"] for name in costs.index} == pytest.approx(dict(costs), rel=1e-12, abs=1e-9)
        held = plan.mix.assign(weighted=plan.mix["probability"] * plan.mix["compute_pflops"])
        rented = held.loc[held["mode"] == "on_demand", "weighted"].sum() / held["weighted"].sum()
        assert row["share_on_demand"] == pytest.approx(rented, abs=1e-12)
        assert sum(value for name, value in row.items() if name.startswith("share_")) == pytest.approx(1)


def test_results_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["sweep", str(TINY), "--vary", f"{RESERVE}=1:4:4", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("hand_newsvendor: 4 points: 4 CERTIFIED\n") and said.out.splitlines()[-1] == f"Results: {out}"
    assert said.err == ""
    rows = table(out)
    assert [row[RESERVE] for row in rows] == ["1", "2", "3", "4"] and {row["status"] for row in rows} == {"CERTIFIED"}
    document = json.loads((out / "sweep.json").read_text())
    for row, point in zip(rows, document["points"], strict=True):
        assert float(row["objective_usd"]) == point["objective_usd"] and point["values"] == {RESERVE: int(row[RESERVE])}
    costs = [point["objective_usd"] for point in document["points"]]
    assert costs == sorted(costs)  # dearer reservations never make it cheaper
    svg = ElementTree.fromstring((out / "sweep.svg").read_text())
    words = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert RESERVE in words and "hand_newsvendor: cost, expected present value, $k" in words
    assert not list(out.glob(".*")) and {path.name for path in out.iterdir()} == {"sweep.csv", "sweep.json", "sweep.svg", NAME, START}


def test_points_of_a_file_and_two_fields_without_a_plot(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(f"{RESERVE}, end_value\n1.5,none\n2.5,straight_line\n")
    found = optimizer.sweep(TINY, points=file, directory=tmp_path / "out")
    assert [list(point.values()) for point in found.points] == [[1.5, "none"], [2.5, "straight_line"]]
    assert not (tmp_path / "out" / "sweep.svg").exists() and len(found.table) == 2 and "2 CERTIFIED" in found.summary()


def test_a_point_that_has_no_plan_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Infeasible ones, ones that contradict themselves, and ones that break the solver."""
    case = tmp_path / "floor.yaml"
    case.write_text(f"extends: {CASES / '41_infeasible_share.yaml'}\nname: floor\n")
    assert cli.main(["sweep", str(case), "--vary", "discount_rate_per_year=0,0.1", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 points: 2 INFEASIBLE" in said and "misses its minimum" in said
    assert [row["objective_usd"] for row in table(tmp_path / "out")] == ["", ""]

    solve = importlib.import_module("optimizer.plan").solve
    calls: list[int] = []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the\nroof leaks")
        return solve(*arguments)

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", broken)
    found = optimizer.sweep(TINY, {RESERVE: [1, 2, 3]}, directory=tmp_path / "other")
    assert [row["status"] for row in found.rows] == ["CERTIFIED", "FAILED", "CERTIFIED"] and found.exit_code == 1
    assert found.rows[1]["reason"] == "unexpected RuntimeError: the roof leaks"
    again = optimizer.sweep(TINY, {RESERVE: [1, 2, 3]}, directory=tmp_path / "other")
    assert again.solved == 1 and again.exit_code == 0, "an error is no answer to be taken over"
    hours = "load_blocks.all.utc_hours"
    points = [{"discount_rate_per_year": rate, hours: list(range(24)) if rate != 0.07 else [0, 1]} for rate in [k / 100 for k in range(30)]]
    lists = {json.dumps(point[hours]) for point in points}
    assert len(lists) == 2  # both are tried before anything is solved
    with pytest.raises(CaseError, match=r"load_blocks"):
        optimizer.sweep(TINY, points=points)


def test_a_point_beyond_the_tried_ones_that_cannot_be_used_is_a_row() -> None:
    """Of many values that are no numbers only some are tried before."""
    dates: list[Any] = [date(2027 + k // 12, k % 12 + 1, 1) for k in range(24)]
    found = optimizer.sweep(TINY, {"horizon.start": [*dates, "soon"]})
    assert [row["status"] for row in found.rows] == ["CERTIFIED"] * 24 + ["INVALID"] and found.exit_code == 1
    assert "is the text 'soon', not a date" in found.rows[-1]["reason"] and "horizon.start = soon" in found.summary(200)


# fields ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("offers.reserv.price_usd_per_chip_hour=1,2", "the nearest are `offers.reserve`"),
        ("offers.reserve.price_usd_per_chip_hours=1", "`offers.reserve.price_usd_per_chip_hour`"),
        ("reserve.price_usd_per_chip_hour=1,2", "`offers.reserve.price_usd_per_chip_hour`"),
        ("limits.capex.baord.max_usd=1e6", "there is no `limits.capex.baord`"),
        (f"{RESERVE}.x=1", "is not there"),
        (f"{RESERVE}=1,abc", "is the text 'abc', not a price"),
        (f"{RESERVE}=1,-2", "is -2, which is not greater than 0"),
        (f"{RESERVE}=", "has no values"),
        (f"{RESERVE}=1:4:0", "whose count is `0`"),
        (f"{RESERVE}=1:4:1", "asks for one value"),
        (f"{RESERVE}=4:1:3", "whose lowest is above its highest"),
        (f"{RESERVE}=nan:1:3", "not finite"),
        (f"{RESERVE}=.nan", "not finite"),
        (f"{RESERVE}=nan", "is the text 'nan', not a price"),
        (f"{RESERVE}=[1,2", "write values as in a case file"),
        (f"{RESERVE}", "is not KEY.PATH=VALUES"),
        ("name.=x", "ends in a dot"),
        ("workloads.train=3", "write a map"),
        ("load_blocks.all.utc_hours=1,2", "is 1, not a list"),
        ("load_blocks.all.utc_hours.24=1", "is no position in a list of 24"),
        ("end_value=none,zero", "is the text 'zero'; write one of straight_line, none"),
        ("extends=other.yaml", "cannot be overridden"),
    ],
)
def test_a_wrong_field_or_value_is_one_line_before_anything_is_solved(
    vary: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was solved")

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", never)
    assert cli.main(["sweep", str(TINY), "--vary", vary, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", f"{RESERVE}=1"], "--out: is missing"),
        (["--out", "x"], "--vary: names no field"),
        (["--out", "x", "--vary", "a=1", "--points", "p.csv"], "both given"),
        (["--out", "x", "--points", "no/such.csv"], "no/such.csv"),
        (["--out", str(TINY), "--vary", f"{RESERVE}=1"], "is a file; name a directory that can be written"),
        (["--out", "x", "--vary", f"{RESERVE}=1", "--vary", f"{RESERVE}=2"], "is varied twice"),
        (["--out", "x", "--vary", f"{RESERVE}=1", "--gap", "2"], "gap_relative is 2.0"),
        (["--out", "x", "--vary", "offers.reserve=1", "--vary", f"{RESERVE}=2"], "is a part of offers.reserve"),
        (["--out", "x", "--vary", f"{RESERVE}=1:2:1000", "--vary", f"{RENT}=1:2:1000"], "are 1000000"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", str(TINY), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_values_as_the_user_writes_them() -> None:
    found = read_vary(["a=1,2.5,1e3", "b=0.1:0.5:5", "c=10:40:4", "d=1:100:3:log", "e=2027-01-01,x,true", "f=[1,2],[3]", "g=7:7:1"])
    assert found["a"] == [1, 2.5, 1000.0] and found["b"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert found["c"] == [10, 20, 30, 40] and all(isinstance(value, int) for value in found["c"])
    assert found["d"] == [1, 10, 100] and plain(found["e"]) == ["2027-01-01", "x", True]
    assert found["f"] == [[1, 2], [3]] and found["g"] == [7]
    assert grid({"a": [1, 2], "b": "x y".split()}) == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"), ("a,b\n", "no rows"), ("a,a\n1,2\n", "stands twice"), ("a,b\n1\n", "row 2: has 1 cells"), ("a\n1\n\n", ""),
        ("a,\n1,2\n", "has no name"), ("a,b\n1,\n", "row 2 b: is blank"), ("a\n[1\n", "write values"),
    ],
)  # fmt: skip
def test_a_table_of_points(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(text)
    if not words:
        assert read_points(file) == [{"a": 1}]
        return
    with pytest.raises(CaseError, match=words):
        read_points(file)


def test_names_with_dots_and_places_in_lists(tmp_path: Path) -> None:
    """The override changes what is named, and nothing else."""
    file = tmp_path / "case.yaml"
    file.write_text(f"extends: {ROOT / 'configs' / 'cases' / 'two_clouds.yaml'}\nname: x\nprofiles: {{v1.5: {{utc_offset_hours: 0}}}}\n")
    document = read_case_file(file)
    document.data["profiles"]["v1.5"] = {"curve": [1.0, 2.0, 3.0]}
    fields = Fields(document, ["profiles.v1.5.curve.0", "profiles.v1.5.curve.2", "sites.texas.power_mw", "performance.throughput"])
    found = fields.overrides(dict(zip(fields.location, (7, 8, 9, "model"), strict=True)))
    assert found == {
        "profiles": {"v1.5": {"curve": [7, 2.0, 8]}}, "sites": {"texas": {"power_mw": 9}}, "performance": {"throughput": "model"},
    }  # fmt: skip
    assert document.data["profiles"]["v1.5"]["curve"] == [1.0, 2.0, 3.0]


# state ----------------------------------------------------------------------------------------------------------------------------
def test_kill_9_in_the_middle_of_a_sweep(tmp_path: Path) -> None:
    """The rest is solved by the same command, with the same results to the last bit, and at most one point is solved twice."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "optimizer.cli", "sweep", str(TINY), "--vary", f"{RESERVE}=1:4:{POINTS}", "--out"]
    with subprocess.Popen([*command, str(out)], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if (out / NAME).exists() and (out / NAME).read_bytes().count(b"\n") > POINTS // 3:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL and not (out / "sweep.csv").exists()
    before = (out / NAME).read_bytes().count(b"\n") - 1
    assert POINTS // 3 <= before < POINTS
    done = subprocess.run([*command, str(out)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    said = f"{before} points of an earlier run taken as they were, {POINTS - before} solved now."
    assert said in done.stdout  # so that only the point under way at the kill was solved twice
    lines = journal_lines(out)
    assert len(lines) == len({line["key"] for line in lines}) == POINTS

    whole = optimizer.sweep(TINY, read_vary([f"{RESERVE}=1:4:{POINTS}"]), directory=tmp_path / "whole")
    assert whole.solved == POINTS
    assert table(out) == table(tmp_path / "whole")
    assert timeless(json.loads((out / "sweep.json").read_text())["points"]) == timeless(
        json.loads((tmp_path / "whole" / "sweep.json").read_text())["points"]
    )


def test_an_interrupted_sweep_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    solve, calls = importlib.import_module("optimizer.plan").solve, []

    def pressed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return solve(*arguments)

    command = ["sweep", str(TINY), "--vary", f"{RESERVE}=1:4:5", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", pressed)
    monkeypatch.setattr("optimizer.report.waiting.SAID_EVERY_S", float("inf"))  # how far it is would be said on a slow machine
    assert cli.main(command) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"
    assert cli.main(command) == 0
    assert len(calls) == 6 and "2 points of an earlier run taken as they were, 3 solved now." in capsys.readouterr().out
    assert cli.main([*command, "--fresh"]) == 0 and len(calls) == 11
    more = ["sweep", str(TINY), "--vary", f"{RESERVE}=1.0,2.5,3.3,4.0", "--out", str(tmp_path / "out")]
    assert cli.main(more) == 0 and len(calls) == 12, "of other points of the same case only the new ones are solved"
    assert len(table(tmp_path / "out")) == 4


@pytest.mark.parametrize("damage", ["torn", "torn_to_nothing", "middle"])
def test_a_damaged_journal_costs_its_damaged_lines_only(damage: str, tmp_path: Path) -> None:
    values = {RESERVE: [1, 2, 3, 4]}
    first = optimizer.sweep(TINY, values, directory=tmp_path)
    content = (tmp_path / NAME).read_bytes()
    lines = content.splitlines(keepends=True)
    new = {"torn": content[:-20], "torn_to_nothing": lines[0][:30], "middle": b"".join([*lines[:2], b"\0\xff" * 40 + b"\n", *lines[3:]])}
    (tmp_path / NAME).write_bytes(new[damage])
    if damage == "torn_to_nothing":
        with pytest.raises(JournalError, match="is no journal"):  # whatever it is, it is not ours to delete
            optimizer.sweep(TINY, values, directory=tmp_path)
        return
    again = optimizer.sweep(TINY, values, directory=tmp_path)
    assert again.solved == 1 and timeless(again.rows) == timeless(first.rows)
    assert len(again.notes) == (damage == "middle")
    assert optimizer.sweep(TINY, values, directory=tmp_path).solved == 0


def test_another_case_catalog_or_setting_is_refused(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", str(tiny), "--vary", f"{RESERVE}=1,2", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    tiny.write_text("# a remark changes nothing\n" + tiny.read_text())
    assert cli.main(command) == 0 and "2 points of an earlier run" in capsys.readouterr().out
    assert cli.main([*command, "--gap", "1e-5"]) == 2
    assert "holds a sweep with another gap_relative; name another directory, or give --fresh" in capsys.readouterr().err
    tiny.write_text(tiny.read_text().replace("price_usd_per_chip_hour: 4", "price_usd_per_chip_hour: 5"))
    assert cli.main(command) == 2
    assert "holds a sweep with another case; name" in capsys.readouterr().err
    prices = tiny.parent / "catalog" / "prices.csv"
    prices.write_text(prices.read_text() + "\n")
    assert cli.main(command) == 2
    assert "another case and catalog" in capsys.readouterr().err
    before = table(tmp_path / "out")
    assert cli.main([*command, "--fresh"]) == 0
    assert [row[RESERVE] for row in table(tmp_path / "out")] == ["1", "2"] and table(tmp_path / "out") != before


def test_two_sweeps_in_one_directory_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")

    def another(done: int, of: int) -> None:
        with pytest.raises(JournalError, match="another sweep writes to"):
            optimizer.sweep(TINY, {RESERVE: [5]}, directory=tmp_path)

    assert optimizer.sweep(TINY, {RESERVE: [1, 2]}, directory=tmp_path, progress=another).solved == 2


def test_a_long_point_goes_on_from_its_own_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed inside its second point, a sweep repeats no iteration of it."""
    from optimizer.checkpoint import Store

    settings = optimizer.Settings(checkpoint_interval_s=0, engine="interior")
    real, written = Store.write, []

    def write(store: Store, saved: Any) -> None:
        real(store, saved)
        written.append(saved.iteration)
        if written.count(3) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "write", write)
        optimizer.sweep(TINY, {RESERVE: [1.5, 2.5]}, settings, tmp_path)
    assert len(journal_lines(tmp_path)) == 1 and len(list((tmp_path / "checkpoint").iterdir())) == 1
    resumed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", lambda store, saved: resumed.append(saved.iteration))
        again = optimizer.sweep(TINY, {RESERVE: [1.5, 2.5]}, settings, tmp_path)
    assert resumed[0] == 4 and again.solved == 1
    assert timeless(again.rows) == timeless(optimizer.sweep(TINY, {RESERVE: [1.5, 2.5]}, settings).rows)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("state", ["kept", "lost", "damaged", "of another form"])
def test_a_sweep_that_goes_on_starts_the_simplex_where_it_did(state: str, tmp_path: Path) -> None:
    """Bit for bit, although the points that were under way start from the basis of one that another process solved."""
    values, settings = {RESERVE: [1, 2, 3, 4, 5]}, optimizer.Settings(engine="simplex")
    whole = optimizer.sweep(TINY, values, settings, tmp_path / "whole")
    optimizer.sweep(TINY, {RESERVE: [1, 2]}, settings, tmp_path / "parts")
    start = tmp_path / "parts" / START
    assert start.read_bytes() == (tmp_path / "whole" / START).read_bytes()
    if state == "lost":
        start.unlink()
    elif state == "damaged":
        start.write_text(start.read_text()[:-30])
    elif state == "of another form":
        case = ROOT / "configs" / "cases" / "own_or_rent.yaml"
        other = optimizer.sweep(case, {"discount_rate_per_year": [0.0]}, settings, tmp_path / "o")
        assert other.rows[0]["status"] == "CERTIFIED"
        start.write_bytes((tmp_path / "o" / START).read_bytes())
    parts = optimizer.sweep(TINY, values, settings, tmp_path / "parts")
    assert parts.solved == 3
    for mine, theirs in zip(parts.rows, whole.rows, strict=True):
        assert mine["status"] == "CERTIFIED"
        assert mine["objective_usd"] == pytest.approx(theirs["objective_usd"], rel=1e-12)
        if state != "of another form":
            assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
