"""Which engine answers: a rule of the program and the device alone, and the interior point where the simplex does not reach the gap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import optimizer
from optimizer import cli, engine
from optimizer.engine import Work, choose, has_accelerator
from optimizer.program.certificate import Status
from optimizer.settings import ENGINES, Settings
from optimizer.simplex.model import Model
from optimizer.solution import INTERIOR, SIMPLEX
from optimizer.solve import solve
from scripts.benchmarking.problems import PROBLEMS
from tests.oracle.random_programs import FAMILIES, infeasible_program, random_program

CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"
NEWSVENDOR = Path(__file__).resolve().parents[1] / "oracle" / "cases" / "49_hand_newsvendor.yaml"
SCENARIOS = (1, 2, 5, 20, 50, 100, 200, 400)


# the rule -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("name", [name for name, problem in PROBLEMS.items() if not problem.is_case])
def test_more_scenarios_never_turn_back_to_the_simplex(name: str, accelerated: bool) -> None:
    works = [Work.of(PROBLEMS[name].build(scenarios, 0)) for scenarios in SCENARIOS]
    interior = [work.simplex_s > work.interior_s(accelerated) for work in works]
    assert interior == sorted(interior), list(zip(SCENARIOS, interior, strict=True))
    assert not interior[0] and interior[-1], "the question would be no question"


def test_the_sizes_are_those_of_the_extensive_form() -> None:
    from optimizer.simplex.extensive import extensive_form

    for family in FAMILIES:
        program = random_program(0, **FAMILIES[family])
        work = Work.of(program)
        assert (work.rows, work.columns) == extensive_form(program).matrix.shape, family


@pytest.mark.parametrize(("scenarios", "name"), [(1, SIMPLEX), (200, INTERIOR)])
def test_the_choice_does_not_depend_on_what_is_compiled_nor_imported(
    scenarios: int, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = PROBLEMS["reference"].build(scenarios, 0)
    first = choose(program, Settings())
    assert first.engine == name and first.size in first.reason
    (tmp_path / "shape-0.executables").write_bytes(b"anything")
    monkeypatch.setenv("CAPACITY_CACHE", str(tmp_path))
    assert choose(program, Settings()) == first
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert choose(program, Settings()) == first


@pytest.mark.parametrize("asked", [SIMPLEX, INTERIOR])
def test_an_engine_that_is_asked_for_is_taken(asked: str) -> None:
    for scenarios in (1, 200):
        choice = choose(PROBLEMS["reference"].build(scenarios, 0), Settings(engine=asked))
        assert (choice.engine, choice.reason, choice.most_pivots) == (asked, "asked for", engine.NO_LIMIT)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"engine is 'barrier'; it must be one of auto, simplex, interior"):
        Settings(engine="barrier")


# accelerators ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("platforms", "found"), [("cpu", False), ("cuda", True), ("cuda,cpu", True), ("tpu, cpu", True), ("rocm", True), ("gpu", True)]
)
def test_the_platforms_that_jax_is_told_to_use_decide(platforms: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert has_accelerator() == found


def test_without_a_word_devices_and_plugins_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for device, plugin in ((False, True), (True, False), (True, True)):
        monkeypatch.setattr(engine.Path, "exists", lambda path, there=device: there)
        monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name, there=plugin: object() if there else None)
        assert has_accelerator() == (device and plugin)


def test_an_accelerator_takes_smaller_programs_and_never_larger_ones() -> None:
    """Of a problem with large nodes; compilation costs the same there."""
    works = [Work.of(PROBLEMS["pools48"].build(scenarios, 0)) for scenarios in range(2, 60, 2)]
    there, not_there = ([work.simplex_s > work.interior_s(accelerated) for work in works] for accelerated in (True, False))
    assert all(a or not b for a, b in zip(there, not_there, strict=True)) and sum(there) > sum(not_there)


# the fall-through -----------------------------------------------------------------------------------------------------------------
def few_pivots(monkeypatch: pytest.MonkeyPatch, pivots: int) -> None:
    monkeypatch.setattr(engine, "EFFORT", 0)
    monkeypatch.setattr(engine, "LEAST_PIVOTS", pivots)


def test_what_the_simplex_does_not_reach_the_interior_point_does(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(0, **FAMILIES["plain"])
    alone = solve(program, Settings(engine="simplex"))
    few_pivots(monkeypatch, 5)
    found = solve(program)
    assert found.status is Status.CERTIFIED and found.engine == INTERIOR
    (note,) = found.notes
    assert note.startswith("The simplex came to a gap of ") and note.endswith("in 5 pivots; the interior point went on from the beginning.")
    assert found.engine_reason.endswith(", but the simplex did not reach the gap")
    assert found.certificate.lower_bound <= alone.certificate.objective and alone.certificate.lower_bound <= found.certificate.objective


def test_where_nothing_was_left_nothing_is_served_and_that_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "run", lambda *_: None)
    program = random_program(0, **FAMILIES["plain"])
    found = solve(program)
    assert found.status is Status.CERTIFIED and found.engine == INTERIOR and len(found.notes) == 1
    asked = solve(program, Settings(engine="simplex"))
    assert asked.status is Status.FEASIBLE and asked.engine == SIMPLEX and asked.certificate.gap_relative > 1e-2


def test_a_gap_of_rounding_does_not_fall_through() -> None:
    """Everything is a penalty or a constant, so the gap is relative to one dollar of two million, and double precision ends before it."""
    plan = optimizer.plan(NEWSVENDOR.with_name("47_nothing_can_be_bought.yaml"), Settings(gap_relative=1e-9))
    assert plan.status == "FEASIBLE" and plan.gap_usd <= 1e-13 * plan.objective_usd
    assert plan.engine == SIMPLEX and not plan.solution.notes


def test_a_simplex_that_was_asked_for_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no limit of pivots, and where it fails it says so: no other engine answers in its name."""
    program = random_program(0, **FAMILIES["plain"])
    few_pivots(monkeypatch, 5)
    assert solve(program, Settings(engine="simplex")).status is Status.CERTIFIED
    monkeypatch.setattr(engine, "NO_LIMIT", 5)
    found = solve(program, Settings(engine="simplex"))
    assert found.engine == SIMPLEX and found.status is Status.FEASIBLE and found.iterations <= 10 and found.compilations == 0


@pytest.mark.parametrize(("iterations", "better"), [(1, SIMPLEX), (6, INTERIOR)])
def test_the_better_of_two_that_both_missed_is_kept(iterations: int, better: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(0, **FAMILIES["plain"])
    interior = solve(program, Settings(engine="interior", max_iterations=iterations))
    few_pivots(monkeypatch, 3)
    found = solve(program, Settings(max_iterations=iterations))
    assert interior.status is found.status is Status.FEASIBLE and found.engine == better
    assert found.certificate.gap <= interior.certificate.gap and (better == SIMPLEX) == (found.certificate.gap < interior.certificate.gap)
    assert len(found.notes) == 1 and [line.iteration for line in found.log] == [line.iteration for line in interior.log]


def test_a_precision_is_asked_of_the_interior_point() -> None:
    program = random_program(0, **FAMILIES["plain"])
    assert choose(program, Settings()).engine == SIMPLEX
    found = choose(program, Settings(precision="float32"))
    assert found.engine == INTERIOR and "float32" in found.reason
    assert choose(program, Settings(precision="float32", engine="simplex")).engine == SIMPLEX


# what is told ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asked", ENGINES)
def test_the_command_takes_an_engine_and_the_answer_names_it(asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", str(NEWSVENDOR), "--engine", asked, "--out", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "plan.json").read_text())
    used = SIMPLEX if asked == "auto" else asked
    assert document["status"] == "CERTIFIED" and document["engine"] == used
    told = "rows and" if asked == "auto" else "asked for"
    assert told in document["engine_reason"]
    assert set(document["versions"]) >= ({"highspy"} if used == SIMPLEX else {"jax"})
    said = capsys.readouterr().out
    assert ("simplex" if used == SIMPLEX else "interior") in said


def test_an_engine_that_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", str(NEWSVENDOR), "--engine", "barrier"])
    assert stop.value.code == 2 and "barrier" in capsys.readouterr().err


def test_what_cannot_be_met_names_no_engine() -> None:
    found = solve(infeasible_program(0))
    assert found.status is Status.INFEASIBLE and (found.engine, found.engine_reason, found.iterations) == ("", "", 0)


def test_a_plan_by_the_simplex_does_not_import_jax() -> None:
    case = str(CASES / "two_clouds.yaml")
    code = f"import sys; from optimizer.cli import main; assert main(['plan', {case!r}]) == 0; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CASES.parents[1], stdout=subprocess.DEVNULL)


def test_the_same_case_gets_the_same_plan_again() -> None:
    first, again = (optimizer.plan(CASES / "two_clouds.yaml") for _ in range(2))
    assert (first.objective_usd, first.lower_bound_usd, first.iterations) == (again.objective_usd, again.lower_bound_usd, again.iterations)
    assert first.acquisitions.equals(again.acquisitions)
