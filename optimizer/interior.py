"""The interior point and the certificate brought together: iterate, have what looks close judged, keep the best plan and the best bound.

They are kept separately (they may come from different iterates), and the status is the certificate's.

What a long solve may meet: its process is killed (it leaves checkpoints and goes on from the last), or its device runs out of memory (the
rest is solved with the nodes taken chunk after chunk, which needs less).
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.checkpoint import Saved, Store, host_state, shared_by_processes
from optimizer.devices import Session, prepare
from optimizer.incumbent import Incumbent
from optimizer.process import large_arrays_mapped, release_freed_memory
from optimizer.program import Program
from optimizer.program.certificate import Certificate, Status
from optimizer.progress import progress, working
from optimizer.settings import Settings
from optimizer.solution import INTERIOR, LogLine, Neighbours, Solution

if TYPE_CHECKING:
    from optimizer.solver.interior_point import Iterate
    from optimizer.solver.layout import Layout

PATIENCE = 6  # certified attempts without progress before the solver is stopped
STREAM_ALL = 2  # `Shape.streaming`: every sweep over the nodes takes them chunk after chunk
ATTEMPT_FACTOR = 3.0  # the certificate is asked once the solver's own gap is within this factor of the goal,
# or of this one when so many iterations in a row were no better: a certificate costs as much as an iteration
STALLED_FACTOR, WAIT = 100.0, 3
WARM_MOST = 40  # iterations from a neighbour's state before the usual start is tried
LARGE_BYTES = 100_000_000  # one array of placement; some thirty are in use


def by_interior_point(program: Program, settings: Settings, neighbours: Neighbours | None) -> Solution:
    """Certify a plan for a checked program that has one."""
    return _Solve(program, settings, prepare(), neighbours).solution()


class _Solve:
    """One solve: where it stands and what it has learned."""

    def __init__(self, program: Program, settings: Settings, session: Session, neighbours: Neighbours | None) -> None:
        self.program, self.settings, self.session = program, settings, session
        self.best = Incumbent(program, settings.gap_relative, keep_pairs=settings.checkpoint is not None)
        self.log: list[LogLine] = []
        self.notes: list[str] = []
        self.iteration, self.complete = 0, False
        self.resumed_at: int | None = None
        self.state: Any = None  # of the host, to go on from; None: begin
        self.last: Any = None  # the last iterate
        self.began, self.spent_before = time.perf_counter(), 0.0
        self.compile_seconds, self.certify_seconds = 0.0, 0.0
        self.store: Store | None = None
        self.neighbours, self.warm = neighbours, False
        self.attempting = False  # once an iterate was worth a certificate, all that follow are

    def solution(self) -> Solution:
        from optimizer.solver.compiled import forget
        from optimizer.solver.layout import make_layout

        if self.session.crowded():
            forget()
        with self.session.counting() as counter:
            devices = min(self.settings.devices or self.session.devices, self.session.devices)
            layout = make_layout(self.program, devices, self.session.platform == "cpu")
            self.store = self._store(layout)
            self._resume()
            self._start_warm(layout)
            failure = None
            with progress(self.settings) as advance:
                if not self.complete:
                    failure = self._until_memory_ends(layout, advance)
                if self.warm and failure is None and not self.best.done:  # once more, from the usual start
                    self.state, self.warm, self.best.stale, self.attempting = None, False, 0, False
                    failure = self._until_memory_ends(layout, advance)
                if failure is not None and layout.shape.streaming < STREAM_ALL:
                    self._let_go()
                    self.notes.append(
                        f"The device ran out of memory in iteration {self.iteration + 1}; the rest was solved with the nodes taken chunk "
                        "after chunk, which needs less memory and more time."
                    )
                    layout = replace(layout, shape=layout.shape._replace(streaming=STREAM_ALL))
                    failure = self._until_memory_ends(layout, advance)
            if self.store is not None and failure is None and self.last is not None:
                self.store.write_complete(self._saved(), time.perf_counter() - self.began)
            certificate = self._timed(self.best.final) if failure is None else self._out_of_memory(failure)
        total = time.perf_counter() - self.began
        self.notes += [] if self.store is None else self.store.notes
        solving = max(0.0, total - self.compile_seconds - self.certify_seconds)
        seconds = {"compile": self.compile_seconds, "solve": solving, "certify": self.certify_seconds}
        return Solution(
            certificate, self.iteration, seconds, tuple(self.log), counter.count, None, self.session.device, self.session.versions,
            self.resumed_at, tuple(self.notes), failure is not None, INTERIOR,
        )  # fmt: skip

    def _until_memory_ends(self, layout: Layout, advance: Callable[[float], None]) -> str | None:
        """Iterate to the end. Where the device runs out of memory on the way: what it said; nothing is held by an exception then."""
        large = 8 * layout.shape.pairs * layout.shape.blocks * layout.shape.nodes > LARGE_BYTES
        try:
            with large_arrays_mapped(large and self.session.platform == "cpu"):
                self._iterate(layout, advance, large)
            self.complete = True
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            return " ".join(str(error).split())[:200] or type(error).__name__
        return None

    def _iterate(self, layout: Layout, advance: Callable[[float], None], large: bool) -> None:
        from optimizer.solver.interior_point import compile_ahead, interior_point, suitable

        settings, best = self.settings, self.best
        precision = suitable(settings.precision, self.session.platform)
        start = time.perf_counter()
        with working(settings, "compiling"):
            compile_ahead(layout, precision)
        self.compile_seconds += time.perf_counter() - start
        waited = 0
        known = self.log[-1].iteration if self.log else -1
        start = time.perf_counter()
        most = min(WARM_MOST, settings.max_iterations) if self.warm else settings.max_iterations
        for iterate in interior_point(layout, most, settings.gap_relative, self.state, self.iteration, precision):
            self.state = None  # the iterate has it
            self._hand_on(layout, iterate)
            if large:
                release_freed_memory()
            self.last, self.iteration = iterate, iterate.iteration
            if iterate.iteration <= known:  # where the solve goes on from
                continue
            attempt = None
            waited = 0 if best.remember(iterate) else waited + 1
            rough = precision == "float32"  # digits end there soon after the goal: every iterate near it is worth a look
            within = STALLED_FACTOR if rough or waited >= WAIT else ATTEMPT_FACTOR
            close = iterate.gap_estimate <= within * settings.gap_relative and iterate.primal_error < (1e-2 if rough else 1e-4)
            if close or self.attempting:
                attempt, self.attempting = self._timed(best.consider, iterate), True
            line = LogLine(
                iterate.iteration, self._elapsed(), iterate.mu, iterate.primal_cost, iterate.dual_cost, iterate.gap_estimate,
                iterate.primal_error, iterate.dual_error, iterate.step_primal, iterate.step_dual, iterate.correctors,
                iterate.refinement_rounds, attempt,
            )  # fmt: skip
            self.log.append(line)
            if settings.verbose:
                print(line, file=sys.stderr)
            advance(iterate.gap_estimate if attempt is None else attempt)
            if self._timed(best.finished) or best.stale >= PATIENCE:
                break
            if self.store is not None and self.store.due(time.perf_counter() - start):
                self.store.write(self._saved())
            start = time.perf_counter()

    def _start_warm(self, layout: Layout) -> None:
        """Begin where a neighbour was. Not where checkpoints are kept: the neighbour may have been solved by a process that is gone, and
        an answer must not depend on that."""
        if self.neighbours is None or self.neighbours.warm is None or self.store is not None:
            return
        from optimizer.solver.warm import fitted

        self.state = fitted(self.neighbours.warm, layout)
        self.warm = self.state is not None

    def _hand_on(self, layout: Layout, iterate: Iterate) -> None:
        if self.neighbours is None or self.neighbours.warm is not None or shared_by_processes():
            return
        from optimizer.solver.warm import NEAR, Warm

        if iterate.gap_estimate < NEAR:
            self.neighbours.warm = Warm(host_state(iterate.state), layout.shape, layout.scales, iterate.mu)

    def _out_of_memory(self, failure: str) -> Certificate:
        """The best that is known where memory did not suffice for more."""
        said = (
            "The device ran out of memory also with the nodes taken chunk after chunk: plan fewer scenarios, periods or load blocks, or "
            f"use a device with more memory ({failure})."
        )
        self._let_go()
        self.notes.append(said)
        if self.store is not None:
            self.store.keep()
        certificate = Certificate(Status.FAILED, said, math.nan, -math.inf, math.nan, math.nan, math.nan, None, None, (), math.nan)
        if self.best.likely is None:
            return certificate
        try:
            found = self._timed(self.best.final)
        except MemoryError:
            return certificate
        return found if found.status is not Status.FAILED else replace(found, reason=f"{said} {found.reason}")

    def _let_go(self) -> None:
        """Keep on the host what a device had, and free its memory."""
        from optimizer.solver.compiled import forget

        if self.last is not None:
            self.state, self.last = host_state(self.last.state), None
        self.best.to_host()
        forget()
        gc.collect()

    # checkpoints ------------------------------------------------------------------------------------------------------------------
    def _store(self, layout: Layout) -> Store | None:
        if self.settings.checkpoint is None:
            return None
        if shared_by_processes():
            self.notes.append("No checkpoints were written: several processes shared the solve.")
            return None
        return Store(self.program, self.settings, layout, Path(self.settings.checkpoint))

    def _resume(self) -> None:
        saved = self.store.read() if self.store is not None else None
        if saved is None:
            return
        self.state, self.iteration, self.complete = saved.state, saved.iteration, saved.complete
        self.log = [LogLine(*row) for row in saved.log]
        self.resumed_at, self.spent_before = saved.iteration, saved.seconds
        self._timed(self.best.restore, saved.numbers, saved.pairs)
        self.attempting = self.best.certificate is not None
        if saved.complete:
            self._timed(self.best.finished)

    def _saved(self) -> Saved:
        rows = [list(astuple(line)) for line in self.log]
        return Saved(self.iteration, self.complete, self._elapsed(), self.last.state, rows, *self.best.written())

    def _elapsed(self) -> float:
        return self.spent_before + time.perf_counter() - self.began

    def _timed(self, certify: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return certify(*arguments)
        finally:
            self.certify_seconds += time.perf_counter() - start


def _is_out_of_memory(error: Exception) -> bool:
    """Of a device (XLA says RESOURCE_EXHAUSTED) or of the host."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
