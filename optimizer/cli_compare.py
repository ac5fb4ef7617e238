"""The command `capacity compare`: two cases and what makes one dearer, or two written plans side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.cli_analysis import refuse_out, steps_bar, told

if TYPE_CHECKING:
    from optimizer.settings import Settings

LEVELS = ("item", "field", "section", "number")


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("other", metavar="OTHER", help="the second case file; or both are plan.json files or directories of plans")
    parser.add_argument(
        "--by", choices=LEVELS, default="item",
        help="what an input is: workloads.chat (item), every field, every section, or every number along the way (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--orders", type=int, default=4, metavar="N", help="pairs of random orders for more than 5 inputs (default 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random orders (default 0)")
    parser.add_argument("--solves", type=int, default=64, metavar="N", help="with --by number: points to solve at most (default 64)")


def run_compare(options: argparse.Namespace, settings: Settings) -> int:
    """Prints a page, writes the results. Raises CaseError for wrong input."""
    from optimizer.spec import CaseError

    kinds = [_is_plan(name) for name in (options.case, options.other)]
    if kinds[0] != kinds[1]:
        problem = f"is a {'plan' if kinds[1] else 'case'} and {options.case} is a {'plan' if kinds[0] else 'case'}"
        raise CaseError(options.other, "", problem, "compare two case files, or two plans")
    refuse_out(options)
    return _plans(options) if kinds[0] else _cases(options, settings)


def _is_plan(name: str) -> bool:
    return name.endswith(".json") or Path(name).is_dir()


def _cases(options: argparse.Namespace, settings: Settings) -> int:
    from optimizer.analysis.compare import compare
    from optimizer.report.compare_files import write_comparison
    from optimizer.report.compare_page import compare_page

    with steps_bar(settings) as bar:
        found = compare(
            options.case, options.other, settings, by=options.by, orders=options.orders, seed=options.seed, solves=options.solves,
            progress=bar,
        )  # fmt: skip
    return told(options, lambda directory: write_comparison(found, directory), lambda where: compare_page(found, where), found.exit_code)


def _plans(options: argparse.Namespace) -> int:
    from optimizer.analysis.compare_plans import compare_plans
    from optimizer.report.compare_files import write_plan_comparison
    from optimizer.report.compare_page import plan_compare_page

    found = compare_plans(options.case, options.other)
    return told(options, lambda directory: write_plan_comparison(found, directory), lambda where: plan_compare_page(found, where), 0)
