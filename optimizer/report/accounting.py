"""The cost table: every dollar of the plan by period, category, scenario, place and source, from the prices of the case.

Independent of the program's cost arrays: quantities come from the plan's values (orders, rent, placed and unserved work), prices from the
case (`case_prices`), dates from the records. The table's `expected_present_value_usd` adds up to the certified objective; when it
does not, one of the two has read docs/case_reference.md wrongly.

Categories: purchase, operations, energy (idle and load), lease, reserved, break_fee, on_demand, spot, existing, unserved, share_excess,
end_value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from optimizer.build.records import AcquisitionRecord, PartRecord
from optimizer.build.structure import Structure
from optimizer.economics.calendar import DAYS_PER_YEAR, FOREVER_AGO
from optimizer.economics.cashflow import LEASE, OWN, RESERVED, Cash, FlowShape, cash
from optimizer.program.program import Plan as Values
from optimizer.report.case_prices import Array, CasePrices, any_assumed
from optimizer.report.chips_used import chips_per_work
from optimizer.report.frames import Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "period",
    "category",
    "scenario",
    "probability",
    "place",
    "provider",
    "source",
    "assumed",
    "nominal_usd",
    "present_value_usd",
    "expected_nominal_usd",
    "expected_present_value_usd",
)
ALL = ""
"""The scenario of what is the same in all scenarios: orders signed for all of them, and the existing fleet."""
OWNERSHIP = {"own": OWN, "lease": LEASE, "reserved_1y": RESERVED, "reserved_3y": RESERVED}


@dataclass
class Ledger:
    """Entries in the making; `scenario` is an index, -1 for all scenarios."""

    structure: Structure
    prices: CasePrices
    _parts: list[dict[str, object]] = field(default_factory=list)

    def book(
        self, category: str, source: str, place: str | None, nominal: Array, discount: Array | float, assumed: bool, scenario: int = -1
    ) -> None:
        """nominal [T] of one scenario or of all (-1), or [S, T]; discount [T] or one factor."""
        for index, amounts in [(scenario, nominal)] if nominal.ndim == 1 else list(enumerate(nominal)):
            periods = np.nonzero(amounts)[0]
            if len(periods):
                present = (amounts * discount)[periods]
                self._parts.append(
                    {
                        "t": periods,
                        "s": np.full(len(periods), index),
                        "nominal_usd": amounts[periods],
                        "present_value_usd": present,
                        "category": category,
                        "source": source,
                        "place": place or "",
                        "assumed": assumed,
                    }
                )

    def table(self) -> Table:
        """All entries with COLUMNS, by period; entries of zero dollars are left out."""
        case = self.structure.case
        if not self._parts:
            return Table(COLUMNS, [])
        counts = [len(part["t"]) for part in self._parts]  # type: ignore[arg-type]
        rows = (
            {name: np.concatenate([part[name] for part in self._parts]) for name in ("t", "s", "nominal_usd", "present_value_usd")}  # type: ignore[arg-type]
            | {name: np.repeat([part[name] for part in self._parts], counts) for name in ("category", "source", "place", "assumed")}  # type: ignore[call-overload]
        )
        rows["period"] = np.array(self.prices.calendar.names)[rows["t"]]
        rows["scenario"] = np.array([*(s.name for s in case.scenarios), ALL])[rows["s"]]
        rows["probability"] = np.array([*(s.weighted_probability for s in case.scenarios), 1.0])[rows["s"]]
        rows["provider"] = np.array([case.places[name].provider if name else "" for name in rows["place"].tolist()])
        for name in ("nominal_usd", "present_value_usd"):
            rows[f"expected_{name}"] = rows["probability"] * rows[name]
        order = np.lexsort([rows[name] for name in ("source", "place", "s", "category", "t")])  # the last is the first to sort by
        return Table(COLUMNS, rows).only(order)


def cost_table(structure: Structure, values: Values) -> Table:
    """Every dollar of the plan; `expected_present_value_usd` adds up to its cost."""
    ledger = Ledger(structure, CasePrices.of(structure.case))
    _orders(ledger, values.z)
    _existing(ledger)
    _rents(ledger, values.r)
    _load_energy(ledger, values.x)
    _unserved(ledger, values)
    _share_excess(ledger, values.side_slack)
    return ledger.table()


def total_usd(cost: Table | pd.DataFrame) -> float:
    """What the table adds up to: the expected present value of the plan."""
    return math.fsum(cost["expected_present_value_usd"].tolist())


def order_flows(prices: CasePrices, signed: Sequence[AcquisitionRecord]) -> tuple[Array, Cash]:
    """(P, nominal dollars per chip or chip-hour; cash flows per chip of the part) of every part of some orders, in their order. What is
    paid up front is in the part of the order, also where breaks cut the contract; fees of breaks are not here (`break_fees`)."""
    case, calendar = prices.case, prices.calendar
    of = parts_of(signed)
    offers = [case.offers[a.offer] for a, _ in of]
    at_signing = {key: prices.price_at_signing(case.offers[key[0]], key[1]) for key in {(a.offer, a.signed_scenario) for a in signed}}
    idle = {(o.chip, o.place): prices.idle_usd_per_chip_day(o.chip, o.place) for o in offers}
    price = np.array([at_signing[a.offer, a.signed_scenario][a.period] for a, _ in of])
    start = np.array([calendar.offset(part.delivery_date) for _, part in of], int)
    shape = FlowShape.of(
        calendar,
        np.array([OWNERSHIP[a.kind] for a, _ in of], int),
        start,
        np.array([calendar.offset(part.end_date) for _, part in of], int),
        case.end_value == "straight_line",
    )
    with_breaks = np.array([o.breaks is not None for o in offers], bool)
    if with_breaks.any():  # the term is paid for as a whole, by its first stage
        term_end = np.array([min(calendar.offset(a.contract_end), int(calendar.day[-1])) for a, _ in of], int)
        whole = shape.delivery * calendar.overlap_days(start, term_end).sum(axis=1)[:, None]
        extends = np.array([a.extends >= 0 for a, _ in of], bool)
        paid = np.where(extends[:, None], 0.0, np.where(with_breaks[:, None], whole, shape.prepaid_days))
        shape = replace(shape, prepaid_days=paid)
    flows = cash(
        shape,
        price,
        np.array([o.upfront_share.value if o.kind != "own" else 0.0 for o in offers]),
        np.array([o.opex_usd_per_chip_year.value for o in offers]),
        np.array([idle[o.chip, o.place] for o in offers]).reshape(len(offers), calendar.periods),
    )
    return price, flows


def parts_of(signed: Sequence[AcquisitionRecord]) -> list[tuple[AcquisitionRecord, PartRecord]]:
    """Every part of some orders, in their order."""
    return [(a, part) for a in signed for part in a.parts]


def part_counts(signed: Sequence[AcquisitionRecord], z: Array) -> Array:
    """Chips of every part of some orders, in the order of `parts_of`."""
    return np.array([z[a.index] * part.share for a, part in parts_of(signed)], float)


@dataclass(frozen=True)
class BreakFee:
    """What is paid for handing back chips at one break: on the branch `scenario` (None: in all scenarios), by the holder of `order`."""

    order: AcquisitionRecord  # what stood before the break
    scenario: str | None
    period: int
    chips: float
    nominal_usd: float


def break_fees(prices: CasePrices, structure: Structure, z: Array) -> list[BreakFee]:
    """One entry per break inside the horizon and branch, with the chips that are not extended."""
    found = []
    for a in structure.acquisitions:
        if a.extends < 0:
            continue
        before, chips = structure.acquisitions[a.extends], float(z[a.extends] - z[a.index])
        period = int(prices.calendar.period_at(np.array(prices.calendar.offset(a.delivery_date))))
        found.append(BreakFee(before, a.scenario, period, chips, chips * break_fee_usd_per_chip(prices, a)))
    return found


def break_fee_usd_per_chip(prices: CasePrices, extension: AcquisitionRecord, day: date | None = None) -> float:
    """Nominal dollars for a chip that is handed back at the break at which the extension begins, or at another `day` of its contract."""
    offer = prices.case.offers[extension.offer]
    assert offer.breaks is not None
    if offer.breaks.fee_usd_per_chip is not None:
        return offer.breaks.fee_usd_per_chip.value
    if offer.breaks.fee_share is None:
        return 0.0
    hourly = float(prices.price_at_signing(offer, extension.signed_scenario)[extension.period])
    left = (extension.contract_end - (day or extension.delivery_date)).days
    return offer.breaks.fee_share.value * hourly * 24 * left


def _orders(ledger: Ledger, z: Array) -> None:
    """Purchases, operations and idle energy of owned chips, leases and reservations, fees of breaks, credit at the end of the horizon."""
    prices, case = ledger.prices, ledger.structure.case
    signed = [a for a in ledger.structure.acquisitions if z[a.index] != 0]
    scenario_index = {s.name: i for i, s in enumerate(case.scenarios)}
    groups: dict[tuple[str, str | None], int] = {}
    group = np.array([groups.setdefault((a.offer, a.scenario), len(groups)) for a in signed for _ in a.parts], int)
    _, flows = order_flows(prices, signed)
    count = part_counts(signed, z)

    def of_group(per_chip: Array) -> Array:
        """[groups, T], nominal dollars."""
        total = np.zeros((len(groups), prices.calendar.periods))
        np.add.at(total, group, per_chip * count[:, None])
        return total

    last = np.arange(prices.calendar.periods) == prices.calendar.periods - 1
    start, mid = prices.discount_start, prices.discount_mid
    booked = (
        ("purchase", of_group(flows.purchase), start),
        ("operations", of_group(flows.operations), mid),
        ("energy", of_group(flows.energy), mid),
        ("contract", of_group(flows.contract), mid),
        ("contract", of_group(flows.upfront), start),
        ("end_value", of_group(flows.end_value[:, None] * last), prices.discount_end),
    )
    for (name, scenario), index in groups.items():
        offer, branch = case.offers[name], -1 if scenario is None else scenario_index[scenario]
        hired = "lease" if offer.kind == "lease" else "reserved"
        for category, nominal, discount in booked:
            word = hired if category == "contract" else category
            ledger.book(word, name, offer.place, nominal[index], discount, _assumed(ledger, name, word), branch)
    handed_back: dict[tuple[str, str | None], Array] = {}
    for fee in break_fees(prices, ledger.structure, z):
        handed_back.setdefault((fee.order.offer, fee.scenario), np.zeros(prices.calendar.periods))[fee.period] += fee.nominal_usd
    for (name, scenario), nominal in handed_back.items():
        branch = -1 if scenario is None else scenario_index[scenario]
        ledger.book("break_fee", name, case.offers[name].place, nominal, start, _assumed(ledger, name, "break_fee"), branch)


def _assumed(ledger: Ledger, name: str, category: str) -> bool:
    """Whether the price behind a line of an offer is marked as assumed."""
    case = ledger.structure.case
    offer, place, chip = case.offers[name], case.places[case.offers[name].place], case.chips[case.offers[name].chip]
    if category == "energy":
        return any_assumed(place.electricity_usd_per_mwh, place.pue, chip.idle_power_kw_per_chip)
    if category == "break_fee" and offer.breaks is not None and offer.breaks.fee_usd_per_chip is not None:
        return offer.assumed or any_assumed(offer.breaks.fee_usd_per_chip)
    return offer.assumed or any_assumed(offer.opex_usd_per_chip_year if category == "operations" else offer.price)


def _existing(ledger: Ledger) -> None:
    calendar, case = ledger.prices.calendar, ledger.structure.case
    for fleet in case.existing.values():
        start = FOREVER_AGO if fleet.start is None else calendar.offset(fleet.start)
        overlap = calendar.overlap_days(np.array(start), np.array(calendar.offset(fleet.end)))
        if fleet.ownership == "own":
            usd_per_day = fleet.opex_usd_per_chip_year.value / DAYS_PER_YEAR + ledger.prices.idle_usd_per_chip_day(fleet.chip, fleet.place)
            assumed = any_assumed(fleet.opex_usd_per_chip_year)
        else:
            assert fleet.price_usd_per_chip_hour is not None
            usd_per_day, assumed = fleet.price_usd_per_chip_hour.value * 24, any_assumed(fleet.price_usd_per_chip_hour)
        nominal = usd_per_day * overlap * fleet.count_chips.value
        ledger.book("existing", fleet.name, fleet.place, np.asarray(nominal), ledger.prices.discount_mid, assumed)


def _rents(ledger: Ledger, r: Array) -> None:
    """r [N, B, G] in usable chips, as the program rents them; paid are r / usable share."""
    structure, prices = ledger.structure, ledger.prices
    hours = np.einsum("tb,stbg->stg", prices.block_hours, by_scenario(structure, r))
    for rent in structure.rents:
        offer = structure.case.offers[rent.name]
        nominal = hours[:, :, rent.pool] / offer.usable_share.value * prices.rent_price(offer)
        assumed = offer.assumed or any_assumed(offer.price)
        ledger.book(rent.kind, rent.name, offer.place, nominal, prices.discount_mid, assumed)


def _load_energy(ledger: Ledger, x: Array) -> None:
    """What use costs on own sites on top of idling."""
    structure, prices, case = ledger.structure, ledger.prices, ledger.structure.case
    per_work = chips_per_work(structure, prices)[:, None]  # [S, 1, P]
    work = np.einsum("tb,stbp->stp", prices.block_hours, by_scenario(structure, x))
    for pool in structure.pools:
        if not pool.is_site:
            continue
        chip_hours = np.zeros(work.shape[:2])
        for pair in structure.pairs:
            if pair.pool == pool.index:
                chip_hours += work[:, :, pair.index] * per_work[:, :, pair.index]
        place, chip = case.places[pool.place], case.chips[pool.chip]
        assumed = any_assumed(place.electricity_usd_per_mwh, place.pue, chip.idle_power_kw_per_chip, chip.load_power_kw_per_chip)
        nominal = chip_hours * prices.load_usd_per_chip_hour(pool.chip, pool.place)
        ledger.book("energy", f"load {pool.name}", pool.place, nominal, prices.discount_mid, assumed)


def _unserved(ledger: Ledger, values: Values) -> None:
    structure, prices = ledger.structure, ledger.prices
    hours, seconds = prices.block_hours, 3600.0
    served = np.einsum("tb,stbw->stw", hours, by_scenario(structure, values.u))  # work units x hours
    deferred = by_scenario(structure, values.ud)
    undone = values.link_slack.reshape(len(structure.case.scenarios), structure.run.runs)
    for stream in structure.streams:
        workload = structure.case.workloads[stream.workload]
        if stream.run is not None:
            amount = np.zeros(deferred.shape[:2])
            amount[:, structure.link_of_run(stream).periods[-1]] = undone[:, stream.position]
        else:
            amount = deferred[:, :, stream.position] if stream.movable else served[:, :, stream.position]
        if stream.kind == "serving":
            amount = amount * seconds
        nominal = amount * prices.unserved_usd_per_work(workload)
        ledger.book("unserved", stream.name, None, nominal, prices.discount_mid, any_assumed(workload.unserved_price))


def _share_excess(ledger: Ledger, excess: Array) -> None:
    """excess [N, K]."""
    structure, prices = ledger.structure, ledger.prices
    limits = {limit.name: limit for limit in structure.case.share}
    amounts = by_scenario(structure, excess)
    for side in structure.sides:
        price = limits[side.limit].excess_usd_per_unit
        assert price is not None
        hours = 1.0 if side.basis == "spend" else prices.calendar.hours
        nominal = amounts[:, :, side.index] * price.value * hours
        ledger.book("share_excess", side.name, None, nominal, prices.discount_mid, any_assumed(price))


def by_scenario(structure: Structure, values: Array) -> Array:
    """[S, T, ...] from [N, ...]: recourse nodes are ordered by scenario, then period."""
    return values.reshape(len(structure.case.scenarios), structure.calendar.periods, *values.shape[1:])
