"""Progress on standard error: bars for work that may take longer than two seconds, lines where nobody watches."""

from __future__ import annotations

import sys
import threading
import time

PATIENCE_S = 2.0  # before it appears
SAID_EVERY_S = 30.0  # where standard error is no terminal


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


class PointsBar:
    """`with PointsBar(shown) as bar:` and then `bar(done, of)`; on standard error. Where nobody watches, a line every half minute for the
    log of the job; `quiet`: nothing at all."""

    def __init__(self, shown: bool, quiet: bool = False) -> None:
        self.bar, self.quiet = None, quiet
        self.began = self.said = time.monotonic()
        if shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            times = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
            counts = TextColumn("points"), BarColumn(), MofNCompleteColumn()
            self.bar = Progress(*counts, *times, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=None)

    def __enter__(self) -> PointsBar:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, of: int) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=of)
        elif not self.quiet and 0 < done < of and time.monotonic() - self.said >= SAID_EVERY_S:
            self.said = time.monotonic()
            print(f"capacity: {done} of {of} done after {self.said - self.began:.0f} s", file=sys.stderr, flush=True)
