"""How hard to try. The certificate decides what was reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("auto", "float64", "mixed", "float32")
ENGINES = ("auto", "simplex", "interior")


@dataclass(frozen=True)
class Settings:
    """gap_relative: certified relative gap to reach (semantics of the gap: `optimizer.program.certificate`); headroom_gap_relative: gap of
    the spare replicas at which no further step is made (`optimizer.headroom`); engine: who proposes the plan that the certificate judges,
    one of ENGINES: HiGHS's simplex, the interior point, or the one that `optimizer.engine` expects to be done first; max_iterations: of the
    interior point, one is one factorisation;
    devices: how many may share a solve (None: all there are, where the program is large enough); precision: of the solver's arithmetic, one
    of PRECISIONS (the certificate is always in float64): "mixed" goes through float32 and ends in float64, "auto" is that where it pays;
    verbose: print a line per iteration to
    standard error; progress: show a progress bar there; checkpoint: a directory where a solve leaves its state, and takes it up again after
    the process was killed (None: nowhere); checkpoint_interval_s: at most so many seconds of work, or one iteration, are then repeated."""

    gap_relative: float = 1e-6
    headroom_gap_relative: float = 1e-2
    engine: str = "auto"
    max_iterations: int = 100
    devices: int | None = None
    precision: str = "auto"
    verbose: bool = False
    progress: bool = False
    checkpoint: str | Path | None = None
    checkpoint_interval_s: float = 30.0

    def __post_init__(self) -> None:
        if not 1e-12 <= self.gap_relative < 1:
            raise ValueError(f"gap_relative is {self.gap_relative}; it must lie between 1e-12 and 1 (1e-6 is the default)")
        if not 0 < self.headroom_gap_relative < 1:
            raise ValueError(f"headroom_gap_relative is {self.headroom_gap_relative}; it must lie between 0 and 1 (0.01 is the default)")
        if self.engine not in ENGINES:
            raise ValueError(f"engine is {self.engine!r}; it must be one of {', '.join(ENGINES)}")
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"devices is {self.devices}; it must be at least 1 (leave it out for all)")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if not 1 <= self.max_iterations <= 10_000:
            raise ValueError(f"max_iterations is {self.max_iterations}; it must lie between 1 and 10000")
        if not 0 <= self.checkpoint_interval_s < math.inf:
            raise ValueError(f"checkpoint_interval_s is {self.checkpoint_interval_s}; it must be at least 0 and finite (30 is the default)")
