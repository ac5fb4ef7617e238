"""WhatIf(case): certified best plans of one case with some of its fields changed, each solved once.

Every analysis that asks "and if?" (deals, break-even, frontiers, goals, rankings of inputs) asks here. A field is changed as a sweep
changes it: the value is laid on the case file and read by the same code, so that it may be a date, a name or a list as well as a number.
Programs of one form start from each other's early states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optimizer.build.build import Built
from optimizer.plan import Solved, build, solved
from optimizer.program.certificate import Status
from optimizer.report.files import plain
from optimizer.report.sweep_row import sweep_row
from optimizer.settings import Settings
from optimizer.solve import Neighbours
from optimizer.spec import load_case
from optimizer.spec.extends import read_case_file
from optimizer.spec.resolved import Case
from optimizer.sweep_fields import Fields

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class Answer:
    """The certified best plan at one point; dollars of expected present value. `lower_bound_usd` bounds the cost with the spare replicas as
    they are. Without a plan (`has_plan`) both are NaN, or infinite where limits clash."""

    point: Mapping[str, Any]
    found: Solved

    @property
    def status(self) -> str:
        return self.found.solution.status.name

    @property
    def has_plan(self) -> bool:
        """Whether there is a plan with a bracket around the best cost: CERTIFIED, or FEASIBLE with a stated gap."""
        known = self.found.solution.status in (Status.CERTIFIED, Status.FEASIBLE)
        return known and self.found.solution.certificate.plan is not None and math.isfinite(self.lower_bound_usd)

    @property
    def cost_usd(self) -> float:
        return self.found.solution.certificate.objective

    @property
    def lower_bound_usd(self) -> float:
        return self.found.solution.certificate.lower_bound if self.found.true is None else self.found.true[0]

    @property
    def reason(self) -> str:
        return str(self.row.get("reason", ""))

    @cached_property
    def row(self) -> dict[str, Any]:
        """What a row of a sweep says: status, cost by category, shares of the compute by kind of offer."""
        return sweep_row(*self.found)


class WhatIf:
    """Answers about one case. Raises CaseError for a case that cannot be used."""

    def __init__(self, case: str | Path, settings: Settings | None = None) -> None:
        self.path = Path(case)
        self.settings = replace(settings or Settings(), progress=False, checkpoint=None)
        self.document = read_case_file(self.path)
        self.solves = 0
        self._known: dict[str, Answer] = {}
        self._neighbours = Neighbours()

    @property
    def name(self) -> str:
        return str(self.document.data.get("name", self.path.stem))

    def read(self, point: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None) -> Case:
        """The case with these fields changed, read and checked but not built; see `built`."""
        fields = Fields(self.document, list(point or {}))
        return load_case(self.path, _merged(fields.overrides(dict(point or {})), more or {}))

    def built(self, point: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None) -> Built:
        """The case with these fields changed; `more` is laid on the file after them as if a file extended it (a further limit, an offer
        that is taken out: None removes a key). Raises CaseError for a key path that names no field, and for a value that cannot be."""
        return build(self.read(point, more))

    def at(self, point: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None) -> Answer:
        """The best plan with these fields changed ({key path: value}). Raises CaseError as `built` does; what has no plan is an Answer."""
        key = json.dumps(plain([dict(point or {}), more or {}]), sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = self.of(self.built(point, more), point)
        return self._known[key]

    def of(self, built: Built, point: Mapping[str, Any] | None = None) -> Answer:
        """The best plan of a case that the caller built or changed."""
        self.solves += 1
        return Answer(dict(point or {}), solved(built, self.settings, self._neighbours))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        found[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found
