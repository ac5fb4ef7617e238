"""What a check has found so far: on screen as it comes, and complete in a JSON file after every part, whatever ends the process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarking.machine import machine
from scripts.benchmarking.measure import write_atomically

STOPPED = 1  # exit code where time ran out inside a part


@dataclass(frozen=True)
class Part:
    """`estimate` says how many seconds it will take, from what has been measured before it; `run` returns what goes into the file. Its key
    "status" is "passed" or "failed", and "reason" a sentence."""

    name: str
    estimate: Callable[[], float]
    run: Callable[[], dict[str, Any]]


@dataclass
class Record:
    """Results by part, in the order of their making."""

    path: Path
    limit_s: float
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=machine)
    began: float = field(default_factory=time.monotonic)
    closing: Callable[[], None] = lambda: None  # called before the process ends at the limit

    def left_s(self) -> float:
        return self.limit_s - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def write(self) -> None:
        write_atomically(self.path, {"about": self.about, "limit_s": self.limit_s, "parts": self.parts})

    def go_through(self, parts: list[Part]) -> None:
        """One after another; a part that does not fit into the time left is skipped, one that raises has failed, and the others go on."""
        for part in parts:
            estimate, left = part.estimate(), self.left_s()
            if estimate > left:
                reason = f"about {estimate:.0f} s, and {max(left, 0.0):.0f} s are left"
                self.parts[part.name] = {"status": "skipped", "reason": reason}
                self.say(f"{part.name}: skipped ({reason})")
            else:
                self.parts[part.name] = {"status": "running", "reason": "the process ended in this part"}
                self.write()
                self._run(part)
            self.write()

    def _run(self, part: Part) -> None:
        self.say(f"{part.name}: begins")
        began = time.monotonic()
        try:
            found = part.run()
        except Exception as error:  # the other parts are worth having all the same
            found = {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
        self.parts[part.name] = {**found, "part_seconds": time.monotonic() - began}
        self.say(f"{part.name}: {found['status']}{', ' + found['reason'] if found.get('reason') else ''}")

    def end_at_the_limit(self) -> threading.Timer:
        """Where a part takes longer than was thought: the file is written once more, and the process ends."""
        timer = threading.Timer(max(self.left_s(), 0.0), self._stop)
        timer.daemon = True
        timer.start()
        return timer

    def _stop(self) -> None:
        for found in self.parts.values():
            if found["status"] == "running":
                found |= {"status": "stopped", "reason": f"the {self.limit_s:.0f} s of the whole check were over"}
        self.write()
        self.closing()
        self.say(f"time is over; what was finished is in {self.path}")
        os._exit(STOPPED)

    @property
    def good(self) -> bool:
        """Whether nothing that ran has failed."""
        return all(found["status"] in ("passed", "skipped") for found in self.parts.values())
