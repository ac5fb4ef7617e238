"""What a solve hands back, whichever engine proposed it, and what solves of neighbouring programs hand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizer.program.certificate import Certificate, Status
from optimizer.program.infeasible import Infeasibility

if TYPE_CHECKING:
    from optimizer.simplex.propose import Start
    from optimizer.solver.warm import Warm

INTERIOR, SIMPLEX = "interior", "simplex"


@dataclass(frozen=True)
class LogLine:
    """One iteration as the solver saw it, and the certified gap where the certificate was asked."""

    iteration: int
    seconds: float
    mu: float
    primal_usd: float
    dual_usd: float
    gap_estimate: float
    primal_error: float
    dual_error: float
    step_primal: float
    step_dual: float
    correctors: int
    refinement_rounds: int
    certified_gap_relative: float | None

    def __str__(self) -> str:
        certified = "" if self.certified_gap_relative is None else f"  certified gap {self.certified_gap_relative:.2e}"
        return (
            f"{self.iteration:4d} {self.seconds:7.2f}s  primal {self.primal_usd:.9e}  dual {self.dual_usd:.9e}  gap {self.gap_estimate:.1e}"
            f"  errors {self.primal_error:.0e} {self.dual_error:.0e}  steps {self.step_primal:.3f} {self.step_dual:.3f}"
            f"  correctors {self.correctors}  refinements {self.refinement_rounds}{certified}"
        )


@dataclass(frozen=True)
class Solution:
    """A certified answer. `seconds` of this process by phase: compile, solve, certify. `resumed_at_iteration`: of the checkpoint that the
    solve went on from; `iterations` and `log` (whose seconds go on) hold what was done before it too. `notes`: sentences about what went
    wrong on the way. `cut_short`: memory ended the solve; elsewhere it would have gone on. `engine`: which one proposed the plan, INTERIOR
    or SIMPLEX, whose iterations are factorisations or pivots ("" where the limits left nothing to propose);
    `engine_reason`: why that one; `start`: the basis at which the simplex ended, where that was certified."""

    certificate: Certificate
    iterations: int
    seconds: dict[str, float]
    log: tuple[LogLine, ...]
    compilations: int
    infeasibility: Infeasibility | None = None
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    resumed_at_iteration: int | None = None
    notes: tuple[str, ...] = ()
    cut_short: bool = False
    engine: str = ""
    engine_reason: str = ""
    start: Start | None = field(default=None, repr=False, compare=False)

    @property
    def status(self) -> Status:
        return self.certificate.status


class Neighbours:
    """What solves of programs of one form hand on to each other: an early state of the interior point, the simplex's last basis."""

    def __init__(self) -> None:
        self.warm: Warm | None = None
        self.start: Start | None = None
