"""The throughput of every pair as a function of the parameter vector: a row of the table, or the performance model at the chosen setting.

What was chosen (precision, layout, the measurement that pins it) is structure and stays; every number behind it is a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import ONE, ZERO, ParameterTable
from optimizer.performance.batch import Operation
from optimizer.performance.deployment import Deployment, planned_factor
from optimizer.performance.serving import Efficiency
from optimizer.performance.setting import (
    ABSENT,
    BUCKET_ROLES,
    CHIP_ROLES,
    MODEL_ROLES,
    TARGET_ROLES,
    WORK_ROLES,
    Setting,
    chosen_of,
    inputs,
    run,
)

ROLES = (*CHIP_ROLES, *MODEL_ROLES, *WORK_ROLES, *TARGET_ROLES, *Efficiency._fields)


@dataclass(frozen=True)
class SettingIndex:
    """D settings: where each number stands in the parameter vector; what is absent is ZERO there and added as a constant."""

    position: dict[str, np.ndarray]  # role -> int[D] or, for a bucket's role, int[D, K]
    constant: dict[str, np.ndarray]
    chosen: dict[str, np.ndarray]  # [D]

    @staticmethod
    def of(settings: list[Setting], table: ParameterTable) -> SettingIndex:
        position: dict[str, np.ndarray] = {}
        constant: dict[str, np.ndarray] = {}
        for role in ROLES:
            quantities = [setting.numbers.get(role) for setting in settings]
            position[role] = table.all(quantities)
            constant[role] = np.array([ABSENT[role] if q is None else 0.0 for q in quantities])
        most = max((len(setting.buckets) for setting in settings), default=0)
        for role in BUCKET_ROLES:
            padded = [[*(b.get(role) for b in s.buckets), *([None] * (most - len(s.buckets)))] for s in settings]
            position[role] = np.array([table.all(row) for row in padded], int).reshape(len(settings), most)
            filler = np.array([[k < len(s.buckets) for k in range(most)] for s in settings], bool).reshape(len(settings), most)
            blank = position[role] == ZERO
            constant[role] = np.where(blank, np.where(filler, 1.0, 0.0 if role == "share" else 1.0), 0.0)
        return SettingIndex(position, constant, chosen_of(settings))

    def operation(self, e: Array, xp: ModuleType) -> Operation:
        """The replicas at their best batch, leaves [D]; `e` is the extended parameter vector."""

        def read(role: str) -> Array:
            return e[self.position[role]] + self.constant[role]

        return run(inputs(read, read, self.chosen, xp), xp)

    def rate(self, numbers: Numbers) -> Array:
        """[D]: output tokens per second and chip."""
        return self.operation(numbers.e, numbers.xp).output_tokens_per_s_per_chip


@dataclass(frozen=True)
class RateIndex:
    """P pairs; D deployments, of which those that a measurement pins have a setting of their own for it."""

    row: np.ndarray  # int[P], position of the table's rate, ONE where the model gives it
    deployment: np.ndarray  # int[P], -1 where the table gives it
    settings: SettingIndex  # [D]
    pinned: np.ndarray  # int[M], the deployments with a measurement
    measured: SettingIndex  # [M], at the measurement's own shape and target
    measurement: np.ndarray  # int[M], position of the measured rate
    weight: np.ndarray  # [M]
    planned: np.ndarray  # [D], the planned quantile over the median

    @staticmethod
    def of(
        rows: np.ndarray, deployment: np.ndarray, deployments: list[Deployment], quantile: float | None, table: ParameterTable
    ) -> RateIndex:
        pinned = [(d, deployment_.pin) for d, deployment_ in enumerate(deployments) if deployment_.pin is not None]
        return RateIndex(
            row=np.where(deployment >= 0, ONE, rows),
            deployment=deployment,
            settings=SettingIndex.of([d.setting for d in deployments], table),
            pinned=np.array([d for d, _ in pinned], int),
            measured=SettingIndex.of([pin.setting for _, pin in pinned], table),
            measurement=table.all(pin.row.rate for _, pin in pinned),
            weight=np.array([pin.weight for _, pin in pinned], float),
            planned=planned_factor(quantile, np.array([d.log_std for d in deployments], float)),
        )

    def values(self, numbers: Numbers) -> Array:
        """[P]: output tokens/s/chip, or TFLOP/s/chip of training."""
        from_table = numbers.e[self.row]
        if not len(self.planned):
            return from_table
        xp = numbers.xp
        rate = self.settings.rate(numbers) * self.planned
        if len(self.pinned):
            pin = (numbers.e[self.measurement] / self.measured.rate(numbers)) ** self.weight
            of = np.full(len(self.planned), len(self.pinned))
            of[self.pinned] = np.arange(len(self.pinned))
            rate = rate * xp.concatenate([pin, np.ones(1)])[of]
        return xp.where(self.deployment >= 0, rate[np.maximum(self.deployment, 0)], from_table)
