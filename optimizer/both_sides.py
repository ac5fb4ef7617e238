"""What one more and one less of a right-hand side is worth, each by a certified re-solve from the plan's own vertex.

    one more    (cost(b) - cost(b + step)) / step        one less    (cost(b - step) - cost(b)) / step

The cost is convex in b, so one more <= any multiplier <= one less. Every cost lies between its certified bound and the cost of its
certified plan, which brackets the two quotients; where that leaves more open than RESOLVED of a price, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from optimizer.program.certificate import Certificate, Status
from optimizer.program.infeasible import find_infeasibility
from optimizer.program.program import Program
from optimizer.program.right_side import RightSide, Slope, TwoPrices, moved, room
from optimizer.solution import SIMPLEX, Solution

STEP = 1e-4
"""Of the size of a right-hand side: the slope next to the plan, and not a trip over several kinks."""
LARGEST_STEP = 1e-2
RESOLVED = 1e-2
"""Of a price: what the certificates may leave open of it; a step is at least as long as a tenth of that asks for."""
WORTH = 1e-6
"""A right-hand side that is worth less than this share of the plan's cost is resolved as if it were worth that."""
LEAST_GAP = 4e-13
"""Of the cost: what a certificate leaves open to rounding."""
MOST_ASKED = 12
WORK_ROWS = 24_000
"""Rows of the program times right-hand sides asked for: about a quarter of a second of one core of 2026."""


class Asked(NamedTuple):
    """A right-hand side, what the multipliers say about a unit of it, and the size of its terms in units."""

    side: RightSide
    price: float
    size: float


def most_asked(solution: Solution) -> int:
    """How many right-hand sides of the program that was solved are worth the time: 0 where the simplex did not answer it."""
    if solution.engine != SIMPLEX or solution.start is None or solution.status is not Status.CERTIFIED:
        return 0
    return min(MOST_ASKED, WORK_ROWS // max(1, solution.start.size[0]))


def both_sides(program: Program, solution: Solution, asked: Iterable[Asked]) -> dict[RightSide, TwoPrices]:
    """Of the right-hand sides for which both sides are known: a price to a hundredth, or a proof that there is no plan. Their order does
    not matter. Raises ValueError where the solution is none of the simplex's for this program."""
    if solution.start is None:
        raise ValueError("the solution holds no basis of the simplex")
    asked = list(asked)
    around = _Around(program, solution) if asked else None
    found = {} if around is None or not around.known else {one.side: around.prices(one) for one in asked}
    return {side: prices for side, prices in found.items() if prices is not None}


class _Around:
    """The cost at the plan, as tightly as two certificates of it say."""

    def __init__(self, program: Program, solution: Solution) -> None:
        from optimizer.simplex.around import Around  # HiGHS

        assert solution.start is not None

        self.program, self.solver = program, Around(program, solution.start)
        here, given = self.solver.here, solution.certificate
        self.known = here is not None and here.plan is not None
        self.least = self.most = self.given_gap = self.cost = math.nan
        if here is not None and self.known:
            self.least, self.most = max(here.lower_bound, given.lower_bound), min(here.objective, given.objective)
            self.cost = max(1.0, abs(self.most - program.constant))
            self.given_gap = max(0.0, given.objective - given.lower_bound)

    def prices(self, asked: Asked) -> TwoPrices | None:
        step = self._step(asked)
        if not step > 0:
            return None
        more, less = self._slope(asked.side, step), self._slope(asked.side, -step)
        if more is None or less is None:
            return None
        worth = max(abs(asked.price), *(min(abs(s.least), abs(s.most)) for s in (more, less) if s.exists), self._least_price(asked))
        if any(s.exists and s.most - s.least > RESOLVED * worth for s in (more, less)):
            return None
        return TwoPrices(asked.price, more, less, self.given_gap / step, step)

    def _least_price(self, asked: Asked) -> float:
        return WORTH * self.cost / asked.size if asked.size > 0 else 0.0

    def _step(self, asked: Asked) -> float:
        """NaN where the right-hand side is nothing and worth nothing."""
        gap = max(self.most - self.least, LEAST_GAP * self.cost)
        worth = max(abs(asked.price), self._least_price(asked))
        if not worth > 0:
            return math.nan
        resolved = 20 * gap / (RESOLVED * worth)
        step = max(STEP * asked.size, resolved)
        step = min(step, LARGEST_STEP * asked.size) if asked.size > 0 else step
        return min(step, room(self.program, asked.side) / 2)

    def _slope(self, side: RightSide, step: float) -> Slope | None:
        """To the side of the sign of `step`; None where neither a plan nor a proof that there is none was found."""
        program = moved(self.program, side, step)
        certificate = self.solver.certificate(program)
        if certificate is None or certificate.plan is None:
            return Slope(math.inf, math.inf) if find_infeasibility(program) is not None else None
        return self._between(certificate, step)

    def _between(self, there: Certificate, step: float) -> Slope:
        if step > 0:
            return Slope((self.least - there.objective) / step, (self.most - there.lower_bound) / step)
        return Slope((there.lower_bound - self.most) / -step, (there.objective - self.least) / -step)
