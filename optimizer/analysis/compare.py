"""compare(case_a, case_b): which inputs differ, what the best plans do differently, and what each input adds to the difference in cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.analysis.answer_differences import Amounts, Line, Order, amounts_of, first_year_orders, lines
from optimizer.analysis.case_differences import LEVELS, Difference, Group, catalog_changes, differences, groups
from optimizer.analysis.mixtures import Mixtures, Value, value_of
from optimizer.analysis.path_integral import NumberShare, other_form, path_integral
from optimizer.analysis.shares_of_difference import MOST_EXACT, divide
from optimizer.analysis.what_if import Answer, Progress, WhatIf
from optimizer.build.build import Built
from optimizer.plan import build, load
from optimizer.report.orders import acquisitions_table
from optimizer.settings import Settings
from optimizer.spec import CaseError
from optimizer.spec.horizon_dates import add_months

NUMBER = "number"
ORDERS = 4  # pairs of random orders
SOLVES = 64  # most points on the way between the numbers of two cases


@dataclass(frozen=True)
class Side:
    """One of the two: its certified cost, or why it has none."""

    name: str
    file: str
    status: str
    reason: str
    cost_usd: float
    lower_usd: float


@dataclass(frozen=True)
class Contribution:
    """What an input, or several that only go together, adds to the cost; `because`: why they were merged, '' for one alone."""

    name: str
    usd: float
    least_usd: float
    most_usd: float
    lowest_usd: float
    highest_usd: float
    because: str = ""


@dataclass(frozen=True)
class Comparison:
    """`contributions` add up to `change_usd` exactly; `numbers` (by="number") do with `missing_usd`. `orders`: how many orders of change
    were averaged, 0 for all of them. Without a plan on one side the lists are empty, as they are where nothing changed."""

    before: Side
    after: Side
    by: str
    changes: tuple[Difference, ...]
    catalog: tuple[Difference, ...]
    contributions: tuple[Contribution, ...]
    numbers: tuple[NumberShare, ...]
    missing_usd: float
    orders: int
    solves: int
    lines: tuple[Line, ...]
    first_year: tuple[Order, ...]
    last_day: str
    statuses: tuple[str, ...]
    settings: Settings

    @property
    def has_plans(self) -> bool:
        return bool(self.statuses)

    @property
    def change_usd(self) -> float:
        return self.after.cost_usd - self.before.cost_usd

    @property
    def least_usd(self) -> float:
        """No less: the optimal costs of the two cases differ by this at least."""
        return self.after.lower_usd - self.before.cost_usd if self.changes or self.catalog else 0.0

    @property
    def most_usd(self) -> float:
        return self.after.cost_usd - self.before.lower_usd if self.changes or self.catalog else 0.0

    @property
    def exit_code(self) -> int:
        """0 where every cost is CERTIFIED, 3 where one is FEASIBLE; 4 for a case proven INFEASIBLE, 1 for one that FAILED."""
        if not self.has_plans:
            return 1 if "FAILED" in (self.before.status, self.after.status) else 4
        return 3 if "FEASIBLE" in self.statuses else 0


def compare(
    before: str | Path,
    after: str | Path,
    settings: Settings | None = None,
    *,
    by: str = "item",
    orders: int = ORDERS,
    seed: int = 0,
    solves: int = SOLVES,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two case files. `by` says what an input is: an `item` such as workloads.chat, a `field`, a `section`, or every `number`
    along the straight way from one case to the other (at most `solves` points).

    Up to 5 inputs get their Shapley value, more the mean over `orders` pairs of random orders drawn by `seed`. Raises CaseError for a case
    that cannot be used, and for by="number" where more than numbers changed.
    """
    _checked(by, orders, solves, seed)
    what_if, other = WhatIf(before, settings), WhatIf(after, settings)
    changes = differences(what_if.document, other.document)
    first_built, other_built = what_if.built(), build(load(after))
    catalog = catalog_changes(first_built.parameters, other_built.parameters)
    if by == NUMBER and changes:
        _refuse_other_form(first_built, other_built, changes, str(after))
    steps = _Steps(progress, changes, by, orders, solves)
    first = what_if.of(first_built)
    steps.done()
    last = what_if.of(other_built) if changes else first
    steps.done()
    sides = _side(what_if, first), _side(other, last)
    if not (first.has_plan and last.has_plan):
        return Comparison(*sides, by, changes, catalog, (), (), 0.0, 0, what_if.solves, (), (), "", (), what_if.settings)
    contributions: tuple[Contribution, ...] = ()
    numbers: tuple[NumberShare, ...] = ()
    missing, used, solved = 0.0, 0, what_if.solves
    statuses = [first.status, last.status]
    if changes and by == NUMBER:
        found = path_integral(
            first_built, other_built, (first.cost_usd, last.cost_usd), what_if.settings, solves, None if progress is None else progress
        )
        numbers, missing, solved = found.shares, found.missing_usd, solved + found.solves
    elif changes:
        mixtures = Mixtures(what_if, groups(changes, by), first, last)
        mixtures.solved = steps.done
        contributions, used = _contributions(mixtures, orders, seed)
        statuses += [value.status for value in mixtures.known.values()]
        solved = what_if.solves
    steps.finish()
    day = add_months(first_built.structure.case.horizon.start, 12).isoformat()
    return Comparison(
        *sides, by, changes, catalog, contributions, numbers, missing, used, solved, lines(_amounts(first), _amounts(last)),
        first_year_orders(_orders(first), _orders(last), day), day, tuple(statuses), what_if.settings,
    )  # fmt: skip


def _checked(by: str, orders: int, solves: int, seed: int) -> None:
    known = (*LEVELS, NUMBER)
    if by not in known:
        raise CaseError("compare", "--by", f"is `{by}`", f"write one of {', '.join(known)}")
    if orders < 1:
        raise CaseError("compare", "--orders", f"is {orders}", "give how many pairs of random orders to average, 1 or more")
    if solves < 3:
        raise CaseError("compare", "--solves", f"is {solves}", "give at most how many points to solve on the way, 3 or more")
    if seed < 0:
        raise CaseError("compare", "--seed", f"is {seed}", "give a whole number from 0")


def _refuse_other_form(before: Built, after: Built, changes: tuple[Difference, ...], file: str) -> None:
    reason = other_form(before, after)
    if reason:
        steps = [one.key for one in changes if not all(_is_number(value) for value in (one.before, one.after))]
        named = f"; other than numbers: {', '.join(steps[:4])}" if steps else ""
        raise CaseError(file, "--by number", f"asks for two cases that differ in numbers only, and {reason}{named}", "use --by field")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _side(of: WhatIf, answer: Answer) -> Side:
    if not answer.has_plan:
        return Side(of.name, str(of.path), answer.status, answer.reason, float("nan"), float("nan"))
    value: Value = value_of(answer)
    return Side(of.name, str(of.path), answer.status, answer.reason, value.cost_usd, value.lower_usd)


def _contributions(mixtures: Mixtures, orders: int, seed: int) -> tuple[tuple[Contribution, ...], int]:
    division = divide(mixtures, orders, seed)
    found = []
    for share in division.shares:
        members: list[Group] = [mixtures.groups[k] for k in share.members]
        because = ""
        if len(members) > 1:
            split = [chosen for chosen in mixtures.bad if 0 < len(chosen & set(share.members)) < len(members)]
            because = mixtures.bad[min(split, key=lambda chosen: (len(chosen), sorted(chosen)))] if split else ""
        name = " + ".join(group.name for group in members)
        found.append(Contribution(name, share.usd, share.least_usd, share.most_usd, share.lowest_usd, share.highest_usd, because))
    return tuple(sorted(found, key=lambda one: (-abs(one.usd), one.name))), division.orders


def _amounts(answer: Answer) -> Amounts:
    plan = answer.found.solution.certificate.plan
    assert plan is not None
    return amounts_of(answer.found.built.structure, plan)


def _orders(answer: Answer) -> Any:
    plan = answer.found.solution.certificate.plan
    assert plan is not None
    return acquisitions_table(answer.found.built.structure, plan).frame


class _Steps:
    """How many solves are done of how many that may come."""

    def __init__(self, progress: Progress | None, changes: tuple[Difference, ...], by: str, orders: int, solves: int) -> None:
        count = len(groups(changes, by)) if by != NUMBER else 0
        more = (2**count if count <= MOST_EXACT else 2 + 2 * orders * (count - 1)) if count else 2
        self.progress: Callable[[int, int], None] | None = progress
        self.count, self.all = 0, more if by != NUMBER else 2

    def done(self) -> None:
        self.count += 1
        if self.progress is not None:
            self.progress(min(self.count, self.all), self.all)

    def finish(self) -> None:
        if self.progress is not None:
            self.progress(self.all, self.all)
