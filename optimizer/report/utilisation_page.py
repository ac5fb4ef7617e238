"""Break-even utilisation of own offers: the page, and the results on disk (utilisation.csv, utilisation.json, utilisation.svg)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report import figures
from optimizer.report.analysis_files import write_analysis
from optimizer.report.line_chart import Chart, Series, charts_svg
from optimizer.report.page import Page, bullets, grid, heading, line, unbroken

if TYPE_CHECKING:
    from optimizer.analysis.utilisation import Rivals, Utilisation

FROM = 0.15  # utilisation at which the plotted curve of owning begins
STEPS = 34
RENTED = ("on_demand", "spot")
NOT_WRITTEN = "Results were not written; --out DIR would hold utilisation.csv, utilisation.json and utilisation.svg."
NOTES = (
    "break-even: owning is cheaper than renting by the hour where a chip is used more than this share of the time: cost of owning "
    "a year / (8766 h x rent x chips for one, less energy of use).",
    "used: of all own chips, on average; last: of the last chip, the share of the time in which none is idle. It is the last chip that "
    "should be used more than the break-even.",
    "for one: chips of the other offer that do the work of one own chip, on average over what the plan runs on such chips; work: the share "
    "of it that the other offer may do at all.",
    "own / other: the ratio of costs at full use. It alone counts against a lease or a reservation, which is paid whether used or not.",
)


def utilisation_page(found: Utilisation, where: str | None = None) -> Page:
    """`where`: the directory that the results were written to."""
    answer = found.answer
    style = "bold green" if found.exit_code == 0 else "bold yellow"
    page: Page = [line(f"{found.case_name}: {answer.status}, {figures.usd(answer.cost_usd)}", style)]
    if answer.has_plan:
        cost, bound = figures.usd_exact(answer.cost_usd), figures.usd_exact(answer.lower_bound_usd)
        page.append(line(f"The plan costs {cost}; no plan can cost less than {bound}."))
    else:
        page.append(line(f"There is no certified plan, so own chips have no utilisation. {answer.reason}"))
    for name in dict.fromkeys(r.own_offer for r in found.rivals):
        page += _offer(found, [r for r in found.rivals if r.own_offer == name and r.cheapest])
    for offer in found.alone:
        page.append(line(f"  {offer}: nothing else may do its work, so there is nothing to compare it with."))
    page += [heading("Own chips in the plan"), *_owned(found), heading("Words"), bullets(NOTES)]
    page.append(unbroken(f"\nResults: {where}") if where else line(f"\n{NOT_WRITTEN}"))
    return page


def _offer(found: Utilisation, rivals: list[Rivals]) -> Page:
    """One own offer beside the cheapest of every other kind."""
    first = rivals[0]
    owned = found.owned_at(first)
    plan = f"used {figures.percent(owned.mean)}, last {figures.percent(owned.last_chip)}" if owned is not None else "none in the plan"
    said = f"  {first.own_usd_per_chip_year:,.0f} $ a chip and year; {first.chip} in {first.place}: {plan}"
    columns = ["break-even", "own / other", "other $/h", "for one", "work", "against"]
    return [heading(f"Owning {first.own_offer}"), line(said), grid(columns, [_rival(r) for r in rivals], words=len(columns))]


def _rival(r: Rivals) -> list[str]:
    share = figures.NOTHING if math.isnan(r.break_even) else "never" if math.isinf(r.break_even) else figures.percent(r.break_even)
    ratio = f"{r.cost_ratio_full_use:.3f}"
    return [share, ratio, f"{r.other_usd_per_chip_hour:.4g}", f"{r.chips_for_one:.3g}", figures.percent(r.work_share), r.other_offer]


def _owned(found: Utilisation) -> Page:
    if not found.owned:
        return [line("  none")]
    rows = [[o.chip, o.place, figures.chips(o.held_chips), figures.percent(o.mean), figures.percent(o.last_chip)] for o in found.owned]
    return [grid(["chip", "place", "held", "used", "last"], rows, words=2)]


def write_utilisation(found: Utilisation, directory: str | Path) -> Path:
    """Raises OSError."""
    rows = [rivals_row(found, r) for r in found.rivals]
    document = {
        "case": {"name": found.case_name, "file": found.case_file},
        "status": found.answer.status,
        "cost_usd": found.answer.cost_usd,
        "lower_bound_usd": found.answer.lower_bound_usd,
        "rivals": rows,
        "owned": [vars(owned) for owned in found.owned],
        "without_rival": list(found.alone),
    }
    return write_analysis(directory, "utilisation", document, {"utilisation": rows}, {"utilisation": utilisation_svg(found)})


def rivals_row(found: Utilisation, r: Rivals) -> dict[str, Any]:
    owned = found.owned_at(r)
    return {
        "own_offer": r.own_offer, "chip": r.chip, "place": r.place, "signing_date": str(r.signing_date),
        "own_usd_per_chip_year": r.own_usd_per_chip_year, "use_usd_per_chip_year": r.use_usd_per_chip_year, "other_offer": r.other_offer,
        "other_kind": r.other_kind, "other_chip": r.other_chip, "other_usd_per_chip_hour": r.other_usd_per_chip_hour,
        "chips_for_one": r.chips_for_one, "work_share": r.work_share, "break_even_utilisation": r.break_even,
        "cost_ratio_full_use": r.cost_ratio_full_use, "cheapest_of_its_kind": r.cheapest,
        "plan_held_chips": math.nan if owned is None else owned.held_chips,
        "plan_utilisation": math.nan if owned is None else owned.mean,
        "plan_last_chip_utilisation": math.nan if owned is None else owned.last_chip,
    }  # fmt: skip


def utilisation_svg(found: Utilisation) -> str | None:
    """A panel per own offer: what a used chip-hour costs over the utilisation, owned and rented, and where the plan is."""
    charts = []
    for name in dict.fromkeys(r.own_offer for r in found.rivals):
        mine = [r for r in found.rivals if r.own_offer == name and r.cheapest and r.other_kind in RENTED]
        if not mine:
            continue
        at = [FROM + (1 - FROM) * k / STEPS for k in range(STEPS + 1)]
        lines = [Series("owned", [(u, mine[0].own_usd_per_used_hour(u)) for u in at], marks=False)]
        lines += [Series(r.other_kind, [(u, r.rent_usd_per_used_hour) for u in (FROM, 1.0)], marks=False, dashed=True) for r in mine]
        crossing = [(r.break_even, r.rent_usd_per_used_hour) for r in mine if FROM <= r.break_even <= 1]
        if crossing:
            lines += [Series("break-even" if len(crossing) == 1 else f"break-even {k + 1}", [at]) for k, at in enumerate(crossing)]
        owned = found.owned_at(mine[0])
        if owned is not None:
            for said, u in (("plan: all", owned.mean), ("plan: last", owned.last_chip)):
                if math.isfinite(u) and u > 0:
                    lines.append(Series(said, [(u, mine[0].own_usd_per_used_hour(u))]))
        charts.append(Chart(f"{found.case_name}, {name}: $ per used chip-hour", "utilisation of the chip", lines))
    return charts_svg(charts) if charts else None
