"""One iteration's pieces: residuals, Theta, the Newton direction, complementarity targets, the step.

Newton system for targets (tl, tu) of the complementarity products:
    A dv = rp,   A' dy + dzl - dzu = rd,   dv + dw = ru,   zl dv + v dzl = tl,   zu dw + w dzu = tu
eliminated to  (A Theta A') dy = rp - A Theta g,  g = tl/v - (tu - zu ru)/w - rd,  dv = Theta (A' dy + g),  1/Theta = zl/v + zu/w.

What is said of columns is said once, for those of a chunk of nodes (trees: `Part`) and for those of no node (arrays).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizer.solver.operators import (
    active_own,
    apply_of_chunk,
    apply_own,
    dot_of_chunk,
    held_prices_of_chunk,
    outputs,
    row_outputs,
    slots_total,
    split_outputs,
    transpose_of_chunk,
    transpose_own,
)
from optimizer.solver.refinement import Solved
from optimizer.solver.structure import Array, Both, Cells, Data, Part, Point, Shape, State, Terms, split_own
from optimizer.solver.sweeps import sweep


class Gaps(NamedTuple):
    """What the point misses, of nodes or of none."""

    primal: Array  # b - A v
    dual: Any  # c - A' y - zl + zu
    width: Any  # upper - v - w
    theta: Any


class Residual(NamedTuple):
    gaps: Both  # of Gaps
    mu: Array
    primal_cost: Array
    dual_cost: Array
    primal_error: Array  # relative, infinity norm
    dual_error: Array
    dual_size: Array  # the same, absolute

    @property
    def theta(self) -> Both:
        return Both(self.gaps.cells.theta, self.gaps.own.theta)


class Targets(NamedTuple):
    """Of the products, of nodes or of none."""

    lower: Any
    upper: Any


class Move(NamedTuple):
    """A direction, of nodes or of none."""

    dv: Any
    dw: Any
    dzl: Any
    dzu: Any
    dy: Array


class Direction(NamedTuple):
    move: Both  # of Move
    step_primal: Array  # largest step to the boundary, at most 1
    step_dual: Array
    rounds: Array  # refinement rounds used
    error: Array  # residual of the rows that the direction would leave behind, relative to the right-hand side of the program


def largest(tree: Any) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a), initial=0.0) for a in jax.tree.leaves(tree)]))


def mul(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.multiply, a, b)


def above(shape: Shape, f: Callable[..., Array], *trees: Any) -> Any:
    """f of what belongs to upper bounds; a single zero for placement that has none, which halves the memory traffic."""
    if not isinstance(trees[0], Part):
        return f(*trees)
    x = f(*(t.x for t in trees)) if shape.x_bounded else jnp.zeros((1, 1, 1), trees[0].rest.dtype)
    return Part(x, f(*(t.rest for t in trees)))


def everywhere(shape: Shape, data: Data, f: Callable[..., tuple[Any, Any, Any]], *trees: Both) -> tuple[Both, Any, Any]:
    """f(terms, ...) -> (result, totals, least) for every chunk of nodes and for what belongs to none."""

    def body(c: Cells, *parts: Any) -> tuple[Any, Any, Any]:
        return f(c.terms, *parts)

    cells, totals, least = sweep(shape, body, data.cells, *(t.cells for t in trees))
    own, own_totals, own_least = f(data.own, *(t.own for t in trees))
    return Both(cells, own), jax.tree.map(jnp.add, totals, own_totals), jax.tree.map(jnp.minimum, least, own_least)


def residuals(shape: Shape, data: Data, s: State) -> Residual:
    """Everything that the present point decides."""
    v_own = s.own.v * data.own.active
    y_own, link = active_own(shape, data, s.own.y)
    held, o_own = split_outputs(shape, outputs(shape, data, split_own(shape, v_own).z))

    def body(c: Cells, p: Point) -> tuple[Any, Any, Any]:
        ax, slots = apply_of_chunk(shape, data, c, mul(p.v, c.terms.active), held)
        active = p.y * c.terms.row_active
        aty = transpose_of_chunk(shape, data, c, active, link)
        gaps, totals, least = gaps_of(shape, c.terms, p, ax, aty)
        return (gaps, held_prices_of_chunk(shape, c, active)), (totals, slots_total(shape, c, slots)), least

    (cells, seen), (totals, slots), least = sweep(shape, body, data.cells, s.cells)
    ax, aty = apply_own(shape, data, v_own, o_own, slots), transpose_own(shape, data, row_outputs(shape, data, seen, y_own))
    own, own_totals, own_least = gaps_of(shape, data.own, s.own, ax, aty)
    gap, primal_cost, dual_cost = jax.tree.map(jnp.add, totals, own_totals)
    primal, dual, rhs, cost = jax.tree.map(lambda a, b: -jnp.minimum(a, b), least, own_least)
    return Residual(Both(cells, own), gap / data.count, primal_cost, dual_cost, primal / (1.0 + rhs), dual / (1.0 + cost), dual)


def gaps_of(shape: Shape, t: Terms, p: Point, ax: Array, aty: Any) -> tuple[Gaps, tuple[Array, ...], tuple[Array, ...]]:
    """(gaps; totals: complementarity, primal cost, dual cost; the negatives of the largest entries of primal, dual, rhs and cost)."""
    primal = (t.rhs - ax) * t.row_active
    dual = jax.tree.map(lambda c, q, zl, zu, m: (c - q - zl + zu) * m, t.cost, aty, p.zl, p.zu, t.active)
    width = above(shape, lambda u, v, w, m: (u - v - w) * m, t.upper, p.v, p.w, t.bounded)
    theta = jax.tree.map(
        lambda zl, v, zu, w, m, b: jnp.where(m, 1.0 / (zl / v + b * zu / w + ~m), 0.0), p.zl, p.v, p.zu, p.w, t.active, t.bounded
    )
    v = mul(p.v, t.active)
    gap = dot_of_chunk(v, p.zl) + dot_of_chunk(mul(p.w, t.bounded), p.zu)
    dual_cost = jnp.sum(t.rhs * p.y * t.row_active) - dot_of_chunk(mul(t.upper, t.bounded), p.zu)
    sizes = tuple(-largest(a) for a in (primal, dual, t.rhs, t.cost))
    return Gaps(primal, dual, width, theta), (gap, dot_of_chunk(t.cost, v), dual_cost), sizes


def right_hand_side(shape: Shape, data: Data, s: State, res: Residual, targets: Both) -> tuple[Both, Both]:
    """g and rp - A Theta g."""
    own_g = g_of(shape, data.own, s.own, res.gaps.own, targets.own)
    own_columns = own_g * res.gaps.own.theta
    held, o_own = split_outputs(shape, outputs(shape, data, split_own(shape, own_columns).z))

    def body(c: Cells, p: Point, gaps: Gaps, t: Targets) -> tuple[Any, Array, None]:
        g = g_of(shape, c.terms, p, gaps, t)
        product, slots = apply_of_chunk(shape, data, c, mul(gaps.theta, g), held)
        return (g, gaps.primal - product), slots_total(shape, c, slots), None

    (g, rhs), slots, _ = sweep(shape, body, data.cells, s.cells, res.gaps.cells, targets.cells)
    own_rhs = res.gaps.own.primal - apply_own(shape, data, own_columns, o_own, slots)
    return Both(g, own_g), Both(rhs, own_rhs)


def g_of(shape: Shape, t: Terms, p: Point, gaps: Gaps, targets: Targets) -> Any:
    def lower(tl: Array, v: Array, rd: Array, m: Array) -> Array:
        return m * (tl / v - rd)

    g = jax.tree.map(lower, targets.lower, p.v, gaps.dual, t.active)
    upper = above(shape, lambda tu, zu, ru, w, b: b * (tu - zu * ru) / w, targets.upper, p.zu, gaps.width, p.w, t.bounded)
    return jax.tree.map(jnp.subtract, g, upper)


def expand(shape: Shape, data: Data, s: State, res: Residual, g: Both, solved: Solved, targets: Both) -> Direction:
    """The whole direction from dy."""
    y_own, link = active_own(shape, data, solved.y.own)
    z = slice(0, shape.acquisitions)

    def body(c: Cells, p: Point, gaps: Gaps, g: Part, y: Array, t: Targets) -> tuple[Any, None, Any]:
        active = y * c.terms.row_active
        aty = transpose_of_chunk(shape, data, c, active, link)
        dv = jax.tree.map(lambda th, a, b: th * (a + b), gaps.theta, aty, g)
        move = move_of(shape, c.terms, p, gaps, t, dv, y)
        return (move, held_prices_of_chunk(shape, c, active)), None, longest(p, move)

    (cells, seen), _, least = sweep(shape, body, data.cells, s.cells, res.gaps.cells, g.cells, solved.y.cells, targets.cells)
    aty = transpose_own(shape, data, row_outputs(shape, data, seen, y_own))
    theta = res.gaps.own.theta
    dv = theta * (aty + g.own)
    dv = dv.at[z].set(solved.z + theta[z] * g.own[z])
    own = move_of(shape, data.own, s.own, res.gaps.own, targets.own, dv, solved.y.own)
    primal, dual = jax.tree.map(lambda a, b: jnp.minimum(jnp.minimum(a, b), 1.0), least, longest(s.own, own))
    return Direction(Both(cells, own), primal, dual, solved.rounds, solved.error / (1.0 + data.rhs_size))


def move_of(shape: Shape, t: Terms, p: Point, gaps: Gaps, targets: Targets, dv: Any, dy: Array) -> Move:
    dzl = jax.tree.map(lambda tl, zl, d, v, m: m * (tl - zl * d) / v, targets.lower, p.zl, dv, p.v, t.active)
    dw = above(shape, lambda ru, d, b: b * (ru - d), gaps.width, dv, t.bounded)
    dzu = above(shape, lambda tu, zu, d, w, b: b * (tu - zu * d) / w, targets.upper, p.zu, dw, p.w, t.bounded)
    return Move(dv, dw, dzl, dzu, dy)


def longest(p: Point, m: Move) -> tuple[Array, Array]:
    """Largest steps, of the primal and of the dual part, that keep value + step * change >= 0 (inactive entries do not change)."""
    return to_boundary((p.v, p.w), (m.dv, m.dw)), to_boundary((p.zl, p.zu), (m.dzl, m.dzu))


def to_boundary(value: Any, change: Any) -> Array:
    # one over the largest relative decrease: a division per entry less than the smallest ratio, and no comparison
    most = [
        jnp.max(jnp.where(d < 0, -d / jnp.where(d < 0, a, 1.0), 0.0), initial=0.0)
        for a, d in zip(jax.tree.leaves(value), jax.tree.leaves(change), strict=True)
    ]
    return 1.0 / jnp.maximum(jnp.max(jnp.stack(most)), 1e-300)


def step(shape: Shape, data: Data, s: State, d: Direction, primal: Array, dual: Array) -> State:
    """Move, keeping every active variable strictly positive."""

    def one(t: Terms, p: Point, m: Move) -> tuple[Point, None, None]:
        def move(a: Array, da: Array, on: Array) -> Array:
            return jnp.where(on, jnp.maximum(a + primal * da, 1e-3 * jnp.finfo(a.dtype).tiny ** 0.5 + 1e-14 * a), 1.0)

        def move_dual(a: Array, da: Array, on: Array) -> Array:
            return jnp.where(on, jnp.maximum(a + dual * da, 1e-14 * a), 0.0)

        v, w = (jax.tree.map(move, a, da, on) for a, da, on in ((p.v, m.dv, t.active), (p.w, m.dw, t.bounded)))
        zl, zu = (jax.tree.map(move_dual, a, da, on) for a, da, on in ((p.zl, m.dzl, t.active), (p.zu, m.dzu, t.bounded)))
        return Point(v, w, zl, zu, p.y + dual * m.dy), None, None

    return everywhere(shape, data, one, s, d.move)[0]
