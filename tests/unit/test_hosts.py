"""The command on several hosts: one answer, told once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.cli import BAD_INPUT, main

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "configs" / "cases" / "own_or_rent.yaml"


def test_two_hosts_give_one_answer_and_the_first_tells_it(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def started(rank: int) -> subprocess.Popen:
        options = ["--out", str(tmp_path / str(rank)), "--engine", "interior", "--hosts", f"{address},{rank},2"]
        command = [sys.executable, "-m", "optimizer.cli", "plan", str(CASE), *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    pair = [started(rank) for rank in (0, 1)]
    (first, first_error), (second, second_error) = (process.communicate(timeout=400) for process in pair)
    assert [process.returncode for process in pair] == [0, 0], first_error + second_error
    assert "CERTIFIED" in first and second == ""
    assert (tmp_path / "0" / "plan.json").exists() and not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("10.0.0.1:1234", "give auto, or ADDRESS:PORT,RANK,COUNT"),
        ("10.0.0.1:1234,4,4", "ranks go from 0 to 3"),
        ("auto", "could not be joined"),
    ],
)
def test_hosts_that_cannot_be_joined_are_refused(hosts: str, said: str, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM", "OMPI", "JAX_COORDINATOR", "KUBERNETES"))]:
        monkeypatch.delenv(name)
    assert main(["plan", str(CASE), "--hosts", hosts]) == BAD_INPUT
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
