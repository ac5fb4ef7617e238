"""Two plans as they were written, side by side: cost by category, what is signed, what is held. Nothing is solved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from optimizer.analysis.answer_differences import (
    Amounts,
    Line,
    Order,
    amounts_of_tables,
    first_year_orders,
    lines,
    signed_chips,
    unserved_amounts,
)
from optimizer.report.written_plan import WrittenPlan, read_written_plan
from optimizer.spec.horizon_dates import add_months


@dataclass(frozen=True)
class PlanComparison:
    """`same_case`: both plans answer one question, by the hash of the resolved case."""

    before: WrittenPlan
    after: WrittenPlan
    lines: tuple[Line, ...]
    first_year: tuple[Order, ...]
    last_day: str
    notes: tuple[str, ...]

    @property
    def same_case(self) -> bool:
        return self.before.hash == self.after.hash

    @property
    def change_usd(self) -> float:
        return self.after.cost_usd - self.before.cost_usd

    @property
    def least_usd(self) -> float:
        """The least possible costs of the two cases differ by this at least."""
        return self.after.lower_usd - self.before.cost_usd

    @property
    def most_usd(self) -> float:
        return self.after.cost_usd - self.before.lower_usd

    @property
    def exit_code(self) -> int:
        return 0


def compare_plans(before: str | Path, after: str | Path) -> PlanComparison:
    """Directories written by `capacity plan --out`, or their plan.json. Raises CaseError."""
    first, last = read_written_plan(before), read_written_plan(after)
    both = [name for name in ("mix", "unserved") if name in first.tables and name in last.tables]
    missing = sorted({"mix", "unserved"} - set(both))
    notes = (f"Beside one of the two lies no {' and no '.join(f'{name}.csv' for name in missing)}: left out.",) if missing else ()
    found = [_amounts(plan, both) for plan in (first, last)]
    dates = [str(day) for plan in (first, last) for day in plan.acquisitions["signing_date"]]
    day = add_months(date.fromisoformat(min(dates)), 12).isoformat() if dates else ""
    return PlanComparison(first, last, lines(*found), first_year_orders(first.acquisitions, last.acquisitions, day), day, notes)


def _amounts(plan: WrittenPlan, read: list[str]) -> Amounts:
    found: Amounts = {
        "cost": plan.cost_by_category_usd,
        "signed": signed_chips(plan.acquisitions),
    }
    if "mix" in read and "cost" in plan.tables:
        cost, mix = plan.tables["cost"], plan.tables["mix"]
        periods = len({*cost["period"], *mix["period"]})
        found = {**amounts_of_tables(cost, plan.acquisitions, mix, max(periods, 1)), **found}
    if "unserved" in read:
        found["unserved"] = unserved_amounts(plan.tables["unserved"])
    return found
