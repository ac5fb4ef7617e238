"""A feasible plan near a given one: an upper bound on the optimal cost.

Acquisitions are moved into their box and limits (`project`); the recourse starts from the given placements: clipped to their boxes, trimmed
to demand, trimmed to what is held plus what may be rented, then what is missing is placed again (`refill`, `free_work`); u is the rest and
r what the load needs beyond capacity. Side and linking rows come last (`coupling`). Where a few nodes hold most of what the plan costs
above the bound at its own multipliers, they are solved exactly (`node_programs`).

A plan may be anything: entries that are not finite count as zero, and a plan of noise still ends feasible, only dear.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.cost import cost
from optimizer.program.coupling import hold_links, hold_sides, link_excess, link_values, side_room, side_values
from optimizer.program.folded import Folded
from optimizer.program.free_work import hold_free_work
from optimizer.program.layout import Layout, deferrable_sum, held, node_chunks, placement_box, served_sum
from optimizer.program.node_programs import REACH, dear_nodes, solve_nodes
from optimizer.program.places import spare_places
from optimizer.program.program import Array, Multipliers, Plan, Program
from optimizer.program.project import acquisitions_inside
from optimizer.program.recourse import Recourse
from optimizer.program.refill import refill
from optimizer.program.shed import shed_links

GROWTH = 1e-2  # a shortage of capacity below this share lets acquisitions grow, so that a rounding error does not become unserved work


def repair(program: Program, plan: Plan, multipliers: Multipliers, aim: tuple[float, float] | None = None) -> Plan | None:
    """A plan that holds every bound exactly and every row within 1e-12 of its absolute terms; None where the limits leave no z.

    aim = (lower bound, relative tolerance): nodes are solved exactly only where that is needed, and may suffice, to come within it.
    """
    return repair_at(Folded(program, multipliers), plan, aim)


def repair_at(folded: Folded, plan: Plan, aim: tuple[float, float] | None = None, reach: float = REACH) -> Plan | None:
    """`repair` at multipliers that are folded already; reach: how far beyond the aim a plan is still worth solving nodes exactly."""
    with np.errstate(all="ignore"):
        p, layout, m = folded.program, folded.layout, folded.multipliers
        u, ud, r, slack = (_finite(a, s) for a, s in zip((plan.u, plan.ud, plan.r, plan.link_slack), _shapes(p), strict=True))
        z = acquisitions_inside(p, _shaped(plan.z, (p.acquisitions,)))
        if z is None:
            return None
        x, load = _placements(p, layout, _shaped(plan.x, (p.nodes, p.blocks, p.pairs)))
        z = _grown(p, z, load, folded.rent_box)
        if z is None:
            return None
        holds = held(p, z)[p.state_of_node]
        # below zero only where rent makes up for it: a rounding error of the sum must not ask for rent that does not exist
        capacity = np.maximum(p.availability * holds[:, : p.pools], -folded.rent_box.min(axis=1))
        _recourse(folded, x, load, capacity, (u, ud))
        state = Recourse(p, layout, x, capacity, folded.rent_box, r)
        side_slack, link_slack = _couple(state, folded, z, holds[:, p.pools :], slack, (u, ud))
        repaired = Plan(z, state.x, state.u, state.ud, state.r, side_slack, link_slack)
        least = folded.least.value + np.einsum("nbg,ng->n", m.capacity, capacity) + (m.side * holds[:, p.pools :]).sum(axis=1)
        chosen = dear_nodes(folded, repaired, least, aim, reach)
        if not len(chosen):
            return repaired
        before, kept = cost(p, repaired)["total"], state.copy_nodes(np.arange(p.nodes) if p.links else chosen)
        solve_nodes(state, folded, chosen, z, holds[:, p.pools :])
        improved = Plan(z, state.x, state.u, state.ud, state.r, *_couple(state, folded, z, holds[:, p.pools :], slack, (u, ud)))
        if cost(p, improved)["total"] < before:
            return improved
        state.restore_nodes(np.arange(p.nodes) if p.links else chosen, kept)
        return repaired


def _shapes(p: Program) -> tuple[tuple[int, ...], ...]:
    return (p.nodes, p.blocks, p.served), (p.nodes, p.deferrable), (p.nodes, p.blocks, p.pools), (p.links,)


def _shaped(values: Array, shape: tuple[int, ...]) -> Array:
    values = np.asarray(values, dtype=float)
    if values.shape != shape:
        raise ValueError(f"an array of shape {values.shape} in the plan where the program needs {shape}")
    return values


def _finite(values: Array, shape: tuple[int, ...]) -> Array:
    return np.nan_to_num(_shaped(values, shape), nan=0.0, posinf=0.0, neginf=0.0)


def _placements(program: Program, layout: Layout, given: Array) -> tuple[Array, Array]:
    """(x inside its box and within demand, load per pool [N,B,G])."""
    x = np.array(given, order="C")
    load = np.empty((program.nodes, program.blocks, program.pools))
    for nodes in node_chunks(program):
        part = x[nodes]
        part[~np.isfinite(part)] = 0.0
        np.clip(part, 0.0, placement_box(program, layout, nodes), out=part)
        _trim_to_demand(program, layout, nodes, part)
        load[nodes] = layout.sum_by_pool(part * program.pair_capacity[program.template_of_node[nodes]][:, None, :], program.pools)
    return x, load


def _trim_to_demand(program: Program, layout: Layout, nodes: slice, x: Array) -> None:
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
    """z raised where a pool is a little short of the load that the placements ask for."""
    holding = held(program, z)[:, : program.pools]
    available = program.availability
    need = np.where(available > 0, (load - rent_most).max(axis=1, initial=-np.inf) / np.where(available > 0, available, 1.0), -np.inf)
    wanted = np.full(holding.shape, -np.inf)
    np.maximum.at(wanted, program.state_of_node, need)
    short = wanted - holding
    signed = holding - program.held_base[:, : program.pools]
    little = (short > 0) & (short <= GROWTH * signed)
    if not little.any():
        return z
    growth = np.zeros(program.held_base.shape)
    growth[:, : program.pools][little] = (short[little] / signed[little]) * (1 + 1e-9)
    state, output, column = program.held_matrix.index
    helps = program.held_matrix.value > 0
    factor = np.zeros(program.acquisitions)
    np.maximum.at(factor, column[helps], growth[state[helps], output[helps]])
    return acquisitions_inside(program, z + factor * np.maximum(z, 0.0))


def _recourse(folded: Folded, x: Array, load: Array, capacity: Array, wished: tuple[Array, Array]) -> None:
    """Trim to capacity and refill, in place, chunk by chunk."""
    p, layout = folded.program, folded.layout
    for nodes in node_chunks(p):
        part, room = x[nodes], capacity[nodes][:, None, :] + folded.rent_box[nodes]
        template = p.template_of_node[nodes]
        if (load[nodes] > room).any():
            part *= np.take(_share(room, load[nodes]), p.pair_pool, axis=-1)
            load[nodes] = layout.sum_by_pool(part * p.pair_capacity[template][:, None, :], p.pools)
        hours = p.block_hours[template]
        missing = p.demand[nodes] - served_sum(p, layout, part), p.demand_deferrable[nodes] - deferrable_sum(p, layout, part, hours)
        box = None if folded.bounded is None else placement_box(p, layout, nodes)
        spare = spare_places(load[nodes], capacity[nodes], folded.rent_box[nodes])
        refill(folded, nodes, part, spare, missing, (wished[0][nodes], wished[1][nodes]), box)
        if box is not None:
            np.minimum(part, box, out=part)


def _couple(
    state: Recourse, folded: Folded, z: Array, side_most: Array, slack_given: Array, wished: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Make side and linking rows hold; returns their slacks [N,K] and [R]. slack_given [R] and wished (u, ud) are the plan's own."""
    p = state.program
    side_slack, link_slack = np.zeros((p.nodes, p.sides)), np.zeros(p.links)
    if p.links:
        hold_free_work(state, folded, z, slack_given)
        shed_links(state, folded, z, wished)
    if p.sides:
        hold_sides(state, side_most)
    if p.links:
        hold_links(state, z)
        value, size, _ = link_values(state, z)
        link_slack = link_excess(p, value, size)[2]
    if p.sides:
        value, _ = side_values(p, state.x, state.r, np.arange(p.nodes))
        side_slack = np.clip(value - side_most, 0.0, side_room(p))
    return side_slack, link_slack
