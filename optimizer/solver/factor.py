"""Factor and solve A Theta A' dy = rhs by eliminating, in this order: pools, served streams (both per cell), the rows that the blocks
of a node share (deferrable, side), the linking rows of a scenario, the acquisitions, and last the border (linking rows over several
scenarios, and limits without a slack).

Write the normal matrix without acquisitions as N0 and the rows of acquisitions as R U (R: rows from outputs, U: outputs from
acquisitions). Then  A Theta A' = N0 + R U Theta_z U' R'  and with  S = R' N0^-1 R = L L',  G = U Theta_z U'

    (A Theta A')^-1 = N0^-1 - N0^-1 R (G^-1 + S)^-1 R' N0^-1,      (G^-1 + S)^-1 = G L (I + L' G L)^-1 L^-1

which needs no acquisition-by-acquisition matrix. (The textbook form G - G L (I + L' G L)^-1 L' G subtracts two large matrices exactly where
capacity binds and acquisitions are basic; it lost all digits at a gap of 1e-3.) With few acquisitions the same inner inverse is closed
over them instead: U (Theta_z^-1 + U' S U)^-1 U'. S is block diagonal over capacity states unless linking rows exist.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from kernels.blocked import blocked_factor
from kernels.cells import SHIFTS, inverse_factor, schur
from kernels.segments import exclusive_of_group, segment_sum
from optimizer.solver.operators import apply, outputs_transpose, pair_coefficient, transpose, with_z, z_of
from optimizer.solver.structure import Array, Columns, Data, Flat, Shape, flatten, unflatten
from optimizer.solver.substitution import Factor, apply_left_transposed, border_mask, nodes_first, solve_rest

# Added to the diagonal of every row, in scaled units: a proximal term in y (Friedlander and Orban 2012), which leaves a step short of the
# rows by PROXIMAL * dy and is worked off by the next. Redundant limits and cells that just balance otherwise leave directions in which
# prices are free: at a gap of 1e-7 on the flagship the refinement then stopped at 1e-6 after 13 rounds, now at 1e-10 after 2.
PROXIMAL = 1e-8  # and no more than this share of mu:
PROXIMAL_OF_MU = 0.1
REGULARISATION = 0.0  # relative to the Jacobi-scaled diagonal; 1e-14 cost half again as many rounds of refinement near the end


def factor(shape: Shape, data: Data, flat: Flat, mu: Array) -> Factor:
    """Factor for one Theta, zero on inactive variables."""
    theta = with_proximal(data, unflatten(shape, flat), jnp.minimum(PROXIMAL, PROXIMAL_OF_MU * mu))
    served, shared = shape.served, shape.deferrable + shape.sides
    coefficient = pair_coefficient(shape, data)
    a = data.a[:, None, :]
    pool, without = exclusive_of_group(a * a * theta.x, data.pair_pool, theta.r + theta.s)
    pool_safe = pool * data.row_active.capacity + (1.0 - data.row_active.capacity)

    # coupling E of every reduced row with the pools, [N, B, J, G]
    streams = served + shape.deferrable
    row = jnp.minimum(data.pair_stream, streams)
    weighted = a * coefficient * theta.x
    flat = jnp.zeros(((streams + 1) * shape.pools, shape.blocks, shape.nodes), a.dtype)
    flat = flat.at[row * shape.pools + data.pair_pool].add(weighted)
    coupling = flat.reshape(streams + 1, shape.pools, shape.blocks, shape.nodes)[:streams]
    dense_x, dense_r, dense_u, dense_ud = dense_rows(shape, data)
    if dense_x.shape[0]:
        extra = jax.vmap(lambda cx, cr: segment_sum(a * cx * theta.x, data.pair_pool, shape.pools) - cr * theta.r)(dense_x, dense_r)
        coupling = jnp.concatenate([coupling, extra], axis=0)
    coupling = jnp.transpose(coupling, (3, 2, 0, 1))
    reduced = schur(coupling, nodes_first(pool_safe))

    # diagonals of the demand rows by exclusive sums: every term is positive
    gain = coefficient * coefficient * theta.x * without / pool_safe[data.pair_pool]
    by_stream = segment_sum(gain, data.pair_stream, streams + 1)[:streams]
    own = nodes_first(by_stream)  # [N, B, Ws+Wd]
    index = jnp.arange(streams)
    reduced = reduced.at[:, :, index, index].set(own)
    if dense_x.shape[0]:
        reduced = add_dense_rows(shape, data, theta, reduced, coefficient, dense_x, dense_r, dense_u, dense_ud)
    at = jnp.arange(served)
    slack = theta.u + (1.0 - data.row_active.demand)
    reduced = reduced.at[:, :, at, at].add(nodes_first(slack))

    served_inverse = inverse_factor(reduced[:, :, :served, :served], REGULARISATION)
    shared_served = served_inverse @ reduced[:, :, :served, served:]
    lower = (reduced[:, :, served:, served:] - jnp.swapaxes(shared_served, -1, -2) @ shared_served).sum(1)
    node_slack = jnp.concatenate([theta.ud + (1.0 - data.row_active.deferred), theta.t + theta.e + (1.0 - data.row_active.side)], axis=0).T
    vi = jnp.arange(shared)
    lower = lower.at[:, vi, vi].add(node_slack)
    shared_inverse = inverse_factor(lower[:, :shared, :shared], REGULARISATION)
    slot_shared = shared_inverse @ lower[:, :shared, shared:]

    # S = R' N0^-1 R, gathered per capacity state before anything is expanded over acquisitions
    alpha = nodes_first(data.availability)[:, None, :]  # [N, 1, G]
    served_pool = coupling[:, :, :served] / nodes_first(pool_safe)[:, :, None, :] * alpha[:, :, None, :]
    served_pool = served_inverse @ served_pool  # [N, B, Ws, G]
    shared_pool = coupling[:, :, served:]
    active_pool = nodes_first(data.row_active.capacity)
    diagonal = (alpha * alpha * active_pool / nodes_first(pool_safe)).sum(1)
    to_shared = (jnp.swapaxes(shared_served, -1, -2) @ served_pool).sum(1) - (
        shared_pool * (alpha / nodes_first(pool_safe))[:, :, None, :]
    ).sum(1)  # [N, V+M, G]
    side_unit = jnp.zeros((shared + shape.slots, shape.sides), a.dtype)
    side_unit = side_unit.at[shape.deferrable + jnp.arange(shape.sides), jnp.arange(shape.sides)].set(1.0)
    side_unit = (
        side_unit[None]
        * jnp.concatenate(
            [jnp.ones((shape.nodes, shape.deferrable)), data.row_active.side.T, jnp.ones((shape.nodes, shape.slots))], axis=1
        )[:, :, None]
    )
    to_shared = jnp.concatenate([to_shared, side_unit], axis=2)  # [N, V+M, G+K]
    shared_outputs = shared_inverse @ to_shared[:, :shared]
    stacked = jnp.concatenate(
        [jnp.pad(served_pool.reshape(shape.nodes, shape.blocks * served, shape.pools), ((0, 0), (0, 0), (0, shape.sides))), shared_outputs],
        axis=1,
    )
    state_schur = per_state(shape, data, stacked, jnp.pad(diagonal, ((0, 0), (0, shape.sides))))

    # Held outputs enter their rows with a minus sign, a linking row's own output with a plus. Everything above used the plus, so the
    # linking rows' unit below carries the minus: only the relative sign matters in R' N0^-1 R.
    link_inverse, link_outputs = factor_links(shape, data, theta, lower, slot_shared, to_shared, shared_outputs)
    limit = theta.f + (1.0 - data.limit_local)
    inner, left, gram = close_coupling(shape, data, theta, state_schur, link_outputs, data.limit_local / limit)
    empty = jax.tree.map(lambda r: jnp.zeros((shape.border, *r.shape), r.dtype), data.rhs)
    result = Factor(
        flatten(theta, jnp), pool_safe, served_inverse, shared_served, shared_pool, shared_inverse, slot_shared, link_inverse, inner, left,
        limit, gram, empty, empty, jnp.zeros((shape.border, shape.acquisitions), a.dtype), jnp.zeros((shape.border, shape.border), a.dtype),
    )  # fmt: skip
    return add_border(shape, data, result) if shape.border else result


def with_proximal(data: Data, theta: Columns, proximal: Array) -> Columns:
    """Theta with the proximal term on one slack of every row."""
    rows = jax.tree.map(lambda active: proximal * active, data.row_active)
    return theta._replace(
        u=theta.u + rows.demand, ud=theta.ud + rows.deferred, s=theta.s + rows.capacity, t=theta.t + rows.side, f=theta.f + rows.limit,
        l=theta.l + rows.link,
    )  # fmt: skip


def dense_rows(shape: Shape, data: Data) -> tuple[Array, Array, Array, Array]:
    """Coefficients of side rows and linking slots, stacked: over x [K+M, P, B, N], r, u, ud."""
    k, b, n = shape.sides, shape.blocks, shape.nodes
    dtype = data.a.dtype
    local = data.slot_local
    x = jnp.concatenate([data.side_x, data.slot_x * local[:, None, None, :]], axis=0)
    r = jnp.concatenate([data.side_r, data.slot_r * local[:, None, None, :]], axis=0)
    u = jnp.concatenate([jnp.zeros((k, shape.served, b, n), dtype), data.slot_u * local[:, None, None, :]], axis=0)
    ud = jnp.concatenate([jnp.zeros((k, shape.deferrable, n), dtype), data.slot_ud * local[:, None, :]], axis=0)
    return x, r, u, ud


def add_dense_rows(shape, data, theta, reduced, coefficient, dense_x, dense_r, dense_u, dense_ud):
    """Entries of A Theta A' between dense rows and streams, and among dense rows. The unserved work of deferrable streams belongs to
    the node, not to a block: it is added in block 0, which the sum over blocks then counts once."""
    streams = shape.served + shape.deferrable
    rows = dense_x.shape[0]
    first_block = (jnp.arange(shape.blocks) == 0).astype(data.a.dtype)

    def with_streams(cx, cu, cud):
        by_stream = segment_sum(coefficient * cx * theta.x, data.pair_stream, streams + 1)[:streams]
        unserved = jnp.concatenate([cu * theta.u, (cud * theta.ud)[:, None, :] * first_block[None, :, None]], axis=0)
        return by_stream + unserved

    cross = jnp.transpose(jax.vmap(with_streams)(dense_x, dense_u, dense_ud), (3, 2, 0, 1))  # [N, B, rows, streams]
    reduced = reduced.at[:, :, streams:, :streams].add(cross)
    reduced = reduced.at[:, :, :streams, streams:].add(jnp.swapaxes(cross, -1, -2))

    def among(i, j):
        value = (dense_x[i] * dense_x[j] * theta.x).sum(0) + (dense_r[i] * dense_r[j] * theta.r).sum(0)
        value = value + (dense_u[i] * dense_u[j] * theta.u).sum(0)
        return value + (dense_ud[i] * dense_ud[j] * theta.ud).sum(0)[None, :] * first_block[:, None]  # [B, N]

    index = jnp.arange(rows)
    block = jax.lax.map(lambda i: jax.lax.map(lambda j: among(i, j), index), index)  # [rows, rows, B, N]
    return reduced.at[:, :, streams:, streams:].add(jnp.transpose(block, (3, 2, 0, 1)))


def per_state(shape: Shape, data: Data, stacked: Array, diagonal: Array) -> Array:
    """sum over the nodes of a state of stacked' stacked + diag: [Q, G', G']. Streams over chunks of nodes, so that nothing of size
    nodes x pools x pools is kept."""
    held = shape.pools + shape.sides
    chunk = max(1, min(shape.nodes, 32))
    while shape.nodes % chunk:
        chunk -= 1
    groups = shape.nodes // chunk

    def body(total, part):
        rows, states = part
        return total + segment_sum(jnp.einsum("nkg,nkh->ngh", rows, rows), states, shape.states), None

    zero = jnp.zeros((shape.states, held, held), stacked.dtype)
    parts = (stacked.reshape(groups, chunk, *stacked.shape[1:]), data.state_of_node.reshape(groups, chunk))
    total, _ = jax.lax.scan(body, zero, parts)
    index = jnp.arange(held)
    return total.at[:, index, index].add(segment_sum(diagonal, data.state_of_node, shape.states))


def factor_links(shape, data, theta, lower, slot_shared, to_shared, shared_outputs):
    """Per scenario: the Schur complement of its linking rows, and their coupling with the outputs, [scenarios, Rs, O]."""
    if not shape.scenarios:
        dtype = data.a.dtype
        return jnp.zeros((0, 0, 0), dtype), jnp.zeros((0, 0, shape.outputs), dtype)
    shared, count = shape.deferrable + shape.sides, shape.links_per_scenario
    held = shape.pools + shape.sides
    corner = lower[:, shared:, shared:] - jnp.swapaxes(slot_shared, -1, -2) @ slot_shared  # [N, M, M]
    outputs = to_shared[:, shared:] - jnp.swapaxes(slot_shared, -1, -2) @ shared_outputs  # [N, M, G']
    pad = jnp.concatenate([data.link_scenario, jnp.full(1, shape.scenarios)])
    position = jnp.concatenate([data.link_position, jnp.zeros(1, data.link_position.dtype)])
    scenario, place = pad[data.slot_link].T, position[data.slot_link].T  # [N, M]
    flat_row = jnp.minimum(scenario, shape.scenarios) * count + place
    size = (shape.scenarios + 1) * count
    matrix = jnp.zeros((size, count), lower.dtype)
    matrix = matrix.at[flat_row[:, :, None], place[:, None, :]].add(corner)
    coupling = jnp.zeros((size, shape.states * held), lower.dtype)
    column = data.state_of_node[:, None] * held + jnp.arange(held)[None]
    coupling = coupling.at[flat_row[:, :, None], column[:, None, :]].add(outputs)
    matrix = matrix.reshape(shape.scenarios + 1, count, count)[: shape.scenarios]
    own = (theta.l + theta.h) * data.row_active.link
    at = jnp.minimum(data.link_scenario, shape.scenarios) * count + data.link_position
    diagonal = jnp.zeros(size, lower.dtype).at[at].add(own)[: shape.scenarios * count].reshape(shape.scenarios, count)
    real = jnp.zeros(size, lower.dtype).at[at].add(data.row_active.link)[: shape.scenarios * count].reshape(shape.scenarios, count)
    index = jnp.arange(count)
    matrix = matrix.at[:, index, index].add(diagonal + (1.0 - jnp.minimum(real, 1.0)))
    inverse = inverse_factor(matrix, REGULARISATION)
    link_unit = jnp.zeros((size, shape.links), lower.dtype).at[at, jnp.arange(shape.links)].add(-data.row_active.link)
    whole = jnp.concatenate([coupling, jnp.zeros((size, shape.limits), lower.dtype), link_unit], axis=1)
    whole = whole[: shape.scenarios * count].reshape(shape.scenarios, count, shape.outputs)
    return inverse, inverse @ whole


def close_coupling(shape, data, theta, state_schur, link_outputs, limit_inverse):
    """Factor the inner system, over acquisitions or over outputs."""
    dtype = data.a.dtype
    held_size = shape.states * (shape.pools + shape.sides)
    held = shape.pools + shape.sides
    if shape.acquisition_space:
        matrix = between_acquisitions(shape, data, state_schur, limit_inverse)
        if shape.scenarios:
            linked = jax.vmap(lambda row: outputs_transpose(shape, data, row))(link_outputs.reshape(-1, shape.outputs))
            matrix = matrix + linked.T @ linked
        matrix = matrix * data.z_active[:, None] * data.z_active[None]
        index = jnp.arange(shape.acquisitions)
        own = jnp.where(theta.z > 0, 1.0 / jnp.where(theta.z > 0, theta.z, 1.0), 1.0)
        matrix = matrix.at[index, index].add(own)
        return blocked_factor(matrix, (REGULARISATION, *SHIFTS)), jnp.zeros((0, 0), dtype), jnp.zeros((0, 0), dtype)
    size = shape.outputs
    entries = segment_sum(data.gram_value * theta.z[data.gram_col], data.gram_target, size * size + 1)
    gram = entries[: size * size].reshape(size, size)
    if shape.scenarios:
        whole = jnp.zeros((size, size), dtype)
        index = (jnp.arange(held_size)).reshape(shape.states, held)
        whole = whole.at[index[:, :, None], index[:, None, :]].set(state_schur)
        at = held_size + jnp.arange(shape.limits)
        whole = whole.at[at, at].set(limit_inverse)
        linked = link_outputs.reshape(-1, size)
        left, inverse = lower_root(whole + linked.T @ linked)
        middle = left.T @ (gram @ left)
        left = (left, inverse)
    else:
        left, inverse = lower_root(state_schur)
        root = jnp.sqrt(limit_inverse)
        middle = apply_left_transposed(shape, left, root, apply_left_transposed(shape, left, root, gram).T)
        left = (left, inverse, root)
    index = jnp.arange(size)
    return blocked_factor(middle.at[index, index].add(1.0), (0.0, *SHIFTS)), left, gram


def between_acquisitions(shape: Shape, data: Data, state_schur: Array, limit_inverse: Array) -> Array:
    """[Z, Z] U' S U of held outputs and limits."""
    h, pools, held = data.holdings, shape.pools, shape.pools + shape.sides
    if not shape.members:
        dense = jnp.zeros((shape.outputs, shape.acquisitions), state_schur.dtype).at[data.u_row, data.u_col].add(data.u_value)
        by_state = dense[: shape.states * held].reshape(shape.states, held, shape.acquisitions)
        matrix = jnp.einsum("qgz,qgy->zy", by_state, state_schur @ by_state)
        limits = dense[shape.states * held :][: shape.limits]
        return matrix + limits.T @ (limits * limit_inverse[:, None])
    # S U, output by output, [G', Q, Z]; its rows of a pool meet the members of that pool only, [G, n, Q]
    by_output = jnp.transpose(state_schur, (1, 0, 2))
    weighted = by_output[:, :, h.pool] * h.hold.T[None]
    for k in range(shape.sides):
        weighted = weighted + by_output[:, :, pools + k, None] * h.side[k].T[None]
    by_member = (h.hold[h.members] * h.is_member[:, :, None]) @ weighted[:pools]
    matrix = by_member.reshape(-1, shape.acquisitions)[h.pool * shape.members + h.place]
    for k in range(shape.sides):
        matrix = matrix + h.side[k] @ weighted[pools + k]
    return matrix + h.limit.T @ (h.limit * limit_inverse[:, None])


def lower_root(matrix: Array) -> tuple[Array, Array]:
    """L with L L' close to a positive semidefinite matrix [..., n, n], and L^-1; rows without any entry stay zero in both."""
    diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0)
    eye = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    scaled = matrix * scale[..., :, None] * scale[..., None, :] + (1.0 - (scale > 0))[..., None, :] * eye
    factor = jax.lax.linalg.cholesky(scaled + 1e-15 * eye, symmetrize_input=False)
    failed = ~jnp.isfinite(factor).all(axis=(-2, -1), keepdims=True)
    again = jax.lax.cond(failed.any(), lambda: jax.lax.linalg.cholesky(scaled + 1e-9 * eye, symmetrize_input=False), lambda: factor)
    factor = jnp.where(failed, jnp.where(jnp.isfinite(again), again, eye), factor)
    inverse = jax.lax.linalg.triangular_solve(factor, jnp.broadcast_to(eye, factor.shape), left_side=True, lower=True)
    root = jnp.where(scale > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 0.0)), 0.0)
    return factor * root[..., :, None], inverse * scale[..., None, :]


def add_border(shape: Shape, data: Data, f: Factor) -> Factor:
    """Eliminate the rest for every border row; the Schur complement is dense and small.

    It is formed as E' Theta E with E = A_border' - A_rest' Y, Y = N_rest^-1 A_rest Theta A_border': positive semidefinite as it stands,
    and an error in Y enters squared, where corner - b' Y would cancel.
    """
    mask = border_mask(shape, data)
    zero = jax.tree.map(jnp.zeros_like, data.rhs)

    def column(row):
        limit = jnp.zeros(shape.limits + shape.links + 1, data.a.dtype).at[row].set(1.0)
        unit = zero._replace(limit=limit[: shape.limits], link=limit[shape.limits : shape.limits + shape.links])
        columns = transpose(shape, data, unit)
        full = apply(shape, data, jax.tree.map(jnp.multiply, f.theta, columns))
        rest = jax.tree.map(lambda p, m: p * (1.0 - m), full, mask)
        y, z = solve_rest(shape, data, f, rest, jnp.zeros(shape.acquisitions, data.a.dtype))
        left = transpose(shape, data, jax.tree.map(jnp.subtract, unit, y))
        theta_z = z_of(shape, f.theta)
        z_left = jnp.where(theta_z > 0, z_of(shape, columns) - z / jnp.where(theta_z > 0, theta_z, 1.0), 0.0)
        return rest, y, z, with_z(shape, left, z_left)

    rest, solved, solved_z, left = jax.lax.map(column, data.border_row)
    matrix = sum(
        jnp.tensordot((e * t).reshape(shape.border, -1), e.reshape(shape.border, -1), ((1,), (1,)))
        for e, t in zip(left, f.theta, strict=True)
    )
    index = jnp.arange(shape.border)
    padding = (data.border_row >= shape.limits + shape.links).astype(data.a.dtype)
    matrix = jnp.asarray(matrix).at[index, index].add(padding)
    return f._replace(border_rows=rest, border_solved=solved, border_z=solved_z, border=inverse_factor(matrix, REGULARISATION))
