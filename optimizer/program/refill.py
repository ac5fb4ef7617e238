"""Place missing work, cheapest first: into held capacity that is spare, then into rent.

In every round each row of missing work asks for its cheapest open place; a place that is asked for more than it has gives every asker
the same share. A round so finishes a row or exhausts a place. Work is placed only where that is cheaper, at the given
prices, than leaving it unserved. Work that the plan leaves unserved on purpose stays out of places that a side or
linking row puts a price on: the row's room is not known here, and at the optimum such a place is worth just as much as not serving.

Most rows are done in the first round, by the cheapest of all their places: that one is found without listing the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.folded import Folded, Reduced
from optimizer.program.layout import Layout
from optimizer.program.places import ROUNDS, TINY, Asks, Choice, place_work
from optimizer.program.program import Array, Program

ON_PURPOSE = 1e-4  # of demand: the plan means to leave this work unserved


def refill(
    folded: Folded, nodes: slice, x: Array, spare: Array, missing: tuple[Array, Array], wished: tuple[Array, Array], box: Array | None
) -> None:
    """Raise x [n,B,P] of a chunk of nodes in place.

    missing: served [n,B,served] and deferrable [n,deferrable] work not placed; wished: the plan's own unserved work in the same shapes;
    box [n,B,P] where a placement has an upper bound of its own.
    """
    p, layout = folded.program, folded.layout
    if not p.pairs:
        return
    reduced = folded.reduced(nodes)
    at = np.nonzero(missing[0] > TINY * p.demand[nodes])
    if len(at[0]):
        meant = wished[0][at] > ON_PURPOSE * p.demand[nodes][at]
        rows = _Rows(folded, nodes, reduced, at[0], at[1], at[2], missing[0][at], reduced.u[at], meant)
        rate = _asked(folded, nodes, x, spare, box, slice(0, layout.served_end), None)
        first = _cheapest(layout, p, rate, 0, p.served)
        rows.place(x, spare, box, first[0][at], at[1], first[1][at])
    at = np.nonzero(missing[1] > TINY * p.demand_deferrable[nodes])
    if len(at[0]):
        meant = wished[1][at] > ON_PURPOSE * p.demand_deferrable[nodes][at]
        rows = _Rows(folded, nodes, reduced, at[0], None, at[1] + p.served, missing[1][at], reduced.ud[at], meant)
        hours = p.block_hours[p.template_of_node[nodes]][:, :, None]
        rate = _asked(folded, nodes, x, spare, box, slice(layout.served_end, layout.deferrable_end), hours)
        cheapest, pair = _cheapest(layout, p, rate, p.served, p.served + p.deferrable)
        block = cheapest.argmin(axis=1)[at]
        in_block = at[0], block, at[1]
        rows.place(x, spare, box, cheapest[in_block], block, pair[in_block])


def _asked(folded: Folded, nodes: slice, x: Array, spare: Array, box: Array | None, pairs: slice, hours: Array | None) -> Array:
    """`Asks.asked` of the whole chunk, [n,B,pairs], before it is compared with what the work is worth."""
    p, reduced = folded.program, folded.reduced(nodes)
    held, rent = spare.reshape(2, *reduced.r.shape)
    dearer = np.where(held > 0, 0.0, np.where(rent > 0, np.maximum(reduced.r, 0.0), np.inf))
    rate, use = reduced.x[..., pairs], p.pair_capacity[p.template_of_node[nodes]][:, None, pairs]
    if hours is not None:
        rate, use = rate / hours, use / hours
    asked = np.take(dearer, p.pair_pool[pairs], axis=-1)
    asked *= use
    if folded.some_use_nothing:
        asked[np.broadcast_to(use == 0, asked.shape)] = 0.0
    asked += rate
    if box is not None:
        asked[box[..., pairs] - x[..., pairs] <= 0] = np.inf
    return asked


def _cheapest(layout: Layout, p: Program, rate: Array, first: int, last: int) -> tuple[Array, Array]:
    """(least rate, first pair that has it), each [n,B,last - first], of the streams [first, last); infinite and 0 without pairs."""
    shape = (*rate.shape[:2], last - first)
    least, pair = np.full(shape, np.inf), np.zeros(shape, np.int64)
    streams, starts = layout.streams_between(first, last)
    if len(streams):
        start = starts[0]
        pairs = np.arange(start, start + rate.shape[2])
        rows = np.minimum.reduceat(rate, starts - start, axis=-1)
        is_least = rate == np.take(rows, np.searchsorted(streams, p.pair_stream[pairs]), axis=-1)
        least[..., streams - first] = rows
        found = np.minimum.reduceat(np.where(is_least, pairs.astype(np.int32), np.int32(p.pairs)), starts - start, axis=-1)
        pair[..., streams - first] = np.minimum(found, p.pairs - 1)
    return least, pair


@dataclass
class _Rows:
    """Demand rows [m] of a chunk of nodes that miss work; block is None for deferrable streams: any block will do."""

    folded: Folded
    nodes: slice
    reduced: Reduced
    node: Array  # in the chunk
    block: Array | None
    stream: Array
    missing: Array
    worth: Array  # reduced cost of leaving a unit unserved
    meant: Array  # the plan leaves work of this row unserved on purpose

    def place(self, x: Array, spare: Array, box: Array | None, rate: Array, block: Array, pair: Array) -> None:
        """Place the work, in place; rate, block and pair [m]: the cheapest place of each row."""
        alone, first = rate < self.worth, self._choice(x, box, block, pair)
        row = np.zeros(0, np.int64)
        if self.reduced.x_rows is not None or self.reduced.r_rows is not None:
            row = np.nonzero(alone & self.meant)[0]  # some of their places are closed
        columns, _ = self.folded.streams
        offset = pair - columns[self.stream, 0] + (0 if self.block is not None else block * columns.shape[1])
        if len(row):
            asks = self._asks(x, box, row, self.missing[row])
            asked = asks.asked(spare)
            best = asked.argmin(axis=1)
            at = np.arange(len(row))
            other = asks.choice(at, best)
            first.put(row, other)
            offset[row] = best
            alone[row] = np.isfinite(asked[at, best])
        row = np.nonzero(alone)[0]
        if not len(row):
            return
        asking = first.some(row)
        full = asking.limits(self.missing[row])
        left = self.missing[row] - asking.hand_out(x.reshape(-1), spare, self.missing[row])
        nothing = TINY * self.missing[row]
        alive = left > nothing
        if alive.any():
            asks = self._asks(x, box, row[alive], left[alive])
            shut = np.nonzero(full[alive])[0]
            asks.close(shut, offset[row[alive]][shut])
            place_work(x, spare, asks, ROUNDS - 1, nothing[alive])

    def _choice(self, x: Array, box: Array | None, block: Array, pair: Array) -> Choice:
        p = self.folded.program
        template = p.template_of_node[self.nodes][self.node]
        cell = self.node * p.blocks + block
        entry = cell * p.pairs + pair
        units = np.ones(len(pair)) if self.block is not None else p.block_hours[template, block]
        room = None if box is None else box.reshape(-1)[entry] - x.reshape(-1)[entry]
        return Choice(entry, units, p.pair_capacity[template, pair] / units, cell * p.pools + p.pair_pool[pair], room)

    def _asks(self, x: Array, box: Array | None, row: Array, missing: Array) -> Asks:
        """All places of some rows; a place that costs more than the work is worth is closed."""
        p, reduced, node = self.folded.program, self.reduced, self.node[row]
        pair, exists = (a[self.stream[row]] for a in self.folded.streams)
        template = p.template_of_node[self.nodes][node]
        if self.block is not None:
            block, hours = self.block[row][:, None], None
        else:
            block = np.repeat(np.arange(p.blocks), pair.shape[1])[None, :]
            pair, exists = np.tile(pair, (1, p.blocks)), np.tile(exists, (1, p.blocks))
            hours = p.block_hours[template][:, block[0]]
        cell = node[:, None] * p.blocks + block
        entry, place = cell * p.pairs + pair, cell * p.pools + p.pair_pool[pair]
        use = np.take(p.pair_capacity.ravel(), (template * p.pairs)[:, None] + pair)
        rate = np.take(reduced.x.ravel(), entry)
        if hours is not None:
            use, rate = use / hours, rate / hours
        rented = rate + use * np.take(np.maximum(reduced.r, 0.0).ravel(), place)
        closed, worth, meant = ~exists, self.worth[row][:, None], self.meant[row][:, None]
        room = None
        if reduced.x_rows is not None:
            closed |= meant & (np.take(reduced.x_rows.ravel(), entry) > 0)
        if box is not None:
            room = np.take(box.ravel(), entry) - np.take(x.ravel(), entry)
            closed |= room <= 0
        rate[closed | (rate >= worth)] = np.inf
        closed = np.isinf(rate) | (rented >= worth)
        if reduced.r_rows is not None:
            closed |= meant & (np.take(reduced.r_rows.ravel(), place) > 0)
        rented[closed] = np.inf
        units = np.broadcast_to(1.0 if hours is None else hours, use.shape)
        return Asks(missing, entry, units, use, place, rate, rented, room)
