"""The benchmark's problems, and that whatever happens to a solver is recorded."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from optimizer.program.certificate import Status, certify
from optimizer.program.program import Sparse
from optimizer.simplex.extensive import extensive_form
from scripts import benchmark
from scripts.benchmarking import measure, processes, report
from scripts.benchmarking.measure import Job
from scripts.benchmarking.peer_highs import algorithm_in, scipy_highs
from scripts.benchmarking.plot import scaling_svg
from scripts.benchmarking.problems import PROBLEMS
from scripts.benchmarking.proposal import Goal, NotAvailableError, UnfinishedError
from scripts.benchmarking.reference_family import OPTIMA, Knobs, forest_of, reference_program
from scripts.benchmarking.solvers import SOLVERS, Solver
from tests.oracle import extensive as oracle
from tests.oracle.random_programs import FAMILIES, random_program

MEMBERS = [name for name, problem in PROBLEMS.items() if not problem.is_case]
GOAL = Goal(1e-6, 60.0)


@pytest.mark.parametrize("scenarios", [1, 5])
def test_small_members_have_their_known_optimum(scenarios: int) -> None:
    found = scipy_highs(reference_program(scenarios), GOAL)
    certificate = certify(reference_program(scenarios), found.plan, found.multipliers, 1e-9)
    assert certificate.status is Status.CERTIFIED
    assert certificate.objective == pytest.approx(OPTIMA[scenarios], rel=1e-10)


@pytest.mark.parametrize("name", MEMBERS)
def test_members_are_valid_and_certified(name: str) -> None:
    """By HiGHS on our extensive form, judged by the certificate: columns, rows and duals come back to the right places."""
    program = PROBLEMS[name].build(2, 3).check()
    found = scipy_highs(program, GOAL)
    assert certify(program, found.plan, found.multipliers, 1e-7).status is Status.CERTIFIED


@pytest.mark.parametrize("name", MEMBERS)
def test_members_depend_on_their_seed_alone(name: str) -> None:
    first, again, other = (PROBLEMS[name].build(2, seed) for seed in (1, 1, 2))
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(again, field.name)
        if isinstance(a, Sparse):
            a, b = a.value, b.value
        assert np.array_equal(a, b), field.name
    assert not np.array_equal(first.demand, other.demand)


def test_harder_members_are_what_they_say() -> None:
    built = {name: PROBLEMS[name].build(8, 0) for name in MEMBERS}
    assert built["pools48"].pools == 48
    assert built["tree"].decisions == 3 * (1 + 2 + 4 + 8)
    assert built["deferrable"].deferrable == 4
    assert built["windows"].free == 2
    assert built["windows"].links == 2 * 8
    assert built["cvar"].links == 8
    degenerate = built["degenerate"]
    assert np.array_equal(degenerate.acquisition_cost[::2], degenerate.acquisition_cost[1::2])


def test_scenarios_of_a_tree_share_their_past() -> None:
    forest = forest_of(Knobs(8, splits=(3, 6)))
    at = forest.node_at
    assert [len(np.unique(at[:, t])) for t in (0, 2, 3, 5, 6, 11)] == [1, 1, 2, 2, 4, 4]
    assert np.array_equal(forest.parent[at[:, 1:]], at[:, :-1])
    for period in range(12):
        assert forest.probability[np.unique(at[:, period])].sum() == pytest.approx(1)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_extensive_form_is_that_of_the_oracle(family: str) -> None:
    program = random_program(0, **FAMILIES[family])
    ours, theirs = extensive_form(program), oracle.extensive_form(program)
    difference = abs(ours.matrix - theirs.matrix)
    assert difference.max() < 1e-14 if difference.nnz else True
    for name in ("cost", "row_lower", "row_upper", "lower"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-15, err_msg=name)
    assert (ours.upper >= theirs.upper * (1 - 1e-15)).all()  # what demand implies is left out


def failing(program, goal):
    raise ValueError("the factor\nfell apart")


def stopped(program, goal):
    raise UnfinishedError("ran into its limit", timed_out=True)


def missing(program, goal):
    raise NotAvailableError("no such build")


def poor(program, goal):
    found = scipy_highs(program, goal)
    found.plan.z[:] = 0.0
    return found


@pytest.mark.parametrize(
    ("solve", "status", "words"),
    [
        (failing, "failed", "ValueError in the stage solve: the factor"),
        (stopped, "timeout", "ran into its limit"),
        (missing, "not_available", "no such build"),
        (poor, "feasible", ""),
    ],
)
def test_what_a_solver_does_is_recorded(solve, status: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "odd", Solver("odd", solve))
    measure.measure(Job("reference", 1, 0, "odd", 1e-6, 60.0), tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["status"], record["stage"]) == (status, "ended")
    assert words in record["message"]
    if status == "feasible":
        assert record["gap_certified"] > 1e-6
        assert record["optimum_error"] > 0


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import time; time.sleep(60)", "timeout", "stopped after 0 s in the stage start"),
        ("import os; os.kill(os.getpid(), 11)", "failed", "killed by SIGSEGV"),
        ("raise SystemExit('no luck')", "failed", "no luck"),
    ],
)
def test_a_process_that_dies_is_recorded(code: str, status: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(processes, "GRACE_S", 0.2)
    start = time.monotonic()
    record = processes.run_job(Job("reference", 1, 0, "highs_simplex", 1e-6, 0.2))
    assert time.monotonic() - start < 10
    assert record["status"] == status
    assert words in record["message"]
    assert record["key"] == "reference/1/0/highs_simplex/1e-06"


def test_a_job_is_measured_in_its_own_process() -> None:
    record = processes.run_job(Job("reference", 1, 0, "scipy_highs", 1e-6, 60.0))
    assert record["status"] == "certified", record["message"]
    assert record["seconds"]["total"] > 0
    assert record["peak_bytes"] > 2**24
    assert abs(record["optimum_error"]) < 1e-9
    assert record["cores"] >= 1
    assert "numpy" in record["versions"]


def record_of(solver: str, scenarios: int, seed: int, seconds: float, status: str = "certified", again: float | None = None) -> dict:
    record = {
        "problem": "reference", "solver": solver, "scenarios": scenarios, "seed": seed, "status": status, "message": "", "limit_s": 100.0,
        "seconds": {"total": seconds}, "iterations": 10, "gap_certified": 1e-7, "peak_bytes": 1, "algorithm": "a",
        "gap_relative": 1e-6, "objective": 100.0, "lower_bound": 99.9,
    }  # fmt: skip
    return record if again is None else {**record, "again": {"total": again}}


def test_ratios_are_medians_against_the_fastest_of_each_seed() -> None:
    records = []
    for seed, (simplex, ipm) in enumerate([(4.0, 2.0), (3.0, 6.0), (50.0, 10.0)]):
        records += [record_of("highs_simplex", 20, seed, simplex), record_of("highs_ipm", 20, seed, ipm)]
        records.append(record_of("ours_float64", 20, seed, 5.0, again=1.0))
    found = {row["rival"]: row for row in report.ratios(records, "ours_float64")}
    assert found["fastest_highs"]["ratio"] == 3.0  # of 2, 3, 10
    assert found["fastest_highs"]["ratio_first"] == pytest.approx(0.6)
    assert found["highs_ipm"]["ratio"] == 6.0
    assert not found["fastest_highs"]["at_least"]


def test_a_rival_at_its_limit_counts_with_the_limit_and_says_so() -> None:
    records = [record_of("highs_simplex", 20, 0, 3.0, "timeout"), record_of("ours_float64", 20, 0, 4.0, again=2.0)]
    row = report.ratios(records, "ours_float64")[0]
    assert (row["ratio"], row["at_least"]) == (50.0, True)
    uncertified = [record_of("highs_simplex", 20, 0, 3.0, "feasible"), records[1]]
    assert report.ratios(uncertified, "ours_float64") == []


def test_certificates_that_contradict_each_other_are_shown() -> None:
    records = [record_of("highs_simplex", 20, 0, 3.0), record_of("ours_float64", 20, 0, 4.0, again=2.0)]
    assert report.disagreements(records) == []
    records[1] |= {"lower_bound": 100.1, "objective": 100.2}
    assert [row["bound_by"] for row in report.disagreements(records)] == ["ours_float64"]


def test_a_certificate_that_misses_the_known_optimum_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMA, 1, OPTIMA[1] * (1 + 1e-6))
    measure.measure(Job("reference", 1, 0, "scipy_highs", 1e-6, 60.0), tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["status"] == "failed"
    assert "misses the known optimum" in record["message"]


def test_growth_is_the_exponent() -> None:
    records = [record_of("highs_ipm", s, seed, 0.01 * s**1.3) for s in (1, 20, 200, 2000) for seed in (0, 1)]
    row = report.growth(records)[0]
    assert row["exponent"] == pytest.approx(1.3)
    assert (row["from"], row["to"], row["sizes"]) == (20, 2000, 3)


def test_the_plot_holds_every_point() -> None:
    records = [record_of("highs_ipm", s, 0, 0.01 * s) for s in (1, 20, 200)]
    svg = scaling_svg(report.medians(records))
    assert svg.count("<title>highs_ipm") == 3
    assert svg.startswith("<svg")


def test_the_algorithm_is_what_the_log_shows() -> None:
    none = {"simplex": 0, "ipm": 0, "crossover": 0, "pdlp": -1}
    assert algorithm_in("Using dual simplex solver\n", none) == "dual simplex"
    assert algorithm_in("IPX version 1.0\nRunning crossover as requested\n", none) == "ipx + crossover"
    assert algorithm_in("", {**none, "pdlp": 40}) == "pdlp"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--suite", "huge"], "huge"),
        (["--problems", "nonsense"], "there is no problem 'nonsense'"),
        (["--solvers", "cplex"], "there is no solver 'cplex'"),
        (["--seeds", "4-1"], "4-1"),
        (["--limit", "-3"], "--limit is -3"),
        (["--gap", "2"], "--gap is 2"),
        (["--scenarios", "0"], "--scenarios holds 0"),
        (["--out", "results.txt"], "must end in .json"),
    ],
)
def test_bad_arguments_are_one_sentence_and_exit_2(given: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    try:
        code = benchmark.main(given)
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2
    assert words in told
    assert told.count("\n") == 1


def test_a_stopped_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file holds is not measured again, and everything ends up in it."""
    measured = []

    def measured_job(job: Job, environment: dict[str, str]) -> dict:
        measured.append(job.key)
        return {**record_of(job.solver, job.scenarios, job.seed, 1.0), "key": job.key}

    monkeypatch.setattr(processes, "run_job", measured_job)
    out = tmp_path / "results.json"
    given = ["--problems", "reference", "--solvers", "highs_simplex", "--out", str(out), "--resume"]
    assert benchmark.main([*given, "--scenarios", "1"]) == 0
    assert benchmark.main([*given, "--scenarios", "1,5"]) == 0
    assert len(measured) == len(set(measured)) == 2
    assert len(json.loads(out.read_text())["records"]) == 2
    assert out.with_suffix(".svg").read_text().startswith("<svg")
