"""Scaled points and their changes in the program's axes and units, and back: linear maps without offsets, for derivatives.

`Layout.plan` and `Layout.multipliers` read what a planner asks for; a derivative needs every multiplier, and the plan's map transposed.
"""

from __future__ import annotations

import numpy as np

from optimizer.program import Plan
from optimizer.solver.layout import Layout, to_host
from optimizer.solver.structure import Both, Part, Rest, split_own, split_rest, split_rows

Values = dict[str, np.ndarray]


def plan_part(layout: Layout, v: Both) -> Values:
    """Columns as the fields of Plan; z above its lower bound."""
    plan = layout.plan(v)
    return {name: getattr(plan, name) for name in ("x", "u", "ud", "r", "side_slack", "link_slack")} | {
        "z": plan.z - layout.presolved.z_lower
    }


def row_part(layout: Layout, y: Both) -> Values:
    """Multipliers of all rows, dollars per unit of right-hand side."""
    p, s, m = layout.program, layout.scales, layout.multipliers(y)
    y = to_host(y)
    rows = split_rows(layout.shape, layout.by_node(y.cells * layout.data.cells.terms.row_active))
    return {
        "demand": rows.demand[: p.served, : p.blocks].T * (s.money / s.work[: p.served]),
        "deferrable": rows.deferred[: p.deferrable].T * (s.money / (s.work[p.served : p.served + p.deferrable] * s.hours)),
        "capacity": m.capacity, "side": m.side, "limit": m.limit, "link": m.link,
    }  # fmt: skip


def bound_part(layout: Layout, zu: Both) -> Values:
    """Prices of upper bounds and of the widths of two-sided rows, dollars per unit."""
    p, s, shape = layout.program, layout.scales, layout.shape
    zu = to_host(zu)
    kinds, own = split_rest(shape, layout.by_node(zu.cells.rest)), split_own(shape, zu.own)
    x = np.zeros((p.nodes, p.blocks, p.pairs))
    if shape.x_bounded:
        x = layout.by_node(zu.cells.x)[: p.pairs, : p.blocks].T * (s.money / s.work[p.pair_stream])
    return {
        "z": own.z[: p.acquisitions] * (s.money / s.z), "x": x, "r": kinds.r[: p.pools, : p.blocks].T * (s.money / s.chips),
        "side_slack": kinds.e[: p.sides].T * (s.money / s.side), "link_slack": own.h[: p.links] * (s.money / s.link),
        "limit": own.f[: p.limits] * (s.money / s.limit), "link": own.l[: p.links] * (s.money / s.link),
    }  # fmt: skip


def columns_of(layout: Layout, cotangent: Plan) -> Both:
    """The transpose of `plan_part`: what a function's derivative with respect to the plan is in scaled columns, zero where there is no
    variable; Both(Part, own)."""
    p, s, shape, pre = layout.program, layout.scales, layout.shape, layout.presolved
    served, late = s.work[: p.served], s.work[p.served : p.served + p.deferrable]
    cell, side = (shape.pools, shape.blocks), (shape.sides,)
    none, no_side = np.zeros((p.nodes, p.blocks, p.pools)), np.zeros((p.nodes, p.sides))
    rest = Rest(
        _lanes(layout, cotangent.u * served, (shape.served, shape.blocks)),
        _lanes(layout, cotangent.ud * late * s.hours, (shape.deferrable,)),
        _lanes(layout, cotangent.r * s.chips * pre.r_active, cell), _lanes(layout, none, cell), _lanes(layout, no_side, side),
        _lanes(layout, cotangent.side_slack * s.side, side),
    )  # fmt: skip
    x = _lanes(layout, cotangent.x * s.work[p.pair_stream] * pre.x_active, (shape.pairs, shape.blocks))
    count = x.shape[0]
    own = np.zeros(shape.own)
    own[: p.acquisitions] = np.where(pre.z_fixed, 0.0, cotangent.z * s.z)
    start = shape.acquisitions + shape.limits + shape.links
    own[start : start + p.links] = cotangent.link_slack * s.link
    active = layout.data.cells.terms.active
    rest_columns = np.concatenate([a.reshape(count, -1, shape.lanes) for a in rest], axis=1)
    return Both(Part(x * np.asarray(active.x), rest_columns * np.asarray(active.rest)), own * np.asarray(layout.data.own.active))


def rows_of_nothing(layout: Layout) -> Both:
    """Zero on every row."""
    return Both(np.zeros_like(np.asarray(layout.data.cells.terms.rhs)), np.zeros_like(np.asarray(layout.data.own.rhs)))


def _lanes(layout: Layout, values: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """[N, ...] -> [C, ..., n]; padding is zero."""
    shape, turned = layout.shape, values.T
    out = np.zeros((*sizes, shape.nodes))
    out[(*(slice(0, k) for k in turned.shape[:-1]), layout.place)] = turned
    return np.ascontiguousarray(np.moveaxis(out.reshape(*sizes, shape.groups * shape.chunks, shape.lanes), -2, 0))


