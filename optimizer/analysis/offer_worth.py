"""What a plan would lose without one of its offers, certified."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.analysis.decisions import expands_to
from optimizer.analysis.what_if import WhatIf
from optimizer.build.build import Built


def worth_of(what_if: WhatIf, point: Mapping[str, Any], bracket_usd: tuple[float, float], offer: str) -> tuple[float, float]:
    """What the best plan at a point, whose cost lies in `bracket_usd`, would cost more without an offer: [bound without - cost with, cost
    without - bound with], at least 0; infinite where there is no plan without it, NaN where that could not be settled."""
    without = what_if.of(without_offer(what_if.built(point), offer), point)
    if without.status == "INFEASIBLE":
        return math.inf, math.inf
    if not without.has_plan:
        return math.nan, math.nan
    least, most = bracket_usd
    return max(0.0, without.lower_bound_usd - most), max(0.0, without.cost_usd - least)


def without_offer(built: Built, offer: str) -> Built:
    """The case's program in which an offer (all that it expands to) can neither be signed nor rented."""
    structure, program = built.structure, built.program
    upper, derived, rent = program.acquisition_upper.copy(), program.upper_is_derived.copy(), program.rent_upper.copy()
    signed = np.array([a.index for a in structure.acquisitions if expands_to(offer, a.offer)], int)
    upper[signed], derived[signed] = 0.0, False
    rent[:, :, [r.pool for r in structure.rents if expands_to(offer, r.name)]] = 0.0
    return replace(built, program=replace(program, acquisition_upper=upper, upper_is_derived=derived, rent_upper=rent))
