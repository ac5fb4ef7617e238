"""One iteration's pieces: what a point decides, the Newton direction, the step.

Newton system for targets (tl, tu) of the complementarity products:
    A dv = rp,   A' dy + dzl - dzu = rd,   dv + dw = ru,   zl dv + v dzl = tl,   zu dw + w dzu = tu
Everything is kept relative to the point: q = dv / v, qw = dw / w, sl = dzl / zl, su = dzu / zu, and targets in units of the present
products, al = tl / (v zl) and au = tu / (w zu). With 1/Theta = zl/v + zu/w and k = Theta / v it reads
    q + sl = al,   qw + su = au,   qw = (ru - v q) / w,   q = k A' dy + g,   g = k zl al - k zu au - e,   e = k (rd - zu ru / w)
and the rows become (A Theta A') dy = rp - A (v g). Most placement has no upper bound: there k zl is one, k zu is zero, and a direction is
two arrays whose sum is its target; steps to the boundary and products after a step need no division.

Where there is no variable v, zl and every change are zero, where there is no upper bound w is one and zu zero.

What is said of columns is said once, for those of a chunk of nodes (trees: `Part`) and for those of no node (arrays).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
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
from optimizer.solver.products import Products, end_to_end, taken_apart
from optimizer.solver.refinement import Solved
from optimizer.solver.structure import Array, Both, Cells, Data, Part, Point, Shape, State, Terms, split_own
from optimizer.solver.sweeps import sweep

# Added to zl/v + zu/w of what belongs to no node, in scaled units: a proximal term in v (Friedlander and Orban 2012), which leaves the dual
# rows short by PROXIMAL * dv, to be worked off by the next step. An acquisition strictly between its bounds has Theta = v^2 / mu without
# end; at a gap of 1e-8 (Theta 1e10) refinement stagnated at errors of 0.7. With it the reference family goes on to 1e-10. (1e-5
# went to 3e-11, but rounding then told one device from two by 3e-11 of the cost.)
PROXIMAL = 1e-6


class Local(NamedTuple):
    """What the point decides, of nodes or of none. `share_*` and `ratio` of placement without upper bounds are single entries."""

    primal: Array  # b - A v
    theta: Any
    k: Any  # Theta / v
    e: Any  # the dual gap, relative
    share_lower: Any  # k zl
    share_upper: Any  # k zu
    ratio: Any  # v / w, 0 without an upper bound
    width: Any  # (upper - v - w) / w


class Residual(NamedTuple):
    local: Both  # of Local
    mu: Array
    primal_cost: Array
    dual_cost: Array
    primal_error: Array  # relative, infinity norm
    dual_error: Array
    dual_size: Array  # the same, absolute

    @property
    def theta(self) -> Both:
        return Both(self.local.cells.theta, self.local.own.theta)


def aims_nothing(shape: Shape, data: Data) -> Both:
    """Targets of products that stay."""

    def one(t: Terms) -> tuple[Any, None, None]:
        kinds = (jax.tree.map(lambda m: jnp.zeros(m.shape, data.u_value.dtype), on) for on in (t.active, t.bounded))
        return end_to_end(shape, *kinds), None, None

    return everywhere(shape, data, one)[0]


class Move(NamedTuple):
    """A direction relative to the point, of nodes or of none, as `Products` are laid out; dy is absolute."""

    primal: Any  # q, then qw
    dual: Any  # sl, then su
    dy: Array


class Direction(NamedTuple):
    move: Both  # of Move
    fall_primal: Array  # the largest relative decrease, at least 0: a step of its inverse reaches the boundary
    fall_dual: Array
    error: Array  # residual of the rows that the direction would leave behind, relative to the right-hand side of the program

    @property
    def step_primal(self) -> Array:
        """Largest step that keeps every value positive, at most 1."""
        return to_boundary(self.fall_primal)

    @property
    def step_dual(self) -> Array:
        return to_boundary(self.fall_dual)


def to_boundary(fall: Array) -> Array:
    return 1.0 / jnp.maximum(fall, 1.0)


def reduced(how: Sequence[Callable], start: Sequence[float], arrays: Sequence[Array]) -> list[Array]:
    """Arrays of one shape reduced to a number each in one pass: their common terms are read once."""
    numbers = {a: jnp.asarray(a, arrays[0].dtype) for a in start}
    first = [numbers[a] for a in start]
    return jax.lax.reduce(list(arrays), first, lambda x, y: [f(i, j) for f, i, j in zip(how, x, y, strict=True)], range(arrays[0].ndim))


def mul(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.multiply, a, b)


def above(shape: Shape, f: Callable[..., Array], *trees: Any, otherwise: float = 0.0) -> Any:
    """f of what belongs to upper bounds; a single entry for placement that has none, which halves the memory traffic."""
    if not isinstance(trees[0], Part):
        return f(*trees)
    x = f(*(t.x for t in trees)) if shape.x_bounded else jnp.full((*trees[0].rest.shape[:-2], 1, 1, 1), otherwise, trees[0].rest.dtype)
    return Part(x, f(*(t.rest for t in trees)))


def everywhere(shape: Shape, data: Data, f: Callable[..., tuple[Any, Any, Any]], *trees: Both) -> tuple[Both, Any, Any]:
    """f(terms, ...) -> (result, totals, least) for every chunk of nodes and for what belongs to none; f treats all entries alike."""

    def body(c: Cells, *parts: Any) -> tuple[Any, Any, Any]:
        return f(c.terms, *parts)

    cells, totals, least = sweep(shape, body, data.cells, *(t.cells for t in trees), alike=True)
    own, own_totals, own_least = f(data.own, *(t.own for t in trees))
    return Both(cells, own), jax.tree.map(jnp.add, totals, own_totals), jax.tree.map(jnp.minimum, least, own_least)


def residuals(shape: Shape, data: Data, s: State) -> Residual:
    """Everything that the present point decides."""
    y_own, link = active_own(shape, data, s.own.y)
    held, o_own = split_outputs(shape, outputs(shape, data, split_own(shape, s.own.v).z))

    def body(c: Cells, p: Point) -> tuple[Any, Any, Any]:
        ax, slots = apply_of_chunk(shape, data, c, p.v, held)
        active = p.y * c.terms.row_active
        aty = transpose_of_chunk(shape, data, c, active, link)
        local, totals, least = local_of(shape, c.terms, p, ax, aty)
        return (local, held_prices_of_chunk(shape, c, active)), (totals, slots_total(shape, c, slots)), least

    (cells, seen), (totals, slots), least = sweep(shape, body, data.cells, s.cells)
    ax, aty = apply_own(shape, data, s.own.v, o_own, slots), transpose_own(shape, data, row_outputs(shape, data, seen, y_own))
    own, own_totals, own_least = local_of(shape, data.own, s.own, ax, aty, PROXIMAL)
    gap, primal_cost, dual_cost = jax.tree.map(jnp.add, totals, own_totals)
    primal, dual = jax.tree.map(lambda a, b: -jnp.minimum(a, b), least, own_least)
    errors = primal / (1.0 + data.rhs_most), dual / (1.0 + data.cost_most)
    return Residual(Both(cells, own), gap / data.count, primal_cost, dual_cost, *errors, dual)


def local_of(
    shape: Shape, t: Terms, p: Point, ax: Array, aty: Any, proximal: float = 0.0
) -> tuple[Local, tuple[Array, ...], tuple[Array, ...]]:
    """(local; totals: complementarity, primal cost, dual cost; the negatives of the largest entries of the primal and the dual gap).
    `proximal` not for placement: where that has no upper bounds its k zl is taken to be one."""
    primal = (t.rhs - ax) * t.row_active
    dual = jax.tree.map(lambda c, q, zl, zu, m: (c - q - zl + zu) * m, t.cost, aty, p.zl, p.zu, t.active)
    ratio = above(shape, lambda v, w, b: v / w * b, p.v, p.w, t.bounded)
    width = above(shape, lambda u, v, w, b: (u - v - w) / w * b, t.upper, p.v, p.w, t.bounded)
    stiffness = jax.tree.map(lambda zl, zu, r: zl + zu * r, p.zl, p.zu, ratio)
    stiffness = stiffness + proximal * p.v if proximal else stiffness
    k = jax.tree.map(lambda a, m: m / (a + ~m), stiffness, t.active)
    share_lower = above(shape, jnp.multiply, k, p.zl, otherwise=1.0)
    share_upper = above(shape, jnp.multiply, k, p.zu)
    e = jax.tree.map(lambda k, rd, share, width: k * rd - share * width, k, dual, share_upper, width)
    kinds = zip(*map(jax.tree.leaves, (p.v, p.zl, t.cost, dual)), strict=True)
    lower, costs, sizes = zip(*(of_columns(*kind) for kind in kinds), strict=True)
    gap = sum(lower) + dot_of_chunk(p.w, p.zu)
    dual_cost = jnp.sum(t.rhs * p.y * t.row_active) - dot_of_chunk(t.upper, p.zu)
    most = -reduced([jnp.maximum], [0.0], [jnp.abs(primal)])[0], -reduce(jnp.maximum, sizes)
    local = Local(primal, mul(p.v, k), k, e, share_lower, share_upper, ratio, width)
    return local, (gap, sum(costs), dual_cost), most


def of_columns(v: Array, zl: Array, cost: Array, dual: Array) -> list[Array]:
    """Sums of products and of costs, and the largest dual gap."""
    if not v.size:
        return [jnp.zeros((), v.dtype)] * 3
    return reduced((jnp.add, jnp.add, jnp.maximum), (0.0, 0.0, 0.0), (v * zl, cost * v, jnp.abs(dual)))


def aims(shape: Shape, local: Local, targets: Any) -> Any:
    """g: the move of every column while prices rest."""
    return jax.tree.map(
        lambda al, au, sl, su, e: sl * al - su * au - e, *taken_apart(shape, targets), local.share_lower, local.share_upper, local.e
    )


def right_hand_side(shape: Shape, data: Data, s: State, local: Both, targets: Both) -> tuple[Both, Both]:
    """(rp - A (v g), g); targets of the products, in units of the present ones, as `Products` are laid out, zero where there is none."""
    own = aims(shape, local.own, targets.own)
    own_columns = s.own.v * own
    held, o_own = split_outputs(shape, outputs(shape, data, split_own(shape, own_columns).z))

    def body(c: Cells, v: Part, here: Local, t: Any) -> tuple[Any, Array, None]:
        g = aims(shape, here, t)
        product, slots = apply_of_chunk(shape, data, c, mul(v, g), held)
        return (here.primal - product, g), slots_total(shape, c, slots), None

    (rhs, g), slots, _ = sweep(shape, body, data.cells, s.cells.v, local.cells, targets.cells)
    return Both(rhs, local.own.primal - apply_own(shape, data, own_columns, o_own, slots)), Both(g, own)


def expand(shape: Shape, data: Data, s: State, local: Both, targets: Both, g: Both, solved: Solved) -> Direction:
    """The whole direction from dy; g of `right_hand_side`."""
    y_own, link = active_own(shape, data, solved.y.own)
    z = slice(0, shape.acquisitions)

    def body(c: Cells, here: Local, t: Any, g: Part, y: Array) -> tuple[Any, None, Any]:
        active = y * c.terms.row_active
        aty = transpose_of_chunk(shape, data, c, active, link)
        q = jax.tree.map(lambda k, a, g: k * a + g, here.k, aty, g)
        move = move_of(shape, here, t, q, y)
        return (move, held_prices_of_chunk(shape, c, active)), None, rises(move)

    (cells, seen), _, least = sweep(shape, body, data.cells, local.cells, targets.cells, g.cells, solved.y.cells)
    aty = transpose_own(shape, data, row_outputs(shape, data, seen, y_own))
    real = data.own.active[z]
    of_z = (solved.z / (s.own.v[z] + ~real) + g.own[z]) * real
    q = jnp.concatenate([of_z, (local.own.k * aty + g.own)[shape.acquisitions :]])
    own = move_of(shape, local.own, targets.own, q, solved.y.own)
    primal, dual = jax.tree.map(lambda a, b: -jnp.minimum(a, b), least, rises(own))
    return Direction(Both(cells, own), primal, dual, solved.error / (1.0 + data.rhs_size))


def move_of(shape: Shape, here: Local, t: Any, q: Any, dy: Array) -> Move:
    primal = end_to_end(shape, q, above(shape, lambda width, ratio, q: width - ratio * q, here.width, here.ratio, q))
    return Move(primal, jax.tree.map(jnp.subtract, t, primal), dy)


def smallest(tree: Any) -> Array:
    """Of all entries of the tree, at most 0."""
    return reduce(jnp.minimum, [reduced([jnp.minimum], [0.0], [a])[0] for a in jax.tree.leaves(tree)])


def rises(m: Move) -> tuple[Array, Array]:
    """The least relative change, of the primal and of the dual part (inactive entries do not change)."""
    return smallest(m.primal), smallest(m.dual)


def step(shape: Shape, data: Data, at: Both, y: Both, move: Both, primal: Array, dual: Array) -> State:
    """Move from the products `at` and the prices y of the rows, keeping every active variable strictly positive."""

    def one(t: Terms, here: Products, y: Array, m: Move) -> tuple[Point, None, None]:
        def go(a: Array, rise: Array) -> Array:
            return moved(a, rise, primal) + 1e-3 * jnp.finfo(a.dtype).tiny ** 0.5

        v, w = taken_apart(shape, jax.tree.map(go, here.value, m.primal))
        zl, zu = taken_apart(shape, jax.tree.map(lambda a, rise: moved(a, rise, dual), here.price, m.dual))
        return Point(v, w, zl, zu, y + dual * m.dy), None, None

    return everywhere(shape, data, one, at, y, move)[0]


@jax.jit
def moved(a: Array, rise: Array, step: Array) -> Array:
    return a * jnp.maximum(1.0 + step * rise, 1e-14)
