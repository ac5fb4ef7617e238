"""The content of a resolved case as a whole: its hash, and that no two different numbers share a key path."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from .quantities import Source
from .resolved import Case, Quantity

_NOT_CONTENT = ("file", "hash", "warnings")


def content_hash(case: Case) -> str:
    """sha256 (64 hexadecimal digits) over canonical JSON of the resolved content; where the files lie does not matter."""
    content = {f.name: _canonical(getattr(case, f.name)) for f in dataclasses.fields(case) if f.name not in _NOT_CONTENT}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_keys(case: Case, source: Source) -> None:
    """Names may hold dots, so two fields can come out with one key path; derivatives per field would then be mixed up.

    Raises CaseError: two numbers with one key path differ.
    """
    seen: dict[str, Quantity] = {}
    for quantity in quantities(case):
        known = seen.setdefault(quantity.key, quantity)
        if known.value != quantity.value:
            raise source.error((quantity.key,), f"is the key path of two numbers, {known.value:g} and {quantity.value:g}", "rename one")


def quantities(value: Any) -> Iterator[Quantity]:
    """Every Quantity inside a resolved case or a part of one, each as often as it is used."""
    if isinstance(value, Quantity):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from quantities(getattr(value, field.name))
    elif isinstance(value, dict):
        for below in value.values():
            yield from quantities(below)
    elif isinstance(value, tuple):
        for below in value:
            yield from quantities(below)


def _canonical(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {"\n".join(key) if isinstance(key, tuple) else key: _canonical(below) for key, below in value.items()}
    if isinstance(value, tuple | list):
        return [_canonical(below) for below in value]
    if isinstance(value, date):
        return value.isoformat()
    return value
