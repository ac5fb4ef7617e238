"""The tables of docs/own_against_scale.md: python scripts/own_against_scale.py [--write]

Own share against scale with one reason at a time turned on, the value of every reason at which a published threshold would come out, and
the arithmetic beside the published figures (published analysis, 2025-11). `--write` puts the tables into the page.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout that is not installed

from optimizer.analysis.break_even import GAP, break_even
from optimizer.analysis.flip_search import End
from optimizer.analysis.what_if import WhatIf
from optimizer.settings import Settings
from scripts.published_unit_costs import FULL, HALF, SCALES, claims_table, markdown, threshold_table, unit_table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "own_against_scale.md"
CASES = ROOT / "configs" / "cases"
SCALE = "workloads.work.requests_per_second"
REASONS = {
    "nothing": "own_against_scale",
    "uncertain demand": "own_against_scale/uncertain",
    "demand that may not come": "own_against_scale/may_not_come",
    "lead time (12 months)": "own_against_scale/lead_time",
    "capital (14 B$)": "own_against_scale/capital",
    "supply of own chips (400,000)": "own_against_scale/own_supply",
    "power of the site (500 MW)": "own_against_scale/power",
    "supply of rent (400,000), demand that may not come": "own_against_scale/rent_supply",
}


@dataclass(frozen=True)
class Question:
    """Where the own share flips at a threshold along a field, in one of the cases at one scale (None: the field is the scale)."""

    reason: str
    field: str
    lowest: float
    highest: float
    when: str
    scale: int | None


CAPITAL, OWN_SUPPLY, POWER, RENT_SUPPLY = list(REASONS)[-4:]
PRICE, RENT, CHIPS = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year", "offers.rent.available_chips"
QUESTIONS = (
    *(Question("nothing", PRICE, 50_000, 150_000, "own_share=0.4", n) for n in (200_000, 2_000_000)),
    *(Question("nothing", RENT, 5_000, 30_000, "own_share=0.4", n) for n in (200_000, 2_000_000)),
    *(Question("uncertain demand", PRICE, 35_000, 120_000, "own_share=0.4", n) for n in (200_000, 2_000_000)),
    *(Question(CAPITAL, "limits.capex.board.max_usd", 1e9, 2e10, "own_share=0.4", n) for n in (HALF, FULL)),
    *(Question(OWN_SUPPLY, "offers.buy.available_chips_total", 10_000, 500_000, "own_share=0.4", n) for n in (HALF, FULL)),
    *(Question(POWER, "sites.hall.power_mw", 10, 1000, "own_share=0.4", n) for n in (HALF, FULL)),
    *(Question(RENT_SUPPLY, CHIPS, 100_000, 990_000, "own_share=0.4", n) for n in (HALF, FULL)),
    *(Question(reason, SCALE, 10_000, 2_000_000, "own_share=0.4", None) for reason in (CAPITAL, OWN_SUPPLY, POWER, RENT_SUPPLY)),
)


def share_table(reasons: Iterable[str] = tuple(REASONS), scales: Sequence[int] = SCALES) -> str:
    """Own share of the compute in the certified best plan: a row per reason, a column per scale."""
    rows = []
    for reason in reasons:
        what_if = WhatIf(_file(reason), Settings(gap_relative=GAP))
        answers = [what_if.at({SCALE: scale}) for scale in scales]
        rows.append([reason, *(f"{answer.row['share_own']:.1%}" if answer.has_plan else answer.status for answer in answers)])
    return markdown(["reason", *(f"{scale:,}" for scale in scales)], rows)


def flip_table(questions: Iterable[Question] = QUESTIONS, tolerance: float = 1e-3) -> str:
    """The bracket of every flip: last value before, first value after."""
    rows = []
    for q in questions:
        more = None if q.scale is None else (SCALE, [q.scale])
        found = break_even(_file(q.reason), (q.field, q.lowest, q.highest), q.when, against=more, points=5, tolerance=tolerance)
        said = [f"{f.before.value:,.12g} ({_share(f.before)}) to {f.after.value:,.12g} ({_share(f.after)})" for f in found.flips]
        named = q.reason if q.scale is None else re.sub(r" \(.*?\)", "", q.reason)  # the field varies what stands in brackets
        rows.append([named, q.field, "-" if q.scale is None else f"{q.scale:,}", "; ".join(said) or "none"])
    return markdown(["reason", "along", "chips", "flip of a 40 % own share, from (share) to (share)"], rows)


TABLES = {"units": unit_table, "claims": claims_table, "thresholds": threshold_table, "shares": share_table, "flips": flip_table}
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description="own share against scale, one reason at a time")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args()
    made = {name: table() for name, table in TABLES.items()}
    for name, text in made.items():
        print(f"{name}\n\n{text}")
    if options.write:
        PAGE.write_text(MARKED.sub(lambda found: f"{found[1]}{made[found[2]]}{found[3]}", PAGE.read_text()))


def _file(reason: str) -> Path:
    return CASES / f"{REASONS[reason]}.yaml"


def _share(end: End) -> str:
    return f"{end.reading.measure:.1%}"


if __name__ == "__main__":
    main()
