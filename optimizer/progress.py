"""What a solve shows on standard error while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optimizer.settings import Settings


@contextmanager
def working(settings: Settings, what: str) -> Iterator[None]:
    """A spinner while something of unknown length runs."""
    if not settings.progress or settings.verbose:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


class progress:
    """A progress bar: decades of the gap done, out of those to do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bar = None

    def __enter__(self) -> Callable[[float], None]:
        if not self.settings.progress or self.settings.verbose:
            return lambda gap: None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("solving"), BarColumn(), TextColumn("{task.fields[gap]}"), TimeElapsedColumn(), console=console, transient=True
        )
        self.bar.start()
        decades = -math.log10(self.settings.gap_relative)
        task = self.bar.add_task("", total=decades, gap="")

        def advance(gap: float) -> None:
            if self.bar is not None and gap > 0 and math.isfinite(gap):
                self.bar.update(task, completed=min(decades, max(0.0, -math.log10(gap))), gap=f"gap {gap:.1e}")

        return advance

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()
