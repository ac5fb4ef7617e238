"""solve(program): solver and certificate brought together for planners with their own arrays.

The solver proposes, the certificate disposes: every iterate that looks close is handed to the certificate, the best plan and the best
bound are kept separately (they may come from different iterates), and the status is the certificate's.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from optimizer.devices import prepare
from optimizer.program import Program
from optimizer.program.certificate import Certificate, Status, certify, infeasible_certificate
from optimizer.program.infeasible import Infeasibility, find_infeasibility
from optimizer.program.tidy import without_dust
from optimizer.settings import Settings

PATIENCE = 6  # certified attempts without progress before the solver is stopped
POLISH = 3  # iterations after the goal, to get rid of tiny orders
ATTEMPT_FACTOR = 100.0  # the certificate is asked once the solver's own gap is within this factor of the goal


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
    """A certified answer. `seconds` by phase: compile, solve, certify."""

    certificate: Certificate
    iterations: int
    seconds: dict[str, float]
    log: tuple[LogLine, ...]
    compilations: int
    infeasibility: Infeasibility | None = None
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        return self.certificate.status


def solve(program: Program, settings: Settings | None = None) -> Solution:
    """Certify a plan for the program.

    Raises ProgramError when the arrays state no program that can be certified. Everything else is a status: CERTIFIED, FEASIBLE (the gap is
    stated), INFEASIBLE (with the limits that clash), FAILED (with the reason).
    """
    settings = settings or Settings()
    program.check()
    session = prepare()
    began = time.perf_counter()
    infeasibility = find_infeasibility(program)
    if infeasibility is not None:
        seconds = {"compile": 0.0, "solve": 0.0, "certify": time.perf_counter() - began}
        return Solution(infeasible_certificate(program, infeasibility), 0, seconds, (), 0, infeasibility, session.device, session.versions)
    return _iterate(program, settings, session, time.perf_counter() - began)


def _iterate(program: Program, settings: Settings, session, certify_seconds: float) -> Solution:
    from optimizer.solver.compiled import compile_for, forget
    from optimizer.solver.interior_point import interior_point
    from optimizer.solver.layout import make_layout

    began = time.perf_counter()
    if session.crowded():
        forget()
    with session.counting() as counter:
        layout = make_layout(program, min(settings.devices or session.devices, session.devices), session.platform == "cpu")
        start = time.perf_counter()
        with _working(settings, "compiling"):
            compile_for(layout.shape, layout.data)
        compile_seconds = time.perf_counter() - start
        best = _Best(program, settings.gap_relative)
        log: list[LogLine] = []
        iteration = 0
        with _progress(settings) as advance:
            for iterate in interior_point(layout, settings.max_iterations, settings.gap_relative):
                iteration = iterate.iteration
                attempt = None
                close = iterate.gap_estimate <= ATTEMPT_FACTOR * settings.gap_relative and iterate.primal_error < 1e-4
                if close or best.certificate is not None:
                    start = time.perf_counter()
                    attempt = best.consider(iterate)
                    certify_seconds += time.perf_counter() - start
                elapsed = time.perf_counter() - began
                line = LogLine(
                    iteration, elapsed, iterate.mu, iterate.primal_cost, iterate.dual_cost, iterate.gap_estimate, iterate.primal_error,
                    iterate.dual_error, iterate.step_primal, iterate.step_dual, iterate.correctors, iterate.refinement_rounds, attempt,
                )  # fmt: skip
                log.append(line)
                if settings.verbose:
                    print(line, file=sys.stderr)
                advance(iterate.gap_estimate if attempt is None else attempt)
                best.remember(iterate)
                start = time.perf_counter()
                finished = best.finished()
                certify_seconds += time.perf_counter() - start
                if finished or best.stale >= PATIENCE:
                    break
        start = time.perf_counter()
        certificate = best.final()
        certify_seconds += time.perf_counter() - start
    total = time.perf_counter() - began
    seconds = {"compile": compile_seconds, "solve": max(0.0, total - compile_seconds - certify_seconds), "certify": certify_seconds}
    return Solution(certificate, iteration, seconds, tuple(log), counter.count, None, session.device, session.versions)


class _Best:
    """The best plan and the best bound so far, which may come from different iterates."""

    def __init__(self, program: Program, tolerance: float) -> None:
        self.program, self.tolerance = program, tolerance
        self.certificate: Certificate | None = None
        self.stale = 0
        self.likely = None
        self.merit = math.inf
        self.considered = -1
        self.polished = 0

    @property
    def done(self) -> bool:
        return self.certificate is not None and self.certificate.status is Status.CERTIFIED

    def finished(self) -> bool:
        """Certified, and without orders that are too small to matter; some more iterations are spent on the latter, as they shrink by a
        decade in each."""
        if not self.done:
            return False
        assert self.certificate is not None
        clean = without_dust(self.program, self.certificate, self.tolerance)
        self.certificate, self.polished = clean or self.certificate, self.polished + 1
        return clean is not None or self.polished > POLISH

    def remember(self, iterate) -> None:
        """Keep the iterate that looks best by its own gap and errors, in case none comes close enough to be certified on the way."""
        merit = iterate.gap_estimate + iterate.primal_error + iterate.dual_error
        if self.likely is None or not merit >= self.merit:
            self.likely, self.merit = iterate, merit

    def consider(self, iterate) -> float:
        """Certify this iterate, alone and with the best of what was seen; returns the best certified gap so far."""
        self.considered = iterate.iteration
        new = certify(self.program, iterate.plan(), iterate.multipliers(), self.tolerance)
        old = self.certificate
        if old is None or old.plan is None or old.multipliers is None:
            self.certificate = new
        else:
            plan = new.plan if new.plan is not None and new.objective <= old.objective else old.plan
            multipliers = new.multipliers if new.lower_bound >= old.lower_bound else old.multipliers
            assert plan is not None and multipliers is not None
            mixed = new if plan is new.plan and multipliers is new.multipliers else certify(self.program, plan, multipliers, self.tolerance)
            improved = math.isfinite(mixed.gap) and not (mixed.gap > 0.9 * old.gap)
            self.stale = 0 if improved else self.stale + 1
            if not mixed.gap > old.gap:
                self.certificate = mixed
        return self.certificate.gap_relative

    def final(self) -> Certificate:
        """The best certificate; the likeliest iterate is certified if it was not yet."""
        assert self.likely is not None, "the solver yields its starting point"
        if not self.done and self.considered != self.likely.iteration:
            self.consider(self.likely)
        assert self.certificate is not None
        return self.certificate


@contextmanager
def _working(settings: Settings, what: str) -> Iterator[None]:
    """A spinner on standard error while something of unknown length runs."""
    if not settings.progress or settings.verbose:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


class _progress:
    """A progress bar on standard error: decades of the gap done, out of those to do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bar = None

    def __enter__(self):
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

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.stop()
