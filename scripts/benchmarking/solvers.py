"""The registry of solvers by name."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.benchmarking.own_solver import own
from scripts.benchmarking.peer_first_order import mpax_r2hpdhg, ortools_pdlp
from scripts.benchmarking.peer_highs import ALGORITHMS, highs, scipy_highs
from scripts.benchmarking.peer_linopy import linopy_highs
from scripts.benchmarking.proposal import Solve

GAP = 1e-6


@dataclass(frozen=True)
class Solver:
    """`twice`: it compiles, so a second run in the same process is measured too and is what others are compared with."""

    name: str
    solve: Solve
    twice: bool = False
    gap_relative: float = GAP  # goal where none is asked for


SOLVERS = {
    s.name: s
    for s in (
        Solver("ours_float64", own("interior", "float64"), True),
        Solver("ours_mixed", own("interior", "mixed"), True),
        Solver("ours_float32", own("interior", "float32"), True, 1e-4),
        Solver("ours_simplex", own("simplex")),
        Solver("ours_auto", own("auto"), True),
        *(Solver(name, highs(name)) for name in ALGORITHMS),
        Solver("scipy_highs", scipy_highs),
        Solver("ortools_pdlp", ortools_pdlp),
        Solver("mpax", mpax_r2hpdhg, True),
        Solver("linopy", linopy_highs),
    )
}
HIGHS = ("highs_simplex", "highs_ipm", "highs_ipm_crossover", "highs_hipo")  # the variants whose fastest is the yardstick
OURS = tuple(name for name in SOLVERS if name.startswith("ours"))


def solver_named(name: str) -> Solver:
    """Raises ValueError for a name that is not in the registry."""
    if name not in SOLVERS:
        raise ValueError(f"there is no solver {name!r}; the solvers are {', '.join(SOLVERS)}")
    return SOLVERS[name]
