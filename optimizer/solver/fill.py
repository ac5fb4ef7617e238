"""The padded device arrays of a program in a given shape: scaled, masked, nodes last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Program, Sparse
from optimizer.solver.presolve import Presolved
from optimizer.solver.structure import Cells, Data, Part, Rest, Rows, Terms


def most(*arrays: np.ndarray) -> np.ndarray:
    """The largest absolute entry."""
    return np.asarray(max(float(np.abs(a).max(initial=0.0)) for a in arrays))


def pad(array: np.ndarray, shape: tuple[int, ...], fill: float = 0.0) -> np.ndarray:
    out = np.full(shape, fill, array.dtype)
    out[tuple(slice(0, n) for n in array.shape)] = array
    return out


def no_width(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """True for equalities."""
    return (
        np.isfinite(upper)
        & np.isfinite(lower)
        & (upper - lower <= 1e-12 * np.maximum(1.0, np.abs(np.where(np.isfinite(upper), upper, 0.0))))
    )


def equality_limits(p: Program, pre: Presolved) -> np.ndarray:
    """bool[L] limits without a slack of their own."""
    return pre.limit_active & no_width(p.limit_lower, p.limit_upper)


@dataclass(frozen=True)
class LinkLayout:
    """Slots of linking rows at nodes, and their grouping by scenario."""

    slots: int
    slot_of: dict[tuple[int, int], int]  # (link, node) -> slot
    scenarios: int
    per_scenario: int
    group: np.ndarray  # int[R], -1 for border rows
    position: np.ndarray  # int[R]

    @staticmethod
    def of(p: Program) -> LinkLayout:
        touched = [
            np.stack([a.index[0], a.index[1]], 1) for a in (p.link_placement, p.link_unserved, p.link_deferred, p.link_rent) if a.size
        ]
        pairs = np.unique(np.concatenate(touched), axis=0) if touched else np.zeros((0, 2), int)
        used = np.zeros(p.nodes, int)
        slot_of: dict[tuple[int, int], int] = {}
        for link, node in pairs:
            slot_of[int(link), int(node)] = int(used[node])
            used[node] += 1
        labels, group = np.unique(p.link_scenario, return_inverse=True) if p.links else (np.zeros(0, int), np.zeros(0, int))
        inside = labels >= 0
        number = np.cumsum(inside) - 1
        group = np.where(inside[group], number[group], -1) if p.links else group
        position = np.zeros(p.links, int)
        filled: dict[int, int] = {}
        for r in range(p.links):
            g = int(group[r])
            position[r] = filled.get(g, 0)
            filled[g] = position[r] + 1
        most = max((n for g, n in filled.items() if g >= 0), default=0)
        return LinkLayout(int(used.max(initial=0)), slot_of, int(inside.sum()), most, group, position)

    def slot(self, sparse: Sparse) -> np.ndarray:
        """Slot of every entry."""
        return np.array([self.slot_of[int(r), int(n)] for r, n in zip(sparse.index[0], sparse.index[1], strict=True)], int)


def fill(p, pre, s, links, shape, u, gram, holdings, place, state_of_pack) -> Data:
    """The padded device arrays; `place` and `state_of_pack` from `cut.places`."""
    t = p.template_of_node
    blocks, count = shape.blocks, shape.groups * shape.chunks
    Ws, Wd, G, K, L, R = p.served, p.deferrable, p.pools, p.sides, p.limits, p.links
    streams = shape.served + shape.deferrable
    stream = np.where(p.pair_stream < Ws, p.pair_stream, np.where(p.pair_stream < Ws + Wd, shape.served + p.pair_stream - Ws, streams))
    work = s.work[p.pair_stream]
    weight = p.node_weight[:, None, None]
    base = p.held_base.copy()
    q, o, i = p.held_matrix.index
    np.add.at(base, (q, o), p.held_matrix.value * pre.z_lower[i])

    def last(array, *sizes, fill=0.0):  # [N, ...] program order -> padded, [C, ..., n]
        array = np.asarray(array)
        array = array.astype(float) if array.dtype != bool else array
        out = np.full((*sizes, shape.nodes), fill, array.dtype)
        inside = tuple(slice(0, k) for k in array.T.shape[:-1])
        out[(*inside, place)] = array.T
        return np.ascontiguousarray(np.moveaxis(out.reshape(*sizes, count, shape.lanes), -2, 0))

    def by_chunk(array, *sizes, fill=0.0):  # [..., N] -> [C, ..., n]
        return last(np.moveaxis(array, -1, 0).transpose(0, *range(array.ndim - 1, 0, -1)), *sizes, fill=fill)

    nodes = p.nodes
    node_x, node_r = (shape.pairs, blocks), (shape.pools, blocks)
    slot_x = np.zeros((shape.slots, *node_x, nodes))
    slot_u = np.zeros((shape.slots, shape.served, blocks, nodes))
    slot_ud = np.zeros((shape.slots, shape.deferrable, nodes))
    slot_r = np.zeros((shape.slots, *node_r, nodes))
    slot_link = np.full((shape.slots, nodes), shape.links)
    for (link, node), m in links.slot_of.items():
        slot_link[m, node] = link
    if p.link_placement.size:
        r, n, b, c = p.link_placement.index
        slot_x[links.slot(p.link_placement), c, b, n] = p.link_placement.value * work[c] / s.link[r] * pre.x_active[n, b, c]
    if p.link_unserved.size:
        r, n, b, w = p.link_unserved.index
        slot_u[links.slot(p.link_unserved), w, b, n] = p.link_unserved.value * s.work[w] / s.link[r]
    if p.link_deferred.size:
        r, n, w = p.link_deferred.index
        slot_ud[links.slot(p.link_deferred), w, n] = p.link_deferred.value * s.work[Ws + w] * s.hours / s.link[r]
    if p.link_rent.size:
        r, n, b, g = p.link_rent.index
        slot_r[links.slot(p.link_rent), g, b, n] = p.link_rent.value * s.chips / s.link[r]
    group = np.full(shape.links, shape.scenarios)
    group[:R] = np.where(links.group >= 0, links.group, shape.scenarios)
    position = np.zeros(shape.links, int)
    position[:R] = np.where(links.group >= 0, links.position, 0)
    is_local = np.concatenate([group < shape.scenarios, [False]])
    slot_local = is_local[slot_link].astype(float)

    u_row, u_col, u_value = u
    e = shape.outputs_nnz - len(u_value)
    # Padding entries of U carry the value zero.
    u_row, u_col, u_value = np.pad(u_row, (0, e)), np.pad(u_col, (0, e)), np.pad(u_value, (0, e))
    g_row, g_row2, g_col, g_value = gram if gram is not None else tuple(np.zeros(0, int) for _ in range(4))
    target = g_row * shape.outputs + g_row2
    order = np.argsort(target, kind="stable")
    spare = shape.gram_nnz - len(target)
    target = np.pad(target[order], (0, spare), constant_values=shape.outputs**2)
    g_col, g_value = np.pad(g_col[order], (0, spare)), np.pad(np.asarray(g_value, float)[order], (0, spare))

    finite_upper = np.isfinite(p.limit_upper)
    limit_rhs = np.where(finite_upper, p.limit_upper, np.where(np.isfinite(p.limit_lower), p.limit_lower, 0.0))
    limit_rhs = limit_rhs - np.bincount(p.limit_matrix.index[0], p.limit_matrix.value * pre.z_lower[p.limit_matrix.index[1]], L)
    limit_width = p.limit_upper - p.limit_lower
    link_finite = np.isfinite(p.link_upper)
    link_rhs = np.where(link_finite, p.link_upper, np.where(np.isfinite(p.link_lower), p.link_lower, 0.0))
    link_rhs = link_rhs - np.bincount(p.link_acquisition.index[0], p.link_acquisition.value * pre.z_lower[p.link_acquisition.index[1]], R)
    link_width = p.link_upper - p.link_lower

    money = s.money
    hours_shared = s.hours
    e_cost = np.where(np.isfinite(p.side_slack_cost), p.side_slack_cost, 0.0)
    h_cost = np.where(np.isfinite(p.link_slack_cost), p.link_slack_cost, 0.0)
    width = pre.z_upper - pre.z_lower
    work_s, work_d = s.work[:Ws], s.work[Ws : Ws + Wd]
    u_sizes, ud_sizes, side_sizes = (shape.served, blocks), (shape.deferrable,), (shape.sides,)

    def part(x, u, ud, r, s_, t_, e, fill=0.0) -> Part:
        """Columns of the nodes, kinds in program order."""
        kinds = Rest(
            last(u, *u_sizes, fill=fill), last(ud, *ud_sizes, fill=fill), last(r, *node_r, fill=fill), last(s_, *node_r, fill=fill),
            last(t_, *side_sizes, fill=fill), last(e, *side_sizes, fill=fill),
        )  # fmt: skip
        return Part(last(x, *node_x, fill=fill), stacked(kinds))

    def stacked(kinds) -> np.ndarray:  # [C, ..., n] each -> [C, R, n]
        return np.concatenate([a.reshape(count, -1, shape.lanes) for a in kinds], axis=1)

    ones_p, ones_k = np.ones((nodes, p.blocks, G)), np.ones((nodes, K))
    cost = part(
        weight * p.placement_cost[t] * work / money, weight * p.unserved_cost[t] * work_s / money,
        p.node_weight[:, None] * p.unserved_cost_deferrable[t] * work_d * hours_shared / money, weight * p.rent_cost * s.chips / money,
        0.0 * ones_p, 0.0 * ones_k, p.node_weight[:, None] * e_cost * s.side / money,
    )  # fmt: skip
    capacity_rhs = (base[p.state_of_node][:, :G] * p.availability)[:, None, :].repeat(p.blocks, 1) / s.chips
    rhs = stacked(Rows(
        last(p.demand / work_s, *u_sizes), last(p.demand_deferrable / (work_d * hours_shared), *ud_sizes),
        last(np.where(pre.capacity_active, capacity_rhs, 0.0), *node_r), last(base[p.state_of_node][:, G:] / s.side, *side_sizes),
    ))  # fmt: skip
    has_e, has_h = np.isfinite(p.side_slack_cost), np.isfinite(p.link_slack_cost)
    limit_slack = pre.limit_active & ~equality_limits(p, pre)
    link_slack = ~no_width(p.link_lower, p.link_upper)
    active = part(
        pre.x_active, p.demand > 0, p.demand_deferrable > 0, pre.r_active, pre.capacity_active, ones_k > 0, has_e, fill=False
    )  # fmt: skip
    infinite = np.inf
    bounds = part(
        p.placement_upper[t] / work,
        np.full(p.demand.shape, infinite), np.full(p.demand_deferrable.shape, infinite), pre.rent_upper / s.chips, infinite * ones_p,
        infinite * ones_k, p.side_slack_upper / s.side, fill=infinite,
    )  # fmt: skip
    bounded = Part(*(a & np.isfinite(b) for a, b in zip(active, bounds, strict=True)))
    upper = Part(*(np.where(m, b, 1.0) for m, b in zip(bounded, bounds, strict=True)))
    row_active = stacked(Rows(
        last(p.demand > 0, *u_sizes, fill=False), last(p.demand_deferrable > 0, *ud_sizes, fill=False),
        last(pre.capacity_active, *node_r, fill=False), last(ones_k > 0, *side_sizes, fill=False),
    ))  # fmt: skip

    def own(z, f, l, h, fill=0.0):  # noqa: E741
        sizes = shape.acquisitions, shape.limits, shape.links, shape.links
        return np.concatenate([pad(np.asarray(a), (n,), fill) for a, n in zip((z, f, l, h), sizes, strict=True)])

    own_active = own(~pre.z_fixed, limit_slack, link_slack, has_h, False)
    own_bounds = own(width / s.z, limit_width / s.limit, link_width / s.link, p.link_slack_upper / s.link, np.inf)
    own_bounded = own_active & np.isfinite(own_bounds)
    own_terms = Terms(
        cost=own(p.acquisition_cost * s.z / money, np.zeros(L), np.zeros(R), h_cost * s.link / money),
        upper=np.where(own_bounded, own_bounds, 1.0), active=own_active, bounded=own_bounded,
        rhs=np.concatenate([
            pad(np.where(pre.limit_active, limit_rhs, 0.0) / s.limit, (shape.limits,)), pad(link_rhs / s.link, (shape.links,))
        ]),
        row_active=np.concatenate([pad(pre.limit_active, (shape.limits,), False), pad(np.ones(R, bool), (shape.links,), False)]),
    )  # fmt: skip
    products = sum(int(np.count_nonzero(a)) for a in (*active, *bounded, own_active, own_bounded))
    border_row = np.full(shape.border, shape.limits + shape.links)
    border = np.concatenate([np.nonzero(equality_limits(p, pre))[0], shape.limits + np.nonzero(p.link_scenario < 0)[0]])
    border_row[: len(border)] = border
    i32 = np.int32
    side_scale = s.side[None, :, None, None]  # for arrays [N, K, B, *]
    sides = [
        side_first(value / side_scale, mask)
        for value, mask in ((p.side_pair[t] * work, pre.x_active), (p.side_rent * s.chips, pre.r_active))
    ]
    cells = Cells(
        state=state_of_pack.astype(i32),
        a=last(p.pair_capacity[t] * work / s.chips, shape.pairs),
        h=last(p.block_hours[t] / s.hours, blocks),
        availability=last(p.availability, shape.pools),
        side_x=by_chunk(sides[0], shape.sides, *node_x), side_r=by_chunk(sides[1], shape.sides, *node_r),
        slot_link=by_chunk(slot_link, shape.slots, fill=float(shape.links)).astype(i32),
        slot_x=by_chunk(slot_x, shape.slots, *node_x), slot_u=by_chunk(slot_u, shape.slots, shape.served, blocks),
        slot_ud=by_chunk(slot_ud, shape.slots, shape.deferrable), slot_r=by_chunk(slot_r, shape.slots, *node_r),
        slot_local=by_chunk(slot_local, shape.slots),
        terms=Terms(cost, upper, active, bounded, rhs, row_active),
    )  # fmt: skip
    return Data(
        cells=cells, own=own_terms,
        pair_stream=pad(stream.astype(i32), (shape.pairs,), streams), pair_pool=pad(p.pair_pool.astype(i32), (shape.pairs,)),
        link_scenario=group.astype(i32), link_position=position.astype(i32),
        u_row=u_row.astype(i32), u_col=u_col.astype(i32), u_value=u_value,
        gram_target=target.astype(np.int32 if shape.outputs**2 < 2**31 else np.int64), gram_col=g_col.astype(i32), gram_value=g_value,
        holdings=holdings,
        limit_sign=pad(np.where(finite_upper, 1.0, -1.0), (shape.limits,), 1.0),
        link_sign_l=pad(np.where(link_finite, 1.0, -1.0), (shape.links,), 1.0),
        link_sign_h=pad(np.asarray(p.link_slack_sign, float), (shape.links,), 1.0),
        limit_local=pad(limit_slack.astype(float), (shape.limits,)), border_row=border_row.astype(i32),
        count=np.asarray(float(products)), rhs_size=np.sqrt(np.vdot(rhs, rhs) + own_terms.rhs @ own_terms.rhs),
        rhs_most=most(rhs, own_terms.rhs), cost_most=most(*cost, own_terms.cost),
    )  # fmt: skip


def side_first(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[N, K, B, *] masked by [N, B, *] -> [K, *, B, N]."""
    return np.transpose(array * mask[:, None], (1, 3, 2, 0))
