"""Program -> Layout: presolve, scale, choose the shape bucket, fill the device arrays; and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program import Multipliers, Plan, Program
from optimizer.solver.cut import Cut, cut_nodes, places
from optimizer.solver.fill import LinkLayout, equality_limits, fill
from optimizer.solver.holdings import find_holdings, no_holdings
from optimizer.solver.presolve import Presolved, presolve
from optimizer.solver.scaling import Scales, make_scales
from optimizer.solver.structure import Both, Data, Part, Shape, split_own, split_own_rows, split_rest, split_rows


def bucket(n: int) -> int:
    """Padded size: small sizes share a few buckets, large ones waste at most a sixteenth. The padding costs time, never digits."""
    if n <= 0:
        return 0
    if n <= 4:
        return 1 if n == 1 else 4
    step = max(4 if n <= 32 else 8, 2 ** (int(np.ceil(np.log2(n))) - 5))
    return int(-(-n // step) * step)


@dataclass(frozen=True)
class Layout:
    """The device program with what is needed to read its solution."""

    program: Program
    presolved: Presolved
    scales: Scales
    shape: Shape
    data: Data
    place: np.ndarray  # int[N] of the program's nodes among all lanes

    def plan(self, v: Both) -> Plan:
        """Program-shaped values of a scaled point (may violate rows by the solver's error: repair follows)."""
        p, s = self.program, self.scales
        v = to_host(v)
        x, kinds, own = self.by_node(v.cells.x), split_rest(self.shape, self.by_node(v.cells.rest)), split_own(self.shape, v.own)
        b, work = p.blocks, s.work[p.pair_stream]
        return Plan(
            z=self.presolved.z_lower + np.where(self.presolved.z_fixed, 0.0, own.z[: p.acquisitions] * s.z),
            x=x[: p.pairs, :b].T * work * self.presolved.x_active,
            u=kinds.u[: p.served, :b].T * s.work[: p.served],
            ud=kinds.ud[: p.deferrable].T * s.work[p.served : p.served + p.deferrable] * s.hours,
            r=kinds.r[: p.pools, :b].T * s.chips * self.presolved.r_active,
            side_slack=kinds.e[: p.sides].T * s.side,
            link_slack=own.h[: p.links] * s.link,
        )

    def multipliers(self, y: Both) -> Multipliers:
        """Program-shaped multipliers (dollars per unit of right-hand side); dropped rows are still zero: see postsolve."""
        p, s = self.program, self.scales
        y = to_host(y)
        rows = split_rows(self.shape, self.by_node(y.cells * self.data.cells.terms.row_active))
        limit, link = split_own_rows(self.shape, y.own * self.data.own.row_active)
        return Multipliers(
            capacity=rows.capacity[: p.pools, : p.blocks].T * (s.money / s.chips),
            side=rows.side[: p.sides].T * (s.money / s.side),
            limit=limit[: p.limits] * (s.money / s.limit),
            link=link[: p.links] * (s.money / s.link),
        )

    def by_node(self, a: np.ndarray) -> np.ndarray:
        """[C, ..., n] -> [..., N] in the program's order."""
        a = np.moveaxis(a, 0, -2)
        return a.reshape(*a.shape[:-2], -1)[..., self.place]


def to_host(tree: Both) -> Both:
    """As float64, on every process."""
    import jax

    def fetch(a: jax.Array | np.ndarray) -> np.ndarray:
        if isinstance(a, jax.Array) and not a.is_fully_addressable:
            from jax.experimental import multihost_utils

            a = multihost_utils.process_allgather(a, tiled=True)
        return np.asarray(a, float)

    return jax.tree.map(fetch, tree)


def make_layout(p: Program, devices: int = 1, streamed: bool = True, scales: Scales | None = None) -> Layout:
    """Presolve, scale, mask, pad, for at most so many devices; `streamed`: in chunks for a cache, or large ones for an accelerator;
    `scales`: those of a neighbouring program."""
    pre = presolve(p)
    s = make_scales(p, pre) if scales is None else scales
    links = LinkLayout.of(p)
    shape = padded_shape(p, pre, links, streamed)
    shape = shape._replace(devices=usable(devices, shape))
    u = outputs_matrix(p, s, ~pre.z_fixed, shape)
    shape = shape._replace(outputs_nnz=max(shape.outputs_nnz, 2 ** int(np.ceil(np.log2(max(len(u[2]), 128))))))
    gram, holdings = None, None
    if not shape.acquisition_space:
        gram = gram_triples(*u)
        shape = shape._replace(gram_nnz=max(shape.gram_nnz, bucket(len(gram[0]))))
    elif shape.acquisitions > SMALL[-1]["acquisitions"]:  # below, the dense product is as fast, and one shape serves all
        holdings = find_holdings(*u, shape)
        if holdings is not None:
            shape = shape._replace(members=holdings.members.shape[1])
    place, state_of_pack = places(p.state_of_node, Cut(shape.groups, shape.chunks, shape.packs, shape.pack))
    data = fill(p, pre, s, links, shape, u, gram, holdings or no_holdings(), place, state_of_pack)
    if shape.acquisitions > SMALL[-1]["acquisitions"] or shape.nodes > SMALL[-1]["nodes"]:
        shape, data = without_unused_bounds(shape, data)
    return Layout(p, pre, s, shape, data, place)


def without_unused_bounds(shape: Shape, data: Data) -> tuple[Shape, Data]:
    """Placement without any upper bound keeps one entry of it."""
    terms = data.cells.terms
    if terms.bounded.x.any():
        return shape, data
    corner = (slice(None), *(slice(0, 1),) * 3)
    upper, bounded = (Part(part.x[corner], part.rest) for part in (terms.upper, terms.bounded))
    cells = data.cells._replace(terms=terms._replace(upper=upper, bounded=bounded))
    return shape._replace(x_bounded=False), data._replace(cells=cells)


# Programs that fit are all padded to one of these, so that a session of small cases compiles once or twice; a factorisation of such a size
# takes milliseconds.
SMALL = (
    {
        "pairs": 32, "served": 8, "deferrable": 4, "pools": 8, "sides": 2, "blocks": 4, "nodes": 32, "states": 8, "acquisitions": 64,
        "limits": 32, "outputs_nnz": 512, "gram_nnz": 0,
    },
    {
        "pairs": 64, "served": 16, "deferrable": 8, "pools": 16, "sides": 4, "blocks": 4, "nodes": 64, "states": 16, "acquisitions": 128,
        "limits": 64, "outputs_nnz": 1024, "gram_nnz": 0,
    },
)  # fmt: skip
SMALL_LINKS = {"links": 32, "slots": 8, "scenarios": 8, "links_per_scenario": 4, "border": 8}


DEVICE_BYTES = 1_000_000  # of placement that a device must have: with less, waiting for each other takes longer than the work


def usable(devices: int, shape: Shape) -> int:
    """The most devices that share the groups evenly and have enough to do."""
    worth = 8 * shape.pairs * shape.blocks * shape.nodes // DEVICE_BYTES
    return max(d for d in range(1, max(1, min(devices, worth)) + 1) if shape.groups % d == 0)


def padded_shape(p: Program, pre: Presolved, links: LinkLayout, streamed: bool = True) -> Shape:
    """The shape bucket of the program (sizes of U and its Gram matrix are completed by the caller)."""
    need = {
        "pairs": p.pairs, "served": p.served, "deferrable": p.deferrable, "pools": p.pools, "sides": p.sides, "blocks": p.blocks,
        "nodes": p.nodes, "states": p.states, "acquisitions": p.acquisitions, "limits": p.limits,
    }  # fmt: skip
    border = int((p.link_scenario < 0).sum() + equality_limits(p, pre).sum())
    linked = {
        "links": p.links, "slots": links.slots, "scenarios": links.scenarios, "links_per_scenario": links.per_scenario,
        "border": border,
    }  # fmt: skip
    for small in SMALL:
        if all(n <= small[k] for k, n in need.items()) and all(n <= SMALL_LINKS[k] for k, n in linked.items()):
            linked = dict(SMALL_LINKS) if p.links else dict.fromkeys(SMALL_LINKS, 0)
            linked["border"] = border and SMALL_LINKS["border"]
            sizes = {k: n for k, n in small.items() if k != "nodes"}
            whole = Cut(groups=1, chunks=1, packs=small["nodes"], pack=1)._asdict()
            return Shape(**sizes, **whole, **linked, acquisition_space=True, members=0, x_bounded=True)
    exact = {"sides": p.sides, "blocks": p.blocks}
    sizes = {k: bucket(n) for k, n in (need | linked).items() if k != "nodes"} | exact
    cut = cut_nodes(p.state_of_node, 8 * sizes["pairs"] * p.blocks, streamed)
    shape = Shape(
        **sizes, **cut._asdict(), outputs_nnz=0, gram_nnz=0, acquisition_space=False, members=0, x_bounded=True, streaming=int(streamed)
    )  # fmt: skip
    return shape._replace(acquisition_space=shape.acquisitions <= shape.outputs)


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
