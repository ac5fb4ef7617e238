"""Shadow prices: what one more unit of everything that limits the plan would save, in dollars per unit.

All prices are expected present values and >= 0; they are the multipliers of the certificate. A price is the slope of the optimal cost
at the plan: it holds for a small change. Where the plan is a vertex of more limits than it needs, the cost has a kink there: one more unit
saves less than one less costs, and a multiplier is some number between. Rows that were asked for (`optimizer.both_sides`) have both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from optimizer.build.structure import Structure
from optimizer.program.layout import held, held_operator, limit_operator, link_operator
from optimizer.program.program import Multipliers, Program
from optimizer.program.program import Plan as Values
from optimizer.program.right_side import HELD, LIMIT, ORDER, RENT, SIDE, RightSide, TwoPrices
from optimizer.report.accounting import ALL
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.chips_used import chips_used
from optimizer.report.frames import Table

COLUMNS = (
    "kind",
    "name",
    "limit",
    "place",
    "period",
    "scenario",
    "unit",
    "price_usd_per_unit",
    "price_more_usd_per_unit",
    "price_less_usd_per_unit",
    "two_prices",
    "at_stake_usd",
    "limit_value",
    "used",
    "slack",
    "binding",
    "excess",
    "set_by",
)
"""kind: site_power, supply, capex, total, share (of what is signed), break (no more is extended than was held), share_of_total, capacity
(a pool in a period), available_chips (of an offer at signing, or the count of a lot), available_rent; rows of the last two stand only where
they bind. price_more: what one more unit saves, price_less: what one less costs, both blank where they were not asked for or are not known;
two_prices: they differ by more than their certificates leave open (a blank price_less beside a price_more: there is no plan with less).
limit_value, used and slack are in `unit`; at_stake_usd
is the price times the size of the row's terms; `excess` is what a priced share limit is exceeded by; `set_by` names fields of the case."""

TIGHT = 1e-6
"""A limit binds where its slack is below this share of its size."""


class Priced(NamedTuple):
    """A row without the columns of both sides, the right-hand side that it prices, and the size of that one's terms in units."""

    row: tuple
    side: RightSide
    size: float

    @property
    def price(self) -> float:
        """Of the multipliers, per unit."""
        return self.row[COLUMNS.index("price_usd_per_unit")]


def priced_rows(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> list[Priced]:
    return [
        *_limits(structure, program, values, multipliers),
        *_shares_of_total(structure, program, values, multipliers),
        *_capacity(structure, program, values, multipliers),
        *_available_chips(structure, program, values, multipliers),
        *_available_rent(structure, program, values, multipliers),
    ]


def prices_table(rows: list[Priced], both: Mapping[RightSide, TwoPrices] | None = None) -> Table:
    """The table of some rows; `both`: the two prices of those for which they are known."""
    known, at = both or {}, COLUMNS.index("price_more_usd_per_unit")
    return Table(COLUMNS, [(*one.row[:at], *_told(known.get(one.side)), *one.row[at:]) for one in rows])


def _told(found: TwoPrices | None) -> tuple[float, float, bool]:
    if found is None:
        return np.nan, np.nan, False
    more, less = np.maximum(found.told, 0.0).tolist()  # rounding may leave a little below
    return more, less, found.differ


def _limits(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> Iterator[Priced]:
    matrix = limit_operator(program)
    used, size = matrix @ values.z, abs(matrix) @ np.abs(values.z)
    for record in structure.limits:
        at, name = record.index, structure.periods[record.period].name
        upper = float(program.limit_upper[at])
        price = max(0.0, -float(multipliers.limit[at]))
        slack = upper - float(used[at])
        whole = max(abs(upper), float(size[at]))
        stake = 0.0 if record.kind == "break" else price * whole  # of a break nothing is for sale
        row = (record.kind, record.name, record.limit, record.place or "", name, record.scenario or ALL, record.unit, price,
               stake, upper, float(used[at]), slack, bool(slack <= TIGHT * whole), 0.0, " ".join(record.keys))  # fmt: skip
        yield Priced(row, RightSide(LIMIT, (at,)), whole)


def _shares_of_total(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> Iterator[Priced]:
    if not structure.sides:
        return
    room = held(program, values.z)[program.state_of_node][:, program.pools :]  # [N, K]
    rented = np.einsum("nkbg,nbg->nk", program.side_rent, values.r)
    size = np.einsum("nkbg,nbg->nk", np.abs(program.side_rent), values.r) + np.abs(room)
    for node in structure.recourse:
        for side in structure.sides:
            at = node.index, side.index
            slack = float(room[at] - rented[at] + values.side_slack[at])
            excess = float(values.side_slack[at])
            price, tight = max(0.0, -float(multipliers.side[at])), bool(slack <= TIGHT * size[at])
            period, stake = structure.periods[node.period].name, price * float(size[at])
            row = ("share_of_total", side.name, side.limit, "", period, node.scenario, side.unit, price, stake, float(room[at]),
                   float(rented[at]), slack, tight, excess, " ".join(side.keys))  # fmt: skip
            yield Priced(row, RightSide(SIDE, at), float(size[at]))


def state_prices(program: Program, multipliers: Multipliers) -> Array:
    """[Q, G + K], <= 0: the derivative of the optimal cost with respect to held capacity, and to what is held of a share."""
    per_node = np.concatenate([program.availability * multipliers.capacity.sum(axis=1), multipliers.side], axis=1)
    prices = np.zeros((program.states, per_node.shape[1]))
    np.add.at(prices, program.state_of_node, per_node)
    return prices


def _capacity(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> Iterator[Priced]:
    """Per decision node and pool: what one more usable chip, there for the whole period, would save over all scenarios of the node."""
    used = chips_used(structure, CasePrices.of(structure.case), values.x)
    have = held(program, values.z)[program.state_of_node][:, None, : program.pools] + values.r  # [N, B, G]
    spare, most = np.full((program.states, program.pools), np.inf), np.zeros((program.states, program.pools))
    np.minimum.at(spare, program.state_of_node, (have - used).min(axis=1))
    np.maximum.at(most, program.state_of_node, used.max(axis=1))
    price = -state_prices(program, multipliers)
    for node in structure.decisions:
        for pool in structure.pools:
            at = node.index, pool.index
            slack, busy, worth = float(spare[at]), float(most[at]), max(0.0, float(price[at]))
            row = ("capacity", f"{pool.name} {node.name}", pool.name, pool.place, structure.periods[node.period].name,
                   node.scenario or ALL, "usable chips", worth, worth * busy, busy + slack, busy, slack,
                   bool(slack <= TIGHT * busy), 0.0, "")  # fmt: skip
            yield Priced(row, RightSide(HELD, at), busy)


def _available_chips(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> Iterator[Priced]:
    """Offers of which the plan takes all there is on a signing date."""
    prices = state_prices(program, multipliers).ravel()
    reduced = program.acquisition_cost + held_operator(program).T @ prices - limit_operator(program).T @ multipliers.limit
    reduced = reduced - link_operator(program).T @ multipliers.link
    upper = program.acquisition_upper
    full = (upper > 0) & (values.z >= upper * (1 - TIGHT)) & ~program.upper_is_derived & (program.acquisition_lower < upper)
    for at in np.nonzero(full)[0].tolist():
        price = max(0.0, -float(reduced[at]))
        record, offer = structure.acquisitions[at], structure.case.offers[structure.acquisitions[at].offer]
        stated = offer.available_chips.values if offer.available_chips else (offer.lot_chips,) if offer.lot_chips else ()
        keys = " ".join(quantity.key for quantity in stated)
        row = ("available_chips", record.name, record.offer, record.place, structure.periods[record.period].name,
               record.scenario or ALL, "chips", price, price * float(upper[at]), float(upper[at]), float(values.z[at]),
               float(upper[at] - values.z[at]), True, 0.0, keys)  # fmt: skip
        yield Priced(row, RightSide(ORDER, (at,)), float(upper[at]))


def _available_rent(structure: Structure, program: Program, values: Values, multipliers: Multipliers) -> Iterator[Priced]:
    """Rents of which the plan takes all there is in some block; per chip that could be paid for in every block of the period."""
    reduced = program.node_weight[:, None, None] * program.rent_cost + multipliers.capacity
    if program.sides:
        reduced = reduced - np.einsum("nk,nkbg->nbg", multipliers.side, program.side_rent)
    full = (program.rent_upper > 0) & (values.r >= program.rent_upper * (1 - TIGHT))
    price = np.where(full, np.maximum(-reduced, 0.0), 0.0).sum(axis=1)  # [N, G]
    for rent in structure.rents:
        offer = structure.case.offers[rent.name]
        keys = " ".join(quantity.key for quantity in offer.available_chips.values) if offer.available_chips else ""
        for at in np.nonzero(full[:, :, rent.pool].any(axis=1))[0].tolist():
            node, most = structure.recourse[at], float(program.rent_upper[at, 0, rent.pool]) / rent.usable_share
            taken, saved = float(values.r[at, :, rent.pool].max()) / rent.usable_share, float(price[at, rent.pool]) * rent.usable_share
            row = ("available_rent", f"{rent.name} {node.name}", rent.name, offer.place, structure.periods[node.period].name,
                   node.scenario, "chips", saved, saved * most, most, taken, most - taken, True, 0.0, keys)  # fmt: skip
            yield Priced(row, RightSide(RENT, (at, rent.pool), rent.usable_share), most)
