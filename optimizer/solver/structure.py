"""The shapes and arrays that the interior point works on: scaled, masked, padded, nodes last.

Layout. Arrays over recourse nodes carry the node on the last axis and the block before it, so that one vector lane is one node:
x is [P, B, N], a pool row [G, B, N], a side row [K, N]. Nothing of size (nodes x acquisitions) exists: acquisitions meet the nodes
only through the outputs U z, with

    U = [ held outputs (Q*(G+K)) ; limits (L) ; linking rows (R) ]        sparse, (O, Z), O = Q*(G+K) + L + R

Equalities and their slacks (all variables >= 0 after shifting, optional upper bounds):

    demand    sum_p x + u                              = d          [Ws, B, N]
    deferred  sum_b sum_p h x + ud                     = D          [Wd, N]
    capacity  sum_p a x - r + s - availability (U z)   = rhs        [G, B, N]
    side      sum sx x + sum sr r - e + t - (U z)      = rhs        [K, N]
    limit     U z + sign f                             = rhs        [L]
    link      U z + (slot terms) + sign_h h + sign_l l = rhs        [R]

A linking row reaches a node through a *slot*: node n has up to M slots, slot (m, n) belongs to linking row `slot_link[m, n]`.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray


class Shape(NamedTuple):
    """Static sizes after padding; together with the flags it is the compilation key."""

    pairs: int
    served: int
    deferrable: int
    pools: int
    sides: int
    blocks: int
    nodes: int
    states: int
    acquisitions: int
    limits: int
    links: int
    slots: int
    scenarios: int  # groups of linking rows that are eliminated per scenario
    links_per_scenario: int
    border: int
    outputs_nnz: int
    gram_nnz: int
    acquisition_space: bool  # close the coupling system over acquisitions (True) or over outputs (False)
    members: int  # most acquisitions of one pool; 0 where some feed several pools, or over outputs
    x_bounded: bool  # some placement has an upper bound; where none has, the x of w, zu and their data is a single entry

    @property
    def outputs(self) -> int:
        return self.states * (self.pools + self.sides) + self.limits + self.links


class Columns(NamedTuple):
    """One array per kind of variable."""

    x: Array  # [P, B, N] placement
    u: Array  # [Ws, B, N] unserved
    ud: Array  # [Wd, N] unserved of deferrable streams
    r: Array  # [G, B, N] rent
    s: Array  # [G, B, N] spare capacity
    t: Array  # [K, N] slack of side rows
    e: Array  # [K, N] priced slack of side rows
    z: Array  # [Z] acquisitions
    f: Array  # [L] slack of limits
    l: Array  # [R] slack of linking rows  # noqa: E741
    h: Array  # [R] priced slack of linking rows


class Flat(NamedTuple):
    """Columns in two arrays: placement, and all other kinds end to end. What treats every column alike works on these: eleven arrays meant
    five times as many compiled loops, and half of the compile time."""

    x: Array  # [P, B, N]
    rest: Array  # [u | ud | r | s | t | e | z | f | l | h]


class Rows(NamedTuple):
    """One array per kind of row."""

    demand: Array  # [Ws, B, N]
    deferred: Array  # [Wd, N]
    capacity: Array  # [G, B, N]
    side: Array  # [K, N]
    limit: Array  # [L]
    link: Array  # [R]


class Holdings(NamedTuple):
    """Which pool each acquisition feeds, and how much of it in every capacity state; empty where `members` is zero."""

    pool: Array  # int[Z]
    hold: Array  # [Z, Q]
    members: Array  # int[G, n] acquisitions of a pool, any acquisition for padding
    is_member: Array  # [G, n] 0 for padding
    place: Array  # int[Z], position among the members of its pool
    side: Array  # [K, Z, Q] what it feeds to side rows
    limit: Array  # [L, Z] the rows of limits, dense


class Data(NamedTuple):
    """The scaled program on the device."""

    # index arrays
    pair_stream: Array  # int[P], row of the demand system: 0..Ws-1 served, Ws..Ws+Wd-1 deferrable, Ws+Wd free or padding
    pair_pool: Array  # int[P]
    state_of_node: Array  # int[N]
    # coefficients
    a: Array  # [P, N] chips per unit of work
    h: Array  # [B, N] hours, as a share of the period
    availability: Array  # [G, N]
    side_x: Array  # [K, P, B, N]
    side_r: Array  # [K, G, B, N]
    slot_link: Array  # int[M, N], R for an unused slot
    slot_x: Array  # [M, P, B, N]
    slot_u: Array  # [M, Ws, B, N]
    slot_ud: Array  # [M, Wd, N]
    slot_r: Array  # [M, G, B, N]
    slot_local: Array  # [M, N] 1 where the row is eliminated with its scenario, 0 for border rows and unused slots
    link_scenario: Array  # int[R], group index, or `scenarios` for border and padding rows
    link_position: Array  # int[R], place inside its group
    u_row: Array  # int[E] ascending
    u_col: Array  # int[E]
    u_value: Array  # [E]
    u_by_col: Array  # int[E] permutation that sorts by column
    gram_target: Array  # int[T] ascending, row*O + row' of the entry; O*O for padding
    gram_col: Array  # int[T]
    gram_value: Array  # [T]
    holdings: Holdings
    limit_sign: Array  # [L]
    link_sign_l: Array  # [R]
    link_sign_h: Array  # [R]
    limit_local: Array  # [L] 1 for limits with a slack; 0 for equalities, which are border rows, and padding
    border_row: Array  # int[border], limit, or L + linking row; L + R for padding
    # the program
    cost: Flat
    rhs: Rows
    upper: Flat  # 1 where unbounded
    active: Flat  # 1.0 for a real variable, 0.0 for padding and presolved ones
    bounded: Flat  # 1.0 where the upper bound is real
    row_active: Rows
    z_active: Array  # [Z] the acquisitions' part of `active`


class State(NamedTuple):
    """A primal-dual point: v + w = upper where bounded, lower dual zl, upper dual zu."""

    v: Flat
    w: Flat
    y: Rows
    zl: Flat
    zu: Flat


def rest_shapes(shape: Shape) -> tuple[tuple[int, ...], ...]:
    """Shapes of the kinds of columns in `Flat.rest`, in order."""
    cell = (shape.blocks, shape.nodes)
    pool, side = (shape.pools, *cell), (shape.sides, shape.nodes)
    return (
        (shape.served, *cell), (shape.deferrable, shape.nodes), pool, pool, side, side, (shape.acquisitions,), (shape.limits,),
        (shape.links,), (shape.links,),
    )  # fmt: skip


def flatten(columns: Columns, xp: ModuleType) -> Flat:
    """The kinds other than placement end to end; `xp` is numpy or jax.numpy."""
    return Flat(columns.x, xp.concatenate([a.reshape(-1) for a in columns[1:]]))


def unflatten(shape: Shape, flat: Flat) -> Columns:
    """The kinds of columns by name."""
    parts, start = [], 0
    for dims in rest_shapes(shape):
        end = start + math.prod(dims)
        parts.append(flat.rest[start:end].reshape(dims))
        start = end
    return Columns(flat.x, *parts)


def z_slice(shape: Shape) -> slice:
    """Where the acquisitions stand in `Flat.rest`."""
    start = sum(math.prod(dims) for dims in rest_shapes(shape)[: Columns._fields.index("z") - 1])
    return slice(start, start + shape.acquisitions)
