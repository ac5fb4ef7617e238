"""What a solve sets up before JAX is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOW = """
import numpy, scipy.linalg
from optimizer.devices import prepare
prepare()
from threadpoolctl import threadpool_info
print(sorted(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))
"""


@pytest.mark.parametrize("chosen", [None, "2"])
def test_the_hosts_blas_has_one_thread_even_where_numpy_came_first(chosen: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    if chosen is not None:
        environment["OPENBLAS_NUM_THREADS"] = chosen
    said = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True).stdout
    threads = json.loads(said)
    assert threads and (max(threads) == 1 if chosen is None else max(threads) == min(2, os.cpu_count() or 1))


CUT = """
import os, jax
jax.config.update("jax_num_cpu_devices", 4)
{before}
from optimizer.devices import prepare
session = prepare()
print(session.devices, int(os.environ.get("NPROC", 0)) > 4)
"""


@pytest.mark.parametrize(("before", "said"), [("", "4 True"), ("jax.devices()", "1 False")])
def test_a_host_cut_in_python_gets_threads_for_its_devices_or_stays_whole(before: str, said: str) -> None:
    """Four devices on a pool of two threads waited for each other for ever."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    shown = subprocess.run([sys.executable, "-c", CUT.format(before=before)], env=environment, capture_output=True, text=True, check=True)
    if said.startswith("1") and (os.cpu_count() or 1) > 4:
        said = "4 False"  # threads enough
    assert shown.stdout.split() == said.split()


BEGIN = """
import gc, os, sys
from optimizer.devices import prepare
from optimizer.process import begin_command, end_of_start
usual = gc.get_threshold()
begin_command()
begin_command()
during = gc.get_threshold()
(prepare if "solve" in sys.argv else end_of_start)()
print(during[0] > usual[0], gc.get_threshold() == usual, gc.get_freeze_count() > 0, os.environ["OPENBLAS_NUM_THREADS"])
"""


@pytest.mark.parametrize("arguments", [["solve"], []])
def test_garbage_is_collected_as_usual_once_a_command_has_started(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    shown = subprocess.run([sys.executable, "-c", BEGIN, *arguments], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", "True", "True", "1"]
