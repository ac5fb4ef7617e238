"""Primal-dual interior point: Mehrotra predictor-corrector with centrality correctors, one factorisation per iteration.

`interior_point(program)` is a generator of iterates; who consumes it decides when an answer is good enough (the certificate, never
the solver). It stops by itself when it can no longer make progress.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from optimizer.program import Multipliers, Plan
from optimizer.solver import newton
from optimizer.solver.layout import Layout
from optimizer.solver.postsolve import complete
from optimizer.solver.structure import State

# A corrector costs a fifth of a factorisation. Eight (with weights) took the flagship's short horizon from 38 iterations to 27; the
# usual two are enough on the reference family.
CORRECTORS = 8
GOAL_SHARE = 0.03  # of the gap that is asked for: how far mu is driven
BOLDER = 0.2  # how much longer the step is that a corrector aims at
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
        return self.layout.plan(self.state.v)

    def multipliers(self) -> Multipliers:
        return complete(self.layout, self.layout.multipliers(self.state.y))


def interior_point(layout: Layout, max_iterations: int = 100, gap_relative: float = 1e-9) -> Iterator[Iterate]:
    """Yield iterates until progress ends; the first is the starting point (iteration 0)."""
    shape, data = layout.shape, layout.data
    state = newton.starting_point(shape, data)
    steps = (0.0, 0.0, 1.0, 0, 0, 0.0)
    money = layout.scales.money
    offset = fixed_cost(layout)
    stuck = 0
    count = sum(float(a.sum()) for a in (*data.active, *data.bounded))
    for iteration in range(max_iterations + 1):
        res = newton.residuals(shape, data, state)
        mu = float(res.mu)
        if not np.isfinite(mu):
            return
        yield Iterate(
            layout, state, iteration, mu, float(res.primal_cost) * money + offset, float(res.dual_cost) * money + offset,
            float(res.primal_error), float(res.dual_error), *steps,
        )  # fmt: skip
        least_mu = GOAL_SHARE * gap_relative * max(abs(float(res.primal_cost)), 1e-3) / count
        f = newton.factor(shape, data, res.theta)
        targets = newton.affine_targets(shape, data, state)
        affine = newton.direction(shape, data, state, f, res, *targets, 1e-6)
        *targets, sigma, _ = newton.mehrotra_targets(shape, data, state, affine, res.mu, jnp.asarray(least_mu))
        best = newton.direction(shape, data, state, f, res, *targets, REFINEMENT)
        rounds = int(affine.rounds) + int(best.rounds)
        correctors, usable = 0, max(UNUSABLE, 0.1 * float(res.primal_error))
        for _ in range(CORRECTORS):
            p, d = float(best.step_primal), float(best.step_dual)
            if min(p, d) > 0.95:
                break
            targets = newton.centrality_targets(shape, data, state, best, *targets, sigma * res.mu, jnp.asarray(BOLDER))
            trial = newton.direction(shape, data, state, f, res, *targets, REFINEMENT)
            rounds += int(trial.rounds)
            if not float(trial.error) < usable:
                break
            trial = newton.weigh(shape, data, state, best, trial)
            if float(trial.step_primal) < p + 0.01 and float(trial.step_dual) < d + 0.01:
                break
            best, correctors = trial, correctors + 1
        p, d = (float(a) for a in newton.step_lengths(shape, data, state, best))
        if not np.isfinite(p + d) or not float(best.error) < usable:
            return
        state = newton.step(shape, data, state, best, p, d)
        steps = (p, d, float(sigma), correctors, rounds, float(best.error))
        stuck = stuck + 1 if max(p, d) < 1e-3 else 0
        if stuck >= 5:
            return


def fixed_cost(layout: Layout) -> float:
    """Cost that the solver does not see: the constant, and acquisitions at their lower bound or fixed."""
    p = layout.program
    return float(p.constant + p.acquisition_cost @ layout.presolved.z_lower)
