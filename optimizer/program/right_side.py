"""One right-hand side of a program and what it is worth on both sides: where the program is degenerate, one more unit saves less than one
less unit costs, and the multipliers hold one of the many prices between the two."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from optimizer.program.program import Array, Names, Program, Sparse

LIMIT, ORDER, HELD, SIDE, RENT = "limit", "order", "held", "side", "rent"


class RightSide(NamedTuple):
    """`what` and where: LIMIT (l,), its upper side, with the lower one where the two are equal, or the lower one where that is all there
    is; ORDER (z,), the upper bound of an acquisition; HELD (q, o), what a state holds anyway; SIDE (n, k), the side row of one recourse
    node alone; RENT (n, g), the upper bounds of a pool's rent in every block of a node in which there is some. A unit of it is `per_unit`
    of the program's."""

    what: str
    at: tuple[int, ...]
    per_unit: float = 1.0


def moved(program: Program, side: RightSide, units: float) -> Program:
    """The program with `units` more of a right-hand side; its rows and columns are the same. Raises KeyError for a `what` that there is
    not."""
    return _MOVES[side.what](program, side.at, units * side.per_unit)


def room(program: Program, side: RightSide) -> float:
    """How many units less there may be before lower and upper side cross; inf where nothing stands below."""
    at = side.at[0]
    if side.what == ORDER:
        return float(program.acquisition_upper[at] - program.acquisition_lower[at]) / side.per_unit
    if side.what == LIMIT:
        width = float(program.limit_upper[at] - program.limit_lower[at])
        return width / side.per_unit if width > 0 else math.inf
    return math.inf


def _plus(values: Array, at: tuple, by: float) -> Array:
    out = np.array(values, float)
    out[at] += by
    return out


def _limit(p: Program, at: tuple[int, ...], by: float) -> Program:
    lower, upper = float(p.limit_lower[at]), float(p.limit_upper[at])
    more = {}
    if math.isfinite(upper):
        more["limit_upper"] = _plus(p.limit_upper, at, by)
    if lower == upper or not math.isfinite(upper):
        more["limit_lower"] = _plus(p.limit_lower, at, by)
    return replace(p, **more)


def _order(p: Program, at: tuple[int, ...], by: float) -> Program:
    return replace(p, acquisition_upper=_plus(p.acquisition_upper, at, by))


def _held(p: Program, at: tuple[int, ...], by: float) -> Program:
    return replace(p, held_base=_plus(p.held_base, at, by))


def _side(p: Program, at: tuple[int, ...], by: float) -> Program:
    """The node gets a capacity state of its own, which holds what its state holds, where it shares that with others."""
    node, output = at[0], p.pools + at[1]
    state = int(p.state_of_node[node])
    if np.count_nonzero(p.state_of_node == state) == 1:
        return _held(p, (state, output), by)
    same = p.held_matrix.index[0] == state
    more = (np.full(int(same.sum()), p.states), *(old[same] for old in p.held_matrix.index[1:]))
    index = tuple(np.concatenate(both) for both in zip(p.held_matrix.index, more, strict=True))
    of_node = p.state_of_node.copy()
    of_node[node] = p.states
    names: Names = replace(p.names, state=(*p.names.state, p.names.state[state])) if p.names.state else p.names
    return replace(
        p, state_of_node=of_node, decision_of_state=np.append(p.decision_of_state, p.decision_of_state[state]), names=names,
        held_matrix=Sparse(index, np.concatenate([p.held_matrix.value, p.held_matrix.value[same]])),
        held_base=_plus(np.concatenate([p.held_base, p.held_base[[state]]]), (p.states, output), by),
    )  # fmt: skip


def _rent(p: Program, at: tuple[int, ...], by: float) -> Program:
    node, pool = at
    blocks = np.nonzero((p.rent_upper[node, :, pool] > 0) & np.isfinite(p.rent_upper[node, :, pool]))[0]
    return replace(p, rent_upper=_plus(p.rent_upper, (node, blocks, pool), by))


_MOVES = {LIMIT: _limit, ORDER: _order, HELD: _held, SIDE: _side, RENT: _rent}


class Slope(NamedTuple):
    """What a unit is worth to one side lies between `least` and `most`, certified; both inf where there is no plan with less (or with
    more, where the row is an equality)."""

    least: float
    most: float

    @property
    def exists(self) -> bool:
        return math.isfinite(self.least)


@dataclass(frozen=True)
class TwoPrices:
    """Of a right-hand side: what the multipliers say, what one more unit saves and what one less costs, all per unit; `room`: by how much
    the multipliers' own gap lets their price lie outside of the two; `step`: the units over which the two were measured."""

    price: float
    more: Slope
    less: Slope
    room: float
    step: float

    @property
    def differ(self) -> bool:
        """By more than the certificates leave open."""
        return not (self.more.exists and self.less.exists) or self.less.least > self.more.most

    @property
    def told(self) -> tuple[float, float]:
        """(more, less): the multipliers' price where it lies in the bracket, else the middle of that; one number where the two do not
        differ, NaN where there is no plan."""
        if self.differ:
            return _told(self.price, *self.more), _told(self.price, *self.less)
        both = _told(self.price, max(self.more.least, self.less.least), min(self.more.most, self.less.most))
        return both, both

    @property
    def contradict(self) -> bool:
        """Whether they break what every linear program obeys: one more saves at most the multiplier, and one less costs at least that."""
        more, less = (self.more.least if self.more.exists else -math.inf), (self.less.most if self.less.exists else math.inf)
        return more > less or more > self.price + self.room or self.price > less + self.room


def _told(price: float, least: float, most: float) -> float:
    if not math.isfinite(least):
        return math.nan
    return price if least <= price <= most else (least + most) / 2
