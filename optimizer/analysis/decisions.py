"""Decisions that a plan takes one way or the other: a share at least so large, an offer used, a cost reached, work left unserved.

own_share=0.4        the share of the expected compute (lease, reserved, existing, on_demand, spot alike) is at least 0.4
offer=NAME           the offer (or one of those that a listed offer expands to) gives more than `least` of the plan's chip-hours
offer=NAME@CHIPS     it gives more than so many chips, on average over the horizon and the scenarios,
                         and `least` of the plan's more
cost_usd=X           the best plan costs at least X; undecided while X lies inside the certified bracket of the cost
unserved             of some work more than `least` stays unserved, in expectation
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.analysis.what_if import Answer
from optimizer.build.structure import Structure
from optimizer.program.program import Plan as Values
from optimizer.report.accounting import by_scenario
from optimizer.report.case_prices import Array, CasePrices
from optimizer.spec import CaseError
from optimizer.spec.case_error import did_you_mean

SHARES = ("own", "lease", "reserved", "existing", "on_demand", "spot")
FORMS = (*(f"{name}_share" for name in SHARES), "offer", "cost_usd", "unserved")
LEAST = 1e-4
ON_EDGE = 1e-6  # a share this close below its threshold counts as reaching it: a certified plan is that exact
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Reading:
    """What one plan decides: `state` is one of the decision's two words, UNDECIDED, or the status of a point without a certified plan;
    `measure` is what was compared: a share of one (shares, offer, unserved), chips (offer@chips) or dollars. NaN without a plan."""

    state: str
    measure: float


@dataclass(frozen=True)
class Decision:
    """`text` as written; `words`: (not so, so)."""

    text: str
    kind: str  # share | offer | chips | cost | unserved
    name: str  # of the share or the offer
    threshold: float
    words: tuple[str, str]
    least: float = LEAST

    def read(self, answer: Answer) -> Reading:
        if not answer.has_plan:
            return Reading(answer.status, math.nan)
        if self.kind == "cost":
            sure = self.threshold <= answer.lower_bound_usd or answer.cost_usd < self.threshold
            word = self.words[self.threshold <= answer.lower_bound_usd] if sure else UNDECIDED
            return Reading(word, answer.cost_usd)
        measure, dust = self._measure(answer)
        if self.kind == "share":
            return Reading(self.words[measure >= self.threshold - ON_EDGE], measure)
        return Reading(self.words[measure > self.threshold + dust], measure)

    def _measure(self, answer: Answer) -> tuple[float, float]:
        """(what is compared, what counts as nothing beside it: an interior point leaves a little of everything)."""
        if self.kind == "share":
            return float(answer.row[f"share_{self.name}"]), 0.0
        structure, plan = answer.found.built.structure, answer.found.solution.certificate.plan
        assert plan is not None
        if self.kind == "unserved":
            return most_unserved(structure, plan), self.least
        hours = chip_hours(structure, plan)
        mine = math.fsum(value for offer, value in hours.items() if expands_to(self.name, offer))
        whole = math.fsum(hours.values())
        if self.kind == "chips":
            horizon = float(structure.calendar.hours.sum())
            return mine / horizon, self.least * whole / horizon
        return (mine / whole if whole else 0.0), self.least


def decision(text: str, file: str, offers: Mapping[str, Any], least: float = LEAST) -> Decision:
    """Reads `--when`. `offers`: those of the case, expanded. Raises CaseError."""
    if not 0 <= least < 1:
        raise CaseError(file, "--least", f"is {least:g}", "give a share of the plan's chip-hours from 0 to below 1, such as 1e-4")
    form, equals, value = (part.strip() for part in text.partition("="))
    if form not in FORMS:
        raise CaseError(file, "--when", f"`{text}` is no decision", did_you_mean(form, FORMS))
    if form == "unserved":
        if equals:
            raise CaseError(file, "--when", f"`{text}` gives `unserved` a value", "write --when unserved")
        return Decision(text, "unserved", "", 0.0, ("served", "unserved"), least)
    if not value:
        raise CaseError(file, "--when", f"`{text}` has no value", f"write {form}={'NAME' if form == 'offer' else '0.4'}")
    if form == "offer":
        name, at, count = value.rpartition("@") if "@" in value else (value, "", "")
        if not any(expands_to(name, offer) for offer in offers):
            written = dict.fromkeys([*offers, *(offer.partition("/")[0] for offer in offers)])
            raise CaseError(file, "--when", f"the case has no offer `{name}`", did_you_mean(name, written))
        if not at:
            return Decision(text, "offer", name, 0.0, ("not used", "used"), least)
        chips = _number(file, text, count)
        if chips < 0:
            raise CaseError(file, "--when", f"`{text}` asks for {chips:g} chips", "give a count of 0 or more")
        return Decision(text, "chips", name, chips, (f"at most {chips:g}", f"more than {chips:g}"), least)
    threshold = _number(file, text, value)
    if form == "cost_usd":
        return Decision(text, "cost", "", threshold, ("below", "at least"))
    if not 0 <= threshold <= 1:
        raise CaseError(file, "--when", f"`{text}` is no share", "give a number from 0 to 1")
    return Decision(text, "share", form.removesuffix("_share"), threshold, ("below", "at least"))


def expands_to(written: str, offer: str) -> bool:
    """Whether an expanded offer is the one that is named, or comes from it: `reserve` names `reserve/h100/aws:us-east-1`."""
    return offer == written or offer.startswith(f"{written}/")


def chip_hours(structure: Structure, plan: Values) -> dict[str, float]:
    """Expected chip-hours by expanded offer over the horizon: of signed chips all hours of the periods in which they count, of rented ones
    the hours paid. What stood before the plan is not in it."""
    found: dict[str, float] = {name: 0.0 for name in structure.case.offers}
    hours = structure.calendar.hours
    chance = {scenario.name: scenario.weighted_probability for scenario in structure.case.scenarios}
    for a in structure.acquisitions:
        if plan.z[a.index] > 0:
            share = 1.0 if a.scenario is None else chance[a.scenario]
            found[a.offer] += float(plan.z[a.index]) * share * sum(part.share * float(hours[list(part.counted)].sum()) for part in a.parts)
    rented = np.einsum("s,tb,stbg->g", _probability(structure), CasePrices.of(structure.case).block_hours, by_scenario(structure, plan.r))
    for rent in structure.rents:
        found[rent.name] += float(rented[rent.pool]) / rent.usable_share
    return found


def most_unserved(structure: Structure, plan: Values) -> float:
    """The largest share of its expected work that a stream leaves unserved."""
    hours, chance = CasePrices.of(structure.case).block_hours, _probability(structure)
    placed = np.einsum("s,tb,stbp->p", chance, hours, by_scenario(structure, plan.x))
    lost = np.einsum("s,tb,stbw->w", chance, hours, by_scenario(structure, plan.u))
    late = np.einsum("s,stw->w", chance, by_scenario(structure, plan.ud))
    undone = chance @ plan.link_slack.reshape(len(chance), structure.run.runs)
    most = 0.0
    for stream in structure.streams:
        rest = undone if stream.run is not None else late if stream.movable else lost
        left = float(rest[stream.position])
        demand = left + math.fsum(float(placed[pair.index]) for pair in structure.pairs if pair.stream == stream.index)
        most = max(most, left / demand if demand > 0 else 0.0)
    return most


def _probability(structure: Structure) -> Array:
    return np.array([scenario.weighted_probability for scenario in structure.case.scenarios])


def _number(file: str, text: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise CaseError(file, "--when", f"`{text}` has the value `{value}`, which is no number", "write a number, such as 0.4 or 1e9")
    return found
