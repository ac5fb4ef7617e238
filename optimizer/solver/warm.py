"""A start from a state of a neighbouring program: the same rows and columns with other numbers.

A good start is central and far from the boundary, so what is handed on is an early state (the first with a duality gap below NEAR), not
the last: the last has decided which columns are used, and a neighbour that decides otherwise has a long way back. On the reference family
with rent, orders or demand changed by 1-10 % it saved 6-8 of 20-23 iterations each time; from a gap below 0.1 one solve in fifteen got
stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.solver.layout import Layout
from optimizer.solver.scaling import Scales
from optimizer.solver.structure import Array, Both, Point, Shape, State, Terms

NEAR = 1.0
LEAST_PRODUCT = 0.1  # of the typical one
LEAST_ROOM = 1e-3  # of an upper bound


@dataclass(frozen=True)
class Warm:
    """A state on the host, and the units that it is in."""

    state: State
    shape: Shape
    scales: Scales
    mu: float


def fitted(warm: Warm, layout: Layout) -> State | None:
    """The state as a start of this program: positive wherever it has a variable or a bound. None where its rows and columns are others."""
    if _kind(warm.shape) != _kind(layout.shape) or not _same_units(warm.scales, layout.scales):
        return None
    data, own, columns = layout.data, warm.state.own, slice(0, len(layout.scales.z))
    money = warm.scales.money / layout.scales.money
    longer = np.ones(len(own.v))
    longer[columns] = warm.scales.z / layout.scales.z
    own = own._replace(v=own.v * longer, w=own.w * longer, zl=own.zl / longer, zu=own.zu / longer)
    mu = warm.mu * money

    def priced(p: Point) -> Point:
        return p._replace(zl=_each(lambda z: z * money, p.zl), zu=_each(lambda z: z * money, p.zu), y=p.y * money)

    return Both(_inside(data.cells.terms, priced(warm.state.cells), mu), _inside(data.own, priced(own), mu))


def _kind(shape: Shape) -> Shape:
    return shape._replace(devices=1, streaming=1, outputs_nnz=0, gram_nnz=0)


def _same_units(a: Scales, b: Scales) -> bool:
    equal = (np.array_equal(getattr(a, name), getattr(b, name)) for name in ("chips", "work", "hours", "side", "limit", "link"))
    return len(a.z) == len(b.z) and all(equal)


def _each(f: Any, *trees: Any) -> Any:
    """f of arrays, or of the two arrays of a Part."""
    if isinstance(trees[0], tuple):
        return type(trees[0])(*(f(*arrays) for arrays in zip(*trees, strict=True)))
    return f(*trees)


def _inside(t: Terms, p: Point, mu: float) -> Point:
    def value(v: Array, u: Array, m: Array, b: Array) -> Array:
        v = np.where(v > 0, v, 1.0)
        return np.where(m, np.where(b, np.minimum(v, (1.0 - LEAST_ROOM) * u), v), 0.0)

    def room(v: Array, w: Array, u: Array, b: Array) -> Array:
        v = v if v.shape == b.shape else np.zeros(b.shape)  # placement without upper bounds: a single entry
        return np.where(b, np.maximum(np.where(w > 0, w, u - v), LEAST_ROOM * u), 1.0)

    def price(z: Array, v: Array, m: Array) -> Array:
        return np.where(m, np.maximum(z, LEAST_PRODUCT * mu / np.where(m, v, 1.0)), 0.0)

    v = _each(value, p.v, t.upper, t.active, t.bounded)
    w = _each(room, v, p.w, t.upper, t.bounded)
    return Point(v, w, _each(price, p.zl, v, t.active), _each(price, p.zu, w, t.bounded), p.y)
