"""The command `capacity`: plan, check, evaluate, schema, sweep, warm-up, those of cli_analyses, and those of cli_performance.

Exit codes: 0 CERTIFIED (check, schema: all is well), 1 FAILED or an unexpected error, 2 bad input, 3 FEASIBLE, 4 INFEASIBLE, 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer import __version__
from optimizer.cli_analyses import add_analysis_commands
from optimizer.cli_performance import add_performance_commands
from optimizer.cli_sweep import add_sweep_options, run_sweep
from optimizer.cli_warm_up import add_warm_up_options, run_warm_up
from optimizer.process import begin_command, end_of_start

if TYPE_CHECKING:
    from optimizer.settings import Settings

GOOD, FAILED, BAD_INPUT, INFEASIBLE, INTERRUPTED = 0, 1, 2, 4, 130


class BadInput(ValueError):
    """One line about what the user should change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but usage errors of argparse raises SystemExit."""
    options = _parser().parse_args(arguments)
    begin_command()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        _join(options)
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return GOOD
    except Exception as error:
        return _explained(error, options)
    finally:
        end_of_start()


def _join(options: argparse.Namespace) -> None:
    """Where several hosts share the work, all but the first are silent and write nothing."""
    if getattr(options, "hosts", None) is None:
        return
    from optimizer.hosts import join

    try:
        rank = join(options.hosts)
    except ValueError as error:
        raise BadInput(str(error)) from error
    if rank > 0:
        options.out, sys.stdout = None, open(os.devnull, "w")


def _explained(error: Exception, options: argparse.Namespace) -> int:
    """One line on standard error, and the exit code."""
    from optimizer.spec import CaseError

    if isinstance(error, BadInput | CaseError):
        print(f"capacity: {error}", file=sys.stderr)
        return BAD_INPUT
    if getattr(options, "verbose", False):
        traceback.print_exception(error)
    else:
        sentence = " ".join(str(error).split()) or "no message"
        print(f"capacity: unexpected {type(error).__name__}: {sentence} (--verbose shows where)", file=sys.stderr)
    return FAILED


# commands -------------------------------------------------------------------------------------------------------------------------
def run_plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    _check_out(options.out, directory=True)
    _check_out(options.checkpoint, directory=True, option="--checkpoint")
    import optimizer
    from optimizer.checkpoint import whole_run

    with whole_run():  # the checkpoints stay until the answer is written
        plan = optimizer.plan(options.case, settings)
        from optimizer.report.page import line, print_page
        from optimizer.report.summary import plan_page

        began = time.perf_counter()
        where, unwritten = None, None
        try:
            if options.out is not None:
                where = str(plan.write(options.out))
                plan.seconds["write"] = time.perf_counter() - began
        except OSError as error:  # the answer took minutes: it is shown all the same
            unwritten = f"capacity: the results could not be written to {options.out}: {_one_line(error)}"
        page = plan_page(plan, where)
        if plan.solution.resumed_at_iteration is not None:
            page.insert(-1, line(f"Resumed at iteration {plan.solution.resumed_at_iteration} from the checkpoint in {options.checkpoint}"))
        print_page(page, sys.stdout)
    if unwritten is not None:
        print(unwritten, file=sys.stderr)
        return FAILED
    return plan.exit_code


def run_check(options: argparse.Namespace) -> int:
    """Everything short of solving: the file, what may serve what, and whether the limits can be met at all."""
    began = time.perf_counter()
    from optimizer.plan import build, load
    from optimizer.program.infeasible import find_infeasibility
    from optimizer.report.case_page import check_page
    from optimizer.report.infeasibility import conflicts
    from optimizer.report.page import print_page

    built = build(load(options.case))
    infeasibility = find_infeasibility(built.program)
    sentences = conflicts(built.structure, built.program, infeasibility) if infeasibility is not None else ()
    print_page(check_page(built, sentences, time.perf_counter() - began), sys.stdout)
    return INFEASIBLE if infeasibility is not None else GOOD


def run_evaluate(options: argparse.Namespace) -> int:
    settings = _settings(options)
    _check_out(options.out, directory=False)
    _check_out(options.checkpoint, directory=True, option="--checkpoint")
    import json

    import optimizer
    from optimizer.checkpoint import whole_run
    from optimizer.report.comparison import evaluation_page
    from optimizer.report.files import evaluation_document, read_acquisitions
    from optimizer.report.page import print_page
    from optimizer.report.text_files import json_text, write_text

    case = optimizer.load(options.case)
    try:
        acquisitions = read_acquisitions(options.plan)
    except (OSError, json.JSONDecodeError, ValueError) as error:
        raise BadInput(f"{options.plan}: {_one_line(error)}; give a plan.json, a JSON list or a CSV of acquisitions") from error
    with whole_run():  # the checkpoints stay until the answer is written
        evaluation = optimizer.evaluate(case, acquisitions, settings, options.plan)
        if options.out is not None:
            write_text(options.out, json_text(evaluation_document(evaluation)))
    print_page(evaluation_page(evaluation), sys.stdout)
    if options.out is not None:
        print(f"Results: {options.out}")
    return evaluation.exit_code


def run_schema(options: argparse.Namespace) -> int:
    """The JSON schema of case files, for editors."""
    _check_out(options.out, directory=False)
    from optimizer.report.text_files import json_text, write_text
    from optimizer.spec import json_schema

    text = json_text(json_schema())
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_text(options.out, text)
    return GOOD


# options --------------------------------------------------------------------------------------------------------------------------
def _settings(options: argparse.Namespace) -> Settings:
    from optimizer.settings import Settings

    try:
        return Settings(
            gap_relative=options.gap,
            headroom_gap_relative=options.headroom_gap,
            engine=options.engine,
            max_iterations=options.max_iterations,
            precision=options.precision,
            verbose=options.verbose,
            progress=sys.stderr.isatty(),
            checkpoint=getattr(options, "checkpoint", None),
            checkpoint_interval_s=getattr(options, "checkpoint_interval", Settings.checkpoint_interval_s),
        )
    except ValueError as error:
        raise BadInput(str(error)) from error


def _check_out(out: str | None, directory: bool, option: str = "--out") -> None:
    if out is None:
        return
    from optimizer.report.text_files import refuse_unwritable

    try:
        refuse_unwritable(out, directory)
    except OSError as error:
        raise BadInput(f"{option}: {error}") from error


def _one_line(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="capacity", description="Decides what accelerator capacity to own, lease, reserve and rent; certifies the answer in dollars."
    )
    parser.add_argument("--version", action="version", version=f"capacity {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    plan = command("plan", run_plan, "find the best plan of a case and certify it")
    add_plan_options(plan)
    add_checkpoint_options(plan)
    add_hosts_option(plan)
    check = command("check", run_check, "check a case without solving it: sizes, warnings, what may serve what, limits that clash")
    check.add_argument("case", metavar="CASE", help="a case file (YAML)")
    check.add_argument("--verbose", action="store_true", help="show where an unexpected error happened")
    evaluate = command("evaluate", run_evaluate, "certify given acquisitions: what they cost, and how much that is above the best plan")
    evaluate.add_argument("--plan", required=True, metavar="FILE", help="acquisitions: a plan.json, a JSON list, or a CSV")
    add_plan_options(evaluate, "FILE", "write both plans and the bracket to this JSON file")
    add_checkpoint_options(evaluate)
    add_hosts_option(evaluate)
    sweep = command("sweep", lambda options: run_sweep(options, _settings(options)), "plan a case again and again with fields varied")
    add_plan_options(sweep, help_out="write sweep.csv, sweep.json and its state there; the same command goes on from there")
    add_sweep_options(sweep)
    add_analysis_commands(command, add_plan_options, _settings)
    schema = command("schema", run_schema, "print the JSON schema of case files (completion and checks in editors)")
    schema.add_argument("--out", metavar="FILE", help="write it to a file")
    add_performance_commands(command)
    add_warm_up_options(command("warm-up", run_warm_up, "compile and keep what cases need, without solving them"))
    return parser


def add_plan_options(parser: argparse.ArgumentParser, out: str = "DIR", help_out: str = "write plan.json and all tables there") -> None:
    """CASE and the options of everything that solves."""
    from optimizer.settings import ENGINES, PRECISIONS, Settings

    usual = Settings()
    parser.add_argument("case", metavar="CASE", help="a case file (YAML)")
    parser.add_argument("--out", metavar=out, help=help_out)
    parser.add_argument("--gap", type=float, default=usual.gap_relative, metavar="G", help="relative gap to certify (default %(default)s)")
    parser.add_argument(
        "--headroom-gap", type=float, default=usual.headroom_gap_relative, metavar="G",
        help="gap of the spare replicas at which no further step is made (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--engine", choices=ENGINES, default=usual.engine, help="what proposes the plan that the certificate judges (default %(default)s)"
    )
    parser.add_argument(
        "--max-iterations", type=int, default=usual.max_iterations, metavar="N",
        help="most iterations of the interior point (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=usual.precision,
        help="of the interior point, not of the certificate (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="a line per iteration, and where an unexpected error happened")


def add_hosts_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hosts", metavar="HOSTS", help="share the solve with other hosts that run the same command: auto, or ADDRESS:PORT,RANK,COUNT"
    )


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    from optimizer.settings import Settings

    parser.add_argument("--checkpoint", metavar="DIR", help="leave the state of the solve there, and go on from it after a kill")
    parser.add_argument(
        "--checkpoint-interval", type=float, default=Settings.checkpoint_interval_s, metavar="S",
        help="seconds of work that a kill may cost (default %(default)s)",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
