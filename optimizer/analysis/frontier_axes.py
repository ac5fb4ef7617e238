"""What a frontier runs along: a field of the case, or a word for what the case has no field for yet.

A word lays something on the case in the case file's own words: a further limit, or one factor on all fields of a kind. `Axis.slopes` says
which numbers of the case move with the axis, and how fast, so that the derivative of the cost follows from `field_gradient`.

    own_share            least share of the compute that is owned       limits.share, of: total
    rent_share           largest share rented by the hour               limits.share, of: total
    provider_share:NAME  largest share with one provider                limits.share, of: total
    family_share:NAME    largest share of one chip family               limits.share, of: total
    capex_usd            most paid for own chips per period             limits.capex
    supply_chips         most chips delivered per period                limits.supply
    power                factor on the power of all sites               sites.*.power_mw
    unserved             factor on the prices of work not served        workloads.*.unserved_usd_per_...
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from optimizer.analysis.field_units import allowed, natural_step
from optimizer.analysis.what_if import WhatIf
from optimizer.build.build import Built
from optimizer.spec import CaseError
from optimizer.spec.case_error import key_path
from optimizer.sweep_fields import locate

WORDS = ("own_share", "rent_share", "provider_share:NAME", "family_share:NAME", "capex_usd", "supply_chips", "power", "unserved")
RENTED = ("on_demand", "spot")
DEAR = 2.0  # a missed share costs so many times what leaving the dearest work unserved would
NAME = "frontier"

Change = tuple[dict[str, Any], dict[str, Any]]
"""(fields by key path, what is laid on the case file after them): the two arguments of `WhatIf.at`."""


@dataclass(frozen=True)
class Axis:
    """`kind`: field | at least | at most | factor; `change(value)` gives the case at a value, `slopes(value)` by key path what the numbers
    of the case change by per unit of it. `share`: the name of the share limit whose excess must be zero. `ends`: the values lie between
    them. `notes`: sentences for the reader."""

    name: str
    kind: str
    unit: str
    change: Callable[[float], Change]
    slopes: Callable[[float], Mapping[str, float]]
    share: str = ""
    ends: tuple[float, float] = (0.0, math.inf)
    notes: tuple[str, ...] = field(default_factory=tuple)


def axis_of_field(what_if: WhatIf, key: str) -> Axis:
    """Any numeric field of the case. Raises CaseError for a key path that names none."""
    locate(what_if.document, key)
    return Axis(key, "field", natural_step(key)[1], lambda value: ({key: value}, {}), lambda value: {key: 1.0}, ends=allowed(key))


def axis_of_word(what_if: WhatIf, word: str, since: date | None = None) -> Axis:
    """`since`: the first day on which a share limit holds; None: the start, and for own_share the first period in which an own chip can
    stand. Raises CaseError for a word that is none, and for a provider or family that no offer of the case has."""
    head, colon, name = word.partition(":")
    makers: dict[str, Callable[[], Axis]] = {
        "own_share": lambda: _share(what_if, word, "min", {"kinds": ["own"]}, since),
        "rent_share": lambda: _share(what_if, word, "max", {"kinds": list(RENTED)}, since),
        "provider_share": lambda: _share(what_if, word, "max", {"providers": [_known(what_if, word, name)]}, since),
        "family_share": lambda: _share(what_if, word, "max", {"families": [_known(what_if, word, name)]}, since),
        "capex_usd": lambda: _limit(word, "capex", "max_usd", "$"),
        "supply_chips": lambda: _limit(word, "supply", "max_chips", "chips"),
        "power": lambda: _factor(what_if, word, ("sites",), lambda key: key == "power_mw"),
        "unserved": lambda: _factor(what_if, word, ("workloads",), lambda key: key.startswith("unserved_usd_per_")),
    }
    if head not in makers:
        near = difflib.get_close_matches(head, makers, 2, 0.5)
        words = [w for w in WORDS if w.partition(":")[0] in near] or list(WORDS)
        remedy = f"did you mean {' or '.join(words)}?" if near else f"write one of {', '.join(words)}, or --field KEY.PATH=VALUES"
        raise CaseError("--limit", word, "is no word for a limit", remedy)
    takes_name = head in ("provider_share", "family_share")
    if takes_name != bool(colon):
        wanted = f"{head}:NAME" if takes_name else head
        raise CaseError("--limit", word, "lacks a name" if takes_name else "takes no name", f"write {wanted}=lowest:highest:count")
    if since is not None and not head.endswith("_share"):
        raise CaseError("--from", str(since), f"has no meaning for {head}", "leave it out; it is the first day of a limit on a share")
    return makers[head]()


# limits -----------------------------------------------------------------------------------------------------------------------------
def _limit(word: str, kind: str, number: str, unit: str) -> Axis:
    key = f"limits.{kind}.{NAME}.{number}"
    return Axis(word, "at most", unit, lambda value: ({}, {"limits": {kind: {NAME: {number: value}}}}), lambda value: {key: 1.0})


def _share(what_if: WhatIf, word: str, bound: str, selector: dict[str, Any], since: date | None) -> Axis:
    base = what_if.built()
    calendar = base.structure.calendar
    start = calendar.first_day[0]
    first = since or (_first_own(what_if, base) if bound == "min" else start)
    if not start <= first < calendar.end:
        raise CaseError("--from", str(first), "lies outside of the horizon", f"write a date from {start} to before {calendar.end}")
    price = _price_of_work(base)
    path = f"limits.share.{NAME}.{bound}"
    key = path if first == start else f"{path}.by_date.1.value"

    def change(value: float) -> Change:
        steps = [{"from": start, "value": 0 if bound == "min" else 1}, {"from": first, "value": value}]
        limit = {bound: value if first == start else {"by_date": steps}, "of": "total", "basis": "compute", **selector}
        excess = float(f"{DEAR * price / max(0.05, min(value, 1 - value)):.3g}")
        return {}, {"limits": {"share": {NAME: limit | {"excess_usd_per_unit": excess}}}}

    notes = ["Shares are of the dense bf16 compute held or rented, in every scenario and period" + _since(first, start)]
    return Axis(
        word, "at least" if bound == "min" else "at most", "share", change, lambda value: {key: 1.0}, NAME, (0.0, 1.0), tuple(notes)
    )


def _since(first: date, start: date) -> str:
    return "." if first == start else f" from {first} on."


def _first_own(what_if: WhatIf, base: Built) -> date:
    own = [record for record in base.structure.acquisitions if record.kind == "own"]
    if not own:
        raise CaseError(str(what_if.path), "offers", "has no offer to own chips", "add one of `kind: own`, or vary another limit")
    return base.structure.calendar.first_day[min(record.counted[0] for record in own)]


def _price_of_work(base: Built) -> float:
    """$ per PFLOP/s-hour: what the dearest work costs if it is left unserved, for each hour of the compute that it would take."""
    program, case = base.program, base.structure.case
    petaflops = np.array([case.chips[pool.chip].bf16_dense_tflops.value / 1000 for pool in base.structure.pools])[program.pair_pool]
    need = program.pair_capacity * petaflops  # [C, P], PFLOP/s per unit of work
    served = program.pair_stream < program.served
    late = (program.pair_stream >= program.served) & (program.pair_stream < program.served + program.deferrable)
    found = [1.0]
    for pairs, cost in (
        (served, (program.unserved_cost / program.block_hours[:, :, None]).max(axis=1)),
        (late, program.unserved_cost_deferrable),
    ):
        stream = program.pair_stream[pairs] - (0 if pairs is served else program.served)
        amount = need[:, pairs]
        found += (cost[:, stream] / np.where(amount > 0, amount, np.inf)).ravel().tolist()
    return max(found)


def _known(what_if: WhatIf, word: str, name: str) -> str:
    case = what_if.read()
    offers = case.offers.values()
    if word.startswith("provider"):
        there, what = {case.places[offer.place].provider for offer in offers}, "provider"
    else:
        there, what = {case.chips[offer.chip].family for offer in offers}, "chip family"
    if name not in there:
        near = difflib.get_close_matches(name, there, 1, 0.5)
        remedy = f"did you mean {near[0]}?" if near else f"write one of {', '.join(sorted(there))}"
        raise CaseError("--limit", word, f"`{name}` is the {what} of no offer", remedy)
    return name


# factors ----------------------------------------------------------------------------------------------------------------------------
def _factor(what_if: WhatIf, word: str, under: tuple[str, ...], chosen: Callable[[str], bool]) -> Axis:
    """One factor on all numbers of some fields of the file."""
    section = what_if.document.data
    for step in under:
        section = section.get(step) or {}
    fields = [
        (name, key, value) for name, entry in section.items() if isinstance(entry, Mapping) for key, value in entry.items() if chosen(key)
    ]
    if not fields:
        what = "sites.NAME.power_mw" if word == "power" else "workloads.NAME.unserved_usd_per_..."
        raise CaseError(str(what_if.path), ".".join(under), f"has no {what} to vary", "write one into the case, or vary another limit")
    slopes = {key_path((*under, name, key, *inner)): number for name, key, value in fields for inner, number in _numbers(value, ())}

    def change(value: float) -> Change:
        laid: dict[str, Any] = {}
        for name, key, written in fields:
            laid.setdefault(name, {})[key] = _scaled(written, value)
        for step in reversed(under):
            laid = {step: laid}
        return {}, laid

    return Axis(word, "factor", "times the case's", change, lambda value: slopes)


def _numbers(value: Any, inner: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    """(where, number) of every number of a path over time that is a level."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield inner, float(value)
    elif isinstance(value, Mapping):
        for key, below in value.items():
            if key in ("start", "by_period", "by_date", "value"):
                yield from _numbers(below, (*inner, key))
    elif isinstance(value, list):
        for position, below in enumerate(value):
            yield from _numbers(below, (*inner, str(position)))


def _scaled(value: Any, factor: float) -> Any:
    found = copy.deepcopy(value)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return found * factor
    for inner, number in _numbers(value, ()):
        at: Any = found
        for step in inner[:-1]:
            at = at[int(step)] if isinstance(at, list) else at[step]
        last: Any = int(inner[-1]) if isinstance(at, list) else inner[-1]
        at[last] = number * factor
    return found
