"""The processes of `end_to_end`, one after another: every row once per round, so that both sides of a ratio meet the same machine.

cold: an empty directory of compiled code; warm: the same command again with what the last cold one left there. Python's own compiled
modules and the files that the system holds in memory are there for both, and for the peer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from scripts.benchmarking.end_to_end import ENGINES, PEER
from scripts.benchmarking.machine import ROOT, code_digest
from scripts.benchmarking.measure import Job, write_atomically
from scripts.benchmarking.processes import GRACE_S

SHORT_S = 5.0  # a row that took longer once is not repeated
STATES = ("cold", "warm")


def rows_of(jobs: list[Job]) -> list[list[tuple[Job, str]]]:
    """For every problem, size and seed its rows: (job, state); the peer compiles nothing and has no state. Raises ValueError for a solver
    that is no row."""
    for job in jobs:
        if job.solver not in ENGINES and job.solver != PEER:
            raise ValueError(f"{job.solver} is not measured from end to end; the rows are {', '.join((*ENGINES, PEER))}")
    groups = [list(group) for _, group in groupby(jobs, lambda job: (job.problem, job.scenarios, job.seed))]
    return [[(job, state) for job in group for state in (("",) if job.solver == PEER else STATES)] for group in groups]


def run_rounds(
    jobs: list[Job], repeat: int, out: Path, records: list[dict], told: Callable[[str], None], run: Callable[..., dict] | None = None
) -> list[dict]:
    """Measure what `records` lacks; a problem, size and seed of which some rows are missing is measured anew. The file is complete after
    every process."""
    run, groups = run or run_process, rows_of(jobs)
    for number, rows in enumerate(groups, 1):
        keys, known = {_key(job, state) for job, state in rows}, {record["key"] for record in records}
        if keys <= known:
            told(f"[{number}/{len(groups)}] {rows[0][0].key}: known from {out}")
            continue
        records = [record for record in records if record["key"] not in keys]
        with tempfile.TemporaryDirectory(prefix="benchmark-cache-") as caches:
            longest: dict[str, float] = {}
            for repetition in range(repeat):
                for job, state in rows:
                    key = _key(job, state)
                    if longest.get(key, 0.0) > SHORT_S:
                        continue
                    cache = _cache(Path(caches), job, state, repetition)
                    record = {**asdict(job), "key": key, "state": state, "repetition": repetition, "code": code_digest(), **run(job, cache)}
                    longest[key] = max(longest.get(key, 0.0), record["total"]["wall"])
                    records = [*records, record]
                    write_atomically(out, {"records": records})
                    told(f"[{number}/{len(groups)}] {key} #{repetition + 1}: {one_line(record)}")
    return records


def _key(job: Job, state: str) -> str:
    return f"{job.key}/{state}" if state else job.key


def _cache(caches: Path, job: Job, state: str, repetition: int) -> Path:
    """A new directory for what is cold, the last cold one's for what is warm."""
    if state != "warm":
        made = caches / f"{job.solver}-{repetition:04d}"
        made.mkdir()
        return made
    return max(caches.glob(f"{job.solver}-*"))


def run_process(job: Job, cache: Path) -> dict:
    """One process from its start to its end: what it wrote, and `total`, the interpreter's end included."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        order, answer, errors = (Path(folder) / name for name in ("order.json", "record.json", "errors.txt"))
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "CAPACITY_CACHE": str(cache), "PYTHONPATH": path}
        before, started = _cpu_of_children(), time.monotonic()
        order.write_text(json.dumps({"job": asdict(job), "started_s": started}))
        with errors.open("w") as sink:
            command = [sys.executable, "-m", "scripts.benchmarking.end_to_end", str(order), str(answer)]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink, start_new_session=True)
            try:
                process.wait(job.limit_s + GRACE_S)
                late = False
            except subprocess.TimeoutExpired:
                late = True
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        total = {"wall": time.monotonic() - started, "cpu": _cpu_of_children() - before}
        if answer.exists():
            return {**json.loads(answer.read_text()), "total": total}
        last = (errors.read_text().strip().splitlines() or [""])[-1]
        message = f"stopped after {job.limit_s:.0f} s" if late else f"ended with code {process.returncode}. {last}"
        return {"status": "timeout" if late else "failed", "message": message, "seconds": {}, "total": total}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_line(record: dict) -> str:
    """A record in a few words."""
    if record["status"] != "certified":
        return f"{record['status']}: {record['message']}"
    phases = ", ".join(f"{name} {spent['wall']:.2f} ({spent['cpu']:.2f})" for name, spent in record["seconds"].items())
    return f"{record['engine']}, {record['iterations']} iterations, gap {record['gap_certified']:.1e}; wall (processor) s: {phases}"
