"""The command `capacity sensitivity`: what every number of a case is worth."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings


def add_sensitivity_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checked", type=int, default=5, metavar="N", help="re-solve the N fields that are worth most (default 5)")
    parser.add_argument("--field", action="append", default=[], metavar="KEY.PATH", help="re-solve this field too; again for more")
    parser.add_argument("--step", type=float, default=0.01, metavar="S", help="relative step of the re-solves (default 0.01)")


def run_sensitivity(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    refuse_out(options)

    from optimizer.analysis.sensitivity import row_of, sensitivity
    from optimizer.report.sensitivity_files import write_sensitivity
    from optimizer.report.sensitivity_page import sensitivity_page

    with steps_bar(settings) as bar:
        found = sensitivity(options.case, settings, checked=options.checked, fields=options.field, step=options.step, progress=bar)
    rows = [row_of(worth) for worth in found.fields]
    return told(
        options,
        lambda directory: write_sensitivity(found, rows, directory),
        lambda where: sensitivity_page(found, where, tuple(options.field)),
        found.exit_code,
    )
