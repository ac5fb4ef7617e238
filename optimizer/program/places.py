"""Rows of missing work, the places that may take it, and the rounds in which spare places are handed out. `refill` says by what rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.program import Array

ROUNDS = 32
TINY = 1e-14  # of demand or of capacity: less than this is nothing


@dataclass
class Asks:
    """Rows of missing work [m] and the places [m, c] that may take it; infinite rates close a place."""

    missing: Array  # [m] units of the row
    entry: Array  # int[m, c] flat index into x [n, B, P]; no two rows share one
    units: Array  # [m, c] units of the row per unit of x
    use: Array  # [m, c] capacity per unit of the row
    place: Array  # int[m, c] flat index into [n, B, G]
    rate: Array  # [m, c] cost of a unit on held capacity
    rate_rented: Array  # [m, c] cost of a unit on rent
    room: Array | None  # [m, c] what x may still grow, None where the row itself bounds it

    def asked(self, spare: Array) -> Array:
        """[m, c] cost of a unit at what is spare now."""
        size = len(spare) // 2
        rented = np.where(np.take(spare, self.place + size) > 0, self.rate_rented, np.inf)
        return np.where((np.take(spare, self.place) > 0) | (self.use == 0), self.rate, rented)

    def some(self, rows: Array) -> Asks:
        """The rows of an index or a mask."""
        room = None if self.room is None else self.room[rows]
        missing, entry, units, use, place = (a[rows] for a in (self.missing, self.entry, self.units, self.use, self.place))
        return Asks(missing, entry, units, use, place, self.rate[rows], self.rate_rented[rows], room)

    def choice(self, row: Array, column: Array) -> Choice:
        """One place of each of some rows."""
        entry, units, use, place = (a[row, column] for a in (self.entry, self.units, self.use, self.place))
        return Choice(entry, units, use, place, None if self.room is None else self.room[row, column])

    def close(self, row: Array, column: Array) -> None:
        """Take one place from each of some rows."""
        self.rate[row, column] = self.rate_rented[row, column] = np.inf


@dataclass
class Choice:
    """The place that each of some rows [m] asks for; fields as in `Asks`."""

    entry: Array
    units: Array
    use: Array
    place: Array
    room: Array | None

    def some(self, rows: Array) -> Choice:
        """The rows of an index."""
        return Choice(self.entry[rows], self.units[rows], self.use[rows], self.place[rows], None if self.room is None else self.room[rows])

    def put(self, rows: Array, other: Choice) -> None:
        """Other places for some rows."""
        self.entry[rows], self.units[rows], self.use[rows], self.place[rows] = other.entry, other.units, other.use, other.place
        if self.room is not None:
            self.room[rows] = other.room

    def limits(self, want: Array) -> Array:
        """bool[m]: the placement's own bound takes less than `want`."""
        return np.zeros(len(want), bool) if self.room is None else np.maximum(self.room, 0.0) * self.units < want

    def hand_out(self, flat: Array, spare: Array, want: Array) -> Array:
        """Give every row what it wants or its share of the place; raises x (flat), lowers spare, returns what was given [m]."""
        if self.room is not None:
            want = np.minimum(want, np.maximum(self.room, 0.0) * self.units)
        key = np.where((spare[self.place] > 0) | (self.use == 0), self.place, self.place + len(spare) // 2)
        places, key = np.unique(key, return_inverse=True)
        room = spare[places]
        total = np.bincount(key, want * self.use)
        short = total > room
        give = want * np.where(short[key] & (self.use > 0), room[key] / np.where(short[key], total[key], 1.0), 1.0)
        flat[self.entry] += give / self.units
        spare[places] = np.where(short, 0.0, np.maximum(room - np.bincount(key, give * self.use), 0.0))
        return give


def spare_places(load: Array, capacity: Array, rent_most: Array) -> Array:
    """Spare held capacity, then spare rent, flat [2 * n*B*G]; load, rent_most [n,B,G], capacity [n,G]."""
    held = capacity[:, None, :]
    owned = np.maximum(held - load, 0.0)
    owned[owned <= TINY * held] = 0.0
    rent = np.maximum(rent_most - np.maximum(load - held, 0.0), 0.0)
    rent[rent <= TINY * rent_most] = 0.0
    return np.concatenate([owned.ravel(), rent.ravel()])


def place_work(x: Array, spare: Array, asks: Asks, rounds: int = ROUNDS, nothing: Array | None = None) -> None:
    """Hand out spare places to rows of missing work, in place: raises x (contiguous) and lowers spare.

    nothing [m]: what may be left of a row, by default a tiny share of what it misses.
    """
    flat = x.reshape(-1)
    left, nothing = asks.missing, TINY * asks.missing if nothing is None else nothing
    for _ in range(rounds):
        asked = asks.asked(spare)
        best = asked.argmin(axis=1)
        row = np.arange(len(left))
        found = np.isfinite(asked[row, best])
        row, best = row[found], best[found]
        if not len(row):
            return
        choice = asks.choice(row, best)
        full = choice.limits(left[row])
        asks.close(row[full], best[full])
        give = choice.hand_out(flat, spare, left[row])
        if asks.room is not None:
            asks.room[row, best] -= give / choice.units
        left[row] -= give
        alive = np.zeros(len(left), bool)
        alive[row] = left[row] > nothing[row]
        if not alive.any():
            return
        asks, nothing = asks.some(alive), nothing[alive]
        left = asks.missing
