"""How the optimal cost can bend over a box of changes: what its program's arrays say about it.

    concave    only costs change, and linearly: the cost is the least of the costs of all plans, each linear in the change
    convex     only right-hand sides and bounds change, and linearly
    none       anything else, such as throughput, or a price that also stands in a budget

`rises` says of each field whether the cost can only rise with it (1), only fall (-1), or that the arrays do not tell (0): every column is
at least zero, so a larger cost or a larger coefficient under an upper limit never helps, and a larger upper bound never hurts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.analysis.moved_case import MovedCase
from optimizer.build.build import Built, program_of
from optimizer.build.values import values
from optimizer.program.program import Program, Sparse, array_fields

ORDER_COSTS = {"acquisition_cost", "constant"}
NODE_COSTS = {"placement_cost", "unserved_cost", "unserved_cost_deferrable", "rent_cost", "side_slack_cost"}
COSTS = ORDER_COSTS | NODE_COSTS | {"link_slack_cost", "node_weight"}
UPPER = {"limit_upper", "acquisition_upper", "rent_upper", "placement_upper", "side_slack_upper", "link_slack_upper"}
SIDES = UPPER | {"held_base", "limit_lower", "demand", "demand_deferrable", "link_lower", "link_upper", "acquisition_lower"}
PROBES = 3
CLOSE = 1e-10


@dataclass(frozen=True)
class CostShape:
    kind: str
    rises: tuple[int, ...]
    orders_only: bool  # nothing changes but what orders cost
    fixed_plan_linear: bool  # the cost of given orders is linear: only their costs change, or the weights of scenarios

    @property
    def monotone(self) -> bool:
        return all(self.rises)


def cost_shape(moved: MovedCase) -> CostShape:
    """The shape over the whole box. Where fields are steps, or the case read again at an end of a range is built otherwise than by moving
    its numbers, nothing is claimed."""
    fields = len(moved.fields)
    nothing = CostShape("none", (0,) * fields, False, False)
    if not moved.smooth or any(not _as_built(moved, u, built) for u, built in moved.ends):
        return nothing
    start = _arrays(moved, np.zeros(fields))
    lows, highs = ([_arrays(moved, moved.ends[2 * i + side][0]) for i in range(fields)] for side in (0, 1))
    rng = np.random.default_rng(20261122)
    probes = [moved.low + rng.uniform(size=fields) * (moved.high - moved.low) for _ in range(PROBES)]
    seen = [(u, _arrays(moved, u)) for u in probes]
    changing = {name for name in start for other in (*lows, *highs, *(a for _, a in seen)) if not _equal(start[name], other[name])}
    slopes = []
    for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
        width = moved.high[i] - moved.low[i]
        slopes.append({name: _difference(high[name], low[name]) / width for name in changing})
    linear = all(_is_line(start[name], [s[name] for s in slopes], [(u, a[name]) for u, a in seen]) for name in changing)
    rises = tuple(_rises(start, slope, changing) if linear else 0 for slope in slopes)
    bilinear = "node_weight" in changing and bool(changing & NODE_COSTS)
    queues = moved.base.structure.pair_index.groups is not None
    kind = "none"
    if linear and changing <= COSTS and not bilinear:
        kind = "concave"
    elif linear and changing <= SIDES and not queues:
        kind = "convex"
    orders_only = linear and changing <= ORDER_COSTS
    return CostShape(kind, rises, orders_only, orders_only or (linear and not queues and changing <= ORDER_COSTS | {"node_weight"}))


def _arrays(moved: MovedCase, u: np.ndarray) -> dict[str, np.ndarray]:
    """Derived bounds of acquisitions are left out: no plan may sit on one."""
    program = program_of(moved.base.structure, values(moved.base.structure, moved.theta(u)))
    found = {name: np.asarray(_numbers(getattr(program, name)), float) for name in array_fields()}
    found["constant"] = np.asarray(program.constant)
    found["acquisition_upper"] = np.where(program.upper_is_derived, 0.0, found["acquisition_upper"])
    row = program.limit_matrix.index[0]
    below = np.isfinite(program.limit_lower[row])
    found["limit_matrix under a lower limit"] = np.where(below, found["limit_matrix"], 0.0)
    return found


def _numbers(value: Any) -> Any:
    return value.value if isinstance(value, Sparse) else value


def _as_built(moved: MovedCase, u: np.ndarray, built: Built) -> bool:
    """Whether the case read again is the case with its numbers moved."""
    expected = program_of(moved.base.structure, values(moved.base.structure, moved.theta(u)))
    if built.parameters.keys != moved.base.parameters.keys:
        return False
    names = (*array_fields(), "pair_stream", "pair_pool", "state_of_node", "template_of_node", "signed_at", "upper_is_derived")
    return all(_same_entry(expected, built.program, name) for name in names) and math.isclose(
        expected.constant, built.program.constant, rel_tol=1e-9
    )


def _same_entry(a: Program, b: Program, name: str) -> bool:
    mine, theirs = getattr(a, name), getattr(b, name)
    if isinstance(mine, Sparse):
        same = len(mine.index) == len(theirs.index) and all(np.array_equal(i, j) for i, j in zip(mine.index, theirs.index, strict=True))
        return same and _equal(mine.value, theirs.value)
    return np.shape(mine) == np.shape(theirs) and _equal(np.asarray(mine, float), np.asarray(theirs, float))


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return False
    size = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.all(np.abs(_difference(a, b)) <= CLOSE * size))


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = np.isfinite(a) & np.isfinite(b)
    return np.where(both, np.where(both, a, 0.0) - np.where(both, b, 0.0), 0.0)


def _is_line(start: np.ndarray, slopes: list[np.ndarray], seen: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    finite = np.where(np.isfinite(start), start, 0.0)
    for u, found in seen:
        expected = finite + sum((c * slope for c, slope in zip(u, slopes, strict=True)), np.zeros_like(finite))
        expected = np.where(np.isfinite(start), expected, start)
        if not _equal(expected, found):
            return False
    return True


def _rises(start: dict[str, np.ndarray], slope: dict[str, np.ndarray], changing: set[str]) -> int:
    signs: set[int] = set()
    bilinear = "node_weight" in changing
    for name in changing:
        change = slope[name]
        tiny = CLOSE * float(np.abs(start[name][np.isfinite(start[name])]).max(initial=0.0))
        up, down = bool((change > tiny).any()), bool((change < -tiny).any())
        if not up and not down:
            continue
        if (up and down) or bilinear:
            return 0
        if name in COSTS or (name == "limit_matrix" and "limit_matrix under a lower limit" not in changing):
            signs.add(1 if up else -1)
        elif name in UPPER:
            signs.add(-1 if up else 1)
        else:
            return 0
    return signs.pop() if len(signs) == 1 else 0
