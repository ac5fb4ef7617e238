"""The registry: every problem of the benchmark by name, with the sizes it comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimizer.program.program import Program
from scripts.benchmarking.family_draws import Knobs
from scripts.benchmarking.family_rows import with_deferrable, with_tail_price, with_windows
from scripts.benchmarking.reference_family import OPTIMA, family_program

CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"
SIZES = (1, 5, 20, 50, 200, 500, 2000)
LARGER = (20, 200, 2000)


@dataclass(frozen=True)
class Problem:
    """`build(scenarios, seed)` gives the Program; a case has one size and one seed, stated as scenarios 0 and seed 0."""

    name: str
    title: str
    sizes: tuple[int, ...]
    build: Callable[[int, int], Program]
    optima: dict[int, float] | None = None  # of seed 0, by scenarios

    @property
    def is_case(self) -> bool:
        return self.sizes == (0,)


def _member(**knobs) -> Callable[[int, int], Program]:
    return lambda scenarios, seed: family_program(Knobs(scenarios, seed, **knobs))


def _case(path: Path) -> Callable[[int, int], Program]:
    """The case's linear program. Where work queues it is the relaxation with secants, the first that a plan solves."""

    def build(scenarios: int, seed: int) -> Program:
        from optimizer.headroom import from_below, most_load
        from optimizer.performance.replicas import SpareCurves
        from optimizer.plan import build, load

        built = build(load(path))
        groups = built.structure.pair_index.groups
        if groups is None:
            return built.program
        most = most_load(built.program, groups)
        return from_below(built.program, groups, SpareCurves(groups.loads, most.max(axis=(0, 1))), most)

    return build


def _registry() -> dict[str, Problem]:
    family = [
        Problem("reference", "the reference family: two stages, 12 workloads, 16 pools, 12 periods, 3 blocks", SIZES, _member(), OPTIMA),
        Problem("pools48", "the family with 48 pools", LARGER, _member(pools=48)),
        Problem("degenerate", "the family rounded to ties, every offer twice at one price", LARGER, _member(degenerate=True)),
        Problem("tree", "the family on a tree that parts in two before periods 4, 7 and 10", LARGER, _member(splits=(3, 6, 9))),
        Problem(
            "deferrable", "the family with four of the twelve workloads free to move between blocks", LARGER,
            lambda s, seed: with_deferrable(family_program(Knobs(s, seed)), 4),
        ),
        Problem(
            "windows", "the family with two training runs, each inside eight periods", LARGER,
            lambda s, seed: with_windows(family_program(Knobs(s, seed)), 2, 2, 10, seed),
        ),
        Problem(
            "cvar", "the family with half the CVaR of the dearest tenth added to the expected cost", LARGER,
            lambda s, seed: with_tail_price(family_program(Knobs(s, seed))),
        ),
        Problem(
            "tree_deferrable_windows", "the family with a tree, deferrable work and training windows at once", LARGER,
            lambda s, seed: with_windows(with_deferrable(family_program(Knobs(s, seed, splits=(3, 6, 9))), 4), 2, 2, 10, seed),
        ),
    ]  # fmt: skip
    cases = [Problem(path.stem, f"the case configs/cases/{path.name}", (0,), _case(path)) for path in sorted(CASES.glob("*.yaml"))]
    return {problem.name: problem for problem in [*family, *cases]}


PROBLEMS = _registry()
FLAGSHIP = "frontier_lab"


def problem_named(name: str) -> Problem:
    """Raises ValueError for a name that is not in the registry."""
    if name not in PROBLEMS:
        raise ValueError(f"there is no problem {name!r}; the problems are {', '.join(PROBLEMS)}")
    return PROBLEMS[name]
