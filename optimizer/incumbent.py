"""The best plan and the best bound of a solve so far, which may come from different iterates."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from optimizer.program import Multipliers, Plan, Program
from optimizer.program.certificate import Certificate, Status, certify
from optimizer.program.tidy import without_dust

POLISH = 3  # iterations after the goal, to get rid of tiny orders

Pair = tuple[Plan, Multipliers]


class Point(Protocol):
    """What is read of an iterate; `plan` and `multipliers` may fetch them from a device."""

    @property
    def iteration(self) -> int: ...
    def plan(self) -> Plan: ...
    def multipliers(self) -> Multipliers: ...


class HostPoint(NamedTuple):
    """An iterate whose plan and multipliers lie on the host."""

    iteration: int
    pair: Pair

    def plan(self) -> Plan:
        return self.pair[0]

    def multipliers(self) -> Multipliers:
        return self.pair[1]


class Incumbent:
    """`keep_pairs`: hold on to what the best certificate was made of, so that the incumbent can be written down and made again."""

    def __init__(self, program: Program, tolerance: float, keep_pairs: bool = False) -> None:
        self.program, self.tolerance, self.keep_pairs = program, tolerance, keep_pairs
        self.certificate: Certificate | None = None
        self.pair: Pair | None = None
        self.stale = 0
        self.likely: Point | None = None
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

    def remember(self, iterate: Any) -> bool:
        """Keep the iterate that looks best by its own gap and errors, in case none comes close enough to be certified on the way; whether
        it is this one."""
        merit = iterate.gap_estimate + iterate.primal_error + iterate.dual_error
        better = self.likely is None or not merit >= self.merit
        if better:
            self.likely, self.merit = iterate, merit
        return better

    def consider(self, iterate: Point) -> float:
        """Certify this iterate, alone and with the best of what was seen; returns the best certified gap so far."""
        self.considered = iterate.iteration
        pair = iterate.plan(), iterate.multipliers()
        new = certify(self.program, *pair, self.tolerance)
        old = self.certificate
        if old is None or old.plan is None or old.multipliers is None:
            self._take(new, pair)
        else:
            plan = new.plan if new.plan is not None and new.objective <= old.objective else old.plan
            multipliers = new.multipliers if new.lower_bound >= old.lower_bound else old.multipliers
            assert plan is not None and multipliers is not None
            mixed = new
            if plan is not new.plan or multipliers is not new.multipliers:
                pair = plan, multipliers
                mixed = certify(self.program, *pair, self.tolerance)
            improved = math.isfinite(mixed.gap) and not (mixed.gap > 0.9 * old.gap)
            self.stale = 0 if improved else self.stale + 1
            if not mixed.gap > old.gap:
                self._take(mixed, pair)
        assert self.certificate is not None
        return self.certificate.gap_relative

    def final(self) -> Certificate:
        """The best certificate; the likeliest iterate is certified if it was not yet."""
        assert self.likely is not None, "the solver yields its starting point"
        if not self.done and self.considered != self.likely.iteration:
            self.consider(self.likely)
        assert self.certificate is not None
        return self.certificate

    def _take(self, certificate: Certificate, pair: Pair) -> None:
        self.certificate, self.pair = certificate, pair if self.keep_pairs else None

    # to disk and back ---------------------------------------------------------------------------------------------------------------
    def to_host(self) -> None:
        """Let go of the devices' memory."""
        if self.likely is not None:
            self.likely = HostPoint(self.likely.iteration, (self.likely.plan(), self.likely.multipliers()))

    def written(self) -> tuple[dict[str, float], dict[str, Pair]]:
        """(numbers, pairs) that `restore` makes the same incumbent of."""
        numbers: dict[str, float] = {
            "stale": self.stale, "merit": self.merit, "considered": self.considered, "polished": self.polished,
        }  # fmt: skip
        pairs = {} if self.pair is None else {"certified": self.pair}
        if self.likely is not None and not self.done:  # never asked for again once there is a certified plan
            numbers["likely"] = self.likely.iteration
            pairs["likely"] = (self.likely.plan(), self.likely.multipliers())
        return numbers, pairs

    def restore(self, numbers: dict[str, float], pairs: dict[str, Pair]) -> None:
        """The certificate is computed again: nothing that a file says about itself is believed."""
        self.stale, self.merit = int(numbers["stale"]), numbers["merit"]
        self.considered, self.polished = int(numbers["considered"]), int(numbers["polished"])
        if "likely" in pairs:
            self.likely = HostPoint(int(numbers["likely"]), pairs["likely"])
        if "certified" in pairs:
            self._take(certify(self.program, *pairs["certified"], self.tolerance), pairs["certified"])
            if self.likely is None:
                self.likely = HostPoint(self.considered, pairs["certified"])
