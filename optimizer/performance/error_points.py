"""The throughput error as scenarios: every throughput of the model is off by the same number of its own standard deviations.

The error is common to all pairs of a scenario: what the model gets wrong it gets wrong everywhere. Its points are those of a
Gauss-Hermite rule for a standard normal variable, which integrates every polynomial of a degree below twice their number exactly
(Golub and Welsch 1969). Layouts stay those of the median.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer.spec.resolved import Case, Scenario


def hermite_rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """(nodes in standard deviations, ascending; weights), float64[points] each, of a standard normal variable: weights sum to 1, mean 0,
    and variance 1 from two points on; with an odd number one node is 0."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return nodes, weights / weights.sum()


def with_error_points(case: Case) -> Case:
    """The case with every scenario split into its error points, in the order of the scenarios, then ascending; a case without error
    points, or whose scenarios are split already, comes back as it is."""
    points = case.performance.error_points
    if points is None or any(scenario.weight != 1.0 for scenario in case.scenarios):
        return case
    rule = [(float(z), float(w)) for z, w in zip(*hermite_rule(points), strict=True)]
    return replace(case, scenarios=tuple(_at(scenario, z, w) for scenario in case.scenarios for z, w in rule))


def _at(scenario: Scenario, throughput_sd: float, weight: float) -> Scenario:
    return replace(scenario, name=f"{scenario.name}, throughput {throughput_sd:+.1f} sd", weight=weight, throughput_sd=throughput_sd)


@dataclass(frozen=True)
class ErrorPoints:
    """The K different errors of a case's S scenarios, by which the program's templates differ: K blocks of T periods."""

    throughput_sd: np.ndarray  # [K], ascending
    of_scenario: np.ndarray  # int[S]
    periods: int

    @staticmethod
    def of(case: Case, periods: int) -> ErrorPoints:
        points, of_scenario = np.unique([s.throughput_sd for s in case.scenarios], return_inverse=True)
        return ErrorPoints(points, of_scenario, periods)

    @property
    def of_template(self) -> np.ndarray:
        """int[K T]: the point of each template."""
        return np.repeat(np.arange(len(self.throughput_sd)), self.periods)

    @property
    def template_of_node(self) -> np.ndarray:
        """int[S T], for nodes by scenario, then period."""
        return (self.of_scenario[:, None] * self.periods + np.arange(self.periods)).ravel()

    def speed(self, log_std: np.ndarray) -> np.ndarray:
        """[K, X]: throughput at each point over its median; log_std [X], 0 where throughput has no error of the model."""
        return np.exp(np.multiply.outer(self.throughput_sd, log_std))
