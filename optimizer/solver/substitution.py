"""Solve with the factor: forward through nodes, linking rows and acquisitions, and back. `factor` says what is eliminated when."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kernels.blocked import Blocked, blocked_solve
from kernels.cells import times, times_transposed
from kernels.segments import segment_sum
from optimizer.solver.operators import output_rows, outputs, outputs_transpose, pair_coefficient, row_outputs, split_outputs, z_of
from optimizer.solver.structure import Array, Data, Flat, Rows, Shape

INNER = 1  # rounds of refinement of the inner inverse; none ended the iteration at a gap of 1e-6, one at 1e-9, two no better


class Factor(NamedTuple):
    """Everything that a solve needs; V = Wd + K rows shared by the blocks of a node, M linking slots."""

    theta: Flat
    pool: Array  # [G, B, N] pool diagonal
    served: Array  # [N, B, Ws, Ws] inverse Cholesky factor of the served streams
    shared_served: Array  # [N, B, Ws, V+M] served factor times the coupling of shared rows
    shared_pool: Array  # [N, B, V+M, G] coupling of shared rows and slots with pools
    shared: Array  # [N, V, V] inverse Cholesky factor
    slot_shared: Array  # [N, V, M] shared factor times the coupling of slots
    link: Array  # [scenarios, Rs, Rs] inverse Cholesky factor
    inner: Blocked  # of the inner system, over outputs or over acquisitions
    left: Array  # L: [Q, G', G'] (block diagonal) or [O, O]; unused over acquisitions
    limit: Array  # [L] diagonal of N0 for limits with a slack; 1 for border and padding
    gram: Array  # [O, O] G; unused over acquisitions
    border_rows: Rows  # leaves [border, ...]: columns of the rest under each border row
    border_solved: Rows  # leaves [border, ...]
    border_z: Array  # [border, Z]
    border: Array  # [border, border] inverse Cholesky factor


def nodes_first(a: Array) -> Array:
    """[J, B, N] -> [N, B, J], or [J, N] -> [N, J]."""
    return a.T


def apply_left_transposed(shape: Shape, left: Array, root: Array, matrix: Array) -> Array:
    """L' matrix for the block-diagonal L = (state blocks, limits); linking outputs are border rows here and carry L = 0."""
    held = shape.pools + shape.sides
    held_size = shape.states * held
    blocks = matrix[:held_size].reshape(shape.states, held, -1)
    top = (jnp.swapaxes(left, -1, -2) @ blocks).reshape(held_size, -1)
    middle = matrix[held_size : held_size + shape.limits] * root[:, None]
    return jnp.concatenate([top, middle, jnp.zeros_like(matrix[held_size + shape.limits :])], axis=0)


def apply_left(shape: Shape, left: Array, root: Array, vector: Array) -> Array:
    """L vector, same L."""
    held = shape.pools + shape.sides
    held_size = shape.states * held
    top = times(left, vector[:held_size].reshape(shape.states, held)).reshape(-1)
    return jnp.concatenate([top, vector[held_size : held_size + shape.limits] * root, jnp.zeros_like(vector[held_size + shape.limits :])])


def inner_solve(shape: Shape, data: Data, f: Factor, g: Array, rhs_z: Array) -> tuple[Array, Array, Array | None]:
    """z of (Theta_z^-1 + U' S U) z = U' g - rhs_z; v = U z; and the outputs' prices g - S v where they come without a subtraction."""
    if shape.acquisition_space:
        z = blocked_solve(f.inner, outputs_transpose(shape, data, g) - rhs_z) * data.z_active
        return outputs(shape, data, z), z, None
    theta_z = z_of(shape, f.theta)
    shift = outputs(shape, data, theta_z * rhs_z)
    if shape.scenarios:
        left, inverse = f.left

        def approximate(residual):
            return left @ blocked_solve(f.inner, inverse @ residual)

        def compliance(v):
            return left @ (left.T @ v)
    else:
        left, inverse, root = f.left
        reciprocal = jnp.where(root > 0, 1.0 / jnp.where(root > 0, root, 1.0), 0.0)

        def approximate(residual):
            small = blocked_solve(f.inner, apply_left(shape, inverse, reciprocal, residual))
            return apply_left(shape, left, root, small)

        def compliance(v):
            return apply_left(shape, left, root, apply_left_transposed(shape, left, root, v[:, None])[:, 0])

    # with z = Theta_z (U' price - rhs_z) and v = U z, price = g - S v becomes (I + S G) price = g + S U Theta_z rhs_z
    g = g + compliance(shift)
    price = approximate(g)
    for _ in range(INNER):
        price = price + approximate(g - price - compliance(f.gram @ price))
    return f.gram @ price - shift, theta_z * (outputs_transpose(shape, data, price) - rhs_z), price


def solve_recourse(shape: Shape, data: Data, f: Factor, rhs: Rows) -> Rows:
    """N0^-1 rhs: everything but acquisitions and border."""
    shared = shape.deferrable + shape.sides
    coefficient = pair_coefficient(shape, data)
    a = data.a[:, None, :]
    streams = shape.served + shape.deferrable
    scaled = rhs.capacity / f.pool * data.row_active.capacity
    # the sparse product E_s t for served rows, dense for shared rows
    pulled = segment_sum(coefficient * a * f.theta.x * scaled[data.pair_pool], data.pair_stream, streams + 1)
    b_served = nodes_first(rhs.demand - pulled[: shape.served])  # [N, B, Ws]
    no_slots = jnp.zeros((shape.slots, shape.nodes), rhs.link.dtype)  # the right-hand side of a linking row is added once, per scenario
    b_shared = jnp.concatenate([rhs.deferred, rhs.side, no_slots], axis=0).T
    b_shared = b_shared - times(f.shared_pool, nodes_first(scaled)).sum(1)
    y_served = times(f.served, b_served)
    b_shared = b_shared - times_transposed(f.shared_served, y_served).sum(1)
    y_shared = times(f.shared, b_shared[:, :shared])
    link = jnp.zeros_like(rhs.link)
    slots = jnp.zeros((shape.nodes, shape.slots), y_shared.dtype)
    if shape.scenarios:
        link = solve_links(shape, data, f, rhs.link, b_shared[:, shared:] - times_transposed(f.slot_shared, y_shared))
        slots = jnp.concatenate([link, jnp.zeros(1, link.dtype)])[data.slot_link].T * data.slot_local.T
        y_shared = y_shared - times(f.slot_shared, slots)
    shared_y = times_transposed(f.shared, y_shared)
    both = jnp.concatenate([shared_y, slots], axis=1)
    served_y = times_transposed(f.served, y_served - times(f.shared_served, both[:, None, :]))
    demand = nodes_first(served_y)
    deferred, side = shared_y[:, : shape.deferrable].T, shared_y[:, shape.deferrable :].T
    pull = segment_sum(
        coefficient * a * f.theta.x * jnp.concatenate([demand, jnp.zeros_like(pulled[shape.served :])])[data.pair_stream],
        data.pair_pool,
        shape.pools,
    )
    pull = pull + nodes_first(
        times_transposed(f.shared_pool, jnp.broadcast_to(both[:, None, :], (shape.nodes, shape.blocks, both.shape[1])))
    )
    capacity = (rhs.capacity - pull) / f.pool * data.row_active.capacity
    return Rows(demand, deferred, capacity, side, rhs.limit / f.limit * data.limit_local, link)


def solve_links(shape: Shape, data: Data, f: Factor, rhs_link: Array, reduced: Array) -> Array:
    """Linking rows of all scenarios: reduced [N, M] are the nodes' contributions."""
    count = shape.links_per_scenario
    local = (reduced * data.slot_local.T).T
    gathered = rhs_link + segment_sum(local.reshape(-1), data.slot_link.reshape(-1), shape.links + 1)[: shape.links]
    at = jnp.minimum(data.link_scenario, shape.scenarios) * count + data.link_position
    size = (shape.scenarios + 1) * count
    own = (data.link_scenario < shape.scenarios).astype(gathered.dtype) * data.row_active.link
    rhs = jnp.zeros(size, gathered.dtype).at[at].add(gathered * own)
    rhs = rhs[: shape.scenarios * count].reshape(shape.scenarios, count)
    solution = times_transposed(f.link, times(f.link, rhs)).reshape(-1)
    return jnp.concatenate([solution, jnp.zeros(count, solution.dtype)])[at] * own


def solve_rest(shape: Shape, data: Data, f: Factor, rhs: Rows, rhs_z: Array) -> tuple[Rows, Array]:
    """All rows but the border; and z = Theta_z (A_z' y - rhs_z), found without going through y."""

    def couple(y: Rows) -> tuple[Rows, Array, Array]:
        v, z, price = inner_solve(shape, data, f, row_outputs(shape, data, y), rhs_z)
        return output_rows(shape, data, -v), z, jnp.zeros(0, z.dtype) if price is None else price

    def stage(k: Array, carry):  # forward and back through the nodes: one loop, so that it is compiled once
        y, rhs, z, price = carry
        y = jax.tree.map(jnp.add, y, solve_recourse(shape, data, f, rhs))
        return y, *jax.lax.cond(k == 0, lambda: couple(y), lambda: (rhs, z, price))

    zero = jax.tree.map(jnp.zeros_like, rhs)
    price = jnp.zeros(0 if shape.acquisition_space else shape.outputs, rhs_z.dtype)
    y, _, z, price = jax.lax.fori_loop(0, 2, stage, (zero, rhs, jnp.zeros_like(rhs_z), price))
    if shape.acquisition_space:
        return y, z
    _, limits, links = split_outputs(shape, price)
    local = (data.link_scenario < shape.scenarios).astype(links.dtype) * data.row_active.link
    return y._replace(limit=limits * data.limit_local, link=links * local), z


def border_mask(shape: Shape, data: Data) -> Rows:
    """1 on border rows, leaves as Rows."""
    rows = jnp.zeros(shape.limits + shape.links + 1, data.a.dtype).at[data.border_row].set(1.0)
    zero = jax.tree.map(jnp.zeros_like, data.rhs)
    return zero._replace(limit=rows[: shape.limits], link=rows[shape.limits : shape.limits + shape.links])


def border_values(shape: Shape, data: Data, y: Rows) -> Array:
    """[border] entries of y at the border rows (0 for padding)."""
    return jnp.concatenate([y.limit, y.link, jnp.zeros(1, y.limit.dtype)])[data.border_row]


def solve(shape: Shape, data: Data, f: Factor, rhs: Rows, rhs_z: Array) -> tuple[Rows, Array]:
    """(y, z), close to the solution of the system in which the acquisitions stand apart:

        N0' y + A_z z = rhs,    A_z' y - Theta_z^-1 z = rhs_z        (N0': all columns but the acquisitions)

    With rhs_z = 0 this is A Theta A' y = rhs with z = Theta_z A_z' y. Recomputing z from y would multiply a difference of large
    prices by a large Theta_z, and the capacity rows would keep that error: it ended the iteration at a gap of 1e-5 on the flagship case.
    """
    rhs = jax.tree.map(jnp.multiply, rhs, data.row_active)
    if not shape.border:
        return solve_rest(shape, data, f, rhs, rhs_z)
    mask = border_mask(shape, data)
    rest = jax.tree.map(lambda p, m: p * (1.0 - m), rhs, mask)
    y, z = solve_rest(shape, data, f, rest, rhs_z)
    # a border row sees z = Theta_z (A_z' y - rhs_z), the columns in border_rows only Theta_z A_z' y
    theta_z = z_of(shape, f.theta)
    shift = outputs(shape, data, theta_z * rhs_z)[shape.states * (shape.pools + shape.sides) :]
    shift = jnp.concatenate([shift, jnp.zeros(1, shift.dtype)])[data.border_row]
    reduced = (
        border_values(shape, data, rhs)
        + shift
        - sum(jnp.tensordot(a.reshape(shape.border, -1), b.reshape(-1), 1) for a, b in zip(f.border_rows, y, strict=True))
    )
    own = times_transposed(f.border, times(f.border, reduced))
    y = jax.tree.map(lambda p, s: p - jnp.tensordot(own, s, 1), y, f.border_solved)
    both = jnp.zeros(shape.limits + shape.links + 1, own.dtype).at[data.border_row].add(own)[: shape.limits + shape.links]
    held = jnp.zeros(shape.states * (shape.pools + shape.sides), own.dtype)
    z = z - own @ f.border_z + theta_z * outputs_transpose(shape, data, jnp.concatenate([held, both]))
    return y._replace(limit=y.limit + both[: shape.limits], link=y.link + both[shape.limits :]), z
