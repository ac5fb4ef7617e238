"""Reads what the user writes: a YAML case and the catalog it stands on (docs/case_reference.md).

The models of the file are imported on the first call, so that modules which need only `resolved` do not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .case_error import CaseError
from .resolved import Case

__all__ = ["CaseError", "json_schema", "load_case"]


def load_case(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Case:
    """The case in `path`, resolved: catalog rows looked up, offers expanded, every number in the unit of its key with its key path.

    `overrides` is a nested mapping in the form of the file, laid on top of it as if a file extended it: maps merge, lists and
    scalars replace, None removes the key.

    Raises CaseError (a ValueError) for anything wrong in the file, in the files it extends, or in the catalog rows it uses.
    """
    from .load import load

    return load(Path(path), overrides)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft-07) of a case file, for editors: descriptions with units, ranges, no unknown keys."""
    from .editor_schema import editor_schema

    return editor_schema()
