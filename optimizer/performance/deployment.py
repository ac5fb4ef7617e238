"""How a workload runs on a chip: every precision and layout tried on hard values, the fewest chips taken, with what binds and the error.

The choice is made for one origin's round trips and one load, because a tight first-token target needs larger replicas and a small load
cannot fill them. Measured rows of the throughput table pin the model: the log ratio of the nearest measurement to the model at that
measurement's own shape and target is carried over, weaker with distance (one-point kriging with correlation exp(-distance / REACH)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from optimizer.performance.batch import BINDING, Operation
from optimizer.performance.efficiencies import Efficiencies
from optimizer.performance.first_token import first_token, own_first_token_s
from optimizer.performance.layouts import legal_layouts, refusal
from optimizer.performance.precision import stored_precision
from optimizer.performance.prompt_length import prompt_p99_tokens
from optimizer.performance.queueing import service_peakedness
from optimizer.performance.replicas import ReplicaLoad, chips_needed
from optimizer.performance.setting import Inputs, Setting, inputs_of, numbers_of, run, target_of, work_of
from optimizer.spec.model_architecture import is_mixture, missing_architecture, missing_performance
from optimizer.spec.resolved import Calibration, Chip, ModelClass, Performance, Quantity, Throughput, Workload

CACHE_TYPE = {"bf16": "bf16", "fp8": "fp8", "fp4": "fp8"}
"""Data type of the cache beside weights and products of a data type."""
REACH = 2.0
"""Distance, in natural logarithms of tokens and target, at which a measurement has lost 1 - 1/e of its weight."""
ONE_SIDED = 0.35
"""Distance between a measurement without a target for the time per token and work that has one, or the reverse: as of a factor of two."""
ANY_WORK = {role: Quantity(1.0, "any work") for role in ("input_tokens", "output_tokens", "cache_hit_ratio", "output_tokens_cv2")}
"""Stands for the workload where only the model's shape is asked for."""
BATCH_SHARES = (1.0, 0.6, 0.36)
"""Of the largest batch, tried where the first token has a target: a smaller batch leaves steps shorter for prefill."""
TIE = 1e-6
NUDGE = 1e-3
"""Step in a parameter's logarithm for an elasticity."""


class NotModelled(ValueError):
    """The performance model cannot be applied; the message names the missing fields."""


@dataclass(frozen=True)
class Pin:
    """A measured row, the setting it stands for, and how much of its deviation from the model is carried over."""

    row: Throughput
    setting: Setting
    weight: float  # 0 .. 1
    modelled: float  # output tokens/s/chip of the setting, without the pin


@dataclass(frozen=True)
class Deployment:
    """The chosen setting, with hard values. Times in ms; the first-token parts exclude network and wait."""

    setting: Setting
    pin: Pin | None
    log_std: float
    batch: float
    tpot_mean_ms: float
    tpot_p99_ms: float
    prefill_ms: float  # of a prompt of the 99th percentile of the lengths, once its turn has come
    step_ms: float  # what the step under way adds to it, at the 99th percentile of both
    slack_ms: float  # of the first-token target after network, prefill and step; inf without a target
    output_tokens_per_s_per_chip: float  # at the planned quantile, pinned
    binds: str
    load: ReplicaLoad

    @property
    def own_ms(self) -> float:
        """The 99th percentile of the time to first token without network and wait."""
        return self.prefill_ms + self.step_ms


@dataclass(frozen=True)
class Tried:
    """Everything about the settings of one workload on one chip that the network has no part in, [settings]; times in seconds."""

    settings: list[Setting]
    operation: Operation
    pin: Pin | None
    log_std: np.ndarray
    factor: np.ndarray
    prefill: np.ndarray  # of a long prompt
    own: np.ndarray  # that and the step under way: the first token without network and wait
    load: ReplicaLoad  # slack_s is not known yet

    def at(self, i: int, slack: np.ndarray, held: np.ndarray, mean_over_p99: float) -> Deployment:
        """One setting on its own; `held` is the slack as the queue reads it."""
        leaves = [float(leaf[i]) for leaf in self.load._replace(slack_s=held)]
        tpot_ms = 1e3 * float(self.operation.tpot_s[i])
        return Deployment(
            setting=self.settings[i],
            pin=self.pin,
            log_std=float(self.log_std[i]),
            batch=float(self.operation.batch[i]),
            tpot_mean_ms=tpot_ms,
            tpot_p99_ms=tpot_ms / mean_over_p99,
            prefill_ms=1e3 * float(self.prefill[i]),
            step_ms=1e3 * float(self.own[i] - self.prefill[i]),
            slack_ms=1e3 * float(slack[i]),
            output_tokens_per_s_per_chip=float(self.operation.output_tokens_per_s_per_chip[i] * self.factor[i]),
            binds=BINDING[int(self.operation.binds[i])],
            load=ReplicaLoad(*leaves),
        )


class DeploymentModel:
    """Chooses deployments for one case; `chips`, `models` and rows by name as the case has them."""

    def __init__(self, performance: Performance, calibration: Calibration, rows: Sequence[Throughput] = ()) -> None:
        self.performance, self.efficiencies = performance, Efficiencies(calibration)
        self._rows: dict[tuple[str, str], list[Throughput]] = {}
        for row in rows:
            if row.task == "serving" and row.measured:
                self._rows.setdefault((row.chip, row.model), []).append(row)
        self._tried: dict[tuple[str, str], Tried | str] = {}

    def choose(self, workload: Workload, chip: Chip, model: ModelClass, network_ms: float, rate: float) -> Deployment | str:
        """The deployment with the fewest chips at `rate` requests/s (at least one replica), or one sentence why there is none.

        Raises NotModelled: chip or model lack fields that the model needs.
        """
        return self.choose_each(workload, chip, model, [network_ms], [rate])[0]

    def choose_each(
        self, workload: Workload, chip: Chip, model: ModelClass, network_ms: Sequence[float], rate: Sequence[float]
    ) -> list[Deployment | str]:
        """`choose` for several networks and loads at once."""
        tried = self._tried.get((workload.name, chip.name))
        if tried is None:
            tried = self._tried[workload.name, chip.name] = self.try_out(workload, chip, model)
        if isinstance(tried, str):
            return [tried] * len(network_ms)
        target, network = workload.ttft_p99_ms, np.asarray(network_ms, float)[:, None]
        slack = np.full((len(network), len(tried.settings)), np.inf) if target is None else 1e-3 * (target.value - network) - tried.own
        on_time = tried.operation.feasible & (slack > 0)
        held = np.where(np.isfinite(slack), np.maximum(slack, 1e-9), 1e9 * tried.load.prefill_s)
        # the queue is the dear part: only layouts that are in time are asked
        ask, at = np.nonzero(on_time)
        load = ReplicaLoad(*(np.broadcast_to(leaf, held.shape)[ask, at] for leaf in tried.load._replace(slack_s=held)))
        chips = np.full(held.shape, np.inf)
        asked = np.asarray(rate, float)[ask]
        needed = np.maximum(chips_needed(asked, load), load.chips)
        # between equals, as where less than one replica is needed, the one that keeps fewer chips busy
        chips[ask, at] = np.where(np.isfinite(needed), needed + TIE * np.maximum(asked, 1.0) * load.chips * load.busy_s, np.inf)
        found: list[Deployment | str] = []
        for k in range(len(network)):
            if on_time[k].any():
                found.append(tried.at(int(np.argmin(chips[k])), slack[k], held[k], self.performance.tpot_mean_over_p99.value))
            else:
                found.append(self._late(tried, chip, workload, float(network[k, 0]), slack[k]))
        return found

    @staticmethod
    def _late(tried: Tried, chip: Chip, workload: Workload, network_ms: float, slack: np.ndarray) -> str:
        best = int(np.argmax(np.where(tried.operation.feasible, slack, -np.inf)))
        assert workload.ttft_p99_ms is not None
        target, own = workload.ttft_p99_ms.value, 1e3 * tried.own[best]
        said = f"network {network_ms:.4g} ms + prefill of long prompts {own:.3g} ms exceed the TTFT target of {target:g} ms"
        return f"{said} by {-1e3 * slack[best]:.3g} ms on the fastest layout ({tried.settings[best].chips:g} {chip.name})"

    # parts ------------------------------------------------------------------------------------------------------------------------
    def try_out(self, workload: Workload, chip: Chip, model: ModelClass) -> Tried | str:
        missing = missing_architecture(model)
        if missing:
            raise NotModelled(f"models.{model.name} lacks {', '.join(missing)}, which the performance model needs")
        missing = missing_performance(chip)
        if missing:
            raise NotModelled(f"chips.{chip.name} lacks {', '.join(missing)}, which the performance model needs")
        allowed = workload.traffic.precisions if workload.traffic is not None else None
        numbers, buckets = work_of(workload)
        shares = (1.0,) if workload.ttft_p99_ms is None else BATCH_SHARES
        settings = self._settings(chip, model, allowed, numbers | target_of(self.performance), buckets, shares)
        if not settings:
            return f"{chip.name} serves in none of {', '.join(allowed or CACHE_TYPE)} at any of its replica sizes"
        given = inputs_of(settings)
        operation = run(given)
        if not np.any(operation.feasible):
            return self._refusal(settings)
        pin = self._pin(workload, chip, model)
        log_std = self._log_std(pin, self._model_log_std(chip, settings, operation))
        factor = self._factor(pin, log_std)
        prefill, own, service, cv2 = self._first_token(workload, given, operation)
        load = self._load(workload, given, operation, service, cv2, factor)
        load = ReplicaLoad(*(np.broadcast_to(leaf, cv2.shape) for leaf in load))
        return Tried(settings, operation, pin, log_std, factor, prefill, own, load)

    def _settings(
        self,
        chip: Chip,
        model: ModelClass,
        allowed: tuple[str, ...] | None,
        work: Mapping[str, Quantity],
        buckets: tuple[Mapping[str, Quantity], ...],
        shares: tuple[float, ...] = (1.0,),
    ) -> list[Setting]:
        """Every precision, layout and share of the largest batch."""
        assert chip.architecture is not None and chip.serving_stack is not None and chip.replica_chips is not None
        settings: list[Setting] = []
        for precision, cache_type in CACHE_TYPE.items():
            if (allowed is not None and precision not in allowed) or getattr(chip, f"{precision}_dense_tflops") is None:
                continue
            efficient = self.efficiencies.of(chip.architecture, precision, chip.serving_stack)
            stored = stored_precision(precision, cache_type, is_mixture(model))
            experts = stored.weight_bytes if stored.expert_weight_bytes is None else stored.expert_weight_bytes
            numbers = numbers_of(chip, precision, model, efficient.numbers) | dict(work)
            one = Setting(numbers, buckets, precision, stored.weight_bytes, experts, stored.kv_bytes, 1.0, 1.0, 0.0)
            shape = inputs_of([replace(one, numbers=ANY_WORK | numbers, buckets=(ANY_WORK,))]).model
            layouts = legal_layouts(type(shape)(*(leaf[0] for leaf in shape)), chip.replica_chips, int(chip.scale_up_chips.value))
            for chips, stages, apart in zip(*layouts, strict=True):
                layout = {"chips": float(chips), "pipeline_stages": float(stages), "data_parallel_attention": float(apart)}
                settings += [replace(one, **layout, batch_share=share) for share in shares]
        return settings

    def _model_log_std(self, chip: Chip, settings: list[Setting], operation: Operation) -> np.ndarray:
        """[settings]: the error where measurements stand behind every parameter, and, through the throughput's elasticity, the prior's
        spread of each parameter that none stands behind."""
        assert chip.architecture is not None and chip.serving_stack is not None
        of = [self.efficiencies.of(chip.architecture, setting.precision, chip.serving_stack) for setting in settings]
        variance = np.array([efficient.residual_log_std**2 for efficient in of])
        rate = np.where(operation.feasible, operation.output_tokens_per_s_per_chip, 1.0)
        for field in sorted({field for efficient in of for field in efficient.unfitted}):
            other = run(inputs_of(settings, field, math.exp(NUDGE)))
            ratio = np.where(operation.feasible & other.feasible, other.output_tokens_per_s_per_chip, rate) / rate
            spread = np.array([efficient.unfitted.get(field, 0.0) for efficient in of])
            variance = variance + (np.log(ratio) / NUDGE * spread) ** 2
        return np.sqrt(variance)

    def _refusal(self, settings: list[Setting]) -> str:
        """Why nothing works at the data type that needs least memory."""
        least = min(setting.expert_weight_bytes + setting.weight_bytes for setting in settings)
        given = inputs_of([s for s in settings if s.expert_weight_bytes + s.weight_bytes == least])
        first = Inputs(*(_first(leaf) for leaf in given))
        limit, done = float(first.tpot_mean_limit_s), run(given)
        return refusal(first.chip, first.model, first.precision, first.efficiency, given.layout, first.load(), limit, done)

    def _first_token(
        self, workload: Workload, given: Inputs, operation: Operation
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(prefill of a long prompt, that with the step under way, mean service time) in seconds and the cv2 of the latter, [settings]."""
        traffic = workload.traffic
        assert traffic is not None
        share = given.share
        batch = np.maximum(operation.batch, 1.0)
        budget = batch + self.performance.prefill_tokens_per_step.value
        replica = given.chip, given.model, given.precision, given.efficiency, given.layout
        times = [first_token(*replica, given.of_bucket(k), batch, budget) for k in range(share.shape[-1])]
        service, prefill = (np.stack(leaves, axis=-1) for leaves in ([t.service_s for t in times], [t.prefill_s for t in times]))
        mean = (share * service).sum(axis=-1)
        within = traffic.service_cv2.value
        cv2 = np.maximum((share * service**2).sum(axis=-1) * (1.0 + within) / mean**2 - 1.0, 0.0)  # rounding may leave less than 0
        length = np.full(batch.shape, prompt_p99_tokens(workload))
        longest = first_token(*replica, given.of_bucket(0)._replace(input_tokens=length), batch, budget).prefill_s
        step = np.where(np.isfinite(operation.tpot_s), operation.tpot_s, 0.0)
        return longest, own_first_token_s((share * prefill).sum(axis=-1), longest, step), mean, cv2

    def _load(
        self, workload: Workload, given: Inputs, operation: Operation, service: np.ndarray, cv2: np.ndarray, factor: np.ndarray
    ) -> ReplicaLoad:
        """What the queue needs to know but the slack, [settings]; a factor on the throughput divides the times of work."""
        traffic = workload.traffic
        assert traffic is not None
        batch = np.maximum(operation.batch, 1.0)
        tokens = (given.share * given.works.output_tokens).sum(axis=-1)
        tpot = np.where(np.isfinite(operation.tpot_s), operation.tpot_s, 1.0)
        arrivals = traffic.arrival_cv2.value
        peaked = service_peakedness(arrivals, cv2) if traffic.peakedness is None else np.full(cv2.shape, traffic.peakedness.value)
        return ReplicaLoad(
            chips=given.layout.chips,
            busy_s=tokens * tpot / batch / factor,
            prefill_s=service / factor,
            slack_s=np.full(cv2.shape, np.nan),
            slots=batch,
            arrival_cv2=np.full(cv2.shape, arrivals),
            service_cv2=cv2,
            peakedness=peaked,
            sticky=np.full(cv2.shape, float(traffic.sticky)),
        )

    def _pin(self, workload: Workload, chip: Chip, model: ModelClass) -> Pin | None:
        """The nearest measured row of this chip and model, with the setting that the model would choose at that row's shape and target:
        in any data type, whatever this workload allows."""
        rows = self._rows.get((chip.name, model.name), [])
        if not rows:
            return None
        settings = self._settings(chip, model, None, target_of(self.performance), ())
        near = sorted(((_distance(workload, row), i) for i, row in enumerate(rows)), key=lambda pair: pair[0])
        for distance, i in near:
            row = rows[i]
            measured = [self._as_measured(setting, row) for setting in settings]
            operation = run(inputs_of(measured))
            if np.any(operation.feasible):
                best = int(np.argmax(operation.output_tokens_per_s_per_chip))
                return Pin(row, measured[best], math.exp(-distance / REACH), float(operation.output_tokens_per_s_per_chip[best]))
        return None

    def _as_measured(self, setting: Setting, row: Throughput) -> Setting:
        assert row.input_tokens is not None and row.output_tokens is not None
        kept = ("cache_hit_ratio", "output_tokens_cv2", "draft_tokens", "acceptance", "draft_ms", "tpot_p99_ms")
        numbers = {role: number for role, number in setting.numbers.items() if role not in kept}
        here = row.rate.key.rpartition(".")[0]
        numbers |= {role: Quantity(0.0, f"{here}.{role}") for role in ("cache_hit_ratio", "output_tokens_cv2")}
        if row.tpot_p99_ms is not None:
            numbers["tpot_p99_ms"] = row.tpot_p99_ms
        shape = {
            "input_tokens": Quantity(row.input_tokens, f"{here}.input_tokens"),
            "output_tokens": Quantity(row.output_tokens, f"{here}.output_tokens"),
        }
        return replace(setting, numbers=numbers, buckets=(shape,))

    def _log_std(self, pin: Pin | None, model_log_std: np.ndarray) -> np.ndarray:
        if pin is None:
            return model_log_std
        own = pin.row.log_std or 0.0
        return np.sqrt(pin.weight**2 * own**2 + (1.0 - pin.weight**2) * model_log_std**2)

    def _factor(self, pin: Pin | None, log_std: np.ndarray) -> np.ndarray:
        """What multiplies the model's throughput: the pin, and the step to the planned quantile."""
        factor = planned_factor(self.performance.quantile, log_std)
        if pin is not None:
            factor = factor * (pin.row.rate.value / pin.modelled) ** pin.weight
        return factor


def planned_factor(quantile: float | None, log_std: np.ndarray) -> np.ndarray:
    """The throughput that is exceeded with probability `quantile`, over its median; 1 at the median (None)."""
    return np.exp(-(0.0 if quantile is None else NormalDist().inv_cdf(quantile)) * log_std)


def _distance(workload: Workload, row: Throughput) -> float:
    """In natural logarithms: input and output tokens, and half of that of the target."""
    assert workload.input_tokens is not None and workload.output_tokens is not None and row.input_tokens and row.output_tokens
    distance = abs(math.log(workload.input_tokens.value / row.input_tokens))
    distance += abs(math.log(workload.output_tokens.value / row.output_tokens))
    if workload.tpot_p99_ms is not None and row.tpot_p99_ms is not None:
        distance += 0.5 * abs(math.log(workload.tpot_p99_ms.value / row.tpot_p99_ms.value))
    elif workload.tpot_p99_ms is not None or row.tpot_p99_ms is not None:
        distance += ONE_SIDED
    return distance


def _first(value):
    """The first setting's part of a tuple of arrays."""
    return type(value)(*(_first(leaf) for leaf in value)) if isinstance(value, tuple) else None if value is None else value[0]
