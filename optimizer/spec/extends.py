"""Follows `extends` and lays overrides on top: maps merge key by key, lists and scalars replace, null removes the key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from .case_error import CaseError, Document, Location, Marks, did_you_mean, shown
from .yaml_file import MOST_DEPTH, read_yaml

MOST_FILES = 20
_RELATIVE = ("catalog",)  # fields that hold a path relative to the file that sets them


def read_case_file(path: Path, overrides: Mapping[str, Any] | None = None) -> Document:
    """The content of `path` on top of what it extends, with `overrides` on top of that; `extends` itself is gone.

    A `catalog` path comes back absolute, because a path is relative to the file that writes it.

    Raises CaseError: any file unreadable or wrong, a cycle, an `extends` that is not a path, a null that removes nothing.
    """
    chain = _chain(path)
    merged = Document({}, Marks(str(path), None))
    for layer in reversed(chain):
        _merge(merged, layer, ())
    if overrides:
        layer = _override_layer(path, overrides)
        if "extends" in layer.data:
            raise layer.error(("extends",), "cannot be overridden", "extend from inside a case file")
        _make_absolute(layer, path.parent)
        _merge(merged, layer, ())
    merged.marks.file = str(path)
    return merged


def _chain(path: Path) -> list[Document]:
    """The documents from `path` to the file that extends nothing."""
    chain: list[Document] = []
    seen: list[Path] = []
    while True:
        document = read_yaml(path)
        seen.append(path.resolve())
        chain.append(document)
        _make_absolute(document, path.parent)
        parent = document.data.pop("extends", None)
        if parent is None:
            return chain
        if not isinstance(parent, str) or not parent.strip() or not parent.isprintable():
            raise document.error(("extends",), f"is {shown(parent)}", "write the path of a case file, relative to this file")
        path = path.parent / parent
        if not isfile(path):
            near = [file.name for file in sorted(path.parent.glob("*.y*ml"))] if isdir(path.parent) else []
            remedy = did_you_mean(path.name, near) if near else "give a path relative to this file"
            raise document.error(("extends",), f"`{parent[:60]}` is not a file", remedy)
        if path.resolve() in seen:
            raise document.error(("extends",), f"leads back to `{parent}`: a cycle", "let one of the files extend nothing")
        if len(seen) >= MOST_FILES:
            raise document.error(("extends",), f"is a chain of more than {MOST_FILES} files", "merge some of them")


def _make_absolute(document: Document, folder: Path) -> None:
    for name in _RELATIVE:
        value = document.data.get(name)
        if isinstance(value, str):
            if not value.isprintable():
                raise document.error((name,), f"is {shown(value)}", "write the path of a directory, relative to this file")
            document.data[name] = str((folder / value).resolve())


def _merge(into: Document, layer: Document, location: Location) -> None:
    _merge_maps(into.data, into.marks, layer.data, layer.marks, layer, location)


def _merge_maps(
    base: dict[str, Any], base_marks: Marks, over: dict[str, Any], over_marks: Marks, layer: Document, location: Location
) -> None:
    for key, value in over.items():
        here = (*location, key)
        mark = over_marks.below[key]
        if value is None:
            if key not in base and not mark.removes:
                raise _blank(layer, here)
            base.pop(key, None)
            base_marks.below.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            # what is wrong with the merged map as a whole shows since this layer, so its line is the one to look at
            base_marks.below[key].file, base_marks.below[key].line = mark.file, mark.line
            _merge_maps(base[key], base_marks.below[key], value, mark, layer, here)
        else:
            base[key] = _without_nulls(value, mark, layer, here)
            base_marks.below[key] = mark


def _without_nulls(value: Any, marks: Marks, layer: Document, location: Location) -> Any:
    """A copy of a value that replaces another or is new; a null in it that removes nothing is a forgotten value."""
    if isinstance(value, dict):
        copied: dict[str, Any] = {}
        for key, below in value.items():
            if below is not None:
                copied[key] = _without_nulls(below, marks.below[key], layer, (*location, key))
            elif not marks.below[key].removes:
                raise _blank(layer, (*location, key))
        return copied
    if isinstance(value, list):
        for position, item in enumerate(value):
            if item is None:
                raise _blank(layer, (*location, position))
        return [_without_nulls(item, marks.below[position], layer, (*location, position)) for position, item in enumerate(value)]
    return value


def _blank(layer: Document, location: Location) -> CaseError:
    return layer.error(location, "is blank", "write a value, or delete the line (a blank is never zero)")


def _override_layer(path: Path, overrides: Mapping[str, Any]) -> Document:
    marks = Marks(f"{path} (override)", None)
    data = _plain(overrides, (), marks)
    assert isinstance(data, dict)
    return Document(data, marks)


def _plain(value: Any, location: Location, marks: Marks) -> Any:
    """A copy of what Python code passed in, in the types that the YAML reader makes."""
    if len(location) > MOST_DEPTH:
        raise CaseError(marks.file, str(location[0]), "is nested too deeply", f"keep it within {MOST_DEPTH} levels")
    if isinstance(value, Mapping):
        below: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise CaseError(marks.file, ".".join(map(str, location)), f"has the key {shown(key)}", "use texts as keys")
            marks.below[key] = Marks(marks.file, None)
            below[key] = _plain(item, (*location, key), marks.below[key])
        return below
    if isinstance(value, list | tuple):
        items: list[Any] = []
        for position, item in enumerate(value):
            marks.below[position] = Marks(marks.file, None)
            items.append(_plain(item, (*location, position), marks.below[position]))
        return items
    if value is None or isinstance(value, bool | int | float | str | date):
        return value
    number = getattr(value, "item", None)  # numpy scalars
    if callable(number):
        return _plain(number(), location, marks)
    raise CaseError(
        marks.file, ".".join(map(str, location)), f"is a Python {type(value).__name__}", "pass numbers, texts, dates, lists and mappings"
    )
