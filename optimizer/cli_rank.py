"""The command `capacity rank`: which uncertain inputs matter."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings

FAILED, INTERRUPTED = 1, 130


def add_rank_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--range", action="append", default=[], metavar="KEY.PATH=LOW:HIGH",
        help="an uncertain number of the case and its range (then :log for equal ratios); again for more",
    )  # fmt: skip
    parser.add_argument("--ranges", metavar="FILE.yaml", help="a line `KEY.PATH: [lowest, highest]` per input")
    parser.add_argument(
        "--method", choices=("morris", "sobol"), default="sobol",
        help="sobol: shares of the variance; morris: a first look at many inputs (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=int, metavar="N", help="sobol: rows, a power of two, of inputs + 2 solves each (64); morris: trajectories (16)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample (default 0)")
    parser.add_argument("--fresh", action="store_true", help="drop what an earlier run left in DIR")


def run_rank(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.spec import CaseError

    refuse_out(options)

    from optimizer.analysis.ranges import read_ranges, read_ranges_file
    from optimizer.analysis.rank import rank
    from optimizer.report.rank_files import write_rank
    from optimizer.report.rank_page import rank_page
    from optimizer.sweep_journal import JournalError

    ranges = [*read_ranges(options.range), *(read_ranges_file(options.ranges) if options.ranges is not None else ())]
    try:
        with steps_bar(settings) as bar:
            found = rank(
                options.case, ranges, settings, method=options.method, samples=options.samples, seed=options.seed, directory=options.out,
                fresh=options.fresh, progress=bar,
            )  # fmt: skip
    except JournalError as error:
        problem, _, remedy = str(error).partition("; ")
        raise CaseError(options.case, "--out", problem, remedy) from error
    except KeyboardInterrupt:
        print("interrupted" if options.out is None else "interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        said = error.strerror or " ".join(str(error).split())
        print(f"capacity: {options.out} could not be written: {said}; finished points are kept, the same command goes on", file=sys.stderr)
        return FAILED
    return told(options, lambda directory: write_rank(found, directory), lambda where: rank_page(found, where), found.exit_code)
