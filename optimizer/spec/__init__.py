"""Reads what the user writes: a YAML case and the catalog it stands on (docs/case_reference.md)."""

from __future__ import annotations

from .case_error import CaseError
from .json_schema import json_schema
from .load import load_case

__all__ = ["CaseError", "json_schema", "load_case"]
