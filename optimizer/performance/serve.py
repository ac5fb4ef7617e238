"""The everyday question: how many chips does one service need, what does a million output tokens cost, and what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.performance.chip_prices import KINDS, Cost, cheapest_offers, cost_at
from optimizer.performance.deployment import Deployment, Pin, planned_factor
from optimizer.performance.replicas import chips_needed
from optimizer.performance.serve_question import HERE, Question
from optimizer.performance.serve_sizing import ServiceModel, Sizing, step_shares, wait_p99_s, whole_chips
from optimizer.spec.case_error import CaseError
from optimizer.spec.catalog import Catalog, shipped_catalog
from optimizer.spec.catalog_entries import catalog_chip, catalog_model
from optimizer.spec.model_architecture import missing_architecture, missing_performance
from optimizer.spec.resolve_calibration import FILE, read_calibration

SORTS = ("cost", "chips")
LIKELY = 0.9
"""The error bar runs from the quantile 1 - LIKELY to LIKELY."""


@dataclass(frozen=True)
class ChipAnswer:
    """One chip's way to serve. chips = chips_busy + chips_waiting + chips_rounding; ttft_p99_ms is the sum of its four parts."""

    chip: str
    precision: str
    replica_chips: int
    tensor_parallel: int
    pipeline_stages: int
    expert_parallel: int  # 1: tensor parallel; else the experts are spread over so many chips, with attention whole on each
    batch: float  # sequences per replica
    chips: int  # whole replicas
    chips_low: int  # with a throughput that is exceeded with probability 0.1
    chips_high: int  # with one that is exceeded with probability 0.9
    replicas: int
    chips_busy: float
    chips_waiting: float  # spare, so that waiting stays within the targets
    chips_rounding: float  # to whole replicas
    utilisation: float  # busy over all
    output_tokens_per_s_per_chip: float  # of a replica at its best batch
    delivered_output_tokens_per_s_per_chip: float  # demand over all chips
    ttft_p99_ms: float
    network_ms: float
    wait_p99_ms: float
    prefill_ms: float
    step_ms: float
    tpot_mean_ms: float
    tpot_p99_ms: float
    binds: tuple[str, ...]  # of network, ttft, prefill, tpot, memory; then the largest part of a step
    step_shares: Mapping[str, float]
    log_std: float
    pin: Pin | None
    priors: tuple[str, ...]  # parameters of the model that no measurement of this chip, data type or software has moved
    assumed: tuple[str, ...]  # fields of the catalog that are assumptions
    costs: tuple[Cost, ...]

    def cost(self, kind: str) -> Cost | None:
        return next((cost for cost in self.costs if cost.kind == kind), None)


_FLAT = tuple(f.name for f in fields(ChipAnswer) if f.name not in ("binds", "step_shares", "pin", "priors", "assumed", "costs"))


@dataclass(frozen=True)
class Answer:
    """`chips` best first; `refused`: one sentence for every chip that cannot do it."""

    question: Question
    chips: tuple[ChipAnswer, ...]
    refused: Mapping[str, str]

    def records(self) -> list[dict[str, Any]]:
        """A flat row per chip that can do it; costs in columns by price mode."""
        return [_record(one) for one in self.chips]


def serve(
    model: str,
    requests_per_second: float,
    *,
    chips: Sequence[str] | None = None,
    catalog: str | Path | Catalog | None = None,
    region: str | None = None,
    sort: str = "cost",
    progress: Callable[[float], None] | None = None,
    **question: Any,
) -> Answer:
    """Sizes one service on the chips of a catalog (None: all of them; the shipped catalog), for a steady rate of requests.

    `question`: the other fields of Question, such as input_tokens, output_tokens, ttft_p99_ms and tpot_p99_ms. `region` limits the prices,
    not the chips. `sort`: by cost per token at the on-demand price (chips without one last) or by number of chips. `progress` is told
    the share that is done. Raises CaseError: a name that is not in the catalog, a number out of range, a model without a published shape;
    TypeError: a field that Question does not have.
    """
    asked = Question(model, requests_per_second, **question).checked()
    if sort not in SORTS:
        raise CaseError(HERE, "sort", f"is `{sort}`", f"write one of {', '.join(SORTS)}")
    source = catalog if isinstance(catalog, Catalog) else _opened(catalog)
    prices = cheapest_offers(source, region)
    shape = catalog_model(source, model)
    _whole_row(source, "models", model, missing_architecture(shape))
    if not source.chips:
        raise CaseError(source.folder, "chips.yaml", f"has no chips{source.missing_file('chips.yaml')}", "write one entry per chip there")
    wanted = [catalog_chip(source, name) for name in (source.chips if chips is None else dict.fromkeys(chips))]
    able = ServiceModel(asked.performance(), read_calibration(source.folder / FILE), source.throughput)
    found, refused = [], {}
    for done, chip in enumerate(wanted, start=1):
        missing = missing_performance(chip)
        if chips is not None:
            _whole_row(source, "chips", chip.name, missing)
        sized = _lacks(missing) if missing else able.fewest(asked.workload(), chip, shape, asked.network_ms, asked.requests_per_second)
        if isinstance(sized, str):
            refused[chip.name] = sized
        else:
            assert chip.architecture is not None and chip.serving_stack is not None
            priors = able.efficiencies.of(chip.architecture, sized.deployment.setting.precision, chip.serving_stack).unfitted
            found.append(_answer(asked, chip.name, sized, tuple(priors), prices.get(chip.name, {})))
        if progress is not None:
            progress(done / len(wanted))
    return Answer(asked, tuple(sorted(found, key=_order(sort))), refused)


def _whole_row(catalog: Catalog, table: str, name: str, missing: tuple[str, ...]) -> None:
    if missing:
        raise CaseError(catalog.folder / f"{table}.yaml", f"{table}.{name}", _lacks(missing), "write them there")


def _lacks(missing: tuple[str, ...]) -> str:
    return f"lacks {', '.join(missing)}, which the performance model needs"


def _order(sort: str) -> Callable[[ChipAnswer], tuple[float, ...]]:
    def key(one: ChipAnswer) -> tuple[float, ...]:
        rented = one.cost(KINDS[0])
        cost = math.inf if rented is None else rented.usd_per_million_output_tokens
        return (cost, one.chips) if sort == "cost" else (one.chips, cost)

    return key


def _answer(
    asked: Question, name: str, sized: Sizing, priors: tuple[str, ...], prices: Mapping[str, tuple[float, str, bool]]
) -> ChipAnswer:
    chosen, rate = sized.deployment, asked.requests_per_second
    load, setting = chosen.load, chosen.setting
    needed, busy = float(chips_needed(rate, load)), float(load.chips * load.busy_s * rate)
    stage = round(setting.chips / setting.pipeline_stages)
    apart = setting.data_parallel_attention > 0.0
    low, high = (_chips_at(chosen, rate, asked.quantile, quantile) for quantile in (1.0 - LIKELY, LIKELY))
    wait_ms = 1e3 * wait_p99_s(rate, load, sized.chips / setting.chips)
    shares = step_shares(setting)
    return ChipAnswer(
        chip=name,
        precision=setting.precision,
        replica_chips=round(setting.chips),
        tensor_parallel=1 if apart else stage,
        pipeline_stages=round(setting.pipeline_stages),
        expert_parallel=stage if apart else 1,
        batch=chosen.batch,
        chips=sized.chips,
        chips_low=low,
        chips_high=high,
        replicas=round(sized.chips / setting.chips),
        chips_busy=busy,
        chips_waiting=needed - busy,
        chips_rounding=sized.chips - needed,
        utilisation=busy / sized.chips,
        output_tokens_per_s_per_chip=chosen.output_tokens_per_s_per_chip,
        delivered_output_tokens_per_s_per_chip=asked.output_tokens_per_s / sized.chips,
        ttft_p99_ms=asked.network_ms + wait_ms + chosen.own_ms,
        network_ms=asked.network_ms,
        wait_p99_ms=wait_ms,
        prefill_ms=chosen.prefill_ms,
        step_ms=chosen.step_ms,
        tpot_mean_ms=chosen.tpot_mean_ms,
        tpot_p99_ms=chosen.tpot_p99_ms,
        binds=_binds(asked, sized, shares),
        step_shares=shares,
        log_std=chosen.log_std,
        pin=chosen.pin,
        priors=priors,
        assumed=tuple(sorted({n.key for n in setting.numbers.values() if n.assumed and ".calibration." not in n.key})),
        costs=tuple(cost_at(kind, prices[kind], asked.output_tokens_per_s, (sized.chips, low, high)) for kind in KINDS if kind in prices),
    )


def _chips_at(chosen: Deployment, rate: float, planned: float | None, quantile: float) -> int:
    """Whole chips of this layout if its throughput is the one that is exceeded with probability `quantile`."""
    log_std = np.array(chosen.log_std)
    slower = float(planned_factor(planned, log_std) / planned_factor(quantile, log_std))
    load = chosen.load._replace(busy_s=chosen.load.busy_s * slower, prefill_s=chosen.load.prefill_s * slower)
    return round(float(whole_chips(rate, load)))


def _binds(asked: Question, sized: Sizing, shares: Mapping[str, float]) -> tuple[str, ...]:
    """Latency first, then what holds back the batch, then what a step spends most of its time on."""
    chosen, found = sized.deployment, []
    if asked.ttft_p99_ms is not None and asked.network_ms > 0.5 * asked.ttft_p99_ms:
        found.append("network")
    if sized.chips > sized.chips_without_ttft:
        found.append("ttft")
    if sized.chips_without_ttft > sized.chips_of_slots:
        found.append("prefill")
    if chosen.binds == "memory" or (asked.tpot_p99_ms is not None and chosen.tpot_p99_ms > asked.tpot_p99_ms * (1.0 - 1e-6)):
        found.append(chosen.binds)
    elif not {"ttft", "prefill"} & set(found):
        found.append("prefill" if asked.ttft_p99_ms is None else "ttft")  # it capped the batch, and nothing else would save a chip
    return (*found, max(shares, key=lambda part: shares[part]))


def _record(one: ChipAnswer) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(one, name) for name in _FLAT}
    row |= {f"step_share_{part}": share for part, share in one.step_shares.items()}
    row |= {name: " ".join(getattr(one, name)) for name in ("binds", "priors", "assumed")}
    row |= {
        "pinned_by": "" if one.pin is None else one.pin.row.rate.key.rpartition(".")[0],
        "pinned_weight": one.pin.weight if one.pin else 0.0,
    }
    for kind in KINDS:
        cost = one.cost(kind)
        row[f"{kind}_usd_per_chip_hour"] = None if cost is None else cost.usd_per_chip_hour
        row[f"{kind}_usd_per_million_output_tokens"] = None if cost is None else cost.usd_per_million_output_tokens
    return row


def _opened(folder: str | Path | None) -> Catalog:
    path = shipped_catalog() if folder is None else Path(folder)
    if not path.is_dir():
        raise CaseError(HERE, "catalog", f"`{path}` is not a directory", "give the directory of a catalog")
    return Catalog(path)
