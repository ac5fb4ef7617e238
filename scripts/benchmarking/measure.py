"""One measurement, in the process that this module is started as: python -m scripts.benchmarking.measure JOB.json RECORD.json.

The record is rewritten, atomically, at every stage, so that a process that is killed leaves the stages it finished. Whatever the solver
says of itself, the status comes from our certificate, asked once more here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.benchmarking.machine import machine

OPTIMUM_KNOWN_TO = 1e-9  # relative


@dataclass(frozen=True)
class Job:
    """What to measure. `gap_relative` and `limit_s` as in `proposal.Goal`."""

    problem: str
    scenarios: int
    seed: int
    solver: str
    gap_relative: float
    limit_s: float

    @property
    def key(self) -> str:
        """Two jobs with one key measure the same."""
        return f"{self.problem}/{self.scenarios}/{self.seed}/{self.solver}/{self.gap_relative:g}"


def write_atomically(path: Path, value: object) -> None:
    """JSON, complete or not at all; numbers that are not finite become null."""
    text = json.dumps(_finite(value), indent=1, allow_nan=False)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text + "\n")
    os.replace(beside, path)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


class Recorder:
    """The record under construction; `stage` says what the process is about to do."""

    def __init__(self, job: Job, path: Path) -> None:
        self.path = path
        self.record: dict[str, object] = {**asdict(job), "key": job.key, **machine(), "load_average": os.getloadavg()[0], "seconds": {}}

    def stage(self, name: str, **known: object) -> None:
        self.record |= {**known, "stage": name}
        write_atomically(self.path, self.record)

    def end(self, status: str, message: str = "", **known: object) -> None:
        self.stage("ended", status=status, message=message, **known)


def measure(job: Job, path: Path) -> None:
    """Build, solve, judge, and where the solver compiles solve once more; every failure ends up in the record."""
    from scripts.benchmarking.proposal import NotAvailableError, UnfinishedError

    recorder = Recorder(job, path)
    try:
        _measure(job, recorder)
    except NotAvailableError as error:
        recorder.end("not_available", str(error))
    except UnfinishedError as error:
        recorder.end("timeout" if error.timed_out else "failed", str(error))
    except MemoryError:
        recorder.end("failed", f"out of memory in the stage {recorder.record.get('stage')}")
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        recorder.end("failed", f"{type(error).__name__} in the stage {recorder.record.get('stage')}: {first}")


def _measure(job: Job, recorder: Recorder) -> None:
    from scripts.benchmarking.problems import problem_named
    from scripts.benchmarking.proposal import Goal
    from scripts.benchmarking.solvers import solver_named

    problem, solver = problem_named(job.problem), solver_named(job.solver)
    recorder.stage("build")
    start = time.perf_counter()
    program = problem.build(job.scenarios, job.seed)
    sizes = {name: int(getattr(program, name)) for name in ("nodes", "blocks", "decisions", "acquisitions", "pairs", "pools", "links")}
    per_node = program.blocks * (program.pairs + program.served + program.pools) + program.deferrable
    columns = program.acquisitions + program.nodes * per_node
    seconds = {"build": time.perf_counter() - start}
    recorder.stage("solve", seconds=seconds, sizes={**sizes, "columns": columns})
    goal = Goal(job.gap_relative, job.limit_s)
    proposal, cpu = _timed(solver, program, goal)
    seconds |= {**proposal.seconds, "cpu": cpu}
    ran = {name: getattr(proposal, name) for name in ("iterations", "algorithm", "detail", "device")}
    recorder.stage("judge", seconds=seconds, **ran)
    judged = _judged(job, program, proposal)
    optimum = (problem.optima or {}).get(job.scenarios) if job.seed == 0 else None
    if optimum is not None:
        judged |= _beside(optimum, judged)
    if solver.twice and judged["status"] in ("certified", "feasible"):
        recorder.stage("solve again", **judged)
        again, cpu = _timed(solver, program, goal)
        recorder.record |= {"again": {**again.seconds, "cpu": cpu}, "iterations_again": again.iterations, "detail_again": again.detail}
        repeated = _judged(job, program, again)
        if repeated["status"] != "certified" == judged["status"]:
            judged |= {"status": repeated["status"], "message": "certified at first, not when solved again"}
    recorder.stage("ended", **judged)


def _timed(solver, program, goal):
    """(proposal, processor seconds of all threads, the model's statement included): what a busy machine does not stretch much."""
    start = time.process_time()
    proposal = solver.solve(program, goal)
    return proposal, time.process_time() - start


def _judged(job: Job, program, proposal) -> dict:
    """The certificate's words on a plan and its multipliers."""
    from optimizer.program.certificate import certify

    start = time.perf_counter()
    certificate = certify(program, proposal.plan, proposal.multipliers, job.gap_relative)
    return {
        "status": certificate.status.name.lower(),
        "message": certificate.reason,
        "objective": certificate.objective,
        "lower_bound": certificate.lower_bound,
        "gap_certified": certificate.gap_relative,
        "judged_by": "plan and multipliers",
        "judge_seconds": time.perf_counter() - start,
    }


def _beside(optimum: float, judged: dict) -> dict:
    """How far the plan is from a known optimum; a certified plan or bound on the wrong side of it is a failure."""
    slack = OPTIMUM_KNOWN_TO * abs(optimum)
    known = {"optimum_error": (judged["objective"] - optimum) / abs(optimum)}
    if judged["status"] == "certified" and not (judged["lower_bound"] <= optimum + slack and judged["objective"] >= optimum - slack):
        told = f"the certificate's [{judged['lower_bound']:.6f}, {judged['objective']:.6f}] misses the known optimum {optimum:.4f}"
        known |= {"status": "failed", "message": told}
    return known


if __name__ == "__main__":
    measure(Job(**json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
