"""Where the simplex begins at every point of a sweep but the first: at the basis of the first, whatever was solved between, so that a sweep
that was killed goes on to the same bits. The sweep's directory keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report.text_files import json_text, write_text
from optimizer.solution import Neighbours

if TYPE_CHECKING:
    from optimizer.simplex.propose import Start

NAME = "sweep.start.json"


class Origin:
    """`solve_first(neighbours)` solves the first point once more, for a sweep whose first point was finished by an earlier run that left no
    basis, where the simplex would answer it. Raises OSError where the directory's disk is full."""

    def __init__(self, directory: Path | None, fresh: bool, solve_first: Callable[[Neighbours], None]) -> None:
        self.path, self.solve_first = None if directory is None else directory / NAME, solve_first
        kept = None if fresh or self.path is None else _read(self.path)
        self.known, self.start = kept is not None, None if not kept else _start_of(kept)

    def neighbours(self) -> Neighbours:
        """For a point that is no first one."""
        if not self.known:
            first = Neighbours()
            self.solve_first(first)
            self.keep(first)
        found = Neighbours()
        found.start = self.start
        return found

    def keep(self, first: Neighbours) -> None:
        """What the first point left; nothing, where the interior point answered."""
        self.known, self.start = True, first.start
        if self.path is not None:
            write_text(self.path, json_text({} if self.start is None else self.start.written()))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and (not found or _start_of(found) is not None) else None


def _start_of(kept: dict[str, Any]) -> Start | None:
    from optimizer.simplex.propose import Start

    return Start.read(kept)
