"""Declared ranges of uncertain inputs: what a user writes after --range or into a file, and the value at a share of the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.spec import CaseError
from optimizer.spec.yaml_file import read_yaml

DIGITS = 12  # of a value, so that it is the same text wherever it was computed
REMEDY = "write KEY.PATH=lowest:highest, or lowest:highest:log for equal ratios"


@dataclass(frozen=True)
class Range:
    """A number that lies anywhere between two, all equally likely; with `log` its logarithm does."""

    key: str
    lowest: float
    highest: float
    log: bool = False

    def at(self, share: float) -> float:
        """`share` from 0 (lowest) to 1 (highest)."""
        if self.log:
            value = self.lowest * (self.highest / self.lowest) ** share
        else:
            value = self.lowest + (self.highest - self.lowest) * share
        return float(f"{value:.{DIGITS}g}")


def read_ranges(texts: Iterable[str]) -> list[Range]:
    """Of options such as `offers.buy.price_usd_per_chip=30000:50000`. Raises CaseError."""
    found = []
    for text in texts:
        key, equals, ends = text.partition("=")
        parts = [part.strip() for part in ends.split(":")]
        if not equals or not key.strip() or len(parts) not in (2, 3):
            raise CaseError("--range", text, "is not KEY.PATH=lowest:highest", REMEDY)
        if len(parts) == 3 and parts[2] != "log":
            raise CaseError("--range", key.strip(), f"ends in `{parts[2]}`", REMEDY)
        found.append(_range("--range", key.strip(), [_number("--range", key.strip(), part) for part in parts[:2]], len(parts) == 3))
    return found


def read_ranges_file(path: str | Path) -> list[Range]:
    """Of a YAML file with a line `KEY.PATH: [lowest, highest]` per input, or `[lowest, highest, log]`. Raises CaseError."""
    file, found = str(path), []
    for key, ends in read_yaml(Path(path)).data.items():
        log = isinstance(ends, list) and len(ends) == 3 and ends[2] == "log"
        if not isinstance(ends, list) or len(ends) != (3 if log else 2):
            raise CaseError(file, key, "is no range", "write [lowest, highest], or [lowest, highest, log] for equal ratios")
        found.append(_range(file, key, [_number(file, key, end) for end in ends[:2]], log))
    return found


def checked_ranges(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Raises CaseError: none, a field twice."""
    if not ranges:
        raise CaseError("rank", "--range", "names no input", REMEDY)
    keys = [one.key for one in ranges]
    for key in keys:
        if keys.count(key) > 1:
            raise CaseError("rank", key, "has two ranges", "give one")
    return tuple(_range("rank", one.key, [one.lowest, one.highest], one.log) for one in ranges)


def _number(file: str, key: str, value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise CaseError(file, key, f"has the end `{value}`, which is no finite number", REMEDY)
    return number


def _range(file: str, key: str, ends: Sequence[float], log: bool) -> Range:
    lowest, highest = ends
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise CaseError(file, key, "has an end that is not finite", REMEDY)
    if not lowest < highest:
        raise CaseError(file, key, f"is the empty range {lowest:g}:{highest:g}", "give a lowest below the highest")
    if log and not lowest > 0:
        raise CaseError(file, key, f"is the range {lowest:g}:{highest:g}, and equal ratios need numbers above zero", "leave out `log`")
    return Range(key, lowest, highest, log)
