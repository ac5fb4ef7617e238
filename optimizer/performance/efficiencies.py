"""The calibrated efficiencies of one chip architecture, data type and serving stack, as fields that the case can point at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from optimizer.performance.efficiency_parameters import parameter_names, prior
from optimizer.performance.serving import Efficiency
from optimizer.spec.resolved import Calibration, Quantity


@dataclass(frozen=True)
class Efficient:
    """Numbers by field of Efficiency; `unfitted` holds the log standard deviation of those that no measurement of this group has moved."""

    numbers: Mapping[str, Quantity]
    unfitted: Mapping[str, float]
    residual_log_std: float  # of a throughput where everything is fitted


class Efficiencies:
    """Looks parameters up by group; a parameter that the calibration lacks stands at its prior and counts as assumed."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self.of = cache(self._of)

    def _of(self, architecture: str, data_type: str, stack: str) -> Efficient:
        numbers, unfitted = {}, {}
        names = parameter_names(architecture, data_type, stack)
        for field, name in zip(Efficiency._fields, names, strict=True):
            found = self.calibration.parameters.get(name)
            if found is None:
                belief = prior(name)
                found = Quantity(belief.value, f"catalog.calibration.serving.{name}", True)
                unfitted[field] = belief.log_std
            numbers[field] = found
        return Efficient(numbers, unfitted, self.calibration.residual_log_std)
