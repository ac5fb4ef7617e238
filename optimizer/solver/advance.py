"""One iteration behind its factorisation: predictor, Mehrotra's corrector, centrality correctors, the step.

It runs on the devices as a whole. Led by the host, call by call, a small program spent more time between the calls than in them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizer.solver.newton import Direction, Move, Residual, expand, right_hand_side, step, to_boundary
from optimizer.solver.products import products_of
from optimizer.solver.refinement import Krylov, refine, room_for
from optimizer.solver.structure import Array, Both, Data, Shape, State
from optimizer.solver.substitution import Factor
from optimizer.solver.sweeps import agreed
from optimizer.solver.targets import aim_of, centring, longest_mix, mixed, step_lengths, targets_of

# A corrector costs a fifth of a factorisation. On the flagship two took 40 iterations and 24.4 s, three 37 and 24.4 s, eight 37-39 and
# 28-30 s.
CORRECTORS = 3
BOLDER = 0.4  # how much longer the step is that a corrector aims at; 0.2 took 3-5 iterations more (nine quarters)
LEAST_GAIN = 0.01  # in one of the steps
FAILURES = 1  # correctors without gain that are passed over: the next pulls harder at the same products; 0 took 2 more
LONG_ENOUGH = 0.95
# What follows is for float64; shorter numbers cannot have less than some multiples of their rounding, see `reachable`.
AFFINE_RESIDUAL = 1e-6  # of the rows, relative to the right-hand side of the Newton system
RESIDUAL = 1e-9
OWN_RESIDUAL = 1e-12  # of the acquisitions' equations, in units of a typical cost, at the end; looser while mu or the dual error is large
OWN_RESIDUAL_EARLY = 1e-8
UNUSABLE = 1e-7  # a direction that would add a larger relative error to the rows is not taken, unless the rows are worse already


class Report(NamedTuple):
    """What an iteration did; `taken` is false where no usable direction was found: the new point is worth nothing."""

    taken: Array
    step_primal: Array
    step_dual: Array
    sigma: Array
    correctors: Array
    rounds: Array
    error: Array


class Search(NamedTuple):
    """Directions tried so far."""

    stage: Array  # 0 affine, 1 Mehrotra's, then correctors
    best: Direction
    sigma: Array
    correctors: Array
    failures: Array
    rounds: Array
    ended: Array
    room: Krylov


def advance(shape: Shape, data: Data, s: State, res: Residual, f: Factor, least_mu: Array) -> tuple[State, Report]:
    """The next point; least_mu is where mu need not go below."""
    dtype = data.u_value.dtype
    mu, primal_error, dual_size = agreed(shape, (res.mu, res.primal_error, res.dual_size))
    one_ = jnp.ones((), dtype)
    own_residual = jnp.clip(1e-4 * mu, reachable(OWN_RESIDUAL, dtype), reachable(OWN_RESIDUAL_EARLY, dtype))
    own_residual = jnp.maximum(own_residual, 1e-2 * dual_size)
    usable = jnp.maximum(reachable(UNUSABLE, dtype, 1e3), 0.1 * primal_error)

    at = products_of(shape, s)

    def one(c: Search) -> Search:
        begun, correcting = c.stage > 0, c.stage > 1
        before = c.best.step_primal, c.best.step_dual
        sigma = jax.lax.cond(c.stage == 1, lambda: centring(shape, data, at, c.best.move, before, mu, least_mu), lambda: c.sigma)
        aim = aim_of(c.stage, before, sigma * mu, BOLDER, (1 + c.failures).astype(dtype))
        targets = targets_of(shape, data, at, c.best.move, aim)
        rhs, g = right_hand_side(shape, data, s, res.local, targets)
        tolerance = jax.lax.select(begun, *(jnp.asarray(reachable(r, dtype), dtype) for r in (RESIDUAL, AFFINE_RESIDUAL)))
        solved, room = refine(shape, data, f, rhs, tolerance, own_residual, c.room)
        trial = expand(shape, data, s, res.local, targets, g, solved)
        primal, dual, error = agreed(shape, (trial.fall_primal, trial.fall_dual, trial.error))
        trial = trial._replace(fall_primal=primal, fall_dual=dual, error=error)
        good = ~correcting | (trial.error < usable)
        weights, falls = jax.lax.cond(
            correcting & good,
            lambda: longest_mix(shape, data, c.best.move, trial.move, before),
            lambda: ((one_, one_), (trial.fall_primal, trial.fall_dual)),
        )
        falls = agreed(shape, falls)
        steps = [to_boundary(fall) for fall in falls]
        longer = (steps[0] >= before[0] + LEAST_GAIN) | (steps[1] >= before[1] + LEAST_GAIN)
        better = ~correcting | (good & longer)
        weights = jax.tree.map(lambda w: w * better, weights)
        worse = jax.lax.select(correcting, jnp.maximum(trial.error, c.best.error), trial.error)
        now, then = (*falls, worse), (c.best.fall_primal, c.best.fall_dual, c.best.error)
        fall_primal, fall_dual, error = (jax.lax.select(better, a, b) for a, b in zip(now, then, strict=True))
        best = Direction(mixed(shape, data, c.best.move, trial.move, weights), fall_primal, fall_dual, error)
        failures = c.failures + (correcting & ~longer)
        long = jnp.maximum(fall_primal, fall_dual) < 1.0 / LONG_ENOUGH
        ended = ~good | (failures > FAILURES) | (begun & long) | (c.stage + 1 >= 2 + CORRECTORS)
        return Search(c.stage + 1, best, sigma, c.correctors + (correcting & better), failures, c.rounds + solved.rounds, ended, room)

    zero = jnp.zeros((), int)
    number = jnp.zeros((), dtype)
    start = Search(zero, nothing(data, at, s), number, zero, zero, zero, jnp.asarray(False), room_for(shape, data))
    found = jax.lax.while_loop(lambda c: ~c.ended, one, start)
    best = found.best
    p, d = agreed(shape, step_lengths(shape, data, at, best))
    taken = jnp.isfinite(p + d) & (best.error < usable)
    moved = step(shape, data, at, Both(s.cells.y, s.own.y), best.move, p, d)
    return moved._replace(own=agreed(shape, moved.own)), Report(taken, p, d, found.sigma, found.correctors, found.rounds, best.error)


def reachable(tolerance: float, dtype: Any, roundings: float = 32.0) -> float:
    return max(tolerance, roundings * float(jnp.finfo(dtype).eps))


def nothing(data: Data, at: Both, s: State) -> Direction:
    """A direction of the right form."""
    none = jax.tree.map(jnp.zeros_like, (at.cells.value, at.own.value))
    moves = (Move(a, a, jnp.zeros_like(y)) for a, y in zip(none, (s.cells.y, s.own.y), strict=True))
    zero = jnp.zeros((), data.u_value.dtype)
    return Direction(Both(*moves), zero, zero, zero)
