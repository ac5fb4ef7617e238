"""What every solver hands to the judge, and how one says that it cannot run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from optimizer.program.program import Multipliers, Plan, Program


class NotAvailableError(Exception):
    """The solver, or the algorithm asked for, is not part of this installation; the message is one sentence."""


class UnfinishedError(Exception):
    """The solver stopped without an answer to judge; the message is one sentence. `timed_out`: its time limit was the reason."""

    def __init__(self, message: str, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


@dataclass(frozen=True)
class Goal:
    """gap_relative: certified gap to reach; limit_s: seconds for one solve."""

    gap_relative: float
    limit_s: float


@dataclass
class Proposal:
    """A plan and row multipliers. `seconds` by phase: model (stating the problem in the solver's terms), compile, solve, certify (only
    where the solver asks the certificate on its way); `total` is what a user waits for an answer, without model."""

    plan: Plan
    multipliers: Multipliers
    iterations: int
    algorithm: str
    seconds: dict[str, float]
    detail: dict[str, object] = field(default_factory=dict)
    device: str = "cpu"


Solve = Callable[[Program, Goal], Proposal]
