"""What is left of the factorisation when the nodes are eliminated: linking rows of a scenario, and the acquisitions.

Everything here is small and dense, and the same on every device; see `factor` for the algebra.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kernels.blocked import Blocked, blocked_factor
from kernels.cells import diagonal, diagonal_of, inverse_factor, shifts_for
from kernels.segments import segment_sum, summed, taken
from optimizer.solver.operators import outputs_transpose
from optimizer.solver.structure import Array, Data, Shape, split_own, split_own_rows
from optimizer.solver.sweeps import gathered

REGULARISATION = 0.0  # relative to the Jacobi-scaled diagonal; 1e-14 cost half again as many rounds of refinement near the end


class Coupling(NamedTuple):
    """The closed system over acquisitions or over outputs."""

    inner: Blocked
    left: tuple[Array, ...]  # L, L^-1 [Q, G', G'] or [O, O], and the roots of limits; empty over acquisitions
    gram: Array  # [O, O] G; unused over acquisitions
    limit: Array  # [L] diagonal of N0 for limits with a slack; 1 for border and padding


def factor_links(shape: Shape, data: Data, theta_own: Array, corner: Array, with_outputs: Array) -> tuple[Array, Array]:
    """Per scenario: the inverse factor of the Schur complement of its linking rows, and that times their coupling with the outputs,
    [scenarios, Rs, O]; corner [C, n, M, M] and with_outputs [C, n, M, G+K] are what the nodes' slots leave."""
    dtype, count, held = theta_own.dtype, shape.links_per_scenario, shape.pools + shape.sides
    if not shape.scenarios:
        return jnp.zeros((0, 0, 0), dtype), jnp.zeros((0, 0, shape.outputs), dtype)
    slot_link = jnp.swapaxes(data.cells.slot_link, 1, 2)  # [C, n, M]
    state = jnp.repeat(data.cells.state, shape.pack, axis=1)  # [C, n]
    corner, with_outputs, slot_link, state = (
        a.reshape(-1, *a.shape[2:]) for a in gathered(shape, (corner, with_outputs, slot_link, state))
    )
    scenario = jnp.concatenate([data.link_scenario, jnp.full(1, shape.scenarios)])[slot_link]
    place = jnp.concatenate([data.link_position, jnp.zeros(1, data.link_position.dtype)])[slot_link]  # [N, M]
    flat_row = jnp.minimum(scenario, shape.scenarios) * count + place
    size = (shape.scenarios + 1) * count
    matrix = jnp.zeros((size, count), dtype).at[flat_row[:, :, None], place[:, None, :]].add(corner)
    coupling = jnp.zeros((size, shape.states * held), dtype)
    column = state[:, None] * held + jnp.arange(held)[None]
    coupling = coupling.at[flat_row[:, :, None], column[:, None, :]].add(with_outputs)
    matrix = matrix.reshape(shape.scenarios + 1, count, count)[: shape.scenarios]
    kinds, active = split_own(shape, theta_own), split_own_rows(shape, data.own.row_active)[1].astype(dtype)
    at = jnp.minimum(data.link_scenario, shape.scenarios) * count + data.link_position
    kept = shape.scenarios * count
    slack = summed(jnp.zeros(size, dtype), at, (kinds.l + kinds.h) * active)[:kept].reshape(shape.scenarios, count)
    real = summed(jnp.zeros(size, dtype), at, active)[:kept].reshape(shape.scenarios, count)
    matrix = matrix + diagonal(slack + (1.0 - jnp.minimum(real, 1.0)), count)
    inverse = inverse_factor(matrix, REGULARISATION)
    # Held outputs enter their rows with a minus sign, a linking row's own output with a plus. The nodes used the plus, so the linking
    # rows' unit carries the minus: only the relative sign matters in R' N0^-1 R.
    unit = jnp.zeros((size, shape.links), dtype).at[at, jnp.arange(shape.links)].add(-active)
    whole = jnp.concatenate([coupling, jnp.zeros((size, shape.limits), dtype), unit], axis=1)
    return inverse, inverse @ whole[:kept].reshape(shape.scenarios, count, shape.outputs)


def close(shape: Shape, data: Data, theta_own: Array, state_schur: Array, link_outputs: Array) -> Coupling:
    """Factor the inner system, over acquisitions or over outputs. Reads nothing of `data.cells`."""
    dtype, size = state_schur.dtype, shape.outputs
    held = shape.pools + shape.sides
    kinds = split_own(shape, theta_own)
    limit = kinds.f + (1.0 - data.limit_local)
    limit_inverse = data.limit_local / limit
    if shape.acquisition_space:
        matrix = between_acquisitions(shape, data, state_schur, limit_inverse)
        if shape.scenarios:
            linked = jax.vmap(lambda row: outputs_transpose(shape, data, row))(link_outputs.reshape(-1, size))
            matrix = matrix + linked.T @ linked
        active = data.own.active[: shape.acquisitions]
        matrix = matrix * active[:, None] * active[None]
        own = jnp.where(kinds.z > 0, 1.0 / jnp.where(kinds.z > 0, kinds.z, 1.0), 1.0)
        inner = blocked_factor(matrix + diagonal(own, shape.acquisitions), (REGULARISATION, *shifts_for(dtype)))
        return Coupling(inner, (), jnp.zeros((0, 0), dtype), limit)
    entries = segment_sum(data.gram_value * taken(kinds.z, data.gram_col), data.gram_target, size * size + 1)
    gram = entries[: size * size].reshape(size, size)
    if shape.scenarios:
        whole = jnp.zeros((size, size), dtype)
        index = jnp.arange(shape.states * held).reshape(shape.states, held)
        whole = whole.at[index[:, :, None], index[:, None, :]].set(state_schur)
        at = shape.states * held + jnp.arange(shape.limits)
        whole = whole.at[at, at].set(limit_inverse)
        linked = link_outputs.reshape(-1, size)
        left = lower_root(whole + linked.T @ linked)
        middle = left[0].T @ (gram @ left[0])
    else:
        left = (*lower_root(state_schur), jnp.sqrt(limit_inverse))
        middle = apply_left_transposed(shape, left[0], left[2], apply_left_transposed(shape, left[0], left[2], gram).T)
    return Coupling(blocked_factor(middle + diagonal(jnp.ones(size, dtype), size), (0.0, *shifts_for(dtype))), left, gram, limit)


def between_acquisitions(shape: Shape, data: Data, state_schur: Array, limit_inverse: Array) -> Array:
    """[Z, Z] U' S U of held outputs and limits."""
    h, pools, held = data.holdings, shape.pools, shape.pools + shape.sides
    if not shape.members:
        dense = jnp.zeros((shape.outputs, shape.acquisitions), state_schur.dtype).at[data.u_row, data.u_col].add(
            data.u_value, mode="drop", wrap_negative_indices=False
        )
        by_state = dense[: shape.states * held].reshape(shape.states, held, shape.acquisitions)
        matrix = jnp.einsum("qgz,qgy->zy", by_state, state_schur @ by_state)
        limits = dense[shape.states * held :][: shape.limits]
        return matrix + limits.T @ (limits * limit_inverse[:, None])
    # S U, output by output, [G', Q, Z]; its rows of a pool meet the members of that pool only, [G, m, Q]
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
    own = diagonal_of(matrix)
    scale = jnp.where(own > 0, jax.lax.rsqrt(jnp.where(own > 0, own, 1.0)), 0.0)
    eye = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    scaled = matrix * scale[..., :, None] * scale[..., None, :] + (1.0 - (scale > 0))[..., None, :] * eye
    shifts = shifts_for(matrix.dtype)
    factor = jax.lax.linalg.cholesky(scaled + shifts[0] * eye, symmetrize_input=False)
    failed = ~jnp.isfinite(factor).all(axis=(-2, -1), keepdims=True)
    more = scaled + max(1e-9, 1e3 * shifts[0]) * eye
    again = jax.lax.cond(failed.any(), lambda: jax.lax.linalg.cholesky(more, symmetrize_input=False), lambda: factor)
    factor = jnp.where(failed, jnp.where(jnp.isfinite(again), again, eye), factor)
    inverse = jax.lax.linalg.triangular_solve(factor, jnp.broadcast_to(eye, factor.shape), left_side=True, lower=True)
    root = jnp.where(scale > 0, jnp.sqrt(jnp.maximum(own, 0.0)), 0.0)
    return factor * root[..., :, None], inverse * scale[..., None, :]


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
    top = jnp.einsum("qmn,qn->qm", left, vector[:held_size].reshape(shape.states, held)).reshape(-1)
    return jnp.concatenate([top, vector[held_size : held_size + shape.limits] * root, jnp.zeros_like(vector[held_size + shape.limits :])])
