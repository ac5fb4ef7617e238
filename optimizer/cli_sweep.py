"""The command `capacity sweep`: certified what-ifs over fields of a case."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar

if TYPE_CHECKING:
    from optimizer.settings import Settings

FAILED, INTERRUPTED = 1, 130


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vary", action="append", metavar="KEY.PATH=VALUES",
        help="a field of the case and its values, v1,v2,v3 or lowest:highest:count (then :log for equal ratios); again for further fields",
    )  # fmt: skip
    parser.add_argument("--points", metavar="FILE.csv", help="in place of --vary: a column per field, a row per point")
    parser.add_argument("--fresh", action="store_true", help="drop what an earlier sweep left in DIR")


def run_sweep(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.spec import CaseError

    if options.out is None:
        raise CaseError(options.case, "--out", "is missing", "name a directory for the results and the state of the sweep")
    if (options.vary is None) == (options.points is None):
        problem = "names no field" if options.vary is None else "and --points are both given"
        raise CaseError(options.case, "--vary", problem, "give --vary KEY.PATH=v1,v2,v3 or --points FILE.csv")
    refuse_out(options)

    from optimizer.report.page import print_page
    from optimizer.report.sweep_page import sweep_page
    from optimizer.sweep import sweep
    from optimizer.sweep_journal import JournalError
    from optimizer.sweep_points import read_vary

    vary = None if options.vary is None else read_vary(options.vary)
    try:
        with steps_bar(settings) as bar:
            found = sweep(options.case, vary, settings, options.out, points=options.points, fresh=options.fresh, progress=bar)
    except JournalError as error:
        problem, _, remedy = str(error).partition("; ")
        raise CaseError(options.case, "--out", problem, remedy) from error
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        told = error.strerror or " ".join(str(error).split())
        print(f"capacity: {options.out} could not be written: {told}; finished points are kept, the same command goes on", file=sys.stderr)
        return FAILED
    print_page(sweep_page(found, options.out), sys.stdout)
    return found.exit_code
