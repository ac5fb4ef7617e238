"""Factor A Theta A' by eliminating, in this order: pools, served streams (both per cell), the rows that the blocks of a node share
(deferrable, side), the linking rows of a scenario, the acquisitions, and last the border (linking rows over several scenarios, and limits
without a slack).

Write the normal matrix without acquisitions as N0 and the rows of acquisitions as R U (R: rows from outputs, U: outputs from
acquisitions). Then  A Theta A' = N0 + R U Theta_z U' R'  and with  S = R' N0^-1 R = L L',  G = U Theta_z U'

    (A Theta A')^-1 = N0^-1 - N0^-1 R (G^-1 + S)^-1 R' N0^-1,      (G^-1 + S)^-1 = G L (I + L' G L)^-1 L^-1

which needs no acquisition-by-acquisition matrix. (The textbook form G - G L (I + L' G L)^-1 L' G subtracts two large matrices exactly where
capacity binds and acquisitions are basic; it lost all digits at a gap of 1e-3.) With few acquisitions the same inner inverse is closed
over them instead: U (Theta_z^-1 + U' S U)^-1 U'. S is block diagonal over capacity states unless linking rows exist.

`factor_cells` is one sweep over the nodes; `coupling.close` and `border.add_border` are what follows from its totals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kernels.cells import diagonal, inverse_factor, schur
from kernels.segments import exclusive_of_group, segment_sum, taken
from optimizer.solver.coupling import REGULARISATION, factor_links
from optimizer.solver.operators import by_state, pair_coefficient
from optimizer.solver.structure import Array, Both, Cells, Data, Part, Rest, Shape, joined, split_rest, split_rows
from optimizer.solver.substitution import Eliminated
from optimizer.solver.sweeps import sweep

# Added to the diagonal of every row, in scaled units: a proximal term in y (Friedlander and Orban 2012), which leaves a step short of the
# rows by PROXIMAL * dy and is worked off by the next. Redundant limits and cells that just balance otherwise leave directions in which
# prices are free: at a gap of 1e-7 on the flagship the refinement then stopped at 1e-6 after 13 rounds, now at 1e-10 after 2.
PROXIMAL = 1e-8  # and no more than this share of mu:
PROXIMAL_OF_MU = 0.1


class Cellwise(NamedTuple):
    """What one sweep over the nodes leaves to be closed by `coupling.close`."""

    theta: Both  # with the proximal term; of nodes only where there is a border
    cells: Eliminated
    state_schur: Array  # [Q, G+K, G+K] R' N0^-1 R before linking rows
    link: Array  # [scenarios, Rs, Rs] inverse Cholesky factor of the linking rows of a scenario
    link_outputs: Array  # [scenarios, Rs, O] times their coupling with the outputs


def factor_cells(shape: Shape, data: Data, theta: Both, mu: Array) -> Cellwise:
    """For one Theta, zero on inactive variables."""
    proximal = jnp.minimum(max(PROXIMAL, 16 * float(jnp.finfo(mu.dtype).eps)), PROXIMAL_OF_MU * mu)

    def body(c: Cells, part: Part) -> tuple[Any, None, None]:
        part = with_proximal(shape, c, part, proximal)
        return (part if shape.border else None, *eliminate(shape, data, c, part)), None, None

    (cells, eliminated, of_packs, of_slots), _, _ = sweep(shape, body, data.cells, theta.cells, heavy=True)
    none = jnp.zeros(shape.acquisitions, proximal.dtype), jnp.zeros(shape.links, proximal.dtype)
    own = theta.own + jnp.concatenate([none[0], proximal * data.own.row_active, none[1]])
    link, link_outputs = factor_links(shape, data, own, *of_slots)
    return Cellwise(Both(cells, own), eliminated, by_state(shape, data, of_packs), link, link_outputs)


def with_proximal(shape: Shape, c: Cells, theta: Part, proximal: Array) -> Part:
    """Theta of a chunk with the proximal term on one slack of every row."""
    kinds, rows = split_rest(shape, theta.rest), split_rows(shape, proximal * c.terms.row_active)
    kinds = kinds._replace(u=kinds.u + rows.demand, ud=kinds.ud + rows.deferred, s=kinds.s + rows.capacity, t=kinds.t + rows.side)
    return theta._replace(rest=joined(kinds, jnp))


def eliminate(shape: Shape, data: Data, c: Cells, theta: Part) -> tuple[Eliminated, Array, tuple[Array, Array]]:
    """Pools, served streams and shared rows of one chunk, nodes first from where whole matrices are factored."""
    served, shared = shape.served, shape.deferrable + shape.sides
    streams, kinds, active = served + shape.deferrable, split_rest(shape, theta.rest), split_rows(shape, c.terms.row_active)
    coefficient, a = pair_coefficient(shape, data, c.h), c.a[:, None, :]
    pool, without = exclusive_of_group(a * a * theta.x, data.pair_pool, kinds.r + kinds.s)
    pool = jnp.where(active.capacity, pool, 1.0)

    # coupling E of every reduced row with the pools, [n, B, J, G]
    row = jnp.minimum(data.pair_stream, streams)
    flat = segment_sum(a * coefficient * theta.x, row * shape.pools + data.pair_pool, (streams + 1) * shape.pools)
    coupling = flat.reshape(streams + 1, shape.pools, shape.blocks, shape.lanes)[:streams]
    dense = dense_rows(shape, c)
    if shape.sides + shape.slots:
        extra = jax.vmap(lambda cx, cr: segment_sum(a * cx * theta.x, data.pair_pool, shape.pools) - cr * kinds.r)(dense[0], dense[1])
        coupling = jnp.concatenate([coupling, extra], axis=0)
    coupling = jnp.concatenate([coupling[:served] * active.demand[:, None], coupling[served:]], axis=0)
    coupling = jnp.transpose(coupling * active.capacity[None], (3, 2, 0, 1))
    reduced = schur(coupling, pool.T)

    # diagonals of the demand rows by exclusive sums: every term is positive
    share = jnp.where(taken(active.capacity, data.pair_pool), without / taken(pool, data.pair_pool), 1.0)  # unused: takes nothing
    own = coefficient * coefficient * theta.x
    gain = segment_sum(own * share, data.pair_stream, streams + 1)[:streams].T
    by_stream = segment_sum(own, data.pair_stream, streams + 1)[:streams]
    cross, among = dense_couplings(shape, data, theta.x, kinds, coefficient, dense)
    slack = (kinds.u + ~active.demand).T
    rows = reduced.shape[-1]
    if shape.sides + shape.slots:
        turned, none = jnp.swapaxes(cross, -1, -2), jnp.zeros((*gain.shape, streams), gain.dtype)
        below = jnp.concatenate([cross, among], axis=-1)
        reduced = reduced + jnp.concatenate([jnp.concatenate([none, turned], axis=-1), below], axis=-2)
    gain = jnp.concatenate([gain[..., :served] + slack, gain[..., served:]], axis=-1)
    is_stream = diagonal(jnp.ones(streams, gain.dtype), rows) > 0
    reduced = jnp.where(is_stream, diagonal(gain, rows), reduced)

    served_inverse = inverse_factor(reduced[:, :, :served, :served], REGULARISATION)
    shared_served = served_inverse @ reduced[:, :, :served, served:]
    lower = (reduced[:, :, served:, served:] - jnp.swapaxes(shared_served, -1, -2) @ shared_served).sum(1)
    node_slack = jnp.concatenate([kinds.ud + ~active.deferred, kinds.t + kinds.e + ~active.side], axis=0).T
    lower = lower + diagonal(node_slack, shared + shape.slots)
    shared_inverse = inverse_factor(lower[:, :shared, :shared], REGULARISATION)
    slot_shared = shared_inverse @ lower[:, :shared, shared:]
    shared_diagonal = node_slack + jnp.pad(by_stream[served:].sum(1).T, ((0, 0), (0, shape.sides)))
    reach = (c.availability[:, None, :] * active.capacity).T
    products = (
        coupling[:, :, :served], by_stream[:served].T + slack, shared_diagonal, cross[..., :served],
        cross[..., served:].sum(1), among.sum(1),
    )  # fmt: skip

    # S = R' N0^-1 R, gathered per pack before anything is expanded over acquisitions
    alpha = c.availability.T  # [n, G]
    served_pool = served_inverse @ (coupling[:, :, :served] / pool.T[:, :, None, :])  # [n, B, Ws, G]
    held_served = served_pool * alpha[:, None, None, :]
    shared_pool = coupling[:, :, served:]
    to_shared = (jnp.swapaxes(shared_served, -1, -2) @ held_served).sum(1)
    to_shared = to_shared - (shared_pool * (alpha[:, None] / pool.T)[:, :, None, :]).sum(1)  # [n, V+M, G]
    unit = diagonal(active.side.T.astype(c.a.dtype), shape.sides)
    unit = jnp.pad(unit, ((0, 0), (shape.deferrable, shape.slots), (0, 0)))
    to_shared = jnp.concatenate([to_shared, unit], axis=2)  # [n, V+M, G+K]
    shared_outputs = shared_inverse @ to_shared[:, :shared]
    wide = jnp.pad(held_served.reshape(shape.lanes, -1, shape.pools), ((0, 0), (0, 0), (0, shape.sides)))
    stacked = jnp.concatenate([wide, shared_outputs], axis=1).reshape(shape.packs, -1, shape.pools + shape.sides)
    of_packs = jnp.swapaxes(stacked, -1, -2) @ stacked
    of_pools = (c.availability**2 * (active.capacity / pool).sum(1)).reshape(shape.pools, shape.packs, shape.pack).sum(2).T
    of_packs = of_packs + diagonal(of_pools, shape.pools + shape.sides)

    corner = lower[:, shared:, shared:] - jnp.swapaxes(slot_shared, -1, -2) @ slot_shared  # [n, M, M]
    with_outputs = to_shared[:, shared:] - jnp.swapaxes(slot_shared, -1, -2) @ shared_outputs  # [n, M, G+K]
    local = c.slot_local.T
    corner, with_outputs = corner * local[:, :, None] * local[:, None, :], with_outputs * local[:, :, None]
    solving = pool.T, served_inverse, served_pool, shared_served, shared_pool, shared_inverse, slot_shared
    eliminated = Eliminated(*solving, reach, active.side.T.astype(reach.dtype), *products)
    return eliminated, of_packs, (corner, with_outputs)


def dense_rows(shape: Shape, c: Cells) -> tuple[Array, Array, Array, Array]:
    """Coefficients of side rows and linking slots, stacked: over x [K+M, P, B, n], r, u, ud."""
    k, b, n = shape.sides, shape.blocks, shape.lanes
    side = split_rows(shape, c.terms.row_active).side[:, None, None, :]
    x, r = jnp.concatenate([c.side_x * side, c.slot_x], axis=0), jnp.concatenate([c.side_r * side, c.slot_r], axis=0)
    u = jnp.concatenate([jnp.zeros((k, shape.served, b, n), c.a.dtype), c.slot_u], axis=0)
    ud = jnp.concatenate([jnp.zeros((k, shape.deferrable, n), c.a.dtype), c.slot_ud], axis=0)
    return x, r, u, ud


def dense_couplings(
    shape: Shape, data: Data, theta_x: Array, kinds: Rest, coefficient: Array, dense: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    """Entries of A Theta A' between dense rows and streams [n, B, rows, streams], and among dense rows [n, B, rows, rows]. The unserved
    work of deferrable streams belongs to the node, not to a block: it is added in block 0, which the sum over blocks then counts once."""
    streams, rows = shape.served + shape.deferrable, shape.sides + shape.slots
    if not rows:
        return tuple(jnp.zeros((shape.lanes, shape.blocks, 0, m), theta_x.dtype) for m in (streams, 0))  # type: ignore[return-value]
    dense_x, dense_r, dense_u, dense_ud = dense
    first_block = (jnp.arange(shape.blocks) == 0).astype(theta_x.dtype)

    def with_streams(cx: Array, cu: Array, cud: Array) -> Array:
        by_stream = segment_sum(coefficient * cx * theta_x, data.pair_stream, streams + 1)[:streams]
        unserved = jnp.concatenate([cu * kinds.u, (cud * kinds.ud)[:, None, :] * first_block[None, :, None]], axis=0)
        return by_stream + unserved

    cross = jnp.transpose(jax.vmap(with_streams)(dense_x, dense_u, dense_ud), (3, 2, 0, 1))  # [n, B, rows, streams]

    of_blocks, theta = jnp.concatenate([dense_x, dense_r, dense_u], axis=1), jnp.concatenate([theta_x, kinds.r, kinds.u], axis=0)

    def among(one: tuple[Array, Array]) -> Array:  # [rows, B, n]
        of_node = (dense_ud * one[1] * kinds.ud).sum(1)
        return (of_blocks * one[0] * theta).sum(1) + of_node[:, None, :] * first_block[:, None]

    block = jax.lax.map(among, (of_blocks, dense_ud))  # [rows, rows, B, n]
    return cross, jnp.transpose(block, (3, 2, 0, 1))
