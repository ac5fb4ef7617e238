"""What a direction aims at (predictor, Mehrotra's corrector, centrality correctors), and how far it is followed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from optimizer.solver.newton import Direction, Move, Targets, everywhere, mul
from optimizer.solver.operators import dot_of_chunk
from optimizer.solver.structure import Array, Both, Data, Point, Shape, State, Terms
from optimizer.solver.sweeps import gathered

WEIGHTS = 6
# The most that a step asks of centring. The affine step of a large program is short however well the point is centred, because a few
# products in a million switch sides; its sigma of 0.5-0.8 wasted what the correctors can win (flagship: 64 iterations, now 37).
MOST_CENTRING = 0.1
SHORTEST = 0.9  # share of the way to the boundary
LONGEST = 0.9999


def affine_targets(shape: Shape, data: Data, s: State) -> Both:
    """Products driven to zero."""

    def one(t: Terms, p: Point) -> tuple[Targets, None, None]:
        lower, upper = (jax.tree.map(lambda v, z: -v * z, a, b) for a, b in ((p.v, p.zl), (p.w, p.zu)))
        return Targets(lower, upper), None, None

    return everywhere(shape, data, one, s)[0]


def mehrotra_targets(shape: Shape, data: Data, s: State, d: Direction, mu: Array, least_mu: Array) -> tuple[Both, Array]:
    """Centring by (mu_affine / mu)^3, at most MOST_CENTRING and not below least_mu (what the goal needs: going further only costs digits),
    and the second-order term of the affine direction; also sigma."""
    p, q = d.step_primal, d.step_dual

    def after(t: Terms, at: Point, m: Move) -> tuple[None, Array, None]:
        return None, products_after(t, at, m, p, q), None

    _, gap, _ = everywhere(shape, data, after, s, d.move)
    ratio = jnp.clip(gap / data.count / mu, 0.0, 1.0)
    sigma = jnp.maximum(jnp.minimum(ratio**3, MOST_CENTRING), jnp.clip(least_mu / mu, 1e-6, 0.5))

    def one(t: Terms, at: Point, m: Move) -> tuple[Targets, None, None]:
        def target(v: Array, z: Array, a: Array, b: Array) -> Array:
            return sigma * mu - v * z - a * b

        return Targets(jax.tree.map(target, at.v, at.zl, m.dv, m.dzl), jax.tree.map(target, at.w, at.zu, m.dw, m.dzu)), None, None

    return everywhere(shape, data, one, s, d.move)[0], sigma


def products_after(t: Terms, at: Point, m: Move, p: Array, q: Array) -> Array:
    """Sum of the products after a step."""

    def moved(a: Any, da: Any, length: Array) -> Any:
        return jax.tree.map(lambda a, da: a + length * da, a, da)

    lower = dot_of_chunk(mul(moved(at.v, m.dv, p), t.active), moved(at.zl, m.dzl, q))
    return lower + dot_of_chunk(mul(moved(at.w, m.dw, p), t.bounded), moved(at.zu, m.dzu, q))


def centrality_targets(shape: Shape, data: Data, s: State, d: Direction, targets: Both, target_mu: Array, gain: Array) -> Both:
    """Gondzio's corrector: products at a bolder trial point are pulled into [0.1, 10] x target_mu; the pull down is capped."""
    p, q = jnp.minimum(d.step_primal + gain, 1.0), jnp.minimum(d.step_dual + gain, 1.0)

    def correct(v: Array, dv: Array, z: Array, dz: Array, t: Array, m: Array) -> Array:
        product = (v + p * dv) * (z + q * dz)
        pull = jnp.clip(product, 0.1 * target_mu, 10.0 * target_mu) - product
        return t + m * jnp.maximum(pull, -10.0 * target_mu)

    def one(t: Terms, at: Point, m: Move, old: Targets) -> tuple[Targets, None, None]:
        lower = jax.tree.map(correct, at.v, m.dv, at.zl, m.dzl, old.lower, t.active)
        return Targets(lower, jax.tree.map(correct, at.w, m.dw, at.zu, m.dzu, old.upper, t.bounded)), None, None

    return everywhere(shape, data, one, s, d.move, targets)[0]


def weigh(shape: Shape, data: Data, s: State, base: Direction, trial: Direction) -> Direction:
    """base + weight (trial - base), with the weights of the primal and the dual part chosen apart for the longest steps.

    Six weights between the product of the present steps and one (Colombo and Gondzio 2008); both directions solve the same linear
    equations, so every combination does. The longest step is one over the largest relative decrease, which is linear in the weight.
    """
    low = base.step_primal * base.step_dual
    weights = low + (1.0 - low) * jnp.linspace(0.0, 1.0, WEIGHTS).astype(low.dtype)

    def most(values: Any, bases: Any, trials: Any) -> Array:
        found = jnp.zeros(WEIGHTS, low.dtype)
        for v, a, b in zip(*(jax.tree.leaves(tree) for tree in (values, bases, trials)), strict=True):
            if v.size:
                per = -1.0 / jnp.where(v > 0, v, 1.0)
                a, b = a * per, b * per
                each = [a + weights[k] * (b - a) for k in range(WEIGHTS)]
                zero = [jnp.zeros((), low.dtype)] * WEIGHTS
                largest = jax.lax.reduce(each, zero, lambda x, y: [jnp.maximum(i, j) for i, j in zip(x, y, strict=True)], range(v.ndim))
                found = jnp.maximum(found, jnp.stack(largest))
        return found

    def search(t: Terms, p: Point, a: Move, b: Move) -> tuple[None, None, Any]:
        return None, None, (-most((p.v, p.w), (a.dv, a.dw), (b.dv, b.dw)), -most((p.zl, p.zu), (a.dzl, a.dzu), (b.dzl, b.dzu)))

    _, _, least = everywhere(shape, data, search, s, base.move, trial.move)
    steps = [jnp.minimum(1.0 / jnp.maximum(-x, 1e-300), 1.0) for x in least]
    best = [jnp.argmax(x) for x in steps]
    wp, wd = (weights[k] for k in best)

    def mix(t: Terms, a: Move, b: Move) -> tuple[Move, None, None]:
        parts = zip(a, b, (wp, wp, wd, wd, wd), strict=True)
        return Move(*(jax.tree.map(lambda x, y, w=w: x + w * (y - x), x, y) for x, y, w in parts)), None, None

    move = everywhere(shape, data, mix, base.move, trial.move)[0]
    return Direction(move, steps[0][best[0]], steps[1][best[1]], trial.rounds, jnp.maximum(base.error, trial.error))


def step_lengths(shape: Shape, data: Data, s: State, d: Direction) -> tuple[Array, Array]:
    """Mehrotra's step to the boundary: the variable that blocks keeps a product near the others', instead of landing on its bound.

    At least SHORTEST of the way, at most LONGEST.
    """
    p, q = d.step_primal, d.step_dual

    def body(t: Terms, at: Point, m: Move) -> tuple[Any, Array, Any]:
        primal = blocking((at.v, at.w), (m.dv, m.dw), (at.zl, at.zu), (m.dzl, m.dzu), q)
        dual = blocking((at.zl, at.zu), (m.dzl, m.dzu), (at.v, at.w), (m.dv, m.dw), p)
        return (primal, dual), products_after(t, at, m, p, q), None

    found, gap, _ = everywhere(shape, data, body, s, d.move)
    target = gap / data.count * (1.0 - SHORTEST)

    def length(cells: Array, own: Array, most: Array) -> Array:
        """cells [C, 4], own [4]: ratio, value, change and partner of what blocks."""
        every = jnp.concatenate([gathered(shape, cells), own[None]])
        _, v, dv, z = every[jnp.argmin(every[:, 0])]
        wished = (v - target / jnp.maximum(z, 1e-300)) / -dv
        return jnp.where(most >= 1.0, 1.0, jnp.clip(wished, SHORTEST * most, LONGEST * most))

    primal, dual = (length(a, b, most) for a, b, most in zip(found.cells, found.own, (p, q), strict=True))
    return jnp.minimum(primal, LONGEST), jnp.minimum(dual, LONGEST)


def blocking(values: Any, changes: Any, others: Any, other_changes: Any, other_step: Array) -> Array:
    """[4]: the smallest ratio to the boundary, and value, change and partner after its step of the entry that has it."""
    found = []
    for a, da, b, db in zip(*(jax.tree.leaves(t) for t in (values, changes, others, other_changes)), strict=True):
        if not a.size:
            continue
        a, da, b, db = (x.reshape(-1) for x in (a, da, b, db))
        ratios = jnp.where(da < 0, -a / jnp.where(da < 0, da, -1.0), jnp.inf)
        at = jnp.argmin(ratios)
        found.append(jnp.stack([ratios[at], a[at], jnp.where(da[at] < 0, da[at], -1.0), b[at] + other_step * db[at]]))
    every = jnp.stack(found)
    return every[jnp.argmin(every[:, 0])]
