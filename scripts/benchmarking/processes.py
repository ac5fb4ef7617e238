"""Measurements in processes of their own: clean peak memory, a limit that holds, and a record of whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from scripts.benchmarking.machine import ROOT, code_digest, machine
from scripts.benchmarking.measure import Job, write_atomically

POLL_S = 0.05
GRACE_S = 10.0  # beyond the limit, for solvers that watch the clock themselves


def run_job(job: Job, environment: dict[str, str] | None = None) -> dict:
    """The record of one measurement. `environment` is added to this process's own."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        order, answer, errors = (Path(folder) / name for name in ("job.json", "record.json", "errors.txt"))
        order.write_text(json.dumps(asdict(job)))
        command = [sys.executable, "-m", "scripts.benchmarking.measure", str(order), str(answer)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        started = time.time()
        with errors.open("w") as sink:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **(environment or {}), "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=sink,
                start_new_session=True,
            )  # fmt: skip
            try:
                peak, killed_in = _watch(process, answer, job.limit_s)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        record = _read(answer) or {**asdict(job), "key": job.key, **machine(), "seconds": {}}
        record |= {"peak_bytes": peak, "started_unix_s": started, "process_seconds": time.time() - started}
        return _explained(record, killed_in, process.returncode, errors.read_text(), job.limit_s)


def _watch(process: subprocess.Popen, answer: Path, limit_s: float) -> tuple[int, str]:
    """(peak resident bytes, the stage in which the limit ran out or "")."""
    peak, stage, since = 0, "start", time.monotonic()
    while process.poll() is None:
        peak = max(peak, peak_bytes(process.pid))
        found = str((_read(answer) or {}).get("stage", stage)) if answer.exists() else stage
        if found != stage:
            stage, since = found, time.monotonic()
        if time.monotonic() - since > limit_s + GRACE_S:
            return peak, stage
        time.sleep(POLL_S)
    return peak, ""


def peak_bytes(pid: int) -> int:
    """The most memory that a running process ever held resident; 0 where the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def _explained(record: dict, killed_in: str, code: int, errors: str, limit_s: float) -> dict:
    """The record with a status, also for a process that did not live to write one. A first solve that was certified stays so."""
    last = (errors.strip().splitlines() or [""])[-1]
    if killed_in:
        told = f"stopped after {limit_s:.0f} s in the stage {killed_in}"
        record |= {"message": told} if killed_in == "solve again" else {"status": "timeout", "message": told}
    elif record.get("stage") != "ended":
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        kernel = " (SIGKILL that we did not send: the system ran out of memory, or somebody stopped it)" if code == -signal.SIGKILL else ""
        record |= {"status": "failed", "message": f"{how} in the stage {record.get('stage', 'start')}{kernel}. {last}".strip()}
    return record


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def read_results(path: Path) -> list[dict]:
    """The records of an earlier run. Raises ValueError if the file holds something else."""
    if not path.exists():
        return []
    found = _read(path)
    if not isinstance(found, dict) or not isinstance(found.get("records"), list):
        raise ValueError(f"{path} holds no results of a benchmark; choose another --out or remove it")
    return found["records"]


def run_all(jobs: list[Job], out: Path, records: list[dict], told: Callable[[str], None], environment: dict[str, str]) -> list[dict]:
    """Measure what `records` lacks, one after another; the file is complete after every job, so a stopped run can be resumed."""
    done, code = {record["key"]: record.get("code") for record in records}, code_digest()
    for number, job in enumerate(jobs, 1):
        if job.key in done:
            told(f"[{number}/{len(jobs)}] {job.key}: known from {out}{'' if done[job.key] == code else ', measured with other code'}")
            continue
        record = run_job(job, environment)
        records = [*records, record]
        write_atomically(out, {"records": records})
        told(f"[{number}/{len(jobs)}] {job.key}: {one_line(record)}")
    return records


def one_line(record: dict) -> str:
    """A record in a few words."""
    if record["status"] not in ("certified", "feasible"):
        return f"{record['status']}: {record['message']}"
    seconds = record.get("again") or record["seconds"]
    return f"{record['status']}, gap {record['gap_certified']:.1e}, {record['iterations']} iterations, {seconds['total']:.3f} s"
