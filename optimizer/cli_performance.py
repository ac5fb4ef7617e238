"""Commands of `capacity` about work and chips rather than plans."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from optimizer.cli_calibrate import add_calibrate_options, run_calibrate
from optimizer.cli_serve import add_serve_options, run_serve

if TYPE_CHECKING:
    from optimizer.performance.trace import Service
    from optimizer.report.trace_page import BlockNames

MakeCommand = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""name, what runs it, one sentence: the parser of the new command."""

GOOD = 0


def add_performance_commands(command: MakeCommand) -> None:
    """Registers them; called once by the parser of `capacity`."""
    add_serve_options(command("serve", run_serve, "how many chips one service needs, and what a million output tokens costs"))
    errors = "print the errors of the calibrated models, or fit them to your own measurements"
    add_calibrate_options(command("calibrate", run_calibrate, errors))
    add_trace_options(command("trace", run_trace, "measure an arrival log and write the workload block of a case file"))


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log", metavar="FILE.csv", help="a row per request: TIMESTAMP, ContextTokens, GeneratedTokens (the public Azure LLM format)"
    )
    parser.add_argument("--out", metavar="BLOCK.yaml", help="write the workload block there")
    parser.add_argument("--workload", metavar="NAME", default="traced", help="its name in the case (default %(default)s)")
    parser.add_argument("--model", metavar="NAME", help="the model of the case that serves it")
    parser.add_argument("--origin", metavar="NAME", default="users", help="the origin the requests come from (default %(default)s)")
    parser.add_argument(
        "--utc-offset-hours", type=int, default=0, metavar="H", help="local time of the origin, for the hourly curve (default %(default)s)"
    )
    parser.add_argument("--buckets", type=int, default=8, metavar="N", help="most length buckets (default %(default)s)")
    parser.add_argument(
        "--prefill-tokens-per-second", type=float, metavar="X",
        help="input tokens per second of a replica: service is the prefill of a request (default 10000)",
    )  # fmt: skip
    parser.add_argument(
        "--decode-tokens-per-second", type=float, metavar="X",
        help="output tokens per second of one request: service then is prefill and decode, the time in a slot",
    )  # fmt: skip
    parser.add_argument("--service-seconds", type=float, metavar="S", help="mean service time; scales the times above to it")
    parser.add_argument("--verbose", action="store_true", help="show where an unexpected error happened")


def run_trace(options: argparse.Namespace) -> int:
    """Reads, measures, prints a page, writes the block. Raises CaseError for a wrong log or a wrong option."""
    from optimizer.report.page import line, print_page, unbroken
    from optimizer.report.text_files import write_text
    from optimizer.report.trace_page import block_text, trace_page
    from optimizer.report.waiting import Waiting

    names, service = _checked(options)
    from optimizer.performance.trace import measure_trace
    from optimizer.performance.trace_file import read_trace

    with Waiting() as waiting:
        trace = read_trace(options.log, waiting.share)
        waiting.says("measuring")
        measures = measure_trace(trace, service, options.buckets, names.utc_offset_hours)
    page = trace_page(trace, measures)
    if options.out is None:
        page.append(line("\nNothing was written; --out BLOCK.yaml writes the workload block."))
    else:
        write_text(options.out, block_text(trace, measures, names))
        page.append(unbroken(f"\nResults: {options.out}"))
    print_page(page, sys.stdout)
    return GOOD


def _checked(options: argparse.Namespace) -> tuple[BlockNames, Service]:
    """The names and the service that the options state."""
    from optimizer.performance.trace import Service
    from optimizer.report.text_files import refuse_unwritable
    from optimizer.report.trace_page import BlockNames
    from optimizer.spec import CaseError
    from optimizer.spec.schema_values import LONGEST_NAME, NAME_CHARACTERS

    def wrong(option: str, problem: str, remedy: str) -> CaseError:
        return CaseError(options.log, option, problem, remedy)

    for option, name in (("--workload", options.workload), ("--model", options.model), ("--origin", options.origin)):
        if name is not None and not (name and NAME_CHARACTERS.issuperset(name) and len(name) <= LONGEST_NAME):
            raise wrong(option, f"is `{name}`, not a name", "use letters, digits and _ . : / - only")
    if not -12 <= options.utc_offset_hours <= 14:
        raise wrong("--utc-offset-hours", f"is {options.utc_offset_hours}", "give whole hours from -12 to 14")
    if options.buckets < 1:
        raise wrong("--buckets", f"is {options.buckets}", "ask for at least 1")
    if options.out is not None:
        try:
            refuse_unwritable(options.out, directory=False)
        except OSError as error:
            raise wrong("--out", " ".join(str(error).split()), "name a file that can be written") from error
    speeds = {field: getattr(options, field) for field in ("prefill_tokens_per_second", "decode_tokens_per_second", "service_seconds")}
    stated = {field: value for field, value in speeds.items() if value is not None}
    for field, value in stated.items():
        if not 0 < value < float("inf"):
            raise wrong(f"--{field.replace('_', '-')}", f"is {value:g}", "give a number above zero")
    names = BlockNames(options.workload, options.model, options.origin, options.utc_offset_hours)
    return names, Service(**stated)
