"""How many chips one service needs, as a page, a JSON document and a table: one chip in full, several side by side."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from optimizer.performance.chip_prices import KINDS
from optimizer.performance.prompt_length import prompt_p99_tokens
from optimizer.performance.serve import Answer, ChipAnswer
from optimizer.performance.serve_question import Question
from optimizer.report import figures
from optimizer.report.files import SCHEMA_VERSION, plain
from optimizer.report.page import Page, bullets, facts, grid, heading, line
from optimizer.report.text_files import json_text

WORDS = {
    "network": "network", "ttft": "TTFT", "prefill": "prefill", "tpot": "TPOT", "memory": "memory", "compute": "compute",
    "bandwidth": "bandwidth", "links": "chip links", "overhead": "overhead",
}  # fmt: skip
MODES = {"on_demand": "on-demand", "spot": "spot", "reserved_1y": "reserved 1y", "reserved_3y": "reserved 3y", "lease": "lease"}


def serve_page(answer: Answer) -> Page:
    """One chip in full, or a table over several, and why the others cannot do it."""
    asked = answer.question
    page: Page = [line(f"{asked.model}: {_requests(asked)}"), line(f"  {_conditions(asked)}")]
    if len(answer.chips) + len(answer.refused) == 1:
        page += [part for one in answer.chips for part in _in_full(one, asked)]
    elif answer.chips:
        page += _side_by_side(answer)
    if answer.refused:
        page += [heading("Cannot do it"), bullets(f"{chip}: {sentence}" for chip, sentence in answer.refused.items())]
    return page


# one chip -------------------------------------------------------------------------------------------------------------------------
def _in_full(one: ChipAnswer, asked: Question) -> Page:
    planned = "" if asked.quantile is None else f", planned at the throughput that is exceeded with probability {asked.quantile:g}"
    page: Page = [
        heading(f"{one.chip}: {one.chips:,} chips, {one.chips_low:,} to {one.chips_high:,} with 80 % probability{planned}"),
        facts(
            [
                ("busy", figures.chips(one.chips_busy), "what the work itself takes"),
                ("waiting", figures.chips(one.chips_waiting), "spare for prefill and slots, so that waits stay within the targets"),
                ("rounding", figures.chips(one.chips_rounding), f"to {figures.counted(one.replicas, 'whole replica')}"),
                ("utilisation", figures.percent(one.utilisation), "busy over all"),
            ]
        ),
        heading("A replica"),
        facts(
            [
                ("chips", str(one.replica_chips), f"{_layout(one)}, {one.precision}"),
                ("batch", figures.number(math.floor(one.batch)), "sequences"),
                ("tokens/s per chip", figures.number(one.output_tokens_per_s_per_chip), "output, at this batch"),
                ("", figures.number(one.delivered_output_tokens_per_s_per_chip), "the demand over all chips"),
            ]
        ),
        heading("Latency, ms"),
        facts(
            [
                ("TTFT p99", _ms(one.ttft_p99_ms), _target(asked.ttft_p99_ms)),
                *((f"  {name}", _ms(value), remark) for name, value, remark in _first_token(one, asked)),
                ("TPOT p99", _ms(one.tpot_p99_ms), f"{_target(asked.tpot_p99_ms)}; mean {_ms(one.tpot_mean_ms)}"),
            ]
        ),
    ]
    return [*page, *_costs_in_full(one), heading("What binds"), bullets(_binding(one)), heading("How sure"), bullets(_sure(one))]


def _first_token(one: ChipAnswer, asked: Question) -> list[tuple[str, float, str]]:
    return [
        ("network", one.network_ms, f"{asked.round_trips:g} x {asked.rtt_ms:g} ms" if one.network_ms else ""),
        ("wait", one.wait_p99_ms, f"with {asked.routing} routing"),
        ("prefill", one.prefill_ms, f"of {prompt_p99_tokens(asked.workload()):,.0f} input tokens, the 99th percentile"),
        ("step under way", one.step_ms, "when the prompt comes"),
    ]


def _costs_in_full(one: ChipAnswer) -> Page:
    if not one.costs:
        return [line("\nThe catalog has no price per hour for it.")]
    return [
        heading("Cost per million output tokens, all chips paid around the clock"),
        grid(
            ("mode", "region", "$/M tokens", "10 to 90 %", "$/chip-hour"),
            [
                (
                    MODES[cost.kind], cost.region + (" (assumed)" if cost.assumed else ""), _usd(cost.usd_per_million_output_tokens),
                    f"{_usd(cost.low)} - {_usd(cost.high)}", f"{cost.usd_per_chip_hour:,.3f}",
                )
                for cost in one.costs
            ],
            words=2,
        ),
    ]  # fmt: skip


def _binding(one: ChipAnswer) -> list[str]:
    sentences = {
        "network": "network: round trips take more than half of the TTFT target",
        "ttft": "TTFT: without this target fewer chips, or a larger batch, would do",
        "prefill": "prefill: prompts, at the input tokens that a step takes, need more chips than decoding",
        "tpot": "TPOT: it sets the batch",
        "memory": "memory: it sets the batch",
    }
    said = [sentences[name] for name in one.binds if name in sentences]
    shares = sorted(one.step_shares.items(), key=lambda part: -part[1])
    return [*said, "a step is " + ", ".join(f"{figures.percent(share)} {WORDS[part]}" for part, share in shares)]


def _sure(one: ChipAnswer) -> list[str]:
    said = [
        f"the throughput is off by a factor of {math.exp(one.log_std):.2f} (one standard deviation of its logarithm, {one.log_std:.2f})"
    ]
    if one.pin is not None:
        row = one.pin.row
        target = "no TPOT target" if row.tpot_p99_ms is None else f"TPOT p99 {row.tpot_p99_ms.value:g} ms"
        shape = f"{row.input_tokens:g} + {row.output_tokens:g} tokens, {target}"
        spread = "" if row.log_std is None else f" (log standard deviation {row.log_std:g})"
        said.append(
            f"pinned to the throughput table's {figures.number(row.rate.value)} tokens/s per chip{spread} at {shape}:"
            f" {row.rate.value / one.pin.modelled:.2f} times the model there, carried over with weight {one.pin.weight:.2f}"
        )
    else:
        said.append("the throughput table has no row of this model on this chip: the calibrated model alone")
    said.append("the TTFT p99 is good to a factor of two at best: `capacity calibrate` prints it beside measured ones")
    if one.priors:
        said.append(f"rests on priors, as no measurement of this generation, data type or software tells: {', '.join(one.priors)}")
    if one.assumed:
        said += [f"assumptions of {row}: {fields}" for row, fields in _by_row(one.assumed)]
    return said


def _by_row(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """(chips.NAME or models.NAME, its fields)."""
    rows: dict[str, list[str]] = {}
    for key in keys:
        row, _, field = key.removeprefix("catalog.").rpartition(".")
        rows.setdefault(row, []).append(field)
    return [(row, ", ".join(fields)) for row, fields in rows.items()]


# several chips --------------------------------------------------------------------------------------------------------------------
def _side_by_side(answer: Answer) -> Page:
    chips = [
        (
            one.chip, " ".join(WORDS[name] for name in one.binds), f"{one.chips:,}", f"{one.chips_low:,}-{one.chips_high:,}",
            figures.percent(one.utilisation), _price(one, KINDS[0]).strip(), _mark(one),
        )
        for one in answer.chips
    ]  # fmt: skip
    replicas = [
        (
            one.chip, f"{one.precision} {_short_layout(one)}", f"{math.floor(one.batch):,}",
            figures.number(one.output_tokens_per_s_per_chip), _ms(one.wait_p99_ms), _ms(one.ttft_p99_ms), _ms(one.tpot_p99_ms),
        )
        for one in answer.chips
    ]  # fmt: skip
    page: Page = [
        heading("Chips, and on-demand $ per million output tokens"),
        grid(("chip", "binds", "chips", "10-90 %", "used", "$/M", "rests on"), chips, words=2),
        line("  r: a row of the throughput table for this model and chip, p: priors. 10-90 %: with 80 % probability."),
        heading("Replicas; output tokens/s per chip at this batch; p99 in ms"),
        grid(("chip", "replica", "batch", "tokens/s", "wait", "TTFT", "TPOT"), replicas, words=2),
    ]
    modes = [kind for kind in KINDS if any(one.cost(kind) for one in answer.chips)]
    if modes:
        costs = [(one.chip, *(_price(one, kind) for kind in modes)) for one in answer.chips]
        page += [
            heading("$ per million output tokens at the cheapest price, all chips paid around the clock"),
            grid(("chip", *(MODES[kind] for kind in modes)), costs),
            line("  a: the price is an assumption."),
        ]
    return page


def _price(one: ChipAnswer, kind: str) -> str:
    cost = one.cost(kind)
    return figures.NOTHING if cost is None else f"{_usd(cost.usd_per_million_output_tokens)}{' a' if cost.assumed else '  '}"


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.0995 else f"{value:.2g}"


def _mark(one: ChipAnswer) -> str:
    return ("r" if one.pin is not None else "") + ("p" if one.priors else "")


def _short_layout(one: ChipAnswer) -> str:
    ways = f"EP{one.expert_parallel}" if one.expert_parallel > 1 else f"TP{one.tensor_parallel}"
    return ways + (f" PP{one.pipeline_stages}" if one.pipeline_stages > 1 else "")


def _layout(one: ChipAnswer) -> str:
    if one.expert_parallel > 1:
        ways = f"expert parallel {one.expert_parallel}, attention on every chip"
    else:
        ways = f"tensor parallel {one.tensor_parallel}"
    return ways + (f", {one.pipeline_stages} pipeline stages" if one.pipeline_stages > 1 else "")


# both -----------------------------------------------------------------------------------------------------------------------------
def _requests(asked: Question) -> str:
    assert asked.input_tokens is not None and asked.output_tokens is not None
    rate, shape = figures.number(asked.requests_per_second), f"{asked.input_tokens:,.6g} + {asked.output_tokens:,.6g} tokens"
    mix = f" (mean of {figures.counted(len(asked.lengths), 'length')})" if asked.lengths else ""
    return f"{rate} requests/s of {shape}{mix}, {figures.number(asked.output_tokens_per_s)} output tokens/s"


def _conditions(asked: Question) -> str:
    said = [f"TTFT p99 {_target(asked.ttft_p99_ms)}", f"TPOT p99 {_target(asked.tpot_p99_ms)}", f"cv2 of arrivals {asked.arrival_cv2:g}"]
    said.append(f"of input {asked.input_tokens_cv2:g}")
    if asked.cache_hit_ratio:
        said.append(f"{figures.percent(asked.cache_hit_ratio)} of the input cached")
    return ", ".join(said)


def _target(target_ms: float | None) -> str:
    return "no target" if target_ms is None else f"target {target_ms:g} ms"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def answer_text(answer: Answer, suffix: str) -> str:
    """The file that --out writes: CSV (a row per chip that can do it) for the suffix .csv, else JSON."""
    if suffix == ".csv":
        import pandas as pd

        return pd.DataFrame(answer.records()).to_csv(index=False)
    return json_text(answer_document(answer))


def answer_document(answer: Answer) -> dict[str, Any]:
    """The content of the JSON file."""
    chips = []
    for one in answer.chips:
        chip = {name: value for name, value in vars(one).items() if name not in ("pin", "costs")}
        pin = None
        if one.pin is not None:
            row = one.pin.row
            pin = {
                "row": row.rate.key.rpartition(".")[0],
                "output_tokens_per_s_per_chip": row.rate.value,
                "input_tokens": row.input_tokens,
                "output_tokens": row.output_tokens,
                "tpot_p99_ms": None if row.tpot_p99_ms is None else row.tpot_p99_ms.value,
                "modelled_output_tokens_per_s_per_chip": one.pin.modelled,
                "weight": one.pin.weight,
            }
        chips.append({**chip, "pin": pin, "costs": [asdict(cost) for cost in one.costs]})
    return plain({"schema_version": SCHEMA_VERSION, "question": asdict(answer.question), "chips": chips, "refused": answer.refused})
