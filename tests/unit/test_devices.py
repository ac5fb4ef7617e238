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
