"""One program solved on the device and judged again in NumPy, with its times, its memory and what its compiler counts."""

from __future__ import annotations

import inspect
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax

from optimizer.devices import prepare
from optimizer.program.certificate import Status, certify
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.solve import Solution, solve
from optimizer.solver.compiled import compile_for
from optimizer.solver.interior_point import LADDER, as_type, compile_ahead, suitable
from optimizer.solver.layout import Layout, make_layout
from scripts.benchmarking.processes import peak_bytes

Say = Callable[[str], None]
GAP, GAP_SINGLE = 1e-6, 1e-4
ENOUGH_SINGLE = 1e-2  # float32 alone ends where its digits do, at gaps of 1e-4 to 4e-3 (docs/performance.md)


def settings_of(precision: str = "float64", **more: Any) -> Settings:
    """For the interior point, on one device, whatever else the settings offer."""
    usual: dict[str, Any] = {"gap_relative": GAP_SINGLE if precision == "float32" else GAP, "devices": 1, "precision": precision, **more}
    if any(field.name == "engine" for field in fields(Settings)):
        usual["engine"] = "interior"
    return replace(Settings(), **usual)


def solved(name: str, program: Program, settings: Settings, say: Say) -> dict[str, Any]:
    """Status, bracket, iterations, seconds, milliseconds per iteration, peak memory of the process so far (per node only where this solve
    raised it); "passed" where NumPy's certificate certifies."""
    session, before, began = prepare(), peak(), time.perf_counter()
    layout = make_layout(program, 1, session.platform == "cpu")
    say(f"{name}: {layout.shape.nodes:,} lanes of nodes, compiling")
    laid = time.perf_counter()
    with session.counting() as counter:
        compile_ahead(layout, suitable(settings.precision, session.platform))
    compiled = time.perf_counter()
    say(f"{name}: {'compiled' if counter.count else 'loaded'} in {compiled - laid:.1f} s, solving")
    solution = solve(program, settings)
    told = judged(program, solution, settings)
    per_iteration = milliseconds(solution)
    told |= {
        "iterations": solution.iterations, "seconds": {**solution.seconds, "layout": laid - began, "compile": compiled - laid},
        "compilations": counter.count, "nodes": program.nodes, "lanes": layout.shape.nodes, "ms_per_iteration": per_iteration,
        "us_per_node_and_iteration": 1e3 * per_iteration / program.nodes, "peak_bytes": peak(), "notes": list(solution.notes),
        "precision": settings.precision, "device": solution.device,
    }  # fmt: skip
    raised = told["peak_bytes"] is not None and told["peak_bytes"] > (before or 0)
    told["peak_bytes_per_node"] = told["peak_bytes"] / layout.shape.nodes if raised else None
    return told | counted(layout, settings.precision, session.platform)


def judged(program: Program, solution: Solution, settings: Settings) -> dict[str, Any]:
    """The certificate once more, from the plan and the multipliers alone."""
    own = solution.certificate
    if own.plan is None or own.multipliers is None:
        return {"status": "failed", "reason": f"{own.status.name}: {own.reason}", "certificate": own.status.name}
    found = certify(program, own.plan, own.multipliers, settings.gap_relative)
    told = {
        "certificate": found.status.name, "objective": found.objective, "lower_bound": found.lower_bound, "gap": found.gap_relative,
        "solver_certificate": own.status.name,
    }  # fmt: skip
    rough = settings.precision == "float32" and found.status is Status.FEASIBLE and found.gap_relative < ENOUGH_SINGLE
    if found.status is Status.CERTIFIED or rough:
        return {"status": "passed", "reason": f"gap {found.gap_relative:.1e}, {solution.iterations} iterations", **told}
    return {"status": "failed", "reason": f"{found.status.name}: {found.reason}", **told}


def milliseconds(solution: Solution) -> float:
    """Median over the iterations that asked for no certificate: the first is the starting point."""
    steps = [(b.seconds - a.seconds, b.certified_gap_relative is None) for a, b in pairwise(solution.log)]
    usual = [seconds for seconds, plain in steps if plain] or [seconds for seconds, _ in steps]
    return 1e3 * statistics.median(usual) if usual else float("nan")


def peak() -> int | None:
    """The most bytes that were in use on the device (of the process, on a CPU); None where nobody tells."""
    if jax.default_backend() == "cpu":
        return peak_bytes(os.getpid()) or None
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def counted(layout: Layout, precision: str, platform: str) -> dict[str, Any]:
    """Bytes that each function reads and writes, as the compiler counts them (the body of a loop once), in the last arithmetic."""
    kind = LADDER[suitable(precision, platform)][-1]
    made = compile_for(layout.shape, as_type(layout.data, kind))
    functions = dict(inspect.getclosurevars(made.factor).nonlocals.get("built", {}))
    return {"counted_bytes": {name: found for name, function in functions.items() if (found := bytes_of(function)) is not None}}


def bytes_of(function: Any) -> float | None:
    if isinstance(function, partial):  # loaded from a file, and tried at its first call
        function = function.func.functions[function.args[0]]
    try:
        found = function.cost_analysis()
        found = found[0] if isinstance(found, list) else found
        return float(found["bytes accessed"])
    except Exception:  # not every backend counts
        return None
