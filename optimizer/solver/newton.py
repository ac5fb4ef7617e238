"""One iteration's pieces: residuals, Theta, the Newton direction with its refinement, complementarity targets, the step.

Newton system for targets (tl, tu) of the complementarity products:
    A dv = rp,   A' dy + dzl - dzu = rd,   dv + dw = ru,   zl dv + v dzl = tl,   zu dw + w dzu = tu
eliminated to  (A Theta A') dy = rp - A Theta g,  g = tl/v - (tu - zu ru)/w - rd,  dv = Theta (A' dy + g),  1/Theta = zl/v + zu/w.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimizer.solver import factor as factoring
from optimizer.solver.operators import apply, dot, transpose, with_z, z_of
from optimizer.solver.refinement import Solved
from optimizer.solver.structure import Array, Data, Flat, Rows, Shape, State

WEIGHTS = 6
# The most that a step asks of centring. The affine step of a large program is short however well the point is centred, because a few
# products in a million switch sides; its sigma of 0.5-0.8 wasted what the correctors can win (flagship: 64 iterations, now 37).
MOST_CENTRING = 0.1
SHORTEST = 0.9  # share of the way to the boundary
LONGEST = 0.9999

# The starting point: variables and duals at least their mean size, products at least this share of their mean. Smaller floors cost 6-10
# iterations of tiny steps on the reference family; dual floors of a third of these cost 3% more on the random programs.
PRIMAL_FLOOR = 1.0
DUAL_FLOOR = 0.3
COST_FLOOR = 1.0
LEAST_PRODUCT = 0.01


class Residual(NamedTuple):
    primal: Rows  # b - A v
    dual: Flat  # c - A' y - zl + zu
    width: Flat  # upper - v - w
    theta: Flat
    mu: Array
    primal_cost: Array
    dual_cost: Array
    primal_error: Array  # relative, infinity norm
    dual_error: Array
    dual_size: Array  # the same, absolute


class Direction(NamedTuple):
    dv: Flat
    dw: Flat
    dy: Rows
    dzl: Flat
    dzu: Flat
    step_primal: Array  # largest step to the boundary, at most 1
    step_dual: Array
    rounds: Array  # refinement rounds used
    error: Array  # residual of the rows that the direction would leave behind, relative to the right-hand side of the program


def norm(tree: Rows | Flat) -> Array:
    return jnp.sqrt(dot(tree, tree))


def largest(tree: Rows | Flat) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a), initial=0.0) for a in tree]))


def mul(a, b):
    return jax.tree.map(jnp.multiply, a, b)


def above(shape: Shape, f: Callable[..., Array], *trees: Flat) -> Flat:
    """f of what belongs to upper bounds; a single zero for placement that has none, which halves the memory traffic."""
    x = f(*(t.x for t in trees)) if shape.x_bounded else jnp.zeros((1, 1, 1), trees[0].x.dtype)
    return Flat(x, f(*(t.rest for t in trees)))


@partial(jax.jit, static_argnums=0)
def residuals(shape: Shape, data: Data, s: State) -> Residual:
    """Everything that the present point decides."""
    ax, aty = apply(shape, data, mul(s.v, data.active)), transpose(shape, data, s.y)
    primal = jax.tree.map(lambda b, q, m: (b - q) * m, data.rhs, ax, data.row_active)
    dual = jax.tree.map(lambda c, q, zl, zu, m: (c - q - zl + zu) * m, data.cost, aty, s.zl, s.zu, data.active)
    width = above(shape, lambda u, v, w, m: (u - v - w) * m, data.upper, s.v, s.w, data.bounded)
    theta = jax.tree.map(lambda zl, v, zu, w, m, b: m / (zl / v + b * zu / w + (1.0 - m)), s.zl, s.v, s.zu, s.w, data.active, data.bounded)
    count = sum(a.sum() for a in data.active) + sum(a.sum() for a in data.bounded)
    gap = dot(mul(s.v, data.active), s.zl) + dot(mul(s.w, data.bounded), s.zu)
    primal_cost = dot(data.cost, mul(s.v, data.active))
    dual_cost = dot(data.rhs, mul(s.y, data.row_active)) - dot(mul(data.upper, data.bounded), s.zu)
    return Residual(
        primal, dual, width, theta, gap / count, primal_cost, dual_cost,
        largest(primal) / (1.0 + largest(data.rhs)), largest(dual) / (1.0 + largest(data.cost)),
        largest(dual),
    )  # fmt: skip


factor = partial(jax.jit, static_argnums=0)(factoring.factor)


@partial(jax.jit, static_argnums=0)
def right_hand_side(
    shape: Shape, data: Data, s: State, res: Residual, target_lower: Flat, target_upper: Flat
) -> tuple[Flat, Rows]:
    """g and rp - A Theta g."""
    g = jax.tree.map(
        lambda tl, v, tu, zu, ru, w, rd, m, b: m * (tl / v - b * (tu - zu * ru) / w - rd),
        target_lower, s.v, target_upper, s.zu, res.width, s.w, res.dual, data.active, data.bounded,
    )  # fmt: skip
    return g, jax.tree.map(jnp.subtract, res.primal, apply(shape, data, mul(res.theta, g)))


@partial(jax.jit, static_argnums=0)
def expand(shape: Shape, data: Data, s: State, res: Residual, g: Flat, solved: Solved, targets: tuple[Flat, Flat]) -> Direction:
    """The whole direction from dy."""
    target_lower, target_upper = targets
    dy = solved.y
    dv = jax.tree.map(lambda t, a, b: t * (a + b), res.theta, transpose(shape, data, dy), g)
    dv = with_z(shape, dv, solved.z + z_of(shape, res.theta) * z_of(shape, g))
    dzl = jax.tree.map(lambda tl, zl, d, v, m: m * (tl - zl * d) / v, target_lower, s.zl, dv, s.v, data.active)
    dw = above(shape, lambda ru, d, b: b * (ru - d), res.width, dv, data.bounded)
    dzu = above(shape, lambda tu, zu, d, w, b: b * (tu - zu * d) / w, target_upper, s.zu, dw, s.w, data.bounded)
    primal = jnp.minimum(to_boundary(s.v, dv), to_boundary(s.w, dw))
    dual = jnp.minimum(to_boundary(s.zl, dzl), to_boundary(s.zu, dzu))
    return Direction(dv, dw, dy, dzl, dzu, primal, dual, solved.rounds, solved.error / (1.0 + norm(data.rhs)))


def to_boundary(value: Flat, change: Flat) -> Array:
    """Largest step in [0, 1] that keeps value + step * change >= 0 (inactive entries do not change)."""
    steps = [
        jnp.min(jnp.where(d < 0, -a / jnp.where(d < 0, d, -1.0), jnp.inf), initial=jnp.inf) for a, d in zip(value, change, strict=True)
    ]
    return jnp.minimum(jnp.min(jnp.stack(steps)), 1.0)


@partial(jax.jit, static_argnums=0)
def weigh(shape: Shape, data: Data, s: State, base: Direction, trial: Direction) -> Direction:
    """base + weight (trial - base), with the weights of the primal and the dual part chosen apart for the longest steps.

    Six weights between the product of the present steps and one (Colombo and Gondzio 2008); both directions solve the same linear
    equations, so every combination does.
    """
    del shape, data
    low = base.step_primal * base.step_dual

    def longest(values, bases, trials):
        # the longest step is one over the largest relative decrease, which is linear in the weight: no division inside the search, and
        # one pass for all weights (six passes took 60 ms of a corrector's 130 on the flagship)
        weights = low + (1.0 - low) * jnp.linspace(0.0, 1.0, WEIGHTS)
        most = jnp.zeros(WEIGHTS, low.dtype)
        for v, p, q in zip(*(jax.tree.leaves(tree) for tree in (values, bases, trials)), strict=True):
            if p.size:
                per = -1.0 / jnp.where(v > 0, v, 1.0)
                p, q = p * per, q * per
                each = [p + weights[k] * (q - p) for k in range(WEIGHTS)]
                zero = [jnp.zeros((), low.dtype)] * WEIGHTS
                largest_of = jax.lax.reduce(each, zero, lambda a, b: [jnp.maximum(i, j) for i, j in zip(a, b, strict=True)], range(p.ndim))
                most = jnp.maximum(most, jnp.stack(largest_of))
        steps = jnp.minimum(1.0 / jnp.maximum(most, 1e-300), 1.0)
        best = jnp.argmax(steps)
        return weights[best], steps[best]

    wp, primal = longest((s.v, s.w), (base.dv, base.dw), (trial.dv, trial.dw))
    wd, dual = longest((s.zl, s.zu), (base.dzl, base.dzu), (trial.dzl, trial.dzu))

    def mix(weight, p, q):
        return jax.tree.map(lambda a, b: a + weight * (b - a), p, q)

    return Direction(
        mix(wp, base.dv, trial.dv), mix(wp, base.dw, trial.dw), mix(wd, base.dy, trial.dy), mix(wd, base.dzl, trial.dzl),
        mix(wd, base.dzu, trial.dzu), primal, dual, trial.rounds, jnp.maximum(base.error, trial.error),
    )  # fmt: skip


@partial(jax.jit, static_argnums=0)
def step_lengths(shape: Shape, data: Data, s: State, d: Direction) -> tuple[Array, Array]:
    """Mehrotra's step to the boundary: the variable that blocks keeps a product near the others', instead of landing on its bound.

    At least SHORTEST of the way, at most LONGEST.
    """
    del shape
    p, q = d.step_primal, d.step_dual
    products = sum(
        dot(jax.tree.map(lambda a, da, m: m * (a + p * da), a, da, m), jax.tree.map(lambda z, dz: z + q * dz, z, dz))
        for a, da, z, dz, m in ((s.v, d.dv, s.zl, d.dzl, data.active), (s.w, d.dw, s.zu, d.dzu, data.bounded))
    )
    count = sum(a.sum() for a in data.active) + sum(a.sum() for a in data.bounded)
    target = products / count * (1.0 - SHORTEST)

    def length(values, changes, others, other_changes, most, other_step):
        ratio, own, change, other = [jnp.inf], [1.0], [-1.0], [1.0]
        for v, dv, z, dz in zip(values, changes, others, other_changes, strict=True):
            for a, da, b, db in zip(v, dv, z, dz, strict=True):
                if not a.size:
                    continue
                a, da, b, db = a.reshape(-1), da.reshape(-1), b.reshape(-1), db.reshape(-1)
                ratios = jnp.where(da < 0, -a / jnp.where(da < 0, da, -1.0), jnp.inf)
                at = jnp.argmin(ratios)
                ratio.append(ratios[at])
                own.append(a[at])
                change.append(da[at])
                other.append(b[at] + other_step * db[at])
        first = jnp.argmin(jnp.stack([jnp.asarray(r) for r in ratio]))
        v, dv, z = (jnp.stack([jnp.asarray(e) for e in part])[first] for part in (own, change, other))
        wished = (v - target / jnp.maximum(z, 1e-300)) / -dv
        return jnp.where(most >= 1.0, 1.0, jnp.clip(wished, SHORTEST * most, LONGEST * most))

    primal = length((s.v, s.w), (d.dv, d.dw), (s.zl, s.zu), (d.dzl, d.dzu), p, q)
    dual = length((s.zl, s.zu), (d.dzl, d.dzu), (s.v, s.w), (d.dv, d.dw), q, p)
    return jnp.minimum(primal, LONGEST), jnp.minimum(dual, LONGEST)


@partial(jax.jit, static_argnums=0)
def affine_targets(shape: Shape, data: Data, s: State) -> tuple[Flat, Flat]:
    """Products driven to zero."""
    del shape, data
    return jax.tree.map(lambda v, z: -v * z, s.v, s.zl), jax.tree.map(lambda w, z: -w * z, s.w, s.zu)


@partial(jax.jit, static_argnums=0)
def mehrotra_targets(shape: Shape, data: Data, s: State, d: Direction, mu: Array, least_mu: Array) -> tuple[Flat, Flat, Array]:
    """Centring by (mu_affine / mu)^3, at most MOST_CENTRING and not below least_mu (what the goal needs: going further only costs digits),
    and the second-order term of the affine direction; also sigma."""
    del shape
    lower = [dot(mul(s.v, data.active), s.zl), dot(d.dv, s.zl), dot(s.v, d.dzl), dot(d.dv, d.dzl)]
    upper = [dot(mul(s.w, data.bounded), s.zu), dot(d.dw, s.zu), dot(s.w, d.dzu), dot(d.dw, d.dzu)]
    p, q = d.step_primal, d.step_dual
    after = sum(a[0] + p * a[1] + q * a[2] + p * q * a[3] for a in (lower, upper))
    count = sum(a.sum() for a in data.active) + sum(a.sum() for a in data.bounded)
    ratio = jnp.clip(after / count / mu, 0.0, 1.0)
    sigma = jnp.maximum(jnp.minimum(ratio**3, MOST_CENTRING), jnp.clip(least_mu / mu, 1e-6, 0.5))
    tl = jax.tree.map(lambda v, z, a, b: sigma * mu - v * z - a * b, s.v, s.zl, d.dv, d.dzl)
    tu = jax.tree.map(lambda w, z, a, b: sigma * mu - w * z - a * b, s.w, s.zu, d.dw, d.dzu)
    return tl, tu, sigma


@partial(jax.jit, static_argnums=0)
def centrality_targets(
    shape: Shape, data: Data, s: State, d: Direction, tl: Flat, tu: Flat, target_mu: Array, gain: Array
) -> tuple[Flat, Flat]:
    """Gondzio's corrector: products at a bolder trial point are pulled into [0.1, 10] x target_mu; the pull down is capped."""
    del shape
    p = jnp.minimum(d.step_primal + gain, 1.0)
    q = jnp.minimum(d.step_dual + gain, 1.0)

    def correct(v, dv, z, dz, t, m):
        product = (v + p * dv) * (z + q * dz)
        pull = jnp.clip(product, 0.1 * target_mu, 10.0 * target_mu) - product
        return t + m * jnp.maximum(pull, -10.0 * target_mu)

    new_l = jax.tree.map(correct, s.v, d.dv, s.zl, d.dzl, tl, data.active)
    new_u = jax.tree.map(correct, s.w, d.dw, s.zu, d.dzu, tu, data.bounded)
    return new_l, new_u


@partial(jax.jit, static_argnums=0)
def step(shape: Shape, data: Data, s: State, d: Direction, primal: Array, dual: Array) -> State:
    """Move, keeping every active variable strictly positive."""
    del shape

    def move(a, da, m, length):
        return jnp.where(m > 0, jnp.maximum(a + length * da, 1e-3 * jnp.finfo(a.dtype).tiny ** 0.5 + 1e-14 * a), 1.0)

    def move_dual(a, da, m, length):
        return jnp.where(m > 0, jnp.maximum(a + length * da, 1e-14 * a), 0.0)

    return State(
        v=jax.tree.map(partial(move, length=primal), s.v, d.dv, data.active),
        w=jax.tree.map(partial(move, length=primal), s.w, d.dw, data.bounded),
        y=jax.tree.map(lambda y, dy: y + dual * dy, s.y, d.dy),
        zl=jax.tree.map(partial(move_dual, length=dual), s.zl, d.dzl, data.active),
        zu=jax.tree.map(partial(move_dual, length=dual), s.zu, d.dzu, data.bounded),
    )


@partial(jax.jit, static_argnums=0)
def weighted_cost(shape: Shape, data: Data) -> Rows:
    return apply(shape, data, mul(data.active, data.cost))


@partial(jax.jit, static_argnums=0)
def lift(shape: Shape, data: Data, primal: Rows, dual: Rows) -> State:
    """v = A' primal and z = c - A' dual, both at least a share of their mean size and inside the boxes."""
    count = sum(a.sum() for a in data.active)
    v = mul(data.active, transpose(shape, data, primal))
    floor = jnp.maximum(PRIMAL_FLOOR * sum(jnp.sum(jnp.abs(a)) for a in v) / count, 1e-3)

    def inside(a, m, u, b):
        return jnp.where(m > 0, jnp.where(b > 0, jnp.clip(a, jnp.minimum(floor, 0.25 * u), 0.5 * u), jnp.maximum(a, floor)), 1.0)

    v = jax.tree.map(inside, v, data.active, data.upper, data.bounded)
    w = above(shape, lambda a, u, b: jnp.where(b > 0, u - a, 1.0), v, data.upper, data.bounded)
    w = w if shape.x_bounded else w._replace(x=jnp.ones_like(w.x))
    q = jax.tree.map(lambda c, t, m: (c - t) * m, data.cost, transpose(shape, data, dual), data.active)
    least = jnp.maximum(DUAL_FLOOR * sum(jnp.sum(jnp.abs(a)) for a in q) / count, 1e-3)
    floors = jax.tree.map(lambda c: jnp.maximum(COST_FLOOR * jnp.abs(c), least), data.cost)
    zl = jax.tree.map(
        lambda a, m, b, le: m * jnp.where(b > 0, jnp.maximum(a, 0.0) + le, jnp.maximum(a, le)), q, data.active, data.bounded, floors
    )
    zu = above(shape, lambda a, b, le: b * (jnp.maximum(-a, 0.0) + le), q, data.bounded, floors)
    both = count + sum(a.sum() for a in data.bounded)
    mu = (dot(mul(v, data.active), zl) + dot(mul(w, data.bounded), zu)) / both
    zl = jax.tree.map(lambda z, a, m: m * jnp.maximum(z, LEAST_PRODUCT * mu / a), zl, v, data.active)
    zu = jax.tree.map(lambda z, a, m: m * jnp.maximum(z, LEAST_PRODUCT * mu / a), zu, w, data.bounded)
    return State(v, w, dual, zl, zu)
