"""Program -> Data: scale, mask, pad to a shape bucket, put nodes last; and back.

Scaling. Work is measured in chips (a stream's unit of work times its typical chips per unit), chips in a typical node's need, money in
a typical cost, rows by their largest coefficient. Every scale is a power of two, so scaling and unscaling are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Multipliers, Plan, Program, Sparse
from optimizer.solver.presolve import Presolved, presolve
from optimizer.solver.structure import Columns, Data, Rows, Shape


def bucket(n: int) -> int:
    """Padded size: small sizes share a few buckets, large ones waste at most an eighth."""
    if n <= 0:
        return 0
    for size in (1, 4, 8, 16, 24, 32):
        if n <= size:
            return size
    step = 2 ** (int(np.ceil(np.log2(n))) - 4)
    return int(-(-n // step) * step)


def power_of_two(value: np.ndarray | float) -> np.ndarray:
    """Nearest power of two of positive values; 1 where the value is not positive and finite."""
    value = np.asarray(value, float)
    good = np.isfinite(value) & (value > 0)
    return np.where(good, np.exp2(np.round(np.log2(np.where(good, value, 1.0)))), 1.0)


@dataclass(frozen=True)
class Scales:
    """Scaled variable = variable / scale; scaled row = row / scale; scaled money = money / money."""

    money: float
    chips: float
    work: np.ndarray  # [W] units of work per scaled unit
    hours: float
    z: np.ndarray  # [Z]
    side: np.ndarray  # [K]
    limit: np.ndarray  # [L]
    link: np.ndarray  # [R]


@dataclass(frozen=True)
class Layout:
    """The device program with what is needed to read its solution."""

    program: Program
    presolved: Presolved
    scales: Scales
    shape: Shape
    data: Data

    def plan(self, v: Columns) -> Plan:
        """Program-shaped values of a scaled point (may violate rows by the solver's error: repair follows)."""
        p, s = self.program, self.scales
        v = Columns(*(np.asarray(a, float) for a in v))
        n, b = p.nodes, p.blocks
        work = s.work[p.pair_stream]
        z = self.presolved.z_lower + np.where(self.presolved.z_fixed, 0.0, v.z[: p.acquisitions] * s.z)
        return Plan(
            z=z,
            x=v.x[: p.pairs, :b, :n].T * work * self.presolved.x_active,
            u=v.u[: p.served, :b, :n].T * s.work[: p.served],
            ud=v.ud[: p.deferrable, :n].T * s.work[p.served : p.served + p.deferrable] * s.hours,
            r=v.r[: p.pools, :b, :n].T * s.chips * self.presolved.r_active,
            side_slack=v.e[: p.sides, :n].T * s.side,
            link_slack=v.h[: p.links] * s.link,
        )

    def multipliers(self, y: Rows) -> Multipliers:
        """Program-shaped multipliers (dollars per unit of right-hand side); dropped rows are still zero: see postsolve."""
        p, s = self.program, self.scales
        y = Rows(*(np.asarray(a, float) for a in y))
        active = self.data.row_active
        return Multipliers(
            capacity=(y.capacity * active.capacity)[: p.pools, : p.blocks, : p.nodes].T * (s.money / s.chips),
            side=(y.side * active.side)[: p.sides, : p.nodes].T * (s.money / s.side),
            limit=(y.limit * active.limit)[: p.limits] * (s.money / s.limit),
            link=(y.link * active.link)[: p.links] * (s.money / s.link),
        )


def largest(size: int, index: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Largest absolute value per index."""
    out = np.zeros(size)
    np.maximum.at(out, index, np.abs(value))
    return out


def make_scales(p: Program, pre: Presolved) -> Scales:
    """Typical sizes, as powers of two."""
    t = p.template_of_node
    log_a = np.where(p.pair_capacity > 0, np.log(np.where(p.pair_capacity > 0, p.pair_capacity, 1.0)), 0.0).sum(0)
    count = (p.pair_capacity > 0).sum(0)
    total = np.bincount(p.pair_stream, log_a, p.streams)
    number = np.bincount(p.pair_stream, count, p.streams)
    typical = np.exp(total / np.maximum(number, 1))  # chips per unit of work, [W]
    hours = float(power_of_two(p.block_hours.mean()))
    need = (p.demand * typical[: p.served]).ravel()
    late = p.demand_deferrable * typical[p.served : p.served + p.deferrable] / p.block_hours[t].sum(1)[:, None]
    need = np.concatenate([need, late.ravel()])
    need = need[need > 0]
    base = np.abs(p.held_base[:, : p.pools])
    chips = float(power_of_two(need.mean() if len(need) else (base[base > 0].mean() if (base > 0).any() else 1.0)))
    work = power_of_two(chips / typical)
    q, o, i = p.held_matrix.index
    is_pool = o < p.pools
    reach = largest(p.acquisitions, i[is_pool], p.held_matrix.value[is_pool])
    width = pre.z_upper - pre.z_lower
    z = power_of_two(np.where(reach > 0, chips / np.where(reach > 0, reach, 1.0), width))
    pair_work = work[p.pair_stream]
    side = np.zeros(p.sides)
    if p.sides:
        side = np.maximum(side, np.abs(p.side_pair * pair_work).max((0, 2, 3), initial=0.0))
        side = np.maximum(side, np.abs(p.side_rent * chips).max((0, 2, 3), initial=0.0))
        side = np.maximum(side, largest(p.pools + p.sides, o, p.held_matrix.value * z[i])[p.pools :])
    limit = largest(p.limits, p.limit_matrix.index[0], p.limit_matrix.value * z[p.limit_matrix.index[1]])
    link = largest(p.links, p.link_acquisition.index[0], p.link_acquisition.value * z[p.link_acquisition.index[1]])
    parts = [
        (p.link_placement, pair_work, -1, 1.0),
        (p.link_unserved, work[: p.served], -1, 1.0),
        (p.link_deferred, work[p.served : p.served + p.deferrable], -1, hours),
    ]
    for sparse, unit, axis, factor in parts:
        if sparse.size:
            link = np.maximum(link, largest(p.links, sparse.index[0], sparse.value * unit[sparse.index[axis]] * factor))
    if p.link_rent.size:
        link = np.maximum(link, largest(p.links, p.link_rent.index[0], p.link_rent.value * chips))
    weight = p.node_weight[:, None, None]
    costs = np.concatenate(
        [
            np.abs(weight * p.placement_cost[t] * pair_work)[pre.x_active],
            np.abs(weight * p.rent_cost * chips)[pre.r_active],
            np.abs(p.acquisition_cost * z)[~pre.z_fixed],
        ]
    )
    costs = costs[costs > 0]
    if not len(costs):
        costs = np.abs(weight * p.unserved_cost[t] * work[: p.served]).ravel()
        costs = costs[costs > 0]
    money = float(power_of_two(np.exp(np.log(costs).mean()) if len(costs) else 1.0))
    return Scales(money, chips, work, hours, z, power_of_two(side), power_of_two(limit), power_of_two(link))


def pad(array: np.ndarray, shape: tuple[int, ...], fill: float = 0.0) -> np.ndarray:
    out = np.full(shape, fill, array.dtype)
    out[tuple(slice(0, n) for n in array.shape)] = array
    return out


def no_width(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """True for equalities."""
    return np.isfinite(upper) & np.isfinite(lower) & (upper - lower <= 1e-12 * np.maximum(1.0, np.abs(np.where(np.isfinite(upper), upper, 0.0))))


def make_layout(p: Program) -> Layout:
    """Presolve, scale, mask, pad."""
    pre = presolve(p)
    s = make_scales(p, pre)
    links = LinkLayout.of(p)
    shape = padded_shape(p, pre, links)
    u = outputs_matrix(p, s, ~pre.z_fixed, shape)
    shape = shape._replace(outputs_nnz=max(shape.outputs_nnz, bucket(len(u[2]))))
    gram = None
    if not shape.acquisition_space:
        gram = gram_triples(*u)
        shape = shape._replace(gram_nnz=max(shape.gram_nnz, bucket(len(gram[0]))))
    return Layout(p, pre, s, shape, fill(p, pre, s, links, shape, u, gram))


# Programs that fit are all padded to one of these, so that a session of small cases compiles once or twice; a factorisation of such a size
# takes milliseconds.
SMALL = (
    {
        "pairs": 32, "served": 8, "deferrable": 4, "pools": 8, "sides": 2, "blocks": 4, "nodes": 32, "states": 8, "acquisitions": 64,
        "limits": 32, "outputs_nnz": 512, "gram_nnz": 8192,
    },
    {
        "pairs": 64, "served": 16, "deferrable": 8, "pools": 16, "sides": 4, "blocks": 4, "nodes": 64, "states": 16, "acquisitions": 128,
        "limits": 64, "outputs_nnz": 1024, "gram_nnz": 16384,
    },
)  # fmt: skip
SMALL_LINKS = {"links": 32, "slots": 8, "scenarios": 8, "links_per_scenario": 4, "border": 8}


def padded_shape(p: Program, pre: Presolved, links: LinkLayout) -> Shape:
    """The shape bucket of the program (sizes of U and its Gram matrix are completed by the caller)."""
    need = {
        "pairs": p.pairs, "served": p.served, "deferrable": p.deferrable, "pools": p.pools, "sides": p.sides, "blocks": p.blocks,
        "nodes": p.nodes, "states": p.states, "acquisitions": p.acquisitions, "limits": p.limits,
    }  # fmt: skip
    linked = {
        "links": p.links, "slots": links.slots, "scenarios": links.scenarios, "links_per_scenario": links.per_scenario,
        "border": int((p.link_scenario < 0).sum()),
    }  # fmt: skip
    equalities = bool((pre.limit_active & no_width(p.limit_lower, p.limit_upper)).any())
    for small in SMALL:
        if all(n <= small[k] for k, n in need.items()) and all(n <= SMALL_LINKS[k] for k, n in linked.items()):
            linked = SMALL_LINKS if p.links else dict.fromkeys(SMALL_LINKS, 0)
            # Over outputs: it serves equality limits too, and at this size nothing is lost.
            return Shape(**small, **linked, acquisition_space=False)
    exact = {"sides": p.sides, "blocks": p.blocks}
    sizes = {k: bucket(n) for k, n in (need | linked).items()} | exact
    shape = Shape(**sizes, outputs_nnz=0, gram_nnz=0, acquisition_space=False)
    return shape._replace(acquisition_space=shape.acquisitions <= shape.outputs and not equalities)


def outputs_matrix(p: Program, s: Scales, free: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U without fixed columns, scaled, sorted by row; rows numbered in the padded output space (section order held, limits, links)."""
    pools, states, limits = shape.pools, shape.states, shape.limits
    held = pools + shape.sides
    q, o, i = p.held_matrix.index
    scale = np.where(o < p.pools, s.chips, s.side[np.maximum(o - p.pools, 0)] if p.sides else 1.0)
    rows = [q * held + np.where(o < p.pools, o, pools + o - p.pools)]
    cols, values = [i], [p.held_matrix.value * s.z[i] / scale]
    r, c = p.limit_matrix.index
    rows.append(states * held + r)
    cols.append(c)
    values.append(p.limit_matrix.value * s.z[c] / s.limit[r])
    r, c = p.link_acquisition.index
    rows.append(states * held + limits + r)
    cols.append(c)
    values.append(p.link_acquisition.value * s.z[c] / s.link[r])
    row, col, value = (np.concatenate(a) for a in (rows, cols, values))
    keep = free[col] & (value != 0)
    row, col, value = row[keep], col[keep], value[keep]
    order = np.lexsort((col, row))
    return row[order], col[order], value[order]


def gram_triples(row, col, value):
    """Entries of U Theta U': for every acquisition every ordered pair of its outputs; sorted by target."""
    order = np.argsort(col, kind="stable")
    row, col, value = row[order], col[order], value[order]
    count = np.bincount(col) if len(col) else np.zeros(0, int)
    start = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(int) if len(count) else np.zeros(0, int)
    reps = count[col] if len(col) else np.zeros(0, int)
    first = np.repeat(np.arange(len(col)), reps)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(reps) - reps, reps)
    second = start[col[first]] + offset if len(first) else first
    return row[first], row[second], col[first], value[first] * value[second]


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


def fill(p, pre, s, links, shape, u, gram) -> Data:
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
        ud=last(p.node_weight[:, None] * p.unserved_cost_deferrable[t] * s.work[Ws : Ws + Wd] * hours_shared / money, shape.deferrable, nodes),
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
    limit_slack = pre.limit_active & ~no_width(p.limit_lower, p.limit_upper)
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
    several = shape.limits + np.nonzero(p.link_scenario < 0)[0]
    border_row = np.full(shape.border, shape.limits + shape.links)
    border_row[: len(several)] = several
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
        limit_sign=pad(np.where(finite_upper, 1.0, -1.0), (shape.limits,), 1.0),
        link_sign_l=pad(np.where(link_finite, 1.0, -1.0), (shape.links,), 1.0),
        link_sign_h=pad(np.asarray(p.link_slack_sign, float), (shape.links,), 1.0),
        border_row=border_row.astype(i32), cost=cost, rhs=rhs, upper=upper, active=active, bounded=bounded, row_active=row_active,
    )  # fmt: skip


def side_scale(side: np.ndarray) -> np.ndarray:
    """[K] for arrays [N, K, B, *]."""
    return side[None, :, None, None]


def side_first(array: np.ndarray, mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """[N, K, B, *] masked by [N, B, *] -> padded [K, *, B, N]."""
    return pad(np.ascontiguousarray(np.transpose(array * mask[:, None], (1, 3, 2, 0))), sizes)
