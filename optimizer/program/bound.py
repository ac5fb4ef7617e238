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

from optimizer.program.layout import Layout, held_operator, limit_operator, link_operator, node_chunks, placement_box, rent_box
from optimizer.program.program import Array, Multipliers, Program, Sparse

EPS = float(np.finfo(float).eps)
LARGEST = 1e60  # a multiplier beyond this is not finite: products with data below 1e20 must not overflow


@dataclass(frozen=True)
class Bound:
    """value <= optimal cost; value + rounding is the formula as evaluated."""

    value: float
    rounding: float


@dataclass(frozen=True)
class Reduced:
    """Reduced costs at some nodes and bounds on their rounding errors; x: [n,B,P], u: [n,B,served], ud: [n,deferrable], r: [n,B,G].

    x_rows and r_rows are the absolute share of side and linking rows in x and r, None where there are no such rows.
    """

    x: Array
    u: Array
    ud: Array
    r: Array
    x_error: Array
    u_error: Array
    ud_error: Array
    r_error: Array
    x_rows: Array | None
    r_rows: Array | None


def clip_multipliers(program: Program, multipliers: Multipliers) -> Multipliers:
    """The multipliers as the bound uses them: finite, on the right side of every row."""

    def finite(values: Array, shape: tuple[int, ...]) -> Array:
        values = np.array(values, dtype=float)
        if values.shape != shape:
            raise ValueError(f"multipliers of shape {values.shape} where the program needs {shape}")
        values[~(np.abs(values) <= LARGEST)] = 0.0
        return values

    def one_sided(values: Array, lower: Array, upper: Array) -> Array:
        values = np.where((values > 0) & ~np.isfinite(lower), 0.0, values)
        return np.where((values < 0) & ~np.isfinite(upper), 0.0, values)

    n, b, g, k = program.nodes, program.blocks, program.pools, program.sides
    capacity = np.minimum(finite(multipliers.capacity, (n, b, g)), 0.0)
    side = np.minimum(finite(multipliers.side, (n, k)), 0.0)
    open_slack = np.isfinite(program.side_slack_cost) & ~np.isfinite(program.side_slack_upper)
    least = -program.node_weight[:, None] * np.where(open_slack, program.side_slack_cost * (1 - 4 * EPS), np.inf)
    side = np.maximum(side, least)
    limit = one_sided(finite(multipliers.limit, (program.limits,)), program.limit_lower, program.limit_upper)
    link = one_sided(finite(multipliers.link, (program.links,)), program.link_lower, program.link_upper)
    return Multipliers(capacity, side, limit, link)


class Folded:
    """The multipliers folded into the recourse: reduced costs and their least value, chunk by chunk of nodes."""

    def __init__(self, program: Program, multipliers: Multipliers, layout: Layout) -> None:
        self.program, self.multipliers, self.layout = program, multipliers, layout
        n, b = program.nodes, program.blocks
        self.x = self._spread(program.link_placement, (n, b, program.pairs))
        self.u = self._spread(program.link_unserved, (n, b, program.served))
        self.ud = self._spread(program.link_deferred, (n, program.deferrable))
        self.r = self._spread(program.link_rent, (n, b, program.pools))
        nonnegative = (
            not program.sides and self.x is None and not (program.placement_cost < 0).any() and not (program.pair_capacity < 0).any()
        )
        self.x_is_own_magnitude = nonnegative
        self.rent_box = rent_box(program, layout)
        finite = np.isfinite(program.placement_upper[..., : layout.deferrable_end]).any(axis=(0, 1))
        self.boxed: list[int] = np.unique(program.pair_stream[: layout.deferrable_end][finite]).tolist()  # with a box tighter than demand

    def _spread(self, coefficients: Sparse, shape: tuple[int, ...]) -> tuple[Array, Array, int] | None:
        """(sum, sum of absolute terms, most terms per column) of rho * coefficient, or None where no row touches these columns."""
        if coefficients.size == 0:
            return None
        flat = np.ravel_multi_index(coefficients.index[1:], shape)
        term = self.multipliers.link[coefficients.index[0]] * coefficients.value
        size = math.prod(shape)
        most = int(np.bincount(flat, minlength=1).max())
        return np.bincount(flat, term, size).reshape(shape), np.bincount(flat, np.abs(term), size).reshape(shape), most

    def reduced(self, nodes: slice) -> Reduced:
        """Reduced costs of the recourse columns of some nodes."""
        p, m = self.program, self.multipliers
        template, weight = p.template_of_node[nodes], p.node_weight[nodes]
        pi, sigma = m.capacity[nodes], m.side[nodes]
        x = p.placement_cost[template]
        x *= weight[:, None, None]
        price = np.take(pi, p.pair_pool, axis=-1)
        price *= p.pair_capacity[template][:, None, :]
        size = None if self.x_is_own_magnitude else np.abs(x) + np.abs(price)
        x -= price
        x_rows, r_rows = None if self.x is None else self.x[1][nodes], None if self.r is None else self.r[1][nodes]
        r = p.rent_cost[nodes] * weight[:, None, None]
        r_size = np.abs(r) - pi
        r = r + pi
        if p.sides:
            x -= _by_template(template, lambda c, at: np.einsum("nk,kbp->nbp", sigma[at], p.side_pair[c]), x.shape)
            share = _by_template(template, lambda c, at: np.einsum("nk,kbp->nbp", -sigma[at], np.abs(p.side_pair[c])), x.shape)
            size, x_rows = size + share, share if x_rows is None else share + x_rows
            r -= np.einsum("nk,nkbg->nbg", sigma, p.side_rent[nodes])
            share = np.einsum("nk,nkbg->nbg", -sigma, np.abs(p.side_rent[nodes]))
            r_size, r_rows = r_size + share, share if r_rows is None else share + r_rows
        u = p.unserved_cost[template] * weight[:, None, None]
        ud = p.unserved_cost_deferrable[template] * weight[:, None]
        x, x_error = _less(x, size, self.x, nodes, p.sides)
        u, u_error = _less(u, np.abs(u), self.u, nodes, 0)
        ud, ud_error = _less(ud, np.abs(ud), self.ud, nodes, 0)
        r, r_error = _less(r, r_size, self.r, nodes, p.sides)
        return Reduced(x, u, ud, r, x_error, u_error, ud_error, r_error, x_rows, r_rows)

    def minima(self, nodes: slice, reduced: Reduced) -> Total:
        """The least of (reduced cost * column) over all recourse columns of each node but its slacks."""
        p, layout = self.program, self.layout
        template = p.template_of_node[nodes]
        total = Total(len(template))
        _box(total, reduced.r, reduced.r_error, self.rent_box[nodes])
        if layout.deferrable_end < p.pairs:
            free = (slice(None), slice(None), slice(layout.deferrable_end, None))
            _box(total, reduced.x[free], reduced.x_error[free], p.placement_upper[template][free])
        demand, work = p.demand[nodes], p.demand_deferrable[nodes]
        hours = p.block_hours[template][:, :, None]
        served, last = layout.served_end, layout.deferrable_end
        rate = reduced.x[..., served:last] / hours
        rate_error = reduced.x_error[..., served:last] / hours + 4 * EPS * np.abs(rate)
        if self.boxed:
            demand, work = demand.copy(), work.copy()
            self._boxed_rows(nodes, reduced, rate, rate_error, hours, demand, work, total)
        price, low = reduced.u.copy(), reduced.u - reduced.u_error
        streams, starts = layout.streams_between(0, p.served)
        if len(streams):
            x, x_low = reduced.x[..., :served], reduced.x[..., :served] - reduced.x_error[..., :served]
            price[..., streams] = np.minimum(price[..., streams], np.minimum.reduceat(x, starts, axis=-1))
            low[..., streams] = np.minimum(low[..., streams], np.minimum.reduceat(x_low, starts, axis=-1))
        total.add(demand * price, demand * (price - low) + 4 * EPS * np.abs(demand * price))
        price, low = reduced.ud.copy(), reduced.ud - reduced.ud_error
        streams, starts = layout.streams_between(p.served, p.served + p.deferrable)
        if len(streams):
            at = streams - p.served
            price[:, at] = np.minimum(price[:, at], np.minimum.reduceat(rate.min(axis=1), starts - served, axis=-1))
            low[:, at] = np.minimum(low[:, at], np.minimum.reduceat((rate - rate_error).min(axis=1), starts - served, axis=-1))
        total.add(work * price, work * (price - low) + 4 * EPS * np.abs(work * price))
        return total

    def _boxed_rows(
        self, nodes: slice, reduced: Reduced, rate: Array, rate_error: Array, hours: Array, demand: Array, work: Array, total: Total
    ) -> None:
        """Demand rows with a column that has an upper bound of its own; sets their demand to zero for the rows that follow."""
        p, served = self.program, self.layout.served_end
        box = placement_box(p, self.layout, nodes)
        for w in self.boxed:
            pairs = slice(*np.searchsorted(p.pair_stream, [w, w + 1]))
            if w < p.served:
                row = reduced.x[..., pairs], reduced.x_error[..., pairs], box[..., pairs], reduced.u[..., w], reduced.u_error[..., w]
                _boxed_row(total, *row, demand[..., w].copy())
                demand[..., w] = 0.0
            else:
                inside, d = slice(pairs.start - served, pairs.stop - served), w - p.served
                wide = (len(work), -1)
                row = rate[..., inside].reshape(wide), rate_error[..., inside].reshape(wide), (box[..., pairs] * hours).reshape(wide)
                _boxed_row(total, row[0], row[1], row[2], reduced.ud[:, d], reduced.ud_error[:, d], work[:, d].copy())
                work[:, d] = 0.0


def _by_template(template: Array, term, shape: tuple[int, ...]) -> Array:
    """Stack term(c, positions of the nodes with template c) over the templates that occur."""
    out = np.empty(shape)
    for c in np.unique(template):
        at = np.nonzero(template == c)[0]
        out[at] = term(c, at)
    return out


def _less(values: Array, size: Array | None, links: tuple[Array, Array, int] | None, nodes: slice, sides: int) -> tuple[Array, Array]:
    """(values minus the links' share, bound on the rounding error); size None: the values are their own absolute terms."""
    terms = 10 + sides
    if links is not None:
        values = values - links[0][nodes]
        size = (np.abs(values) if size is None else size) + links[1][nodes]
        terms += links[2]
    return values, (terms * EPS) * (values if size is None else size)


class Total:
    """A running sum, one entry per node [n] (or one in all), with a bound on its rounding error."""

    def __init__(self, entries: int = 1) -> None:
        self.value, self.error = np.zeros(entries), np.zeros(entries)

    def add(self, terms: Array, errors: Array | float) -> None:
        """Terms [n, ...], each within errors [n, ...] of the exact ones."""
        terms, errors = (np.asarray(a, dtype=float).reshape(len(self.value), -1) for a in np.broadcast_arrays(terms, errors))
        if terms.size:
            self.error += errors.sum(axis=1) * (1 + 1e-6) + (terms.shape[1] + 8) * EPS * np.abs(terms).sum(axis=1)
            self.value += terms.sum(axis=1)
            self.error += EPS * np.abs(self.value)


def lower_bound(program: Program, multipliers: Multipliers) -> Bound:
    """The Lagrangian bound of the module's docstring: value <= optimal cost for any multipliers."""
    with np.errstate(all="ignore"):
        m = clip_multipliers(program, multipliers)
        folded = Folded(program, m, Layout.of(program))
        values, errors = [float(program.constant)], []
        shared = Total()
        _shared_terms(program, m, shared)
        parts = [shared, *(folded.minima(nodes, folded.reduced(nodes)) for nodes in node_chunks(program))]
        values.extend(v for part in parts for v in part.value.tolist())
        errors.extend(e for part in parts for e in part.error.tolist())
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
        entries += np.bincount(matrix.indices, minlength=program.acquisitions)
    error += (entries + 6) * EPS * size
    widest = np.maximum(np.abs(program.acquisition_lower), np.abs(program.acquisition_upper))
    total.add(np.minimum(program.acquisition_lower * reduced, program.acquisition_upper * reduced), error * widest)
    has_slack = np.isfinite(program.side_slack_cost)
    slack = np.where(has_slack, program.side_slack_cost, 0.0) * program.node_weight[:, None] + m.side
    upper = np.where(
        has_slack & np.isfinite(program.side_slack_upper), program.side_slack_upper, 0.0
    )  # no upper bound: slack >= 0 by clipping
    _box(total, slack, 2 * EPS * (np.abs(slack) + np.abs(m.side)), upper)
    has_slack = np.isfinite(program.link_slack_cost)
    slack = np.where(has_slack, program.link_slack_cost, 0.0) - m.link * program.link_slack_sign
    _box(total, slack, EPS * np.abs(slack), np.where(has_slack, program.link_slack_upper, 0.0))


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


def _box(total: Total, reduced: Array, error: Array, upper: Array) -> None:
    """Columns between 0 and upper that are in no demand row."""
    paid = np.where(reduced < error, upper, 0.0)  # where the sign is sure the column is zero
    total.add(np.minimum(reduced, 0.0) * paid, np.abs(error) * paid)


def _boxed_row(total: Total, rate: Array, error: Array, room: Array, unserved: Array, unserved_error: Array, demand: Array) -> None:
    """A demand row whose columns [..., m] take at most `room` work each; the unserved column takes all of `demand` [...]."""
    rates = np.concatenate([rate, unserved[..., None]], axis=-1)
    errors = np.concatenate([error, unserved_error[..., None]], axis=-1)
    rooms = np.concatenate([room * (1 + 8 * EPS), demand[..., None]], axis=-1)
    order = np.argsort(rates, axis=-1)
    filled = np.cumsum(np.take_along_axis(rooms, order, axis=-1), axis=-1) >= demand[..., None]
    marginal = np.where(filled.any(axis=-1), filled.argmax(axis=-1), rates.shape[-1] - 1)
    price = np.take_along_axis(np.take_along_axis(rates, order, axis=-1), marginal[..., None], axis=-1)
    cheaper = np.minimum(rates - price, 0.0)
    low = np.minimum(rates - errors - price, 0.0)
    total.add(cheaper * rooms, (cheaper - low) * rooms + 4 * EPS * (np.abs(cheaper) + EPS * np.abs(price)) * rooms)
    total.add(demand * price[..., 0], 4 * EPS * np.abs(demand * price[..., 0]))
