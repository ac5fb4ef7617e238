"""Measure this program's solver against its peers: the same problems, the same certified gap, one run.

    python scripts/benchmark.py --suite quick
    python scripts/benchmark.py --suite family --out results/family.json --resume
    python scripts/benchmark.py --suite end_to_end --scenarios 1,5 --seeds 0-2 --repeat 5
    python scripts/benchmark.py --problems reference,tree --solvers ours_float64,highs_simplex --scenarios 20,200 --seeds 0-4

Every measurement has a process of its own; in the suite end_to_end it is that whole process, from its start. Results go to a JSON file,
complete after every measurement; beside it a plot.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout that is not installed

from scripts.benchmarking import end_to_end_report
from scripts.benchmarking.end_to_end import ENGINES, PEER
from scripts.benchmarking.end_to_end_runs import rows_of, run_rounds
from scripts.benchmarking.machine import ROOT, machine
from scripts.benchmarking.measure import Job, write_atomically
from scripts.benchmarking.plot import scaling_svg
from scripts.benchmarking.problems import FLAGSHIP, PROBLEMS, problem_named
from scripts.benchmarking.processes import read_results, run_all
from scripts.benchmarking.report import summary
from scripts.benchmarking.screen import show
from scripts.benchmarking.solvers import SOLVERS, solver_named

HIGHS_THREE = ("highs_simplex", "highs_ipm", "highs_ipm_crossover")
FAMILY = tuple(name for name, problem in PROBLEMS.items() if not problem.is_case)
CASES = tuple(name for name, problem in PROBLEMS.items() if problem.is_case)


@dataclass(frozen=True)
class Suite:
    """Sizes that a problem does not come in are left out; a case has one size and one seed."""

    title: str
    problems: tuple[str, ...]
    solvers: tuple[str, ...]
    scenarios: tuple[int, ...]
    seeds: tuple[int, ...]
    limit_s: float = 1800.0
    whole_process: bool = False


SUITES = {
    "quick": Suite("minutes: the smallest members", ("reference", "own_or_rent"), ("ours_float64", *HIGHS_THREE), (1, 5), (0,), 60.0),
    "family": Suite("against HiGHS", ("reference",), ("ours_float64", *HIGHS_THREE, "highs_hipo"), (1, 20, 50, 200), (0, 1, 2, 3, 4)),
    "first_order": Suite("against first-order methods", ("reference",), ("ours_float64", "ortools_pdlp", "mpax"), (20,), (0, 1, 2, 3, 4)),
    "growth": Suite("ours alone, to thousands of scenarios", ("reference",), ("ours_float64",), (20, 50, 200, 500, 2000), (0, 1, 2, 3, 4)),
    "hard": Suite("every member of the family, ours alone", FAMILY, ("ours_float64",), (20, 200, 2000), (0, 1, 2)),
    "precision": Suite("each precision", (*FAMILY, *CASES), ("ours_float64", "ours_mixed", "ours_float32"), (1, 20, 200), (0,)),
    "flagship": Suite("the flagship case", (FLAGSHIP,), ("ours_float64", *HIGHS_THREE, "highs_hipo", "ortools_pdlp", "mpax"), (0,), (0,)),
    "models": Suite("stating the model as well", ("reference",), ("ours_float64", "highs_simplex", "linopy"), (1, 5, 20, 50), (0,)),
    "end_to_end": Suite(
        "from process start to the certified answer", ("own_or_rent", "two_clouds", "reference"), (*ENGINES, PEER), (1, 5, 20, 50),
        (0, 1, 2), whole_process=True,
    ),
    "full": Suite("everything; days", (*FAMILY, *CASES), tuple(SOLVERS), (1, 5, 20, 50, 200, 500, 2000), (0, 1, 2, 3, 4)),
}  # fmt: skip


def numbers(text: str) -> tuple[int, ...]:
    """0-4,7 is 0, 1, 2, 3, 4, 7."""
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 0-4 or 1,20,200")
        out += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(out))


def names(text: str) -> tuple[str, ...]:
    """The parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


class Parser(argparse.ArgumentParser):
    """Bad arguments: one sentence, exit code 2."""

    def error(self, message: str):
        print(f"benchmark: {message}", file=sys.stderr)
        raise SystemExit(2)


def parsed(given: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    suites = "; ".join(f"{name}: {suite.title}" for name, suite in SUITES.items())
    parser.add_argument("--suite", choices=SUITES, default="quick", help=f"what to measure (default quick). {suites}")
    parser.add_argument("--problems", type=names, help=f"instead of the suite's: {', '.join(PROBLEMS)}")
    parser.add_argument("--solvers", type=names, help=f"instead of the suite's: {', '.join(SOLVERS)}")
    parser.add_argument("--scenarios", type=numbers, help="instead of the suite's sizes, such as 1,20,200 (cases have their own)")
    parser.add_argument("--seeds", type=numbers, help="instead of the suite's seeds, such as 0-4")
    parser.add_argument("--limit", type=float, help="seconds for one solve (1800; quick: 60)")
    parser.add_argument("--repeat", type=int, default=3, help="end_to_end: how often a process of less than 5 s is run (default 3)")
    parser.add_argument("--gap", type=float, help="certified relative gap to reach (default 1e-6; 1e-4 in float32)")
    parser.add_argument("--out", type=Path, help="JSON file (default plans/benchmark/SUITE.json); the plot lies beside it as .svg")
    parser.add_argument("--resume", action="store_true", help="keep the measurements that the file already holds")
    parser.add_argument("--cold", action="store_true", help="compile everything anew: an empty compilation cache for this run")
    return parser.parse_args(given)


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """What to measure, problem by problem, small sizes first. Raises ValueError for an unknown name or a number out of range."""
    suite = SUITES[options.suite]
    limit = suite.limit_s if options.limit is None else options.limit
    if not 0 < limit < 1e7:
        raise ValueError(f"--limit is {limit:g}; it must be a number of seconds above 0")
    if options.gap is not None and not 1e-12 <= options.gap < 1:
        raise ValueError(f"--gap is {options.gap:g}; it must lie between 1e-12 and 1")
    out = []
    for problem in map(problem_named, options.problems or suite.problems):
        sizes = options.scenarios or tuple(s for s in suite.scenarios if s in problem.sizes)
        for scenarios in (0,) if problem.is_case else sizes:
            if scenarios < 1 and not problem.is_case:
                raise ValueError("--scenarios holds 0; a member of the family has at least 1")
            for seed in (0,) if problem.is_case else options.seeds or suite.seeds:
                for solver in map(solver_named, options.solvers or suite.solvers):
                    out.append(Job(problem.name, scenarios, seed, solver.name, options.gap or solver.gap_relative, limit))
    if not out:
        raise ValueError("nothing is left to measure: the problems asked for do not come in the sizes of this suite; name --scenarios")
    if options.repeat < 1:
        raise ValueError(f"--repeat is {options.repeat}; it must be at least 1")
    if suite.whole_process:
        rows_of(out)
    return out


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


def main(given: list[str]) -> int:
    options = parsed(given)
    out = options.out or ROOT / "plans" / "benchmark" / f"{options.suite}.json"
    try:
        jobs = jobs_of(options)
        records = read_results(out) if options.resume else []
        if out.suffix != ".json":
            raise ValueError(f"--out is {out}; it must end in .json")
        out.parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    if SUITES[options.suite].whole_process:
        records = run_rounds(jobs, options.repeat, out, records, say)
        told, shown = end_to_end_report.summary(records), end_to_end_report.show
    else:
        with tempfile.TemporaryDirectory(prefix="benchmark-cache-") as empty:
            environment = {"CAPACITY_CACHE": empty} if options.cold else {}
            records = run_all(jobs, out, records, say, environment)
        told, shown = summary(records), show
    write_atomically(out, {"machine": machine(), "records": records, **told})
    plot = out.with_suffix(".svg")
    plot.write_text(scaling_svg(told["medians"]))
    shown(told)
    print(f"results: {out}, plot: {plot}")
    return 1 if told["disagreements"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the process at work is stopped too
    sys.exit(main(sys.argv[1:]))
