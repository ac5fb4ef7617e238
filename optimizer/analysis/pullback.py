"""From derivatives with respect to a program's arrays to those with respect to the numbers of a case, through the builder's values half.

Two ways, chosen by the structure alone:

    recorded   numpy, recorded and read backwards (`optimizer.build.reverse_mode`): nothing is compiled, some ten milliseconds
    compiled   JAX: seconds of compilation, once per process for all cases of one form, and kept on disk as the solver's are

Where the performance model gives the throughput of any pair the second is taken: its loops (the batch, queues) are written for JAX. A table
of throughputs has none, and all else of the values half both ways know. They agree to rounding, and at a tie of `max` or `min` too: the
derivative is shared equally among the equal.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np

from optimizer.build.structure import Structure
from optimizer.build.values import values
from optimizer.devices import prepare
from optimizer.program.lagrangian import Gradient

MOST_FORMS = 8  # compiled at a time: each holds its structure
READ = (
    "calendar", "tree", "paths", "cells", "rate", "probability", "demand", "pair_index", "run", "rent", "existing_index", "acquisition",
    "share", "limit",
)  # fmt: skip
"""The parts of a structure that `values` computes with; of the others it counts the members."""
ROOMS = ("optimizer.build", "optimizer.economics", "optimizer.uncertainty", "optimizer.performance.error_points")
"""Where the dataclasses of these parts are written. What else they hold (offers, limits, deployments) is for reports."""


def pulled_back(structure: Structure, theta: np.ndarray, of_arrays: Gradient) -> np.ndarray:
    """[M]: the derivative with respect to the numbers `theta` [M], from that with respect to every array of `values`."""
    # the one place where the way is chosen: a deployment stands for pairs whose throughput the performance model gives
    way = compiled if structure.pair_index.deployments else recorded
    return way(structure, theta, of_arrays)


def recorded(structure: Structure, theta: np.ndarray, of_arrays: Gradient) -> np.ndarray:
    """`pulled_back` without JAX, for structures without deployments."""
    from optimizer.build import reverse_mode as xp

    def in_a_row(at: Any) -> Any:
        arrays = values(structure, at, xp)
        return xp.concatenate([xp.ravel(arrays[name]) for name in of_arrays])

    return xp.pulled_back(in_a_row, theta, np.concatenate([np.ravel(of_array) for of_array in of_arrays.values()]))


def compiled(structure: Structure, theta: np.ndarray, of_arrays: Gradient) -> np.ndarray:
    """`pulled_back` by JAX, for all structures."""
    return np.asarray(compiled_form(Form(structure))(theta, of_arrays), float)


class Form:
    """A structure that is equal to another one where `values` is the same function of the numbers."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        digest = hashlib.sha256()
        for name in READ:
            _digested(getattr(structure, name), digest.update)
        self._digest = digest.digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self._digest == other._digest


def _digested(part: Any, update: Callable[[bytes], None]) -> None:
    """Arrays, numbers, texts and dates, wherever they stand in dataclasses of ROOMS."""
    if isinstance(part, np.ndarray):
        update(f"{part.dtype}{part.shape}".encode())
        update(np.ascontiguousarray(part).tobytes())
    elif dataclasses.is_dataclass(part) and type(part).__module__.startswith(ROOMS):
        for field in dataclasses.fields(part):
            update(field.name.encode())
            _digested(getattr(part, field.name), update)
    elif isinstance(part, Mapping):
        for name in sorted(part):
            update(str(name).encode())
            _digested(part[name], update)
    elif isinstance(part, tuple):
        update(str(len(part)).encode())
        for member in part:
            _digested(member, update)
    elif part is None or isinstance(part, int | float | str | date | np.generic):
        update(repr(part).encode())


@lru_cache(maxsize=MOST_FORMS)
def compiled_form(form: Form) -> Callable[[np.ndarray, Gradient], Any]:
    """One function for all structures of a form: what was compiled for one serves the others."""
    prepare()
    import jax
    import jax.numpy as jnp

    def back(at: Any, of_arrays: Any) -> Any:
        arrays, pull = jax.vjp(lambda v: values(form.structure, v, jnp), at)
        return pull({name: of_arrays[name].reshape(a.shape) for name, a in arrays.items()})[0]

    return jax.jit(back)
