"""How fast the device's memory is, by the simplest thing that can be done with it."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp

REPEATS = 20


def triad(size_bytes: int) -> dict[str, Any]:
    """a = b + 3 c in float64 on arrays of so many bytes each: bytes per second of the fastest of REPEATS, two read and one written."""
    n = size_bytes // 8
    b, c = jnp.arange(n, dtype="float64"), jnp.ones(n)
    run = jax.jit(lambda b, c: b + 3.0 * c)
    jax.block_until_ready(run(b, c))
    fastest = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(run(b, c))
        fastest = min(fastest, time.perf_counter() - began)
    speed = 3 * 8 * n / fastest
    return {"status": "passed", "reason": f"{speed / 1e9:.0f} GB/s", "bytes_per_second": speed, "array_bytes": 8 * n}
