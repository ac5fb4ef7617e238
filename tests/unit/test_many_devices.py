"""One solve shared by several devices, and by two processes: the same answer as on one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Everything is cut as a large program would be: many chunks, all of them shared.
SOLVE = """
import json, sys
from optimizer.devices import prepare
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver import cut, layout
from tests.oracle.random_programs import FAMILIES, random_program
family, counts, address, process = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
if address:
    import jax
    jax.distributed.initialize(address, 2, process)
cut.LEAST_BYTES, cut.CHUNK_BYTES, cut.LEAST_LANES, layout.DEVICE_BYTES = 0, 1, 1, 1
layout.SMALL = (dict.fromkeys(layout.SMALL[0], 0),)
program = random_program(0, **FAMILIES[family])
for count in counts:
    solution = solve(program, Settings(engine="interior", devices=count))
    shape = layout.make_layout(program, count).shape
    c = solution.certificate
    chunks = shape.groups * shape.chunks
    print("answer", json.dumps([shape.devices, solution.status.name, c.objective, c.lower_bound, solution.iterations, chunks]))
"""


def started(family: str, devices: int, counts: list[int], address: str = "", process: int = 0) -> subprocess.Popen:
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SOLVE, family, json.dumps(counts), address, str(process)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> list[list]:
    out, error = process.communicate(timeout=400)
    assert process.returncode == 0, error[-2000:]
    return [json.loads(line.removeprefix("answer ")) for line in out.splitlines() if line.startswith("answer ")]


def test_devices_agree() -> None:
    """The order of a sum does not depend on who forms its parts."""
    found = answer(started("windows", 8, [1, 2, 8]))
    assert [devices for devices, *_ in found] == [1, 2, 8]
    one = found[0]
    assert one[1] == "CERTIFIED" and one[5] >= 8
    for other in found[1:]:
        assert other[1] == "CERTIFIED"
        assert other[2:4] == pytest.approx(one[2:4], rel=1e-12)


def test_two_processes_agree_with_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [started("windows", 2, [4], address, k) for k in range(2)]
    found = [answer(process)[0] for process in pair]
    alone = answer(started("windows", 1, [1]))[0]
    assert [one[0] for one in found] == [4, 4] and found[0] == found[1] and found[0][1] == "CERTIFIED"
    assert found[0][2:4] == pytest.approx(alone[2:4], rel=1e-12)
