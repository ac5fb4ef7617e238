"""Multipliers folded into the recourse: reduced costs of its columns and their least value, chunk by chunk of nodes. See `bound`.

Every reduced cost comes with a bound on its rounding error: (number of terms + 8) eps * (sum of absolute terms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optimizer.program.layout import Layout, node_chunks, rent_box, stream_columns
from optimizer.program.program import Array, Multipliers, Program, Sparse
from optimizer.program.rounding import EPS, Total, add_box, filled_rows

LARGEST = 1e60  # a multiplier beyond this is not finite: products with data below 1e20 must not overflow
KEPT_ENTRIES = 1 << 21  # reduced costs are kept between uses where x has no more entries than this


@dataclass(frozen=True)
class Reduced:
    """Reduced costs at some nodes and bounds on their rounding errors; x: [n,B,P], u: [n,B,served], ud: [n,deferrable], r: [n,B,G].

    x_rows and r_rows are the absolute share of side and linking rows in x and r, None where there are no such rows or all have price 0.
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
    """What a program's recourse costs at clipped multipliers. It holds for the arrays as they are now: make a new one where they change."""

    @np.errstate(all="ignore")
    def __init__(self, program: Program, multipliers: Multipliers) -> None:
        self.program, self.layout = program, Layout.of(program)
        self.multipliers = clip_multipliers(program, multipliers)
        n, b = program.nodes, program.blocks
        self.x = self._spread(program.link_placement, (n, b, program.pairs))
        self.u = self._spread(program.link_unserved, (n, b, program.served))
        self.ud = self._spread(program.link_deferred, (n, program.deferrable))
        self.r = self._spread(program.link_rent, (n, b, program.pools))
        self.nonnegative = not (program.placement_cost < 0).any() and not (program.pair_capacity < 0).any()
        self.some_use_nothing = not (program.pair_capacity != 0).all()
        self.rent_box = rent_box(program, self.layout)
        bounded = np.isfinite(program.placement_upper[..., : self.layout.deferrable_end])
        # zero where the demand row alone bounds a placement, infinite where it has an upper bound of its own
        self.bounded = np.where(bounded, np.inf, 0.0) if bounded.any() else None
        self._kept: dict[int, Reduced] | None = {} if n * b * program.pairs <= KEPT_ENTRIES else None

    @cached_property
    def streams(self) -> tuple[Array, Array]:
        """`layout.stream_columns`."""
        return stream_columns(self.program)

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
        """Reduced costs of the recourse columns of some consecutive nodes; read only."""
        if self._kept is None:
            return self._reduced(nodes)
        key = nodes.start * (self.program.nodes + 1) + nodes.stop
        if key not in self._kept:
            self._kept[key] = self._reduced(nodes)
        return self._kept[key]

    def _reduced(self, nodes: slice) -> Reduced:
        p, m = self.program, self.multipliers
        template, weight = p.template_of_node[nodes], p.node_weight[nodes]
        pi, sigma = m.capacity[nodes], m.side[nodes]
        x = np.take(p.placement_cost, template, axis=0)
        x *= weight[:, None, None]
        price = np.take(pi, p.pair_pool, axis=-1)
        price *= p.pair_capacity[template][:, None, :]
        size = None if self.nonnegative else np.abs(x) + np.abs(price)  # None: x is its own absolute term, as the price is <= 0
        x -= price
        x_rows, r_rows = None if self.x is None else self.x[1][nodes], None if self.r is None else self.r[1][nodes]
        r = p.rent_cost[nodes] * weight[:, None, None]
        r_size = np.abs(r) - pi
        r = r + pi
        for k in np.nonzero(sigma.any(axis=0))[0]:
            if size is None:
                size = x.copy()
            paid = sigma[:, k, None, None]
            x, size, x_rows = _less_row(x, size, x_rows, paid * p.side_pair[template, k])
            r, r_size, r_rows = _less_row(r, r_size, r_rows, paid * p.side_rent[nodes, k])
        u = p.unserved_cost[template] * weight[:, None, None]
        ud = p.unserved_cost_deferrable[template] * weight[:, None]
        x, x_error = _less(x, size, self.x, nodes, p.sides)
        u, u_error = _less(u, np.abs(u), self.u, nodes, 0)
        ud, ud_error = _less(ud, np.abs(ud), self.ud, nodes, 0)
        r, r_error = _less(r, r_size, self.r, nodes, p.sides)
        return Reduced(x, u, ud, r, x_error, u_error, ud_error, r_error, x_rows, r_rows)

    @cached_property
    def least(self) -> Total:
        """The least of (reduced cost * column) over all recourse columns of each node but its slacks, [N]."""
        total = Total(self.program.nodes)
        for nodes in node_chunks(self.program):
            part = self._minima(nodes, self.reduced(nodes))
            total.value[nodes], total.error[nodes] = part.value, part.error
        return total

    def _minima(self, nodes: slice, reduced: Reduced) -> Total:
        p, layout = self.program, self.layout
        template = p.template_of_node[nodes]
        total = Total(len(template))
        add_box(total, reduced.r, reduced.r_error, self.rent_box[nodes])
        served, last = layout.served_end, layout.deferrable_end
        if last < p.pairs:
            add_box(total, reduced.x[..., last:], reduced.x_error[..., last:], p.placement_upper[template][..., last:])
        own = None if self.bounded is None else self.bounded[template]
        demand, price, low = p.demand[nodes], reduced.u.copy(), reduced.u - reduced.u_error
        streams, starts = layout.streams_between(0, p.served)
        if len(streams):
            x = reduced.x[..., :served]
            rows = _lower(price, low, streams, starts, x, x - reduced.x_error[..., :served])
            if own is not None:
                wrong = np.minimum.reduceat(x + own[..., :served], starts, axis=-1) > rows
                n, b, at = np.nonzero(wrong & (reduced.u[..., streams] > rows) & (demand[..., streams] > 0))
                if len(n):
                    demand = demand.copy()
                    self._fill_served(total, reduced, template, n, b, streams[at], demand)
        total.add(demand * price, demand * (price - low) + 4 * EPS * np.abs(demand * price))
        work, price, low = p.demand_deferrable[nodes], reduced.ud.copy(), reduced.ud - reduced.ud_error
        streams, starts = layout.streams_between(p.served, p.served + p.deferrable)
        if len(streams):
            hours = p.block_hours[template][:, :, None]
            rate = reduced.x[..., served:last] / hours
            rate_error = reduced.x_error[..., served:last] / hours + 4 * EPS * np.abs(rate)
            at, first = streams - p.served, starts - served
            rows = _lower(price, low, at, first, rate.min(axis=1), (rate - rate_error).min(axis=1))
            if own is not None:
                wrong = np.minimum.reduceat((rate + own[..., served:last]).min(axis=1), first, axis=-1) > rows
                n, d = np.nonzero(wrong & (reduced.ud[:, at] > rows) & (work[:, at] > 0))
                if len(n):
                    work = work.copy()
                    self._fill_deferrable(total, reduced, template, (rate, rate_error), n, at[d], work)
        total.add(work * price, work * (price - low) + 4 * EPS * np.abs(work * price))
        return total

    def _fill_served(self, total: Total, reduced: Reduced, template: Array, n: Array, b: Array, w: Array, demand: Array) -> None:
        """Served rows (n, b, w) whose cheapest column has an upper bound of its own; their demand [n,B,served] is set to zero."""
        columns, exists = (a[w] for a in self.streams)
        row, entry = (n, b, w), (n[:, None], b[:, None], columns)
        rate, error = np.where(exists, reduced.x[entry], np.inf), np.where(exists, reduced.x_error[entry], 0.0)
        room = np.minimum(self.program.placement_upper[template[n][:, None], b[:, None], columns], demand[row][:, None])
        part = filled_rows(rate, error, np.where(exists, room, 0.0), reduced.u[row], reduced.u_error[row], demand[row])
        total.add_at(n, part.value, part.error)
        demand[row] = 0.0

    def _fill_deferrable(
        self, total: Total, reduced: Reduced, template: Array, rates: tuple[Array, Array], n: Array, d: Array, work: Array
    ) -> None:
        """Deferrable rows (n, d) likewise; rates and their errors [n,B,pairs of deferrable streams]."""
        p, served = self.program, self.layout.served_end
        columns, exists = (a[p.served + d][:, None, :] for a in self.streams)
        row, block = (n, d), np.arange(p.blocks)[None, :, None]
        inside = np.where(exists, columns - served, 0)
        rate, error = (a[n[:, None, None], block, inside] for a in rates)
        hours = p.block_hours[template[n]][:, :, None]
        room = np.minimum(p.placement_upper[template[n][:, None, None], block, columns], work[row][:, None, None] / hours) * hours
        wide = np.where(exists, rate, np.inf), np.where(exists, error, 0.0), np.where(exists, room, 0.0)
        rate, error, room = (a.reshape(len(n), -1) for a in wide)
        part = filled_rows(rate, error, room, reduced.ud[row], reduced.ud_error[row], work[row])
        total.add_at(n, part.value, part.error)
        work[row] = 0.0


def _lower(price: Array, low: Array, at: Array, starts: Array, values: Array, values_low: Array) -> Array:
    """Bring the rows `at` of price and low [..., rows], in place, down to the least of their columns; returns the least of price's."""
    least = np.minimum.reduceat(values, starts, axis=-1)
    price[..., at] = np.minimum(price[..., at], least)
    low[..., at] = np.minimum(low[..., at], np.minimum.reduceat(values_low, starts, axis=-1))
    return least


def _less_row(values: Array, size: Array, rows: Array | None, term: Array) -> tuple[Array, Array, Array]:
    """(values, absolute terms, those of side and linking rows) after one more row's term is subtracted."""
    values -= term
    np.abs(term, out=term)
    return values, np.add(size, term, out=size), term if rows is None else rows + term


def _less(values: Array, size: Array | None, links: tuple[Array, Array, int] | None, nodes: slice, sides: int) -> tuple[Array, Array]:
    """(values minus the links' share, bound on the rounding error); size None: the values are their own absolute terms."""
    terms = 10 + sides
    if links is not None:
        values, size = values - links[0][nodes], (values if size is None else size) + links[1][nodes]
        terms += links[2]
    return values, (terms * EPS) * (values if size is None else size)
