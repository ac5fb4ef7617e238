"""The benchmark's suite from process start to the certified answer: its rows are complete, alternate, and are compared as they say."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scripts import benchmark
from scripts.benchmarking import end_to_end_report as report
from scripts.benchmarking.end_to_end import Clock
from scripts.benchmarking.end_to_end_runs import run_process, run_rounds
from scripts.benchmarking.measure import Job


def job_of(solver: str, problem: str = "reference", scenarios: int = 1, seed: int = 0) -> Job:
    return Job(problem, scenarios, seed, solver, 1e-6, 60.0)


def test_the_suite_writes_complete_rows(tmp_path: Path) -> None:
    """Three processes: cold, warm, and HiGHS."""
    pytest.importorskip("highspy")
    out = tmp_path / "results.json"
    given = ["--suite", "end_to_end", "--problems", "reference", "--scenarios", "1", "--seeds", "0", "--repeat", "1", "--out", str(out)]
    assert benchmark.main([*given, "--solvers", "ours_auto,highs_simplex"]) == 0
    found = json.loads(out.read_text())
    assert [(r["solver"], r["state"]) for r in found["records"]] == [("ours_auto", "cold"), ("ours_auto", "warm"), ("highs_simplex", "")]
    cold, _, peer = found["records"]
    assert list(cold["seconds"]) == ["start", "build", "answer"]
    assert list(peer["seconds"]) == ["start", "build", "form", "pass", "run", "read", "certify"]
    assert list(cold["parts"]) == ["import", "form", "pass", "run"]
    assert list(cold["neighbour"]["parts"]) == ["form", "pass", "run", "answer"]
    for record in found["records"]:
        assert record["status"] == "certified", record["message"]
        assert record["engine"] == "simplex" and record["engine_reason"]
        assert record["iterations"] > 100
        assert record["gap_certified"] <= 1e-6
        assert record["peak_bytes"] > 2**24
        assert all(spent["wall"] > 0 and spent["cpu"] >= 0 for spent in record["seconds"].values())
        assert sum(spent["wall"] for spent in record["seconds"].values()) < record["total"]["wall"]
    assert 0 < cold["neighbour"]["iterations"] < cold["iterations"] / 4
    assert cold["parts"]["run"]["cpu"] < cold["seconds"]["answer"]["cpu"]
    rows = {report.name_of(row): row for row in found["rows"]}
    assert list(rows) == ["ours_auto, cold", "ours_auto, warm", "highs_simplex", "ours_auto, moved neighbour"]
    assert all(row["compared"] == 1 and row["ratio_wall"] > 0 and row["ratio_cpu"] > 0 for row in rows.values())
    assert out.with_suffix(".svg").read_text().startswith("<svg")


def test_a_case_goes_through_the_command(tmp_path: Path) -> None:
    record = run_process(job_of("ours_simplex", "own_or_rent", 0), tmp_path)
    assert record["status"] == "certified", record["message"]
    assert list(record["seconds"]) == ["start", "build", "answer", "report"]
    assert record["engine_reason"] == "asked for"
    assert list(record["parts"]) == ["import", "form", "pass", "run"]
    assert "neighbour" not in record


def test_a_process_that_fails_is_a_record(tmp_path: Path) -> None:
    record = run_process(job_of("highs_simplex", "nonsense"), tmp_path)
    assert record["status"] == "failed"
    assert "there is no problem 'nonsense'" in record["message"]


def test_rows_alternate_and_what_is_warm_finds_what_the_cold_one_left(tmp_path: Path) -> None:
    ran = []

    def run(job: Job, cache: Path) -> dict:
        ran.append((job.solver, len(list(cache.iterdir()))))
        (cache / f"compiled{len(ran)}").touch()
        long = job.solver == "ours_float64"
        return {**record_of(job.solver, 6.0 if long else 0.1), "total": {"wall": 6.0 if long else 0.1, "cpu": 0.1}}

    jobs, out = [job_of("ours_auto"), job_of("ours_float64"), job_of("highs_simplex")], tmp_path / "results.json"
    records = run_rounds(jobs, 2, out, [], lambda line: None, run)
    once = [("ours_auto", 0), ("ours_auto", 1), ("ours_float64", 0), ("ours_float64", 1), ("highs_simplex", 0)]
    assert ran == [*once, ("ours_auto", 0), ("ours_auto", 1), ("highs_simplex", 0)]  # what took long is not repeated
    assert json.loads(out.read_text())["records"] == records
    again = run_rounds(jobs, 2, out, records, lambda line: None, run)
    assert again == records and len(ran) == 8
    run_rounds(jobs, 1, out, records[1:2], lambda line: None, run)  # incomplete: measured anew
    assert len(ran) == 13


def test_seconds_are_between_marks() -> None:
    clock = Clock(0.0)
    clock.ends("start")
    with clock.part("form"):
        pass
    first = clock.parts["form"]["wall"]
    with clock.part("form"):
        pass
    clock.ends("build")
    assert clock.parts["form"]["wall"] > first > 0
    assert clock.seconds["start"]["wall"] > clock.seconds["build"]["wall"] > clock.parts["form"]["wall"]


def record_of(solver: str, answer_s: float, state: str = "", seed: int = 0, status: str = "certified") -> dict:
    spent = {"wall": answer_s, "cpu": answer_s / 2}
    names = ("start", "build", "run") if solver == "highs_simplex" else ("start", "build", "answer")
    seconds = dict(zip(names, ({"wall": 0.5, "cpu": 0.4}, {"wall": 0.1, "cpu": 0.1}, spent), strict=True))
    return {
        **asdict(job_of(solver, seed=seed)), "state": state, "status": status, "message": "lost", "engine": "simplex",
        "engine_reason": "small", "iterations": 10, "gap_certified": 1e-9, "objective": 100.0, "lower_bound": 99.9, "peak_bytes": 2**20,
        "seconds": seconds, "parts": {}, "total": {"wall": 1.0, "cpu": 0.5},
    }  # fmt: skip


def test_ratios_and_the_bar_compare_seed_by_seed() -> None:
    records = [record_of("highs_simplex", run_s, seed=seed) for seed, run_s in ((0, 1.0), (0, 1.2), (0, 1.1), (1, 2.0))]
    records += [record_of("ours_auto", answer_s, "cold", seed) for seed, answer_s in ((0, 1.0), (0, 9.0), (0, 1.21), (1, 2.8))]
    peer, ours = report.rows(records)
    assert (peer["answer_wall_s"], peer["before_wall_s"], peer["total_wall_s"]) == (pytest.approx(1.55), 0.6, pytest.approx(2.15))
    assert ours["ratio_wall"] == pytest.approx((1.1 + 1.4) / 2)
    assert ours["ratio_wall_least"] == pytest.approx((1.0 + 1.4) / 2)
    assert (ours["within_wall"], ours["within_cpu"], ours["compared"]) == (1, 2, 2)  # 2.8 > 1.3 * 2 + 0.1; 1.4 = 1.3 * 1 + 0.1


def test_the_tables_say_yes_and_no_and_why_not() -> None:
    records = [record_of("highs_simplex", 1.0), record_of("ours_auto", 1.35, "cold"), record_of("ours_simplex", 1.45, "cold")]
    records.append(record_of("ours_float64", 2.0, "cold", status="failed"))
    shown = StringIO()
    report.show(report.summary(records), Console(file=shown, width=240))
    lines = {line.split("│")[1].strip(): line for line in shown.getvalue().splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in lines["ours_auto, cold"].split("│")[-3:-1]] == ["yes", "yes"]
    assert lines["ours_simplex, cold"].split("│")[-3].strip() == "no"
    assert "0 of 1" in lines["ours_float64, cold"]
    assert "reference/1, ours_float64, cold: lost" in shown.getvalue()
    assert "1.3 x HiGHS's own run + 0.1 s" in shown.getvalue()


@pytest.mark.parametrize(
    ("given", "words"),
    [(["--repeat", "0"], "--repeat is 0"), (["--solvers", "scipy_highs"], "scipy_highs is not measured from end to end")],
)
def test_bad_arguments(given: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert benchmark.main(["--suite", "end_to_end", "--problems", "reference", "--scenarios", "1", *given]) == 2
    assert words in capsys.readouterr().err
