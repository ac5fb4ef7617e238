"""What the commands that analyse a case share: --out is refused early, a bar is shown, files are written, a page is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.report.page import Page
    from optimizer.report.waiting import PointsBar
    from optimizer.settings import Settings

FAILED = 1


def refuse_out(options: argparse.Namespace) -> None:
    """Raises CaseError where --out names no directory that can be written, before anything is solved."""
    if options.out is None:
        return
    from optimizer.report.text_files import refuse_unwritable
    from optimizer.spec import CaseError

    try:
        refuse_unwritable(options.out, directory=True)
    except OSError as error:
        problem = " ".join(str(error).split()).partition("; ")[0]
        raise CaseError(options.case, "--out", problem, "name a directory that can be written") from error


def steps_bar(settings: Settings) -> PointsBar:
    """`with steps_bar(settings) as bar:` and then `bar(done, of)`."""
    from optimizer.report.waiting import PointsBar

    return PointsBar(settings.progress and not settings.verbose, quiet=settings.verbose)


def told(options: argparse.Namespace, write: Callable[[str], Any], page: Callable[[str | None], Page], exit_code: int) -> int:
    """Write the results to --out, where it is given, and print the page with the place of the results; returns the exit code."""
    from optimizer.report.page import print_page

    unwritten = None
    if options.out is not None:
        try:
            write(options.out)
        except OSError as error:
            unwritten = error.strerror or " ".join(str(error).split())
    print_page(page(options.out if unwritten is None else None), sys.stdout)
    if unwritten is not None:
        print(f"capacity: the results could not be written to {options.out}: {unwritten}", file=sys.stderr)
        return FAILED
    return exit_code
