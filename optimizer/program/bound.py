"""A valid lower bound on the optimal cost, in closed form, from any multipliers.

Take one multiplier for every row that is no demand row, with the sign of `Multipliers` (the derivative of the optimal cost with
respect to the row's right-hand side): pi[n,b,g] <= 0 for capacity, sigma[n,k] <= 0 for side rows, phi[l] for limits and rho[j] for
linking rows (>= 0 holds the lower side, <= 0 the upper side; the side's value is `limit`, `link` below). Subtracting
multiplier * (row - right-hand side), which is never negative at a feasible plan, from the cost gives the Lagrangian

    constant + sum_q,o Y[q,o] held_base[q,o] + sum_l phi[l] limit[l] + sum_j rho[j] link[j] + sum over columns of (reduced cost * column)

with c = template_of_node[n], v = node_weight[n], and reduced costs

    z[i]       acquisition_cost[i] + sum_q,o Y[q,o] held_matrix[q,o,i] - sum_l phi[l] limit_matrix[l,i] - sum_j rho[j] link_acquisition[j,i]
                   Y[q,g]   = sum_{n of q} availability[n,g] sum_b pi[n,b,g]
                   Y[q,G+k] = sum_{n of q} sigma[n,k]
    x[n,b,p]   v placement_cost[c,b,p] - pi[n,b,g(p)] pair_capacity[c,p] - sum_k sigma[n,k] side_pair[c,k,b,p] - sum_j rho[j] link_placement
    u[n,b,w]   v unserved_cost[c,b,w] - sum_j rho[j] link_unserved[j,n,b,w]
    ud[n,w]    v unserved_cost_deferrable[c,w] - sum_j rho[j] link_deferred[j,n,w]
    r[n,b,g]   v rent_cost[n,b,g] + pi[n,b,g] - sum_k sigma[n,k] side_rent[n,k,b,g] - sum_j rho[j] link_rent[j,n,b,g]
    e[n,k]     v side_slack_cost[n,k] + sigma[n,k]
    e[j]       link_slack_cost[j] - rho[j] link_slack_sign[j]

The columns are now tied only by the demand rows and their boxes, and the minimum over those is exact:

    z, r, e, x of free streams      min(lower * reduced, upper * reduced)
    a demand row  sum h x + u = d   d*lambda with lambda = min(reduced_u, min reduced_x / h); h = 1 or block_hours. Where a column of the
                                    row has an upper bound of its own, lambda is the price at which the cheapest columns fill the row and
                                    every cheaper column adds (reduced - h*lambda) * upper: valid for any lambda, exact for this one.

Multipliers on the wrong or on an infinite side are set to zero, so are those that are not finite; a side multiplier whose slack has no
upper bound is raised to -v*side_slack_cost. So the value is a lower bound whatever was passed in.

Rounding: every reduced cost is replaced by its computed value minus (number of terms + 8) eps * (sum of absolute terms), a bound on its
rounding error, before the minima are taken; sums are bounded by (number of terms + 8) eps * sum of absolute terms and the last
one is math.fsum. `Bound.value` is after that subtraction, `Bound.rounding` is what was subtracted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizer.program.folded import Folded, clip_multipliers
from optimizer.program.layout import held_operator, limit_operator, link_operator
from optimizer.program.program import Array, Multipliers, Program
from optimizer.program.rounding import EPS, Total, add_box

__all__ = ["Bound", "bound_at", "clip_multipliers", "lower_bound"]


@dataclass(frozen=True)
class Bound:
    """value <= optimal cost; value + rounding is the formula as evaluated."""

    value: float
    rounding: float


def lower_bound(program: Program, multipliers: Multipliers) -> Bound:
    """The Lagrangian bound of the module's docstring: value <= optimal cost for any multipliers."""
    return bound_at(Folded(program, multipliers))


def bound_at(folded: Folded) -> Bound:
    """`lower_bound` at multipliers that are folded already."""
    with np.errstate(all="ignore"):
        shared = Total()
        _shared_terms(folded.program, folded.multipliers, shared)
        values, errors = [float(folded.program.constant)], []
        for part in (shared, folded.least):
            values.extend(part.value.tolist())
            errors.extend(part.error.tolist())
        if not (np.isfinite(values).all() and np.isfinite(errors).all()):
            return Bound(-math.inf, math.inf)
        total = math.fsum(values)
        rounding = math.fsum(errors) * (1 + 4 * EPS) + 4 * EPS * abs(total)
        return Bound(total - rounding, rounding)


def _shared_terms(program: Program, m: Multipliers, total: Total) -> None:
    """Right-hand sides, acquisitions and slacks."""
    price, terms = _state_prices(program, m)
    total.add(price * program.held_base, terms * EPS * np.abs(price * program.held_base))
    for values, lower, upper in ((m.limit, program.limit_lower, program.limit_upper), (m.link, program.link_lower, program.link_upper)):
        side = np.where(values > 0, lower, np.where(values < 0, upper, 0.0))
        total.add(values * side, 0.0)
    reduced, size, error = program.acquisition_cost.copy(), np.abs(program.acquisition_cost), np.zeros(program.acquisitions)
    entries = np.zeros(program.acquisitions)
    folded = (held_operator(program), -price.ravel(), terms), (limit_operator(program), m.limit, 0), (link_operator(program), m.link, 0)
    for matrix, values, inexact in folded:
        part = abs(matrix).T @ np.abs(values)
        reduced, size, error = reduced - matrix.T @ values, size + part, error + inexact * EPS * part
        entries += np.bincount(matrix.column, minlength=program.acquisitions)
    error += (entries + 6) * EPS * size
    widest = np.maximum(np.abs(program.acquisition_lower), np.abs(program.acquisition_upper))
    total.add(np.minimum(program.acquisition_lower * reduced, program.acquisition_upper * reduced), error * widest)
    has_slack = np.isfinite(program.side_slack_cost)
    slack = np.where(has_slack, program.side_slack_cost, 0.0) * program.node_weight[:, None] + m.side
    upper = np.where(
        has_slack & np.isfinite(program.side_slack_upper), program.side_slack_upper, 0.0
    )  # no upper bound: slack >= 0 by clipping
    add_box(total, slack, 2 * EPS * (np.abs(slack) + np.abs(m.side)), upper)
    has_slack = np.isfinite(program.link_slack_cost)
    slack = np.where(has_slack, program.link_slack_cost, 0.0) - m.link * program.link_slack_sign
    add_box(total, slack, EPS * np.abs(slack), np.where(has_slack, program.link_slack_upper, 0.0))


def _state_prices(program: Program, m: Multipliers) -> tuple[Array, int]:
    """(Y [Q, G+K], rounding terms per entry). Summed by blocks of 256 nodes, then over blocks; all terms are <= 0: |Y| is its own size."""
    per_node = np.concatenate([program.availability * m.capacity.sum(axis=1), m.side], axis=1)
    price = np.zeros_like(program.held_base)
    most, blocks = 1, 0
    for first in range(0, program.nodes, 256):
        state = program.state_of_node[first : first + 256]
        order = np.argsort(state, kind="stable")
        present, start = np.unique(state[order], return_index=True)
        price[present] += np.add.reduceat(per_node[first : first + 256][order], start, axis=0)
        most, blocks = max(most, int(np.diff(np.append(start, len(order))).max())), blocks + 1
    return price, most + blocks + program.blocks + 8
