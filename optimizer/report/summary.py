"""The page that answers a plan: certificate first, then capacity, cost, orders, limits, what is left open, and how long it took."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optimizer.report import figures
from optimizer.report.binding import MOST_ROWS as MOST_ROWS
from optimizer.report.binding import VISIBLE, binding_groups
from optimizer.report.frames import records, sums
from optimizer.report.page import Page, bullets, facts, grid, heading, line, unbroken
from optimizer.report.result import Plan
from optimizer.report.training_runs import training_runs_page

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
NOT_WRITTEN = "Results were not written; --out DIR writes plan.json and all tables (CSV, Parquet)."
MOST_PERIODS = 9


def plan_page(plan: Plan, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    page = _certificate(plan)
    if plan.has_values:
        page += [*_own_or_rent(plan), *_chips(plan), *_cost(plan), *_orders(plan), *_limits(plan), *_unserved(plan)]
        page += [*training_runs_page(plan.columns.training_runs), *_remarks(plan)]
    page += [*_warnings(plan), *_timing(plan)]
    page.append(unbroken(f"Results: {where}") if where else line(NOT_WRITTEN))
    return page


def certificate_lines(plan: Plan) -> Page:
    """Status, cost, bound and gap."""
    style = {"CERTIFIED": "bold green", "FEASIBLE": "bold yellow"}.get(plan.status, "bold red")
    page: Page = [line(f"{plan.case_name}: {plan.status}", style)]
    if plan.has_values:
        asked = f"{figures.small(plan.gap_relative)} relative; {plan.settings.gap_relative:g} asked"
        queues = plan.built.structure.pair_index.groups is not None
        whose = "no plan with the same lines for spare replicas can cost less" if queues else "no plan can cost less"
        rows = [
            ("cost of this plan", figures.usd_exact(plan.objective_usd), f"({figures.usd(plan.objective_usd)})"),
            ("lower bound", figures.usd_exact(plan.lower_bound_usd), whose),
            ("gap", figures.usd_exact(plan.gap_usd), asked),
        ]
        if queues:
            rows += [
                ("true lower bound", figures.usd_exact(plan.lower_bound_true_usd), "no plan can cost less"),
                ("headroom gap", figures.usd_exact(plan.objective_usd - plan.lower_bound_true_usd),
                 f"{figures.small(plan.headroom_gap_relative)} relative"),
            ]  # fmt: skip
        page.append(facts(rows))
    return page


def _certificate(plan: Plan) -> Page:
    calendar = plan.built.structure.calendar
    page = [*certificate_lines(plan), line(MEANING[plan.status])]
    if plan.has_values and plan.built.structure.pair_index.groups is not None:
        page.append(line("The status judges the plan with lines above its spare replicas; the true lower bound holds for any plan."))
    if plan.has_values:
        start, count = calendar.first_day[0], figures.counted(len(plan.case.scenarios), "scenario")
        page.append(line(f"Dollars are expected present values of {start} over {count}, {start} to {calendar.end}."))
    if plan.status in ("INFEASIBLE", "FAILED"):
        page.append(line("Why:"))
        page.append(bullets(plan.conflicts or (plan.reason,)))
    return page


def _own_or_rent(plan: Plan) -> Page:
    if plan.columns.mix.empty:
        return [heading("Capacity"), line("  none is held or rented")]
    periods = plan.built.structure.calendar.names
    expected = sums(plan.columns.mix, ["period", "mode"], ["compute_pflops"], "probability")
    held = {
        word: [sum(expected.get((period, mode), [0.0])[0] for mode in modes) for period in periods]
        for word, modes in MODES.items()
        if any((period, mode) in expected for period in periods for mode in modes)
    }
    rows = []
    for t in _some(len(periods)):
        whole = sum(of[t] for of in held.values())
        rows.append([periods[t], figures.number(whole), *(figures.percent(of[t] / whole if whole else 0.0) for of in held.values())])
    remark = "" if len(rows) == len(periods) else f"; {len(rows)} of {len(periods)} periods"
    title = f"Own or rent: share of the expected compute held or rented (dense bf16){remark}"
    return [heading(title), grid(["period", "PFLOP/s", *held], rows)]


def _chips(plan: Plan) -> Page:
    if plan.columns.mix.empty:
        return []
    periods = plan.built.structure.calendar.names
    at = _some(len(periods), 6)
    expected = sums(plan.columns.mix, ["chip", "period"], ["chips"], "probability")
    names = dict.fromkeys(chip for chip, _ in expected)
    rows = [[chip, *(figures.chips(expected.get((chip, periods[t]), [0.0])[0]) for t in at)] for chip in sorted(names)]
    title = "Chips held or rented, expected, averaged over the hours of the period"
    return [heading(title), grid(["chip", *(periods[t] for t in at)], rows)]


def cost_by_category(plan: Plan) -> dict[str, tuple[float, float]]:
    """(nominal, present value), both expected, in dollars; the largest present value first."""
    found = sums(plan.columns.cost, ["category"], ["expected_nominal_usd", "expected_present_value_usd"])
    return {name: (nominal, present) for (name,), (nominal, present) in sorted(found.items(), key=lambda item: -item[1][1])}


def _cost(plan: Plan) -> Page:
    costs = cost_by_category(plan)
    nominal, total = (sum(amounts) for amounts in zip(*costs.values(), strict=True)) if costs else (0.0, 0.0)
    divisor, unit = figures.usd_scale([amount for both in costs.values() for amount in both])
    share = 1 / total if total else math.nan
    rows = [
        [name, figures.scaled(now, divisor), figures.scaled(present, divisor), figures.percent(present * share)]
        for name, (now, present) in costs.items()
        if max(abs(now), abs(present)) > VISIBLE * abs(total)
    ]
    sums_row = ["total", figures.scaled(nominal, divisor), figures.scaled(total, divisor), ""]
    columns = ["category", f"nominal {unit}", f"present value {unit}", "share"]
    return [heading("Cost by category, expected"), grid(columns, rows, total=sums_row)]


def _orders(plan: Plan) -> Page:
    """What is signed, by offer and date; on branches the expectation."""
    keys = ["offer", "signing_date", "delivery_date", "end_date", "order"]
    chips = sums(plan.columns.acquisitions, keys, ["count_chips"], "probability")
    worth = sums(plan.columns.acquisitions, keys, ["expected_present_value_usd"])
    largest = max((count for (count,) in chips.values()), default=0.0)
    real = [key for key, (count,) in chips.items() if count >= DUST * largest]
    if not real:
        return [heading("Orders"), line("  nothing is signed")]
    shown = sorted(sorted(real, key=lambda key: -worth[key][0])[:MOST_ROWS], key=lambda key: key[1:3])
    rows = [
        [_order(key[0], key[4]), *(f"{day:%Y-%m}" for day in key[1:4]), figures.chips(chips[key][0]), figures.usd(worth[key][0])]
        for key in shown
    ]
    dearest = f", the {len(rows)} dearest" if len(real) > len(rows) else ""
    dust = f" ({len(chips) - len(real)} of next to nothing left out)" if len(chips) > len(real) else ""
    branched = bool((plan.columns.acquisitions["scenario"] != "").any())
    columns = ["offer", "signed", "from", "until", "chips exp." if branched else "chips", "PV"]
    return [heading(f"Orders: {figures.counted(len(real), 'order')}{dearest}{dust}"), grid(columns, rows)]


def _order(offer: str, order: str) -> str:
    return f"{figures.name(offer)} (extended)" if order == "extension" else figures.name(offer)


def _limits(plan: Plan) -> Page:
    """The limits that bind, those with most at stake first."""
    words = ("period",) if len(plan.case.scenarios) == 1 else ("period", "scenario")
    groups = binding_groups(plan.columns.prices, plan.objective_usd)
    if not groups:
        return [heading("Limits that bind"), line("  none at a price that matters")]
    every = records(plan.columns.prices)
    shown = [(every[rows[0]], len(rows)) for rows in groups[:MOST_ROWS]]
    rows = [
        [f"{top['kind'].replace('_', ' ')} {figures.name(top['limit'])}", str(count),
         " ".join(top[name] for name in words if top[name]), _price(top)]
        for top, count in shown
    ]  # fmt: skip
    more = f", the {len(rows)} dearest of {len(groups)}" if len(groups) > len(rows) else ""
    notes = [line("  price: what one more unit would save, present value, at its dearest")]
    if any(top["two_prices"] for top, _ in shown):
        notes.append(line("  two prices: one more unit would save the lower, one less would cost the higher"))
    if any(top["two_prices"] and math.isnan(top["price_less_usd_per_unit"]) for top, _ in shown):
        notes.append(line("  none with less: there is no plan with less of it"))
    return [heading(f"Limits that bind{more}"), grid(["limit", "rows", "dearest in", "price"], rows), *notes]


def _price(row: dict[str, Any]) -> str:
    """One number, or two where one more is worth less than one less."""
    if not row["two_prices"]:
        return figures.per_unit(row["price_usd_per_unit"], row["unit"])
    more, less = row["price_more_usd_per_unit"], row["price_less_usd_per_unit"]
    if math.isnan(less):
        return f"{figures.per_unit(more, row['unit'])}, none with less"
    return f"{figures.usd(more)} to {figures.per_unit(less, row['unit'])}"


def _unserved(plan: Plan) -> Page:
    groups: dict[str, list[dict]] = {}
    for row in records(plan.columns.unserved):
        if row["share_of_demand"] > VISIBLE:
            groups.setdefault(row["workload"], []).append(row)
    if not groups:
        return [heading("Unserved work"), line("  none")]
    rows = []
    words = ("period", "block") if len(plan.case.scenarios) == 1 else ("period", "block", "scenario")
    for workload, group in groups.items():
        top = max(group, key=lambda row: row["share_of_demand"])
        penalty = sum(row["expected_present_value_usd"] for row in group)
        where = " ".join(top[name] for name in words if top[name])
        rows.append([workload, figures.percent(top["share_of_demand"]), where, figures.usd(penalty)])
    return [heading("Unserved work"), grid(["workload", "at most", "in", "penalty"], rows)]


def _remarks(plan: Plan) -> Page:
    said = []
    present = {category: amounts[1] for category, amounts in cost_by_category(plan).items()}
    if plan.penalties_usd > VISIBLE * abs(plan.objective_usd):
        words = {"unserved": "unserved work", "share_excess": "exceeded share limits"}
        found = {word: present.get(name, 0.0) for name, word in words.items()}
        parts = ", ".join(f"{word} {figures.usd(usd)}" for word, usd in found.items() if usd > VISIBLE * abs(plan.objective_usd))
        said.append(f"Penalties are {figures.usd(plan.penalties_usd)} of the cost and no cash: {parts}.")
    share = plan.assumed
    parts = f"prices {figures.percent(share.price)}, throughput {figures.percent(share.throughput)}"
    said.append(f"{figures.percent(share.either)} of the cost rests on assumed numbers: {parts}.")
    late = sums(plan.columns.commitments_beyond_horizon, ["kind"], ["chips", "nominal_usd"], "probability")
    chips, usd = (sum(amounts[column] for (kind,), amounts in late.items() if kind != "existing") for column in (0, 1))
    if chips > 0:
        committed = f"{figures.chips(chips)} chips, {figures.usd(usd)} nominal"
        said.append(f"Contracts run past the horizon's end: {committed}, none of it in the cost.")
    credit = present.get("end_value", 0.0)
    if credit:
        said.append(f"Owned chips outlive the horizon: {figures.usd(-credit)} is credited for their remaining straight-line value.")
    return [heading("Worth knowing"), bullets(said)]


def _warnings(plan: Plan) -> Page:
    if not plan.warnings:
        return []
    return [heading(figures.counted(len(plan.warnings), "warning")), bullets(plan.warnings, "yellow")]


def _timing(plan: Plan) -> Page:
    parts = ", ".join(f"{name} {figures.seconds(value)}" for name, value in plan.seconds.items())
    return [line(f"\n{parts}; {plan.device}"), line(_proposed(plan))]


def _proposed(plan: Plan) -> str:
    """Which engine the plan came from, its work, and why that one."""
    because = f" ({plan.engine_reason})" if plan.engine_reason else ""
    if plan.engine == "simplex":
        return f"Proposed by the simplex in {figures.counted(plan.iterations, 'pivot')}{because}"
    if plan.engine:
        counts = f"{figures.counted(plan.iterations, 'iteration')}, {figures.counted(plan.compilations, 'compilation')}"
        return f"Proposed by the interior point in {counts}{because}"
    return "No engine was asked: the limits clash"


def _some(count: int, most: int = MOST_PERIODS) -> list[int]:
    """At most `most` positions out of `count`, evenly spread, the first and the last among them."""
    return list(range(count)) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()
