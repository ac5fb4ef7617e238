"""A feasible plan near a given one: an upper bound on the optimal cost.

Acquisitions are moved into their box and limits (`project`); the recourse starts from the given placements: clipped to their boxes, trimmed
to demand, trimmed to what is held plus what may be rented, then what is missing is placed again, cheapest reduced cost first, into spare capacity
that is held and then into rent; u is the rest and r what the load needs beyond capacity. Side and linking rows come last (`coupling`).

A plan may be anything: entries that are not finite count as zero, and a plan of noise still ends feasible, only dear.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.bound import Folded, Reduced, clip_multipliers
from optimizer.program.coupling import couple
from optimizer.program.layout import Layout, deferrable_sum, held, held_operator, node_chunks, placement_box, rent_box, served_sum
from optimizer.program.program import Array, Multipliers, Plan, Program
from optimizer.program.project import acquisitions_inside
from optimizer.program.refill import refill

NOISE = 1e-2  # a shortage of capacity below this share is a solver's noise: acquisitions grow by it rather than work being dropped


def repair(program: Program, plan: Plan, multipliers: Multipliers) -> Plan | None:
    """A plan that holds every bound exactly and every row within 1e-12 of its absolute terms; None where the limits leave no z."""
    with np.errstate(all="ignore"):
        m = clip_multipliers(program, multipliers)
        z = acquisitions_inside(program, plan.z)
        if z is None:
            return None
        layout = Layout.of(program)
        rent_most = rent_box(program, layout)
        x, load = _placements(program, layout, plan.x)
        z = _grown(program, z, load, rent_most)
        if z is None:
            return None
        capacity = np.maximum(program.availability * held(program, z)[program.state_of_node, : program.pools], 0.0)
        _recourse(program, layout, Folded(program, m, layout), x, load, capacity, rent_most, (_finite(plan.u), _finite(plan.ud)))
        return couple(program, layout, z, x, capacity, rent_most, _finite(plan.r))


def _finite(values: Array) -> Array:
    return np.nan_to_num(np.asarray(values, dtype=float), nan=0.0, posinf=0.0, neginf=0.0)


def _placements(program: Program, layout: Layout, given: Array) -> tuple[Array, Array]:
    """(x inside its box and within demand, load per pool [N,B,G])."""
    x = np.array(given, dtype=float)
    if x.shape != (program.nodes, program.blocks, program.pairs):
        raise ValueError(f"placements of shape {x.shape} where the program needs {(program.nodes, program.blocks, program.pairs)}")
    load = np.empty((program.nodes, program.blocks, program.pools))
    for nodes in node_chunks(program):
        part = x[nodes]
        part[~np.isfinite(part)] = 0.0
        np.clip(part, 0.0, placement_box(program, layout, nodes), out=part)
        trim_to_demand(program, layout, nodes, part)
        template = program.template_of_node[nodes]
        load[nodes] = layout.sum_by_pool(part * program.pair_capacity[template][:, None, :], program.pools)
    return x, load


def trim_to_demand(program: Program, layout: Layout, nodes: slice, x: Array) -> None:
    """Scale down, in place, the placements of every stream that serves more than its demand."""
    served, last = layout.served_end, layout.deferrable_end
    if served:
        ratio = _share(program.demand[nodes], served_sum(program, layout, x))
        if (ratio < 1).any():
            x[..., :served] *= np.take(ratio, program.pair_stream[:served], axis=-1)
    if last > served:
        work = deferrable_sum(program, layout, x, program.block_hours[program.template_of_node[nodes]])
        ratio = _share(program.demand_deferrable[nodes], work)
        if (ratio < 1).any():
            x[..., served:last] *= np.take(ratio, program.pair_stream[served:last] - program.served, axis=-1)[:, None, :]


def _share(room: Array, used: Array) -> Array:
    """The factor, at most 1, that brings `used` down to `room`."""
    return np.where(used > room, room / np.where(used > room, used, 1.0), 1.0)


def _grown(program: Program, z: Array, load: Array, rent_most: Array) -> Array | None:
    """z raised where a pool is short by no more than noise, so that a rounding error does not become unserved work."""
    holding = held(program, z)[:, : program.pools]
    available = program.availability
    need = np.where(available > 0, (load - rent_most).max(axis=1, initial=-np.inf) / np.where(available > 0, available, 1.0), -np.inf)
    wanted = np.full(holding.shape, -np.inf)
    np.maximum.at(wanted, program.state_of_node, need)
    short = wanted - holding
    signed = holding - program.held_base[:, : program.pools]
    noise = (short > 0) & (short <= NOISE * holding) & (signed > 0)
    if not noise.any():
        return z
    growth = np.zeros(program.held_base.shape)
    growth[:, : program.pools][noise] = (short[noise] / signed[noise]) * (1 + 1e-9)
    entries = held_operator(program).tocoo()
    factor = np.zeros(program.acquisitions)
    helps = entries.data > 0
    np.maximum.at(factor, entries.col[helps], growth.ravel()[entries.row[helps]])
    factor[factor > 10 * NOISE] = 0.0
    return acquisitions_inside(program, z + factor * np.maximum(z, 0.0))


def _recourse(
    program: Program, layout: Layout, folded: Folded, x: Array, load: Array, capacity: Array, rent_most: Array, wished: tuple[Array, Array]
) -> None:
    """Trim to capacity and refill, in place, chunk by chunk; wished: the plan's own (u, ud)."""
    boxed = bool(np.isfinite(program.placement_upper[..., : layout.deferrable_end]).any())
    for nodes in node_chunks(program):
        part, room = x[nodes], capacity[nodes][:, None, :] + rent_most[nodes]
        template = program.template_of_node[nodes]
        if (load[nodes] > room).any():
            part *= np.take(_share(room, load[nodes]), program.pair_pool, axis=-1)
            load[nodes] = layout.sum_by_pool(part * program.pair_capacity[template][:, None, :], program.pools)
        missing = program.demand[nodes] - served_sum(program, layout, part)
        missing_work = program.demand_deferrable[nodes] - deferrable_sum(program, layout, part, program.block_hours[template])
        reduced: Reduced = folded.reduced(nodes)
        box = placement_box(program, layout, nodes) if boxed else None
        given = wished[0][nodes], wished[1][nodes]
        refill(program, layout, nodes, reduced, part, load[nodes], capacity[nodes], rent_most[nodes], missing, missing_work, given, box)
        if box is not None:
            np.minimum(part, box, out=part)
