"""What is allowed but probably not meant: `check` prints it, and nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise

from .case_error import nearest_name
from .checks_terms import serves
from .checks_workloads import may_use, pools
from .horizon_dates import period_starts
from .quantities import Source
from .resolved import Case, DemandMultiplier, Offer, Workload
from .schema_paths import ByDatePath
from .schema_values import Block

GROWTH_INSIDE_PERIOD = 0.20
HIGH_PUE = 2.0


def find_warnings(case: Case, source: Source) -> tuple[str, ...]:
    """One line each, beginning with the key path."""
    found = [
        *_growth_inside_periods(case),
        *_dates(case, source),
        *_unusable_offers(case),
        *_lots(case),
        *_idle_workloads(case),
        *_partial_windows(case),
        *_odd_numbers(case),
        *_idle_limits(case),
        *_unknown_words(case),
    ]
    if case.reveal is not None and len(case.scenarios) == 1 and case.performance.error_points is None:
        found.append("scenarios.reveal: there is one scenario, so nothing is revealed")
    return tuple(dict.fromkeys(found))


def _growth_inside_periods(case: Case) -> Iterator[str]:
    """Demand that is read at mid-period understates the end of a period in which it grows fast (section 4)."""
    period_years = case.horizon.months_per_period / 12
    for workload in case.workloads.values():
        if workload.level != "mid" or workload.demand is None:
            continue
        for scenario in case.scenarios:
            paths = [workload.demand, *(m.path for m in scenario.demand if _selects(m, workload))]
            factor = 1.0
            for path in paths:
                if path.form == "growth":
                    factor *= (1.0 + path.values[1].value) ** period_years
            if factor - 1.0 > GROWTH_INSIDE_PERIOD:
                where = "" if len(case.scenarios) == 1 else f" in scenario {scenario.name}"
                yield (
                    f"workloads.{workload.name}: demand grows by {100 * (factor - 1):.3g} % inside a period{where} and is read at its "
                    "middle; write `level: end` to plan for the end of each period"
                )
                break
        yield from _steps_inside_periods(case, workload)


def _steps_inside_periods(case: Case, workload: Workload) -> Iterator[str]:
    starts = set(period_starts(case.horizon))
    path = workload.demand
    assert path is not None
    for day, before, after in zip(path.dates[1:], path.values, path.values[1:], strict=False):
        inside = case.horizon.start < day < max(starts) and day not in starts
        if inside and after.value > before.value * (1 + GROWTH_INSIDE_PERIOD):
            yield f"{after.key}: demand steps up inside a period on {day}; begin it with a period, or write `level: end`"


def _selects(multiplier: DemandMultiplier, workload: Workload) -> bool:
    return multiplier.workloads is None or workload.name in multiplier.workloads


def _dates(case: Case, source: Source) -> Iterator[str]:
    first, end = case.horizon.start, period_starts(case.horizon)[-1]
    for name, offer in source.file.offers.items():
        window = offer.window
        if window and window.from_ is not None and window.from_ < first:
            yield f"offers.{name}.window.from: {window.from_} is before the horizon's start ({first})"
        if window and window.until is not None and window.until >= end:
            yield f"offers.{name}.window.until: {window.until} is not before the horizon's end ({end})"
    for key, step in _late_steps(source, end):
        yield f"{key}: {step} is not before the horizon's end ({end}), so the step has no effect"


def _late_steps(source: Source, end: date) -> Iterator[tuple[str, date]]:
    """Steps of any path of the file that begin after the horizon."""
    todo: list[tuple[str, object]] = [("", source.file)]
    while todo:
        where, value = todo.pop()
        if isinstance(value, ByDatePath):
            yield from ((f"{where}.by_date.{n}.from", s.from_) for n, s in enumerate(value.by_date) if s.from_ >= end)
        elif isinstance(value, dict):
            todo.extend((f"{where}.{key}", below) for key, below in value.items())
        elif isinstance(value, Block):
            todo.extend((f"{where}.{name}".lstrip("."), getattr(value, name)) for name in type(value).model_fields)


def _unusable_offers(case: Case) -> Iterator[str]:
    """Offers without a date at which they can be used or signed; the rules of section 3."""
    for offer in case.offers.values():
        if not any(_usable_at(case, offer, t) for t in range(case.horizon.periods)):
            what = "rented in any period" if offer.is_rent else "signed so that it serves a whole period of the horizon"
            available = case.chips[offer.chip].available_from
            yield f"offers.{offer.name}: can never be {what} (window, lead time, chip available from {available})"


def _usable_at(case: Case, offer: Offer, t: int) -> bool:
    starts = period_starts(case.horizon)
    first, next_first = starts[t], starts[t + 1]
    available = case.chips[offer.chip].available_from
    if offer.window_from is not None and first < offer.window_from:
        return False
    if offer.is_rent:
        return first >= available and (offer.window_until is None or next_first.toordinal() - 1 <= offer.window_until.toordinal())
    if offer.window_until is not None and first > offer.window_until:
        return False
    return serves(case, offer, t)


def _lots(case: Case) -> Iterator[str]:
    for offer in case.offers.values():
        if offer.lot_chips is not None and offer.take == "fraction":
            yield (
                f"offers.{offer.name}.lot_chips: any part of the lot of {offer.lot_chips.value:,.6g} chips may be taken; the lower bound "
                "holds for all and nothing too, and `take: all` and `take: nothing` plan with the two"
            )


def _idle_workloads(case: Case) -> Iterator[str]:
    for workload in case.workloads.values():
        if not any(may_use(case, workload, *pool) for pool in pools(case)):
            yield f"workloads.{workload.name}: no offer and no existing fleet can serve it; all of it will go unserved"


def _partial_windows(case: Case) -> Iterator[str]:
    """A run works in whole periods only, so a window that cuts one is shorter than it looks."""
    starts = period_starts(case.horizon)
    for workload in case.workloads.values():
        for run in workload.runs:
            inside = [(a, b) for a, b in pairwise(starts) if a >= run.window_from and b - timedelta(days=1) <= run.window_until]
            if inside and (inside[0][0] != run.window_from or inside[-1][1] - timedelta(days=1) != run.window_until):
                last = inside[-1][1] - timedelta(days=1)
                yield (
                    f"workloads.{workload.name}.runs.{run.name}: works in whole periods only, so from {inside[0][0]} to {last}; "
                    f"its window is {run.window_from} to {run.window_until}"
                )


def _odd_numbers(case: Case) -> Iterator[str]:
    for row in case.throughput:
        peak = case.chips[row.chip].bf16_dense_tflops
        if row.task == "training" and row.rate.value > peak.value:
            yield f"{row.rate.key}: {row.rate.value:g} TFLOP/s is more than the chip's dense bf16 peak of {peak.value:g}"
    for place in case.places.values():
        if place.pue is not None and place.pue.value > HIGH_PUE:
            yield f"{place.pue.key}: {place.pue.value:g} is a high power usage effectiveness; modern sites have 1.1 to 1.5"


def _idle_limits(case: Case) -> Iterator[str]:
    """Limits whose kinds they can never count; without a column a limit is dropped (section 6)."""
    signed = {"own", "lease", "reserved_1y", "reserved_3y"}
    limits = [("supply", limit.name, limit.selector, signed) for limit in case.supply]
    limits += [("capex", limit.name, limit.selector, {"own"}) for limit in case.capex]
    limits += [("share", limit.name, limit.selector, signed) for limit in case.share if limit.of == "signed"]
    for section, name, selector, counted in limits:
        if selector.kinds is not None and not counted & set(selector.kinds):
            yield f"limits.{section}.{name}.kinds: {', '.join(selector.kinds)} is never counted here, so the limit limits nothing"


def _unknown_words(case: Case) -> Iterator[str]:
    """Families, providers and residency zones in lists that no chip or place of this case has."""
    here = {
        "families": {chip.family for chip in case.chips.values()},
        "providers": {place.provider for place in case.places.values()},
        "residency_zones": {place.residency_zone for place in case.places.values()},
    }
    lists: list[tuple[str, str, tuple[str, ...] | None]] = []
    for workload in case.workloads.values():
        lists += [(f"workloads.{workload.name}.allowed_{field}", field, getattr(workload, f"allowed_{field}")) for field in here]
    selectors = [(f"limits.{s}.{limit.name}", limit.selector) for s in ("supply", "capex", "share") for limit in getattr(case, s)]
    for key, selector in selectors:
        lists += [(f"{key}.{field}", field, getattr(selector, field)) for field in ("families", "providers")]
    for key, field, names in lists:
        for name in names or ():
            if name not in here[field]:
                near = nearest_name(name, here[field])
                hint = f"; did you mean `{near}`?" if near else ""
                yield f"{key}: `{name}` is none of the {field.replace('_', ' ')} of this case{hint}"
