"""What has a complementarity product, end to end: columns, then the rooms below their upper bounds; and the same for their duals.

Targets, steps and what is left of products treat both alike. Laid end to end they are said, and compiled, for two arrays of nodes and one
of none in place of six. Placement stays apart (`Part.x`): it is most of the numbers, and where it has no upper bound nothing is moved.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from optimizer.solver.structure import Both, Part, Point, Shape, State


class Products(NamedTuple):
    """Of nodes (Part, its `rest` [(C,) R + R (+ P B), n]) or of none ([2 own]); their entries multiplied are the products."""

    value: Any  # v, then w
    price: Any  # zl, then zu


def end_to_end(shape: Shape, columns: Any, bounds: Any) -> Any:
    """What columns have, then what upper bounds have. Of placement without upper bounds the single entry in `bounds` is dropped."""
    if not isinstance(columns, Part):
        return jnp.concatenate([columns, bounds])
    ends = [columns.rest, bounds.rest]
    if shape.x_bounded:
        *lead, pairs, blocks, n = bounds.x.shape
        ends.append(bounds.x.reshape(*lead, pairs * blocks, n))
    return Part(columns.x, jnp.concatenate(ends, axis=-2))


def taken_apart(shape: Shape, both: Any) -> tuple[Any, Any]:
    """And back; placement without upper bounds has a single zero there."""
    if not isinstance(both, Part):
        return both[: shape.own], both[shape.own :]
    one, two = shape.rest, 2 * shape.rest
    x = both.rest[..., two:, :].reshape(both.x.shape) if shape.x_bounded else jnp.zeros((*both.x.shape[:-3], 1, 1, 1), both.x.dtype)
    return Part(both.x, both.rest[..., :one, :]), Part(x, both.rest[..., one:two, :])


def products_of(shape: Shape, s: State) -> Both:
    """Both of Products."""

    def of(p: Point) -> Products:
        return Products(end_to_end(shape, p.v, p.w), end_to_end(shape, p.zl, p.zu))

    return Both(of(s.cells), of(s.own))
