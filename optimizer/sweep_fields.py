"""Fields of a case by key path: where they stand in its file, whether there is such a field, and overrides that give them values."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from optimizer.spec import CaseError, json_schema
from optimizer.spec.case_error import Document, Location, key_path
from optimizer.sweep_points import Point

SUGGESTIONS = 3


class Fields:
    """The fields of one case that a sweep varies. Raises CaseError for a key path that names none, and for two that overlap."""

    def __init__(self, document: Document, key_paths: Sequence[str]) -> None:
        self.document = document
        self.location = {path: locate(document, path) for path in key_paths}
        for path, location in self.location.items():
            for other, longer in self.location.items():
                if path != other and longer[: len(location)] == location:
                    raise CaseError(document.marks.file, other, f"is a part of {path}, which is varied too", "vary one of the two")

    def overrides(self, point: Point) -> dict[str, Any]:
        """What `optimizer.spec.load_case` lays on top of the file."""
        found: dict[str, Any] = {}
        for path, value in point.items():
            _lay(found, self.document.data, self.location[path], value)
        return found


def locate(document: Document, path: str) -> Location:
    """The way to a field. A name may hold dots: the longest one that exists counts. What is not in the file must be a field that the
    reference knows at that place, and never a new name: a misspelt one would be planned beside the right one."""
    steps: list[str | int] = []
    rest, value = path, document.data
    while rest:
        if isinstance(value, dict):
            step = next((key for key in sorted(value, key=len, reverse=True) if rest == key or rest.startswith(f"{key}.")), None)
            if step is None:
                step = rest.partition(".")[0]
                if step not in _known_fields(steps):
                    raise _unknown(document, path, [*steps, step])
            below = value.get(step, {})
        elif isinstance(value, list):
            step = rest.partition(".")[0]
            if not (step.isascii() and step.isdigit() and int(step) < len(value)):
                remedy = f"write a position from 0 to {len(value) - 1}" if value else "vary the list as a whole"
                raise document.error((*steps, step), f"is no position in a list of {len(value)}", remedy)
            below = value[int(step)]
        else:
            raise document.error((*steps, rest), "is not there: what stands above it is a single value", f"vary {key_path(tuple(steps))}")
        if rest == f"{step}.":
            raise document.error((*steps, step), "ends in a dot", "write the name of a field after it, or leave the dot out")
        rest = rest[len(step) + 1 :]
        steps.append(int(step) if isinstance(value, list) else step)
        value = below
    if not steps:
        raise document.error((), "is no field", "write a key path such as workloads.chat.ttft_p99_ms")
    return tuple(steps)


def _lay(into: dict[str, Any], base: Any, location: Location, value: Any) -> None:
    step = location[0]
    assert isinstance(step, str)
    if len(location) == 1:
        into[step] = value
        return
    below = base.get(step) if isinstance(base, dict) else None
    if isinstance(below, list):  # an override replaces a list as a whole
        into.setdefault(step, copy.deepcopy(below))
        at: Any = into[step]
        for inner in location[1:-1]:
            at = at.setdefault(inner, {}) if isinstance(at, dict) else at[inner]
        at[location[-1]] = value
    else:
        _lay(into.setdefault(step, {}), below, location[1:], value)


def _unknown(document: Document, path: str, steps: list[str | int]) -> CaseError:
    """With the nearest names: fields at the place where the path leaves the case, and whole paths that end alike."""
    here = steps[:-1]
    value: Any = document.data
    for step in here:
        value = value.get(step, {}) if isinstance(value, dict) else value[step]
    beside = [key_path((*here, name)) for name in dict.fromkeys([*value, *_known_fields(here)])]
    everywhere = list(_paths(document.data, ()))
    bad = key_path(tuple(steps))
    near = [p for p in everywhere if p.endswith(f".{path}")]
    near += difflib.get_close_matches(bad, beside, SUGGESTIONS, 0.75)
    near += difflib.get_close_matches(path, everywhere, SUGGESTIONS, 0.75)
    near = list(dict.fromkeys(near or beside))[: SUGGESTIONS if near else 4 * SUGGESTIONS]
    names = ", ".join(f"`{name}`" for name in near)
    remedy = f"the nearest are {names}" if len(near) > 1 else f"did you mean {names}?" if near else "write it into the case file first"
    return CaseError(document.marks.file, path, f"is not in the case: there is no `{bad}`", remedy)


def _paths(value: Any, location: Location) -> Iterator[str]:
    """The key path of every value below, maps included; of lists only the whole."""
    for key, below in value.items():
        here = (*location, key)
        yield key_path(here)
        if isinstance(below, dict):
            yield from _paths(below, here)


# the reference --------------------------------------------------------------------------------------------------------------------
def _known_fields(steps: Sequence[str | int]) -> list[str]:
    """Names of the fields that may be written at a place; none where the case gives the names."""
    schema = json_schema()
    nodes = [schema]
    for step in steps:
        nodes = [below for node in nodes for branch in _branches(node, schema) for below in _under(branch, step)]
    return list(dict.fromkeys(name for node in nodes for branch in _branches(node, schema) for name in branch.get("properties", {})))


def _branches(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node and everything that it may stand for."""
    yield node
    if "$ref" in node:
        yield from _branches(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(word, ()):
            yield from _branches(branch, schema)


def _under(node: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        found = [node.get("items")]
    elif step in node.get("properties", {}):
        found = [node["properties"][step]]
    else:
        found = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    yield from (below for below in found if isinstance(below, dict))
