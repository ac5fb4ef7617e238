"""The iteration's functions compiled ahead for one program shape, on all cores at once.

Compiled one after the other at their first call they took 24 s for the flagship's shape on two cores, of which one was mostly idle.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import jax

from optimizer.solver import newton
from optimizer.solver.refinement import refine
from optimizer.solver.structure import Data, Shape


class Compiled(NamedTuple):
    """`newton`'s functions without their first argument, the shape."""

    factor: Callable
    refine: Callable
    lift: Callable
    residuals: Callable
    expand: Callable
    mehrotra_targets: Callable
    weigh: Callable
    step_lengths: Callable
    step: Callable
    right_hand_side: Callable
    weighted_cost: Callable
    affine_targets: Callable
    centrality_targets: Callable


class _Key:
    """The shape as a cache key that carries the arrays' types along: they follow from the shape."""

    def __init__(self, shape: Shape, data: Data) -> None:
        self.shape = shape
        self.data = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), data)

    def __hash__(self) -> int:
        return hash(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.shape == other.shape


def compile_for(shape: Shape, data: Data) -> Compiled:
    """Compile, or take what this process has already compiled for the shape."""
    return _compile(_Key(shape, data))


def forget() -> None:
    """Drop everything that is compiled."""
    _compile.cache_clear()
    jax.clear_caches()
    gc.collect()


@cache
def _compile(key: _Key) -> Compiled:
    shape, data = key.shape, key.data
    number = jax.ShapeDtypeStruct((), data.a.dtype)

    def result_of(function: Callable, *arguments):  # shapes and types only
        return jax.eval_shape(partial(function, shape), data, *arguments)

    factor = result_of(newton.factor, data.active, number)
    state = result_of(newton.lift, data.rhs, data.rhs)
    residual = result_of(newton.residuals, state)
    solved = result_of(refine, factor, data.rhs, number, number)
    targets = result_of(newton.affine_targets, state)
    g, rhs = result_of(newton.right_hand_side, state, residual, *targets)
    direction = result_of(newton.expand, state, residual, g, solved, targets)
    arguments = Compiled(
        factor=(data.active, number),
        refine=(factor, rhs, number, number),
        lift=(data.rhs, data.rhs),
        residuals=(state,),
        expand=(state, residual, g, solved, targets),
        mehrotra_targets=(state, direction, number, number),
        weigh=(state, direction, direction),
        step_lengths=(state, direction),
        step=(state, direction, number, number),
        right_hand_side=(state, residual, *targets),
        weighted_cost=(),
        affine_targets=(state,),
        centrality_targets=(state, direction, *targets, number, number),
    )

    def build(name: str) -> Callable:
        function = refine if name == "refine" else getattr(newton, name)
        return function.lower(shape, data, *getattr(arguments, name)).compile()

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # the slowest first
        return Compiled(*pool.map(build, Compiled._fields))
