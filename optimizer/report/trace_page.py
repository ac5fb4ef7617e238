"""An arrival log as a page for people and as the workload block of a case file."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from optimizer.performance.length_buckets import OUTPUT_WEIGHT
from optimizer.performance.shot_noise import Estimate
from optimizer.performance.trace import Service, TraceMeasures
from optimizer.performance.trace_file import Trace, duration
from optimizer.report import figures
from optimizer.report.page import Page, bullets, facts, grid, heading, line

PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_PLAIN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class BlockNames:
    """What the log cannot say: how the case calls the workload, its model and its origin."""

    workload: str
    model: str | None
    origin: str
    utc_offset_hours: int


def trace_page(trace: Trace, measures: TraceMeasures) -> Page:
    name = Path(trace.file).name
    page: Page = [line(f"{name}: {figures.counted(measures.requests, 'request')} in {duration(measures.span_s)}", "bold green")]
    page += [heading("Requests"), facts(_requests(trace, measures)), heading("Length buckets"), _buckets(measures)]
    page.append(facts([("cv2 within a bucket", "", _within_buckets(measures))]))
    if measures.burstiness is not None:
        page += [heading("Burstiness at the scale of service"), facts(_burstiness(measures))]
    if measures.dispersion_by_scale:
        page += [heading("Dispersion of counts by window (Poisson: 1)"), facts(_scales(measures))]
    if measures.profile is not None:
        page += [heading("Load profile, local hours"), facts(_profile(measures))]
    if measures.missing:
        page += [heading("Not measured"), bullets(measures.missing, "yellow")]
    return page


def _requests(trace: Trace, m: TraceMeasures) -> list[tuple[str, str, str]]:
    rate = m.log_requests_per_second
    rows = [
        ("from", "-" if trace.first is None else f"{trace.first:%Y-%m-%d %H:%M:%S}", _until(trace)),
        ("requests/s in the log", figures.number(rate.value), _error(rate)),
        ("input tokens", figures.number(m.input_tokens.value), f"{_error(m.input_tokens)}; cv2 {_with_error(m.input_tokens_cv2)}"),
        ("output tokens", figures.number(m.output_tokens.value), f"{_error(m.output_tokens)}; cv2 {_with_error(m.output_tokens_cv2)}"),
    ]
    if m.profile is not None:
        rows.insert(2, ("requests/s over a week", figures.number(m.requests_per_second), "every hour of the week counted alike"))
    return rows


def _buckets(m: TraceMeasures):
    rows = [
        [_range(b.input_range), _range(b.output_range), figures.number(b.input_tokens), figures.number(b.output_tokens),
         figures.percent(b.share), figures.percent(b.work_share)]
        for b in m.buckets
    ]  # fmt: skip
    return grid(["input", "output", "mean input", "mean output", "requests", "work"], rows, words=2)


def _within_buckets(m: TraceMeasures) -> str:
    found = {"input": m.input_tokens_cv2_within, "output": m.output_tokens_cv2_within, "service": m.service_cv2_within}
    return ", ".join(f"{name} {figures.number(cv2.value)}" for name, cv2 in found.items() if cv2 is not None)


def _burstiness(m: TraceMeasures) -> list[tuple[str, str, str]]:
    b = m.burstiness
    assert b is not None
    part = f"; on {figures.percent(b.measured_share)} of the log" if b.measured_share < 1 else ""
    return [
        ("service", duration(b.mean_service_s), service_sentence(m.service)),
        ("arrival_cv2", figures.number(b.arrival_cv2.value), f"{_error(b.arrival_cv2)}; counts in windows of {duration(b.window_s)}"),
        ("service_cv2", figures.number(b.service_cv2.value), _error(b.service_cv2)),
        ("peakedness", figures.number(b.peakedness.value), f"{_error(b.peakedness)}; busy servers, variance over mean{part}"),
        ("of the work", figures.number(b.work_dispersion.value), f"{_error(b.work_dispersion)}; arrival_cv2 + service_cv2 if independent"),
        ("of single gaps", figures.number(b.interarrival_cv2.value), "cv2 of the gaps: not what a queue feels"),
    ]


def _scales(m: TraceMeasures) -> list[tuple[str, str, str]]:
    return [(duration(window), figures.number(found.value), _error(found)) for window, found in m.dispersion_by_scale.items()]


def _profile(m: TraceMeasures) -> list[tuple[str, str, str]]:
    profile = m.profile
    assert profile is not None
    high, low = int(profile.local_hours.argmax()), int(profile.local_hours.argmin())
    rows = [
        ("busiest hour", f"{high:02d}:00", f"{figures.number(float(profile.local_hours[high]))} times the mean of the day"),
        ("quietest hour", f"{low:02d}:00", f"{figures.number(float(profile.local_hours[low]))} times"),
    ]
    if profile.weekend_factor is not None:
        rows.append(("weekend factor", figures.number(profile.weekend_factor), "Saturday and Sunday"))
    return rows


def service_sentence(service: Service) -> str:
    speed = f"{service.prefill_tokens_per_second:g} input tokens/s"
    what = f"prefill at {speed}"
    if service.decode_tokens_per_second is not None:
        what = f"a decode slot: {speed}, {service.decode_tokens_per_second:g} output tokens/s"
    return what if service.service_seconds is None else f"{what}, scaled to a mean of {service.service_seconds:g} s"


# the block -------------------------------------------------------------------------------------------------------------------------
def block_text(trace: Trace, m: TraceMeasures, names: BlockNames) -> str:
    """The YAML of the workload (and of its profile, where the log is long enough), with what was measured in comments."""
    name, origin = _yaml_name(names.workload), _yaml_name(names.origin)
    rate = m.log_requests_per_second
    lines = [
        f"# Measured by `capacity trace` on {_comment(Path(trace.file).name)}: {m.requests:,} requests in {duration(m.span_s)}"
        + (f", {trace.first:%Y-%m-%d %H:%M:%S} {_until(trace)}." if trace.first is not None else "."),
        f"# The log has {rate.value:.6g} requests/s ({_error(rate)}). +- is one standard error.",
        *(f"# {_comment(sentence[0].upper() + sentence[1:])}." for sentence in m.missing),
        "workloads:",
        f"  {name}:",
        "    kind: serving",
        f"    model: {_yaml_name(names.model)}" if names.model is not None else "    # model: still to be named",
        f"    input_tokens: {_number(m.input_tokens.value)}  # {_error(m.input_tokens)}",
        f"    output_tokens: {_number(m.output_tokens.value)}  # {_error(m.output_tokens)}",
        _spread_line("    input_tokens_cv2", m.input_tokens_cv2_within, m.input_tokens_cv2),
        f"    input_tokens_p99: {_number(max(m.input_tokens_p99, m.input_tokens.value))}",
        _spread_line("    output_tokens_cv2", m.output_tokens_cv2_within, m.output_tokens_cv2),
        f"    origins: {{{origin}: 1}}",
        f"    requests_per_second: {_number(m.requests_per_second)}  # mean over " + ("the log" if m.profile is None else "a week"),
        *_bucket_lines(m),
        *_burstiness_lines(m),
        "    # still to be written: unserved_usd_per_million_output_tokens; optional: ttft_p99_ms, tpot_p99_ms",
        *_profile_lines(m, origin, names),
    ]
    return "\n".join(lines) + "\n"


def _bucket_lines(m: TraceMeasures) -> list[str]:
    shares = [round(bucket.share, 12) for bucket in m.buckets]
    shares[0] += 1 - math.fsum(shares)  # rounding
    written = [f"    length_buckets:  # rectangles of comparable work (input + {OUTPUT_WEIGHT:g} x output tokens)"]
    for bucket, share in zip(m.buckets, shares, strict=True):
        written.append(
            f"      - {{input_tokens: {_number(bucket.input_tokens)}, output_tokens: {_number(bucket.output_tokens)}, share: {share:.12g}}}"
            f"  # {_range(bucket.input_range)} x {_range(bucket.output_range)} tokens, {figures.percent(bucket.work_share)} of the work"
        )
    return written


def _burstiness_lines(m: TraceMeasures) -> list[str]:
    b, within = m.burstiness, m.service_cv2_within
    if b is None or within is None:
        return []
    return [
        f"    burstiness:  # at a mean service of {b.mean_service_s:.4g} s ({service_sentence(m.service)})",
        f"      arrival_cv2: {_number(b.arrival_cv2.value)}  # {_error(b.arrival_cv2)}",
        _spread_line("      service_cv2", within, b.service_cv2),
        f"      peakedness: {_number(b.peakedness.value)}  # {_error(b.peakedness)}",
    ]


def _spread_line(field: str, within: Estimate, whole: Estimate) -> str:
    return f"{field}: {_number(within.value)}  # {_error(within)}, within a bucket; of the whole log {_with_error(whole)}"


def _profile_lines(m: TraceMeasures, origin: str, names: BlockNames) -> list[str]:
    if m.profile is None:
        return []
    hours = ", ".join(f"{hour:.6g}" for hour in m.profile.local_hours)
    factor = "" if m.profile.weekend_factor is None else f", weekend_factor: {m.profile.weekend_factor:.6g}"
    return [
        "profiles:",
        f"  {origin}: {{local_hours: [{hours}]{factor}}}",
        f"# origins: {{{origin}: {{network_location: still to be named, utc_offset_hours: {names.utc_offset_hours}, profile: {origin}}}}}",
    ]


def _number(value: float) -> str:
    return f"{round(value, 12):.12g}"


def _yaml_name(name: str) -> str:
    """Quoted where YAML would read something else than a text."""
    return name if PLAIN_NAME.fullmatch(name) and name.casefold() not in NOT_PLAIN else json.dumps(name)


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}-{ends[1]}" if ends[0] != ends[1] else str(ends[0])


def _error(found: Estimate) -> str:
    error = found.standard_error
    return f"+- {error:,.0f}" if error >= 9.5 else f"+- {error:.2g}"


def _with_error(found: Estimate) -> str:
    return f"{figures.number(found.value)} {_error(found)}"


def _until(trace: Trace) -> str:
    if trace.first is None:
        return f"to {duration(trace.span_s)} later"
    return f"to {trace.first + timedelta(seconds=trace.span_s):%Y-%m-%d %H:%M:%S} UTC"
