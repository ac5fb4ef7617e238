"""What is checked and measured, in this order, the largest last; and what each part is thought to take, from those before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from optimizer.devices import prepare
from optimizer.solver.interior_point import compile_ahead
from optimizer.solver.layout import make_layout
from scripts.accelerator.bracket import program_of
from scripts.accelerator.ceiling import triad
from scripts.accelerator.record import Part, Record
from scripts.accelerator.solving import settings_of, solved
from scripts.benchmarking.machine import ROOT

COMPILE_S = 60.0  # of a shape, before the first has been measured
SHAPES_AT_ONCE = 3  # each takes several threads
ROOM = 0.85  # of a memory that may be filled
USUAL_BYTES = 64 * 3072  # per node of the family, before it has been measured
HOST_BYTES_PER_NODE = 60_000  # of the program, the plan and the certificate, for the family
ITERATIONS = 60  # that a large member is thought to take
LEAST_ITERATIONS = 4  # worth a measurement


@dataclass(frozen=True)
class Sizes:
    """`agreement`: problems that the CPU solves as well; `scenarios` of the reference family, growing; `precisions` at one of them; `case`:
    the large case; `largest`: scenarios, largest first; `triad_bytes` of one array."""

    agreement: tuple[str, ...] = ("reference:20", "two_clouds", "own_or_rent")
    scenarios: tuple[int, ...] = (200, 2000)
    precisions_at: int = 200
    case: str = "frontier_lab"
    largest: tuple[int, ...] = (83_334, 41_667, 20_834, 8_334)
    triad_bytes: int = 1 << 30


SMALL = Sizes(("own_or_rent", "two_clouds"), (1, 2), 1, "two_clouds", (4, 3), 1 << 26)


class Check:
    """The parts for a record. The CPU's brackets are computed in a process of their own meanwhile."""

    def __init__(self, record: Record, sizes: Sizes, at_once: bool = False) -> None:
        """`at_once`: compile all shapes but the largest first, several at a time: on a CPU that would be what the solves wait for."""
        self.record, self.sizes, self.at_once = record, sizes, at_once
        self.compiled: dict[str, float] = {}  # seconds, by problem
        self.answers = record.path.with_name(f"{record.path.stem}.cpu.json")
        self.process: subprocess.Popen | None = None

    def parts(self) -> list[Part]:
        s = self.sizes
        solves = [*s.agreement, *(f"reference:{n}" for n in s.scenarios)]
        several = [f"precision:{kind}" for kind in ("mixed", "float32")]
        return [
            Part("ceiling", lambda: 3.0, lambda: triad(s.triad_bytes)),
            *([Part("compile", lambda: 2 * COMPILE_S, partial(self._compile_at_once, [*solves, s.case]))] if self.at_once else []),
            *(Part(name, self._estimate(name), self._solve(name)) for name in solves),
            *(Part(name, self._estimate(f"reference:{s.precisions_at}"), self._in_precision(name)) for name in several),
            Part("agreement", lambda: 1.0, self._agreement),
            Part(f"case:{s.case}", lambda: self._compile_s(s.case) + 60.0 * (s.case == "frontier_lab"), self._solve(s.case)),
            Part("largest", self._largest_estimate, self._largest),
        ]

    def begin_on_cpu(self, and_end: bool) -> None:
        """Small programs, on cores that an accelerator leaves idle; `and_end`: before anything else, where there is none."""
        self.answers.unlink(missing_ok=True)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "scripts.accelerator.bracket", str(self.answers.resolve()), *self.sizes.agreement]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
        self.record.say(f"the brackets on the CPU{', first' if and_end else ', in a process of their own'}")
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if and_end:
            self._wait_for_cpu()

    def _wait_for_cpu(self) -> None:
        while self.process is not None and self.process.poll() is None and self.record.left_s() > 10.0:
            time.sleep(0.2)

    def end_on_cpu(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        self.answers.unlink(missing_ok=True)

    # compilation ------------------------------------------------------------------------------------------------------------------
    def _compile_at_once(self, names: list[str]) -> dict[str, Any]:
        jobs = [*((name, "float64") for name in dict.fromkeys(names)), (f"reference:{self.sizes.precisions_at}", "float32")]
        with ThreadPoolExecutor(SHAPES_AT_ONCE) as pool:
            for (name, kind), seconds in zip(jobs, pool.map(lambda job: compile_alone(*job), jobs), strict=True):
                self.record.say(f"compiled {name} in {kind}: {seconds:.1f} s beside others")
                self.compiled[name] = max(seconds, self.compiled.get(name, 0.0))
        return {"status": "passed", "reason": f"{len(jobs)} shapes", "seconds_of_shapes": dict(self.compiled)}

    # solves -----------------------------------------------------------------------------------------------------------------------
    def _solve(self, name: str, **more: Any) -> Callable[[], dict[str, Any]]:
        def run() -> dict[str, Any]:
            began = time.perf_counter()
            program = program_of(name)
            built = time.perf_counter() - began
            self.record.say(f"{name}: built in {built:.1f} s, {program.nodes:,} nodes")
            found = solved(name, program, settings_of(**more), self.record.say)
            return self._against_ceiling(found | {"build_seconds": built})

        return run

    def _in_precision(self, part: str) -> Callable[[], dict[str, Any]]:
        return self._solve(f"reference:{self.sizes.precisions_at}", precision=part.partition(":")[2])

    def _against_ceiling(self, found: dict[str, Any]) -> dict[str, Any]:
        """What the memory could have moved in the time of an iteration."""
        speed = self.record.parts.get("ceiling", {}).get("bytes_per_second")
        if speed and found.get("ms_per_iteration"):
            room = speed * 1e-3 * found["ms_per_iteration"]
            found["ceiling_bytes_per_node_and_iteration"] = room / found["nodes"]
            counts = found.get("counted_bytes", {})
            if counts:
                found["counted_bytes_per_node"] = sum(counts.values()) / found["nodes"]
                found["counted_share_of_ceiling"] = sum(counts.get(name, 0.0) for name in IN_ITERATION) / room
        return found

    # estimates --------------------------------------------------------------------------------------------------------------------
    def _compile_s(self, name: str = "") -> float:
        if name in self.compiled:
            return 0.0
        seen = [found["seconds"]["compile"] for found in self.record.parts.values() if "seconds" in found]
        return 1.2 * max([*seen, *self.compiled.values()], default=COMPILE_S)

    def _estimate(self, name: str) -> Callable[[], float]:
        def seconds() -> float:
            scenarios = int(name.partition(":")[2] or 0)
            return self._compile_s(name) + 5.0 + 12 * scenarios * ITERATIONS * self._node_seconds()

        return seconds

    def _node_seconds(self) -> float:
        """Of an iteration per node, by the largest member that has been solved."""
        seen = [f for name, f in self.record.parts.items() if name.startswith("reference:") and f.get("ms_per_iteration")]
        return 1e-6 * seen[-1]["us_per_node_and_iteration"] if seen else 2e-6

    # agreement --------------------------------------------------------------------------------------------------------------------
    def _agreement(self) -> dict[str, Any]:
        """Every bracket [lower bound, objective] here meets the CPU's, and both are certified."""
        if not any("objective" in self.record.parts.get(name, {}) for name in self.sizes.agreement):
            return {"status": "skipped", "reason": "none of its programs was solved here"}
        self._wait_for_cpu()
        cpu = json.loads(self.answers.read_text()) if self.answers.exists() else {}
        wrong, compared = [], {}
        for name in self.sizes.agreement:
            here, there = self.record.parts.get(name, {}), cpu.get(name, {})
            if not {"objective", "lower_bound"} <= here.keys() & there.keys():
                wrong.append(f"{name} has no bracket {'here' if there else 'on the CPU'}")
                continue
            compared[name] = {"here": [here["lower_bound"], here["objective"]], "cpu": [there["lower_bound"], there["objective"]]}
            if max(here["lower_bound"], there["lower_bound"]) > min(here["objective"], there["objective"]):
                wrong.append(f"the brackets of {name} do not meet")
            if here["certificate"] != "CERTIFIED" or there["certificate"] != "CERTIFIED":
                wrong.append(f"{name} is {here['certificate']} here and {there['certificate']} on the CPU")
        told = "; ".join(wrong) or f"{len(compared)} brackets meet those of the CPU"
        return {"status": "failed" if wrong else "passed", "reason": told, "brackets": compared}

    # the largest ------------------------------------------------------------------------------------------------------------------
    def _largest_estimate(self) -> float:
        return self._compile_s() + self._largest_seconds(LEAST_ITERATIONS, self.sizes.largest[-1])

    def _largest_seconds(self, iterations: int, scenarios: int) -> float:
        """Build, layout and certificates by those of the largest member so far; no compilation."""
        seen = [f for name, f in self.record.parts.items() if name.startswith("reference:") and "seconds" in f]
        nodes, host = 12 * scenarios, 0.0
        if seen:
            at = seen[-1]
            host = (at["build_seconds"] + at["seconds"]["layout"] + 2 * at["seconds"]["certify"]) * nodes / at["nodes"]
        return 10.0 + host + iterations * nodes * self._node_seconds()

    def _largest(self) -> dict[str, Any]:
        """The largest member that the memories hold and that leaves time for some iterations; fewer than it needs where time is short."""
        members = [found for name, found in self.record.parts.items() if name.startswith("reference:")]
        per_node = next((found["peak_bytes_per_node"] for found in reversed(members) if found.get("peak_bytes_per_node")), USUAL_BYTES)
        memory = (jax.devices()[0].memory_stats() or {}).get("bytes_limit") or host_bytes()
        left, tried = self.record.left_s() - self._compile_s() - 10.0, []
        for scenarios in self.sizes.largest:
            nodes = 12 * scenarios
            if nodes * per_node > ROOM * memory or nodes * HOST_BYTES_PER_NODE > ROOM * host_bytes():
                tried.append(f"{nodes:,} nodes do not fit into memory")
                continue
            if self._largest_seconds(LEAST_ITERATIONS, scenarios) > left:
                tried.append(f"{nodes:,} nodes do not fit into {left:.0f} s")
                continue
            fixed, each = self._largest_seconds(0, scenarios), nodes * self._node_seconds()
            iterations = int(min(100, (left - fixed) / each))
            found = self._solve(f"reference:{scenarios}", max_iterations=max(LEAST_ITERATIONS, iterations))()
            if found["status"] == "failed" and found.get("iterations", 0) >= iterations:
                found |= {"status": "passed", "reason": f"measured over the {iterations} iterations that fitted; {found['reason']}"}
            return found | {"scenarios": scenarios, "larger": tried, "bytes_per_node_expected": per_node}
        return {"status": "skipped", "reason": "; ".join(tried)}


def compile_alone(name: str, precision: str) -> float:
    """Seconds for the shape of a problem, as the solve will ask for it."""
    layout = make_layout(program_of(name), 1, prepare().platform == "cpu")
    began = time.perf_counter()
    compile_ahead(layout, precision)
    return time.perf_counter() - began


IN_ITERATION = ("advance", "residuals", "factor_cells", "close", "add_border")


def host_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
