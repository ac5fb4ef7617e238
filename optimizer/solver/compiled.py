"""The iteration's functions compiled ahead for one program shape, on all cores at once, for one device or for a mesh of them.

Compiled one after the other at their first call they took 24 s for the flagship's shape on two cores, of which one was mostly idle.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optimizer.solver import kept, newton, start
from optimizer.solver.advance import advance
from optimizer.solver.border import add_border
from optimizer.solver.coupling import close
from optimizer.solver.factor import factor_cells
from optimizer.solver.structure import Both, Data, Shape
from optimizer.solver.substitution import Factor
from optimizer.solver.sweeps import AXIS

# A small program on the CPU takes milliseconds for an iteration and seconds to compile. XLA's older emitters, optimising less, take a half
# of the time. So it is with what runs once, whatever its size.
SMALL = 16_384  # entries of placement
ONCE = ("starting_point", "first_theta")
QUICKLY: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


class Compiled(NamedTuple):
    """The functions without their first argument, the shape; `factor` is made of factor_cells, close and add_border."""

    factor: Callable
    first_theta: Callable
    starting_point: Callable
    residuals: Callable
    advance: Callable
    place: Callable  # host arrays of the program to the devices


FUNCTIONS: dict[str, Callable] = {  # the slowest to compile first
    "advance": advance, "starting_point": start.starting_point, "factor_cells": factor_cells, "add_border": add_border,
    "residuals": newton.residuals, "first_theta": start.first_theta,
}  # fmt: skip


class _Key:
    """The shape as a cache key that carries the arrays' types along: they follow from the shape."""

    def __init__(self, shape: Shape, data: Data) -> None:
        self.shape, self.dtype = shape, np.dtype(data.u_value.dtype)
        self.data = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), data)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (self.shape, self.dtype) == (other.shape, other.dtype)


def compile_for(shape: Shape, data: Data) -> Compiled:
    """Compile for the first `shape.devices` devices, or take what this process has already compiled for the shape."""
    return _compile(_Key(shape, data))


def file_for(shape: Shape, data: Data) -> Path | None:
    """Where the compiled functions are kept; None where they are left to JAX's own cache."""
    return _file(_Key(shape, data))


def lowered(shape: Shape, data: Data) -> dict[str, Any]:
    """Every function of a shape as XLA is given it, for one device (jax.stages.Lowered)."""
    lower = _lowering(_Key(shape._replace(devices=1), data), None)
    return {name: lower(name) for name in _names(shape)}


def forget() -> None:
    """Drop everything that is compiled."""
    _compile.cache_clear()
    jax.clear_caches()
    gc.collect()


def parted(tree: Any) -> Any:
    """PartitionSpecs of a tree: what a field `cells` holds is cut by chunk, all else is on every device."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        fields = zip(tree._fields, tree, strict=True)  # type: ignore[attr-defined]
        return type(tree)(*(jax.tree.map(lambda _: PartitionSpec(AXIS), v) if name == "cells" else parted(v) for name, v in fields))
    if isinstance(tree, tuple):
        return tuple(parted(v) for v in tree)
    return jax.tree.map(lambda _: PartitionSpec(), tree)


def _names(shape: Shape) -> list[str]:
    return [name for name in (*FUNCTIONS, "close") if shape.border or name != "add_border"]


@cache
def _compile(key: _Key) -> Compiled:
    shape = key.shape
    mesh = Mesh(np.array(jax.devices()[: shape.devices]), (AXIS,)) if shape.devices > 1 else None
    names = _names(shape)
    built = kept.taken(_file(key), names, lambda: _built(key, names, mesh))
    return Compiled(_factor(built, shape, mesh), *(built[name] for name in Compiled._fields[1:-1]), partial(_place, mesh))


def _file(key: _Key) -> Path | None:
    return kept.path_of(key.shape, key.dtype.name, _names(key.shape), jax.tree.leaves(key.data)) if key.shape.devices == 1 else None


def _built(key: _Key, names: list[str], mesh: Mesh | None) -> dict[str, Callable]:
    lower = _lowering(key, mesh)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(names, pool.map(lambda name: _compiled(name, lower(name), key.shape), names), strict=True))


def _compiled(name: str, function: Any, shape: Shape) -> Callable:
    small = shape.pairs * shape.blocks * shape.nodes <= SMALL
    if (small or name in ONCE) and jax.default_backend() == "cpu":
        with suppress(jax.errors.JaxRuntimeError):  # a version of XLA that does not know them
            return function.compile(QUICKLY)
    return function.compile()


def _lowering(key: _Key, mesh: Mesh | None) -> Callable[[str], Any]:
    """Name of a function -> what XLA is given of it."""
    shape, data = key.shape, key.data
    alone = shape._replace(devices=1)
    number = jax.ShapeDtypeStruct((), key.dtype)

    def result_of(name: str, *arguments: Any) -> Any:  # shapes and types only
        return jax.eval_shape(partial(FUNCTIONS[name], alone), data, *arguments)

    columns = result_of("first_theta")
    cellwise = result_of("factor_cells", columns, number)
    closing = (data._replace(cells=None), cellwise.theta.own, cellwise.state_schur, cellwise.link_outputs)
    coupling = jax.eval_shape(partial(close, alone), *closing)
    open_factor = Factor(cellwise.theta, cellwise.cells, cellwise.link, coupling, None)
    factor = result_of("add_border", open_factor) if shape.border else open_factor
    state = result_of("starting_point", factor)
    arguments: dict[str, tuple] = {
        "first_theta": (), "factor_cells": (columns, number), "add_border": (open_factor,), "starting_point": (factor,),
        "residuals": (state,), "advance": (state, result_of("residuals", state), factor, number),
    }  # fmt: skip

    def lower(name: str) -> Any:
        if name == "close":
            return jax.jit(partial(close, alone)).lower(*closing)
        given = (data, *arguments[name])
        if mesh is None:
            return jax.jit(partial(FUNCTIONS[name], shape)).lower(*given)
        outcome = parted(result_of(name, *arguments[name]))
        shared = jax.shard_map(partial(FUNCTIONS[name], shape), mesh=mesh, in_specs=parted(given), out_specs=outcome, check_vma=False)
        return jax.jit(shared).lower(*_on(mesh, given))

    return lower


def _factor(built: dict[str, Callable], shape: Shape, mesh: Mesh | None) -> Callable:
    """The factorisation: one sweep over the nodes on all devices, the dense rest on the first, which has all cores for it."""

    def factor(data: Data, theta: Both, mu: Any) -> Factor:
        found = built["factor_cells"](data, theta, mu)
        own = _first((data._replace(cells=None), found.theta.own, found.state_schur, found.link_outputs), mesh)
        coupling = built["close"](*own)
        if mesh is not None:
            coupling = jax.tree.map(partial(_replicated, mesh), coupling)
        whole = _cut_again(mesh, Factor(found.theta, found.cells, found.link, coupling, None))
        return built["add_border"](data, whole) if shape.border else whole

    return factor


def _on(mesh: Mesh, tree: Any) -> Any:
    """Types with their shardings."""
    return jax.tree.map(lambda a, spec: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, spec)), tree, parted(tree))


def _place(mesh: Mesh | None, tree: Any) -> Any:
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec)), tree, parted(tree))


def _cut_again(mesh: Mesh | None, tree: Any) -> Any:
    """Empty arrays come back uncut, and are refused where cut ones are expected."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda a, spec: a if a.size else jax.device_put(a, NamedSharding(mesh, spec)), tree, parted(tree))


def _first(tree: Any, mesh: Mesh | None) -> Any:
    """What is the same on every device, from the first of this process."""
    return tree if mesh is None else jax.tree.map(lambda a: a.addressable_data(0), tree)


def _replicated(mesh: Mesh, a: jax.Array) -> jax.Array:
    """An array of the first device on all devices of the mesh; every process brings its own, equal one."""
    here = [jax.device_put(a, d) for d in mesh.local_devices]
    return jax.make_array_from_single_device_arrays(a.shape, NamedSharding(mesh, PartitionSpec()), here)
