"""Which pairs share one deployment, and which of them share replicas and so a queue."""

from __future__ import annotations

import math

import numpy as np

from optimizer.performance.deployment import Deployment
from optimizer.performance.error_points import ErrorPoints
from optimizer.performance.replicas import Groups, ReplicaLoad
from optimizer.spec.resolved import Case, Quantity, Throughput, Workload

MOST_SLACK = 1e6  # of service times: beyond it nothing waits, and all such streams count as alike


class Chosen:
    """Collects the performance model's choices pair by pair."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.deployments: list[Deployment] = []
        self._rows: list[Throughput] = []
        self._known: dict[tuple, int] = {}
        self._group: list[int] = []
        self._members: dict[tuple, list[ReplicaLoad]] = {}

    def skip(self) -> None:
        """The next pair has a row of the table."""
        self._group.append(-1)

    def add(self, workload: Workload, chip: str, pool: int, deployment: Deployment) -> tuple[Throughput, int]:
        """(figures of the deployment as a row, its index) of the next pair."""
        setting = deployment.setting
        key = (workload.name, chip, setting.precision, setting.chips, setting.pipeline_stages, setting.data_parallel_attention,
               setting.batch_share)  # fmt: skip
        at = self._known.setdefault(key, len(self.deployments))
        if at == len(self.deployments):
            self.deployments.append(deployment)
            self._rows.append(_row(workload, chip, deployment, at))
        if workload.kind == "serving" and self.case.performance.queueing:
            group = (pool, at, _bucket(deployment))
            members = self._members.setdefault(group, [])
            members.append(deployment.load)
            self._group.append(list(self._members).index(group))
        else:
            self._group.append(-1)
        return self._rows[at], at

    def groups(self, errors: ErrorPoints) -> Groups | None:
        """The groups with the tightest slack of their members; None where there are none."""
        if not self._members:
            return None
        loads = []
        for members in self._members.values():
            tightest = min(members, key=lambda load: load.slack_s)
            loads.append(members[0]._replace(slack_s=tightest.slack_s))
        leaves = np.array([tuple(load) for load in loads], float).T
        pools = np.array([pool for pool, _, _ in self._members], int)
        log_std = np.array([self.deployments[at].log_std for _, at, _ in self._members])
        return Groups(np.array(self._group, int), pools, ReplicaLoad(*leaves), errors.speed(log_std), errors.of_template)


def _bucket(deployment: Deployment) -> int:
    """Slacks within a factor of two of each other, counted in service times, share replicas: the queue keeps the tightest of them."""
    services = min(deployment.load.slack_s / deployment.load.prefill_s, MOST_SLACK)
    return math.floor(math.log2(services))


def _row(workload: Workload, chip: str, deployment: Deployment, at: int) -> Throughput:
    assert workload.input_tokens is not None and workload.output_tokens is not None
    assumed = any(number.assumed for number in deployment.setting.numbers.values())
    here = f"performance.deployments.{at}"

    def figure(name: str, value: float) -> Quantity:
        return Quantity(value, f"{here}.{name}", assumed)

    return Throughput(
        chip, workload.model, "serving", workload.input_tokens.value, workload.output_tokens.value,
        figure("output_tokens_per_second_per_chip", deployment.output_tokens_per_s_per_chip),
        figure("own_ms", deployment.own_ms), figure("tpot_p99_ms", deployment.tpot_p99_ms), deployment.log_std,
    )  # fmt: skip
