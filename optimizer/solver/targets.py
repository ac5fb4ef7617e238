"""What a direction aims at (predictor, Mehrotra's corrector, centrality correctors), and how far it is followed. See `newton` for the
relative quantities: a product after a step is v zl (1 + p q) (1 + d sl)."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels.segments import taken
from optimizer.solver.newton import Direction, Move, everywhere, reduced, to_boundary
from optimizer.solver.products import Products
from optimizer.solver.structure import Array, Both, Data, Shape, Terms

WEIGHTS = 6
# The most that a step asks of centring. The affine step of a large program is short however well the point is centred, because a few
# products in a million switch sides; its sigma of 0.5-0.8 wasted what the correctors can win (flagship: 64 iterations, now 37).
MOST_CENTRING = 0.1
# Of the second-order term, in units of the present product. A few products whose partners both change a hundredfold bend the direction of
# all others (200 scenarios: 56 -> 54 iterations over two seeds; 50: 112 -> 107, 20: 98 -> 97 over five); none at all: 48 instead of 33.
MOST_CURVATURE = 10.0
SHORTEST = 0.9  # share of the way to the boundary
LONGEST = 0.9999


class Aim(NamedTuple):
    """Numbers of one formula for every stage: products end up at  product + change,

        change = product (rise + dual rise - begun - curvature) + pull,    pull = pulls max(clip(after, low, high) - kept after, -most)

    where `after` is the product after the steps, and curvature rise * dual rise within +-bend: relative to the direction at hand, whose
    rises sum to its own target (-1 of the affine one).
    """

    begun: Array  # 1 while there is no direction
    bend: Array
    low: Array
    high: Array
    kept: Array  # 1 where products inside [low, high] are left alone, 0 where all are pulled to `low`
    most: Array
    pulls: Array
    step_primal: Array
    step_dual: Array


def aim_of(stage: Array, steps: tuple[Array, Array], target_mu: Array, gain: float, pulls: Array) -> Aim:
    """Stage 0 drives products to zero. Stage 1 centres, with the second-order term of the affine direction (Mehrotra). Later ones are
    Gondzio's correctors: products at a bolder trial point are pulled into [0.1, 10] x target_mu; the pull down is capped. `pulls`: how
    many times over."""
    zeroth, first, later = ((stage == k).astype(target_mu.dtype) for k in (0, 1, jnp.maximum(stage, 2)))
    return Aim(
        zeroth, MOST_CURVATURE * first, (first + 0.1 * later) * target_mu, (first + 10.0 * later) * target_mu, later,
        10.0 * later * target_mu, first + later * pulls, *(jnp.minimum(p + gain * later, 1.0) for p in steps),
    )  # fmt: skip


def targets_of(shape: Shape, data: Data, at: Both, move: Both, aim: Aim) -> Both:
    """Of all products, in units of the present ones; zero where there is no variable or no bound, that is where the product is zero."""

    bent, least = -aim.bend, -aim.most

    def target(v: Array, z: Array, a: Array, b: Array) -> Array:
        product, curvature = v * z, jax.lax.clamp(bent, a * b, aim.bend)
        after = product_after(product, a, b, aim.step_primal, aim.step_dual)
        pull = aim.pulls * jnp.maximum(jax.lax.clamp(aim.low, after, aim.high) - aim.kept * after, least)
        wished = a + b - aim.begun + pull / product - curvature
        return jax.lax.select(product > 0, wished, jnp.zeros_like(wished))

    def one(t: Terms, here: Products, m: Move) -> tuple[Any, None, None]:
        return jax.tree.map(target, *here, m.primal, m.dual), None, None

    return everywhere(shape, data, one, at, move)[0]


def centring(shape: Shape, data: Data, at: Both, move: Both, steps: tuple[Array, Array], mu: Array, least_mu: Array) -> Array:
    """Sigma: (mu_affine / mu)^3, at most MOST_CENTRING and not below least_mu (what the goal needs: going further only costs digits)."""

    def total(v: Array, z: Array, a: Array, b: Array) -> Array:
        return jnp.sum(product_after(v * z, a, b, *steps))

    def after(t: Terms, here: Products, m: Move) -> tuple[None, Array, None]:
        return None, sum(jax.tree.leaves(jax.tree.map(total, *here, m.primal, m.dual))), None

    _, gap, _ = everywhere(shape, data, after, at, move)
    ratio = gap / data.count / mu
    return jnp.maximum(jnp.minimum(ratio * ratio * ratio, MOST_CENTRING), jnp.clip(least_mu / mu, 1e-6, 0.5))


def longest_mix(
    shape: Shape, data: Data, base: Both, trial: Both, steps: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Weights of `trial` against `base` for the longest steps, chosen apart for the primal and the dual part; and what then decreases most.

    Six weights between the product of the present steps and one (Colombo and Gondzio 2008); both directions solve the same linear
    equations, so every combination does. The largest relative decrease is the maximum of functions linear in the weight.
    """
    low = steps[0] * steps[1]
    weights = low + (1.0 - low) * np.linspace(0.0, 1.0, WEIGHTS, dtype=low.dtype)

    each = tuple(weights[k] for k in range(WEIGHTS - 1))

    def least(bases: Any, trials: Any) -> Array:
        pairs = zip(jax.tree.leaves(bases), jax.tree.leaves(trials), strict=True)
        return reduce(jnp.minimum, [least_of_mixes(a, b, each) for a, b in pairs])

    def search(t: Terms, a: Move, b: Move) -> tuple[None, None, Any]:
        return None, None, (least(a.primal, b.primal), least(a.dual, b.dual))

    falls = [-x for x in everywhere(shape, data, search, base, trial)[2]]
    primal, dual = (jnp.argmin(jnp.maximum(x, 1.0)) for x in falls)
    return (taken(weights, primal), taken(weights, dual)), (taken(falls[0], primal), taken(falls[1], dual))


@jax.jit
def least_of_mixes(a: Array, b: Array, weights: tuple[Array, ...]) -> Array:
    """The least entry of every mix, at most 0, in one pass; a last weight is one. Functions of arrays that are compiled by themselves,
    such as this, are stated once for all arrays of one shape."""
    more = b - a
    each = [*(a + weight * more for weight in weights), b]
    return jnp.stack(reduced([jnp.minimum] * WEIGHTS, [0.0] * WEIGHTS, each))


def mixed(shape: Shape, data: Data, base: Both, trial: Both, weights: tuple[Array, Array]) -> Both:
    """base + weight (trial - base) of moves; base where both weights are zero, whatever the trial is."""
    take = (weights[0] > 0) | (weights[1] > 0)
    weights = [(1.0 - w, w) for w in weights]

    def mix(t: Terms, a: Move, b: Move) -> tuple[Move, None, None]:
        parts = zip(a, b, (weights[0], weights[1], weights[1]), strict=True)
        return Move(*(jax.tree.map(partial(chosen, take, w), x, y) for x, y, w in parts)), None, None

    return everywhere(shape, data, mix, base, trial)[0]


@jax.jit
def chosen(take: Array, weights: tuple[Array, Array], x: Array, y: Array) -> Array:
    return jax.lax.select(take, weights[0] * x + weights[1] * y, x)


def step_lengths(shape: Shape, data: Data, at: Both, d: Direction) -> tuple[Array, Array]:
    """Mehrotra's step to the boundary: the variable that blocks keeps a product near the others', instead of landing on its bound.

    At least SHORTEST of the way, at most LONGEST.
    """
    near = 1.0 - 1e3 * jnp.finfo(d.fall_primal.dtype).eps  # the same number, rounded elsewhere
    falls = jnp.stack([d.fall_primal, d.fall_dual])
    blocking, most = -near * falls, to_boundary(falls)
    steps = most[0], most[1]

    def body(t: Terms, here: Products, m: Move) -> tuple[None, Array, Any]:
        found = zip(*(jax.tree.leaves(tree) for tree in (*here, m.primal, m.dual)), strict=True)
        gaps, primal, dual = zip(*(after_step(*one, *steps, blocking[0], blocking[1]) for one in found), strict=True)
        return None, sum(gaps), (reduce(jnp.minimum, primal), reduce(jnp.minimum, dual))

    _, gap, products = everywhere(shape, data, body, at, d.move)
    target = gap / data.count * (1.0 - SHORTEST)

    product = jnp.maximum(jnp.stack(products), jnp.finfo(falls.dtype).tiny)
    wished = jax.lax.clamp(SHORTEST * most, (1.0 - target / product) * most, LONGEST * most)
    lengths = jnp.minimum(jax.lax.select(most >= 1.0, most, wished), LONGEST)
    return lengths[0], lengths[1]


def after_step(v: Array, z: Array, a: Array, b: Array, p: Array, q: Array, most_primal: Array, most_dual: Array) -> list[Array]:
    """In one pass: the sum of the products after the steps p and q, and the smallest product, after its partner's step, of an entry whose
    rise is at most `most_primal`, and of one whose dual rise is at most `most_dual`."""
    product, far = v * z, jnp.full_like(v, jnp.inf)
    one, other = 1.0 + p * a, 1.0 + q * b
    primal, dual = jax.lax.select(a <= most_primal, product * other, far), jax.lax.select(b <= most_dual, product * one, far)
    return reduced((jnp.add, jnp.minimum, jnp.minimum), (0.0, jnp.inf, jnp.inf), (product * (one * other), primal, dual))


@jax.jit
def product_after(product: Array, a: Array, b: Array, p: Array, q: Array) -> Array:
    return product * ((1.0 + p * a) * (1.0 + q * b))
