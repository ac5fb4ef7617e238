"""The commands that ask what moves the best plan, and how far: each in a module of its own, registered here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from optimizer.cli_alternatives import add_alternatives_options, run_alternatives
from optimizer.cli_break_even import add_break_even_options, run_break_even
from optimizer.cli_compare import add_compare_options, run_compare
from optimizer.cli_frontier import add_frontier_options, run_frontier
from optimizer.cli_goal import add_goal_options, run_goal
from optimizer.cli_rank import add_rank_options, run_rank
from optimizer.cli_sensitivity import add_sensitivity_options, run_sensitivity
from optimizer.cli_value import add_value_options, run_value

if TYPE_CHECKING:
    from optimizer.settings import Settings


class Analysis(NamedTuple):
    """A command: what it says of itself and of --out, its own options, and what runs it."""

    name: str
    said: str
    out: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Settings], int]


ANALYSES = (
    Analysis(
        "sensitivity", "what every number of a case is worth", "write sensitivity.csv, sensitivity.json and a tornado plot there",
        add_sensitivity_options, run_sensitivity,
    ),
    Analysis(
        "value", "what an offer is worth, and how much to take", "write value.json, the demand curve, what is displaced and a plot there",
        add_value_options, run_value,
    ),
    Analysis(
        "break-even", "where a decision flips; own against rent", "write the flips and the plans around them there, with a plot",
        add_break_even_options, run_break_even,
    ),
    Analysis(
        "frontier", "least cost against a field or a further limit", "write frontier.csv, frontier.json and a plot there",
        add_frontier_options, run_frontier,
    ),
    Analysis(
        "alternatives", "plans that cost little more and are very different", "write the plans' orders, a summary and a plot there",
        add_alternatives_options, run_alternatives,
    ),
    Analysis(
        "goal", "the least change of numbers that meets a target, or makes a plan the best",
        "write goal.csv (or inverse.csv), the points, JSON and a plot there", add_goal_options, run_goal,
    ),
    Analysis(
        "compare", "what changed between two cases, and why it costs more", "write compare.json, its tables and a plot there",
        add_compare_options, run_compare,
    ),
    Analysis(
        "rank", "which uncertain inputs the cost and the mix depend on",
        "write rank.csv, rank.json, a plot and its state there; the same command goes on from there", add_rank_options, run_rank,
    ),
)  # fmt: skip


def add_analysis_commands(
    command: Callable[[str, Callable, str], argparse.ArgumentParser], add_plan_options: Callable, settings_of: Callable
) -> None:
    """`command` makes a parser, `add_plan_options` adds what everything that solves has, `settings_of` reads the settings."""
    for one in ANALYSES:
        parser = command(one.name, lambda options, run=one.run: run(options, settings_of(options)), one.said)
        add_plan_options(parser, help_out=one.out)
        one.options(parser)
