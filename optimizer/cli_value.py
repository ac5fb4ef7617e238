"""The command `capacity value`: what an offer is worth."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings


def add_value_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offer", required=True, metavar="NAME", help="an offer of the case, or one of its offer/chip/place")
    parser.add_argument("--factors", metavar="F1,F2,...", help="factors on its price for the demand curve (default 0.5 to 2)")
    parser.add_argument("--lot", type=float, metavar="CHIPS", help="value so many chips as a whole too: all or nothing")
    parser.add_argument("--refine", type=int, default=6, metavar="N", help="most bisections of the highest price (default 6)")


def run_value(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.spec import CaseError

    refuse_out(options)
    if options.refine < 0:
        raise CaseError(options.case, "--refine", f"is {options.refine}", "give how many bisections to make, 0 or more")

    from optimizer.analysis.deals import FACTORS, value
    from optimizer.report.value_files import write_value
    from optimizer.report.value_page import value_page

    factors = FACTORS if options.factors is None else _numbers(options.case, options.factors)
    with steps_bar(settings) as bar:
        found = value(
            options.case, options.offer, settings, factors=factors, lot_chips=options.lot, refined=options.refine, progress=bar
        )  # fmt: skip
    return told(options, lambda directory: write_value(found, directory), lambda where: value_page(found, where), found.exit_code)


def _numbers(case: str, text: str) -> tuple[float, ...]:
    from optimizer.spec import CaseError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise CaseError(case, "--factors", f"is '{text}'", "give numbers with commas between them, such as 0.5,1.5,2") from error
