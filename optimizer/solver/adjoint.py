"""Derivatives of a point of the central path: the plan that a barrier smooths, forward and reverse, from the factor at hand.

At a barrier mu the plan minimises cost - mu * (sum of the logarithms of every variable and of every room below an upper bound). It is
unique and smooth in the program's numbers, unlike the optimal plan, which jumps from vertex to vertex. With F(point, numbers) = 0 its
conditions,

    forward   d point = -F_point^-1 F_numbers d numbers
    reverse   F_point^-T applied to what the caller's function has to say of the plan, times F_numbers

and F_point is the Newton system of `newton`, symmetric where it is reduced to (v, y). The products v zl and w zu stay at mu. The factor
holds a proximal term that the conditions do not, so every solve is repeated on what it leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizer.solver.compiled import compile_for
from optimizer.solver.interior_point import interior_point
from optimizer.solver.layout import Layout
from optimizer.solver.newton import Local, aims_nothing, expand, residuals, right_hand_side, step, to_boundary
from optimizer.solver.operators import apply, transpose
from optimizer.solver.products import products_of, taken_apart
from optimizer.solver.refinement import refine, room_for
from optimizer.solver.structure import Array, Both, Data, Part, Point, Shape, State
from optimizer.solver.substitution import Factor

ROW_TOLERANCE, OWN_TOLERANCE = 1e-12, 1e-13
LEFT = 1e-11  # of a linear solve, relative to its right-hand side
MOST_ROUNDS = 12
CENTRED = 1e-10  # relative distance of the farthest product from the barrier, and relative errors of the rows
MOST_STEPS = 60
SHARE = 0.95  # of the way to the boundary


class Gaps(NamedTuple):
    """What the conditions leave open, or how it changes: rows, columns, upper bounds."""

    primal: Both  # b - A v
    dual: Both  # c - A' y - zl + zu
    width: Both  # upper - v - w


class Central(NamedTuple):
    """A point of the central path with its factor. `spread`: the farthest product, relative to the barrier, less one."""

    state: State
    factor: Factor
    barrier: float  # scaled
    spread: float
    error: float


def central_point(layout: Layout, barrier: float) -> Central:
    """The point of the central path at a barrier, in units of the layout's money. Raises ArithmeticError where it is not reached."""
    data, shape = layout.data, layout.shape
    k = compile_for(shape, data)
    data, state, mu = k.place(data), None, float("inf")
    for iterate in interior_point(layout, gap_relative=1e-14):
        if iterate.mu * mu > barrier**2 or state is None:  # nearer than the one before
            state, mu = iterate.state, iterate.mu
        if iterate.mu <= barrier:
            break
    goal = jnp.asarray(barrier, data.u_value.dtype)
    for _ in range(MOST_STEPS):
        res = k.residuals(data, state)
        factor = k.factor(data, res.theta, res.mu)
        spread, error = float(_spread(shape, state, goal)), max(float(res.primal_error), float(res.dual_error))
        if spread < CENTRED and error < CENTRED:
            return Central(state, factor, barrier, spread, error)
        state = _centred(shape, data, state, res.local, factor, goal)
    raise ArithmeticError(
        f"the point of the central path at this barrier was not reached: products are {spread:.1e} from it, rows {error:.1e}; "
        "ask for a larger barrier"
    )


@partial(jax.jit, static_argnums=0)
def _centred(shape: Shape, data: Data, s: State, local: Both, f: Factor, mu: Array) -> State:
    """A Newton step towards equal products."""
    at = products_of(shape, s)
    targets = relative(at, lambda product: mu / product - 1.0)
    rhs, g = right_hand_side(shape, data, s, local, targets)
    solved, _ = refine(shape, data, f, rhs, ROW_TOLERANCE, OWN_TOLERANCE, room_for(shape, data))
    d = expand(shape, data, s, local, targets, g, solved)
    primal, dual = (jnp.where(to_boundary(fall) >= 1.0, 1.0, SHARE * to_boundary(fall)) for fall in (d.fall_primal, d.fall_dual))
    return step(shape, data, at, Both(s.cells.y, s.own.y), d.move, primal, dual)


def relative(at: Both, f: Callable[[Array], Array]) -> Both:
    """f of the products, of nodes and of none; zero where there is no variable or no bound."""

    def of(v: Array, z: Array) -> Array:
        product = v * z
        return jnp.where(product > 0, f(jnp.where(product > 0, product, 1.0)), 0.0)

    return _each(lambda here: jax.tree.map(of, *here), at)


@partial(jax.jit, static_argnums=0)
def _spread(shape: Shape, s: State, mu: Array) -> Array:
    off = relative(products_of(shape, s), lambda product: jnp.abs(product / mu - 1.0))
    return jnp.max(jnp.stack([jnp.max(a, initial=0.0) for a in jax.tree.leaves(off)]))


# linear systems -------------------------------------------------------------------------------------------------------------------
@partial(jax.jit, static_argnums=0)
def gaps_of(shape: Shape, data: Data, s: State) -> Gaps:
    """What the program `data` leaves open at a point."""
    values, prices = Both(s.cells.v, s.own.v), Both(s.cells.y, s.own.y)
    av, aty = apply(shape, data, values), transpose(shape, data, prices)
    terms = Both(data.cells.terms, data.own)
    primal = _each(lambda t, a: (t.rhs - a) * t.row_active, terms, av)

    def open_dual(t: Any, a: Any, p: Point) -> Any:
        return jax.tree.map(lambda c, q, zl, zu, m: (c - q - zl + zu) * m, t.cost, a, p.zl, p.zu, t.active)

    dual = _each(open_dual, terms, aty, s)
    return Gaps(primal, dual, _each(partial(_width, shape), terms, s))


def _each(f: Any, *pairs: Any) -> Both:
    return Both(f(*(p.cells for p in pairs)), f(*(p.own for p in pairs)))


def _width(shape: Shape, t: Any, p: Point) -> Any:
    return _bounds(shape, lambda u, v, w, b: jnp.where(b, u - v - w, 0.0), t.upper, p.v, p.w, t.bounded)


def _bounds(shape: Shape, f: Any, *trees: Any) -> Any:
    """f of what belongs to upper bounds, as in `newton.above`, of all chunks."""
    if not isinstance(trees[0], Part):
        return f(*trees)
    x = f(*(t.x for t in trees)) if shape.x_bounded else jnp.zeros((trees[0].rest.shape[0], 1, 1, 1), trees[0].rest.dtype)
    return Part(x, f(*(t.rest for t in trees)))


@partial(jax.jit, static_argnums=0)
def change_of_point(shape: Shape, data: Data, s: State, f: Factor, gaps: Gaps) -> tuple[State, Array]:
    """How the point moves when the conditions change by `gaps`, products staying; and what is left, relative to `gaps`."""
    at = residuals(shape, data, s).local
    size = jnp.maximum(_size(gaps), jnp.finfo(data.u_value.dtype).tiny)
    none = jax.tree.map(jnp.zeros_like, s)

    def go_on(carry: Any) -> Array:
        done, _, _, left, before = carry
        return (done < MOST_ROUNDS) & (left > LEFT) & (left < 0.5 * before)

    def once(carry: Any) -> Any:
        done, move, open_, left, _ = carry
        more = _solved(shape, data, s, f, at, open_)
        move = jax.tree.map(jnp.add, move, more)
        open_ = jax.tree.map(jnp.subtract, gaps, _filled(shape, data, move))
        return done + 1, move, open_, _size(open_) / size, left

    start = jnp.zeros((), int), none, gaps, jnp.ones((), data.u_value.dtype), jnp.asarray(jnp.inf, data.u_value.dtype)
    _, move, _, left, _ = jax.lax.while_loop(go_on, once, start)
    return move, left


def _solved(shape: Shape, data: Data, s: State, f: Factor, at: Both, gaps: Gaps) -> State:
    """One solve with the factor."""

    def local(l: Local, p: Point, primal: Any, dual: Any, width: Any) -> Local:  # noqa: E741
        width = _bounds(shape, lambda a, w: a / w, width, p.w)
        e = jax.tree.map(lambda k, rd, share, a: k * rd - share * a, l.k, dual, l.share_upper, width)
        return l._replace(primal=primal, e=e, width=width)

    here = _each(local, at, s, *gaps)
    targets = aims_nothing(shape, data)
    rhs, g = right_hand_side(shape, data, s, here, targets)
    solved, _ = refine(shape, data, f, rhs, ROW_TOLERANCE, OWN_TOLERANCE, room_for(shape, data))
    move = expand(shape, data, s, here, targets, g, solved).move

    def absolute(p: Point, m: Any) -> Point:
        times = partial(jax.tree.map, jnp.multiply)
        (q, qw), (sl, su) = taken_apart(shape, m.primal), taken_apart(shape, m.dual)
        return Point(times(p.v, q), times(p.w, qw), times(p.zl, sl), times(p.zu, su), m.dy)

    return _each(absolute, s, move)


def _filled(shape: Shape, data: Data, move: State) -> Gaps:
    """The gaps that a move of the point fills."""
    av = apply(shape, data, Both(move.cells.v, move.own.v))
    aty = transpose(shape, data, Both(move.cells.y, move.own.y))
    terms = Both(data.cells.terms, data.own)
    dual = _each(lambda t, a, p: jax.tree.map(lambda q, zl, zu, m: (q + zl - zu) * m, a, p.zl, p.zu, t.active), terms, aty, move)
    width = _each(lambda t, p: _bounds(shape, lambda v, w, b: jnp.where(b, v + w, 0.0), p.v, p.w, t.bounded), terms, move)
    return Gaps(_each(lambda t, a: a * t.row_active, terms, av), dual, width)


def _size(gaps: Gaps) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a), initial=0.0) for a in jax.tree.leaves(gaps)]))
