"""The journal of a sweep: one line of JSON per finished point, on disk before the next point begins.

The first line says what the points are of. A line that a kill cut short is dropped, and its point is solved again; so is a line that is
damaged otherwise.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from optimizer.checkpoint import sync_directory

FORMAT = 1
NAME = "sweep.journal.jsonl"


class JournalError(ValueError):
    """One sentence `problem; remedy`: the directory holds something else, another process writes to it, or nobody can."""


class Journal:
    """`with Journal(directory, identity, fresh) as journal:` and then `journal.rows` by key and `journal.add(key, row)`.

    `identity`: words by name that must agree with those of the journal that is there. Raises JournalError.
    """

    def __init__(self, directory: Path, identity: dict[str, Any], fresh: bool = False) -> None:
        self.path, self.identity, self.fresh = directory / NAME, json.loads(json.dumps(identity)), fresh
        self.rows: dict[str, dict[str, Any]] = {}
        self.damaged = 0  # lines that were dropped
        self.file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("a+b")
        except OSError as error:
            raise JournalError(f"{self.path.parent} cannot be written ({error.strerror}); name a directory that can") from error
        try:
            self._lock()
            self._read()
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            self.file.close()

    def add(self, key: str, row: dict[str, Any]) -> None:
        """On disk when this returns."""
        self.rows[key] = row
        self._line({"key": key, "row": row})

    def _line(self, content: dict[str, Any]) -> None:
        assert self.file is not None
        self.file.write(json.dumps(content, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def _lock(self) -> None:
        assert self.file is not None
        try:
            import fcntl
        except ImportError:  # no such locks on this system: two processes at once are then the user's business
            return
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"another sweep writes to {self.path.parent} now; wait for it, or name another directory") from error

    def _read(self) -> None:
        assert self.file is not None
        self.file.seek(0)
        content = b"" if self.fresh else self.file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        head = _parsed(lines[0]) if lines else None
        if content and (head is None or not isinstance(head.get("identity"), dict) or head.get("format") != FORMAT):
            raise JournalError(f"{self.path} is no journal of a sweep; name another directory, or give --fresh to replace it")
        if head is None:
            self.file.truncate(0)
            self._line({"format": FORMAT, "identity": self.identity})
            sync_directory(self.path.parent)
            return
        self._same(head["identity"])
        for line in lines[1:]:
            found = _parsed(line)
            if found is not None and isinstance(found.get("key"), str) and isinstance(found.get("row"), dict):
                self.rows[found["key"]] = found["row"]
            else:
                self.damaged += 1
        if len(whole) < len(content):
            self.file.truncate(len(whole))

    def _same(self, found: Any) -> None:
        names = {name for name in (*self.identity, *found) if found.get(name) != self.identity.get(name)}
        if names:
            raise JournalError(
                f"{self.path.parent} holds a sweep with another {' and '.join(sorted(names))}; name another directory, or give --fresh to "
                "drop what is there"
            )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
