"""An array namespace that is numpy and records what is computed, for derivatives backwards without a compilation (the library autograd).

What is missing here is that of `autograd.numpy`. What stands here is what the values half needs and autograd has in part or not at all:
its `where` and `broadcast_to` have wrong or no derivatives where operands are broadcast, and sums over segments are its user's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy
import numpy as np
from autograd import make_vjp
from autograd.extend import defvjp, notrace_primitive, primitive

Array = Any  # numpy array, or one that is recorded


def __getattr__(name: str) -> Any:
    return getattr(autograd.numpy, name)


def pulled_back(function: Callable[[Array], Array], at: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """[M]: the derivative of cotangent @ function(at), with function from [M] to [N] in this namespace."""
    return make_vjp(function)(at)[0](cotangent)


def broadcast_to(values: Array, shape: tuple[int, ...]) -> Array:
    return values if np.shape(values) == tuple(shape) else values + np.zeros(shape)


def where(condition: np.ndarray, x: Array, y: Array) -> Array:
    shape = np.broadcast_shapes(np.shape(condition), np.shape(x), np.shape(y))
    return autograd.numpy.where(condition, broadcast_to(x, shape), broadcast_to(y, shape))


@primitive
def segment_sum(values: Array, segment: np.ndarray, size: int) -> Array:
    """[size, ...]: sums of values[i, ...] over equal segment[i]."""
    total = np.zeros((size, *np.shape(values)[1:]))
    np.add.at(total, segment, values)
    return total


defvjp(segment_sum, lambda total, values, segment, size: lambda cotangent: cotangent[segment], argnums=(0,))


@notrace_primitive
def stopped(values: Array) -> np.ndarray:
    """The values as constants of differentiation."""
    return values
