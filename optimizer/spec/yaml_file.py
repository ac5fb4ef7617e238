"""Reads one YAML file into plain maps, lists, numbers, texts and dates, and remembers the line of each.

PyYAML parses the syntax; the values are built here, because four of its habits are traps in a file of prices: `1e6` is a
text, `no` is a truth value, `010` is eight, and of two equal keys the last wins silently. A small file may also hold aliases
that expand to gigabytes; the expanded size is counted before anything is built.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .case_error import CaseError, Document, Location, Marks, key_path

MOST_BYTES = 4 * 2**20
MOST_NODES = 250_000  # values after the expansion of aliases; the largest sensible case has some ten thousand
MOST_DEPTH = 32

_PLAIN = "plain"
_STANDARD = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:_[0-9]{3})+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MERGE = "<<"
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


# libyaml is several times as fast, but it reads these otherwise than PyYAML (a tab, a `?`, `|#`) or breaks the process (depth)
_NOT_FOR_LIBYAML = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[|>][-+0-9]*#|^(?:---|[- ]{200})", re.MULTILINE
)
_COMMENT = re.compile(r"(?:^|\s)#.*", re.MULTILINE)
_MOST_BRACKETS = 1000  # opened in a text for libyaml: its composer has no limit of depth but the stack


class _Unresolved:
    """Leaves unquoted scalars unresolved; `_plain_value` decides what they are."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, (False, False))  # type: ignore[misc]


class _Loader(_Unresolved, yaml.SafeLoader):
    """In Python: its messages are the ones that users read."""


def read_yaml(path: Path) -> Document:
    """Reads a file whose top level is a map.

    Raises CaseError: unreadable, too large, wrong syntax (with the line), empty, not a map, two equal keys, tags, aliases that
    expand too far.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise CaseError(file, "", f"cannot be read ({error.strerror or error})", "give the path of an existing case file") from error
    if len(raw) > MOST_BYTES:
        raise CaseError(file, "", f"is larger than {MOST_BYTES // 2**20} MiB", "split it, or check that it is a case file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CaseError(file, "", "is not UTF-8 text", "save it as UTF-8", line) from error
    return parse_yaml(text, file)


def parse_yaml(text: str, file: str) -> Document:
    """As `read_yaml`, of a text; `file` is the name in messages."""
    root = _compose(text, file)
    if root is None:
        raise CaseError(file, "", "is empty", "write at least `name`, `horizon` and `load_blocks`")
    if not isinstance(root, MappingNode):
        what = "a list" if isinstance(root, SequenceNode) else "a single value"
        raise CaseError(file, "", f"holds {what} at the top level", "write a map of `key: value` lines", _line(root))
    builder = _Builder(file)
    builder.expanded_size(root, ())
    marks = Marks(file, None)
    data = builder.mapping(root, (), marks)
    return Document(data, marks)


def _compose(text: str, file: str) -> Node | None:
    with suppress(_NotFast):
        return _compose_fast(text)
    try:
        # not pure: the constructor looks for characters that YAML forbids
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "is not YAML"
        remedy = "correct the YAML syntax there"
        if mark is not None and "\t" in _text_line(text, mark.line)[: mark.column + 1]:
            problem, remedy = "holds a tab where YAML allows only spaces", "indent with spaces"
        elif "undefined alias" in problem:
            remedy = "define the anchor before it is used"
        elif "expected a single document" in (error.context or ""):
            problem, remedy = "holds more than one YAML document", "keep one document per file"
        raise CaseError(file, _position(mark), problem, remedy, mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise CaseError(file, "", f"is not YAML ({str(error).splitlines()[0]})", "save it as plain UTF-8 text") from error
    except RecursionError as error:
        raise CaseError(file, "", "is nested too deeply", f"keep it within {MOST_DEPTH} levels") from error


class _NotFast(Exception):
    """libyaml is not there, would read the text otherwise, or refuses it."""


def _compose_fast(text: str) -> Node | None:
    if not yaml.__with_libyaml__ or text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise _NotFast
    if _NOT_FOR_LIBYAML.search(text) or "?" in _COMMENT.sub("", text):
        raise _NotFast

    class Loader(_Unresolved, yaml.CSafeLoader):
        pass

    try:
        return Loader(text).get_single_node()
    except yaml.YAMLError as error:
        raise _NotFast from error


class _Builder:
    """Turns nodes into values. Aliased nodes are built anew at each place, so that a merge never changes two places at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def error(self, node: Node, location: Location, problem: str, remedy: str) -> CaseError:
        return CaseError(self.file, key_path(location), problem, remedy, _line(node))

    def expanded_size(self, node: Node, location: Location) -> int:
        """Number of values below `node` with every alias written out; each node is visited once, so a bomb costs nothing."""
        if id(node) in self._open:
            raise self.error(node, location, "holds an alias of itself", "write the values out")
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        if len(location) > MOST_DEPTH:
            raise self.error(node, location[:3], "is nested too deeply", f"keep it within {MOST_DEPTH} levels")
        self._open.add(id(node))
        size = 1
        if isinstance(node, MappingNode):
            for key, value in node.value:
                size += 1 + self.expanded_size(value, (*location, str(key.value)[:40]))
        elif isinstance(node, SequenceNode):
            for position, value in enumerate(node.value):
                size += self.expanded_size(value, (*location, position))
        if size > MOST_NODES:
            raise self.error(
                node, location, f"expands to more than {MOST_NODES} values through aliases", "write fewer aliases, or use `extends`"
            )
        self._open.discard(id(node))
        self._sizes[id(node)] = size
        return size

    def value(self, node: Node, location: Location, marks: Marks) -> Any:
        if len(location) > MOST_DEPTH:
            raise self.error(node, location[:3], "is nested too deeply", f"keep it within {MOST_DEPTH} levels")
        if node.tag != _PLAIN and node.tag not in _STANDARD:
            raise self.error(node, location, f"carries the YAML tag {node.tag[:60]}", "remove the tag; a case holds plain values only")
        if isinstance(node, MappingNode):
            return self.mapping(node, location, marks)
        if isinstance(node, SequenceNode):
            values: list[Any] = []
            for position, item in enumerate(node.value):
                marks.below[position] = Marks(self.file, _line(item))
                values.append(self.value(item, (*location, position), marks.below[position]))
            return values
        return self._plain_value(node, node.value, location) if node.tag == _PLAIN else node.value

    def mapping(self, node: MappingNode, location: Location, marks: Marks) -> dict[str, Any]:
        if node.tag not in _STANDARD:
            raise self.error(node, location, f"carries the YAML tag {node.tag[:60]}", "remove the tag; a case holds plain values only")
        values: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, location)
            if key in first_line:
                raise self.error(key_node, (*location, key), f"stands twice (first in line {first_line[key]})", "keep one of them")
            first_line[key] = _line(key_node)
            if key == _MERGE and key_node.tag == _PLAIN:
                self._merge_key(value_node, (*location, key), values, marks, first_line)
                continue
            taken_over = key in values
            marks.below[key] = Marks(self.file, first_line[key])
            values[key] = self.value(value_node, (*location, key), marks.below[key])
            marks.below[key].removes = taken_over and values[key] is None
        return values

    def _key(self, node: Node, location: Location) -> str:
        if not isinstance(node, ScalarNode) or (node.tag == _PLAIN and node.value in _NULL):
            raise self.error(node, location, "has a key that is not a name", "write `name: value`")
        if node.tag != _PLAIN and node.tag not in _STANDARD:
            raise self.error(node, location, f"has a key with the YAML tag {node.tag[:60]}", "remove the tag")
        return node.value

    def _merge_key(self, node: Node, location: Location, values: dict[str, Any], marks: Marks, written: dict[str, int]) -> None:
        """`<<: *anchor` or `<<: [*one, *two]`: takes over keys that are not written beside it; of several maps the first wins."""
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                raise self.error(source, location, "merges what is not a map", "write `<<: *anchor` with the anchor at a map")
            below = Marks(self.file, _line(source))
            for key, value in self.mapping(source, location, below).items():
                if key not in values:
                    if key not in written:
                        values[key] = value
                        marks.below[key] = below.below[key]
                elif values[key] is None:
                    marks.below[key].removes = True

    def _plain_value(self, node: Node, text: str, location: Location) -> Any:
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _DATE.fullmatch(text):
            try:
                return date.fromisoformat(text)
            except ValueError as error:
                raise self.error(node, location, f"{text} is not in the calendar", "write a date YYYY-MM-DD") from error
        if _NOT_FINITE.fullmatch(text):
            raise self.error(node, location, f"is {text}, which is not finite", "write a finite number")
        if len(text) <= 400:
            if _INTEGER.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text):
                return float(text)
        return text


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _position(mark: Any) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""


def _text_line(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line] if line < len(lines) else ""
