"""Seeded random programs of every kind that the contract allows; sizes depend on the knobs alone, so that compiled shapes are shared.

`FAMILIES` names knob settings; `random_program(seed, **FAMILIES[name])` is one instance. Every instance passes `Program.check` and is
feasible unless the knob `infeasible` is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from optimizer.program.program import Array, Names, Program, Sparse

FAMILIES: dict[str, dict] = {
    "plain": {},
    "one_node": {"periods": 1, "scenarios": 1, "blocks": 1},
    "deterministic": {"periods": 6, "scenarios": 1, "deferrable": 1},
    "two_stage": {"periods": 1, "scenarios": 12, "deferrable": 1, "templates": 2},
    "tree": {"periods": 3, "scenarios": 4, "tree": True, "deferrable": 1},
    "tree_all_rows": {
        "periods": 3, "scenarios": 4, "tree": True, "deferrable": 1, "free": 1, "sides": 2, "cvar": True, "windows": True,
        "commitments": 2, "caps": 1, "equalities": 1, "two_sided": 1, "contingency": True, "templates": 2, "availability": True,
    },
    "limits": {"equalities": 2, "two_sided": 2, "floors": 2, "budgets": 3},
    "sides": {"sides": 3, "deferrable": 1, "rent": "open"},
    "sides_without_slack": {"sides": 2, "side_slack": False, "deferrable": 1},
    "linking": {"commitments": 2, "caps": 2, "service_levels": 1, "deferrable": 1, "scenarios": 3},
    "cvar": {"cvar": True, "scenarios": 5, "periods": 2},
    "windows": {"free": 2, "windows": True, "scenarios": 2, "periods": 3},
    "contingency": {"contingency": True, "availability": True, "scenarios": 2, "floors": 1},
    "degenerate": {"degenerate": True, "deferrable": 1, "budgets": 2, "equalities": 1, "duplicates": True},
    "zero_capacity": {"zero_capacity": True, "rent": "none"},
    "zero_demand": {"zero_demand": True, "deferrable": 1},
    "price_spread": {"price_spread": 1e6, "rent": "none", "deferrable": 1},
    "zero_width": {"zero_width": True, "deferrable": 1, "floors": 1},
    "boxed": {"boxed": True, "deferrable": 1, "blocks": 3},
    "rent_open": {"rent": "open", "deferrable": 1, "commitments": 1},
    "availability": {"availability": True, "templates": 3, "scenarios": 3, "second_states": True},
    "drawn": {"drawn": True, "deferrable": 1, "floors": 1, "scenarios": 3},
    "drawn_open_sides": {"drawn": True, "sides": 1, "deferrable": 1, "availability": True},
    "hundreds": {"periods": 4, "scenarios": 100, "blocks": 1, "served": 2, "pools": 3, "budgets": 1, "cvar": True},
}  # fmt: skip


@dataclass
class Rows:
    """Linking rows under construction: coordinates and values per term."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    scenario: list[int] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    slack_upper: list[float] = field(default_factory=list)
    sign: list[float] = field(default_factory=list)
    terms: dict[str, list[tuple[tuple, float]]] = field(default_factory=lambda: {k: [] for k in ("z", "x", "u", "ud", "r")})

    def open(self, lower: float, upper: float, scenario: int, cost: float = np.inf, slack_upper: float = 0.0, sign: float = 1.0) -> int:
        for store, value in zip(
            (self.lower, self.upper, self.scenario, self.cost, self.slack_upper, self.sign),
            (lower, upper, scenario, cost, slack_upper, sign),
            strict=True,
        ):
            store.append(value)
        return len(self.lower) - 1

    def put(self, row: int, variable: str, array: Array, nodes: Array | None = None) -> None:
        """Nonzero entries of a dense coefficient array; its first axis runs over `nodes` where given."""
        at = np.nonzero(array)
        values = array[at]
        if nodes is not None:
            at = (nodes[at[0]], *at[1:])
        self.terms[variable].extend(((row, *place), float(v)) for *place, v in zip(*at, values, strict=True))

    def sparse(self, variable: str, axes: int) -> Sparse:
        entries = self.terms[variable]
        if not entries:
            return Sparse.empty(axes)
        index = np.array([place for place, _ in entries], dtype=np.int64)
        return Sparse(tuple(index.T.copy()), np.array([v for _, v in entries]))


def random_program(
    seed: int,
    *,
    periods: int = 2,
    scenarios: int = 2,
    tree: bool = False,
    blocks: int = 2,
    pools: int = 4,
    served: int = 3,
    deferrable: int = 0,
    free: int = 0,
    templates: int = 1,
    sides: int = 0,
    side_slack: bool = True,
    budgets: int = 1,
    floors: int = 0,
    two_sided: int = 0,
    equalities: int = 0,
    cvar: bool = False,
    windows: bool = False,
    commitments: int = 0,
    caps: int = 0,
    service_levels: int = 0,
    contingency: bool = False,
    second_states: bool = False,
    availability: bool = False,
    rent: str = "some",  # none | some | open
    degenerate: bool = False,
    duplicates: bool = False,
    zero_capacity: bool = False,
    zero_demand: bool = False,
    zero_width: bool = False,
    boxed: bool = False,
    price_spread: float = 1.0,
    drawn: bool = False,  # fixed draws of capacity, covered by rent or by acquisitions that must be signed
    infeasible: bool = False,
) -> Program:
    """One instance; see the knobs' names. Sizes do not depend on the seed."""
    rng = np.random.default_rng([seed, 20261121])
    parent, stage, node_at = _forest(periods, scenarios, tree)
    decisions = len(parent)
    two_views = contingency or second_states
    decision_of_state = np.concatenate([np.arange(decisions)] * (2 if two_views else 1))
    states = len(decision_of_state)

    # recourse nodes: (scenario, period), then one contingency node per decision node
    state_of_node = node_at.ravel().copy()
    if second_states and not contingency:
        state_of_node = np.where(rng.random(state_of_node.shape) < 0.3, state_of_node + decisions, state_of_node)
    scenario_of_node = np.repeat(np.arange(scenarios), periods)
    probability = np.full(scenarios, 1.0 / scenarios) if degenerate else rng.dirichlet(np.full(scenarios, 5.0))
    node_weight = probability[scenario_of_node] * 0.97 ** np.tile(np.arange(periods), scenarios)
    template_of_node = rng.integers(templates, size=len(state_of_node))
    ordinary = len(state_of_node)
    if contingency:
        state_of_node = np.concatenate([state_of_node, decisions + np.arange(decisions)])
        scenario_of_node = np.concatenate([scenario_of_node, np.zeros(decisions, int)])
        node_weight = np.concatenate([node_weight, np.full(decisions, 0.1)])
        template_of_node = np.concatenate([template_of_node, np.full(decisions, templates)])
    nodes, kinds = len(state_of_node), templates + int(contingency)

    # pairs
    streams = served + deferrable + free
    allowed = rng.random((streams, pools)) < 0.7
    fixed = np.random.default_rng(7).random((streams, pools)) < 0.7  # sizes must not depend on the seed
    allowed = np.take_along_axis(fixed, rng.permuted(np.tile(np.arange(pools), (streams, 1)), axis=1), axis=1)
    pair_stream, pair_pool = (a.astype(np.int64) for a in np.nonzero(allowed))
    pairs = len(pair_stream)

    def number(low: float, high: float, shape: tuple[int, ...]) -> Array:
        values = np.exp(rng.uniform(np.log(low), np.log(high), shape))
        return np.maximum(np.round(values), 1.0) if degenerate else values

    hours = number(1, 6, (kinds, blocks))
    pair_capacity = number(0.4, 2.5, (kinds, pairs))
    speed = number(0.5, 2.0, (pools,))
    pair_capacity = pair_capacity if degenerate else pair_capacity / speed[pair_pool]
    placement_cost = number(0.05, 0.5, (kinds, blocks, pairs)) * hours[:, :, None]
    unserved = number(5, 40, (kinds, 1, served)) * hours[:, :, None]
    unserved_deferrable = number(3, 30, (kinds, deferrable))
    if price_spread > 1:
        unserved = unserved * price_spread ** rng.uniform(0, 1, (1, 1, served))
        unserved_deferrable = unserved_deferrable * price_spread ** rng.uniform(0, 1, (1, deferrable))
    growth = np.exp(rng.normal(0.1, 0.2, (scenarios, periods))).cumprod(axis=1).ravel()
    growth = np.concatenate([growth, np.ones(nodes - ordinary)])
    demand = number(2, 30, (1, 1, served)) * growth[:, None, None] * rng.uniform(0.4, 1.3, (nodes, blocks, served))
    demand_deferrable = number(5, 60, (1, deferrable)) * growth[:, None] * rng.uniform(0.6, 1.2, (nodes, deferrable))
    if degenerate:
        demand, demand_deferrable = np.round(demand), np.round(demand_deferrable)
    if zero_demand:
        demand[rng.random(demand.shape) < 0.4] = 0.0
        demand_deferrable[rng.random(demand_deferrable.shape) < 0.4] = 0.0
    rent_cost = number(0.6, 2.0, (1, 1, pools)) * hours[template_of_node][:, :, None] * np.ones((nodes, 1, 1))
    rent_upper = {"none": 0.0, "some": 1.0, "open": np.inf}[rent] * rng.uniform(2, 12, (nodes, blocks, pools))
    if rent == "some":
        rent_upper[rng.random(rent_upper.shape) < 0.3] = 0.0
    if degenerate:
        rent_upper = np.round(rent_upper)
    if contingency:
        placement_cost[templates:] = 0.0
        rent_upper[ordinary:] = 0.0
        if deferrable:
            demand_deferrable[ordinary:] = 0.0
    avail = rng.uniform(0.3, 1.0, (nodes, pools)) if availability else np.ones((nodes, pools))

    # acquisitions: an offer per (decision node, pool), then auxiliaries
    horizon = node_at  # [S, T] decision node of scenario and period
    signed, pool_of, reach, cost = [], [], [], []
    for m in range(decisions):
        for g in range(pools):
            lead, term = int(rng.integers(0, 2)), int(rng.integers(1, 4))
            below = [d for d in range(decisions) if _descends(parent, d, m) and stage[m] + lead <= stage[d] < stage[m] + lead + term]
            signed.append(m)
            pool_of.append(g)
            reach.append(below)
            reached = np.isin(horizon, [m]).any(axis=1)
            flow = probability[reached].sum() * term * hours.mean()
            cost.append(flow * rng.uniform(0.3, 1.2) * (1.0 if degenerate else speed[g]))
    offers = len(signed)
    auxiliaries = int(cvar)
    upper = number(10, 60, (offers,))
    lower = np.zeros(offers)
    if zero_width:
        at = rng.random(offers) < 0.3
        lower[at] = upper[at] = np.round(rng.uniform(0, 5, at.sum()))
    entry_q, entry_o, entry_i, entry_v = [], [], [], []
    usable = rng.uniform(0.8, 1.0, offers) if not degenerate else np.ones(offers)
    off = rng.integers(pools, size=decisions)
    for i in range(offers):
        for d in reach[i]:
            for view in range(2 if two_views else 1):
                if view and off[d] == pool_of[i]:
                    continue
                entry_q.append(d + view * decisions)
                entry_o.append(pool_of[i])
                entry_i.append(i)
                entry_v.append(usable[i])
    if drawn:
        lower = np.where(rng.random(offers) < 0.5, 0.1 * upper, 0.0)
    held_base = np.zeros((states, pools + sides))
    held_base[:, :pools] = 0.0 if zero_capacity else np.round(rng.uniform(0, 15, (states, pools)), 0 if degenerate else 12)
    for k in range(sides):
        for i in rng.permutation(offers)[: max(1, offers // 3)]:
            for d in reach[i]:
                for view in range(2 if two_views else 1):
                    entry_q.append(d + view * decisions)
                    entry_o.append(pools + k)
                    entry_i.append(int(i))
                    entry_v.append(float(rng.uniform(0.1, 1.0)) * (1.0 if not side_slack or rng.random() < 0.7 else -1.0))
        held_base[:, pools + k] = rng.uniform(1, 12, states) if not side_slack or rng.random() < 0.7 else rng.uniform(-4, 2, states)
    if drawn:
        rent_upper = np.maximum(rent_upper, 1.0)
        rent_room = np.full((states, pools), np.inf)
        np.minimum.at(rent_room, state_of_node, rent_upper.min(axis=1) / avail)
        sure = np.zeros((states, pools + sides))
        np.add.at(sure, (entry_q, entry_o), np.array(entry_v) * lower[entry_i])
        held_base[:, :pools] -= rng.uniform(0.2, 0.9, (states, pools)) * (held_base[:, :pools] + sure[:, :pools] + rent_room)
    side_pair = rng.uniform(-0.3, 1.0, (kinds, sides, blocks, pairs)) * (rng.random((kinds, sides, blocks, pairs)) < 0.5)
    side_rent = rng.uniform(-0.5, 1.0, (nodes, sides, blocks, pools)) * (rng.random((nodes, sides, blocks, pools)) < 0.4)
    side_slack_cost = number(2, 20, (nodes, sides)) if side_slack else np.full((nodes, sides), np.inf)

    # limits around a point inside the box
    inside = np.concatenate([lower + (upper - lower) * rng.uniform(0.05, 0.5, offers), np.zeros(auxiliaries)])
    rows, low, high = [], [], []
    for kind, count in (("budget", budgets), ("floor", floors), ("two_sided", two_sided), ("equality", equalities)):
        for _ in range(count):
            row = np.zeros(offers + auxiliaries)
            chosen = rng.permutation(offers)[: max(2, offers // 2)]
            row[chosen] = rng.uniform(0.2, 2.0, len(chosen)) * (
                1.0 if kind in ("budget", "floor") else rng.choice([-1.0, 1.0], len(chosen))
            )
            if degenerate:
                row = np.round(row)
            at = float(row @ inside)
            width = 0.2 * float(np.abs(row) @ np.abs(inside))
            rows.append(row)
            low.append(-np.inf if kind == "budget" else at if kind == "equality" else at - width)
            high.append(np.inf if kind == "floor" else at if kind == "equality" else at + width)
    if infeasible:
        row = np.zeros(offers + auxiliaries)
        row[:offers] = rng.uniform(0.5, 1.0, offers)
        half = 0.5 * float(row[:offers] @ upper)
        rows += [row, row * 1.0]
        low += [half * 1.2, -np.inf]
        high += [np.inf, half * 0.8]
    matrix = np.array(rows).reshape(len(rows), offers + auxiliaries)
    at_row, at_column = np.nonzero(matrix)

    # linking rows
    links = Rows()
    placement_upper = np.full((kinds, blocks, pairs), np.inf)
    is_free = pair_stream >= served + deferrable
    placement_upper[:, :, is_free] = number(4, 15, (kinds, blocks, int(is_free.sum())))
    if boxed:
        small = (rng.random(placement_upper.shape) < 0.5) & ~is_free
        placement_upper[small] = number(0.5, 10, (int(small.sum()),))
    worst = _worst_cost(node_weight, template_of_node, unserved, unserved_deferrable, demand, demand_deferrable)
    if cvar:
        share = 0.3
        scale = [worst[(scenario_of_node == s) & (np.arange(nodes) < ordinary)].sum() / probability[s] for s in range(scenarios)]
        most = 3 * max(scale) + 1.0
        for s in range(scenarios):
            of = np.nonzero((scenario_of_node == s) & (np.arange(nodes) < ordinary))[0]
            c, weight = template_of_node[of], node_weight[of] / probability[s]
            row = links.open(-np.inf, 0.0, s, 0.5 * probability[s] / share, 2 * most, -1.0)
            links.put(row, "z", np.concatenate([np.zeros(offers), [-1.0]]))
            links.put(row, "x", weight[:, None, None] * placement_cost[c] * ~is_free, of)
            links.put(row, "u", weight[:, None, None] * unserved[c], of)
            links.put(row, "ud", weight[:, None] * unserved_deferrable[c], of)
            links.put(row, "r", weight[:, None, None] * rent_cost[of], of)
        lower, upper = np.append(lower, -most), np.append(upper, most)
    if windows:
        for w in range(served + deferrable, streams):
            for s in range(scenarios):
                of = np.nonzero((scenario_of_node == s) & (np.arange(nodes) < ordinary))[0]
                work = float(number(10, 80, ()))
                row = links.open(work, work, s, float(number(3, 15, ())) * probability[s], work, 1.0)
                links.put(row, "x", hours[template_of_node[of]][:, :, None] * (pair_stream == w), of)
    for _ in range(commitments):
        amount = float(number(5, 50, ()))
        row = links.open(amount, np.inf, -1, float(number(0.3, 3, ())), amount, 1.0)
        links.put(row, "z", (rng.random(offers) < 0.4) * rng.uniform(0.2, 1.0, offers))
        links.put(row, "r", node_weight[:, None, None] * rent_cost * (rng.random(pools) < 0.5))
    for _ in range(caps):
        cap = float(number(5, 50, ()))
        row = links.open(-np.inf, cap, -1)
        links.put(row, "x", node_weight[:, None, None] * rng.uniform(0.1, 1.0, (nodes, blocks, pairs)) * (rng.random(pairs) < 0.6))
        links.put(row, "z", (rng.random(offers) < 0.3) * rng.uniform(-0.5, -0.1, offers))
    for k in range(service_levels):
        of = np.nonzero(scenario_of_node == k)[0]
        allowed_unserved = 0.05 * float(demand[of].sum())
        row = links.open(-np.inf, allowed_unserved, k, float(number(2, 20, ())), float(demand[of].sum()) * 1.1 + 1.0, -1.0)
        links.put(row, "u", np.ones((len(of), blocks, served)), of)
    acquisition_cost = np.concatenate([np.array(cost), np.full(auxiliaries, 0.5)])
    if duplicates and pools > 1:  # two offers of the same pool at the same price, one of them signed on the same node
        acquisition_cost[1:offers:2] = acquisition_cost[0 : offers - offers % 2 : 2][: len(acquisition_cost[1:offers:2])]
    if degenerate:
        acquisition_cost = np.round(acquisition_cost)
    count = offers + auxiliaries
    return Program(
        parent=parent,
        decision_of_state=decision_of_state,
        state_of_node=state_of_node,
        scenario_of_node=scenario_of_node,
        template_of_node=template_of_node,
        signed_at=np.array(signed + [0] * auxiliaries),
        served=served,
        deferrable=deferrable,
        free=free,
        pools=pools,
        pair_stream=pair_stream,
        pair_pool=pair_pool,
        acquisition_cost=acquisition_cost,
        acquisition_lower=lower,
        acquisition_upper=upper,
        upper_is_derived=np.zeros(count, bool),
        held_matrix=Sparse(tuple(np.array(e, dtype=np.int64) for e in (entry_q, entry_o, entry_i)), np.array(entry_v, dtype=float)),
        held_base=held_base,
        limit_matrix=Sparse((at_row, at_column), matrix[at_row, at_column]),
        limit_lower=np.array(low, dtype=float),
        limit_upper=np.array(high, dtype=float),
        node_weight=node_weight,
        block_hours=hours,
        pair_capacity=pair_capacity,
        placement_cost=placement_cost,
        placement_upper=placement_upper,
        unserved_cost=unserved,
        unserved_cost_deferrable=unserved_deferrable,
        demand=demand,
        demand_deferrable=demand_deferrable,
        availability=avail,
        rent_cost=rent_cost,
        rent_upper=rent_upper,
        side_pair=side_pair,
        side_rent=side_rent,
        side_slack_cost=side_slack_cost,
        side_slack_upper=np.full((nodes, sides), np.inf),
        link_lower=np.array(links.lower, dtype=float),
        link_upper=np.array(links.upper, dtype=float),
        link_scenario=np.array(links.scenario, dtype=np.int64),
        link_acquisition=links.sparse("z", 2),
        link_placement=links.sparse("x", 4),
        link_unserved=links.sparse("u", 4),
        link_deferred=links.sparse("ud", 3),
        link_rent=links.sparse("r", 4),
        link_slack_cost=np.array(links.cost, dtype=float),
        link_slack_upper=np.array(links.slack_upper, dtype=float),
        link_slack_sign=np.array(links.sign, dtype=float),
        constant=float(np.round(rng.uniform(0, 10), 3)),
        names=Names(),
    )


def infeasible_program(seed: int, **knobs) -> Program:
    """A program whose limits contradict each other."""
    return random_program(seed, infeasible=True, **knobs)


def with_derived_bounds(program: Program, acquisition: int) -> Program:
    """The same program with one acquisition's upper bound marked as derived."""
    return replace(program, upper_is_derived=np.arange(program.acquisitions) == acquisition)


def _forest(periods: int, scenarios: int, tree: bool) -> tuple[Array, Array, Array]:
    """parent [D], stage [D], decision node of (scenario, period) [S, T]: one path, or a path that splits in two at every period."""
    if not tree:
        return np.arange(-1, periods - 1), np.arange(periods), np.tile(np.arange(periods), (scenarios, 1))
    parent, stage, groups = [-1], [0], [np.arange(scenarios)]
    node_at = np.zeros((scenarios, periods), int)
    current = [0]
    for t in range(1, periods):
        following, following_groups = [], []
        for node, group in zip(current, groups, strict=True):
            for part in np.array_split(group, 2) if len(group) > 1 else [group]:
                parent.append(node)
                stage.append(t)
                following.append(len(parent) - 1)
                following_groups.append(part)
                node_at[part, t] = len(parent) - 1
        current, groups = following, following_groups
    return np.array(parent), np.array(stage), node_at


def _descends(parent: Array, node: int, ancestor: int) -> bool:
    while node != -1:
        if node == ancestor:
            return True
        node = int(parent[node])
    return False


def _worst_cost(weight: Array, template: Array, unserved: Array, unserved_deferrable: Array, demand: Array, work: Array) -> Array:
    """The cost of serving nothing, per node."""
    return weight * ((unserved[template] * demand).sum(axis=(1, 2)) + (unserved_deferrable[template] * work).sum(axis=1))
