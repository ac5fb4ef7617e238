"""The shapes and arrays that the interior point works on: scaled, masked, padded, cut into chunks of nodes.

Layout. Everything that belongs to recourse nodes is cut into C chunks of n nodes; the node is the last axis, so that one vector lane is one
node, and the chunk the first, so that chunks are what devices share and what fits into a cache: x is [C, P, B, n]. Inside a chunk nodes
stand in *packs* of one capacity state. What belongs to no node (acquisitions, limits, linking rows) is called *own* and is on every device.
Nothing of size (nodes x acquisitions) exists: acquisitions meet the nodes only through the outputs U z, with

    U = [ held outputs (Q*(G+K)) ; limits (L) ; linking rows (R) ]        sparse, (O, Z), O = Q*(G+K) + L + R

Equalities and their slacks (all variables >= 0 after shifting, optional upper bounds):

    demand    sum_p x + u                              = d          [Ws, B, n]
    deferred  sum_b sum_p h x + ud                     = D          [Wd, n]
    capacity  sum_p a x - r + s - availability (U z)   = rhs        [G, B, n]
    side      sum sx x + sum sr r - e + t - (U z)      = rhs        [K, n]
    limit     U z + sign f                             = rhs        [L]
    link      U z + (slot terms) + sign_h h + sign_l l = rhs        [R]

A linking row reaches a node through a *slot*: node n has up to M slots, slot (m, n) belongs to linking row `slot_link[m, n]`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    groups: int  # of chunks: a sum over nodes adds their totals, in order, whatever the number of devices
    chunks: int  # of a group
    packs: int  # of a chunk
    pack: int  # nodes of a pack
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
    streaming: int = 1  # chunk after chunk: 0 never (all chunks of a device at once), 1 heavy sweeps, for the cache, 2 all, for memory
    devices: int = 1

    @property
    def lanes(self) -> int:
        """Nodes of a chunk."""
        return self.packs * self.pack

    @property
    def nodes(self) -> int:
        return self.groups * self.chunks * self.lanes

    @property
    def outputs(self) -> int:
        return self.states * (self.pools + self.sides) + self.limits + self.links

    @property
    def rest(self) -> int:
        """Columns of a node other than placement."""
        return self.blocks * (self.served + 2 * self.pools) + self.deferrable + 2 * self.sides

    @property
    def rows(self) -> int:
        """Rows of a node."""
        return self.blocks * (self.served + self.pools) + self.deferrable + self.sides

    @property
    def own(self) -> int:
        """Columns of no node: acquisitions, slacks of limits, slacks and priced slacks of linking rows."""
        return self.acquisitions + self.limits + 2 * self.links


class Both(NamedTuple):
    """What belongs to nodes, by chunk, and what belongs to none; the two have the same fields."""

    cells: Any
    own: Any


class Part(NamedTuple):
    """Columns of nodes in two arrays: what treats every column alike works on these."""

    x: Array  # [(C,) P, B, n] placement
    rest: Array  # [(C,) R, n]: u | ud | r | s | t | e, see `Rest`


class Rest(NamedTuple):
    """The kinds of `Part.rest` by name, of one chunk."""

    u: Array  # [Ws, B, n] unserved
    ud: Array  # [Wd, n] unserved of deferrable streams
    r: Array  # [G, B, n] rent
    s: Array  # [G, B, n] spare capacity
    t: Array  # [K, n] slack of side rows
    e: Array  # [K, n] priced slack of side rows


class Own(NamedTuple):
    """Columns of no node by name."""

    z: Array  # [Z] acquisitions
    f: Array  # [L] slack of limits
    l: Array  # [R] slack of linking rows  # noqa: E741
    h: Array  # [R] priced slack of linking rows


class Rows(NamedTuple):
    """Rows of a chunk's nodes by name; in one array [(C,) rows, n] in this order. Own rows are limits, then linking rows, [L + R]."""

    demand: Array  # [Ws, B, n]
    deferred: Array  # [Wd, n]
    capacity: Array  # [G, B, n]
    side: Array  # [K, n]


class NodeRows(NamedTuple):
    """Rows of nodes with the node first, as whole matrices of a cell want them; of several chunks, the chunk before it."""

    served: Array  # [(C,) n, B, Ws]
    pool: Array  # [(C,) n, B, G]
    shared: Array  # [(C,) n, Wd + K] deferrable streams, then side rows: shared by the blocks of a node


class Holdings(NamedTuple):
    """Which pool each acquisition feeds, and how much of it in every capacity state; empty where `members` is zero."""

    pool: Array  # int[Z]
    hold: Array  # [Z, Q]
    members: Array  # int[G, m] acquisitions of a pool, any acquisition for padding
    is_member: Array  # [G, m] 0 for padding
    place: Array  # int[Z], position among the members of its pool
    side: Array  # [K, Z, Q] what it feeds to side rows
    limit: Array  # [L, Z] the rows of limits, dense


class Terms(NamedTuple):
    """The program, of nodes (columns are Part, rows an array) or of none (arrays)."""

    cost: Any
    upper: Any  # 1 where unbounded
    active: Any  # true for a real variable, false for padding and presolved ones
    bounded: Any  # true where the upper bound is real
    rhs: Array
    row_active: Array


class Cells(NamedTuple):
    """Coefficients of nodes; every array starts with the chunk."""

    state: Array  # int[C, packs] the capacity state of a pack
    a: Array  # [C, P, n] chips per unit of work
    h: Array  # [C, B, n] hours, as a share of the period
    availability: Array  # [C, G, n]
    side_x: Array  # [C, K, P, B, n]
    side_r: Array  # [C, K, G, B, n]
    slot_link: Array  # int[C, M, n], R for an unused slot
    slot_x: Array  # [C, M, P, B, n]
    slot_u: Array  # [C, M, Ws, B, n]
    slot_ud: Array  # [C, M, Wd, n]
    slot_r: Array  # [C, M, G, B, n]
    slot_local: Array  # [C, M, n] 1 where the row is eliminated with its scenario, 0 for border rows and unused slots
    terms: Terms


class Data(NamedTuple):
    """The scaled program on the device."""

    cells: Cells
    own: Terms
    pair_stream: Array  # int[P], row of the demand system: 0..Ws-1 served, Ws..Ws+Wd-1 deferrable, Ws+Wd free or padding
    pair_pool: Array  # int[P]
    link_scenario: Array  # int[R], group index, or `scenarios` for border and padding rows
    link_position: Array  # int[R], place inside its group
    u_row: Array  # int[E] ascending
    u_col: Array  # int[E]
    u_value: Array  # [E]
    gram_target: Array  # int[T] ascending, row*O + row' of the entry; O*O for padding
    gram_col: Array  # int[T]
    gram_value: Array  # [T]
    holdings: Holdings
    limit_sign: Array  # [L]
    link_sign_l: Array  # [R]
    link_sign_h: Array  # [R]
    limit_local: Array  # [L] 1 for limits with a slack; 0 for equalities, which are border rows, and padding
    border_row: Array  # int[border], limit, or L + linking row; L + R for padding
    count: Array  # products: active columns and upper bounds
    rhs_size: Array  # 2-norm of the right-hand side
    rhs_most: Array  # its largest entry
    cost_most: Array


class Point(NamedTuple):
    """A primal-dual point, of nodes or of none: v + w = upper where bounded, lower dual zl, upper dual zu."""

    v: Any
    w: Any
    zl: Any
    zu: Any
    y: Array


State = Both  # of Point


def split_rest(shape: Shape, rest: Array) -> Rest:
    """The kinds by name."""
    cell, n = (shape.blocks, rest.shape[-1]), rest.shape[-1]
    kinds = (shape.served, *cell), (shape.deferrable, n), (shape.pools, *cell), (shape.pools, *cell), (shape.sides, n), (shape.sides, n)
    parts, start = [], 0
    for dims in kinds:
        end = start + math.prod(dims[:-1])
        parts.append(rest[start:end].reshape(dims))
        start = end
    return Rest(*parts)


def split_rows(shape: Shape, rows: Array) -> Rows:
    """The rows of a chunk by name."""
    blocks, n = shape.blocks, rows.shape[-1]
    one, two = shape.served * blocks, shape.served * blocks + shape.deferrable
    three = two + shape.pools * blocks
    return Rows(
        rows[:one].reshape(shape.served, blocks, n), rows[one:two], rows[two:three].reshape(shape.pools, blocks, n), rows[three:]
    )  # fmt: skip


def joined(kinds: Rest | Rows, xp: Any) -> Array:
    """Kinds of one chunk end to end, [R, n]; `xp` is numpy or jax.numpy."""
    return xp.concatenate([a.reshape(-1, a.shape[-1]) for a in kinds], axis=0)


def node_first(shape: Shape, rows: Array) -> NodeRows:
    """Rows of a chunk [rows, n] with the node first."""
    kinds = split_rows(shape, rows)
    shared = [kinds.deferred.T, kinds.side.T]
    return NodeRows(kinds.demand.T, kinds.capacity.T, jnp.concatenate(shared, axis=1))


def node_last(shape: Shape, rows: NodeRows) -> Array:
    """And back, [rows, n]."""
    shared = rows.shared.T
    return joined(Rows(rows.served.T, shared[: shape.deferrable], rows.pool.T, shared[shape.deferrable :]), jnp)


def split_own(shape: Shape, own: Array) -> Own:
    z, limits, links = shape.acquisitions, shape.limits, shape.links
    return Own(own[:z], own[z : z + limits], own[z + limits : z + limits + links], own[z + limits + links :])


def split_own_rows(shape: Shape, rows: Array) -> tuple[Array, Array]:
    """(limits, linking rows)."""
    return rows[: shape.limits], rows[shape.limits :]
