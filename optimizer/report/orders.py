"""What the plan signs and holds: acquisitions, the mix of capacity per period, commitments beyond the horizon."""

from __future__ import annotations

from datetime import date

import numpy as np

from optimizer.build.records import AcquisitionRecord
from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import ALL, break_fee_usd_per_chip, break_fees, by_scenario, order_flows, part_counts, parts_of
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.frames import Table

SMALLEST = 1e-9
"""An order below this share of the plan's largest one is rounding."""

ACQUISITION_COLUMNS = (
    "offer",
    "order",
    "kind",
    "chip",
    "place",
    "provider",
    "signing_date",
    "decision_date",
    "delivery_date",
    "end_date",
    "scenario",
    "probability",
    "count_chips",
    "usable_chips",
    "price_at_signing_usd",
    "price_unit",
    "expected_present_value_usd",
    "assumed",
)
MIX_COLUMNS = (
    "period",
    "scenario",
    "probability",
    "chip",
    "place",
    "provider",
    "mode",
    "chips",
    "peak_chips",
    "usable_chips",
    "compute_pflops",
)
COMMITMENT_COLUMNS = ("offer", "kind", "chip", "place", "provider", "scenario", "probability", "last_end_date", "chips", "nominal_usd")


def orders_of(structure: Structure, z: Array) -> list[AcquisitionRecord]:
    """The acquisitions that the plan signs."""
    least = SMALLEST * float(z.max(initial=0.0))
    return [a for a in structure.acquisitions if z[a.index] > least]


def acquisitions_table(structure: Structure, values: Values) -> Table:
    """One row per order and delivery; scenario '' is decided in all scenarios. price_at_signing_usd: per chip (own) or per chip-hour.

    A contract with breaks has a row for what stands to the first break (`order` is order) and one for each break that some of it passes
    (extension: its chips are among those of the row before; delivery_date is the break, decision_date the day by which it is decided).
    The present value holds the fees for what is handed back at the row's end."""
    prices = CasePrices.of(structure.case)
    signed = orders_of(structure, values.z)
    price, flows = order_flows(prices, signed)
    present = flows.present_value(prices.discount_start, prices.discount_mid, prices.discount_end)
    worth = present * part_counts(signed, values.z)
    probability = _probabilities(structure)
    fees: dict[int, float] = {}
    for fee in break_fees(prices, structure, values.z):
        usd = probability[fee.scenario or ALL] * fee.nominal_usd * float(prices.discount_start[fee.period])
        fees[fee.order.index] = fees.get(fee.order.index, 0.0) + usd
    rows = [
        (
            a.offer,
            "order" if a.extends < 0 else "extension",
            a.kind,
            a.chip,
            a.place,
            structure.case.places[a.place].provider,
            a.signing_date,
            a.decision_date,
            part.delivery_date,
            part.end_date,
            a.scenario or ALL,
            probability[a.scenario or ALL],
            float(values.z[a.index]) * part.share,
            float(values.z[a.index]) * part.share * a.usable_share,
            float(paid),
            "USD/chip" if a.kind == "own" else "USD/chip-hour",
            float(usd) * probability[a.scenario or ALL] + fees.get(a.index, 0.0),
            a.assumed,
        )
        for (a, part), paid, usd in zip(parts_of(signed), price, worth, strict=True)
    ]
    return Table(ACQUISITION_COLUMNS, rows)


def mix_table(structure: Structure, values: Values) -> Table:
    """Capacity by period, chip, place and mode. Signed and existing capacity stands once for all scenarios (scenario '') or once for the
    branch that signed it; rents stand per scenario. chips: held, or paid on average over the period's hours; peak_chips: the
    most in any block; usable_chips: chips x usable share; compute_pflops: chips x dense bf16 PFLOP/s."""
    case = structure.case
    held: dict[tuple[int, str, int, str], tuple[float, float]] = {}

    def add(t: int, scenario: str, pool: int, mode: str, chips: float, usable: float) -> None:
        before = held.get((t, scenario, pool, mode), (0.0, 0.0))
        held[t, scenario, pool, mode] = (before[0] + chips, before[1] + usable)

    for a in orders_of(structure, values.z):
        for part in a.parts:
            chips = float(values.z[a.index]) * part.share
            for t in part.counted:
                add(t, a.scenario or ALL, a.pool, a.kind, chips, chips * a.usable_share)
    for record in structure.existing:
        fleet = case.existing[record.name]
        for t in record.counted:
            add(t, ALL, record.pool, "existing", fleet.count_chips.value, fleet.count_chips.value * fleet.usable_share.value)
    rows = [(*key, chips, chips, usable) for key, (chips, usable) in held.items()]

    share = CasePrices.of(case).block_hours / structure.calendar.hours[:, None]  # [T, B]
    r = by_scenario(structure, values.r)
    mean, peak = np.einsum("tb,stbg->stg", share, r), r.max(axis=2, initial=0.0)
    for rent in structure.rents:
        least = SMALLEST * float(peak[:, :, rent.pool].max(initial=0.0))
        for s, t in zip(*np.nonzero(mean[:, :, rent.pool] > least), strict=True):
            usable, paid = float(mean[s, t, rent.pool]), float(mean[s, t, rent.pool]) / rent.usable_share
            most = float(peak[s, t, rent.pool]) / rent.usable_share
            rows.append((int(t), case.scenarios[s].name, rent.pool, rent.kind, paid, most, usable))
    modes = ("own", "lease", "reserved_1y", "reserved_3y", "existing", "on_demand", "spot")
    order = {s.name: i for i, s in enumerate(case.scenarios)} | {ALL: -1}
    rows.sort(key=lambda row: (row[0], order[row[1]], row[2], modes.index(row[3])))
    probability, names = _probabilities(structure), structure.calendar.names
    pools = structure.pools
    tidy = [
        (
            names[t],
            scenario,
            probability[scenario],
            pools[g].chip,
            pools[g].place,
            pools[g].provider,
            mode,
            chips,
            most,
            usable,
            chips * case.chips[pools[g].chip].bf16_dense_tflops.value / 1000,
        )
        for t, scenario, g, mode, chips, most, usable in rows
    ]
    return Table(MIX_COLUMNS, tidy)


def commitments_table(structure: Structure, values: Values) -> Table:
    """Leases and reservations that outlive the horizon, and purchases delivered after it: chips, and nominal dollars due after its end
    (none of it is in the objective). A contract with breaks is committed to the first break after the horizon and the fee there, or to its
    end if that is less. kind `existing`: contracts that were there before the plan."""
    case, calendar = structure.case, structure.calendar
    prices, probability = CasePrices.of(case), _probabilities(structure)
    signed = orders_of(structure, values.z)
    price, _ = order_flows(prices, signed)
    found: dict[tuple[str, str, str], tuple[date, float, float]] = {}
    for (a, part), paid in zip(parts_of(signed), price.tolist(), strict=True):
        late = part.delivery_date >= calendar.end if a.kind == "own" else part.end_date > calendar.end
        if not late:
            continue
        chips, usd = float(values.z[a.index]) * part.share, paid
        if a.kind != "own":
            first = max(calendar.end, part.delivery_date)
            usd = paid * 24 * (part.end_date - first).days
            if part.end_date < a.contract_end and case.offers[a.offer].breaks is not None:
                to_the_end = paid * 24 * (a.contract_end - first).days
                usd = min(usd + break_fee_usd_per_chip(prices, a, part.end_date), to_the_end)
        last, count, due = found.get((a.offer, a.kind, a.scenario or ALL), (part.end_date, 0.0, 0.0))
        found[a.offer, a.kind, a.scenario or ALL] = (max(last, part.end_date), count + chips, due + chips * usd)
    for fleet in case.existing.values():
        if fleet.price_usd_per_chip_hour is not None and fleet.end > calendar.end:
            usd = fleet.count_chips.value * fleet.price_usd_per_chip_hour.value * 24 * (fleet.end - calendar.end).days
            found[fleet.name, "existing", ALL] = (fleet.end, fleet.count_chips.value, usd)
    rows = []
    for (name, kind, scenario), (last, chips, usd) in found.items():
        source = case.existing[name] if kind == "existing" else case.offers[name]
        provider = case.places[source.place].provider
        rows.append((name, kind, source.chip, source.place, provider, scenario, probability[scenario], last, chips, usd))
    return Table(COMMITMENT_COLUMNS, rows)


def _probabilities(structure: Structure) -> dict[str, float]:
    return {s.name: s.weighted_probability for s in structure.case.scenarios} | {ALL: 1.0}
