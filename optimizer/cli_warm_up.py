"""The command `capacity warm-up`: what cases need is compiled and kept, nothing is solved."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.warm_up import Warmed

GOOD, FAILED = 0, 1


def add_warm_up_options(parser: argparse.ArgumentParser) -> None:
    from optimizer.settings import PRECISIONS, Settings

    parser.add_argument("cases", nargs="+", metavar="CASE", help="case files (YAML)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=Settings.precision, help="of the solver that will be used (default %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="show where an unexpected error happened")


def run_warm_up(options: argparse.Namespace) -> int:
    """Prints a line per shape. Raises CaseError for a case that cannot be used, before anything is compiled."""
    from optimizer.plan import load
    from optimizer.settings import Settings
    from optimizer.warm_up import warm_up

    cases, lost = [load(name) for name in options.cases], False
    for name, case in zip(options.cases, cases, strict=True):
        for warmed in warm_up(case, Settings(precision=options.precision)):
            print(line(name, warmed), flush=True)
            lost = lost or not warmed.where.exists()
    if lost:
        print("capacity: what was compiled could not be kept; name a directory that can be written in CAPACITY_CACHE", file=sys.stderr)
    return FAILED if lost else GOOD


def line(name: str, warmed: Warmed) -> str:
    shape = f"{warmed.nodes:,} nodes, {warmed.pairs:,} pairs, {warmed.acquisitions:,} acquisitions, {warmed.precision}"
    done = "compiled in" if warmed.compiled else "already there, loaded in"
    return f"{Path(name).name}: {shape}: {done} {warmed.seconds:.1f} s, {warmed.where}"
