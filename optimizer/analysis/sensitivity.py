"""sensitivity(case): what every number of a case is worth, and the largest ones checked by certified re-solves to both sides."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from optimizer.analysis.field_gradient import FieldGradient, field_gradient, moved
from optimizer.analysis.field_units import allowed, is_point, natural_step
from optimizer.analysis.moved_program import added_lines, moved_program
from optimizer.analysis.what_if import Progress
from optimizer.build.build import Built
from optimizer.plan import CaseOrPath, build, load, solved
from optimizer.program.certificate import Certificate, Status
from optimizer.program.program import Program, ProgramError
from optimizer.settings import Settings
from optimizer.solve import Neighbours, solve
from optimizer.spec import CaseError
from optimizer.spec.resolved import Case

if TYPE_CHECKING:
    import pandas as pd

Resolve = Callable[[Program], Certificate]
"""A certified solve of a moved program."""

STEP = 0.01
BENDS = 0.05  # the two sides differ by more than this share of the larger: one number does not tell both
CLOSE = 1e-5
DIGITS = 9  # of a field's dollars: what is worth as much stands by name, whatever the rounding
RESOLVED = 0.01  # of the derivative: where the gaps of the re-solves allow more, the comparison says nothing


@dataclass(frozen=True)
class Side:
    """One step to one side, certified: what the optimal cost changes by, per unit of the field, between `least` and `most`."""

    step: float
    status: str
    change_usd: float
    least: float
    most: float

    @property
    def known(self) -> bool:
        return math.isfinite(self.least) and math.isfinite(self.most)


@dataclass(frozen=True)
class Worth:
    """One field. `derivative_usd` is per unit; `alone` is False where its siblings are rescaled with it (shares, probabilities)."""

    key: str
    value: float
    derivative_usd: float
    natural_step: float
    natural_unit: str
    assumed: bool
    alone: bool
    left: Side | None = None
    right: Side | None = None

    @property
    def usd_per_percent(self) -> float:
        return 0.01 * self.value * self.derivative_usd

    @property
    def usd_per_natural_step(self) -> float:
        return self.natural_step * self.derivative_usd

    @property
    def rank(self) -> float:
        """Dollars of one per cent; of a share or rate at zero, of one point."""
        size = self.usd_per_natural_step if self.value == 0 and is_point(self.key) else self.usd_per_percent
        return abs(size) if math.isfinite(size) else -1.0

    @property
    def mark(self) -> str:
        """What the re-solves say; '' where none were made.

        agrees        the derivative lies between their quotients
        curves        just outside of them: it is that of the point, and changes on the way of the step
        bends         left and right differ by more than BENDS
        differs       far outside: neither plan nor prices are unique, and the quotients are what counts
        not resolved  the gaps of the re-solves allow more than RESOLVED of it
        one side      there is a certified plan to one side only, or to none
        """
        sides = [s for s in (self.left, self.right) if s is not None]
        if not sides:
            return ""
        known = [s for s in sides if s.known]
        if len(known) < 2:
            return "one side"
        width = max(s.most - s.least for s in known)
        if width / 2 > RESOLVED * max(abs(self.derivative_usd), *(abs(s.least + s.most) / 2 for s in known)):
            return "not resolved"
        left, right = ((s.least + s.most) / 2 for s in known)
        if abs(right - left) - width > BENDS * max(abs(left), abs(right)):
            return "bends"
        low, high = min(s.least for s in known), max(s.most for s in known)
        room = CLOSE * max(abs(low), abs(high))
        if low - room <= self.derivative_usd <= high + room:
            return "agrees"
        room = BENDS * max(abs(low), abs(high))
        return "curves" if low - room <= self.derivative_usd <= high + room else "differs"


@dataclass(frozen=True)
class Sensitivity:
    """`fields` by rank (equal ones by name), every number that the plan's cost depends on; `certificate` is that of the plan."""

    case_name: str
    case_file: str
    certificate: Certificate
    fields: tuple[Worth, ...]
    step: float
    settings: Settings

    @property
    def exit_code(self) -> int:
        return self.certificate.exit_code

    @property
    def table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame([row_of(worth) for worth in self.fields])


def row_of(worth: Worth) -> dict[str, Any]:
    """A field as a row; absent sides are NaN."""
    row: dict[str, Any] = {
        "field": worth.key, "value": worth.value, "usd_per_percent": worth.usd_per_percent, "derivative_usd_per_unit": worth.derivative_usd,
        "natural_step": worth.natural_step, "natural_unit": worth.natural_unit, "usd_per_natural_step": worth.usd_per_natural_step,
        "assumed": worth.assumed, "siblings_rescaled": not worth.alone, "mark": worth.mark,
    }  # fmt: skip
    for name, side in (("left", worth.left), ("right", worth.right)):
        for what in ("step", "change_usd", "least", "most"):
            row[f"{name}_{what}"] = math.nan if side is None else getattr(side, what)
    return row


def sensitivity(
    case: CaseOrPath,
    settings: Settings | None = None,
    *,
    checked: int = 5,
    fields: Sequence[str] = (),
    step: float = STEP,
    progress: Progress | None = None,
    resolve: Resolve | None = None,
) -> Sensitivity:
    """The derivative of the optimal cost with respect to every number of the case and of the catalog rows it uses.

    The `checked` fields that are worth most per cent, and all of `fields`, are re-solved at `step` (relative; of a share or rate at zero,
    absolute) to both sides, certified: by this solver, or by `resolve`, which is asked for the case as it is first. Raises CaseError for a
    case that cannot be used and a field that does not exist.
    """
    settings = settings or Settings()
    if not 0 < step < 1:
        raise CaseError("sensitivity", "step", f"is {step:g}", "give a relative step between 0 and 1, such as 0.01")
    if checked < 0:
        raise CaseError("sensitivity", "checked", f"is {checked}", "give how many fields to re-solve, 0 or more")
    case = case if isinstance(case, Case) else load(case)
    built = build(case)
    wanted = [_position(case, built, name) for name in fields]
    found = solved(built, settings)
    c = found.solution.certificate
    if c.plan is None or c.multipliers is None or c.status not in (Status.CERTIFIED, Status.FEASIBLE):
        return Sensitivity(case.name, str(case.file), c, (), step, settings)
    gradient = field_gradient(found.built, c.plan, c.multipliers)
    worths = [_worth(gradient, built, i) for i in range(len(gradient.keys))]
    order = sorted(range(len(worths)), key=lambda i: (-float(f"{worths[i].rank:.{DIGITS}g}"), worths[i].key))
    chosen = list(dict.fromkeys([*[i for i in order if worths[i].rank > 0][:checked], *wanted]))
    lines, here = added_lines(found.built), c
    if resolve is None:
        resolve = _own_solves(settings)
    elif chosen:
        here = resolve(found.built.program)
    sides = partial(_side, found.built, lines, resolve, here, gradient)
    for done, i in enumerate(chosen):
        if progress is not None:
            progress(2 * done, 2 * len(chosen))
        right = sides(i, _step_of(worths[i], step))
        if progress is not None:
            progress(2 * done + 1, 2 * len(chosen))
        left = sides(i, -_step_of(worths[i], step))
        worths[i] = replace(worths[i], left=left, right=right)
    if progress is not None and chosen:
        progress(2 * len(chosen), 2 * len(chosen))
    return Sensitivity(case.name, str(case.file), c, tuple(worths[i] for i in order), step, settings)


def _own_solves(settings: Settings) -> Resolve:
    neighbours = Neighbours()
    return lambda program: solve(program, settings, neighbours).certificate


def _worth(gradient: FieldGradient, built: Built, i: int) -> Worth:
    key = gradient.keys[i]
    natural, unit = natural_step(key)
    return Worth(
        key, float(gradient.values[i]), float(gradient.derivative[i]), natural, unit, bool(built.parameters.assumed[i]),
        bool(gradient.alone[i]),
    )  # fmt: skip


def _step_of(worth: Worth, step: float) -> float:
    if worth.value != 0:
        return step * abs(worth.value)
    return step if is_point(worth.key) else step * worth.natural_step


def _side(
    built: Built, lines: dict[str, Any], resolve: Resolve, here: Certificate, gradient: FieldGradient, i: int, by: float
) -> Side:
    """The certified difference quotient for one step; NaN where there is no plan at the moved number, or no such number."""
    theta = moved(gradient.values, gradient.keys, i, by)
    nothing = Side(by, "INVALID", math.nan, math.nan, math.nan)
    low, high = allowed(gradient.keys[i])
    if not low <= theta[i] <= high:
        return nothing
    try:
        program = moved_program(built, theta, lines)
    except ProgramError:
        return nothing
    there = resolve(program)
    if there.plan is None or there.status not in (Status.CERTIFIED, Status.FEASIBLE):
        return replace(nothing, status=there.status.name)
    ends = (there.lower_bound - here.objective) / by, (there.objective - here.lower_bound) / by
    return Side(by, there.status.name, there.objective - here.objective, min(ends), max(ends))


def _position(case: Case, built: Built, name: str) -> int:
    """Raises CaseError with the nearest names."""
    if name in built.parameters:
        return built.parameters.index(name)
    near = [key for key in built.parameters.keys if key.endswith(f".{name}") or key.startswith(f"{name}.")]
    near += difflib.get_close_matches(name, built.parameters.keys, 3, 0.6) or difflib.get_close_matches(name, built.parameters.keys, 3, 0.4)
    names = ", ".join(f"`{key}`" for key in list(dict.fromkeys(near))[:3])
    remedy = f"the nearest are {names}" if names else "leave --field out to see all fields"
    what = "is no number that the cost depends on smoothly (dates, names and edges of eligibility are steps: vary them with a sweep)"
    raise CaseError(str(case.file), name, what, remedy)
