"""The program as one sparse LP, row by row as the contract states it, solved by HiGHS. Shares no code with bound, repair or solver.

Columns in this order: z [Z], x [N,B,P], u [N,B,served], ud [N,deferrable], r [N,B,G], e [N,K], e [R].
Rows: demand, deferrable (equalities), capacity, side (upper), limits, linking (two-sided).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from optimizer.program.program import Array, Multipliers, Plan, Program


@dataclass(frozen=True)
class Extensive:
    """minimise cost.v + constant, row_lower <= matrix v <= row_upper, lower <= v <= upper."""

    cost: Array
    constant: float
    matrix: sp.csr_matrix
    row_lower: Array
    row_upper: Array
    lower: Array
    upper: Array
    columns: dict[str, Array]  # name -> column numbers in the variable's shape
    rows: dict[str, Array]  # name -> row numbers in the row's shape

    def plan(self, v: Array) -> Plan:
        """The columns by name."""
        c = self.columns
        return Plan(v[c["z"]], v[c["x"]], v[c["u"]], v[c["ud"]], v[c["r"]], v[c["side_slack"]], v[c["link_slack"]])

    def vector(self, plan: Plan) -> Array:
        """The plan as one column vector."""
        v = np.zeros(len(self.cost))
        for name, at in self.columns.items():
            v[at] = getattr(plan, name)
        return v


@dataclass(frozen=True)
class Result:
    """What HiGHS says; status is "optimal", "infeasible" or HiGHS's own words."""

    status: str
    objective: float
    z: Array
    plan: Plan | None
    multipliers: Multipliers | None


def boxes(p: Program) -> tuple[Array, Array]:
    """The finite boxes of x [N,B,P] and r [N,B,G], by the words of the contract, in loops."""
    x = np.zeros((p.nodes, p.blocks, p.pairs))
    r = np.array(p.rent_upper, dtype=float)
    for n in range(p.nodes):
        c = p.template_of_node[n]
        for b in range(p.blocks):
            for k in range(p.pairs):
                w = int(p.pair_stream[k])
                most = p.placement_upper[c, b, k]
                if w < p.served:
                    most = min(most, p.demand[n, b, w])
                elif w < p.served + p.deferrable:
                    most = min(most, p.demand_deferrable[n, w - p.served] / p.block_hours[c, b])
                x[n, b, k] = most
            for g in range(p.pools):
                if np.isinf(r[n, b, g]):
                    r[n, b, g] = sum(p.pair_capacity[c, k] * x[n, b, k] for k in range(p.pairs) if p.pair_pool[k] == g)
    return x, r


def extensive_form(p: Program) -> Extensive:
    """Every variable and row of the contract."""
    columns, count = {}, 0
    shapes = {
        "z": (p.acquisitions,),
        "x": (p.nodes, p.blocks, p.pairs),
        "u": (p.nodes, p.blocks, p.served),
        "ud": (p.nodes, p.deferrable),
        "r": (p.nodes, p.blocks, p.pools),
        "side_slack": (p.nodes, p.sides),
        "link_slack": (p.links,),
    }
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        columns[name] = count + np.arange(size).reshape(shape)
        count += size
    rows, height = {}, 0
    for name, shape in {
        "demand": (p.nodes, p.blocks, p.served),
        "deferrable": (p.nodes, p.deferrable),
        "capacity": (p.nodes, p.blocks, p.pools),
        "side": (p.nodes, p.sides),
        "limit": (p.limits,),
        "link": (p.links,),
    }.items():
        size = int(np.prod(shape))
        rows[name] = height + np.arange(size).reshape(shape)
        height += size

    i_list, j_list, v_list = [], [], []

    def put(row, column, value):
        row, column, value = np.broadcast_arrays(row, column, value)
        i_list.append(row.ravel())
        j_list.append(column.ravel())
        v_list.append(value.ravel().astype(float))

    lower, upper, cost = np.zeros(count), np.full(count, np.inf), np.zeros(count)
    row_lower, row_upper = np.full(height, -np.inf), np.full(height, np.inf)
    lower[columns["z"]], upper[columns["z"]], cost[columns["z"]] = p.acquisition_lower, p.acquisition_upper, p.acquisition_cost
    x_box, r_box = boxes(p)
    upper[columns["x"]], upper[columns["r"]] = x_box, r_box
    upper[columns["u"]], upper[columns["ud"]] = p.demand, p.demand_deferrable
    has = np.isfinite(p.side_slack_cost)
    upper[columns["side_slack"]] = np.where(has, p.side_slack_upper, 0.0)
    link_has = np.isfinite(p.link_slack_cost)
    upper[columns["link_slack"]] = np.where(link_has, p.link_slack_upper, 0.0)
    cost[columns["link_slack"]] = np.where(link_has, p.link_slack_cost, 0.0)
    x, u, ud, r = columns["x"], columns["u"], columns["ud"], columns["r"]
    for n in range(p.nodes):
        c, q, weight = p.template_of_node[n], p.state_of_node[n], p.node_weight[n]
        cost[x[n]] = weight * p.placement_cost[c]
        cost[u[n]] = weight * p.unserved_cost[c]
        cost[ud[n]] = weight * p.unserved_cost_deferrable[c]
        cost[r[n]] = weight * p.rent_cost[n]
        cost[columns["side_slack"][n]] = weight * np.where(has[n], p.side_slack_cost[n], 0.0)
        for k, w in enumerate(p.pair_stream):
            if w < p.served:
                put(rows["demand"][n, :, w], x[n, :, k], 1.0)
            elif w < p.served + p.deferrable:
                put(rows["deferrable"][n, w - p.served], x[n, :, k], p.block_hours[c])
            put(rows["capacity"][n, :, p.pair_pool[k]], x[n, :, k], p.pair_capacity[c, k])
        put(rows["demand"][n], u[n], 1.0)
        put(rows["deferrable"][n], ud[n], 1.0)
        put(rows["capacity"][n], r[n], -1.0)
        row_lower[rows["demand"][n]] = row_upper[rows["demand"][n]] = p.demand[n]
        row_lower[rows["deferrable"][n]] = row_upper[rows["deferrable"][n]] = p.demand_deferrable[n]
        row_upper[rows["capacity"][n]] = p.availability[n] * p.held_base[q, : p.pools]
        row_upper[rows["side"][n]] = p.held_base[q, p.pools :]
        for k in range(p.sides):
            put(rows["side"][n, k], x[n], p.side_pair[c, k])
            put(rows["side"][n, k], r[n], p.side_rent[n, k])
        put(rows["side"][n], columns["side_slack"][n], -1.0)
    state, output, column = p.held_matrix.index
    for q, o, i, value in zip(state, output, column, p.held_matrix.value, strict=True):
        for n in np.nonzero(p.state_of_node == q)[0]:
            if o < p.pools:
                put(rows["capacity"][n, :, o], columns["z"][i], -p.availability[n, o] * value)
            else:
                put(rows["side"][n, o - p.pools], columns["z"][i], -value)
    put(rows["limit"][p.limit_matrix.index[0]], columns["z"][p.limit_matrix.index[1]], p.limit_matrix.value)
    row_lower[rows["limit"]], row_upper[rows["limit"]] = p.limit_lower, p.limit_upper
    link = rows["link"]
    for term, at in (
        (p.link_acquisition, columns["z"]),
        (p.link_placement, x),
        (p.link_unserved, u),
        (p.link_deferred, ud),
        (p.link_rent, r),
    ):
        put(link[term.index[0]], at[term.index[1:]], term.value)
    put(link, columns["link_slack"], p.link_slack_sign)
    row_lower[link], row_upper[link] = p.link_lower, p.link_upper
    matrix = sp.csr_matrix((np.concatenate(v_list), (np.concatenate(i_list), np.concatenate(j_list))), shape=(height, count))
    return Extensive(cost, p.constant, matrix, row_lower, row_upper, lower, upper, columns, rows)


def solve_extensive(p: Program, tight: bool = True) -> Result:
    """HiGHS on the extensive form; tight: feasibility tolerances of 1e-10. Multipliers have the signs of `Multipliers`."""
    form = extensive_form(p)
    equal = form.row_lower == form.row_upper
    below = ~equal & np.isfinite(form.row_upper)
    above = ~equal & np.isfinite(form.row_lower)
    a_ub = sp.vstack([form.matrix[below], -form.matrix[above]]).tocsr()
    b_ub = np.concatenate([form.row_upper[below], -form.row_lower[above]])
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10} if tight else {}
    answer = linprog(
        form.cost,
        A_ub=a_ub if a_ub.shape[0] else None,
        b_ub=b_ub if a_ub.shape[0] else None,
        A_eq=form.matrix[equal] if equal.any() else None,
        b_eq=form.row_lower[equal] if equal.any() else None,
        bounds=np.stack([form.lower, form.upper], axis=1),
        method="highs",
        options=options,
    )
    if answer.status == 2:
        return Result("infeasible", np.nan, np.zeros(0), None, None)
    if answer.status != 0:
        return Result(answer.message, np.nan, np.zeros(0), None, None)
    duals = np.zeros(len(form.row_lower))
    if equal.any():
        duals[equal] = answer.eqlin.marginals
    if a_ub.shape[0]:
        duals[below] += answer.ineqlin.marginals[: int(below.sum())]
        duals[above] -= answer.ineqlin.marginals[int(below.sum()) :]
    multipliers = Multipliers(*(duals[form.rows[name]] for name in ("capacity", "side", "limit", "link")))
    plan = form.plan(answer.x)
    return Result("optimal", float(form.cost @ answer.x) + form.constant, plan.z, plan, multipliers)
