"""The points of a sweep: what the user writes after `--vary` or into a table, as values of fields.

Values are read as in a case file (`1e6`, `2027-01-01`, `true`, a text, `[1, 2]`, null), by the same reader.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.spec import CaseError
from optimizer.spec.yaml_file import parse_yaml

MOST_POINTS = 100_000
DIGITS = 12  # of a value inside a range: 0.1:0.5:5 holds 0.3 and not 0.30000000000000004
_RANGE = re.compile(r"\s*([^:,\[\]{}'\"]+):([^:,]+):([^:,]*?)(?::(log))?\s*")

Point = dict[str, Any]
"""Key path -> value."""


def read_vary(texts: Iterable[str], option: str = "--vary", name: str = "KEY.PATH") -> dict[str, list[Any]]:
    """Values by key path of options such as `sites.texas.power_mw=6,12` or `sites.texas.power_mw=6:12:4` (lowest, highest, how many; a
    further `:log` makes equal ratios). `option`, `name`: what an error calls them. Raises CaseError."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise CaseError(option, text, f"is not {name}=VALUES", f"write {name}=v1,v2,v3 or {name}=lowest:highest:count")
        if key in found:
            raise CaseError(option, key, "is varied twice", f"write all its values after one {option}")
        found[key] = _values(option, key, values)
    return found


def grid(vary: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Every combination, the last field changing fastest. Raises CaseError: nothing to vary, or too many points."""
    if not vary:
        raise CaseError("sweep", "vary", "names no field", "give at least one field with its values")
    for key, values in vary.items():
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise CaseError("sweep", str(key), "is not given a list of values", "give a list, such as [1, 2, 3]")
    lists = {str(key): list(values) for key, values in vary.items()}
    for key, values in lists.items():
        if not values:
            raise CaseError("sweep", key, "has no values", "give at least one")
    _not_too_many(math.prod(len(values) for values in lists.values()))
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def read_points(path: str | Path) -> list[Point]:
    """The rows of a CSV file with a column per field. Raises CaseError."""
    file = str(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CaseError(file, "", f"cannot be read ({told})", "give a CSV file with a column per field and a row per point") from error
    if not rows:
        raise CaseError(file, "", "is empty", "write a header of key paths and a row per point")
    header = [cell.strip() for cell in rows[0]]
    for column, key in enumerate(header):
        if not key:
            raise CaseError(file, f"column {column + 1}", "has no name", "write the key path of a field of the case")
        if header.index(key) != column:
            raise CaseError(file, key, "stands twice in the header", "keep one column per field")
    if len(rows) == 1:
        raise CaseError(file, "", "has a header and no rows", "write a row per point")
    _not_too_many(len(rows) - 1)
    points = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise CaseError(file, f"row {number}", f"has {len(row)} cells and the header {len(header)}", "give every field a value")
        points.append({key: _cell(file, f"row {number} {key}", cell) for key, cell in zip(header, row, strict=True)})
    return points


def told(value: Any) -> str:
    """A value as a table shows it: as it could be written in a case file."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {told(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(told(item) for item in value) + "]"
    return str(value)


def _values(option: str, key: str, text: str) -> list[Any]:
    found = _RANGE.fullmatch(text)
    if found is not None and _looks_like_number(found[1]) and _looks_like_number(found[2]):
        return _range(option, key, text, found)
    if not text.strip():
        raise CaseError(option, key, "has no values", "write KEY.PATH=v1,v2,v3 or KEY.PATH=lowest:highest:count")
    values = _parsed(option, key, f"values: [{text}]")["values"]
    if not isinstance(values, list) or not values:
        raise CaseError(option, key, f"has the values `{text}`, which are no list", "write KEY.PATH=v1,v2,v3")
    return values


def _range(option: str, key: str, text: str, found: re.Match[str]) -> list[Any]:
    low, high = float(found[1]), float(found[2])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CaseError(option, key, f"is the range {text}, whose ends are not finite", "write lowest:highest:count with finite numbers")
    count = found[3].strip()
    if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= MOST_POINTS:
        remedy = f"write lowest:highest:count with a count from 1 to {MOST_POINTS}"
        raise CaseError(option, key, f"is the range {text}, whose count is `{count}`", remedy)
    steps = int(count) - 1
    if low > high:
        raise CaseError(option, key, f"is the range {text}, whose lowest is above its highest", "write lowest:highest:count")
    if steps == 0 and low != high:
        raise CaseError(option, key, f"is the range {text}, which asks for one value", "ask for 2 or more, or write the value alone")
    if found[4] and not low > 0:
        raise CaseError(option, key, f"is the range {text}, and equal ratios need numbers above zero", "leave out `:log`")
    if found[4]:
        values = [low * (high / low) ** (k / max(steps, 1)) for k in range(steps + 1)]
    else:
        values = [low + (high - low) * (k / max(steps, 1)) for k in range(steps + 1)]
    values = [float(f"{value:.{DIGITS}g}") for value in [*values[:-1], high]]
    whole = all("." not in end and "e" not in end.lower() for end in (found[1], found[2]))
    return [int(value) for value in values] if whole and all(value.is_integer() for value in values) else values


def _looks_like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(file: str, key: str, text: str) -> Any:
    if not text.strip():
        raise CaseError(file, key, "is blank", "write a value; null takes the field out of the case")
    return _parsed(file, key, f"value: {text.strip()}")["value"]


def _parsed(file: str, key: str, text: str) -> dict[str, Any]:
    try:
        return parse_yaml(text, file).data
    except CaseError as error:
        raise CaseError(file, key, error.problem, "write values as in a case file, such as 1.5 or 2027-01-01") from error


def _not_too_many(count: int) -> None:
    if count > MOST_POINTS:
        raise CaseError("sweep", "points", f"are {count}", f"ask for at most {MOST_POINTS}")
