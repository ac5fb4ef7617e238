"""One function applied to every chunk of nodes, and its totals over all nodes.

On one device chunks come one after the other, so that what one needs stays in the cache, or (on accelerators with memory to spare) all at
once. Totals are formed per group of chunks, in order, and then over the groups, in order: the result does not depend on the number of
devices that share the groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizer.solver.structure import Array, Shape

AXIS = "nodes"  # of the device mesh


def sweep(
    shape: Shape, body: Callable[..., tuple[Any, Any, Any]], *parts: Any, heavy: bool = False, alike: bool = False
) -> tuple[Any, Any, Any]:
    """body(*chunk) -> (results, totals, least); the results of all chunks stacked, totals summed and `least` minimised over all chunks of
    all devices. Leaves of `parts` start with the chunk. `heavy`: the body makes arrays larger than what it is given; `alike`: it treats all
    entries alike, so that it takes an axis of chunks as well."""
    here = jax.tree.leaves(parts)[0].shape[0]
    groups = here // shape.chunks
    if here == 1 and heavy:  # as it stands: loops that end by themselves do not batch well
        results, totals, least = body(*jax.tree.map(lambda a: a.reshape(a.shape[1:]), parts))
        results, totals, least = jax.tree.map(lambda a: a[None], (results, totals, least))
    elif here == 1 and alike:
        results, totals, least = body(*parts)
        if shape.devices == 1:
            return results, totals, least
        totals, least = jax.tree.map(lambda a: a[None], (totals, least))
    elif here == 1:  # a batch of one: cutting the axis off and adding it again took 700 operations of the 6,800 of a small program
        results, totals, least = jax.vmap(body)(*parts)
    elif shape.streaming < (1 if heavy else 2):
        results, totals, least = jax.vmap(body)(*parts)
        totals = jax.tree.map(lambda a: a.reshape(groups, shape.chunks, *a.shape[1:]).sum(1), totals)
    else:
        results, totals, least = _streamed(shape, body, groups, parts)
    totals, least = gathered(shape, (totals, least))
    if here * shape.devices == 1:
        return results, *jax.tree.map(lambda a: a.reshape(a.shape[1:]), (totals, least))
    return results, jax.tree.map(lambda a: a.sum(0), totals), jax.tree.map(lambda a: a.min(0), least)


def _streamed(shape: Shape, body: Callable, groups: int, parts: Any) -> tuple[Any, Any, Any]:
    """Chunk after chunk; totals are per group."""
    _, totals, least = jax.eval_shape(body, *jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), parts))
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), totals)
    most = jax.tree.map(lambda a: jnp.full(a.shape, jnp.inf, a.dtype), least)

    def of_chunk(carry: Any, part: Any) -> tuple[Any, Any]:
        results, more, other = body(*part)
        return (jax.tree.map(jnp.add, carry[0], more), jax.tree.map(jnp.minimum, carry[1], other)), results

    def of_group(part: Any) -> tuple[Any, Any]:
        return jax.lax.scan(of_chunk, (zero, most), part)

    if groups == 1:
        (totals, least), results = of_group(parts)
        return results, *jax.tree.map(lambda a: a[None], (totals, least))
    by_group = jax.tree.map(lambda a: a.reshape(groups, shape.chunks, *a.shape[1:]), parts)
    (totals, least), results = jax.lax.map(of_group, by_group)
    return jax.tree.map(lambda a: a.reshape(groups * shape.chunks, *a.shape[2:]), results), totals, least


def gathered(shape: Shape, tree: Any) -> Any:
    """What every device has of a leading axis of chunks (or groups), end to end on all of them."""
    if shape.devices == 1:
        return tree
    return jax.tree.map(lambda a: jax.lax.all_gather(a, AXIS, tiled=True), tree)


def agreed(shape: Shape, tree: Any) -> Any:
    """What the first device has, on all of them. What every device computes for itself may differ in its last digit (scatters on an
    accelerator add in no fixed order); where it decides which way a computation goes, one must not wait where another has gone on."""
    return tree if shape.devices == 1 else jax.tree.map(lambda a: jax.lax.all_gather(a, AXIS)[0], tree)


def inner(shape: Shape, a: Array, b: Array) -> Array:
    """Inner product of [C, ...] with [C, ...] over all devices, group by group."""
    local = a.shape[0] // shape.chunks
    return gathered(shape, (a * b).reshape(local, -1).sum(1)).sum()
