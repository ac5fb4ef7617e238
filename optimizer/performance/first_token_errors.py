"""Predicted against measured p99 time to first token of server runs whose submitters state their token budget.

No time to first token enters any fit: the efficiencies come from throughput, the squared coefficient of variation of the prompt length from
the data sets' published lengths, the budget from the submitter's configuration, arrivals are Poisson (MLPerf's load generator), the
network takes no time, and every replica keeps a queue of its own. The batch is the run's own, by Little's law.
"""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from optimizer.performance.calibration import parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal, prior
from optimizer.performance.first_token import first_token
from optimizer.performance.measured_points import read_points
from optimizer.performance.serving import Efficiency, step_time, tpot_s
from optimizer.performance.serving_calibration import ServingCalibration
from optimizer.spec.catalog import Catalog

RUNS, LENGTHS, POINTS = "ttft_points.csv", "prompt_lengths.csv", "serving_points.csv"
TAIL = 0.01


class FirstTokenRow(NamedTuple):
    """One run; times in ms. `scheduling`: mixed (prefill shares iterations with decode) or prompt_passes_first."""

    name: str
    scheduling: str
    utilisation: float  # of the token-budget server; 1 or more: the model says the run could not have been stable
    predicted_p99_ms: float
    measured_p99_ms: float


class FirstTokenReport(NamedTuple):
    """Runs with a budget, and how many were left out for want of one."""

    rows: tuple[FirstTokenRow, ...]
    without_budget: int

    def summary(self, scheduling: str | None = None, excluded: tuple[str, ...] = ()) -> tuple[int, float, float]:
        """(runs, geometric mean of predicted / measured, typical factor exp(mean |log|)) of the stable runs of one scheduling.

        `excluded`: parts of run names.
        """
        kept = [
            np.log(row.predicted_p99_ms / row.measured_p99_ms)
            for row in self.rows
            if row.utilisation < 1.0 and scheduling in (None, row.scheduling) and not any(part in row.name for part in excluded)
        ]
        return len(kept), float(np.exp(np.mean(kept))), float(np.exp(np.mean(np.abs(kept))))


def wait_p99_s(arrivals_per_s: Any, service_s: Any, arrival_cv2: Any, service_cv2: Any, xp: ModuleType = np) -> Any:
    """99th percentile of the wait at one server: V S / (1 - rho) softplus(ln(rho / 0.01)), V = (ca2 + cs2) / 2; infinite from rho = 1 on.

    Sakasegawa's exponent is 1 for one server, so the chance of waiting is rho.
    """
    rho = arrivals_per_s * service_s
    stable = rho < 1.0
    safe = xp.where(stable, rho, 0.5)
    wait = 0.5 * (arrival_cv2 + service_cv2) * service_s / (1.0 - safe) * xp.log1p(safe / TAIL)
    return xp.where(stable, wait, np.inf)


def first_token_report(catalog: Catalog, calibration: ServingCalibration) -> FirstTokenReport:
    """Every measured server run of the catalog with its prediction. Raises ValueError: a run whose numbers are missing."""
    folder = catalog.folder / "measurements"
    points = read_points(folder / POINTS, catalog)
    names, index = parameters_of(points)
    value = np.array([_belief(calibration, name).value for name in names])
    efficiency = Efficiency(*(value[place] for place in index))
    slower = np.where(points.older > 0, value[names.index(OLDER_SOFTWARE)], 1.0)
    place = {name: i for i, name in enumerate(points.name)}
    cv2 = {row["data_set"]: row["input_tokens_cv2"] for row in _rows(folder / LENGTHS)}
    found, without = [], 0
    for row in _rows(folder / RUNS):
        i = place.get(row["id"].replace("_aarch64", ""))
        if i is None or not row["token_budget_per_iteration"]:
            without += 1
            continue
        fields = ("token_budget_per_iteration", "schedulers_per_replica", "requests_per_s", "replicas", "ttft_p99_ms")
        try:
            budget, schedulers, rate, replicas, measured = (float(row[field]) for field in fields)
            spread = float(cv2[row["data_set"]])
        except (KeyError, ValueError) as error:
            needed = f"{', '.join(fields)} and a data set of {LENGTHS} are needed"
            raise ValueError(f"{folder / RUNS}: {row['id']}: {needed} ({error})") from None
        one = points.select(np.arange(len(points)) == i)
        own = Efficiency(*(leaf[i : i + 1] for leaf in efficiency))
        arguments = (one.chip, one.model, one.precision, own, one.layout, one.work)
        # Each scheduler of a replica fills a budget of its own with its own requests.
        times = first_token(*arguments, one.batch, budget * schedulers)
        service = float(times.service_s[0] * slower[i]) * schedulers
        arrivals = rate / replicas / schedulers
        wait = float(wait_p99_s(arrivals, service, 1.0, spread))
        iteration = float(tpot_s(step_time(*arguments), one.batch)[0] * slower[i])
        total = wait + max(service, float(times.prefill_s[0] * slower[i])) + 0.5 * iteration
        found.append(FirstTokenRow(one.name[0], row["scheduling"], arrivals * service, 1e3 * total, measured))
    return FirstTokenReport(tuple(found), without)


def _belief(calibration: ServingCalibration, name: str) -> Normal:
    return calibration.values.get(name) or prior(name)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
