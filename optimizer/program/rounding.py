"""Running sums with a bound on their rounding error, and the least cost of columns that only their boxes and one demand row tie."""

from __future__ import annotations

import numpy as np

from optimizer.program.program import Array

EPS = float(np.finfo(float).eps)


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

    def add_at(self, entry: Array, terms: Array, errors: Array) -> None:
        """Terms [m] of the entries int[m], each within errors [m] of the exact one."""
        if len(entry):
            length = len(self.value)
            most = int(np.bincount(entry).max())
            self.error += np.bincount(entry, errors, length) * (1 + 1e-6) + (most + 8) * EPS * np.bincount(entry, np.abs(terms), length)
            self.value += np.bincount(entry, terms, length)
            self.error += EPS * np.abs(self.value)


def add_box(total: Total, reduced: Array, error: Array, upper: Array) -> None:
    """Columns between 0 and upper that are in no demand row."""
    paid = np.where(reduced < error, upper, 0.0)  # where the sign is sure the column is zero
    total.add(np.minimum(reduced, 0.0) * paid, np.abs(error) * paid)


def filled_rows(rate: Array, error: Array, room: Array, unserved: Array, unserved_error: Array, demand: Array) -> Total:
    """The least cost of demand rows [m] whose columns [m, c] take at most `room` work each; the unserved column takes all of `demand`.

    A column that does not exist has an infinite rate, no error and no room.
    """
    rates = np.concatenate([rate, unserved[:, None]], axis=1)
    errors = np.concatenate([error, unserved_error[:, None]], axis=1)
    rooms = np.concatenate([room * (1 + 8 * EPS), demand[:, None]], axis=1)
    order = np.argsort(rates, axis=1)
    filled = np.cumsum(np.take_along_axis(rooms, order, axis=1), axis=1) >= demand[:, None]
    marginal = np.where(filled.any(axis=1), filled.argmax(axis=1), rates.shape[1] - 1)
    row = np.arange(len(demand))
    price = rates[row, order[row, marginal]][:, None]
    cheaper = np.minimum(rates - price, 0.0)
    low = np.minimum(rates - errors - price, 0.0)
    total = Total(len(demand))
    total.add(cheaper * rooms, (cheaper - low) * rooms + 4 * EPS * (np.abs(cheaper) + EPS * np.abs(price)) * rooms)
    total.add(demand * price[:, 0], 4 * EPS * np.abs(demand * price[:, 0]))
    return total
