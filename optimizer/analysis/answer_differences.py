"""What the plans of two cases do differently, from their tables: cost, kinds of offers, orders, places, work, unserved work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import cost_table
from optimizer.report.case_prices import CasePrices
from optimizer.report.frames import Table, sums
from optimizer.report.orders import acquisitions_table, mix_table
from optimizer.report.summary import MODES
from optimizer.report.work import placement_table, unserved_table

if TYPE_CHECKING:
    import pandas as pd

RENTED = ("on_demand", "spot")


@dataclass(frozen=True)
class Line:
    """One quantity of the two plans; `table` is one of TABLES."""

    table: str
    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


TABLES = ("cost", "kind", "signed", "rented", "place", "work", "unserved")
"""cost, unserved: dollars of expected present value; kind: PFLOP/s; the others chips. `optimizer.report.compare_page` says of what."""

Amounts = dict[str, dict[str, float]]
"""Table -> name -> amount."""


def amounts_of(structure: Structure, values: Values) -> Amounts:
    """All quantities of one plan."""
    periods = list(structure.calendar.names)
    found = amounts_of_tables(
        cost_table(structure, values), acquisitions_table(structure, values).frame, mix_table(structure, values), len(periods)
    )
    found["work"] = _busy(structure, placement_table(structure, values))
    found["unserved"] = unserved_amounts(unserved_table(structure, values))
    return found


def amounts_of_tables(cost: Table | pd.DataFrame, acquisitions: pd.DataFrame, mix: Table | pd.DataFrame, periods: int) -> Amounts:
    """From the tables of a plan, in memory or as read from its files."""
    mode_of = {mode: word for word, modes in MODES.items() for mode in modes}
    kinds: dict[str, float] = {}
    for (mode,), (compute,) in sums(mix, ["mode"], ["compute_pflops"], "probability").items():
        kinds[mode_of[mode]] = kinds.get(mode_of[mode], 0.0) + compute / periods
    held = sums(mix, ["mode", "chip", "place"], ["chips"], "probability")
    places: dict[str, float] = {}
    for (_, chip, place), (chips,) in held.items():
        places[f"{place} {chip}"] = places.get(f"{place} {chip}", 0.0) + chips / periods
    return {
        "cost": {category: usd for (category,), (usd,) in sums(cost, ["category"], ["expected_present_value_usd"]).items()},
        "kind": kinds,
        "signed": signed_chips(acquisitions),
        "rented": {f"{mode} {chip} {place}": chips / periods for (mode, chip, place), (chips,) in held.items() if mode in RENTED},
        "place": places,
    }


def orders_only(acquisitions: pd.DataFrame) -> pd.DataFrame:
    """A table of acquisitions without the extensions of contracts with breaks: they are no further chips. Each delivery of an order has its
    own row and count."""
    return acquisitions[acquisitions["order"] == "order"] if "order" in acquisitions else acquisitions


def signed_chips(acquisitions: pd.DataFrame) -> dict[str, float]:
    """Expected chips signed, by offer."""
    found = sums(orders_only(acquisitions), ["offer"], ["count_chips"], "probability")
    return {offer: chips for (offer,), (chips,) in found.items()}


def unserved_amounts(unserved: Table | pd.DataFrame) -> dict[str, float]:
    return {workload: usd for (workload,), (usd,) in sums(unserved, ["workload"], ["expected_present_value_usd"]).items()}


def lines(before: Amounts, after: Amounts) -> tuple[Line, ...]:
    """Both sides of every quantity, table by table, the largest change first."""
    found = []
    for table in TABLES:
        mine, theirs = before.get(table, {}), after.get(table, {})
        of_table = [Line(table, name, mine.get(name, 0.0), theirs.get(name, 0.0)) for name in {**mine, **theirs}]
        found += sorted(of_table, key=lambda line: (-abs(line.change), line.name))
    return tuple(found)


@dataclass(frozen=True)
class Order:
    """An order of the first year: `both_chips` are in either plan."""

    offer: str
    signing_date: str
    scenario: str
    before_chips: float
    after_chips: float

    @property
    def both_chips(self) -> float:
        return min(self.before_chips, self.after_chips)


def first_year_orders(before: pd.DataFrame, after: pd.DataFrame, day: str) -> tuple[Order, ...]:
    """Of two tables of acquisitions, what is signed before `day` (ISO), in order of signing."""
    keys = ["signing_date", "offer", "scenario"]
    mine, theirs = (
        {tuple(map(str, key)): chips for key, (chips,) in sums(orders_only(t), keys, ["count_chips"]).items()} for t in (before, after)
    )
    found = [
        Order(key[1], key[0], key[2], mine.get(key, 0.0), theirs.get(key, 0.0)) for key in sorted({**mine, **theirs}) if key[0] < day
    ]
    return tuple(found)


def _busy(structure: Structure, placement: Table) -> dict[str, float]:
    """Chips that each workload keeps busy, by chip: over scenarios by probability, over blocks and periods by hours."""
    hours = CasePrices.of(structure.case).block_hours
    share = hours / hours.sum()
    period = {name: t for t, name in enumerate(structure.calendar.names)}
    block = {b.name: i for i, b in enumerate(structure.blocks)}
    probability = {s.name: s.weighted_probability for s in structure.case.scenarios}
    at: Mapping[str, Any] = {name: placement[name].tolist() for name in ("scenario", "period", "block", "workload", "chip", "chips_used")}
    weights = [share[period[t], block[b]] * probability[s] for s, t, b in zip(at["scenario"], at["period"], at["block"], strict=True)]
    found: dict[str, float] = {}
    for workload, chip, chips in zip(at["workload"], at["chip"], np.multiply(weights, at["chips_used"]).tolist(), strict=True):
        found[f"{workload} on {chip}"] = found.get(f"{workload} on {chip}", 0.0) + chips
    return found
