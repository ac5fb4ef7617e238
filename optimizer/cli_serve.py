"""The command `capacity serve`: how many chips one service needs, from the catalog alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

GOOD, FAILED, INFEASIBLE = 0, 1, 4
WHERE = "serve"  # stands in messages where a case file would be named


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Option names that other planners use are accepted too, and are left out of the help."""

    def number(name: str, text: str, *aliases: str, required: bool = False, **more) -> None:
        parser.add_argument(f"--{name}", *aliases, type=float, required=required, metavar="X", help=text, **more)

    parser.add_argument("--model", required=True, metavar="NAME", help="a model class of the catalog")
    parser.add_argument("--chip", nargs="+", action="extend", metavar="NAME", help="chips of the catalog (default: all of them)")
    number("requests-per-second", "mean rate of requests", "--target-request-rate", required=True)
    number("input-tokens", "mean input tokens of a request", "--isl")
    number("output-tokens", "mean output tokens of a request", "--osl")
    parser.add_argument("--lengths", metavar="A:B:SHARE,...", help="a mix of input and output tokens, in place of their means")
    number("ttft-p99-ms", "target: 99th percentile of the time to the first token, ms", "--ttft")
    number("tpot-p99-ms", "target: 99th percentile of the time per output token, ms", "--tpot")
    number("rtt-ms", "round-trip time to the users, ms (default %(default)s)", default=0.0)
    number("round-trips", "round trips inside one time to the first token (default %(default)s)", default=1.0)
    parser.add_argument("--precision", metavar="TYPE", help="bf16, fp8 or fp4 (default: the best)")
    number("arrival-cv2", "squared coefficient of variation of arrivals, 1: Poisson (default %(default)s)", default=1.0)
    number("peakedness", "variance over mean of busy servers (default: from the arrivals)")
    number("input-tokens-cv2", "squared coefficient of variation of the input length (default %(default)s)", default=1.0)
    number("input-tokens-p99", "99th percentile of the input length (default: that of the mean and the cv2)")
    number("output-tokens-cv2", "the same of the output length (default %(default)s)", default=0.0)
    number("cache-hit-ratio", "share of the input whose cache is already there (default %(default)s)", default=0.0)
    parser.add_argument("--routing", default="pooled", metavar="HOW", help="pooled or sticky: each replica its own queue (default pooled)")
    number("quantile", "plan at the throughput that is exceeded with this probability, such as 0.9 (default: median)")
    parser.add_argument("--region", metavar="NAME", help="prices of this region (default: the cheapest)")
    parser.add_argument("--sort", default="cost", metavar="BY", help="cost (on-demand) or chips (default cost)")
    parser.add_argument("--catalog", metavar="DIR", help="another catalog directory")
    parser.add_argument("--out", metavar="FILE", help="write the answer to a .json or .csv file")
    parser.add_argument("--verbose", action="store_true", help="show where an unexpected error happened")


def run_serve(options: argparse.Namespace) -> int:
    """Prints the page, writes the file. Raises CaseError for wrong input."""
    from optimizer.performance.serve import serve
    from optimizer.performance.serve_question import read_lengths
    from optimizer.report.page import line, print_page, unbroken
    from optimizer.report.serve_page import answer_text, serve_page
    from optimizer.report.text_files import write_text
    from optimizer.report.waiting import Waiting

    suffix = _checked_out(options.out)
    fields = (
        "input_tokens", "output_tokens", "ttft_p99_ms", "tpot_p99_ms", "rtt_ms", "round_trips", "precision", "arrival_cv2", "peakedness",
        "input_tokens_cv2", "input_tokens_p99", "output_tokens_cv2", "cache_hit_ratio", "routing", "quantile",
    )  # fmt: skip
    with Waiting(what="sizing") as waiting:
        answer = serve(
            options.model,
            options.requests_per_second,
            chips=options.chip,
            catalog=options.catalog,
            region=options.region,
            sort=options.sort,
            progress=waiting.share,
            lengths=() if options.lengths is None else read_lengths(options.lengths),
            **{field: getattr(options, field) for field in fields},
        )
    page = serve_page(answer)
    unwritten = None
    if options.out is None:
        page.append(line("\nNothing was written; --out FILE.json or FILE.csv writes the answer."))
    else:
        try:
            write_text(options.out, answer_text(answer, suffix))
            page.append(unbroken(f"\nResults: {options.out}"))
        except OSError as error:  # the answer is shown all the same
            unwritten = " ".join(str(error).split())
    print_page(page, sys.stdout)
    if unwritten is not None:
        print(f"capacity: the answer could not be written to {options.out}: {unwritten}", file=sys.stderr)
        return FAILED
    return GOOD if answer.chips else INFEASIBLE


def _checked_out(out: str | None) -> str:
    """The suffix; before any work, where the file could not be written."""
    from optimizer.report.text_files import refuse_unwritable
    from optimizer.spec import CaseError

    if out is None:
        return ""
    suffix = Path(out).suffix
    if suffix not in (".json", ".csv"):
        raise CaseError(WHERE, "--out", f"is {out}", "name a file that ends in .json or .csv")
    try:
        refuse_unwritable(out, directory=False)
    except OSError as error:
        raise CaseError(WHERE, "--out", " ".join(str(error).split()), "name a file that can be written") from error
    return suffix
