"""break_even(case): the values of a field at which a stated decision of the best plan flips.

A coarse grid of certified plans, then bisection between neighbours that decide otherwise, down to a tolerance. What comes out is a bracket
of the field for every flip: the last value before and the first value after it, each with the certified plan that decides so. Between
neighbours on the grid that decide alike nothing is claimed: two flips between them would be missed.

A decision is that of the certified plan. Where several plans cost the same within the gap another one may decide otherwise, which is so at
every flip; that is why the answer is a bracket, and why the plans are certified to a small gap (GAP). Of an offer it is also certified at
both ends what the best plan would cost more without it: surely more than nothing means that every best plan uses it, and at most a few
gaps that it can be done without.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.analysis.decisions import LEAST, Decision, decision
from optimizer.analysis.flip_search import INVALID, Count, FieldRange, Flip, Point, Progress, Search, Value
from optimizer.analysis.what_if import WhatIf
from optimizer.settings import Settings
from optimizer.spec import CaseError, load_case
from optimizer.sweep_fields import Fields

GAP = 1e-8
POINTS = 9
TOLERANCE = 1e-4


@dataclass(frozen=True)
class BreakEven:
    """`points` are all what-ifs, by value of the second field (None without one), then value. `own_value`, `own_against`: the case's own,
    None where it is no number."""

    case_name: str
    case_file: str
    range: FieldRange
    whole_numbers: bool
    own_value: Value | None
    against_field: str | None
    own_against: Any
    decisions: tuple[Decision, ...]
    flips: tuple[Flip, ...]
    points: tuple[Point, ...]
    grid_points: int
    tolerance: float
    least: float
    solves: int
    settings: Settings

    @property
    def exit_code(self) -> int:
        """0 where every point is CERTIFIED or proven INFEASIBLE, 1 where some FAILED or are INVALID, else 3."""
        statuses = {point.status for point in self.points}
        if statuses & {"FAILED", INVALID}:
            return 1
        return 3 if statuses - {"CERTIFIED", "INFEASIBLE"} else 0

    def of(self, decision: Decision, against: Any = None) -> list[Flip]:
        return [flip for flip in self.flips if flip.decision == decision and flip.against == against]


def break_even(
    case: str | Path,
    field: FieldRange | tuple[str, Value, Value],
    when: str | Sequence[str],
    settings: Settings | None = None,
    *,
    against: tuple[str, Sequence[Any]] | None = None,
    points: int = POINTS,
    tolerance: float = TOLERANCE,
    least: float = LEAST,
    progress: Progress | None = None,
) -> BreakEven:
    """Every flip of the decisions `when` (see `optimizer.analysis.decisions`) along a field, ("offers.buy.price_usd_per_chip", 20e3, 60e3),
    and for every value of a second field `against`. Of several decisions the plans are shared.

    `tolerance`: width of a bracket relative to the field; `least`: the share of the chip-hours above which an offer is used. The usual gap
    is GAP. Raises CaseError before anything is solved for a case, a field, a range or a decision that cannot be used.
    """
    what_if = WhatIf(case, settings or Settings(gap_relative=GAP))
    file = str(what_if.path)
    at = field if isinstance(field, FieldRange) else FieldRange(*field)
    _check(file, at, points, tolerance)
    key, values = against if against is not None else (None, (None,))
    if key == at.field:
        raise CaseError(file, "--against", f"{key} is the field along which flips are looked for", "name another field, or leave it out")
    fields = Fields(what_if.document, [at.field] if key is None else [at.field, key])
    _numeric(what_if, fields, at.field)
    rows = [{} if key is None else {key: value} for value in values]
    if not rows:
        raise CaseError(file, "--against", f"{key} has no values", "give at least one")
    for row in rows:
        for end in (at.lowest, at.highest):
            load_case(what_if.path, fields.overrides({at.field: end, **row}))
    offers = load_case(what_if.path).offers
    decisions = tuple(decision(text, file, offers, least) for text in dict.fromkeys([when] if isinstance(when, str) else when))
    if not decisions:
        raise CaseError(file, "--when", "names no decision", "write --when own_share=0.4")
    whole = _whole_numbers(what_if, fields, at, rows[0])
    own, own_against = (_own(fields, name) for name in (at.field, key))
    searches, flips = [], []
    for number, row in enumerate(rows):
        search = Search(what_if, at, row, decisions, points, tolerance, whole, own, Count(progress, number, len(rows)))
        searches.append(search)
        flips += search.flips()
    return BreakEven(
        what_if.name, file, at, whole, own, key, own_against, decisions, tuple(flips),
        tuple(point for search in searches for point in search.points()), points, tolerance, least,
        what_if.solves, what_if.settings,
    )  # fmt: skip


# what the user wrote --------------------------------------------------------------------------------------------------------------
def _check(file: str, at: FieldRange, points: int, tolerance: float) -> None:
    if any(not _is_number(end) or not math.isfinite(end) for end in (at.lowest, at.highest)):
        raise CaseError(file, at.field, f"has the range {at.lowest}:{at.highest}", "give two finite numbers, lowest:highest")
    if not at.lowest < at.highest:
        problem = f"has the range {at.lowest:g}:{at.highest:g}, which is empty"
        raise CaseError(file, at.field, problem, "give the lowest value first, then a higher one")
    if at.ratios and not at.lowest > 0:
        raise CaseError(file, at.field, f"has the range {at.lowest:g}:{at.highest:g}:log", "equal ratios need numbers above zero")
    if points < 2:
        raise CaseError(file, "--points", f"is {points}", "ask for 2 or more values on the grid")
    if not 1e-9 <= tolerance < 1:
        raise CaseError(file, "--tolerance", f"is {tolerance:g}", "give a relative width from 1e-9 to below 1, such as 1e-4")


def _numeric(what_if: WhatIf, fields: Fields, name: str) -> None:
    """A field that holds no number cannot be halved; `catalog` stands for a number, a path over time is replaced by one."""
    value = _written(fields, name)
    if value is None or value == "catalog" or isinstance(value, Mapping) or _is_number(value):
        return
    said = "a list" if isinstance(value, list) else f"`{value}`"
    raise CaseError(str(what_if.path), name, f"is {said} and not a number", "name a numeric field, or try values with `capacity sweep`")


def _written(fields: Fields, name: str) -> Any:
    value: Any = fields.document.data
    for step in fields.location[name]:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list):
            value = value[int(step)]
        else:
            return None
    return copy.copy(value)


def _own(fields: Fields, name: str | None) -> Any:
    """What the case itself says, where that is a number."""
    value = None if name is None else _written(fields, name)
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole_numbers(what_if: WhatIf, fields: Fields, at: FieldRange, row: Mapping[str, Any]) -> bool:
    """Whether the field takes whole numbers only: one half more than the lowest is refused, and one more is not."""
    if not (isinstance(at.lowest, int) and isinstance(at.highest, int)):
        return False
    try:
        load_case(what_if.path, fields.overrides({at.field: at.lowest + 0.5, **row}))
    except CaseError:
        return True
    return False
