"""The bound and the repair once more in jnp, for use under jit: the same formulas, in Program layout, without status.

`arrays(program)` is the program as a dictionary of jnp arrays (a pytree; every size is a shape, so one compilation serves all programs of
one shape). `lower_bound_jnp` agrees with `bound.lower_bound` before its rounding term to 1e-12 relative. `repair_jnp` covers what needs no
linear program: z is clipped and blended towards a strictly feasible point, the recourse is trimmed and refilled, slacks take what side and
linking rows lack; `upper_bound_jnp` prices the result and says by how much its worst row still fails. Only numpy's certificate gives a
status.
"""

from __future__ import annotations

from optimizer.program.twin_bound import arrays, lower_bound_jnp, multiplier_arrays, plan_arrays
from optimizer.program.twin_repair import cost_jnp, repair_jnp, upper_bound_jnp, violation_jnp

__all__ = ["arrays", "cost_jnp", "lower_bound_jnp", "multiplier_arrays", "plan_arrays", "repair_jnp", "upper_bound_jnp", "violation_jnp"]
