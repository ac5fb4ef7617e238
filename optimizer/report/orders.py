"""What the plan signs and holds: acquisitions, the mix of capacity per period, commitments beyond the horizon."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from optimizer.build.records import AcquisitionRecord
from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import ALL, by_scenario, order_flows
from optimizer.report.case_prices import Array, CasePrices
from optimizer.report.frames import frame

if TYPE_CHECKING:
    import pandas as pd

SMALLEST = 1e-9
"""An order below this share of the plan's largest one is rounding."""

ACQUISITION_COLUMNS = (
    "offer",
    "kind",
    "chip",
    "place",
    "provider",
    "signing_date",
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


def acquisitions_table(structure: Structure, values: Values) -> pd.DataFrame:
    """One row per order; scenario '' is signed in all scenarios. price_at_signing_usd: per chip (own) or per chip-hour."""
    prices = CasePrices.of(structure.case)
    signed = orders_of(structure, values.z)
    price, flows = order_flows(prices, signed)
    present = flows.present_value(prices.discount_start, prices.discount_mid, prices.discount_end)
    probability = _probabilities(structure)
    rows = [
        (
            a.offer,
            a.kind,
            a.chip,
            a.place,
            structure.case.places[a.place].provider,
            a.signing_date,
            a.delivery_date,
            a.end_date,
            a.scenario or ALL,
            probability[a.scenario or ALL],
            float(values.z[a.index]),
            float(values.z[a.index]) * a.usable_share,
            float(paid),
            "USD/chip" if a.kind == "own" else "USD/chip-hour",
            float(worth * values.z[a.index]) * probability[a.scenario or ALL],
            a.assumed,
        )
        for a, paid, worth in zip(signed, price, present, strict=True)
    ]
    return frame(ACQUISITION_COLUMNS, rows)


def mix_table(structure: Structure, values: Values) -> pd.DataFrame:
    """Capacity by period, chip, place and mode. Signed and existing capacity stands once for all scenarios (scenario '') or once for the
    branch that signed it; rents stand per scenario. chips: held, or paid on average over the period's hours; peak_chips: the
    most in any block; usable_chips: chips x usable share; compute_pflops: chips x dense bf16 PFLOP/s."""
    case = structure.case
    held: dict[tuple[int, str, int, str], tuple[float, float]] = {}

    def add(t: int, scenario: str, pool: int, mode: str, chips: float, usable: float) -> None:
        before = held.get((t, scenario, pool, mode), (0.0, 0.0))
        held[t, scenario, pool, mode] = (before[0] + chips, before[1] + usable)

    for a in orders_of(structure, values.z):
        chips = float(values.z[a.index])
        for t in a.counted:
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
    return frame(MIX_COLUMNS, tidy)


def commitments_table(structure: Structure, values: Values) -> pd.DataFrame:
    """Leases and reservations that outlive the horizon: chips, and nominal dollars due after its end (none of it is in the objective).
    kind `existing`: contracts that were there before the plan."""
    case, calendar = structure.case, structure.calendar
    prices, probability = CasePrices.of(case), _probabilities(structure)
    late = [a for a in orders_of(structure, values.z) if a.kind != "own" and a.end_date > calendar.end]
    price, _ = order_flows(prices, late)
    found: dict[tuple[str, str, str], tuple[date, float, float]] = {}
    for a, hourly in zip(late, price, strict=True):
        chips = float(values.z[a.index])
        usd = chips * float(hourly) * 24 * (a.end_date - max(calendar.end, a.delivery_date)).days
        last, count, due = found.get((a.offer, a.kind, a.scenario or ALL), (a.end_date, 0.0, 0.0))
        found[a.offer, a.kind, a.scenario or ALL] = (max(last, a.end_date), count + chips, due + usd)
    for fleet in case.existing.values():
        if fleet.price_usd_per_chip_hour is not None and fleet.end > calendar.end:
            usd = fleet.count_chips.value * fleet.price_usd_per_chip_hour.value * 24 * (fleet.end - calendar.end).days
            found[fleet.name, "existing", ALL] = (fleet.end, fleet.count_chips.value, usd)
    rows = []
    for (name, kind, scenario), (last, chips, usd) in found.items():
        source = case.existing[name] if kind == "existing" else case.offers[name]
        provider = case.places[source.place].provider
        rows.append((name, kind, source.chip, source.place, provider, scenario, probability[scenario], last, chips, usd))
    return frame(COMMITMENT_COLUMNS, rows)


def _probabilities(structure: Structure) -> dict[str, float]:
    return {s.name: s.weighted_probability for s in structure.case.scenarios} | {ALL: 1.0}
