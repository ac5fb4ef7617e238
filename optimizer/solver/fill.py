"""The padded device arrays of a program in a given shape: scaled, masked, nodes last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Program, Sparse
from optimizer.solver.presolve import Presolved
from optimizer.solver.structure import Columns, Data, Rows, flatten


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


def fill(p, pre, s, links, shape, u, gram, holdings) -> Data:
    """The padded device arrays."""
    t = p.template_of_node
    nodes, blocks = shape.nodes, shape.blocks
    Ws, Wd, G, K, L, R = p.served, p.deferrable, p.pools, p.sides, p.limits, p.links
    streams = shape.served + shape.deferrable
    stream = np.where(p.pair_stream < Ws, p.pair_stream, np.where(p.pair_stream < Ws + Wd, shape.served + p.pair_stream - Ws, streams))
    work = s.work[p.pair_stream]
    weight = p.node_weight[:, None, None]
    base = p.held_base.copy()
    q, o, i = p.held_matrix.index
    np.add.at(base, (q, o), p.held_matrix.value * pre.z_lower[i])

    def last(array, *sizes, fill=0.0):  # [N, ...] program order -> padded, nodes last
        return pad(np.ascontiguousarray(np.asarray(array, float).T), sizes, fill)

    node_x, node_r = (shape.pairs, blocks, nodes), (shape.pools, blocks, nodes)
    slot_x = np.zeros((shape.slots, *node_x))
    slot_u = np.zeros((shape.slots, shape.served, blocks, nodes))
    slot_ud = np.zeros((shape.slots, shape.deferrable, nodes))
    slot_r = np.zeros((shape.slots, *node_r))
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
    cost = Columns(
        x=last(weight * p.placement_cost[t] * work / money, *node_x),
        u=last(weight * p.unserved_cost[t] * s.work[:Ws] / money, shape.served, blocks, nodes),
        ud=last(
            p.node_weight[:, None] * p.unserved_cost_deferrable[t] * s.work[Ws : Ws + Wd] * hours_shared / money, shape.deferrable, nodes
        ),
        r=last(weight * p.rent_cost * s.chips / money, *node_r),
        s=np.zeros(node_r),
        t=np.zeros((shape.sides, nodes)),
        e=last(p.node_weight[:, None] * e_cost * s.side / money, shape.sides, nodes),
        z=pad(p.acquisition_cost * s.z / money, (shape.acquisitions,)),
        f=np.zeros(shape.limits),
        l=np.zeros(shape.links),
        h=pad(h_cost * s.link / money, (shape.links,)),
    )
    capacity_rhs = (base[p.state_of_node][:, :G] * p.availability)[:, None, :].repeat(p.blocks, 1) / s.chips
    rhs = Rows(
        demand=last(p.demand / s.work[:Ws], shape.served, blocks, nodes),
        deferred=last(p.demand_deferrable / (s.work[Ws : Ws + Wd] * hours_shared), shape.deferrable, nodes),
        capacity=last(np.where(pre.capacity_active, capacity_rhs, 0.0), *node_r),
        side=last(base[p.state_of_node][:, G:] / s.side, shape.sides, nodes),
        limit=pad(np.where(pre.limit_active, limit_rhs, 0.0) / s.limit, (shape.limits,)),
        link=pad(link_rhs / s.link, (shape.links,)),
    )
    has_e, has_h = np.isfinite(p.side_slack_cost), np.isfinite(p.link_slack_cost)
    limit_slack = pre.limit_active & ~equality_limits(p, pre)
    link_slack = ~no_width(p.link_lower, p.link_upper)
    active = Columns(
        x=last(pre.x_active, *node_x),
        u=last(p.demand > 0, shape.served, blocks, nodes),
        ud=last(p.demand_deferrable > 0, shape.deferrable, nodes),
        r=last(pre.r_active, *node_r),
        s=last(pre.capacity_active, *node_r),
        t=last(np.ones((p.nodes, K)), shape.sides, nodes),
        e=last(has_e, shape.sides, nodes),
        z=pad((~pre.z_fixed).astype(float), (shape.acquisitions,)),
        f=pad(limit_slack.astype(float), (shape.limits,)),
        l=pad(link_slack.astype(float), (shape.links,)),
        h=pad(has_h.astype(float), (shape.links,)),
    )
    upper_x = p.placement_upper[t] / work
    bounds = Columns(
        x=last(upper_x, *node_x, fill=np.inf),
        u=np.full((shape.served, blocks, nodes), np.inf),
        ud=np.full((shape.deferrable, nodes), np.inf),
        r=last(pre.rent_upper / s.chips, *node_r, fill=np.inf),
        s=np.full(node_r, np.inf),
        t=np.full((shape.sides, nodes), np.inf),
        e=last(p.side_slack_upper / s.side, shape.sides, nodes, fill=np.inf),
        z=pad(width / s.z, (shape.acquisitions,), np.inf),
        f=pad(limit_width / s.limit, (shape.limits,), np.inf),
        l=pad(link_width / s.link, (shape.links,), np.inf),
        h=pad(p.link_slack_upper / s.link, (shape.links,), np.inf),
    )
    bounded = Columns(*(a * np.isfinite(b) for a, b in zip(active, bounds, strict=True)))
    upper = Columns(*(np.where(m > 0, b, 1.0) for m, b in zip(bounded, bounds, strict=True)))
    row_active = Rows(
        demand=last(p.demand > 0, shape.served, blocks, nodes),
        deferred=last(p.demand_deferrable > 0, shape.deferrable, nodes),
        capacity=last(pre.capacity_active, *node_r),
        side=last(np.ones((p.nodes, K)), shape.sides, nodes),
        limit=pad(pre.limit_active.astype(float), (shape.limits,)),
        link=pad(np.ones(R), (shape.links,)),
    )
    state_of_node = np.zeros(nodes, int)
    state_of_node[: p.nodes] = p.state_of_node
    state_of_node[p.nodes :] = p.state_of_node.max(initial=0)
    border_row = np.full(shape.border, shape.limits + shape.links)
    border = np.concatenate([np.nonzero(equality_limits(p, pre))[0], shape.limits + np.nonzero(p.link_scenario < 0)[0]])
    border_row[: len(border)] = border
    i32 = np.int32
    return Data(
        pair_stream=pad(stream.astype(i32), (shape.pairs,), streams), pair_pool=pad(p.pair_pool.astype(i32), (shape.pairs,)),
        state_of_node=state_of_node.astype(i32),
        a=last(p.pair_capacity[t] * work / s.chips, shape.pairs, nodes),
        h=last(p.block_hours[t] / s.hours, blocks, nodes),
        availability=last(p.availability, shape.pools, nodes),
        side_x=side_first(p.side_pair[t] * work / side_scale(s.side), pre.x_active, (shape.sides, *node_x)),
        side_r=side_first(p.side_rent * s.chips / side_scale(s.side), pre.r_active, (shape.sides, *node_r)),
        slot_link=slot_link.astype(i32), slot_x=slot_x, slot_u=slot_u, slot_ud=slot_ud, slot_r=slot_r, slot_local=slot_local,
        link_scenario=group.astype(i32), link_position=position.astype(i32),
        u_row=u_row.astype(i32), u_col=u_col.astype(i32), u_value=u_value,
        u_by_col=np.argsort(u_col, kind="stable").astype(i32),
        gram_target=target.astype(np.int32 if shape.outputs**2 < 2**31 else np.int64), gram_col=g_col.astype(i32), gram_value=g_value,
        holdings=holdings,
        limit_sign=pad(np.where(finite_upper, 1.0, -1.0), (shape.limits,), 1.0),
        link_sign_l=pad(np.where(link_finite, 1.0, -1.0), (shape.links,), 1.0),
        link_sign_h=pad(np.asarray(p.link_slack_sign, float), (shape.links,), 1.0),
        z_active=active.z, limit_local=pad(limit_slack.astype(float), (shape.limits,)), border_row=border_row.astype(i32),
        cost=flatten(cost, np), rhs=rhs, upper=flatten(upper, np), active=flatten(active, np), bounded=flatten(bounded, np),
        row_active=row_active,
    )  # fmt: skip


def side_scale(side: np.ndarray) -> np.ndarray:
    """[K] for arrays [N, K, B, *]."""
    return side[None, :, None, None]


def side_first(array: np.ndarray, mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """[N, K, B, *] masked by [N, B, *] -> padded [K, *, B, N]."""
    return pad(np.ascontiguousarray(np.transpose(array * mask[:, None], (1, 3, 2, 0))), sizes)
