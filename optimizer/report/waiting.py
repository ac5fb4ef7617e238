"""A progress bar on standard error for work that may take longer than two seconds."""

from __future__ import annotations

import sys
import threading

PATIENCE_S = 2.0  # before it appears


class Waiting:
    """`with Waiting() as waiting:` and then `waiting.share(0.3)` or `waiting.says("measuring")`; silent where nobody watches."""

    def __init__(self, shown: bool | None = None, what: str = "reading") -> None:
        """`shown` None: where standard error is a terminal."""
        self.bar = None
        if sys.stderr.isatty() if shown is None else shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            console = Console(stderr=True)
            self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
            self.task = self.bar.add_task(what, total=1.0)
            self.timer = threading.Timer(PATIENCE_S, self.bar.start)
            self.timer.daemon = True

    def __enter__(self) -> Waiting:
        if self.bar is not None:
            self.timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.timer.cancel()
            self.timer.join()
            self.bar.stop()

    def share(self, done: float) -> None:
        """The share that is done."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done)

    def says(self, what: str) -> None:
        """A stage of unknown length."""
        if self.bar is not None:
            self.bar.update(self.task, description=what, total=None)
