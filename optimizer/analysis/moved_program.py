"""The program of a case with some of its numbers moved a little; what was chosen with the numbers as they are stays.

Where work queues, the program that was solved last is the case's own plus constants (lines for spare replicas around the last plan): they
are added again, unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.build.build import Built, program_of
from optimizer.build.values import values
from optimizer.program.program import Program, Sparse, array_fields


def moved_program(built: Built, theta: np.ndarray, lines: dict[str, Any] | None = None) -> Program:
    """The program of `built` at another parameter vector [M]; `lines`, from `added_lines(built)`, where many are made. Raises ProgramError
    (from `check`) where the numbers make none."""
    return laid_on(program_of(built.structure, values(built.structure, theta)), added_lines(built) if lines is None else lines).check()


def laid_on(program: Program, lines: dict[str, Any]) -> Program:
    """The program with the constants of `added_lines`."""
    changes: dict[str, Any] = {name: change(getattr(program, name)) for name, change in lines.items()}
    if "acquisition_lower" in changes:
        changes["acquisition_lower"] = np.minimum(changes["acquisition_lower"], program.acquisition_upper)
    return replace(program, **changes) if changes else program


def added_lines(built: Built) -> dict[str, Any]:
    """Field -> what makes the last program's array of the case's own."""
    base, last = program_of(built.structure, values(built.structure, built.parameters.values)), built.program
    found = {}
    for name in array_fields():
        a, b = getattr(base, name), getattr(last, name)
        if isinstance(a, Sparse) or np.array_equal(np.asarray(a), np.asarray(b)):
            continue
        found[name] = _change(np.asarray(a, float), np.asarray(b, float))
    return found


def _change(a: np.ndarray, b: np.ndarray) -> Any:
    both = np.isfinite(a) & np.isfinite(b)
    more = np.where(both, np.where(both, b, 0.0) - np.where(both, a, 0.0), 0.0)
    return lambda value: np.where(both, value + more, np.where(np.isfinite(b), b, value))
