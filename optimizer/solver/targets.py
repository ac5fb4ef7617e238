"""What a direction aims at (predictor, Mehrotra's corrector, centrality correctors), and how far it is followed. See `newton` for the
relative quantities: a product after a step is v zl (1 + p q) (1 + d sl)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizer.solver.newton import Direction, Move, Targets, everywhere, reduced, to_boundary
from optimizer.solver.structure import Array, Both, Data, Point, Shape, State, Terms

WEIGHTS = 6
# The most that a step asks of centring. The affine step of a large program is short however well the point is centred, because a few
# products in a million switch sides; its sigma of 0.5-0.8 wasted what the correctors can win (flagship: 64 iterations, now 37).
MOST_CENTRING = 0.1
# Of the second-order term, in units of the present product. A few products whose partners both change a hundredfold bend the direction of
# all others (200 scenarios: 56 -> 54 iterations over two seeds; 50: 112 -> 107, 20: 98 -> 97 over five); none at all: 48 instead of 33.
MOST_CURVATURE = 10.0
SHORTEST = 0.9  # share of the way to the boundary
LONGEST = 0.9999


def affine_targets(shape: Shape, data: Data) -> Both:
    """Products driven to zero."""
    dtype = data.u_value.dtype

    def one(t: Terms) -> tuple[Targets, None, None]:
        lower, upper = (jax.tree.map(lambda m: -m.astype(dtype), on) for on in (t.active, t.bounded))
        return Targets(lower, upper), None, None

    return everywhere(shape, data, one)[0]


def aimed(f: Callable[..., Array], t: Terms, at: Point, *of_lower_and_upper: tuple[Any, Any]) -> Targets:
    """f(present product, ...) where there is a variable or a bound."""
    lowers, uppers = ([pair[k] for pair in of_lower_and_upper] for k in (0, 1))

    def target(m: Array, v: Array, z: Array, *rest: Array) -> Array:
        return jnp.where(m, f(jnp.where(m, v * z, 1.0), *rest), 0.0)

    return Targets(jax.tree.map(target, t.active, at.v, at.zl, *lowers), jax.tree.map(target, t.bounded, at.w, at.zu, *uppers))


def mehrotra_targets(shape: Shape, data: Data, s: State, d: Direction, mu: Array, least_mu: Array) -> tuple[Both, Array]:
    """Centring by (mu_affine / mu)^3, at most MOST_CENTRING and not below least_mu (what the goal needs: going further only costs digits),
    and the second-order term of the affine direction; also sigma."""
    p, q = d.step_primal, d.step_dual

    def after(t: Terms, at: Point, m: Move) -> tuple[None, Array, None]:
        return None, products_after(at, m, p, q), None

    _, gap, _ = everywhere(shape, data, after, s, d.move)
    ratio = jnp.clip(gap / data.count / mu, 0.0, 1.0)
    sigma = jnp.maximum(jnp.minimum(ratio**3, MOST_CENTRING), jnp.clip(least_mu / mu, 1e-6, 0.5))

    def one(t: Terms, at: Point, m: Move) -> tuple[Targets, None, None]:
        def target(product: Array, a: Array, b: Array) -> Array:
            return sigma * mu / product - 1.0 - jnp.clip(a * b, -MOST_CURVATURE, MOST_CURVATURE)

        return aimed(target, t, at, (m.q, m.qw), (m.sl, m.su)), None, None

    return everywhere(shape, data, one, s, d.move)[0], sigma


def products_after(at: Point, m: Move, p: Array, q: Array) -> Array:
    """Sum of the products after a step."""

    def total(v: Array, z: Array, a: Array, b: Array) -> Array:
        return jnp.sum(v * z * ((1.0 + p * a) * (1.0 + q * b)))

    sums = jax.tree.map(total, at.v, at.zl, m.q, m.sl), jax.tree.map(total, at.w, at.zu, m.qw, m.su)
    return sum(jax.tree.leaves(sums))


def centrality_targets(shape: Shape, data: Data, s: State, d: Direction, target_mu: Array, gain: Array, pulls: Array) -> Both:
    """Gondzio's corrector: products at a bolder trial point are pulled into [0.1, 10] x target_mu; the pull down is capped. `pulls`: how
    many times over."""
    p, q = jnp.minimum(d.step_primal + gain, 1.0), jnp.minimum(d.step_dual + gain, 1.0)

    def correct(product: Array, a: Array, b: Array) -> Array:
        after = product * ((1.0 + p * a) * (1.0 + q * b))
        pull = jnp.clip(after, 0.1 * target_mu, 10.0 * target_mu) - after
        return a + b + pulls * jnp.maximum(pull, -10.0 * target_mu) / product

    def one(t: Terms, at: Point, m: Move) -> tuple[Targets, None, None]:
        return aimed(correct, t, at, (m.q, m.qw), (m.sl, m.su)), None, None

    return everywhere(shape, data, one, s, d.move)[0]


def longest_mix(shape: Shape, data: Data, base: Direction, trial: Direction) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Weights of `trial` against `base` for the longest steps, chosen apart for the primal and the dual part; and what then decreases most.

    Six weights between the product of the present steps and one (Colombo and Gondzio 2008); both directions solve the same linear
    equations, so every combination does. The largest relative decrease is the maximum of functions linear in the weight.
    """
    low = base.step_primal * base.step_dual
    weights = low + (1.0 - low) * jnp.linspace(0.0, 1.0, WEIGHTS, dtype=low.dtype)

    def least(bases: tuple, trials: tuple) -> Array:
        found = jnp.zeros(WEIGHTS, low.dtype)
        for a, b in zip(jax.tree.leaves(bases), jax.tree.leaves(trials), strict=True):
            if a.size:
                each = [between(a, b, weights[k]) for k in range(WEIGHTS)]
                found = jnp.minimum(found, jnp.stack(reduced([jnp.minimum] * WEIGHTS, [0.0] * WEIGHTS, each)))
        return found

    def search(t: Terms, a: Move, b: Move) -> tuple[None, None, Any]:
        return None, None, (least((a.q, a.qw), (b.q, b.qw)), least((a.sl, a.su), (b.sl, b.su)))

    falls = [-x for x in everywhere(shape, data, search, base.move, trial.move)[2]]
    primal, dual = (jnp.argmin(jnp.maximum(x, 1.0)) for x in falls)
    return (weights[primal], weights[dual]), (falls[0][primal], falls[1][dual])


def between(a: Array, b: Array, weight: Array) -> Array:
    return (1.0 - weight) * a + weight * b


def mixed(shape: Shape, data: Data, base: Both, trial: Both, weights: tuple[Array, Array]) -> Both:
    """base + weight (trial - base) of moves; base where both weights are zero, whatever the trial is."""
    primal, dual = weights
    take = (primal > 0) | (dual > 0)

    def mix(t: Terms, a: Move, b: Move) -> tuple[Move, None, None]:
        parts = zip(a, b, (primal, primal, dual, dual, dual), strict=True)
        return Move(*(jax.tree.map(lambda x, y, w=w: jnp.where(take, between(x, y, w), x), x, y) for x, y, w in parts)), None, None

    return everywhere(shape, data, mix, base, trial)[0]


def step_lengths(shape: Shape, data: Data, s: State, d: Direction) -> tuple[Array, Array]:
    """Mehrotra's step to the boundary: the variable that blocks keeps a product near the others', instead of landing on its bound.

    At least SHORTEST of the way, at most LONGEST.
    """
    p, q = d.step_primal, d.step_dual

    def body(t: Terms, at: Point, m: Move) -> tuple[None, Array, Any]:
        kinds = (at.v, at.zl, m.q, m.sl), (at.w, at.zu, m.qw, m.su)
        found = [one for kind in kinds for one in zip(*(jax.tree.leaves(tree) for tree in kind), strict=True) if one[2].size]
        gaps, primal, dual = zip(*(after_step(*one, d, p, q) for one in found), strict=True)
        return None, sum(gaps), (jnp.min(jnp.stack(primal)), jnp.min(jnp.stack(dual)))

    _, gap, products = everywhere(shape, data, body, s, d.move)
    target = gap / data.count * (1.0 - SHORTEST)

    def length(fall: Array, product: Array) -> Array:
        most = to_boundary(fall)
        wished = (1.0 - target / jnp.maximum(product, jnp.finfo(product.dtype).tiny)) * most
        return jnp.where(most >= 1.0, 1.0, jnp.clip(wished, SHORTEST * most, LONGEST * most))

    primal, dual = length(d.fall_primal, products[0]), length(d.fall_dual, products[1])
    return jnp.minimum(primal, LONGEST), jnp.minimum(dual, LONGEST)


def after_step(v: Array, z: Array, rise: Array, dual_rise: Array, d: Direction, p: Array, q: Array) -> tuple[Array, Array, Array]:
    """In one pass: the sum of the products after the steps p and q, and the smallest product, after its partner's step, of an entry that
    blocks the primal step, and of one that blocks the dual step."""
    near = 1.0 - 1e3 * jnp.finfo(v.dtype).eps  # the same number, rounded elsewhere
    product, one, other = v * z, 1.0 + p * rise, 1.0 + q * dual_rise
    primal = jnp.where(rise <= -d.fall_primal * near, product * other, jnp.inf)
    dual = jnp.where(dual_rise <= -d.fall_dual * near, product * one, jnp.inf)
    return reduced((jnp.add, jnp.minimum, jnp.minimum), (0.0, jnp.inf, jnp.inf), (product * (one * other), primal, dual))
