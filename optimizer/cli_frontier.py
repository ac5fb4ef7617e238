"""The command `capacity frontier`: the least cost at every value of a field or of a further limit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from datetime import date

    from optimizer.settings import Settings


def add_frontier_options(parser: argparse.ArgumentParser) -> None:
    along = parser.add_mutually_exclusive_group(required=True)
    along.add_argument("--field", metavar="KEY.PATH=VALUES", help="a field of the case; VALUES: v1,v2,v3 or lowest:highest:count")
    along.add_argument(
        "--limit", metavar="WORD=VALUES",
        help="own_share (at least), rent_share, provider_share:NAME, family_share:NAME, capex_usd, supply_chips (at most), or a factor: "
        "power, unserved (its price)",
    )  # fmt: skip
    parser.add_argument(
        "--from",
        dest="since",
        metavar="DATE",
        help="first day of a limit on a share (default: the start; own_share: once own chips can stand)",
    )


def run_frontier(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    refuse_out(options)

    from optimizer.analysis.frontier import frontier, rows_of
    from optimizer.report.frontier_page import frontier_page, write_frontier
    from optimizer.sweep_points import read_vary

    option, text = ("--field", options.field) if options.field is not None else ("--limit", options.limit)
    [(name, values)] = read_vary([text], option, "KEY.PATH" if option == "--field" else "WORD").items()
    field, limit = (name, None) if option == "--field" else (None, name)
    since = None if options.since is None else _date(options.since)
    with steps_bar(settings) as bar:
        found = frontier(options.case, settings, field=field, limit=limit, values=values, since=since, progress=bar)
    rows = rows_of(found)
    return told(
        options,
        lambda directory: write_frontier(found, rows, directory),
        lambda where: frontier_page(found, rows, where),
        found.exit_code,
    )


def _date(text: str) -> date:
    from datetime import date

    from optimizer.spec import CaseError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CaseError("--from", text, "is no date", "write YYYY-MM-DD") from error
