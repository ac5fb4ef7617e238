"""Which inputs of two cases differ: their files as merged from what they extend, field by field, and the catalogs behind them.

Differences are grouped into the inputs that people talk about (`workloads.chat`, `offers.buy`, `scenarios`), and any of them can be laid
on the first case: with all of them it is the second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.build.parameters import Parameters
from optimizer.spec.case_error import Document
from optimizer.spec.catalog import shipped_catalog

NOT_INPUTS = ("name", "description")
NAMED = {
    "offers": 2, "workloads": 2, "sites": 2, "regions": 2, "chips": 2, "models": 2, "origins": 2, "profiles": 2, "existing": 2,
    "throughput": 2, "limits": 3,
}  # fmt: skip
"""How many parts of a key path name one item; one, where a section is an item as a whole."""
LEVELS = ("item", "field", "section")


@dataclass(frozen=True)
class Difference:
    """One field; None stands for a field that one of the two does not have (the file has no blanks)."""

    location: tuple[str, ...]
    before: Any
    after: Any

    @property
    def key(self) -> str:
        return ".".join(self.location)


@dataclass(frozen=True)
class Group:
    """Differences that change together."""

    name: str
    differences: tuple[Difference, ...]


def differences(before: Document, after: Document) -> tuple[Difference, ...]:
    """By key path. Lists and scalars are compared as a whole, maps key by key; name and description are no inputs."""
    return tuple(sorted(_below((), _inputs(before), _inputs(after)), key=lambda found: found.location))


def groups(found: Iterable[Difference], by: str = "item") -> tuple[Group, ...]:
    """By name, so that their order does not depend on which case comes first. `by`: one of LEVELS."""
    named: dict[str, list[Difference]] = {}
    for one in found:
        parts = {"field": len(one.location), "section": 1}.get(by, NAMED.get(one.location[0], 1))
        named.setdefault(".".join(one.location[:parts]), []).append(one)
    return tuple(Group(name, tuple(named[name])) for name in sorted(named))


def overlay(chosen: Iterable[Group]) -> dict[str, Any]:
    """What makes these groups those of the second case, in the form of `optimizer.spec.load_case`'s overrides."""
    found: dict[str, Any] = {}
    for group in chosen:
        for one in group.differences:
            below = found
            for step in one.location[:-1]:
                below = below.setdefault(step, {})
            below[one.location[-1]] = one.after
    return found


def catalog_changes(before: Parameters, after: Parameters) -> tuple[Difference, ...]:
    """Numbers of catalog rows that at least one of the two cases uses and that are not the same in both."""
    keys = sorted({key for key in (*before.keys, *after.keys) if key.startswith("catalog.")})
    pairs = [(key, *(side.value(key) if key in side else None for side in (before, after))) for key in keys]
    return tuple(Difference((key,), one, other) for key, one, other in pairs if one is not None and other is not None and one != other)


def _inputs(document: Document) -> dict[str, Any]:
    """The catalog by its directory, the shipped one too: a case that names none and one that names another differ in it."""
    return {"catalog": str(shipped_catalog()), **{name: value for name, value in document.data.items() if name not in NOT_INPUTS}}


def _below(location: tuple[str, ...], before: Any, after: Any) -> Iterator[Difference]:
    maps = [side for side in (before, after) if isinstance(side, Mapping)]
    above_items = bool(location) and len(location) < NAMED.get(location[0], 1) and (before is None or after is None)
    if len(maps) == 2 or (maps and above_items):  # of a section that one of the two does not have, item by item
        mine, theirs = before or {}, after or {}
        for key in {**mine, **theirs}:
            yield from _below((*location, str(key)), mine.get(key), theirs.get(key))
    elif not _same(before, after):
        yield Difference(location, before, after)


def _same(one: Any, other: Any) -> bool:
    """Numbers by value: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(type(one) is type(other) or {type(one), type(other)} <= {int, float}) and one == other
