"""Is this accelerator right, and how fast: one command, under eight minutes, nothing but the checkout and its wheels.

    pip install -e '.[cuda]' && python scripts/accelerator_check.py
    python scripts/accelerator_check.py --small --device cpu

Answers are judged by the certificate (NumPy, float64) and compared with the CPU's. Times and memory are put beside what the device's memory
can do, measured here. The JSON file is complete after every part; a part that would not fit into the time left is skipped, and says so.
Exit codes: 0 all that ran is right, 1 something failed, 2 there is no accelerator or bad arguments.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout that is not installed

GOOD, FAILED, BAD_INPUT = 0, 1, 2
CLOSING_S = 5.0  # kept for the table


class Parser(argparse.ArgumentParser):
    """Bad arguments: one sentence, exit code 2."""

    def error(self, message: str):
        print(f"accelerator_check: {message}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def parsed(given: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("accelerator_check.json"), help="JSON file (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, metavar="M", help="for everything (default %(default)s)")
    parser.add_argument("--device", choices=("accelerator", "cpu"), default="accelerator", help="cpu: also where there is none")
    parser.add_argument("--small", action="store_true", help="small programs, for a CPU: two minutes on two idle cores")
    options = parser.parse_args(given)
    if not 0 < options.minutes < 1e4:
        parser.error(f"--minutes is {options.minutes:g}; it must be above 0")
    if not options.out.resolve().parent.is_dir():
        parser.error(f"--out is {options.out}; its directory does not exist")
    return options


def main(given: list[str]) -> int:
    options = parsed(given)
    from optimizer.devices import prepare

    session = prepare()
    if session.platform == "cpu" and not options.small and options.device != "cpu":
        print("accelerator_check: JAX sees no accelerator; install the extra cuda or tpu, or give --device cpu or --small", file=sys.stderr)
        return BAD_INPUT
    from scripts.accelerator.parts import SMALL, Check, Sizes
    from scripts.accelerator.record import Record
    from scripts.accelerator.table import table

    record = Record(options.out, 60.0 * options.minutes - CLOSING_S)
    record.about |= {"device": session.device, "platform": session.platform, "versions_of_session": session.versions}
    record.say(f"{session.device}; at most {options.minutes:g} minutes; results in {options.out}")
    check = Check(record, SMALL if options.small else Sizes(), at_once=session.platform != "cpu")
    record.closing = check.end_on_cpu
    timer = record.end_at_the_limit()
    try:
        check.begin_on_cpu(and_end=session.platform == "cpu")
        record.go_through(check.parts())
    finally:
        timer.cancel()
        check.end_on_cpu()
    print(table(record.parts))
    return GOOD if record.good else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
