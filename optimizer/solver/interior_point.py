"""Primal-dual interior point: Mehrotra predictor-corrector with centrality correctors, one factorisation per iteration.

`interior_point(program)` is a generator of iterates; who consumes it decides when an answer is good enough (the certificate, never
the solver). It stops by itself when it can no longer make progress.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optimizer.program import Multipliers, Plan
from optimizer.solver.compiled import Compiled, compile_for
from optimizer.solver.layout import Layout
from optimizer.solver.newton import Direction, Residual
from optimizer.solver.postsolve import complete
from optimizer.solver.refinement import refine
from optimizer.solver.structure import Both, Data, State
from optimizer.solver.substitution import Factor

# A corrector costs a fifth of a factorisation. On the flagship two took 40 iterations and 24.4 s, three 37 and 24.4 s, eight 37-39 and
# 28-30 s.
CORRECTORS = 3
GOAL_SHARE = 0.03  # of the gap that is asked for: how far mu is driven
BOLDER = 0.4  # how much longer the step is that a corrector aims at; 0.2 took 3-5 iterations more (nine quarters)
FAILURES = 1  # correctors without gain that are passed over: the next pulls harder at the same products; 0 took 2 more
OWN_RESIDUAL = 1e-12  # of the acquisitions' equations, in units of a typical cost, at the end; looser while mu or the dual error is large
REFINEMENT = 1e-9  # residual of the rows, relative to the right-hand side of the Newton system
UNUSABLE = 1e-7  # a direction that would add a larger relative error to the rows is not taken, unless the rows are worse already


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
    layout: Layout, max_iterations: int = 100, gap_relative: float = 1e-9, resume: State | None = None, first: int = 0
) -> Iterator[Iterate]:
    """Yield iterates until progress ends; the first is the starting point (iteration 0), or `resume` (arrays of the host or of devices, as
    in `Iterate.state`) as iteration `first`."""
    k = compile_for(layout.shape, layout.data)
    data = k.place(layout.data)
    state = starting_point(k, data) if resume is None else k.place(resume)
    steps = (0.0, 0.0, 1.0, 0, 0, 0.0)
    money = layout.scales.money
    offset = fixed_cost(layout)
    stuck = 0
    count = float(data.count)
    for iteration in range(first, max_iterations + 1):
        res = k.residuals(data, state)
        mu = float(res.mu)
        if not np.isfinite(mu):
            return
        yield Iterate(
            layout, state, iteration, mu, float(res.primal_cost) * money + offset, float(res.dual_cost) * money + offset,
            float(res.primal_error), float(res.dual_error), *steps,
        )  # fmt: skip
        least_mu = GOAL_SHARE * gap_relative * max(abs(float(res.primal_cost)), 1e-3) / count
        f = k.factor(data, res.theta, res.mu)
        targets = k.affine_targets(data, state)
        affine = direction(k, data, state, f, res, targets, 1e-6)
        targets, sigma = k.mehrotra_targets(data, state, affine, res.mu, number(data, least_mu))
        centre = number(data, float(sigma) * mu)
        best = direction(k, data, state, f, res, targets, REFINEMENT)
        rounds = int(affine.rounds) + int(best.rounds)
        correctors, failures, usable = 0, 0, max(UNUSABLE, 0.1 * float(res.primal_error))
        for _ in range(CORRECTORS):
            p, d = float(best.step_primal), float(best.step_dual)
            if min(p, d) > 0.95:
                break
            targets = k.centrality_targets(data, state, best, targets, centre, number(data, BOLDER))
            trial = direction(k, data, state, f, res, targets, REFINEMENT)
            rounds += int(trial.rounds)
            if not float(trial.error) < usable:
                break
            trial = k.weigh(data, state, best, trial)
            if float(trial.step_primal) >= p + 0.01 or float(trial.step_dual) >= d + 0.01:
                best, correctors = trial, correctors + 1
            elif (failures := failures + 1) > FAILURES:
                break
        p, d = (float(a) for a in k.step_lengths(data, state, best))
        if not np.isfinite(p + d) or not float(best.error) < usable:
            return
        state = k.step(data, state, best, number(data, p), number(data, d))
        steps = (p, d, float(sigma), correctors, rounds, float(best.error))
        stuck = stuck + 1 if max(p, d) < 1e-3 else 0
        if stuck >= 5:
            return


def number(data: Data, value: float) -> np.ndarray:
    """A scalar in the arrays' type, which the devices take from the host."""
    return np.asarray(value, data.u_value.dtype)


def direction(k: Compiled, data: Data, s: State, f: Factor, res: Residual, targets: Both, tolerance: float) -> Direction:
    """Newton direction for the given complementarity targets; `tolerance` is relative to the right-hand side of the normal equations."""
    g, rhs = k.right_hand_side(data, s, res, targets)
    own = max(min(max(1e-4 * float(res.mu), OWN_RESIDUAL), 1e-8), 1e-2 * float(res.dual_size))
    solved = refine(k, data, f, rhs, tolerance, own)
    return k.expand(data, s, res, g, solved, targets)


def starting_point(k: Compiled, data: Data) -> State:
    """Mehrotra's least-squares point, lifted off the bounds: see `start`."""
    f = k.factor(data, k.first_theta(data), number(data, 1.0))
    primal = refine(k, data, f, Both(data.cells.terms.rhs, data.own.rhs), 1e-6, 1e-6)
    dual = refine(k, data, f, k.weighted_cost(data), 1e-6, 1e-6)
    return k.lift(data, primal.y, dual.y)


def fixed_cost(layout: Layout) -> float:
    """Cost that the solver does not see: the constant, and acquisitions at their lower bound or fixed."""
    p = layout.program
    return float(p.constant + p.acquisition_cost @ layout.presolved.z_lower)
