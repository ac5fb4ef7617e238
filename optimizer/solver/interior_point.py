"""Primal-dual interior point: Mehrotra predictor-corrector with centrality correctors, one factorisation per iteration.

`interior_point(program)` is a generator of iterates; who consumes it decides when an answer is good enough (the certificate, never
the solver). It stops by itself when it can no longer make progress.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.program import Multipliers, Plan
from optimizer.solver.advance import Report
from optimizer.solver.compiled import Compiled, compile_for
from optimizer.solver.layout import Layout
from optimizer.solver.postsolve import complete
from optimizer.solver.structure import Both, Data, State

GOAL_SHARE = 0.03  # of the gap that is asked for: how far mu is driven
FAR_PAST = 1e-6  # of the mu that the goal needs: what follows only costs digits (1e-2 left plans among prices of ten decades uncertified)
# Precisions, and the arithmetic that they go through. Single precision is half the memory traffic, and has digits enough for the long way
# to a gap of SINGLE_GAP.
LADDER = {"float64": ("float64",), "mixed": ("float32", "float64"), "float32": ("float32",)}
SINGLE_GAP = 1e-3
# Or until its digits end: so many iterations in a row with steps as short as that (8,334 scenarios: errors of the rows grew from a gap of
# 0.2 on, and 25 iterations went from there to 0.01).
SINGLE_SHORT, SINGLE_PATIENCE = 0.1, 3
SHORT, MOST_SHORT = 1e-3, 5  # so many steps in a row of less than that end the iteration


@dataclass(frozen=True)
class Iterate:
    """What one iteration reached; `plan` and `multipliers` fetch the point to the host when asked."""

    layout: Layout
    state: State
    iteration: int
    mu: float
    primal_cost: float  # dollars
    dual_cost: float
    primal_error: float  # relative, scaled
    dual_error: float
    step_primal: float
    step_dual: float
    sigma: float
    correctors: int
    refinement_rounds: int
    refinement_error: float

    @property
    def gap_estimate(self) -> float:
        """Relative duality gap as the iteration sees it; the certificate decides."""
        return abs(self.primal_cost - self.dual_cost) / max(1.0, abs(self.primal_cost))

    def plan(self) -> Plan:
        return self.layout.plan(Both(self.state.cells.v, self.state.own.v))

    def multipliers(self) -> Multipliers:
        return complete(self.layout, self.layout.multipliers(Both(self.state.cells.y, self.state.own.y)))


def interior_point(
    layout: Layout, max_iterations: int = 100, gap_relative: float = 1e-9, resume: State | None = None, first: int = 0,
    precision: str = "float64",
) -> Iterator[Iterate]:  # fmt: skip
    """Yield iterates until progress ends; the first is the starting point (iteration 0), or `resume` (arrays of the host or of devices, as
    in `Iterate.state`) as iteration `first`. `precision` is one of LADDER."""
    state, kinds, going = resume, LADDER[precision], False
    for kind in kinds:
        last = kind is kinds[-1]
        if resume is not None and not last and np.dtype(resume.own.y.dtype) != np.dtype(kind):
            continue  # it was beyond this
        data = as_type(layout.data, kind)
        k = compile_for(layout.shape, data)
        iterate, state, crawling = None, None if state is None else as_type(state, kind), 0
        for iterate in _iterates(layout, k, k.place(data), max_iterations, gap_relative, state, first):
            if not (going and iterate.iteration == first):  # this point was seen in the shorter numbers
                yield iterate
            crawling = crawling + 1 if max(iterate.step_primal, iterate.step_dual) < SINGLE_SHORT and iterate.iteration > first else 0
            if not last and (iterate.gap_estimate < SINGLE_GAP or crawling >= SINGLE_PATIENCE):
                break
        if iterate is not None:  # none where the shorter numbers do not hold the program's
            state, first, going = iterate.state, iterate.iteration, True


def suitable(precision: str, platform: str) -> str:
    """What "auto" stands for: mixed where float64 is emulated; on the CPU it gained nothing."""
    return precision if precision != "auto" else "mixed" if platform == "tpu" else "float64"


def compile_ahead(layout: Layout, precision: str) -> None:
    for kind in LADDER[precision]:
        compile_for(layout.shape, as_type(layout.data, kind))


def _iterates(
    layout: Layout, k: Compiled, data: Data, max_iterations: int, gap_relative: float, state: State | None, first: int
) -> Iterator[Iterate]:
    one = number(data, 1.0)
    state = k.starting_point(data, k.factor(data, k.first_theta(data), one)) if state is None else k.place(state)
    money, offset, count = layout.scales.money, fixed_cost(layout), float(data.count)
    steps: tuple = (0.0, 0.0, 1.0, 0, 0, 0.0)
    short = 0
    for iteration in range(first, max_iterations + 1):
        res = k.residuals(data, state)
        mu, primal_cost, dual_cost = float(res.mu), float(res.primal_cost), float(res.dual_cost)
        if not np.isfinite(mu):
            return
        yield Iterate(
            layout, state, iteration, mu, primal_cost * money + offset, dual_cost * money + offset, float(res.primal_error),
            float(res.dual_error), *steps,
        )  # fmt: skip
        least_mu = GOAL_SHARE * gap_relative * max(abs(primal_cost), 1e-3) / count
        if mu < FAR_PAST * least_mu:
            return
        state, report = k.advance(data, state, res, k.factor(data, res.theta, res.mu), number(data, least_mu))
        res = None  # its arrays are free before the next are made
        report = Report(*(a.item() for a in report))
        if not report.taken:
            return
        steps = tuple(report[1:])
        short = short + 1 if max(report.step_primal, report.step_dual) < SHORT else 0
        if short >= MOST_SHORT:
            return


def as_type(tree: Any, dtype: Any) -> Any:
    """Numbers of the tree in this precision; those that have it are not copied."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != dtype else a, tree)


def number(data: Data, value: float) -> np.ndarray:
    """A scalar in the arrays' type, which the devices take from the host."""
    return np.asarray(value, data.u_value.dtype)


def fixed_cost(layout: Layout) -> float:
    """Cost that the solver does not see: the constant, and acquisitions at their lower bound or fixed."""
    p = layout.program
    return float(p.constant + p.acquisition_cost @ layout.presolved.z_lower)
