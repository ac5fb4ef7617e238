"""Which rows of the prices table a page shows, and which are worth asking for both sides of their price."""

from __future__ import annotations

import numpy as np

from optimizer.report.frames import Table
from optimizer.report.limit_prices import Priced, prices_table

VISIBLE = 1e-6
"""Amounts below this share of the cost are not on the page."""
MOST_ROWS = 10


def stakes(prices: Table) -> np.ndarray:
    """What is at stake in each row, in dollars; where there are two prices, at the higher one."""
    size = np.fmax(np.abs(prices["limit_value"]), np.abs(prices["used"]))
    return np.fmax(prices["at_stake_usd"], np.where(prices["two_prices"], prices["price_less_usd_per_unit"] * size, 0.0))


def binding_groups(prices: Table, objective_usd: float) -> list[list[int]]:
    """Rows that bind at a price that matters, by limit; those with most at stake first, among the limits and inside each."""
    stake = stakes(prices)
    shown = prices["binding"] & (prices["kind"] != "capacity") & (stake > VISIBLE * abs(objective_usd))
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row in np.nonzero(shown)[0].tolist():
        groups.setdefault((prices["kind"][row], prices["limit"][row], prices["unit"][row]), []).append(row)
    dearest = sorted(groups.values(), key=lambda rows: -sum(stake[rows]))
    return [sorted(rows, key=lambda row: -stake[row]) for rows in dearest]


def worth_asking(rows: list[Priced], objective_usd: float, most: int) -> list[Priced]:
    """At most so many rows that bind: those that the page shows, then limits by what is at stake (one at a price of zero may still cost
    something to lose), then capacity that is used. A break sells nothing."""
    prices = prices_table(rows)
    first = [group[0] for group in binding_groups(prices, objective_usd)[:MOST_ROWS]]
    capacity = prices["kind"] == "capacity"
    rest = np.lexsort((-prices["at_stake_usd"], capacity)).tolist()
    real = prices["binding"] & (prices["kind"] != "break") & ((prices["at_stake_usd"] > 0) | ~capacity)
    return [rows[row] for row in dict.fromkeys([*first, *rest]) if real[row]][:most]
