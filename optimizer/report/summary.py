"""The page that answers a plan: certificate first, then capacity, cost, orders, limits, what is left open, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from optimizer.report import figures
from optimizer.report.page import Page, facts, grid, heading, line
from optimizer.report.result import Plan

MODES = {
    "own": ("own",),
    "lease": ("lease",),
    "reserved": ("reserved_1y", "reserved_3y"),
    "existing": ("existing",),
    "on-demand": ("on_demand",),
    "spot": ("spot",),
}
MEANING = {
    "CERTIFIED": "CERTIFIED: checked outside the solver; the plan meets every limit and no plan can cost less than the bound.",
    "FEASIBLE": "FEASIBLE: checked outside the solver; the plan meets every limit, but the gap is wider than asked.",
    "INFEASIBLE": "INFEASIBLE: no plan meets all limits; proven outside the solver.",
    "FAILED": "FAILED: there is no answer that could be checked.",
}
DUST = 1e-4
"""Orders below this share of the largest are in the tables, and not on the page."""
VISIBLE = 1e-6
"""Amounts below this share of the cost are not on the page."""
NOT_WRITTEN = "Results were not written; --out DIR writes plan.json and all tables (CSV, Parquet)."
MOST_PERIODS = 9
MOST_ROWS = 10


def plan_page(plan: Plan, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    page = _certificate(plan)
    if plan.has_values:
        page += [*_own_or_rent(plan), *_chips(plan), *_cost(plan), *_orders(plan), *_limits(plan), *_unserved(plan), *_remarks(plan)]
    page += [*_warnings(plan), *_timing(plan)]
    page.append(line(f"Results: {where}" if where else NOT_WRITTEN))
    return page


def certificate_lines(plan: Plan) -> Page:
    """Status, cost, bound and gap."""
    style = {"CERTIFIED": "bold green", "FEASIBLE": "bold yellow"}.get(plan.status, "bold red")
    page: Page = [line(f"{plan.case_name}: {plan.status}", style)]
    if plan.has_values:
        asked = f"{figures.small(plan.gap_relative)} relative; {plan.settings.gap_relative:g} asked"
        rows = [
            ("cost of this plan", figures.usd_exact(plan.objective_usd), f"({figures.usd(plan.objective_usd)})"),
            ("lower bound", figures.usd_exact(plan.lower_bound_usd), "no plan can cost less"),
            ("gap", figures.usd_exact(plan.gap_usd), asked),
        ]
        page.append(facts(rows))
    return page


def _certificate(plan: Plan) -> Page:
    calendar = plan.built.structure.calendar
    page = [*certificate_lines(plan), line(MEANING[plan.status])]
    if plan.has_values:
        start, count = calendar.first_day[0], figures.counted(len(plan.case.scenarios), "scenario")
        page.append(line(f"Dollars are expected present values of {start} over {count}, {start} to {calendar.end}."))
    if plan.status in ("INFEASIBLE", "FAILED"):
        page.append(line("Why:"))
        page += [line(f"  - {sentence}") for sentence in plan.conflicts or (plan.reason,)]
    return page


def expected_capacity(plan: Plan, by: Sequence[str], of: str) -> pd.DataFrame:
    """Expected `of` (compute_pflops, chips) by period (rows, in order) and other columns of the mix."""
    mix = plan.mix.assign(expected=plan.mix["probability"] * plan.mix[of])
    found = mix.pivot_table(index="period", columns=list(by), values="expected", aggfunc="sum", fill_value=0.0)
    return found.reindex(list(plan.built.structure.calendar.names), fill_value=0.0)


def _own_or_rent(plan: Plan) -> Page:
    if plan.mix.empty:
        return [heading("Capacity"), line("  none is held or rented")]
    table = expected_capacity(plan, ["mode"], "compute_pflops")
    used = {word: sum(table[mode] for mode in modes if mode in table) for word, modes in MODES.items() if any(m in table for m in modes)}
    total = sum(used.values())
    rows = []
    for t in _some(len(table)):
        whole = float(total.iloc[t])
        shares = (figures.percent(float(of.iloc[t]) / whole if whole else 0.0) for of in used.values())
        rows.append([table.index[t], figures.number(whole), *shares])
    remark = "" if len(rows) == len(table) else f"; {len(rows)} of {len(table)} periods"
    title = f"Own or rent: share of the expected compute held or rented (dense bf16){remark}"
    return [heading(title), grid(["period", "PFLOP/s", *used], rows)]


def _chips(plan: Plan) -> Page:
    if plan.mix.empty:
        return []
    table = expected_capacity(plan, ["chip"], "chips")
    at = _some(len(table), 6)
    rows = [[str(chip), *(figures.chips(float(table[chip].iloc[t])) for t in at)] for chip in table.columns]
    title = "Chips held or rented, expected, averaged over the hours of the period"
    return [heading(title), grid(["chip", *(table.index[t] for t in at)], rows)]


def cost_by_category(plan: Plan) -> pd.DataFrame:
    """Expected nominal and present value, largest first."""
    columns = ["expected_nominal_usd", "expected_present_value_usd"]
    return plan.cost.groupby("category")[columns].sum().sort_values(columns[1], ascending=False)


def _cost(plan: Plan) -> Page:
    table = cost_by_category(plan)
    total = float(table["expected_present_value_usd"].sum())
    divisor, unit = figures.usd_scale([*table["expected_present_value_usd"], *table["expected_nominal_usd"]])
    rows = []
    for category, (nominal, present) in zip(table.index, table.to_numpy(), strict=True):
        if max(abs(nominal), abs(present)) <= VISIBLE * abs(total):
            continue
        share = figures.percent(present / total) if total else figures.NOTHING
        rows.append([str(category), figures.scaled(nominal, divisor), figures.scaled(present, divisor), share])
    nominal = float(table["expected_nominal_usd"].sum())
    sums = ["total", figures.scaled(nominal, divisor), figures.scaled(total, divisor), ""]
    columns = ["category", f"nominal {unit}", f"present value {unit}", "share"]
    return [heading("Cost by category, expected"), grid(columns, rows, total=sums)]


def _orders(plan: Plan) -> Page:
    orders = plan.acquisitions
    if orders.empty:
        return [heading("Orders"), line("  nothing is signed")]
    orders = orders.assign(expected=orders["probability"] * orders["count_chips"])
    keys = ["offer", "signing_date", "delivery_date", "end_date"]
    groups = orders.groupby(keys, sort=False).agg(expected=("expected", "sum"), usd=("expected_present_value_usd", "sum"))
    branched = bool((orders["scenario"] != "").any())
    dust = groups["expected"] < DUST * groups["expected"].max()
    groups = groups[~dust].sort_values("usd", ascending=False, kind="stable")
    shown = groups.head(MOST_ROWS).sort_values("signing_date", kind="stable")
    rows = [
        [offer, f"{signed:%Y-%m}", f"{delivered:%Y-%m}", f"{end:%Y-%m}", figures.chips(row["expected"]), figures.usd(row["usd"])]
        for (offer, signed, delivered, end), row in shown.iterrows()
    ]
    title = f"Orders: {figures.counted(len(groups), 'order')}" + (f", the {len(rows)} dearest" if len(groups) > len(rows) else "")
    title += f" ({int(dust.sum())} of next to nothing left out)" if dust.any() else ""
    chips = "chips" if not branched else "chips exp."
    return [heading(title), grid(["offer", "signed", "from", "until", chips, "PV"], rows)]


def _limits(plan: Plan) -> Page:
    """The dearest limits that bind: by what the whole limit is worth at its price."""
    prices = plan.prices
    tight = prices[prices["binding"] & (prices["price_usd_per_unit"] > 0) & (prices["kind"] != "capacity")]
    if tight.empty:
        return [heading("Limits that bind"), line("  none")]
    worth = tight["price_usd_per_unit"] * tight["limit_value"].abs().clip(lower=1e-12)
    tight = tight.assign(worth=worth)[worth > VISIBLE * abs(plan.objective_usd)]
    if tight.empty:
        return [heading("Limits that bind"), line("  none at a price that matters")]
    rows = []
    groups = tight.groupby(["kind", "limit", "unit"], sort=False)
    dearest = sorted(groups, key=lambda item: -float(item[1]["worth"].sum()))
    for (kind, limit, unit), group in dearest[:MOST_ROWS]:
        top = group.loc[group["worth"].idxmax()]
        scenario = f" {top['scenario']}" if top["scenario"] else ""
        price = figures.per_unit(float(top["price_usd_per_unit"]), str(unit))
        rows.append([f"{str(kind).replace('_', ' ')} {limit}", str(len(group)), f"{top['period']}{scenario}", price])
    more = f", the {len(rows)} dearest of {len(dearest)}" if len(dearest) > len(rows) else ""
    note = line("  price: what one more unit would save, present value, at its dearest")
    return [heading(f"Limits that bind{more}"), grid(["limit", "rows", "dearest in", "price"], rows), note]


def _unserved(plan: Plan) -> Page:
    table = plan.unserved
    table = table[table["share_of_demand"] > VISIBLE] if len(table) else table
    if table.empty:
        return [heading("Unserved work"), line("  none")]
    rows = []
    for workload, group in table.groupby("workload", sort=False):
        top = group.loc[group["share_of_demand"].idxmax()]
        words = ("period", "block") if len(plan.case.scenarios) == 1 else ("period", "block", "scenario")
        place = " ".join(str(top[name]) for name in words if top[name])
        penalty = figures.usd(float(group["expected_present_value_usd"].sum()))
        rows.append([str(workload), figures.percent(float(top["share_of_demand"])), place, penalty])
    return [heading("Unserved work"), grid(["workload", "at most", "in", "penalty"], rows)]


def _remarks(plan: Plan) -> Page:
    page: Page = [heading("Worth knowing")]
    if plan.penalties_usd > VISIBLE * abs(plan.objective_usd):
        excess = float(plan.cost.loc[plan.cost["category"] == "share_excess", "expected_present_value_usd"].sum())
        unserved = plan.penalties_usd - excess
        parts = f"unserved work {figures.usd(unserved)}, exceeded share limits {figures.usd(excess)}"
        page.append(line(f"  Penalties are {figures.usd(plan.penalties_usd)} of the cost and no cash: {parts}."))
    share = plan.assumed
    parts = f"prices {figures.percent(share.price)}, throughput {figures.percent(share.throughput)}"
    page.append(line(f"  {figures.percent(share.either)} of the cost rests on assumed numbers: {parts}."))
    table = plan.commitments_beyond_horizon
    signed = table[table["kind"] != "existing"]
    if len(signed):
        usd = float((signed["probability"] * signed["nominal_usd"]).sum())
        chips = float((signed["probability"] * signed["chips"]).sum())
        committed = f"{figures.chips(chips)} chips, {figures.usd(usd)} nominal"
        page.append(line(f"  Contracts run past the horizon's end: {committed}, none of it in the cost."))
    credit = float(plan.cost.loc[plan.cost["category"] == "end_value", "expected_present_value_usd"].sum())
    if credit:
        page.append(line(f"  Owned chips outlive the horizon: {figures.usd(-credit)} is credited for their remaining straight-line value."))
    return page


def _warnings(plan: Plan) -> Page:
    if not plan.warnings:
        return []
    return [heading(figures.counted(len(plan.warnings), "warning")), *(line(f"  - {warning}", "yellow") for warning in plan.warnings)]


def _timing(plan: Plan) -> Page:
    parts = ", ".join(f"{name} {figures.seconds(value)}" for name, value in plan.seconds.items())
    counts = f"{figures.counted(plan.iterations, 'iteration')}, {figures.counted(plan.compilations, 'compilation')}"
    return [line(f"\n{parts}; {counts}; {plan.device}")]


def _some(count: int, most: int = MOST_PERIODS) -> list[int]:
    """At most `most` positions out of `count`, evenly spread, the first and the last among them."""
    return list(range(count)) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()
