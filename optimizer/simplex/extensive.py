"""A Program as one sparse linear program, and the way back from its columns and row duals.

Columns: z [Z], x [N,B,P], u [N,B,served], ud [N,deferrable], r [N,B,G], side slack [N,K], link slack [R].
Rows: demand, deferrable (equalities), capacity, side (upper), limits, links (two-sided).
Bounds that demand implies are left out, as a modeller would leave them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from optimizer.program.layout import Layout, rent_box
from optimizer.program.program import Array, Multipliers, Plan, Program
from optimizer.simplex.by_column import INDEX, ByColumn, Entries

if TYPE_CHECKING:
    import scipy.sparse as sparse


@dataclass(frozen=True)
class Extensive:
    """minimise cost.v + constant, row_lower <= matrix v <= row_upper, lower <= v <= upper. `columns` and `rows` number the variables
    and rows of each kind, in their shapes."""

    cost: Array
    constant: float
    entries: ByColumn  # of the matrix
    row_lower: Array
    row_upper: Array
    lower: Array
    upper: Array
    columns: dict[str, Array]
    rows: dict[str, Array]

    @cached_property
    def matrix(self) -> sparse.csc_matrix:
        """For those who compute with it."""
        import scipy.sparse as sparse

        return sparse.csc_matrix((self.entries.value, self.entries.row, self.entries.start), shape=self.entries.shape)

    def plan(self, values: Array) -> Plan:
        """The column values by variable."""
        names = ("z", "x", "u", "ud", "r", "side_slack", "link_slack")
        return Plan(*(np.asarray(values, float)[self.columns[name]] for name in names))

    def multipliers(self, duals: Array) -> Multipliers:
        """Row duals with the sign of d cost / d right-hand side."""
        return Multipliers(*(np.asarray(duals, float)[self.rows[name]] for name in ("capacity", "side", "limit", "link")))


def _numbered(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Array], int]:
    out, count = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        out[name] = np.arange(count, count + size, dtype=INDEX).reshape(shape)
        count += size
    return out, count


def extensive_form(program: Program) -> Extensive:
    """Every variable and row of the program's contract (`optimizer.program.program`)."""
    p = program
    n, b, g = p.nodes, p.blocks, p.pools
    columns, width = _numbered(
        {
            "z": (p.acquisitions,), "x": (n, b, p.pairs), "u": (n, b, p.served), "ud": (n, p.deferrable), "r": (n, b, g),
            "side_slack": (n, p.sides), "link_slack": (p.links,),
        }
    )  # fmt: skip
    rows, height = _numbered(
        {
            "demand": (n, b, p.served), "deferrable": (n, p.deferrable), "capacity": (n, b, g), "side": (n, p.sides),
            "limit": (p.limits,), "link": (p.links,),
        }
    )  # fmt: skip
    entries = Entries()
    _node_rows(p, entries, columns, rows)
    _held(p, entries, columns, rows)
    entries.put(rows["limit"][p.limit_matrix.index[0]], columns["z"][p.limit_matrix.index[1]], p.limit_matrix.value)
    _links(p, entries, columns, rows)
    cost, lower, upper = _columns(p, columns, width)
    row_lower, row_upper = _sides_of_rows(p, rows, height)
    return Extensive(cost, float(p.constant), entries.by_column((height, width)), row_lower, row_upper, lower, upper, columns, rows)


def bounds_of(program: Program, form: Extensive) -> tuple[Array, Array, Array, Array]:
    """(row_lower, row_upper, lower, upper) of a program with the rows and columns of a form."""
    height, width = form.entries.shape
    _, lower, upper = _columns(program, form.columns, width)
    return *_sides_of_rows(program, form.rows, height), lower, upper


def _node_rows(p: Program, entries: Entries, columns: dict[str, Array], rows: dict[str, Array]) -> None:
    """Demand, capacity and side rows inside the recourse nodes."""
    template, stream = p.template_of_node, p.pair_stream
    x, u, ud, r = (columns[name] for name in ("x", "u", "ud", "r"))
    served, last = np.searchsorted(stream, [p.served, p.served + p.deferrable])
    entries.put(rows["demand"][:, :, stream[:served]], x[:, :, :served], 1.0)
    entries.put(rows["demand"], u, 1.0)
    work = rows["deferrable"][:, None, stream[served:last] - p.served]
    entries.put(work, x[:, :, served:last], p.block_hours[template][:, :, None])
    entries.put(rows["deferrable"], ud, 1.0)
    entries.put(rows["capacity"][:, :, p.pair_pool], x, p.pair_capacity[template][:, None, :])
    entries.put(rows["capacity"], r, -1.0)
    for k in range(p.sides):
        row = rows["side"][:, k, None, None]
        entries.put(row, x, p.side_pair[template, k])
        entries.put(row, r, p.side_rent[:, k])
    entries.put(rows["side"], columns["side_slack"], -1.0)


def _held(p: Program, entries: Entries, columns: dict[str, Array], rows: dict[str, Array]) -> None:
    """What acquisitions add to the capacity and side rows of every node of the states they reach."""
    state, output, order = p.held_matrix.index
    by_state = np.argsort(state, kind="stable")
    ends = np.searchsorted(state[by_state], np.arange(p.states + 1))
    count = np.diff(ends)[p.state_of_node]
    node = np.repeat(np.arange(p.nodes), count)
    entry = by_state[np.arange(len(node)) + np.repeat(ends[p.state_of_node] - (np.cumsum(count) - count), count)]
    output, column, value = output[entry], columns["z"][order[entry]], p.held_matrix.value[entry]
    pool = output < p.pools
    share = p.availability[node[pool], output[pool]] * value[pool]
    entries.put(rows["capacity"][node[pool], :, output[pool]], column[pool][:, None], -share[:, None])
    entries.put(rows["side"][node[~pool], output[~pool] - p.pools], column[~pool], -value[~pool])


def _links(p: Program, entries: Entries, columns: dict[str, Array], rows: dict[str, Array]) -> None:
    for name, term in (
        ("z", p.link_acquisition), ("x", p.link_placement), ("u", p.link_unserved), ("ud", p.link_deferred), ("r", p.link_rent),
    ):  # fmt: skip
        entries.put(rows["link"][term.index[0]], columns[name][term.index[1:]], term.value)
    entries.put(rows["link"], columns["link_slack"], p.link_slack_sign)


def _columns(p: Program, columns: dict[str, Array], width: int) -> tuple[Array, Array, Array]:
    """(cost, lower, upper)."""
    cost, lower, upper = np.zeros(width), np.zeros(width), np.full(width, np.inf)
    z, x, template, weight = columns["z"], columns["x"], p.template_of_node, p.node_weight
    cost[z], lower[z], upper[z] = p.acquisition_cost, p.acquisition_lower, p.acquisition_upper
    cost[x], upper[x] = weight[:, None, None] * p.placement_cost[template], p.placement_upper[template]
    cost[columns["u"]] = weight[:, None, None] * p.unserved_cost[template]
    cost[columns["ud"]] = weight[:, None] * p.unserved_cost_deferrable[template]
    cost[columns["r"]], upper[columns["r"]] = weight[:, None, None] * p.rent_cost, rent_box(p, Layout.of(p))
    for name, price, most, unit in (
        ("side_slack", p.side_slack_cost, p.side_slack_upper, weight[:, None]),
        ("link_slack", p.link_slack_cost, p.link_slack_upper, 1.0),
    ):
        has = np.isfinite(price)
        cost[columns[name]], upper[columns[name]] = unit * np.where(has, price, 0.0), np.where(has, most, 0.0)
    return cost, lower, upper


def _sides_of_rows(p: Program, rows: dict[str, Array], height: int) -> tuple[Array, Array]:
    """(lower, upper) of every row."""
    lower, upper = np.full(height, -np.inf), np.full(height, np.inf)
    held = p.held_base[p.state_of_node]
    for name, right in (("demand", p.demand), ("deferrable", p.demand_deferrable)):
        lower[rows[name]] = upper[rows[name]] = right
    upper[rows["capacity"]] = (p.availability * held[:, : p.pools])[:, None, :]
    upper[rows["side"]] = held[:, p.pools :]
    lower[rows["limit"]], upper[rows["limit"]] = p.limit_lower, p.limit_upper
    lower[rows["link"]], upper[rows["link"]] = p.link_lower, p.link_upper
    return lower, upper
