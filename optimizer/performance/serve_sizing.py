"""Whole replicas for one service on one chip: the layout with the fewest chips after rounding, and what stands in the way of fewer.

The largest batch that the time per token allows is not always the best one: it prolongs the prefill, and leaves a smaller
part of each step to prefill. Where prefill or the first token asks for more chips than the decode slots, the service is also tried at
tighter times per token, on a fixed ladder, which is how an operator would cap the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from optimizer.performance.batch import Operation
from optimizer.performance.deployment import Deployment, DeploymentModel, Tried
from optimizer.performance.queueing import greatest_utilisation
from optimizer.performance.replicas import ReplicaLoad, chips_needed, slot_chips
from optimizer.performance.serving import prefill_wait, seconds_per_token, tpot_s
from optimizer.performance.serving_inputs import Array
from optimizer.performance.setting import Setting, inputs_of, run
from optimizer.spec.resolved import Chip, ModelClass, Quantity, Workload

RUNGS_PER_DOUBLING = 4
ROUNDING = 1e-9
"""A count of replicas that exceeds a whole number by less is that number."""
TOO_MANY = 1.5
"""The ladder ends where it takes this many times the fewest chips found."""
LONGEST_WAIT = 1e6
"""In service times; its inverse is the shortest that is told from none."""
WAIT_POINTS = 200


@dataclass(frozen=True)
class Sizing:
    """`chips` in whole replicas; the other two are what would be enough under fewer demands."""

    deployment: Deployment
    chips: int
    chips_without_ttft: int  # if the first token could take any time
    chips_of_slots: int  # if prompts were prefilled in no time


class ServiceModel(DeploymentModel):
    """Sizes one service at a time."""

    def fewest(self, workload: Workload, chip: Chip, model: ModelClass, network_ms: float, rate: float) -> Sizing | str:
        """Whole replicas at `rate` requests/s, or one sentence why no number of them is enough. Raises NotModelled."""
        target = np.inf if workload.ttft_p99_ms is None else 1e-3 * workload.ttft_p99_ms.value
        found: Deployment | None = None
        chips, free, slots = np.inf, np.inf, np.inf
        least = np.inf, 0.0
        for tried in self._tries(workload, chip, model):
            if isinstance(tried, str):
                return self._least_tpot(workload, chip, model) or tried
            whole = _whole(tried, slot_chips(rate, tried.load))
            slots = min(slots, float(whole.min()))
            free = min(free, float(_needed(tried, rate, np.full(whole.shape, np.inf))[0].min()))
            slack = target - 1e-3 * network_ms - tried.own
            own = np.where(tried.operation.feasible, tried.own, np.inf)
            least = min(least, (float(own.min()), tried.settings[int(own.argmin())].chips))
            here, parts = _needed(tried, rate, slack)
            best = int(np.lexsort((parts, here))[0])  # the fewest, then the least busy
            if here[best] < chips:
                found, chips = self._deployment(tried, best, slack), float(here[best])
            if chips <= slots or (chips < np.inf and here[best] > TOO_MANY * chips):
                break
        if found is not None:
            return Sizing(found, round(chips), round(free), round(slots))
        own_ms = 1e3 * least[0]
        return (
            f"a TTFT p99 of {1e3 * target:g} ms cannot be met: the least possible is {network_ms + own_ms:.4g} ms before any"
            f" wait, network {network_ms:.4g} ms + prefill of long prompts {own_ms:.3g} ms on {least[1]:g} {chip.name}"
        )

    def _tries(self, workload: Workload, chip: Chip, model: ModelClass) -> Iterator[Tried | str]:
        """As asked, then at ever tighter times per token until none is reachable; a sentence only where nothing works as asked."""
        tried = self.try_out(workload, chip, model)
        yield tried
        for tpot_p99_ms in () if isinstance(tried, str) else self._ladder(workload, tried):
            tried = self.try_out(replace(workload, tpot_p99_ms=Quantity(tpot_p99_ms, "serve.tpot_p99_ms")), chip, model)
            if isinstance(tried, str):
                return
            yield tried

    def _ladder(self, workload: Workload, asked: Tried) -> list[float]:
        """p99 times per token in ms below the one asked for, or below that of full memory; the same rungs whatever is asked."""
        reached = asked.operation.tpot_s[asked.operation.feasible]
        highest = 1e3 * float(reached.max()) / self.performance.tpot_mean_over_p99.value
        if workload.tpot_p99_ms is not None:
            highest = min(highest, workload.tpot_p99_ms.value)
        top = math.ceil(RUNGS_PER_DOUBLING * math.log2(highest)) - 1
        return [2.0 ** (k / RUNGS_PER_DOUBLING) for k in range(top, top - 8 * RUNGS_PER_DOUBLING, -1)]

    def _deployment(self, tried: Tried, i: int, slack: np.ndarray) -> Deployment:
        return tried.at(i, slack, _held(slack, tried.load), self.performance.tpot_mean_over_p99.value)

    def _least_tpot(self, workload: Workload, chip: Chip, model: ModelClass) -> str | None:
        """Why no layout meets the time per token although the model fits; None where it does not fit."""
        if workload.tpot_p99_ms is None:
            return None
        tried = self.try_out(replace(workload, tpot_p99_ms=None), chip, model)
        if isinstance(tried, str):
            return None
        step = tried.operation.step
        alone = np.where(tried.operation.feasible, tpot_s(step, 1.0), np.inf)
        i = int(alone.argmin())
        read = np.broadcast_to(step.weights_s + step.experts_s * -np.expm1(-step.touch_rate), alone.shape)[i]
        ratio = self.performance.tpot_mean_over_p99.value
        return (
            f"a TPOT p99 of {workload.tpot_p99_ms.value:g} ms cannot be met: the least possible is {1e3 * alone[i] / ratio:.3g} ms, for one"
            f" request alone on {tried.settings[i].chips:g} {chip.name} ({1e3 * alone[i]:.3g} ms in the mean, {1e3 * read:.3g} ms of it to"
            f" read the weights)"
        )


def whole_chips(rate: float, load: ReplicaLoad) -> np.ndarray:
    """Chips in whole replicas, at least one."""
    return whole_replicas(chips_needed(rate, load), load)


def whole_replicas(chips: Array, load: ReplicaLoad) -> np.ndarray:
    return np.asarray(load.chips) * np.maximum(np.ceil(chips / load.chips - ROUNDING), 1.0)


def wait_p99_s(rate: float, load: ReplicaLoad, replicas: float) -> float:
    """The 99th percentile of the wait for prefill at a rate of requests/s, from above: the least slack at which the queue carries it."""
    sticky = bool(load.sticky > 0)
    utilisation = rate * load.prefill_s / replicas
    law = (load.arrival_cv2, load.service_cv2, load.peakedness)
    ends = (1.0 / LONGEST_WAIT, LONGEST_WAIT)
    if utilisation <= greatest_utilisation(1.0 if sticky else replicas, ends[0], *law):
        return 0.0
    for _ in range(2):
        grid = np.geomspace(*ends, WAIT_POINTS)
        enough = np.flatnonzero(greatest_utilisation(1.0 if sticky else replicas, grid, *law) >= utilisation)
        if not len(enough):
            return np.inf
        ends = grid[max(enough[0] - 1, 0)], grid[enough[0]]
    return float(ends[1] * load.prefill_s)


def step_shares(setting: Setting) -> dict[str, float]:
    """What a step at the best batch of a setting spends its time on: compute, bandwidth, links, overhead; shares that sum to 1."""
    given = inputs_of([setting])
    operation: Operation = run(given)
    step, batch = operation.step, operation.batch
    chips_of_stage = given.layout.chips / given.layout.pipeline_stages
    token_links = seconds_per_token(given.chip, given.model, given.efficiency, given.layout)[1]
    prefill_links = prefill_wait(given.efficiency, given.layout, chips_of_stage) * given.load().prefill_tokens * token_links
    seconds = {
        "compute": batch * (step.matmul_s + step.attention_s + step.prefill_s - prefill_links),
        "bandwidth": step.weights_s + step.experts_s * -np.expm1(-step.touch_rate * batch) + batch * step.kv_s,
        "links": step.all_reduce_s + batch * (step.network_s + prefill_links),
        "overhead": step.overhead_s + batch * step.sequence_s,
    }
    return {part: float(np.ravel(value / operation.tpot_s)[0]) for part, value in seconds.items()}


def _held(slack: np.ndarray, load: ReplicaLoad) -> np.ndarray:
    """The slack as the queue reads it: finite and positive."""
    return np.where(np.isfinite(slack), np.maximum(slack, 1e-9), 1e9 * load.prefill_s)


def _whole(tried: Tried, chips: np.ndarray) -> np.ndarray:
    """[settings]: in whole replicas; infinite where the layout does not work at all."""
    return np.where(tried.operation.feasible, whole_replicas(chips, tried.load), np.inf)


def _needed(tried: Tried, rate: float, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(chips in whole replicas, parts of a replica included), [settings]; infinite where the first token is late."""
    ask = np.flatnonzero(tried.operation.feasible & (slack > 0.0))
    load = ReplicaLoad(*(leaf[ask] for leaf in tried.load._replace(slack_s=_held(slack, tried.load))))
    whole, parts = np.full(slack.shape, np.inf), np.full(slack.shape, np.inf)
    if len(ask):
        parts[ask] = chips_needed(rate, load)
        whole[ask] = whole_replicas(parts[ask], load)
    return whole, parts
