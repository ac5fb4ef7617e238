"""The adapters of the peers: what comes back is certified by our own certificate, so columns, rows and signs are in place."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from optimizer.program.certificate import Status, certify
from optimizer.settings import Settings
from scripts.benchmarking import own_solver
from scripts.benchmarking.machine import ROOT, cores
from scripts.benchmarking.peer_highs import highs
from scripts.benchmarking.peer_linopy import linopy_highs
from scripts.benchmarking.proposal import Goal, NotAvailableError, UnfinishedError
from scripts.benchmarking.reference_family import Knobs, family_program, reference_program
from scripts.benchmarking.solvers import SOLVERS

GOAL = Goal(1e-6, 60.0)
SMALL = Knobs(2, workloads=3, pools=4, periods=3)


@pytest.mark.parametrize(
    ("name", "algorithm"), [("highs_simplex", "dual simplex"), ("highs_ipm", "ipx"), ("highs_ipm_crossover", "ipx + crossover")]
)
def test_highs_runs_what_was_asked(name: str, algorithm: str) -> None:
    pytest.importorskip("highspy")
    program = reference_program(1)
    found = highs(name)(program, GOAL)
    assert found.algorithm == algorithm
    assert found.iterations > 0
    assert certify(program, found.plan, found.multipliers, 1e-7).status is Status.CERTIFIED


def test_highs_runs_on_all_cores_whatever_ran_before() -> None:
    """Its scheduler keeps the number of threads of the first run in a process, and refuses to run with another."""
    highspy = pytest.importorskip("highspy")
    from optimizer.simplex.extensive import extensive_form
    from optimizer.simplex.model import Model

    program = family_program(SMALL)
    highspy.Highs.resetGlobalScheduler(True)
    model = Model(extensive_form(program))
    model.highs.setOptionValue("threads", cores() + 1)
    assert model.run(10_000, 1e-7) is not None
    assert highs("highs_simplex")(program, GOAL).detail["status"] == "Optimal"
    assert Model(extensive_form(program)).run(10_000, 1e-7) is not None


@pytest.mark.parametrize(("name", "reason"), [("ours_simplex", "asked for"), ("ours_auto", "rows")])
def test_our_own_record_says_which_engine_and_why(name: str, reason: str) -> None:
    program = family_program(SMALL)
    found = SOLVERS[name].solve(program, GOAL)
    assert found.algorithm == found.detail["engine"] == "simplex"
    assert reason in str(found.detail["engine_reason"])
    assert certify(program, found.plan, found.multipliers, 1e-7).status is Status.CERTIFIED


def test_the_precisions_are_the_interior_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the rule would choose."""
    asked = []

    def stopped(program: object, settings: Settings) -> None:
        asked.append((settings.engine, settings.precision))
        raise UnfinishedError("enough")

    monkeypatch.setattr(own_solver, "solve", stopped)
    for name in ("ours_float64", "ours_mixed", "ours_float32"):
        with pytest.raises(UnfinishedError):
            SOLVERS[name].solve(family_program(SMALL), GOAL)
    assert asked == [("interior", "float64"), ("interior", "mixed"), ("interior", "float32")]


def test_highs_says_that_it_ran_out_of_time() -> None:
    pytest.importorskip("highspy")
    with pytest.raises(UnfinishedError, match="limit") as caught:
        highs("highs_simplex")(reference_program(5), Goal(1e-6, 1e-3))
    assert caught.value.timed_out


def test_pdlp_is_certified() -> None:
    """In a process of its own, as every measurement is: OR-Tools does not load beside highspy."""
    pytest.importorskip("ortools")
    code = """
from optimizer.program.certificate import certify
from scripts.benchmarking.peer_first_order import ortools_pdlp
from tests.unit.test_benchmark_peers import GOAL, SMALL, family_program
program = family_program(SMALL)
found = ortools_pdlp(program, GOAL)
print(certify(program, found.plan, found.multipliers, GOAL.gap_relative).status.name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "CERTIFIED", done.stderr


def test_linopy_states_the_same_problem() -> None:
    pytest.importorskip("linopy")
    program = family_program(SMALL)
    found = linopy_highs(program, GOAL)
    assert certify(program, found.plan, found.multipliers, 1e-7).status is Status.CERTIFIED
    assert found.seconds["model"] > 0
    assert found.iterations > 0


def test_a_precision_that_is_not_offered_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Without:
        gap_relative: float = 1e-6

    @dataclass(frozen=True)
    class With(Without):
        precision: str = "float64"

        def __post_init__(self) -> None:
            if self.precision not in ("float64", "mixed"):
                raise ValueError("no such precision")

    monkeypatch.setattr(own_solver, "Settings", Without)
    assert own_solver.settings_for("float64", 1e-5) == Without(1e-5)
    with pytest.raises(NotAvailableError, match="mixed"):
        own_solver.settings_for("mixed", 1e-5)
    monkeypatch.setattr(own_solver, "Settings", With)
    assert own_solver.settings_for("mixed", 1e-5) == With(1e-5, "mixed")
    with pytest.raises(NotAvailableError, match="no such precision"):
        own_solver.settings_for("float32", 1e-5)
