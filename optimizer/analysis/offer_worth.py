"""What a plan would lose without one of its offers, certified."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optimizer.analysis.offer_changes import columns_of_offer, forbidden
from optimizer.analysis.what_if import Answer, WhatIf


def worth_of(what_if: WhatIf, point: Mapping[str, Any], bracket_usd: tuple[float, float], offer: str) -> tuple[float, float]:
    """What the best plan at a point, whose cost lies in `bracket_usd`, would cost more without an offer: [bound without - cost with, cost
    without - bound with], at least 0 unless the offer must be taken; infinite where there is no plan without it, NaN where that could not
    be settled."""
    built = what_if.built(point)
    columns = columns_of_offer(built.structure, offer)
    without = what_if.of(forbidden(built, columns), point)
    return more_without(without, bracket_usd, not built.program.acquisition_lower[columns.acquisitions].any())


def more_without(without: Answer, bracket_usd: tuple[float, float], may: bool) -> tuple[float, float]:
    """Cost without an offer less that of a plan with it, which lies in `bracket_usd`; at least 0 where that plan `may` do all that the one
    without does, not where it must take the offer."""
    if without.status == "INFEASIBLE":
        return math.inf, math.inf
    if not without.has_plan:
        return math.nan, math.nan
    least, most = bracket_usd
    low, high = without.lower_bound_usd - most, without.cost_usd - least
    return (max(0.0, low), max(0.0, high)) if may else (low, high)
