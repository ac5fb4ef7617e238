"""A long solve that is killed goes on from its checkpoint to the same answer; one whose device runs out of memory goes on in less."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import jax
import numpy as np
import pytest

import optimizer
from optimizer import checkpoint, cli
from optimizer.checkpoint import Store, whole_run
from optimizer.program.certificate import Status
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solve import Solution, solve
from optimizer.solver import cut, interior_point
from optimizer.solver import layout as layouts
from tests.oracle.random_programs import FAMILIES, random_program
from tests.unit.small_case import FILE, small_case

INTERIOR = Settings(engine="interior")
ROOT = Path(__file__).resolve().parent.parent.parent

# A plan whose solve tells of every checkpoint it has written and then rests, so that it can be killed between two of them.
SLOW_PLAN = """
import sys, time
from optimizer import cli
from optimizer.checkpoint import Store
real = Store.write
def slow(store, saved):
    real(store, saved)
    print("checkpoint", saved.iteration, flush=True)
    time.sleep(0.5)
Store.write = slow
sys.exit(cli.main(sys.argv[1:]))
"""


class Killed(BaseException):
    """In the place of a signal."""


def medium() -> Program:
    return random_program(0, **FAMILIES["tree_all_rows"])


def killed_after(iteration: int, monkeypatch: pytest.MonkeyPatch, run) -> None:
    """Run until the checkpoint of an iteration is written, and not a step further."""
    real = Store.write

    def write(store: Store, saved) -> None:
        real(store, saved)
        if saved.iteration == iteration:
            raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Store, "write", write)
        run()
        raise AssertionError(f"there was no checkpoint of iteration {iteration}")


def same_answer(one: Solution, other: Solution) -> None:
    """Bit by bit."""
    a, b = one.certificate, other.certificate
    assert (a.status, a.objective, a.lower_bound, a.gap_relative) == (b.status, b.objective, b.lower_bound, b.gap_relative)
    for x, y in ((a.plan, b.plan), (a.multipliers, b.multipliers)):
        assert x is not None and y is not None
        assert all(np.array_equal(getattr(x, f.name), getattr(y, f.name)) for f in fields(x))
    assert one.iterations == other.iterations
    assert [line.iteration for line in one.log] == [line.iteration for line in other.log] == list(range(one.iterations + 1))
    assert [line.mu for line in one.log] == [line.mu for line in other.log]


# a kill ---------------------------------------------------------------------------------------------------------------------------
def test_kill_9_in_the_middle_of_a_solve(tmp_path: Path) -> None:
    """The real thing, through the command: the same plan, and no iteration before the last checkpoint is made again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    arguments = ["plan", str(FILE), "--checkpoint", str(tmp_path / "state"), "--checkpoint-interval", "0", "--engine", "interior"]
    command = [sys.executable, "-c", SLOW_PLAN, *arguments, "--out", str(tmp_path / "killed")]
    written = -1
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            written = int(line.split()[1])
            if written >= 4:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "killed").exists()
    (state,) = (tmp_path / "state").iterdir()

    done = subprocess.run(
        [sys.executable, "-m", "optimizer.cli", *arguments, "--out", str(tmp_path / "resumed")],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Resumed at iteration {written} from the checkpoint" in done.stdout
    assert not state.exists(), "the answer is written, and the state has gone"

    optimizer.plan(str(FILE), INTERIOR).write(tmp_path / "whole")
    documents = [json.loads((tmp_path / name / "plan.json").read_text()) for name in ("resumed", "whole")]
    for document in documents:
        for name in ("seconds", "compilations", "versions", "device"):
            del document[name]
    assert documents[0] == documents[1]
    for table in ("acquisitions", "placement", "cost", "prices"):
        assert (tmp_path / "resumed" / f"{table}.csv").read_text() == (tmp_path / "whole" / f"{table}.csv").read_text()


@pytest.mark.parametrize("iteration", [0, 3, 7, 8])
def test_a_resumed_solve_ends_with_the_same_bits(iteration: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a plan had been certified already, and with every kind of row."""
    whole = solve(medium(), INTERIOR)
    settings = Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)
    killed_after(iteration, monkeypatch, lambda: solve(medium(), settings))
    resumed = solve(medium(), settings)
    assert resumed.resumed_at_iteration == iteration and resumed.notes == ()
    same_answer(resumed, whole)
    assert not list(tmp_path.iterdir()), "nothing is left of a finished solve"


def test_nothing_before_the_checkpoint_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations are counted by their factorisations: one each, and one for the starting point, which a resumed solve does not need."""
    calls, real = [], interior_point.compile_for

    def counting(shape, data):
        k = real(shape, data)
        return k._replace(factor=lambda *a: (calls.append(1), k.factor(*a))[1])

    monkeypatch.setattr(interior_point, "compile_for", counting)
    settings = Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)
    killed_after(5, monkeypatch, lambda: solve(medium(), settings))
    assert len(calls) == 1 + 5
    calls.clear()
    resumed = solve(medium(), settings)
    assert len(calls) == resumed.iterations - 5


def test_a_short_solve_writes_nothing(tmp_path: Path) -> None:
    found = solve(medium(), Settings(engine="interior", checkpoint=tmp_path / "state"))
    assert found.status is Status.CERTIFIED and found.resumed_at_iteration is None and not (tmp_path / "state").exists()


def test_the_solves_of_a_longer_run_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds its own state, a finished one included; another program's is left alone."""
    first, second, other = (random_program(seed, **FAMILIES["plain"]) for seed in (0, 1, 2))
    settings = Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)

    def run() -> list[Solution]:
        with whole_run():
            return [solve(first, settings), solve(second, settings)]

    killed_after(3, monkeypatch, lambda: solve(other, settings))
    (foreign,) = tmp_path.iterdir()
    whole = [solve(first, INTERIOR), solve(second, INTERIOR)]
    real, complete = Store.write, []

    def write(store: Store, saved) -> None:
        real(store, saved)
        complete.append(saved.complete)
        if len(set(tmp_path.iterdir())) == 3 and saved.iteration == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "write", write)
        run()
    assert complete.count(True) == 1
    found = run()
    assert [s.resumed_at_iteration for s in found] == [whole[0].iterations, 2]
    for a, b in zip(found, whole, strict=True):
        same_answer(a, b)
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_plan_of_several_solves_goes_on_in_the_one_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that queues takes three solves, each of a program made from the answer before it."""
    case = tmp_path / "queues.yaml"
    case.write_text(
        f"name: queues\nextends: {ROOT / 'configs' / 'cases' / 'two_clouds.yaml'}\nperformance: {{throughput: model}}\n"
        "workloads:\n  chat:\n    tpot_p99_ms: 40\n    burstiness: {arrival_cv2: 3.9, peakedness: 3.7}\n"
    )
    settings = Settings(engine="interior", checkpoint=tmp_path / "state", checkpoint_interval_s=0)
    whole = optimizer.plan(case, settings)
    real, finished = Store.write, []

    def write(store: Store, saved) -> None:
        real(store, saved)
        finished.extend([saved.iteration] * saved.complete)
        if finished and not saved.complete and saved.iteration == 4:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "write", write)
        optimizer.plan(case, settings)
    resumed = optimizer.plan(case, settings)
    assert resumed.solution.resumed_at_iteration == finished[0] + 4
    assert (resumed.objective_usd, resumed.lower_bound_true_usd, resumed.iterations, resumed.warnings) == (
        whole.objective_usd, whole.lower_bound_true_usd, whole.iterations, whole.warnings,
    )  # fmt: skip
    assert resumed.acquisitions.equals(whole.acquisitions) and not list((tmp_path / "state").iterdir())


def test_other_settings_and_other_numbers_have_their_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    program, settings = medium(), Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)
    killed_after(4, monkeypatch, lambda: solve(program, settings))
    assert solve(program, replace(settings, gap_relative=1e-5)).resumed_at_iteration is None
    dearer = replace(program, acquisition_cost=program.acquisition_cost * np.where(np.arange(program.acquisitions) == 0, 1 + 1e-12, 1.0))
    assert solve(dearer, settings).resumed_at_iteration is None
    assert solve(program, settings).resumed_at_iteration == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other_shape", "later_format"])
def test_a_damaged_checkpoint_is_a_note_and_a_new_start(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)
    killed_after(4, monkeypatch, lambda: solve(medium(), settings))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    if damage in ("other_shape", "later_format"):
        with np.load(file) as arrays:
            held = dict(arrays)
        if damage == "other_shape":
            held["state.0"] = held["state.0"][..., :-1]
        else:
            now = f'"format": {checkpoint.FORMAT}'.encode()
            held["head"] = np.frombuffer(held["head"].tobytes().replace(now, b'"format": 99'), np.uint8)
        with file.open("wb") as out:
            np.savez(out, **held)
    else:
        middle = len(content) // 2
        noise = content[:middle] + bytes(b ^ 255 for b in content[middle : middle + 64]) + content[middle + 64 :]
        file.write_bytes({"cut": content[:middle], "empty": b"", "noise": noise}[damage])
    found = solve(medium(), settings)
    assert found.resumed_at_iteration is None
    (note,) = found.notes
    assert note.startswith(f"The checkpoint {file} cannot be used (") and note.endswith("the solve began anew.") and "\n" not in note
    same_answer(found, solve(medium(), INTERIOR))


def test_a_directory_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = solve(medium(), Settings(engine="interior", checkpoint=tmp_path / "file", checkpoint_interval_s=0))
    assert found.status is Status.CERTIFIED
    (note,) = found.notes
    assert note.startswith("No checkpoint could be written to ") and note.endswith("the solve went on without.")


def test_a_half_written_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while a checkpoint is written leaves the one before it."""
    settings = Settings(engine="interior", checkpoint=tmp_path, checkpoint_interval_s=0)
    real, count = np.savez, []

    def cut_short(out, **arrays) -> None:
        real(out, **arrays)
        count.append(1)
        if len(count) == 4:
            out.truncate(100)
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(np, "savez", cut_short)
        solve(medium(), settings)
    assert len(list(tmp_path.iterdir())) == 2
    found = solve(medium(), settings)
    assert found.resumed_at_iteration == 2 and found.notes == ()
    assert not list(tmp_path.iterdir())


def test_bad_settings_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--checkpoint", str(FILE)], "--checkpoint: "), (["--checkpoint-interval", "-1"], "checkpoint_interval_s is -1.0"),
        (["--checkpoint-interval", "nan"], "checkpoint_interval_s is nan"),
    ):  # fmt: skip
        assert cli.main(["plan", str(FILE), *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1


# memory ---------------------------------------------------------------------------------------------------------------------------
def memory_ends(monkeypatch: pytest.MonkeyPatch, iteration: int, error: Exception, also_streaming: bool = False) -> list[tuple[int, int]]:
    """The solver raises instead of going beyond an iteration; returns (streaming, first iteration) of every start."""
    real, starts = interior_point.interior_point, []

    def limited(layout, max_iterations, gap_relative, resume=None, first=0, precision="float64"):
        starts.append((layout.shape.streaming, first))
        for iterate in real(layout, max_iterations, gap_relative, resume, first, precision):
            yield iterate
            if iterate.iteration >= iteration and (also_streaming or layout.shape.streaming < 2):
                raise type(error)(*error.args)  # a new one: its traceback would hold the arrays

    monkeypatch.setattr(interior_point, "interior_point", limited)
    return starts


XLA_SAID = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes."


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError(XLA_SAID), MemoryError()])
@pytest.mark.parametrize("iteration", [0, 6])
def test_a_solve_that_runs_out_of_memory_goes_on_in_less(error: Exception, iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solve(medium(), INTERIOR)
    starts = memory_ends(monkeypatch, iteration, error)
    found = solve(medium(), INTERIOR)
    assert starts == [(1, 0), (2, iteration)]
    (note,) = found.notes
    assert note.startswith("The device ran out of memory in iteration") and "chunk after chunk" in note
    assert found.status is Status.CERTIFIED
    assert found.certificate.objective == pytest.approx(whole.certificate.objective, rel=2e-6)
    assert [line.iteration for line in found.log] == list(range(found.iterations + 1))


def test_the_devices_memory_is_free_before_the_solve_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the nodes in many chunks, as those of a large program are."""
    program = random_program(0, **FAMILIES["windows"])
    monkeypatch.setattr(layouts, "SMALL", (dict.fromkeys(layouts.SMALL[0], 0),))
    for name, value in (("LEAST_BYTES", 0), ("CHUNK_BYTES", 1), ("LEAST_LANES", 1)):
        monkeypatch.setattr(cut, name, value)
    whole = solve(program, INTERIOR)
    starts = memory_ends(monkeypatch, 4, MemoryError())
    ending, held = interior_point.interior_point, []
    kept = jax.live_arrays()  # of other tests

    def watched(layout, *rest):
        assert layout.shape.groups * layout.shape.chunks > 1
        gc.collect()
        held.append(len(jax.live_arrays()) - len(kept))
        for iterate in ending(layout, *rest):
            held[-1] = max(held[-1], len(jax.live_arrays()) - len(kept)) if layout.shape.streaming < 2 else held[-1]
            yield iterate

    monkeypatch.setattr(interior_point, "interior_point", watched)
    found = solve(program, INTERIOR)
    assert starts == [(1, 0), (2, 4)]
    assert held[0] > 50 and held[1] <= 0, "arrays on the device: while the solve was under way, and when it went on"
    assert found.certificate.objective == pytest.approx(whole.certificate.objective, rel=2e-6)


def test_memory_that_never_suffices_is_a_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    memory_ends(monkeypatch, 3, jax.errors.JaxRuntimeError(XLA_SAID), also_streaming=True)
    assert cli.main(["plan", str(FILE), "--engine", "interior"]) in (1, 3)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    told = " ".join(said.out.split())
    assert "ran out of memory in iteration 4" in told and "also with the nodes taken chunk after chunk: plan fewer scenarios" in told


def test_memory_that_ends_before_the_first_point_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(shape, data):
        raise jax.errors.JaxRuntimeError(XLA_SAID)

    monkeypatch.setattr(interior_point, "compile_for", refused)
    plan = optimizer.plan(small_case(), INTERIOR)
    assert plan.status == "FAILED" and plan.exit_code == 1 and "68719476736 bytes" in plan.reason
    assert len(plan.warnings) >= 2


def test_what_was_certified_before_memory_ended_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for more than the iterations before the end can give."""
    settings = Settings(engine="interior", gap_relative=1e-9)
    memory_ends(monkeypatch, solve(medium(), INTERIOR).iterations, MemoryError(), also_streaming=True)
    found = solve(medium(), settings)
    assert found.status is Status.FEASIBLE and found.certificate.gap_relative < 1e-4
    assert len(found.notes) == 2


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory_ends(monkeypatch, 2, RuntimeError("INTERNAL: the roof leaks"))
    with pytest.raises(RuntimeError, match="the roof leaks"):
        solve(medium(), INTERIOR)
