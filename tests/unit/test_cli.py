"""The command `capacity`: what it prints, writes and returns."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import optimizer
from optimizer import cli
from optimizer.given_orders import signed_counts
from optimizer.solve import solve
from tests.unit.small_case import FILE, small_case

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests" / "oracle" / "cases"
SMALL = str(FILE)


def one_line(text: str) -> str:
    assert text.count("\n") == 1 and text.endswith("\n"), text
    return text


# plan -----------------------------------------------------------------------------------------------------------------------------
def test_plan_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    assert cli.main(["plan", SMALL, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("small: CERTIFIED\n") and said.out.splitlines()[-1] == f"Results: {out}"
    assert json.loads((out / "plan.json").read_text())["status"] == "CERTIFIED"
    assert said.err == ""


@pytest.mark.parametrize(
    ("case", "code", "status"),
    [("44_derived_bound", 1, "FAILED"), ("40_infeasible_constant", 4, "INFEASIBLE"), ("49_hand_newsvendor", 0, "CERTIFIED")],
)
def test_exit_codes_follow_the_status(case: str, code: int, status: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", str(CASES / f"{case}.yaml")]) == code
    assert status in capsys.readouterr().out.splitlines()[0]


def test_a_plan_that_is_not_good_enough_is_feasible(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    from optimizer.program.certificate import certify

    def poor(program, settings, neighbours=None):
        good = solve(program, settings)
        plan, multipliers = good.certificate.plan, good.certificate.multipliers
        assert plan is not None and multipliers is not None
        return replace(good, certificate=certify(program, plan, replace(multipliers, capacity=0.9 * multipliers.capacity), 1e-6))

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", poor)
    assert cli.main(["plan", SMALL]) == 3
    said = capsys.readouterr().out
    assert said.startswith("small: FEASIBLE") and "wider than asked" in said


def test_an_answer_that_cannot_be_written_is_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(plan: optimizer.Plan, directory: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(optimizer.Plan, "write", full)
    assert cli.main(["plan", SMALL, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("small: CERTIFIED") and "No space left on device" in one_line(said.err)


# bad input ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "words"),
    [("name: x\nhorizon: [", "x.yaml"), ("nmae: x\n", "nmae"), ("", "x.yaml")],
)
def test_a_bad_case_is_one_line_and_writes_nothing(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    for command in (["plan", str(file), "--out", str(tmp_path / "out")], ["check", str(file)]):
        assert cli.main(command) == 2
        said = capsys.readouterr()
        assert words in one_line(said.err) and said.err.startswith("capacity: ") and said.out == ""
    assert os.listdir(tmp_path) == ["x.yaml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "no/such/case.yaml"], "no/such/case.yaml"),
        (["plan", SMALL, "--gap", "2"], "gap_relative is 2.0"),
        (["plan", SMALL, "--max-iterations", "0"], "max_iterations is 0"),
        (["plan", SMALL, "--out", SMALL], "is a file"),
        (["evaluate", SMALL, "--plan", "no/such/plan.json"], "No such file"),
        (["evaluate", SMALL, "--plan", SMALL], "small_case.yaml: Expecting value"),
    ],
)
def test_bad_arguments_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert words in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [[], ["plan"], ["plan", SMALL, "--gap", "small"], ["paln", SMALL], ["evaluate", SMALL]])
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and "usage: capacity" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import tomllib

    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert stop.value.code == 0 and capsys.readouterr().out == f"capacity {version}\n"


def test_the_unexpected_is_one_line_unless_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the\nroof leaks")

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", broken)
    assert cli.main(["plan", SMALL]) == 1
    assert one_line(capsys.readouterr().err) == "capacity: unexpected RuntimeError: the roof leaks (--verbose shows where)\n"
    assert cli.main(["plan", SMALL, "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("optimizer.plan"), "solve", stopped)
    assert cli.main(["plan", SMALL]) == 130


# check, schema --------------------------------------------------------------------------------------------------------------------
def test_check_says_sizes_pools_and_excuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(CASES / "22_latency_points.yaml")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("latency_points: can be planned\n")
    for words in ("periods", "possible orders", "0 of", "No pool may serve near us:", "exceeds", "warning"):
        assert words in said, words


def test_check_finds_limits_that_clash(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(CASES / "41_infeasible_share.yaml")]) == 4
    assert "misses its minimum by 4.07 chips" in capsys.readouterr().out


def test_check_never_imports_jax() -> None:
    code = f"import sys; from optimizer.cli import main; assert main(['check', {SMALL!r}]) == 0; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["schema", "--out", str(tmp_path / "case.schema.json")]) == 0
    assert (tmp_path / "case.schema.json").read_text() == printed
    assert "properties" in printed and json.loads(printed)


# evaluate -------------------------------------------------------------------------------------------------------------------------
def test_the_best_plan_costs_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = optimizer.plan(small_case())
    target = plan.write(tmp_path / "best")
    for name in ("plan.json", "acquisitions.csv"):
        out = tmp_path / "evaluation.json"
        assert cli.main(["evaluate", SMALL, "--plan", str(target / name), "--out", str(out)]) == 0
        assert "above the best plan" in capsys.readouterr().out
        document = json.loads(out.read_text())
        assert document["at_least_usd"] <= 1e-6 * plan.objective_usd and document["at_most_usd"] <= 1e-5 * plan.objective_usd
        assert document["given"]["objective_usd"] == pytest.approx(plan.objective_usd, rel=1e-6)


def test_signing_nothing_costs_more_and_the_bracket_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = small_case({"limits": {"share": {"signed_compute": None}}})
    evaluation = optimizer.evaluate(case, [])
    assert evaluation.given.status == evaluation.best.status == "CERTIFIED" and evaluation.exit_code == 0
    assert evaluation.given.acquisitions.empty
    assert 0 < evaluation.at_least_usd <= evaluation.above_best_usd <= evaluation.at_most_usd
    assert evaluation.at_most_usd - evaluation.at_least_usd <= 1e-5 * evaluation.given.objective_usd
    assert "difference" in evaluation.summary(80)


def test_acquisitions_beyond_a_limit_are_infeasible_with_the_limit_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"offer": "own_texas", "signing_date": "2026-10-01", "count_chips": 5000}]))
    assert cli.main(["evaluate", SMALL, "--plan", str(file)]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "INFEASIBLE" in said and "power at site texas is short by" in said
    assert "5,000 chips of own_texas signed on 2026-10-01 take" in said


def test_acquisitions_beyond_what_is_available_are_infeasible() -> None:
    case = small_case({"limits": None, "sites": {"sweden": {"power_mw": 1}}})
    mine = [{"offer": "own_sweden", "signing_date": "2027-04-01", "scenario": "boom", "count_chips": 33}]  # 30 are there
    evaluation = optimizer.evaluate(case, mine)
    assert evaluation.exit_code == 4 and math.isnan(evaluation.above_best_usd)
    (sentence,) = evaluation.given.conflicts
    assert sentence.startswith("offer own_sweden is short by 3 chips when signed in 2027Q2 in scenario boom because 33 chips of own_sweden")
    assert "offers.own_sweden.available_chips.by_period.2" in sentence and sentence in " ".join(evaluation.summary(400).split())
    mine[0]["count_chips"] = 30.00001  # people round
    assert optimizer.evaluate(case, mine).given.status == "CERTIFIED"


def test_acquisitions_are_matched_by_offer_date_and_scenario() -> None:
    structure = optimizer.plan.__globals__["build"](small_case()).structure

    def counts(*rows: dict) -> dict[str, float]:
        found = signed_counts(structure, rows)
        return {a.name: found[a.index] for a in structure.acquisitions if found[a.index]}

    before = {"offer": "own_texas", "signing_date": "2026-10-01", "count_chips": 3}
    assert counts(before, {**before, "scenario": ""}) == {"own_texas @2026-10-01": 6.0}
    after = {"offer": "own_texas", "signing_date": date(2027, 4, 1), "count_chips": 2.5}
    assert counts(after) == {"own_texas @2027-04-01 [base]": 2.5, "own_texas @2027-04-01 [boom]": 2.5}
    assert counts({**after, "scenario": "boom"}) == {"own_texas @2027-04-01 [boom]": 2.5}
    for wrong, words in (
        ({**before, "offer": "own_texsa"}, "is no offer of the case"),
        ({**before, "offer": "rent_east"}, "cannot be signed"),
        ({**before, "signing_date": "2026-10-02"}, "cannot be signed on 2026-10-02"),
        ({**before, "signing_date": "soon"}, "is no date"),
        ({**before, "scenario": "boom"}, "the same in all scenarios"),
        ({**after, "scenario": "bust"}, "is no scenario"),
        ({**before, "count_chips": -1}, "is no count"),
        ({**before, "count_chips": "many"}, "is no count"),
        ({"offer": "own_texas", "count_chips": 1}, "signing_date"),
    ):
        with pytest.raises(optimizer.CaseError, match=words):
            counts(wrong)


# the real thing -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("engine", "package"), [("auto", "highspy"), ("interior", "jax")])
def test_the_command_end_to_end(engine: str, package: str, tmp_path: Path) -> None:
    """A process of its own, the solver itself, a pipe, and colours switched off."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(ROOT / "scripts" / "plan.py"), str(CASES / "49_hand_newsvendor.yaml"), "--engine", engine]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert "CERTIFIED" in run.stdout.splitlines()[0] and max(map(len, run.stdout.splitlines())) <= 80
    document = json.loads((tmp_path / "plans" / "49_hand_newsvendor" / "plan.json").read_text())
    assert document["status"] == "CERTIFIED" and document["gap_relative"] <= 1e-6 and document["versions"][package]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, optimizer; heavy = {'jax', 'numpy', 'pandas', 'scipy', 'rich'} & set(sys.modules); assert not heavy, heavy; "
        "optimizer.Settings; optimizer.CaseError; optimizer.Program; assert 'jax' not in sys.modules; "
        "from optimizer.plan import load; assert callable(optimizer.plan) and optimizer.load is load; "
        "from optimizer.solve import Solution; assert callable(optimizer.solve) and optimizer.Solution is Solution; "
        "import optimizer.plan; assert callable(optimizer.plan); assert 'jax' not in sys.modules; "
        "assert all(hasattr(optimizer, name) for name in optimizer.__all__) and set(optimizer.__all__) <= set(dir(optimizer))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
