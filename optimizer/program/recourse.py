"""Placements under repair and the columns that follow from them: unserved work is the rest of demand, rent what the load needs."""

from __future__ import annotations

import numpy as np

from optimizer.program.layout import Layout, deferrable_sum, node_chunks, served_sum
from optimizer.program.program import Array, Program


class Recourse:
    """Mutable recourse of all nodes that always holds the demand and capacity rows and every bound.

    x [N,B,P], u [N,B,served], ud [N,deferrable], r [N,B,G]; capacity [N,G] is what is held, rent_room [N,B,G] the most that may be rented,
    rent_wish [N,B,G] what is rented at least because a side or linking row counts it, zero elsewhere.
    """

    def __init__(self, program: Program, layout: Layout, x: Array, capacity: Array, rent_room: Array, rent_given: Array) -> None:
        self.program, self.layout = program, layout
        self.x, self.capacity, self.rent_room = x, capacity, rent_room.copy()
        self.rent_counts = np.zeros(rent_room.shape, bool)
        if program.sides:
            self.rent_counts |= (program.side_rent != 0).any(axis=1)
        self.rent_counts[program.link_rent.index[1:]] = True
        self.rent_wish = np.where(self.rent_counts, np.clip(rent_given, 0.0, rent_room), 0.0)
        self.u = np.empty((program.nodes, program.blocks, program.served))
        self.ud = np.empty((program.nodes, program.deferrable))
        self.r = np.empty(rent_room.shape)
        for nodes in node_chunks(program):
            self.follow(nodes)

    def load(self, nodes: slice | Array) -> Array:
        """Capacity used, [n,B,G]."""
        use = self.program.pair_capacity[self.program.template_of_node[nodes]][:, None, :]
        return self.layout.sum_by_pool(self.x[nodes] * use, self.program.pools)

    def follow(self, nodes: slice | Array) -> None:
        """Recompute u, ud and r of some nodes from x, after trimming x where the load no longer fits."""
        p, layout = self.program, self.layout
        held_here = self.capacity[nodes][:, None, :]
        load, room = self.load(nodes), held_here + self.rent_room[nodes]
        if (load > room * (1 + 4e-16)).any():
            share = np.where(load > room, room / np.where(load > room, load, 1.0), 1.0)
            self.x[nodes] *= np.take(share, p.pair_pool, axis=-1)
            load = self.load(nodes)
        self.r[nodes] = np.clip(np.maximum(load - held_here, self.rent_wish[nodes]), 0.0, self.rent_room[nodes])
        x = self.x[nodes]
        self.u[nodes] = np.clip(p.demand[nodes] - served_sum(p, layout, x), 0.0, p.demand[nodes])
        work, hours = p.demand_deferrable[nodes], p.block_hours[p.template_of_node[nodes]]
        self.ud[nodes] = np.clip(work - deferrable_sum(p, layout, x, hours), 0.0, work)

    def shrink(self, nodes: Array, keep: Array) -> None:
        """Blend nodes [m] towards serving nothing: keep [m] of every placement and of rent that a row counts."""
        factor = keep[:, None, None]
        self.x[nodes] *= factor
        drawn = np.maximum(-self.capacity[nodes], 0.0)[:, None, :]  # what serving nothing rents
        rent = drawn + np.maximum(self.r[nodes] - drawn, 0.0) * factor
        self.rent_wish[nodes] = np.where(self.rent_counts[nodes], rent, 0.0)
        self.rent_room[nodes] = rent
        self.follow(nodes)

    def copy_nodes(self, nodes: Array) -> tuple[Array, ...]:
        """What `restore_nodes` needs to undo changes at these nodes."""
        return tuple(a[nodes].copy() for a in (self.x, self.rent_room, self.rent_wish, self.u, self.ud, self.r))

    def restore_nodes(self, nodes: Array, kept: tuple[Array, ...]) -> None:
        """Undo changes at these nodes."""
        for a, values in zip((self.x, self.rent_room, self.rent_wish, self.u, self.ud, self.r), kept, strict=True):
            a[nodes] = values
