"""Second builder, part one: from the YAML file and the catalog's files to plain dictionaries, dates and numbers.

Shares no code with the product: only docs/case_reference.md is common to both.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
from pathlib import Path
from typing import Any

import yaml

Map = dict[str, Any]
MONTHS_PER_PERIOD = {"month": 1, "quarter": 3, "year": 12}


class CaseError(ValueError):
    """The case cannot be read as the reference page says."""


def number(value: Any) -> float:
    """A finite float; YAML 1.1 reads 1e6 (without a dot) as a string, which is converted here."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise CaseError(f"not a number: {value!r}")
    result = float(value)
    if not math.isfinite(result):
        raise CaseError(f"not finite: {value!r}")
    return result


def to_date(value: Any) -> dt.date:
    """A date from YAML (already a date) or from text."""
    if isinstance(value, dt.date):
        return value
    return dt.date.fromisoformat(str(value))


def add_months(day: dt.date, months: int) -> dt.date:
    """Calendar months; every date this is used on is the first day of a month."""
    if day.day != 1:
        raise CaseError(f"not the first day of a month: {day}")
    count = day.year * 12 + (day.month - 1) + months
    return dt.date(count // 12, count % 12 + 1, 1)


def merge(base: Map, child: Map) -> Map:
    """Maps merge key by key, lists and scalars replace, null removes the key."""
    result = dict(base)
    for key, value in child.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def read_case(path: Path) -> Map:
    """The case with all of its `extends` merged; `catalog` becomes absolute, relative to the file that states it."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if data.get("catalog") is not None:
        data["catalog"] = str((path.parent / data["catalog"]).resolve())
    parent = data.pop("extends", None)
    if parent is None:
        return merge({}, data)
    return merge(read_case(path.parent / parent), data)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of one catalog table, blanks kept as empty strings."""
    with path.open(encoding="utf-8", newline="") as handle:
        return [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in csv.DictReader(handle)]


def read_catalog(folder: Path) -> Map:
    """All tables of the catalog directory."""
    return {
        "chips": yaml.safe_load((folder / "chips.yaml").read_text(encoding="utf-8"))["chips"],
        "models": yaml.safe_load((folder / "models.yaml").read_text(encoding="utf-8"))["models"],
        "regions": yaml.safe_load((folder / "regions.yaml").read_text(encoding="utf-8"))["regions"],
        "prices": read_csv(folder / "prices.csv"),
        "network": read_csv(folder / "network.csv"),
        "throughput": read_csv(folder / "throughput.csv"),
        "electricity": read_csv(folder / "electricity.csv"),
    }


def catalog_price(catalog: Map, chip: str, region: str, kind: str, column: str) -> float:
    """The price of the row (chip, region, kind); a blank or zero price is missing."""
    for row in catalog["prices"]:
        if row["chip"] == chip and row["region"] == region and row["kind"] == kind and row[column] != "":
            price = number(row[column])
            if price > 0:
                return price
    raise CaseError(f"no {column} in the catalog for {chip}, {region}, {kind}")


def catalog_electricity(catalog: Map, place: str) -> float:
    """Dollars per MWh of one row of the electricity table."""
    for row in catalog["electricity"]:
        if row["place"] == place:
            return number(row["usd_per_mwh"])
    raise CaseError(f"no electricity price in the catalog for {place}")


def catalog_rtt(catalog: Map, one: str, other: str) -> float:
    """Round trip in milliseconds between two network locations, either order; itself: its own row or 1 ms."""
    for row in catalog["network"]:
        if row["from"] == one and row["to"] == other:
            return number(row["rtt_ms"])
    for row in catalog["network"]:
        if row["from"] == other and row["to"] == one:
            return number(row["rtt_ms"])
    if one == other:
        return 1.0
    raise CaseError(f"no round trip in the catalog between {one} and {other}")


class Calendar:
    """The periods of the horizon: first days, day counts, years."""

    def __init__(self, horizon: Map) -> None:
        months = MONTHS_PER_PERIOD[horizon["period"]]
        self.start = to_date(horizon["start"])
        self.count = int(horizon["periods"])
        self.first_day = [add_months(self.start, months * t) for t in range(self.count + 1)]
        self.end = self.first_day[self.count]
        self.offset = [(day - self.start).days for day in self.first_day]  # days from the start of the horizon
        self.days = [self.offset[t + 1] - self.offset[t] for t in range(self.count)]
        self.middle = [self.offset[t] + self.days[t] / 2 for t in range(self.count)]

    def years(self, day: dt.date) -> float:
        """Years of 365.25 days from the start of the horizon."""
        return (day - self.start).days / 365.25

    def start_years(self, t: int) -> float:
        """Start of a period, in years."""
        return self.offset[t] / 365.25

    def middle_years(self, t: int) -> float:
        """Middle of a period, in years."""
        return self.middle[t] / 365.25

    def period_of(self, day: dt.date) -> int:
        """The period that contains a date."""
        for t in range(self.count):
            if self.first_day[t] <= day < self.first_day[t + 1]:
                return t
        raise CaseError(f"{day} is outside the horizon")

    def overlap(self, t: int, begin: dt.date | None, end: dt.date) -> int:
        """Days of period t inside [begin, min(end, horizon end))."""
        low = self.offset[t] if begin is None else max(self.offset[t], (begin - self.start).days)
        high = min(self.offset[t + 1], (end - self.start).days)
        return max(0, high - low)

    def holds_whole(self, t: int, begin: dt.date | None, end: dt.date) -> bool:
        """Period t lies wholly inside [begin, end)."""
        return (begin is None or self.first_day[t] >= begin) and self.first_day[t + 1] <= end


def path_at(spec: Any, calendar: Calendar, growth_day: float, period: int, date_day: float) -> float:
    """A Path where each form may look at its own instant (days from the horizon's start)."""
    if not isinstance(spec, dict):
        return number(spec)
    if "by_period" in spec:
        if len(spec["by_period"]) != calendar.count or len(spec) != 1:
            raise CaseError("by_period needs one entry per period and nothing else")
        return number(spec["by_period"][period])
    if "by_date" in spec:
        if len(spec) != 1:
            raise CaseError("by_date stands alone")
        value = None
        last = None
        for step in spec["by_date"]:
            begin = to_date(step["from"])
            if last is not None and begin <= last:
                raise CaseError("by_date must ascend")
            last = begin
            if (begin - calendar.start).days <= date_day:
                value = number(step["value"])
        if value is None:
            raise CaseError("by_date begins after the horizon")
        return value
    if set(spec) != {"start", "growth_per_year"}:
        raise CaseError(f"not a path: {spec!r}")
    growth = number(spec["growth_per_year"])
    if growth <= -1:
        raise CaseError("growth must exceed -1")
    return number(spec["start"]) * (1.0 + growth) ** (growth_day / 365.25)


def path_middle(spec: Any, calendar: Calendar, t: int) -> float:
    """A Path at the middle of period t."""
    return path_at(spec, calendar, calendar.middle[t], t, calendar.middle[t])


def path_signing(spec: Any, calendar: Calendar, t: int) -> float:
    """A Path at the first day of period t."""
    return path_at(spec, calendar, calendar.offset[t], t, calendar.offset[t])


def path_level(spec: Any, calendar: Calendar, t: int, level: str) -> float:
    """A Path at a workload's level: the middle of the period, or its end."""
    if level == "mid":
        return path_middle(spec, calendar, t)
    if level == "end":
        return path_at(spec, calendar, calendar.offset[t + 1], t, calendar.offset[t + 1] - 1)
    raise CaseError(f"level {level!r}")


def path_least(spec: Any, calendar: Calendar, t: int) -> float:
    """The least of the value on the first day of period t and of every step that starts inside it."""
    least = path_signing(spec, calendar, t)
    if isinstance(spec, dict) and "by_date" in spec:
        for step in spec["by_date"]:
            day = (to_date(step["from"]) - calendar.start).days
            if calendar.offset[t] < day < calendar.offset[t + 1]:
                least = min(least, number(step["value"]))
    return least


def read_blocks(spec: Map) -> dict[str, list[tuple[int, int]]]:
    """The (weekday, UTC hour) cells of each block; weekday 0 is Monday."""
    blocks: dict[str, list[tuple[int, int]]] = {}
    seen: set[tuple[int, int]] = set()
    for name, block in spec.items():
        weekdays = {"all": range(7), "weekdays": range(5), "weekend": range(5, 7)}[block.get("days", "all")]
        cells = [(weekday, int(hour)) for weekday in weekdays for hour in block["utc_hours"]]
        for cell in cells:
            if cell in seen or not 0 <= cell[1] <= 23:
                raise CaseError(f"hour {cell} twice or outside the day")
            seen.add(cell)
        blocks[name] = cells
    if len(seen) != 168:
        raise CaseError(f"the blocks hold {len(seen)} of 168 hours")
    return blocks


def profile_mean(profile: Map | None, utc_offset: int, cells: list[tuple[int, int]]) -> float:
    """Mean of a local-time curve over a block's UTC cells, divided by its mean over the week."""
    if profile is None:
        return 1.0
    weekend = number(profile.get("weekend_factor", 1))
    curve: list[float] = []
    for cell in range(168):
        curve.append(number(profile["local_hours"][cell % 24]) * (weekend if cell >= 120 else 1.0))
    mean = sum(curve) / 168.0
    total = 0.0
    for weekday, hour in cells:
        total += curve[(24 * weekday + hour + utc_offset) % 168]
    return total / len(cells) / mean
