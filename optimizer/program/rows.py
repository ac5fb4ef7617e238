"""What a plan makes of every row and bound of the program: the certificate's own evaluation, which shares nothing with the repair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.program import Array, Plan, Program

ROW_TOLERANCE = 1e-12  # a row holds when it is within this share of the sum of its absolute terms


@dataclass(frozen=True)
class Violation:
    """The worst row, relative to the sum of its absolute terms, and the worst bound, in its own unit; inf where a value is not finite."""

    row: float
    row_name: str
    bound: float
    bound_name: str

    @property
    def feasible(self) -> bool:
        """Bounds hold exactly and rows to ROW_TOLERANCE."""
        return self.row <= ROW_TOLERANCE and self.bound <= 0.0


def violation(program: Program, plan: Plan) -> Violation:
    """Evaluate every row and every bound of the contract at the plan."""
    p = program
    wrong = [f.shape != s for f, s in zip(_values(plan), _shapes(p), strict=True)]
    if any(wrong):
        return Violation(np.inf, "shape", np.inf, "shape")
    if not all(np.isfinite(f).all() for f in _values(plan)):
        return Violation(np.inf, "a value that is not finite", np.inf, "a value that is not finite")
    worst_row, row_name, worst_bound, bound_name = 0.0, "", 0.0, ""
    for name, lower, value, upper, size in _rows(p, plan):
        if value.size:
            excess = np.maximum(value - upper, lower - value)
            share = np.where(excess > 0, excess / np.where(size > 0, size, np.finfo(float).tiny), 0.0)
            at = int(np.argmax(share))
            if not share.ravel()[at] <= worst_row:
                worst_row, row_name = float(share.ravel()[at]), _place(name, at, share.shape)
    for name, lower, value, upper in _bounds(p, plan):
        if not ((value >= lower).all() and (upper is np.inf or (value <= upper).all())):
            excess = lower - value if upper is np.inf else np.maximum(value - upper, lower - value)
            at = int(np.argmax(excess))
            if not excess.ravel()[at] <= worst_bound:
                worst_bound, bound_name = float(excess.ravel()[at]), _place(name, at, excess.shape)
    return Violation(worst_row, row_name, worst_bound, bound_name)


def _place(name: str, at: int, shape: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(str(i) for i in np.unravel_index(at, shape))}]"


def _values(plan: Plan) -> tuple[Array, ...]:
    return tuple(np.asarray(a) for a in (plan.z, plan.x, plan.u, plan.ud, plan.r, plan.side_slack, plan.link_slack))


def _shapes(p: Program) -> tuple[tuple[int, ...], ...]:
    n, b = p.nodes, p.blocks
    return (p.acquisitions,), (n, b, p.pairs), (n, b, p.served), (n, p.deferrable), (n, b, p.pools), (n, p.sides), (p.links,)


def _bounds(p: Program, plan: Plan):
    """(name, lower, value, upper) of every column whose upper bound is a number of the program."""
    yield "acquisition", p.acquisition_lower, plan.z, p.acquisition_upper
    yield "placement", 0.0, plan.x, p.placement_upper[p.template_of_node] if np.isfinite(p.placement_upper).any() else np.inf
    yield "unserved", 0.0, plan.u, p.demand
    yield "unserved deferrable", 0.0, plan.ud, p.demand_deferrable
    yield "rent", 0.0, plan.r, _rent_upper(p)
    yield "side slack", 0.0, plan.side_slack, np.where(np.isfinite(p.side_slack_cost), p.side_slack_upper, 0.0)
    yield "link slack", 0.0, plan.link_slack, np.where(np.isfinite(p.link_slack_cost), p.link_slack_upper, 0.0)


def _rows(p: Program, plan: Plan):
    """(name, lower, value, upper, sum of absolute terms) of every row."""
    n, template = p.nodes, p.template_of_node
    load, placed = _segment_sums(p, plan.x)
    served = placed[..., : p.served]
    yield "demand", p.demand, served + plan.u, p.demand, served + np.abs(plan.u) + p.demand
    movable = placed[..., p.served : p.served + p.deferrable]
    done = np.einsum("nbw,nb->nw", movable, p.block_hours[template])
    yield "deferrable", p.demand_deferrable, done + plan.ud, p.demand_deferrable, done + np.abs(plan.ud) + p.demand_deferrable

    outputs = p.pools + p.sides
    state, output, column = p.held_matrix.index
    cell = state * outputs + output
    terms = p.held_matrix.value * plan.z[column]
    holds = np.bincount(cell, terms, p.states * outputs).reshape(p.states, outputs) + p.held_base
    holds_size = np.bincount(cell, np.abs(terms), p.states * outputs).reshape(p.states, outputs) + np.abs(p.held_base)
    holds, holds_size = holds[p.state_of_node], holds_size[p.state_of_node]
    capacity, capacity_size = p.availability * holds[:, : p.pools], p.availability * holds_size[:, : p.pools]
    yield "capacity", -np.inf, load - plan.r, capacity[:, None, :], load + np.abs(plan.r) + capacity_size[:, None, :]

    if p.sides:
        value, size = np.zeros((n, p.sides)), np.zeros((n, p.sides))
        for k in range(p.sides):
            for c in np.unique(template):
                at = template == c
                value[at, k] = plan.x[at].reshape(int(at.sum()), -1) @ p.side_pair[c, k].ravel()
                size[at, k] = np.abs(plan.x[at]).reshape(int(at.sum()), -1) @ np.abs(p.side_pair[c, k]).ravel()
            rented = p.side_rent[:, k] * plan.r
            value[:, k] += rented.sum(axis=(1, 2)) - plan.side_slack[:, k]
            size[:, k] += np.abs(rented).sum(axis=(1, 2)) + plan.side_slack[:, k]
        yield "side", -np.inf, value, holds[:, p.pools :], size + holds_size[:, p.pools :]

    row, column = p.limit_matrix.index
    terms = p.limit_matrix.value * plan.z[column]
    size = np.bincount(row, np.abs(terms), p.limits) + _side_size(p.limit_lower, p.limit_upper)
    yield "limit", p.limit_lower, np.bincount(row, terms, p.limits), p.limit_upper, size

    value, size = p.link_slack_sign * plan.link_slack, np.abs(plan.link_slack) + _side_size(p.link_lower, p.link_upper)
    entries = (
        (p.link_acquisition, plan.z),
        (p.link_placement, plan.x),
        (p.link_unserved, plan.u),
        (p.link_deferred, plan.ud),
        (p.link_rent, plan.r),
    )
    for term, at in entries:
        part = term.value * at[term.index[1:]]
        value = value + np.bincount(term.index[0], part, p.links)
        size = size + np.bincount(term.index[0], np.abs(part), p.links)
    yield "linking", p.link_lower, value, p.link_upper, size


def _segment_sums(p: Program, x: Array) -> tuple[Array, Array]:
    """(capacity used by pool [N,B,G], work placed by stream [N,B,W])."""
    load, placed = np.zeros((p.nodes, p.blocks, p.pools)), np.zeros((p.nodes, p.blocks, p.streams))
    order = np.argsort(p.pair_pool, kind="stable")
    pools, pool_start = np.unique(p.pair_pool[order], return_index=True)
    streams, stream_start = np.unique(p.pair_stream, return_index=True)
    step = max(1, 100_000 // max(1, p.blocks * p.pairs))
    for first in range(0, p.nodes if p.pairs else 0, step):
        some = slice(first, first + step)
        use = x[some] * p.pair_capacity[p.template_of_node[some]][:, None, :]
        load[some][..., pools] = np.add.reduceat(use[..., order], pool_start, axis=-1)
        placed[some][..., streams] = np.add.reduceat(x[some], stream_start, axis=-1)
    return load, placed


def _rent_upper(p: Program) -> Array:
    """Upper bounds of rent; an infinite one is what all work that may run in the pool could use (to rounding)."""
    open_nodes = np.isinf(p.rent_upper).any(axis=(1, 2))
    if not open_nodes.any():
        return p.rent_upper
    most = p.placement_upper[p.template_of_node]
    for pair, stream in enumerate(p.pair_stream.tolist()):
        if stream < p.served:
            most[:, :, pair] = np.minimum(most[:, :, pair], p.demand[:, :, stream])
        elif stream < p.served + p.deferrable:
            work = p.demand_deferrable[:, [stream - p.served]] / p.block_hours[p.template_of_node]
            most[:, :, pair] = np.minimum(most[:, :, pair], work)
    return np.where(np.isinf(p.rent_upper), _segment_sums(p, most)[0] * (1 + ROW_TOLERANCE), p.rent_upper)


def _side_size(lower: Array, upper: Array) -> Array:
    """The right-hand side's absolute term: the smaller finite side."""
    return np.fmin(np.where(np.isfinite(lower), np.abs(lower), np.nan), np.where(np.isfinite(upper), np.abs(upper), np.nan))


def name_of(names: tuple[str, ...], index: int, kind: str) -> str:
    """The planner's name of an entry, or its kind and number."""
    return f"{kind} {names[index]!r}" if index < len(names) and names[index] else f"{kind} {index}"
