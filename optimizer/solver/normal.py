"""The matrix that the factor approximates, multiplied with a vector: what refinement judges solutions by.

    N0' y + A_z z,    A_z' y - Theta_z^-1 z        (N0' = A Theta A' over all columns but the acquisitions)

N0' is kept by cell, as the coupling of streams with pools and what stands beside it (`substitution.Eliminated`). Going through the
placement columns instead, Theta (A' y) and A of that, took five times as long, and rounds no better: both err by the rounding of
Theta times the prices.
"""

from __future__ import annotations

import jax.numpy as jnp

from kernels.cells import times, times_transposed
from kernels.segments import taken
from optimizer.solver.operators import active_own, apply_own, outputs, row_outputs, slots_total, split_outputs, transpose_own
from optimizer.solver.structure import Array, Both, Cells, Data, NodeRows, Shape, split_own
from optimizer.solver.substitution import Eliminated, Factor, held_at, held_prices, minus_held, over_blocks
from optimizer.solver.sweeps import sweep


def product(shape: Shape, data: Data, f: Factor, y: Both, z: Array) -> tuple[Both, Array]:
    """Of y (NodeRows, own [L + R]), zero on inactive rows of nodes, and z [Z]. Inactive own rows carry the identity."""
    own, link = active_own(shape, data, y.own)
    held, o_own = split_outputs(shape, outputs(shape, data, z))

    def body(c: Cells, e: Eliminated, rows: NodeRows) -> tuple[tuple[NodeRows, Array], Array, None]:
        result, slots = product_of_chunk(shape, c, e, rows, link, held)
        return (result, held_prices(shape, e, rows)), slots_total(shape, c, slots.T), None

    (rows, seen), slots, _ = sweep(shape, body, data.cells, f.cells, y.cells)
    prices = transpose_own(shape, data, row_outputs(shape, data, seen, own))
    theta_z = split_own(shape, f.theta.own).z
    at_z = data.own.active[: shape.acquisitions] * (prices[: shape.acquisitions] - z / jnp.where(theta_z > 0, theta_z, 1.0))
    own_rows = apply_own(shape, data, jnp.concatenate([z, (f.theta.own * prices)[shape.acquisitions :]]), o_own, slots)
    return Both(rows, own_rows + (y.own - own)), at_z


def product_of_chunk(shape: Shape, c: Cells, e: Eliminated, y: NodeRows, link: Array, held: Array) -> tuple[NodeRows, Array]:
    """(rows of the nodes, what the slots of linking rows add [n, M]); link [R + 1] prices of linking rows, held [Q, G+K] outputs."""
    deferrable, shared = shape.deferrable, shape.deferrable + shape.sides
    held_pool, held_shared = minus_held(shape, e, held_at(shape, c, held))
    both = jnp.concatenate([y.shared, taken(link, c.slot_link).T], axis=1)  # [n, V+M]
    pool = e.pool * y.pool + times_transposed(e.coupling, y.served) + held_pool
    served = e.served_diagonal * y.served + times(e.coupling, y.pool)
    low = times(e.shared_pool, y.pool).sum(1)
    if both.shape[1]:
        pool = pool + times_transposed(e.shared_pool, over_blocks(shape, both))
    if shape.sides + shape.slots:
        price = both[:, deferrable:]
        served = served + times_transposed(e.dense_served, over_blocks(shape, price))
        dense = times(e.dense_served, y.served).sum(1) + times(e.dense_deferred, both[:, :deferrable]) + times(e.dense, price)
        low = low + jnp.concatenate([times_transposed(e.dense_deferred, price), dense], axis=1)
    return NodeRows(served, pool, low[:, :shared] + e.shared_diagonal * y.shared + held_shared), low[:, shared:]
