"""The command `capacity sensitivity`: what every number of a case is worth."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.settings import Settings

FAILED = 1


def add_sensitivity_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checked", type=int, default=5, metavar="N", help="re-solve the N fields that are worth most (default 5)")
    parser.add_argument("--field", action="append", default=[], metavar="KEY.PATH", help="re-solve this field too; again for more")
    parser.add_argument("--step", type=float, default=0.01, metavar="S", help="relative step of the re-solves (default 0.01)")


def run_sensitivity(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.report.files import refuse_unwritable
    from optimizer.spec import CaseError

    if not 0 < options.step < 1:
        raise CaseError(options.case, "--step", f"is {options.step:g}", "give a relative step between 0 and 1, such as 0.01")
    if options.checked < 0:
        raise CaseError(options.case, "--checked", f"is {options.checked}", "give how many fields to re-solve, 0 or more")
    if options.out is not None:
        try:
            refuse_unwritable(options.out, directory=True)
        except OSError as error:
            problem = " ".join(str(error).split()).partition("; ")[0]
            raise CaseError(options.case, "--out", problem, "name a directory that can be written") from error

    from optimizer.analysis.sensitivity import row_of, sensitivity
    from optimizer.report.page import print_page
    from optimizer.report.sensitivity_files import write_sensitivity
    from optimizer.report.sensitivity_page import sensitivity_page
    from optimizer.report.sweep_page import PointsBar

    with PointsBar(settings.progress and not settings.verbose) as bar:
        found = sensitivity(options.case, settings, checked=options.checked, fields=options.field, step=options.step, progress=bar)
    unwritten = None
    if options.out is not None:
        try:
            write_sensitivity(found, [row_of(worth) for worth in found.fields], options.out)
        except OSError as error:
            unwritten = error.strerror or " ".join(str(error).split())
    print_page(sensitivity_page(found, options.out if unwritten is None else None, tuple(options.field)), sys.stdout)
    if unwritten is not None:
        print(f"capacity: the results could not be written to {options.out}: {unwritten}", file=sys.stderr)
        return FAILED
    return found.exit_code
