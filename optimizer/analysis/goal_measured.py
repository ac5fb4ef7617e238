"""Targets of the plan (shares, unserved work) met with several fields: measured effects of certified plans, no derivative of the cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.analysis.goal_line import PROBES, Found, along
from optimizer.analysis.moved_case import MovedCase

Array = np.ndarray


def by_measured_effects(moved: MovedCase, excess_at: Callable[[Array], tuple[float, float]]) -> Found:
    """Every field is moved alone to each end of its range; the way that all of them together point, per size of change, is followed until
    the target is met, then back to where it is met first. Falls back on the corner that the effects point to."""
    fields = len(moved.fields)
    zero = np.zeros(fields)
    start = excess_at(zero)[1]
    effect, corner = np.zeros(fields), np.zeros(fields)
    for i in range(fields):
        for end in (moved.low[i], moved.high[i]):
            if end == 0:
                continue
            u = zero.copy()
            u[i] = end
            gain = start - excess_at(u)[1]
            if np.isfinite(gain) and gain > 0 and gain / abs(end) > abs(effect[i]):
                effect[i], corner[i] = np.sign(end) * gain / abs(end), end
    if not effect.any():
        return Found(None, None, "")
    way = effect / np.abs(effect).max()
    steps = [np.clip(t * way, moved.low, moved.high) for t in np.geomspace(0.02, 1.0, PROBES) * _reach(moved, way)]
    for u in [*steps, corner]:
        if excess_at(u)[1] <= 0:
            closer = along(moved, excess_at, u, of_cost=False)
            refused = closer.outside * u if excess_at(closer.outside * u)[0] > 0 else None
            claim = "found along the steepest measured effect of certified plans: local, nothing proves that there is no smaller change"
            return Found(closer.inside * u, refused, claim)
    return Found(None, None, "")


def _reach(moved: MovedCase, direction: Array) -> float:
    """The multiple of a direction at which every field that it moves has come to the end of its range."""
    ends = np.where(direction > 0, moved.high, moved.low)
    return float(max(e / d for e, d in zip(ends, direction, strict=True) if d != 0))
