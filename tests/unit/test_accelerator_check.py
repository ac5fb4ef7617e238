"""scripts/accelerator_check.py: what it says without an accelerator, what its file holds whatever happens, and all of it at small size."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import accelerator_check
from scripts.accelerator import parts as accelerator_parts
from scripts.accelerator import record as accelerator_record
from scripts.accelerator.parts import SMALL, Check
from scripts.accelerator.record import Part, Record
from scripts.accelerator.table import table


def test_without_an_accelerator_it_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert accelerator_check.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "no accelerator" in said.err


@pytest.mark.parametrize("given", [["--minutes", "0"], ["--out", "nowhere/there.json"], ["--device", "abacus"]])
def test_bad_arguments_are_one_sentence(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        accelerator_check.main(given)
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def failing() -> dict:
    raise RuntimeError("the device\nis lost")


def test_the_file_is_complete_after_every_part_whatever_becomes_of_it(tmp_path: Path) -> None:
    record = Record(tmp_path / "check.json", 100.0)
    seen: list[dict] = []

    def looking() -> dict:
        seen.append(json.loads(record.path.read_text())["parts"])
        return {"status": "passed", "reason": "", "nodes": 12}

    record.go_through([
        Part("fails", lambda: 1.0, failing), Part("too long", lambda: 1e6, failing), Part("looks", lambda: 1.0, looking),
    ])  # fmt: skip
    assert seen[0]["fails"]["status"] == "failed" and "the device is lost" in seen[0]["fails"]["reason"]
    assert seen[0]["too long"]["status"] == "skipped" and "s are left" in seen[0]["too long"]["reason"]
    assert seen[0]["looks"]["status"] == "running"  # what a kill here would leave
    written = json.loads(record.path.read_text())["parts"]
    assert written == record.parts and written["looks"]["status"] == "passed" and not record.good
    assert "fails: RuntimeError: the device is lost" in table(record.parts)


def test_at_the_limit_what_is_running_is_stopped_and_the_rest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, closed = [], []
    monkeypatch.setattr(accelerator_record.os, "_exit", codes.append)
    record = Record(tmp_path / "check.json", 0.0, closing=lambda: closed.append(True))
    record.parts = {"done": {"status": "passed"}, "long": {"status": "running"}}
    record.end_at_the_limit().join()
    written = json.loads(record.path.read_text())["parts"]
    assert (written["done"]["status"], written["long"]["status"]) == ("passed", "stopped")
    assert codes == [1] and closed == [True]


def measured(scenarios: int, us: float, kilobytes: float) -> dict:
    return {
        "status": "passed", "nodes": 12 * scenarios, "ms_per_iteration": us * 12 * scenarios / 1e3, "us_per_node_and_iteration": us,
        "peak_bytes_per_node": 1e3 * kilobytes, "build_seconds": 1.0, "seconds": {"layout": 1.0, "compile": 30.0, "certify": 2.0},
        "compilations": 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("left_s", "kilobytes", "scenarios"),
    [(1e5, 1.0, 83_334), (1e5, 300.0, 8_334), (300.0, 1.0, 41_667), (1e5, 1e6, None), (20.0, 1.0, None)],
)
def test_the_largest_member_is_the_one_that_memory_and_time_hold(
    left_s: float, kilobytes: float, scenarios: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 5e10})
    monkeypatch.setattr(accelerator_parts, "host_bytes", lambda: 100_000_000_000)
    monkeypatch.setattr(accelerator_parts.jax, "devices", lambda: [device])
    record = Record(tmp_path / "check.json", left_s)
    record.parts = {"reference:2000": measured(2000, 20.0, kilobytes)}
    check = Check(record, accelerator_parts.Sizes())
    monkeypatch.setattr(check, "_solve", lambda name, **more: lambda: {"status": "passed", "name": name, **more})
    found = check._largest()
    assert found.get("scenarios") == scenarios
    assert found["status"] == ("skipped" if scenarios is None else "passed")
    assert scenarios == 83_334 or "do not fit" in (found["reason"] if scenarios is None else " ".join(found["larger"]))


def test_shapes_that_were_compiled_at_once_are_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(accelerator_parts, "compile_alone", lambda name, kind: asked.append((name, kind)) or 50.0)
    record = Record(tmp_path / "check.json", 1000.0)
    parts = {part.name: part for part in Check(record, accelerator_parts.Sizes(), at_once=True).parts()}
    before = parts["case:frontier_lab"].estimate(), parts["two_clouds"].estimate()
    record.go_through([parts["compile"]])
    assert record.parts["compile"]["status"] == "passed" and ("reference:200", "float32") in asked
    assert {name for name, _ in asked} == {"reference:20", "two_clouds", "own_or_rent", "reference:200", "reference:2000", "frontier_lab"}
    assert parts["case:frontier_lab"].estimate() == before[0] - 72.0 and parts["two_clouds"].estimate() == before[1] - 72.0
    assert parts["largest"].estimate() > 60.0  # 1.2 times the slowest: its own shape is still to come
    assert "compile" not in {part.name for part in Check(record, SMALL).parts()}


def test_brackets_that_do_not_meet_are_a_failure(tmp_path: Path) -> None:
    record = Record(tmp_path / "check.json", 100.0)
    check = Check(record, SMALL)
    bracket = {"objective": 10.0, "lower_bound": 9.9, "certificate": "CERTIFIED"}
    check.answers.write_text(json.dumps(dict.fromkeys(SMALL.agreement, bracket)))
    record.parts = {name: {**bracket} for name in SMALL.agreement}
    assert check._agreement()["status"] == "passed"
    record.parts["two_clouds"] |= {"lower_bound": 10.1, "objective": 10.2}
    assert "the brackets of two_clouds do not meet" in check._agreement()["reason"]
    record.parts["two_clouds"] = {**bracket, "certificate": "FEASIBLE"}
    assert "FEASIBLE here" in check._agreement()["reason"]
    del record.parts["two_clouds"]
    assert check._agreement()["status"] == "failed"


def test_all_of_it_at_small_size(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "check.json"
    assert accelerator_check.main(["--small", "--out", str(out), "--minutes", "60"]) == 0
    found = json.loads(out.read_text())
    assert [name for name, part in found["parts"].items() if part["status"] != "passed"] == []
    assert found["parts"]["agreement"]["brackets"].keys() == set(SMALL.agreement)
    assert found["parts"]["largest"]["scenarios"] == SMALL.largest[0]
    assert found["parts"]["reference:2"]["ceiling_bytes_per_node_and_iteration"] > 0
    assert os.listdir(tmp_path) == ["check.json"]
    assert "reference:2" in capsys.readouterr().out
