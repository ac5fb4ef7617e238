"""Predicted against measured p99 time to first token of server runs whose submitters state their token budget.

No time to first token enters anything: the efficiencies come from throughput, moved to the mean time per output token of the run itself,
the prompt lengths from the data sets, budget, chunking, scheduling and kernels from the submitter's configuration. Arrivals are
Poisson (MLPerf's load generator) at every scheduler: the harness sends to the replica with fewest requests, which are nearly all
decoding, so a replica's arrivals follow its departures and stay Poisson. The network takes no time.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optimizer.performance.calibration import parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, prior
from optimizer.performance.first_token_tail import FirstTokenTail, Iterations, first_token_tail, prompts_first_tpot_s
from optimizer.performance.measured_iteration import IterationParts, Kernels, iteration_parts, least_move
from optimizer.performance.measured_points import MeasuredPoints, read_points
from optimizer.performance.serving import Efficiency
from optimizer.performance.serving_calibration import ServingCalibration
from optimizer.spec.catalog import Catalog

RUNS, LENGTHS, POINTS = "ttft_points.csv", "prompt_lengths.csv", "serving_points.csv"
NEEDED = (
    "token_budget_per_iteration", "schedulers_per_replica", "requests_per_s", "replicas", "ttft_p99_ms", "ttft_mean_ms", "tpot_mean_ms",
)  # fmt: skip
TpotOf = Callable[[IterationParts], float]


class FirstTokenRow(NamedTuple):
    """One run; times in ms. `scheduling`: mixed (prefill shares iterations with decode) or prompt_passes_first."""

    name: str
    scheduling: str
    chunked: bool
    utilisation: float  # of the token budget; 1 or more: the model says the run could not have been stable
    predicted_p99_ms: float
    measured_p99_ms: float
    predicted_mean_ms: float
    measured_mean_ms: float


class FirstTokenReport(NamedTuple):
    """Runs with a budget, and how many were left out for want of one."""

    rows: tuple[FirstTokenRow, ...]
    without_budget: int

    def summary(
        self, scheduling: str | None = None, excluded: tuple[str, ...] = (), chunked: bool | None = None
    ) -> tuple[int, float, float]:
        """(runs, geometric mean of predicted / measured p99, typical factor exp(mean |log|)) of the stable runs of one scheduling.

        `excluded`: parts of run names; `chunked`: only runs that split prompts, or only those that do not.
        """
        kept = [
            np.log(row.predicted_p99_ms / row.measured_p99_ms)
            for row in self.rows
            if row.utilisation < 1.0
            and scheduling in (None, row.scheduling)
            and chunked in (None, row.chunked)
            and not any(part in row.name for part in excluded)
        ]
        return len(kept), float(np.exp(np.mean(kept))), float(np.exp(np.mean(np.abs(kept))))


def first_token_report(catalog: Catalog, calibration: ServingCalibration) -> FirstTokenReport:
    """Every measured server run of the catalog with its prediction. Raises ValueError: a run whose numbers are missing."""
    folder = catalog.folder / "measurements"
    points = read_points(folder / POINTS, catalog)
    place = {name: i for i, name in enumerate(points.name)}
    lengths = {row["data_set"]: row for row in _rows(folder / LENGTHS)}
    found, without = [], 0
    for row in _rows(folder / RUNS):
        i = place.get(row["id"].replace("_aarch64", ""))
        if i is None or not row["token_budget_per_iteration"]:
            without += 1
            continue
        try:
            run = {field: float(row[field]) for field in NEEDED}
            prompts = (float(lengths[row["data_set"]]["input_tokens_mean"]), float(lengths[row["data_set"]]["input_tokens_cv2"]))
        except (KeyError, ValueError) as error:
            needed = f"{', '.join(NEEDED)} and a data set of {LENGTHS} are needed"
            raise ValueError(f"{folder / RUNS}: {row['id']}: {needed} ({error})") from None
        tail = _tail(row, run, points.select(np.arange(len(points)) == i), calibration, *prompts)
        found.append(
            FirstTokenRow(
                row["id"],
                row["scheduling"],
                row["chunked_prefill"] == "true",
                float(tail.utilisation),
                1e3 * float(tail.p99_s),
                run["ttft_p99_ms"],
                1e3 * float(tail.mean_s),
                run["ttft_mean_ms"],
            )
        )
    return FirstTokenReport(tuple(found), without)


def _tail(
    row: Mapping[str, str],
    run: Mapping[str, float],
    point: MeasuredPoints,
    calibration: ServingCalibration,
    input_tokens: float,
    input_tokens_cv2: float,
) -> FirstTokenTail:
    first, schedulers = row["scheduling"] == "prompt_passes_first", run["schedulers_per_replica"]
    steps, hold = _number(row, "decode_steps_between_admissions", 1.0), _number(row, "harness_hold_s", 0.0)
    arrivals, tpot = run["requests_per_s"] / run["replicas"], run["tpot_mean_ms"] / 1e3
    # The first token comes from the prompt; a sequence that ends inside a block of decode steps stays to its end.
    tokens = float(point.work.output_tokens[0]) - 1.0 + 0.5 * (steps - 1.0)
    batch = arrivals * tokens * tpot

    def mean_tpot_s(parts: IterationParts) -> float:
        decode, prompt = parts.step_s + batch * parts.sequence_s, input_tokens * parts.token_s
        if first:
            return float(prompts_first_tpot_s(decode, parts.step_s, prompt, arrivals, steps))
        return decode + arrivals * tpot * prompt

    parts = _moved(point, calibration, _kernels(row), mean_tpot_s, tpot)
    decode = parts.step_s + batch * parts.sequence_s
    room = run["token_budget_per_iteration"] - (0.0 if first else batch / schedulers)
    if not first and row["chunked_prefill"] != "true":
        room -= 0.5 * input_tokens * (1.0 + input_tokens_cv2)  # a prompt that does not fit leaves half of a length-biased one unused
    iterations = Iterations(
        fixed_s=steps * decode if first else decode,
        pass_s=parts.step_s if first else decode,
        token_s=parts.token_s * schedulers,  # one rank computes its own prompt alone
        room_tokens=room,
        prompt_tokens_per_pass=_number(row, "prompt_tokens_per_request_per_iteration_limit", np.inf),
        iterations_between_admissions=_number(row, "iterations_between_admissions", 1.0),
        hold_s=hold,
        hold_arrivals_per_s=run["requests_per_s"],
    )
    # What the harness collects goes to one replica at a time and finds no other prompts there.
    arrivals = arrivals / schedulers if hold == 0.0 else 0.0
    return first_token_tail(arrivals, input_tokens, input_tokens_cv2, iterations, first)


def _moved(
    point: MeasuredPoints, calibration: ServingCalibration, kernels: Kernels, mean_tpot_s: TpotOf, measured_s: float
) -> IterationParts:
    names, index = parameters_of(point)
    beliefs = {name: calibration.values.get(name) or prior(name) for name in names}
    older = bool(point.older[0])
    if not older:
        beliefs.pop(OLDER_SOFTWARE)

    def parts(value: Mapping[str, float]) -> IterationParts:
        efficiency = Efficiency(*(np.array([value[names[place[0]]]]) for place in index))
        return iteration_parts(point, efficiency, value[OLDER_SOFTWARE] if older else 1.0, kernels)

    return least_move(parts, mean_tpot_s, beliefs, measured_s)


def _kernels(row: Mapping[str, str]) -> Kernels:
    return Kernels(row["fused_all_reduce"] == "true", row["prefill_attention_type"] == "fp8")


def _number(row: Mapping[str, str], field: str, absent: float) -> float:
    return float(row[field]) if row[field] else absent


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
