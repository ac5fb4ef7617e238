"""Plan one case: python scripts/plan.py CASE [--out DIR]. `capacity plan`, with plans/<name of the case> as the default directory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout that is not installed

from optimizer.cli import add_plan_options, main


def arguments(given: list[str]) -> list[str]:
    """Those of `capacity plan`, with a directory for the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_plan_options(parser)
    options = parser.parse_args(given)
    return ["plan", *given] if options.out is not None else ["plan", *given, "--out", str(Path("plans") / Path(options.case).stem)]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:])))
