"""From the start of a process to the certified answer, in that process: python -m scripts.benchmarking.end_to_end ORDER.json RECORD.json.

What is measured is what a user runs. A case goes through the command `capacity plan CASE`; a member of the family is built and handed to
`solve`; the peer builds the same program, states it and runs HiGHS. The functions between the phases are wrapped so that they note the
time; nothing else about them changes. Seconds are pairs: wall, counted from the moment at which the process was started, and of the
processor, of all its threads.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.benchmarking.measure import Job, write_atomically

ENGINES = {"ours_auto": "auto", "ours_simplex": "simplex", "ours_float64": "interior"}
PEER = "highs_simplex"
MOVED = 0.01  # every demand of the neighbour is that of the program to within this share


@dataclass(frozen=True)
class Order:
    """`started_s`: `time.monotonic` when the process was started, one clock for all processes of a machine."""

    job: Job
    started_s: float


class Clock:
    """`seconds`: of the phases, one after another from the start of the process; `parts`: inside them, by name."""

    def __init__(self, started_s: float) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self.parts: dict[str, dict[str, float]] = {}
        self._last = started_s, 0.0

    def ends(self, phase: str) -> None:
        """The phase ends here and the next begins."""
        now, before = (time.monotonic(), time.process_time()), self._last
        self.seconds[phase], self._last = _between(before, now), now

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add what the block takes."""
        before = time.monotonic(), time.process_time()
        yield
        spent, known = _between(before, (time.monotonic(), time.process_time())), self.parts.get(name, {})
        self.parts[name] = {kind: spent[kind] + known.get(kind, 0.0) for kind in spent}

    def watch(self, owner: Any, name: str, part: str) -> None:
        """From now on every call of owner.name adds to a part."""
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def timed(*given: Any, **named: Any) -> Any:
            with self.part(part):
                return plain(*given, **named)

        setattr(owner, name, timed)


def _between(before: tuple[float, float], now: tuple[float, float]) -> dict[str, float]:
    return {"wall": now[0] - before[0], "cpu": now[1] - before[1]}


def measure(order: Order, path: Path) -> None:
    """Run what the order names and leave its record; a failure ends up there too."""
    from optimizer.process import begin_command

    job, clock = order.job, Clock(order.started_s)
    begin_command()
    try:
        told = _run(job, clock)
    except Exception as error:
        told = {"status": "failed", "message": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    from scripts.benchmarking.processes import peak_bytes

    own = {"seconds": clock.seconds, "parts": clock.parts, "peak_bytes": peak_bytes(os.getpid())}
    write_atomically(path, {**told, **own, "load_average": os.getloadavg()[0]})


def _run(job: Job, clock: Clock) -> dict:
    if job.solver == PEER:
        return _peer(job, clock)
    _watch_simplex(clock)
    return _command(job, clock) if job.scenarios == 0 else _family(job, clock)


def _watch_simplex(clock: Clock) -> None:
    """The parts of the simplex: import, form, pass and run. Its modules are imported where the solve imports them."""
    solving: Any = import_module("optimizer.solve")  # the module: the name on the package is the function
    plain = solving.by_simplex

    def watched(*given: Any) -> Any:
        with clock.part("import"):
            propose = import_module("optimizer.simplex.propose")
        clock.watch(propose, "extensive_form", "form")
        clock.watch(propose.Model, "__init__", "pass")
        clock.watch(propose.Model, "run", "run")
        solving.by_simplex = plain  # they are watched from now on
        return plain(*given)

    solving.by_simplex = watched


def _command(job: Job, clock: Clock) -> dict:
    """`capacity plan CASE`: start, build (the file read and checked, the program built), answer, report (its tables and its page)."""
    from optimizer import cli
    from scripts.benchmarking.machine import ROOT

    case = ROOT / "configs" / "cases" / f"{job.problem}.yaml"
    found: list[Any] = []
    planning: Any = import_module("optimizer.plan")
    load, solved = planning.load, planning.solved

    def loaded(*given: Any) -> Any:
        clock.ends("start")
        return load(*given)

    def answered(*given: Any) -> Any:
        clock.ends("build")
        found.append(solved(*given))
        clock.ends("answer")
        return found[-1]

    planning.load, planning.solved = loaded, answered
    with contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(["plan", str(case), "--engine", ENGINES[job.solver], "--gap", repr(job.gap_relative)])
    clock.ends("report")
    if not found:
        raise RuntimeError(f"the command ended with code {code} and no answer")
    return _told(found[-1].solution)


def _family(job: Job, clock: Clock) -> dict:
    """start, build, answer; where the simplex answered, a neighbour too, whose demand moved, from the basis in which the first ended."""
    from optimizer.settings import Settings
    from optimizer.solution import SIMPLEX, Neighbours
    from optimizer.solve import solve
    from scripts.benchmarking.problems import problem_named

    clock.ends("start")
    program = problem_named(job.problem).build(job.scenarios, job.seed)
    clock.ends("build")
    settings, neighbours = Settings(gap_relative=job.gap_relative, engine=ENGINES[job.solver]), Neighbours()
    solution = solve(program, settings, neighbours)
    clock.ends("answer")
    if solution.engine != SIMPLEX:
        return _told(solution)
    moved = _neighbour(program, job.seed)
    first, clock.parts = clock.parts, {}
    with clock.part("answer"):
        again = solve(moved, replace(settings, engine=SIMPLEX), neighbours)
    parts, clock.parts = clock.parts, first
    return {**_told(solution), "neighbour": {**_told(again), "parts": parts}}


def _neighbour(program: Any, seed: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(seed)
    demand, work = (values * rng.uniform(1 - MOVED, 1 + MOVED, values.shape) for values in (program.demand, program.demand_deferrable))
    return replace(program, demand=demand, demand_deferrable=work)


def _told(solution: Any) -> dict:
    """An answer of ours as the record holds it."""
    judged = solution.certificate
    return {
        "status": judged.status.name.lower(), "message": judged.reason, "engine": solution.engine, "engine_reason": solution.engine_reason,
        "iterations": solution.iterations, "gap_certified": judged.gap_relative, "objective": judged.objective,
        "lower_bound": judged.lower_bound, "answer_seconds": solution.seconds,
    }  # fmt: skip


def _peer(job: Job, clock: Clock) -> dict:
    """start, build, form, pass, run, read; then, not HiGHS's own, certify: its values and row duals go to our certificate."""
    import numpy as np

    from optimizer.program.certificate import certify
    from optimizer.simplex.extensive import extensive_form
    from scripts.benchmarking.peer_highs import imported_highspy, iteration_counts, model_of
    from scripts.benchmarking.problems import problem_named

    problem = problem_named(job.problem)
    imported_highspy()
    clock.ends("start")
    program = problem.build(job.scenarios, job.seed)
    clock.ends("build")
    form = extensive_form(program)
    clock.ends("form")
    model = model_of(form, PEER, job.limit_s)
    clock.ends("pass")
    model.run()
    clock.ends("run")
    found = model.getSolution()
    values, duals = np.asarray(found.col_value), np.asarray(found.row_dual)
    clock.ends("read")
    ended = model.modelStatusToString(model.getModelStatus())
    if not found.value_valid:
        raise RuntimeError(f"HiGHS ends with {ended} and no values")
    judged = certify(program, form.plan(values), form.multipliers(duals), job.gap_relative)
    clock.ends("certify")
    return {
        "status": judged.status.name.lower(), "message": judged.reason, "engine": "simplex", "engine_reason": ended,
        "iterations": max(0, iteration_counts(model.getInfo())["simplex"]), "gap_certified": judged.gap_relative,
        "objective": judged.objective, "lower_bound": judged.lower_bound,
    }  # fmt: skip


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    measure(Order(Job(**given["job"]), given["started_s"]), Path(sys.argv[2]))
