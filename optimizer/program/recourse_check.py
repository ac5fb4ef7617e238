"""Every acquisition inside box and limits must have a feasible plan: serving nothing.

For each state no pool may hold less than nothing unless rent makes up for it (a fixed draw, such as the spare replicas of a queue, is a
negative held_base), and for each side and linking row serving nothing (x = r = 0, u = demand) must satisfy
the row with the slack it carries. Intervals over the box decide almost always; a row they cannot clear is decided by one small linear
program over box and limits. Where the limits leave no acquisitions at all there is nothing to check (`find_infeasibility` says why).
"""

from __future__ import annotations

import numpy as np

from optimizer.program.layout import held_operator, limit_operator, link_operator
from optimizer.program.matrix import Matrix
from optimizer.program.program import Array, Program, ProgramError
from optimizer.program.project import one_sided_limits

TOLERANCE = 1e-9  # of the sum of a row's absolute terms


def check_recourse(program: Program) -> None:
    """Raise ProgramError for the first pool, side row or linking row that some acquisitions leave without a feasible plan."""
    from optimizer.program.validate import entry

    rows = held_operator(program)
    least, size = _least(program, rows, program.held_base.ravel(), np.zeros(program.held_base.size))
    least, size = least.reshape(program.held_base.shape), size.reshape(program.held_base.shape)
    allowed = np.zeros(program.held_base.shape)
    allowed[:, : program.pools] = -_rent_of_state(program)
    allowed[:, program.pools :] = -_side_slack_of_state(program)
    wrong = least < allowed - TOLERANCE * size
    for q, o in np.argwhere(wrong):
        value = _exact_least(program, rows.dense([q * wrong.shape[1] + o])[0], float(program.held_base[q, o]))
        if value is None:
            return
        if value < allowed[q, o] - TOLERANCE * size[q, o]:
            place = entry(program, "held_base", (q, o))
            if o < program.pools:
                raise ProgramError(
                    f"The capacity of {place} falls to {value:.6g} for some acquisitions inside the limits while rent makes up for at most "
                    f"{-allowed[q, o]:.6g}; raise held_base, acquisition_lower or (finite) rent_upper."
                )
            raise ProgramError(
                f"The right-hand side of side row {o - program.pools}, {place}, falls to {value:.6g} for some acquisitions inside the "
                f"limits while its slack takes at most {-allowed[q, o]:.6g}; serving nothing must satisfy it, or give it a priced slack "
                "(side_slack_cost, side_slack_upper)."
            )
    _check_draws(program)
    _check_links(program)


def _check_draws(program: Program) -> None:
    """Rent that a draw forces must not break a row that counts rent: only rows with unlimited slack may count it."""
    from optimizer.program.validate import entry

    drawn = program.held_base[:, : program.pools] < 0
    if not drawn.any():
        return
    open_slack = np.isfinite(program.side_slack_cost) & ~np.isfinite(program.side_slack_upper)  # [N,K]
    counts = ((program.side_rent != 0).any(axis=2) & ~open_slack[:, :, None]).any(axis=1)  # [N,G]
    np.logical_or.at(counts, (program.link_rent.index[1], program.link_rent.index[3]), True)
    wrong = np.argwhere(counts & drawn[program.state_of_node])
    if len(wrong):
        n, g = wrong[0]
        place = entry(program, "held_base", (int(program.state_of_node[n]), int(g)))
        raise ProgramError(
            f"The capacity of {place} is below 0 and its rent counts in a side or linking row of limited slack; give that row an unlimited "
            "priced slack (side_slack_upper = inf), or raise held_base."
        )


def _rent_of_state(program: Program) -> Array:
    """What rent can make up for in every node and block of a state, in units of held capacity, [Q,G]; 0 where rent has no bound."""
    rent = np.where(np.isfinite(program.rent_upper), program.rent_upper, 0.0).min(axis=1)
    available = program.availability
    room = np.full((program.states, program.pools), np.inf)
    np.minimum.at(room, program.state_of_node, np.where(available > 0, rent / np.where(available > 0, available, 1.0), np.inf))
    return np.where(np.isfinite(room), room, 0.0)


def _side_slack_of_state(program: Program) -> Array:
    """The least slack that a node of the state allows its side rows, [Q,K]; inf where the state has no node."""
    room = np.full((program.states, program.sides), np.inf)
    np.minimum.at(room, program.state_of_node, np.where(np.isfinite(program.side_slack_cost), program.side_slack_upper, 0.0))
    return room


def _check_links(program: Program) -> None:
    from optimizer.program.validate import entry

    p = program
    if not p.links:
        return
    idle = np.bincount(p.link_unserved.index[0], p.link_unserved.value * p.demand[p.link_unserved.index[1:]], p.links)
    idle = idle + np.bincount(p.link_deferred.index[0], p.link_deferred.value * p.demand_deferrable[p.link_deferred.index[1:]], p.links)
    idle_size = np.bincount(p.link_unserved.index[0], np.abs(p.link_unserved.value) * p.demand[p.link_unserved.index[1:]], p.links)
    idle_size = idle_size + np.bincount(
        p.link_deferred.index[0], np.abs(p.link_deferred.value) * p.demand_deferrable[p.link_deferred.index[1:]], p.links
    )
    room = np.where(np.isfinite(p.link_slack_cost), p.link_slack_upper, 0.0)
    lower, upper = p.link_lower - np.where(p.link_slack_sign > 0, room, 0.0), p.link_upper + np.where(p.link_slack_sign < 0, room, 0.0)
    rows = link_operator(p)
    for sign, bound, word in ((1.0, lower, "falls to"), (-1.0, -upper, "rises to")):
        least, size = _least(p, sign * rows, sign * idle, idle_size)
        margin = TOLERANCE * (size + np.where(np.isfinite(bound), np.abs(bound), 0.0))
        for j in np.nonzero(least < bound - margin)[0].tolist():
            value = _exact_least(p, sign * rows.dense([j])[0], sign * idle[j])
            if value is None:
                return
            if value < bound[j] - margin[j]:
                raise ProgramError(
                    f"Linking row {entry(p, 'link_lower', (j,))} {word} {sign * value:.6g} when nothing is served, for some "
                    f"acquisitions inside the limits, beyond {sign * bound[j]:.6g} that it and its slack allow; serving nothing must "
                    "satisfy it, or give it a priced slack (link_slack_cost, link_slack_upper, link_slack_sign)."
                )


def _least(program: Program, rows: Matrix, base: Array, base_size: Array) -> tuple[Array, Array]:
    """(least value of base + rows z over the box, sum of absolute terms), per row."""
    least = base + rows.maximum(0.0) @ program.acquisition_lower - (-1.0 * rows).maximum(0.0) @ program.acquisition_upper
    widest = np.maximum(np.abs(program.acquisition_lower), np.abs(program.acquisition_upper))
    return least, np.abs(base) + base_size + abs(rows) @ widest


def _exact_least(program: Program, row: Array, base: float) -> float | None:
    """The least value of base + row [Z] z over box and limits; None where the limits leave no z."""
    from scipy.optimize import linprog

    matrix, bounds, equal = one_sided_limits(program, limit_operator(program))
    answer = linprog(
        row,
        A_ub=matrix[~equal] if (~equal).any() else None,
        b_ub=bounds[~equal] if (~equal).any() else None,
        A_eq=matrix[equal] if equal.any() else None,
        b_eq=bounds[equal] if equal.any() else None,
        bounds=np.stack([program.acquisition_lower, program.acquisition_upper], axis=1),
        method="highs",
    )
    return None if answer.fun is None else float(base + answer.fun)
