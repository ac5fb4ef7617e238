"""The small case of the unit tests, whole or with overrides in the form of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimizer.spec import load_case
from optimizer.spec.resolved import Case

FILE = Path(__file__).with_name("small_case.yaml")


def small_case(overrides: dict[str, Any] | None = None) -> Case:
    """Every kind of offer, form of path, kind of work, kind of limit and basis of share; two scenarios and a reveal."""
    return load_case(FILE, overrides)
