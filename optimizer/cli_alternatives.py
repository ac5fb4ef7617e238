"""The command `capacity alternatives`: plans that cost little more than the best one and are as different as possible."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings


def add_alternatives_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--within", type=float, default=0.02, metavar="X", help="cost at most X above the best plan's (default %(default)s)"
    )
    parser.add_argument("--count", type=int, default=6, metavar="N", help="stop after N alternatives (default %(default)s)")
    parser.add_argument("--goal", action="append", default=[], metavar="WORDS", help="only this aim, such as 'most owned'; again for more")
    parser.add_argument(
        "--apart",
        type=float,
        default=0.05,
        metavar="D",
        help="leave out a plan that is nearer than D to one before it (default %(default)s)",
    )


def run_alternatives(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    refuse_out(options)

    from optimizer.analysis.alternatives import alternatives
    from optimizer.report.alternatives_page import alternatives_page, write_alternatives

    with steps_bar(settings) as bar:
        found = alternatives(
            options.case, settings, within=options.within, count=options.count, goals=options.goal, apart=options.apart, progress=bar
        )
    return told(
        options, lambda directory: write_alternatives(found, directory), lambda where: alternatives_page(found, where), found.exit_code
    )
