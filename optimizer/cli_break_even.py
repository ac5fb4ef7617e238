"""The command `capacity break-even`: where a stated decision flips; without a field, the utilisation above which owning is cheaper."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings

GAP = 1e-8  # decisions near a flip are told apart by small differences in cost
RANGE = "KEY.PATH=lowest:highest"


def add_break_even_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--field", metavar=RANGE,
        help="where to look for flips (then :log for a grid of equal ratios); without it, the utilisation above which owning is cheaper",
    )  # fmt: skip
    parser.add_argument(
        "--when", action="append", metavar="DECISION",
        help="own_share=0.4 (also lease, reserved, existing, on_demand, spot), offer=NAME, offer=NAME@CHIPS, cost_usd=X or unserved; "
        "again for more",
    )  # fmt: skip
    parser.add_argument(
        "--against", metavar="KEY.PATH=VALUES", help="flips for each value of a second field, v1,v2 or lowest:highest:count"
    )
    parser.add_argument("--points", type=int, default=9, metavar="N", help="values of the grid (default %(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-4, metavar="T", help="relative width of a bracket (default %(default)s)")
    parser.add_argument(
        "--least", type=float, default=1e-4, metavar="L", help="share of chip-hours, of work, that counts as nothing (default %(default)s)"
    )
    parser.set_defaults(gap=GAP)


def run_break_even(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.spec import CaseError

    refuse_out(options)
    if options.field is None:
        for name in ("when", "against"):
            if getattr(options, name) is not None:
                raise CaseError(options.case, f"--{name}", "is given without --field", f"add --field {RANGE}")
        return _utilisation(options, settings)
    if options.when is None:
        raise CaseError(options.case, "--when", "is missing", "name the decision that may flip, such as --when own_share=0.4")

    from optimizer.analysis.break_even import FieldRange, break_even
    from optimizer.report.break_even_files import write_break_even
    from optimizer.report.break_even_page import break_even_page
    from optimizer.sweep_points import read_vary

    against = None
    if options.against is not None:
        ((key, values),) = read_vary([options.against], "--against").items()
        against = (key, values)
    with steps_bar(settings) as bar:
        found = break_even(
            options.case, FieldRange(*read_range(options.field)), options.when, settings, against=against, points=options.points,
            tolerance=options.tolerance, least=options.least, progress=bar,
        )  # fmt: skip
    return told(options, lambda directory: write_break_even(found, directory), lambda where: break_even_page(found, where), found.exit_code)


def _utilisation(options: argparse.Namespace, settings: Settings) -> int:
    from optimizer.analysis.utilisation import utilisation
    from optimizer.report.utilisation_page import utilisation_page, write_utilisation

    found = utilisation(options.case, settings)
    return told(options, lambda folder: write_utilisation(found, folder), lambda where: utilisation_page(found, where), found.exit_code)


def read_range(text: str) -> tuple[str, Any, Any, bool]:
    """(key path, lowest, highest, equal ratios) of `KEY.PATH=lowest:highest`. Raises CaseError."""
    from optimizer.spec import CaseError

    key, equals, ends = (part.strip() for part in text.partition("="))
    low, colon, high = ends.partition(":")
    high, ratios, word = high.partition(":")
    if not (key and equals and colon) or (ratios and word.strip() != "log"):
        raise CaseError("--field", text, f"is not {RANGE}", "write offers.buy.price_usd_per_chip=20000:60000")
    return key, _number(key, low, ends), _number(key, high, ends), bool(ratios)


def _number(key: str, text: str, ends: str) -> int | float:
    from optimizer.spec import CaseError

    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise CaseError("--field", key, f"has the range {ends}, whose `{text.strip()}` is no number", "write lowest:highest") from error
