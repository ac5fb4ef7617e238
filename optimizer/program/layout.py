"""Index arithmetic of a program: sums over the pairs of a stream or of a pool, what a state holds, and the finite box of every column.

A box that the planner left infinite is defined here, once, for the bound and the repair:

    x[n,b,p]   min(placement_upper, demand) of a served stream, min(placement_upper, demand_deferrable / block_hours) of a deferrable one
    r[n,b,g]   rent_upper, or where it is infinite sum_{p of g} pair_capacity * (box of x): what all work that may run here could use
    e[n,k]     side_slack_upper; where it is infinite the column has no upper bound (its cost is not negative, so none is needed)

Nodes are visited in chunks of a few hundred kilobytes, so that the passes over x stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optimizer.program.matrix import Matrix
from optimizer.program.program import Array, Program

CHUNK_ENTRIES = 1 << 17  # entries of x per chunk of nodes


@dataclass(frozen=True)
class Layout:
    """Segments of the pair axis P."""

    stream: Array  # int[S], the streams that have a pair, ascending
    stream_start: Array  # int[S], the first pair of each
    served_end: int  # pairs [0, served_end) belong to served streams
    deferrable_end: int  # pairs [served_end, deferrable_end) to deferrable ones, the rest to free ones
    pool: Array  # int[S'], the pools that have a pair, ascending
    pool_start: Array  # int[S'], the first position of each in pool_order
    pool_order: Array  # int[P], pairs sorted by pool

    @staticmethod
    def of(program: Program) -> Layout:
        stream, stream_start = np.unique(program.pair_stream, return_index=True)
        order = np.argsort(program.pair_pool, kind="stable")
        pool, pool_start = np.unique(program.pair_pool[order], return_index=True)
        ends = np.searchsorted(program.pair_stream, [program.served, program.served + program.deferrable])
        return Layout(stream, stream_start, int(ends[0]), int(ends[1]), pool, pool_start, order)

    def streams_between(self, first: int, last: int) -> tuple[Array, Array]:
        """(streams, first pairs) of the streams in [first, last) that have a pair."""
        inside = slice(*np.searchsorted(self.stream, [first, last]))
        return self.stream[inside], self.stream_start[inside]

    def sum_by_pool(self, values: Array, pools: int) -> Array:
        """[..., P] -> [..., G]."""
        out = np.zeros((*values.shape[:-1], pools))
        if len(self.pool):
            out[..., self.pool] = np.add.reduceat(np.take(values, self.pool_order, axis=-1), self.pool_start, axis=-1)
        return out


def served_sum(program: Program, layout: Layout, x: Array) -> Array:
    """[n, B, P] -> [n, B, served]: the work of served streams that is placed."""
    out = np.zeros((*x.shape[:2], program.served))
    streams, starts = layout.streams_between(0, program.served)
    if len(streams):
        out[..., streams] = np.add.reduceat(x[..., : layout.served_end], starts, axis=-1)
    return out


def deferrable_sum(program: Program, layout: Layout, x: Array, hours: Array) -> Array:
    """[n, B, P], hours [n, B] -> [n, deferrable]: the work of deferrable streams that is placed over all blocks."""
    out = np.zeros((x.shape[0], program.deferrable))
    streams, starts = layout.streams_between(program.served, program.served + program.deferrable)
    if len(streams):
        weighted = np.einsum("nbp,nb->np", x[..., layout.served_end : layout.deferrable_end], hours)
        out[:, streams - program.served] = np.add.reduceat(weighted, starts - layout.served_end, axis=-1)
    return out


def stream_columns(program: Program) -> tuple[Array, Array]:
    """(pairs of each stream [W, most], padded with 0; which of them exist)."""
    starts = np.searchsorted(program.pair_stream, np.arange(program.streams + 1))
    count = np.diff(starts)
    offset = np.arange(max(1, int(count.max(initial=0))))
    exists = offset < count[:, None]
    return np.where(exists, starts[:-1, None] + offset, 0), exists


def node_chunks(program: Program) -> Iterator[slice]:
    """Consecutive slices that cover the nodes."""
    step = max(1, CHUNK_ENTRIES // max(1, program.blocks * program.pairs))
    for first in range(0, program.nodes, step):
        yield slice(first, min(first + step, program.nodes))


def held_operator(program: Program) -> Matrix:
    """held_matrix as a matrix [Q*(G+K), Z]."""
    outputs = program.pools + program.sides
    state, output, column = program.held_matrix.index
    shape = (program.states * outputs, program.acquisitions)
    return Matrix(state * outputs + output, column, program.held_matrix.value, shape)


def limit_operator(program: Program) -> Matrix:
    """limit_matrix as a matrix [L, Z]."""
    row, column = program.limit_matrix.index
    return Matrix(row, column, program.limit_matrix.value, (program.limits, program.acquisitions))


def link_operator(program: Program) -> Matrix:
    """link_acquisition as a matrix [R, Z]."""
    row, column = program.link_acquisition.index
    return Matrix(row, column, program.link_acquisition.value, (program.links, program.acquisitions))


def held(program: Program, z: Array) -> Array:
    """What each state holds, [Q, G+K]."""
    return program.held_base + (held_operator(program) @ z).reshape(program.held_base.shape)


def placement_box(program: Program, layout: Layout, nodes: slice | Array) -> Array:
    """Upper bounds of x at some nodes, [n, B, P]."""
    template = program.template_of_node[nodes]
    box = program.placement_upper[template]
    served, last = layout.served_end, layout.deferrable_end
    if served:
        demand = np.take(program.demand[nodes], program.pair_stream[:served], axis=-1)
        np.minimum(box[..., :served], demand, out=box[..., :served])
    if last > served:
        work = np.take(program.demand_deferrable[nodes], program.pair_stream[served:last] - program.served, axis=-1)
        np.minimum(box[..., served:last], work[:, None, :] / program.block_hours[template][:, :, None], out=box[..., served:last])
    return box


def rent_box(program: Program, layout: Layout) -> Array:
    """Upper bounds of r, [N, B, G]."""
    box = np.array(program.rent_upper, dtype=float)
    open_nodes = np.nonzero(np.isinf(box).any(axis=(1, 2)))[0]
    step = max(1, CHUNK_ENTRIES // max(1, program.blocks * program.pairs))
    for first in range(0, len(open_nodes), step):
        nodes = open_nodes[first : first + step]
        capacity = program.pair_capacity[program.template_of_node[nodes]][:, None, :]
        most = layout.sum_by_pool(placement_box(program, layout, nodes) * capacity, program.pools)
        box[nodes] = np.where(np.isinf(box[nodes]), most, box[nodes])
    return box


def sum_by_row(index: tuple[Array, ...], value: Array, at: Array, rows: int) -> Array:
    """sum over the coordinates (row, ...) of value * at[...]: one sparse term of the linking rows, [R]."""
    return np.bincount(index[0], weights=value * at[index[1:]], minlength=rows)
