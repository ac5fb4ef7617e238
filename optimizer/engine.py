"""Which engine a program goes to: the one that is expected to be done first in a process that has compiled nothing.

The rule sees the program and the device, never a clock nor what happens to be compiled, so that the same case gets the same plan again.
docs/engines.md has the measurements that its numbers were fitted to.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solution import INTERIOR, SIMPLEX
from optimizer.xla_flags import has_begun

# Seconds of one core of 2026.
PIVOTS_PER_ROW = 1.7  # 0.5 to 2.1 over every problem of the benchmark
PIVOT_S, PIVOT_ROWS = 25e-6, 7e-12  # of a pivot, and per rows^1.5
COMPILE_S = 12.0
ITERATIONS = 25
ITERATION_S = 8e-3
PLACEMENT_S = 3.2e-7  # of an iteration, per entry of placement
COUPLING_S = 8e-11  # of an iteration, per cube of the side of the dense system between the nodes
ACCELERATED = 0.05  # of the two above, on an accelerator
EFFORT = 12  # pivots per row after which the simplex is given up: six times the most that was needed
LEAST_PIVOTS = 5_000
NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Choice:
    """`engine`: INTERIOR or SIMPLEX; `reason` in words; `size` of the extensive form in words; `most_pivots` of the simplex."""

    engine: str
    reason: str
    size: str
    most_pivots: int


@dataclass(frozen=True)
class Work:
    """What a program is made of, as far as either engine's seconds depend on it."""

    rows: int
    columns: int
    placements: int
    coupling: int  # side of the dense system between the nodes

    @staticmethod
    def of(p: Program) -> Work:
        per_node = p.blocks * (p.served + p.pools) + p.deferrable + p.sides
        columns = p.blocks * (p.pairs + p.served + p.pools) + p.deferrable + p.sides
        outputs = p.states * (p.pools + p.sides) + p.limits + p.links
        return Work(
            p.nodes * per_node + p.limits + p.links, p.nodes * columns + p.acquisitions + p.links, p.nodes * p.blocks * p.pairs,
            min(p.acquisitions, outputs),
        )  # fmt: skip

    @property
    def simplex_s(self) -> float:
        """Expected, certificate included."""
        return PIVOTS_PER_ROW * self.rows * (PIVOT_S + PIVOT_ROWS * self.rows**1.5)

    def interior_s(self, accelerated: bool) -> float:
        """Expected in a process that has compiled nothing."""
        each = (PLACEMENT_S * self.placements + COUPLING_S * self.coupling**3) * (ACCELERATED if accelerated else 1.0)
        return COMPILE_S + ITERATIONS * (ITERATION_S + each)


def choose(program: Program, settings: Settings) -> Choice:
    """The engine that the settings name, or the one that the rule expects to be done first."""
    work = Work.of(program)
    size = f"{work.rows:,} rows and {work.columns:,} columns"
    if settings.engine != "auto":
        return Choice(settings.engine, "asked for", size, NO_LIMIT)
    if settings.precision != "auto":
        return Choice(INTERIOR, f"the precision {settings.precision} is one of the interior point", size, NO_LIMIT)
    simplex_s, interior_s = work.simplex_s, work.interior_s(has_accelerator())
    engine = SIMPLEX if simplex_s <= interior_s else INTERIOR
    reason = f"{size}: about {_told(simplex_s)} expected by simplex, {_told(interior_s)} by interior point where nothing is compiled"
    return Choice(engine, reason, size, max(LEAST_PIVOTS, EFFORT * work.rows))


def _told(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:,.0f} s"


def has_accelerator() -> bool:
    """Whether JAX would compute on one. Found out without importing JAX, and without starting its devices."""
    if has_begun():
        import jax

        return jax.default_backend() != "cpu"
    config = getattr(sys.modules.get("jax"), "config", None)
    asked = getattr(config, "jax_platforms", None) or os.environ.get("JAX_PLATFORMS", "")
    if asked:
        return any(name.strip() in ("cuda", "gpu", "rocm", "tpu") for name in asked.split(","))
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio/0")
    if not any(Path(device).exists() for device in devices):
        return False
    return any(importlib.util.find_spec(plugin) is not None for plugin in ("jax_plugins", "libtpu"))
