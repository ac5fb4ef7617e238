"""The command `capacity goal`: the least change of named numbers that meets a target, or that makes given acquisitions the best plan."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings


def add_goal_options(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--meet", metavar="TARGET", help="cost_usd<=2.0e9, cost<=-5%%, unserved<=0.1%%, or share_own>=0.5 (of the compute)")
    wanted.add_argument("--plan", metavar="FILE", help="make these acquisitions the best plan: a plan.json, a JSON list, or a CSV")
    parser.add_argument(
        "--change",
        action="append",
        required=True,
        metavar="KEY.PATH=LOWEST:HIGHEST",
        help="a number that may move, and its range; again for more",
    )
    parser.add_argument(
        "--norm", choices=("l2", "l1"), default="l2", help="size of a change: root of the sum of squares, or sum (default %(default)s)"
    )


def run_goal(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    refuse_out(options)

    from optimizer.analysis.moved_case import read_changes

    changes = read_changes(options.change)
    return _meet(options, settings, changes) if options.meet is not None else _inverse(options, settings, changes)


def _meet(options: argparse.Namespace, settings: Settings, changes: dict[str, tuple[float, float]]) -> int:
    from optimizer.analysis.goal import goal
    from optimizer.report.goal_files import write_goal
    from optimizer.report.goal_page import goal_page

    with steps_bar(settings) as bar:
        found = goal(options.case, options.meet, changes, settings, norm=options.norm, progress=bar)
    return told(options, lambda directory: write_goal(found, directory), lambda where: goal_page(found, where), found.exit_code)


def _inverse(options: argparse.Namespace, settings: Settings, changes: dict[str, tuple[float, float]]) -> int:
    from optimizer.analysis.inverse import inverse
    from optimizer.report.files import read_acquisitions
    from optimizer.report.goal_files import write_inverse
    from optimizer.report.goal_page import inverse_page
    from optimizer.spec import CaseError

    try:
        rows = read_acquisitions(options.plan)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CaseError(options.plan, "", f"cannot be read ({said})", "give a plan.json, a JSON list or a CSV of acquisitions") from error
    with steps_bar(settings) as bar:
        found = inverse(options.case, rows, changes, settings, norm=options.norm, source=options.plan, progress=bar)
    return told(options, lambda directory: write_inverse(found, directory), lambda where: inverse_page(found, where), found.exit_code)
