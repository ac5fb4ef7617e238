"""Alternatives for people: the page, the orders of every plan, a summary, the common core, and a plot of what the plans are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report import figures
from optimizer.report.analysis_files import write_analysis
from optimizer.report.frames import records
from optimizer.report.line_chart import COLORS
from optimizer.report.orders import acquisitions_table
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.alternatives import Alternative, Alternatives

KINDS = {"own": "own", "lease": "lease", "reserved_1y": "reserved", "reserved_3y": "reserved", "on_demand": "on-demand", "spot": "spot"}
MOST_PROVIDERS, MOST_ORDERS = 6, 12
WIDTH, ROW, TOP, NAMES = 820, 30, 56, 230
NOT_WRITTEN = (
    "Results were not written; --out DIR would hold alternatives.csv, the orders of each plan, core.csv, alternatives.json and a plot."
)


def alternatives_page(found: Alternatives, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    if not found.plans:
        return [
            line(f"{found.case_name}: {found.status}", "bold yellow"),
            line(found.reason),
            line("There is no plan, and so no alternative."),
        ]
    best, others = found.plans[0], found.plans[1:]
    head = (
        f"{found.case_name}: {figures.counted(len(others), 'alternative')} within {100 * found.within:g} % of {figures.usd(best.cost_usd)}"
    )
    page: Page = [
        line(f"{head} ({found.status})", "bold green" if found.exit_code == 0 else "bold yellow"),
        heading("Plans"),
        grid(["plan", "above best", "at most", "apart", "nearest"], [_costs(i, plan) for i, plan in enumerate(found.plans)]),
        line(
            "At most: above the best possible plan, certified. Apart: distance to the best plan, nearest: to the nearest plan above; 0: "
            "the same orders and rents, 1: none in common."
        ),
    ]
    if others:
        page += [
            heading("How far each went"),
            grid(["plan", "in", "best plan", "here", "limit"], [_aim(i, plan) for i, plan in enumerate(others, 1)], words=2),
            line(
                "Limit: no plan within the budget goes further, certified; where there is none, only that these plans were found is known."
            ),
        ]
    page += [heading("What the plans are made of: share of the compute signed and rented"), *_mixes(found.plans)]
    page += _core(found)
    if found.left_out:
        page += [heading("Aims that gave no further plan"), bullets(_left_out(found))]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _numbered(position: int, plan: Alternative) -> str:
    return f"{position} {plan.name}"


def _costs(position: int, plan: Alternative) -> list[str]:
    return [
        _numbered(position, plan),
        _precise(plan.above_best),
        _precise(plan.above_possible),
        f"{plan.from_best:.2f}",
        f"{plan.from_nearest:.2f}",
    ]


def _precise(share: float) -> str:
    return f"{100 * share:.2f} %"


def _aim(position: int, plan: Alternative) -> list[str]:
    def said(amount: float) -> str:
        return figures.usd(amount) if plan.unit == "USD" else figures.number(amount)

    unit = "$" if plan.unit == "USD" else plan.unit
    return [_numbered(position, plan), unit, said(plan.best_measure), said(plan.measure), said(plan.bound)]


def shares_of(plan: Alternative) -> tuple[dict[str, float], dict[str, float]]:
    """(by kind of offer, by provider), each adding up to 1."""
    case, whole = plan.built.structure.case, sum(plan.by_offer.values()) or 1.0
    kinds: dict[str, float] = {}
    providers: dict[str, float] = {}
    for name, amount in plan.by_offer.items():
        offer = case.offers[name]
        for found, word in ((kinds, KINDS[offer.kind]), (providers, case.places[offer.place].provider)):
            found[word] = found.get(word, 0.0) + amount / whole
    return kinds, providers


def providers_of(plans: Sequence[Alternative]) -> list[str]:
    """By their largest share in any plan."""
    most: dict[str, float] = {}
    for plan in plans:
        for name, share in shares_of(plan)[1].items():
            most[name] = max(most.get(name, 0.0), share)
    return sorted(most, key=lambda name: -most[name])


def _mixes(plans: Sequence[Alternative]) -> Page:
    kinds = [word for word in dict.fromkeys(KINDS.values()) if any(word in shares_of(plan)[0] for plan in plans)]
    places = plans[0].built.structure.case.places.values()
    sites = {place.provider for place in places if place.is_site}  # what stands there is own
    providers = [name for name in providers_of(plans) if name not in sites][:MOST_PROVIDERS]
    rows = []
    for position, plan in enumerate(plans):
        by_kind, by_provider = shares_of(plan)
        parts = [*(by_kind.get(word, 0.0) for word in kinds), *(by_provider.get(name, 0.0) for name in providers)]
        rows.append([str(position), *(figures.percent(share) for share in parts)])
    return [grid(["plan", *kinds, *providers], rows)]


def _core(found: Alternatives) -> Page:
    page: Page = [heading("Common core: orders of the first year that all these plans sign")]
    if not found.core:
        return [*page, line("There is no order of the first year that all of them sign.")]
    shown = sorted(found.core, key=lambda order: -order.share)[:MOST_ORDERS]
    rows = [
        [
            figures.name(o.offer) + (f" [{o.scenario}]" if o.scenario else ""), str(o.signing_date), figures.chips(o.count_chips),
            figures.chips(o.best_chips), figures.percent(o.share),
        ]
        for o in sorted(shown, key=lambda order: (order.signing_date, -order.share))
    ]  # fmt: skip
    some = "" if len(shown) == len(found.core) else f" {len(found.core) - len(shown)} smaller orders are not shown."
    return [
        *page,
        grid(["offer", "signed", "at least, chips", "best plan", "share"], rows, words=2),
        line(f"Together {figures.percent(found.core_share)} of the compute that the best plan signs in the first year.{some}"),
    ]


def _left_out(found: Alternatives) -> list[str]:
    """A reason that several share is said once."""
    by_reason: dict[str, list[str]] = {}
    for name, why in found.left_out:
        by_reason.setdefault(why, []).append(name)
    return [f"{', '.join(names)}: {why}" for why, names in by_reason.items()]


# files --------------------------------------------------------------------------------------------------------------------------------
def write_alternatives(found: Alternatives, directory: str | Path) -> Path:
    """alternatives.csv, core.csv, orders_<plan>.csv of every plan, alternatives.json and alternatives.svg. Raises OSError."""
    summary = [_summary(plan) for plan in found.plans]
    orders = {file_of(plan): records(acquisitions_table(plan.built.structure, plan.plan)) for plan in found.plans}
    core = [
        {"offer": o.offer, "signing_date": o.signing_date, "scenario": o.scenario, "count_chips": o.count_chips,
         "best_count_chips": o.best_chips, "share_of_first_year": o.share}
        for o in found.core
    ]  # fmt: skip
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "status": found.status,
        "reason": found.reason,
        "within": found.within,
        "apart": found.apart,
        "budget_usd": found.budget_usd,
        "lower_bound_usd": found.lower_bound_usd,
        "plans": [{**row, "orders": orders[file_of(plan)]} for row, plan in zip(summary, found.plans, strict=True)],
        "left_out": [{"aim": name, "reason": why} for name, why in found.left_out],
        "core": core,
        "core_share": found.core_share,
    }
    plots = {"alternatives": stacked_svg(found) if found.plans else None}
    return write_analysis(directory, "alternatives", document, {"alternatives": summary, "core": core, **orders}, plots)


def file_of(plan: Alternative) -> str:
    return "orders_" + "".join(letter if letter.isalnum() else "_" for letter in plan.name)


def _summary(plan: Alternative) -> dict[str, Any]:
    kinds, providers = shares_of(plan)
    return {
        "plan": plan.name, "cost_usd": plan.cost_usd, "above_best": plan.above_best, "above_possible_at_most": plan.above_possible,
        "measure_unit": plan.unit, "measure_of_best": plan.best_measure, "measure": plan.measure, "measure_bound": plan.bound,
        "distance_from_best": plan.from_best, "distance_from_nearest": plan.from_nearest,
        "compute_pflops_years": sum(plan.by_offer.values()),
        **{f"share_{word.replace('-', '_')}": share for word, share in kinds.items()},
        **{f"share_with_{name}": share for name, share in providers.items()},
    }  # fmt: skip


def stacked_svg(found: Alternatives) -> str:
    """A bar per plan, divided by provider."""
    names = providers_of(found.plans)
    color = {name: COLORS[i] if i < len(COLORS) else "#999" for i, name in enumerate(names)}
    height, full = TOP + ROW * len(found.plans) + 20, WIDTH - NAMES - 90
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="18" font-weight="bold">{escape(found.case_name)}: compute signed and rented, by provider; '
        f"plans within {100 * found.within:g} % of the best cost</text>",
    ]
    at = 12
    for name in names:
        out.append(f'<rect x="{at}" y="28" width="10" height="10" fill="{color[name]}"/><text x="{at + 14}" y="37">{escape(name)}</text>')
        at += 30 + 7 * len(name)
    for position, plan in enumerate(found.plans):
        y = TOP + ROW * position
        shares: Mapping[str, float] = shares_of(plan)[1]
        out.append(f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(plan.name)}</text>')
        x = float(NAMES)
        for name in names:
            width = full * shares.get(name, 0.0)
            said = escape(f"{plan.name}: {name} {figures.percent(shares.get(name, 0.0))}")
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" fill="{color[name]}"><title>{said}</title></rect>')
            x += width
        told = "best" if math.isnan(plan.measure) else f"+{100 * plan.above_best:.2f} %"
        out.append(f'<text x="{WIDTH - 80}" y="{y + 14}">{told}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
