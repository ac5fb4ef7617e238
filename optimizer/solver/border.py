"""Border rows: linking rows over several scenarios, and limits without a slack. Eliminated last, one dense column each."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from kernels.cells import diagonal, inverse_factor
from optimizer.solver.operators import apply, dot_of_chunk, transpose
from optimizer.solver.structure import Array, Both, Data, Shape, node_first, node_last, split_own
from optimizer.solver.substitution import Border, Factor, border_mask, inner_of, solve_rest


def add_border(shape: Shape, data: Data, f: Factor) -> Factor:
    """Eliminate the rest for every border row; the Schur complement is dense and small.

    It is formed as E' Theta E with E = A_border' - A_rest' Y, Y = N_rest^-1 A_rest Theta A_border': positive semidefinite as it stands,
    and an error in Y enters squared, where corner - b' Y would cancel.
    """
    mask, dtype = border_mask(shape, data), data.u_value.dtype
    size = shape.limits + shape.links
    first, last = (jax.vmap(lambda a, turn=turn: turn(shape, a)) for turn in (node_first, node_last))

    def column(row: Array):
        unit = Both(jnp.zeros(data.cells.terms.rhs.shape, dtype), jnp.zeros(size + 1, dtype).at[row].set(1.0)[:size])
        columns = transpose(shape, data, unit)
        full = apply(shape, data, jax.tree.map(jnp.multiply, f.theta, columns))
        rest = Both(first(full.cells), full.own * (1.0 - mask))
        y, z = solve_rest(shape, data, f, rest, jnp.zeros(shape.acquisitions, dtype))
        left = transpose(shape, data, Both(unit.cells - last(y.cells), unit.own - y.own))
        theta_z, column_z = split_own(shape, f.theta.own).z, split_own(shape, columns.own).z
        z_left = jnp.where(theta_z > 0, column_z - z / jnp.where(theta_z > 0, theta_z, 1.0), 0.0)
        return rest, y, z, left._replace(own=left.own.at[: shape.acquisitions].set(z_left))

    rest, solved, solved_z, left = jax.lax.map(column, data.border_row)

    def entry(i: Array, j: Array) -> Array:
        e, g = (jax.tree.map(lambda a, k=k: a[k], left) for k in (i, j))
        weighted = jax.tree.map(jnp.multiply, e, f.theta)
        return inner_of(shape, weighted.cells, g.cells) + dot_of_chunk(weighted.own, g.own)

    index = jnp.arange(shape.border)
    matrix = jax.lax.map(lambda i: jax.lax.map(lambda j: entry(i, j), index), index)
    matrix = matrix + diagonal((data.border_row >= size).astype(dtype), shape.border)
    by_chunk = [Both(jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), t.cells), t.own) for t in (rest, solved)]
    return f._replace(border=Border(*by_chunk, solved_z, inverse_factor(matrix, 0.0)))
