"""Gives every number of the file its key path, and checks paths against the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .case_error import CaseError, Document, Location, key_path
from .catalog import Catalog
from .resolved import Horizon, Path, Quantity
from .schema import MONTHS_OF_PERIOD, CaseFile
from .schema_paths import ByDatePath, ByPeriodPath, GrowthPath


@dataclass(frozen=True)
class Source:
    """What a case is resolved from: the file as written, where its values stand, and the catalog."""

    file: CaseFile
    document: Document
    catalog: Catalog

    def error(self, location: Location, problem: str, remedy: str) -> CaseError:
        return self.document.error(location, problem, remedy)

    @property
    def horizon(self) -> Horizon:
        written = self.file.horizon
        return Horizon(written.start, written.periods, MONTHS_OF_PERIOD[written.period])

    def path(self, value: Any, location: Location, assumed: bool = False) -> Path:
        """The path of a validated field. Raises CaseError: by_period of a wrong length, by_date that begins too late."""
        if isinstance(value, GrowthPath):
            start = quantity(value.start, (*location, "start"), assumed)
            return Path("growth", (start, quantity(value.growth_per_year, (*location, "growth_per_year"), assumed)))
        if isinstance(value, ByPeriodPath):
            return self._by_period(value.by_period, (*location, "by_period"), assumed)
        if isinstance(value, ByDatePath):
            return self._by_date(value, (*location, "by_date"), assumed)
        return Path("constant", (quantity(value, location, assumed),))

    def optional_path(self, value: Any, location: Location, assumed: bool = False) -> Path | None:
        return None if value is None else self.path(value, location, assumed)

    def _by_period(self, values: list[float], location: Location, assumed: bool) -> Path:
        periods = self.file.horizon.periods
        if len(values) != periods:
            raise self.error(location, f"has {len(values)} values for {periods} periods", f"write exactly {periods}, one for each period")
        return Path("by_period", tuple(quantity(v, (*location, t), assumed) for t, v in enumerate(values)))

    def _by_date(self, value: ByDatePath[Any], location: Location, assumed: bool) -> Path:
        start = self.file.horizon.start
        if value.by_date[0].from_ > start:
            raise self.error(
                (*location, 0, "from"), f"{value.by_date[0].from_} is after the horizon start", f"begin with a step from {start} or earlier"
            )
        values = tuple(quantity(step.value, (*location, n, "value"), assumed) for n, step in enumerate(value.by_date))
        return Path("by_date", values, tuple(step.from_ for step in value.by_date))

    def number(self, field: str) -> Quantity:
        """A number at the top level of the file."""
        return quantity(getattr(self.file, field), (field,))

    @staticmethod
    def constant(value: Quantity) -> Path:
        return Path("constant", (value,))


def quantity(value: float, location: Location, assumed: bool = False) -> Quantity:
    return Quantity(float(value), key_path(location), assumed)


def optional_quantity(value: float | None, location: Location, assumed: bool = False) -> Quantity | None:
    return None if value is None else quantity(value, location, assumed)
