"""What a wrong case file is answered with: one line that names the file, the key, the problem and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Location = tuple[str | int, ...]
"""The way from the top of the file to a value: map keys and list positions (from 0)."""

TOP = "(top level)"
LONGEST_SHOWN = 60  # characters of a value of the file in a message
LONGEST_PART = 800  # characters of the problem, of the remedy, of the key path


class CaseError(ValueError):
    """A case or catalog that cannot be used. `str()` is one line: `FILE: KEY.PATH: what is wrong; what would be right`."""

    def __init__(
        self, file: str | Path, key_path: str, problem: str, remedy: str, line: int | None = None, read_for: str | None = None
    ) -> None:
        """`line` is 1-based; `read_for` is the case whose reading led to `file`, where that is another file."""
        self.file = str(file)
        self.key_path = _cut(_one_line(key_path), LONGEST_PART) or TOP
        self.problem = _cut(_one_line(problem), LONGEST_PART)
        self.remedy = _cut(_one_line(remedy), LONGEST_PART)
        self.line = line
        self.read_for = read_for
        known = [f"line {line}"] if line is not None else []
        known += [f"read for {read_for}"] if read_for is not None else []
        where = f" ({', '.join(known)})" if known else ""
        super().__init__(_one_line(f"{self.file}: {self.key_path}: {self.problem}{where}; {self.remedy}"))

    def __reduce__(self) -> tuple[type[CaseError], tuple[str, str, str, str, int | None, str | None]]:
        # a ValueError subclass with its own arguments needs this to cross process borders (pytest-xdist, multiprocessing)
        return type(self), (self.file, self.key_path, self.problem, self.remedy, self.line, self.read_for)


@dataclass
class Marks:
    """Where a value was written: file and line (1-based; None: not from a file), and the same for everything below it."""

    file: str
    line: int | None
    below: dict[str | int, Marks] = field(default_factory=dict)
    removes: bool = False
    """The value is a null that removes what a YAML merge key (`<<`) took over, so it is not a forgotten value."""

    def nearest(self, location: Location) -> Marks:
        """The mark of `location`, or of the nearest enclosing value that has one."""
        mark = self
        for step in location:
            if step not in mark.below:
                break
            mark = mark.below[step]
        return mark


@dataclass
class Document:
    """The content of a file (after `extends` and overrides: of several) and where each value of it stands."""

    data: dict[str, Any]
    marks: Marks

    def error(self, location: Location, problem: str, remedy: str) -> CaseError:
        mark = self.marks.nearest(location)
        read_for = Path(self.marks.file).name if mark.file != self.marks.file and mark.line is not None else None
        return CaseError(mark.file, key_path(location), problem, remedy, mark.line, read_for)


def key_path(location: Location) -> str:
    return ".".join(str(step) for step in location)


def shown(value: object) -> str:
    """A value of the file as an error message shows it: short and on one line."""
    if isinstance(value, Mapping):
        return f"a mapping with {_some(value)}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if value is None:
        return "blank"
    if isinstance(value, str):
        return f"the text '{_cut(_one_line(value))}'" if value else "an empty text"
    return _cut(str(value))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that does not exist: the closest one that does, and what else there is."""
    names = list(known)
    if not names:
        return "there is none to choose from"
    near = nearest_name(name, names)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"use one of {_some(names)}"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    names = list(known)
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _some(names: Iterable[object], most: int = 12) -> str:
    listed = [f"`{_cut(_one_line(str(n)))}`" for n in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
