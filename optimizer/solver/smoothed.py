"""The plan of a program that a barrier smooths, with its derivatives in the program's own axes and units. See `adjoint`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from optimizer.program.program import Array, Plan, Program, array_fields
from optimizer.program.twin import arrays
from optimizer.program.twin_lagrangian import lagrangian_jnp
from optimizer.solver.adjoint import Central, Gaps, central_point, change_of_point, gaps_of
from optimizer.solver.interior_point import interior_point
from optimizer.solver.layout import Layout, make_layout
from optimizer.solver.readout import bound_part, columns_of, plan_part, row_part, rows_of_nothing
from optimizer.solver.structure import Both

GAP = 1e-3  # of the cost: how far above the optimum a barrier may leave the plan, where none is named
SOLVED = 1e-7  # relative; a linear system that is not solved as well gives no derivative
PLAN = ("z", "x", "u", "ud", "r", "side_slack", "link_slack")

Values = dict[str, Any]


@dataclass(frozen=True)
class SmoothedProgram:
    """`plan` minimises cost - barrier_usd * (sum of the logarithms of every variable and of every room below an upper bound). It costs at
    most `excess_usd` more than the best plan."""

    program: Program
    plan: Plan
    barrier_usd: float
    excess_usd: float
    layout: Layout
    point: Central

    def forward(self, above: Program, below: Program, step: float) -> Plan:
        """How the plan changes along a direction in the numbers: `above` and `below` stand `step` to both sides of the program on it.
        Raises ValueError where they have other rows or columns, ArithmeticError where the system cannot be solved."""
        layouts = [self._again(program) for program in (above, below)]
        up, down = (gaps_of(self.layout.shape, layout.data, self.point.state) for layout in layouts)
        gaps = jax.tree.map(lambda a, b: (a - b) / (2 * step), up, down)
        found = plan_part(self.layout, columns(self._change(gaps), "v"))
        found["z"] = found["z"] + (layouts[0].presolved.z_lower - layouts[1].presolved.z_lower) / (2 * step)
        return Plan(**found)

    def reverse(self, cotangent: Plan | Mapping[str, Array]) -> Values:
        """The derivative of a function of the plan with respect to every float array of the program, by the names of its fields (of a
        sparse field: of its values), from its derivative with respect to the plan's values; what a mapping leaves out is zero. Raises
        ValueError for a name that a plan does not have, ArithmeticError as `forward`."""
        of_plan, layout = self._whole(cotangent), self.layout
        no_width = jax.tree.map(np.zeros_like, columns(self.point.state, "w"))
        move = self._change(Gaps(rows_of_nothing(layout), columns_of(layout, of_plan), no_width))
        at, along = (
            (plan_part(layout, columns(s, "v")), row_part(layout, columns(s, "y")), bound_part(layout, columns(s, "zu")))
            for s in (self.point.state, move)
        )
        slopes = self._mixed(at, along)
        upper = self._from_upper()
        slopes["acquisition_lower"] = slopes["acquisition_lower"] + np.where(upper, 0.0, of_plan.z)
        slopes["acquisition_upper"] = slopes["acquisition_upper"] + np.where(upper, of_plan.z, 0.0)
        return slopes

    def _change(self, gaps: Gaps) -> Any:
        move, left = change_of_point(self.layout.shape, self.layout.data, self.point.state, self.point.factor, gaps)
        if not float(left) < SOLVED:
            raise ArithmeticError(f"the linear system of the derivative was solved to {float(left):.0e} only; ask for a larger barrier")
        return move

    def _mixed(self, at: tuple, along: tuple) -> Values:
        """d/d arrays of the change of the Lagrangian when point and multipliers move along a direction."""
        a = arrays(self.program) | {"base": self._from_upper()}
        names = [name for name in array_fields() if np.issubdtype(_numbers(a[name]).dtype, np.floating)]

        def change(numbers: Values) -> Any:
            filled = a | {name: {**a[name], "value": v} if isinstance(a[name], dict) else v for name, v in numbers.items()}
            return jax.jvp(lambda *point: lagrangian_jnp(filled, *point), at, along)[1]

        found = jax.jit(jax.grad(change))({name: _numbers(a[name]) for name in names})
        return {name: np.asarray(slope, float) / self.layout.scales.money for name, slope in found.items()}

    def _from_upper(self) -> Array:
        """bool[Z]: a limit holds the acquisition at its upper bound."""
        pre = self.layout.presolved
        return pre.z_fixed & (pre.z_lower > self.program.acquisition_lower)

    def _whole(self, cotangent: Plan | Mapping[str, Array]) -> Plan:
        given = {name: getattr(cotangent, name) for name in PLAN} if isinstance(cotangent, Plan) else cotangent
        unknown = sorted(set(given) - set(PLAN))
        if unknown:
            raise ValueError(f"a plan has no {', '.join(unknown)}; it has {', '.join(PLAN)}")
        shapes = {name: np.shape(getattr(self.plan, name)) for name in PLAN}
        return Plan(**{name: np.broadcast_to(np.asarray(given.get(name, 0.0), float), shape) for name, shape in shapes.items()})

    def _again(self, program: Program) -> Layout:
        """The layout of a neighbour, in the units of this one."""
        layout = make_layout(program, streamed=bool(self.layout.shape.streaming), scales=self.layout.scales)
        masks = ("z_fixed", "x_active", "r_active", "capacity_active", "limit_active")
        same = (np.array_equal(getattr(layout.presolved, mask), getattr(self.layout.presolved, mask)) for mask in masks)
        if layout.shape != self.layout.shape or not all(same):
            raise ValueError("the direction makes or removes rows or columns of the program, such as work that begins at zero")
        return layout


def smoothed_program(program: Program, barrier_usd: float | None = None) -> SmoothedProgram:
    """The smoothed plan; without a barrier, with the one that leaves it GAP above the optimum. Raises ArithmeticError where the barrier is
    too small to be reached."""
    layout = make_layout(program)
    count = float(layout.data.count)
    if barrier_usd is None:
        cost = 0.0
        for iterate in interior_point(layout, gap_relative=GAP):
            cost = abs(iterate.primal_cost)
            if iterate.gap_estimate < GAP:
                break
        barrier_usd = GAP * cost / count
    point = central_point(layout, barrier_usd / layout.scales.money)
    return SmoothedProgram(program, layout.plan(columns(point.state, "v")), barrier_usd, barrier_usd * count, layout, point)


def columns(state: Both, name: str) -> Both:
    """One array of every point of a state."""
    return Both(getattr(state.cells, name), getattr(state.own, name))


def _numbers(entry: Any) -> Any:
    return entry["value"] if isinstance(entry, dict) else entry
