"""Texts on disk, whole or not at all: written in one rename, and refused early where they could not be written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """A file in one rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        Path(name).chmod(0o666 & ~umask())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def refuse_unwritable(path: str | Path, directory: bool) -> None:
    """Raise OSError now, rather than after minutes of solving, where a result could not be written. Nothing is created."""
    path = Path(path)
    if directory and path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; name a directory for the results")
    if not directory and path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a file")
    first = path if directory and path.exists() else path.parent
    while not first.exists():
        first = first.parent
    if not first.is_dir() or not os.access(first, os.W_OK | os.X_OK):
        raise PermissionError(f"{first} is no directory that can be written to")


def umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
