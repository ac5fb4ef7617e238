"""Solve with the factor: forward through nodes, linking rows and acquisitions, and back. `factor` says what is eliminated when."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kernels.blocked import blocked_solve
from kernels.cells import times, times_transposed
from kernels.segments import summed, taken
from optimizer.solver.coupling import Coupling, apply_left, apply_left_transposed
from optimizer.solver.operators import (
    outputs,
    outputs_transpose,
    row_outputs,
    slots_total,
    split_outputs,
    with_none,
)
from optimizer.solver.structure import Array, Both, Cells, Data, NodeRows, Shape, split_own, split_own_rows
from optimizer.solver.sweeps import inner, sweep

INNER = 1  # rounds of refinement of the inner inverse; none ended the iteration at a gap of 1e-6, one at 1e-9, two no better


class Eliminated(NamedTuple):
    """Of the nodes, every array [C, ...]; V = Wd + K rows shared by the blocks of a node, M linking slots, L = K + M dense rows.

    First what a solve needs, then what is left to multiply with the matrix itself.
    """

    pool: Array  # [n, B, G] pool diagonal
    served: Array  # [n, B, Ws, Ws] inverse Cholesky factor of the served streams
    served_pool: Array  # [n, B, Ws, G] served factor times the coupling with the pools over their diagonal
    shared_served: Array  # [n, B, Ws, V+M] served factor times the coupling of shared rows
    shared_pool: Array  # [n, B, V+M, G] coupling of shared rows and slots with pools
    shared: Array  # [n, V, V] inverse Cholesky factor
    slot_shared: Array  # [n, V, M] shared factor times the coupling of slots
    reach: Array  # [n, B, G] availability, 0 on inactive rows
    side: Array  # [n, K] 1 on active side rows
    coupling: Array  # [n, B, Ws, G] of served streams with pools
    served_diagonal: Array  # [n, B, Ws]
    shared_diagonal: Array  # [n, V] of deferrable streams, and of the slacks of side rows
    dense_served: Array  # [n, B, L, Ws] side rows and slots with served streams
    dense_deferred: Array  # [n, L, Wd]
    dense: Array  # [n, L, L]


class Border(NamedTuple):
    """Rows over several scenarios and limits without a slack, eliminated last; see `border`."""

    rows: Both  # cells NodeRows [C, border, n, ...], own [border, L + R]: columns of the rest under each border row
    solved: Both  # the same, solved
    z: Array  # [border, Z]
    inverse: Array  # [border, border] inverse Cholesky factor


class Factor(NamedTuple):
    """Everything that a solve needs."""

    theta: Both
    cells: Eliminated
    link: Array  # [scenarios, Rs, Rs] inverse Cholesky factor
    coupling: Coupling
    border: Border | None  # None where the program has no such rows, and until they are eliminated


def inner_solve(shape: Shape, data: Data, f: Factor, g: Array, rhs_z: Array) -> tuple[Array, Array, Array | None]:
    """z of (Theta_z^-1 + U' S U) z = U' g - rhs_z; v = U z; and the outputs' prices g - S v where they come without a subtraction."""
    k = f.coupling
    if shape.acquisition_space:
        z = blocked_solve(k.inner, outputs_transpose(shape, data, g) - rhs_z) * data.own.active[: shape.acquisitions]
        return outputs(shape, data, z), z, None
    theta_z = split_own(shape, f.theta.own).z
    shift = outputs(shape, data, theta_z * rhs_z)
    if shape.scenarios:
        left, inverse = k.left

        def approximate(residual):
            return left @ blocked_solve(k.inner, inverse @ residual)

        def compliance(v):
            return left @ (left.T @ v)
    else:
        left, inverse, root = k.left
        reciprocal = jnp.where(root > 0, 1.0 / jnp.where(root > 0, root, 1.0), 0.0)

        def approximate(residual):
            return apply_left(shape, left, root, blocked_solve(k.inner, apply_left(shape, inverse, reciprocal, residual)))

        def compliance(v):
            return apply_left(shape, left, root, apply_left_transposed(shape, left, root, v[:, None])[:, 0])

    # with z = Theta_z (U' price - rhs_z) and v = U z, price = g - S v becomes (I + S G) price = g + S U Theta_z rhs_z
    g = g + compliance(shift)
    price = approximate(g)
    for _ in range(INNER):
        price = price + approximate(g - price - compliance(k.gram @ price))
    return k.gram @ price - shift, theta_z * (outputs_transpose(shape, data, price) - rhs_z), price


def forward_of_chunk(shape: Shape, e: Eliminated, rhs: NodeRows) -> tuple[Array, Array, Array]:
    """Pools, served streams and shared rows eliminated from a right-hand side: (y_served [n, B, Ws], y_shared [n, V], what is left for
    the slots [n, M]), each under its inverse factor."""
    shared = shape.deferrable + shape.sides
    y_served = times(e.served, rhs.served) - times(e.served_pool, rhs.pool)
    # the right-hand side of a linking row is added once, per scenario
    b_shared = jnp.pad(rhs.shared, ((0, 0), (0, shape.slots))) - times_transposed(e.shared_served, y_served).sum(1)
    b_shared = b_shared - times(e.shared_pool, rhs.pool / e.pool).sum(1)
    y_shared = times(e.shared, b_shared[:, :shared])
    return y_served, y_shared, b_shared[:, shared:] - times_transposed(e.slot_shared, y_shared)


def back_of_chunk(shape: Shape, c: Cells, e: Eliminated, rhs: NodeRows, y_served: Array, y_shared: Array, link: Array) -> NodeRows:
    """y of a chunk from what `forward_of_chunk` left; link [R + 1]: of the linking rows, 0 last."""
    capacity = rhs.pool
    if shape.deferrable + shape.sides + shape.slots:
        slots = (taken(link, c.slot_link) * c.slot_local).T  # [n, M]
        y_shared = y_shared - times(e.slot_shared, slots) if shape.slots else y_shared
        shared_y = times_transposed(e.shared, y_shared)
        both = over_blocks(shape, jnp.concatenate([shared_y, slots], axis=1))
        y_served = y_served - times(e.shared_served, both)
        capacity = capacity - times_transposed(e.shared_pool, both)
    else:
        shared_y = y_shared
    return NodeRows(times_transposed(e.served, y_served), capacity / e.pool - times_transposed(e.served_pool, y_served), shared_y)


def over_blocks(shape: Shape, a: Array) -> Array:
    """[n, m] -> [n, B, m]: what the blocks of a node share."""
    return jnp.broadcast_to(a[:, None, :], (a.shape[0], shape.blocks, a.shape[1]))


def held_at(shape: Shape, c: Cells, held: Array) -> Array:
    """[Q, G+K] -> [n, G+K]: what the nodes' states hold."""
    here = taken(held, c.state)
    return jnp.repeat(here, shape.pack, axis=0) if shape.pack > 1 else here


def held_prices(shape: Shape, e: Eliminated, y: NodeRows) -> Array:
    """[packs, G+K] the held part of R' y: minus the availability-weighted sums over the nodes of a pack."""
    both = jnp.concatenate([(e.reach * y.pool).sum(1), y.shared[:, shape.deferrable :]], axis=1)
    return -both.reshape(shape.packs, shape.pack, both.shape[1]).sum(1)


def solve_recourse(shape: Shape, data: Data, f: Factor, rhs: Both) -> tuple[Both, Array]:
    """N0^-1 rhs: everything but acquisitions and border; and the held part of R' y, [C, packs, G+K]."""
    limit, link = split_own_rows(shape, rhs.own)

    def back(c: Cells, e: Eliminated, rows: NodeRows, forward: tuple[Array, Array], links: Array) -> tuple[NodeRows, Array]:
        y = back_of_chunk(shape, c, e, rows, *forward, links)
        return y, held_prices(shape, e, y)

    nodes = data.cells, f.cells, rhs.cells
    if not shape.scenarios:
        links = jnp.zeros(shape.links, rhs.own.dtype)

        def body(c: Cells, e: Eliminated, rows: NodeRows) -> tuple[Any, None, None]:
            y_served, y_shared, _ = forward_of_chunk(shape, e, rows)
            return back(c, e, rows, (y_served, y_shared), with_none(links)), None, None

        (cells, prices), _, _ = sweep(shape, body, *nodes)
    else:

        def body(c: Cells, e: Eliminated, rows: NodeRows) -> tuple[Any, Array, None]:
            y_served, y_shared, left = forward_of_chunk(shape, e, rows)
            return (y_served, y_shared), slots_total(shape, c, left.T * c.slot_local), None

        forward, reduced, _ = sweep(shape, body, *nodes)
        links = solve_links(shape, data, f, link + reduced)
        padded = with_none(links)
        (cells, prices), _, _ = sweep(shape, lambda *chunk: (back(*chunk, padded), None, None), *nodes, forward)
    return Both(cells, jnp.concatenate([limit / f.coupling.limit * data.limit_local, links])), prices


def output_rows(shape: Shape, data: Data, f: Factor, o: Array) -> Both:
    """R o: an output vector as a right-hand side over the rows."""
    held, own = split_outputs(shape, o)

    def body(c: Cells, e: Eliminated) -> tuple[NodeRows, None, None]:
        at_node = held_at(shape, c, held)
        served = jnp.zeros((shape.lanes, shape.blocks, shape.served), o.dtype)
        return NodeRows(served, *minus_held(shape, e, at_node)), None, None

    return Both(sweep(shape, body, data.cells, f.cells)[0], own)


def minus_held(shape: Shape, e: Eliminated, at_node: Array) -> tuple[Array, Array]:
    """What held outputs [n, G+K] put into the rows of pools and into shared rows."""
    pool = -(e.reach * at_node[:, None, : shape.pools])
    return pool, jnp.pad(-(e.side * at_node[:, shape.pools :]), ((0, 0), (shape.deferrable, 0)))


def solve_links(shape: Shape, data: Data, f: Factor, gathered: Array) -> Array:
    """Linking rows of all scenarios from their right-hand side [R]."""
    count = shape.links_per_scenario
    at = jnp.minimum(data.link_scenario, shape.scenarios) * count + data.link_position
    size = (shape.scenarios + 1) * count
    own = local_links(shape, data)
    rhs = summed(jnp.zeros(size, gathered.dtype), at, gathered * own)
    rhs = rhs[: shape.scenarios * count].reshape(shape.scenarios, count)
    solution = times_transposed(f.link, times(f.link, rhs)).reshape(-1)
    return taken(jnp.concatenate([solution, jnp.zeros(count, solution.dtype)]), at) * own


def local_links(shape: Shape, data: Data) -> Array:
    """[R] 1 for linking rows that are eliminated with their scenario."""
    return ((data.link_scenario < shape.scenarios) & split_own_rows(shape, data.own.row_active)[1]).astype(data.u_value.dtype)


def solve_rest(shape: Shape, data: Data, f: Factor, rhs: Both, rhs_z: Array) -> tuple[Both, Array]:
    """All rows but the border; and z = Theta_z (A_z' y - rhs_z), found without going through y."""

    def couple(y: Both, seen: Array) -> tuple[Both, Array, Array]:
        v, z, price = inner_solve(shape, data, f, row_outputs(shape, data, seen, y.own), rhs_z)
        return output_rows(shape, data, f, -v), z, jnp.zeros(0, z.dtype) if price is None else price

    def stage(k: Array, carry: Any) -> Any:  # forward and back through the nodes: one loop, so that it is compiled once
        y, rhs, z, price = carry
        more, seen = solve_recourse(shape, data, f, rhs)
        y = jax.tree.map(jnp.add, y, more)
        return y, *jax.lax.cond(k == 0, lambda: couple(y, seen), lambda: (rhs, z, price))

    price = jnp.zeros(0 if shape.acquisition_space else shape.outputs, rhs_z.dtype)
    start = jax.tree.map(jnp.zeros_like, rhs), rhs, jnp.zeros_like(rhs_z), price
    y, _, z, price = jax.lax.fori_loop(0, 2, stage, start)
    if shape.acquisition_space:
        return y, z
    limits, links = split_own_rows(shape, split_outputs(shape, price)[1])
    return y._replace(own=jnp.concatenate([limits * data.limit_local, links * local_links(shape, data)])), z


def border_mask(shape: Shape, data: Data) -> Array:
    """[L + R] 1 on border rows."""
    size = shape.limits + shape.links
    return jnp.zeros(size + 1, data.u_value.dtype).at[data.border_row].set(1.0)[:size]


def solve(shape: Shape, data: Data, f: Factor, rhs: Both, rhs_z: Array) -> tuple[Both, Array]:
    """(y, z), close to the solution of the system in which the acquisitions stand apart:

        N0' y + A_z z = rhs,    A_z' y - Theta_z^-1 z = rhs_z        (N0': all columns but the acquisitions)

    With rhs_z = 0 this is A Theta A' y = rhs with z = Theta_z A_z' y. Recomputing z from y would multiply a difference of large
    prices by a large Theta_z, and the capacity rows would keep that error: it ended the iteration at a gap of 1e-5 on the flagship case.
    The right-hand side is zero on inactive rows, and so is y.
    """
    if f.border is None:
        return solve_rest(shape, data, f, rhs, rhs_z)
    y, z = solve_rest(shape, data, f, rhs._replace(own=rhs.own * (1.0 - border_mask(shape, data))), rhs_z)
    # a border row sees z = Theta_z (A_z' y - rhs_z), the columns in border.rows only Theta_z A_z' y
    theta_z = split_own(shape, f.theta.own).z
    _, shift = split_outputs(shape, outputs(shape, data, theta_z * rhs_z))
    at_border = taken(with_none(rhs.own + shift), data.border_row)
    over = jax.vmap(lambda row: inner_of(shape, row, y.cells), in_axes=1)
    reduced = at_border - over(f.border.rows.cells) - f.border.rows.own @ y.own
    mine = times_transposed(f.border.inverse, times(f.border.inverse, reduced))
    both = summed(jnp.zeros(shape.limits + shape.links + 1, mine.dtype), data.border_row, mine)[:-1]
    cells = jax.tree.map(lambda a, s: a - jnp.einsum("b,cb...->c...", mine, s), y.cells, f.border.solved.cells)
    held = jnp.zeros(shape.states * (shape.pools + shape.sides), mine.dtype)
    z = z - mine @ f.border.z + theta_z * outputs_transpose(shape, data, jnp.concatenate([held, both]))
    return Both(cells, y.own - mine @ f.border.solved.own + both), z


def inner_of(shape: Shape, a: Any, b: Any) -> Array:
    """Inner product of what nodes have, over all devices."""
    return sum(inner(shape, p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
