"""Why no acquisitions satisfy the limits, proven by Farkas multipliers that numpy checks over the box.

Recourse is always feasible (`recourse_check`), so a program is infeasible only in z. An elastic linear program finds the least weighted
relaxation of the limits; its multipliers y prove infeasibility where, over every z in the box,

    max y'Fz  <  sum_{y>0} y limit_lower + sum_{y<0} y limit_upper

with a rounding bound on both sides. A deletion filter then leaves a set of limits of which none can be dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.program.layout import limit_operator
from optimizer.program.program import Array, Program
from optimizer.program.project import acquisitions_inside

EPS = float(np.finfo(float).eps)
FILTERED = 200  # the deletion filter tries at most this many limits


@dataclass(frozen=True)
class Shortfall:
    """A limit that the least relaxation must move: by how much, on which side ("lower" or "upper")."""

    index: int
    name: str
    amount: float
    side: str


@dataclass(frozen=True)
class Infeasibility:
    """Proof and reason: multipliers [L], by how much the box misses them (> 0), and the limits that contradict each other."""

    farkas: Array
    margin: float
    conflict: tuple[int, ...]
    shortfalls: tuple[Shortfall, ...]
    sentence: str


def find_infeasibility(program: Program) -> Infeasibility | None:
    """A checked proof that the limits leave no acquisitions, or None where there are some (or no proof holds)."""
    if not program.limits or acquisitions_inside(program, program.acquisition_lower) is not None:
        return None
    everything = np.arange(program.limits)
    found = _relax(program, everything)
    if found is None:
        return None
    below, above, farkas = found
    if farkas_margin(program, farkas) <= 0:
        return None
    conflict = _filter(program, np.nonzero(farkas)[0])
    narrowed = _relax(program, conflict)
    if narrowed is not None and farkas_margin(program, narrowed[2]) > 0:
        farkas = narrowed[2]
    conflict = np.nonzero(farkas)[0]
    amount = np.maximum(below, above)
    short = tuple(
        Shortfall(int(i), limit_name(program, int(i)), float(amount[i]), "lower" if below[i] >= above[i] else "upper")
        for i in np.nonzero(amount > 1e-9 * (1 + amount.max()))[0]
    )
    return Infeasibility(
        farkas, farkas_margin(program, farkas), tuple(conflict.tolist()), short, _sentence(program, farkas, conflict, short)
    )


def farkas_margin(program: Program, farkas: Array) -> float:
    """By how much every z in the box misses the combination of limits, after a rounding bound: > 0 proves infeasibility."""
    if farkas.shape != (program.limits,) or not np.isfinite(farkas).all():
        return -np.inf
    bound = np.where(farkas > 0, program.limit_lower, np.where(farkas < 0, program.limit_upper, 0.0))
    if not np.isfinite(bound).all():
        return -np.inf
    rows = limit_operator(program)
    combined, size = rows.T @ farkas, abs(rows).T @ np.abs(farkas)
    widest = np.maximum(np.abs(program.acquisition_lower), np.abs(program.acquisition_upper))
    most = np.maximum(combined * program.acquisition_lower, combined * program.acquisition_upper).sum()
    terms = program.limits + program.acquisitions + 16
    rounding = terms * EPS * float((size * widest).sum() + (np.abs(farkas) * np.abs(bound)).sum())
    return float((farkas * bound).sum() - most - rounding)


def limit_name(program: Program, index: int) -> str:
    """The planner's name of a limit, or its number."""
    names = program.names.limit
    return names[index] if index < len(names) and names[index] else f"limit {index}"


def _relax(program: Program, kept: Array) -> tuple[Array, Array, Array] | None:
    """(below [L], above [L], multipliers [L]) of the least weighted relaxation of the kept limits; None where none is needed."""
    import scipy.sparse as sparse
    from scipy.optimize import linprog

    rows = limit_operator(program).csr()[kept]
    largest = abs(rows).max(axis=1).toarray().ravel() if len(kept) else np.zeros(0)
    scale = 1.0 / np.where(largest > 0, largest, 1.0)
    lower, upper = program.limit_lower[kept], program.limit_upper[kept]
    has_lower, has_upper = np.isfinite(lower), np.isfinite(upper)
    scaled = sparse.diags(scale).dot(rows).tocsr()
    matrix = sparse.vstack([-scaled[has_lower], scaled[has_upper]]).tocsr()
    bounds = np.concatenate([-(lower * scale)[has_lower], (upper * scale)[has_upper]])
    count = len(bounds)
    if not count:
        return None
    box = np.stack([program.acquisition_lower, program.acquisition_upper], axis=1)
    answer = linprog(
        np.concatenate([np.zeros(program.acquisitions), np.ones(count)]),
        A_ub=sparse.hstack([matrix, -sparse.identity(count)]).tocsr(),
        b_ub=bounds,
        bounds=np.concatenate([box, np.tile([0.0, np.inf], (count, 1))]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if answer.x is None or not answer.fun > 1e-11 * (1 + float(np.abs(bounds).max())):
        return None
    moved, price = answer.x[program.acquisitions :], np.maximum(-answer.ineqlin.marginals, 0.0)
    price[price < 1e-9 * price.max(initial=0.0)] = 0.0
    below, above, farkas = np.zeros(program.limits), np.zeros(program.limits), np.zeros(program.limits)
    middle = int(has_lower.sum())
    below[kept[has_lower]] = moved[:middle] / scale[has_lower]
    above[kept[has_upper]] = moved[middle:] / scale[has_upper]
    farkas[kept[has_lower]] += price[:middle] * scale[has_lower]
    farkas[kept[has_upper]] -= price[middle:] * scale[has_upper]
    return below, above, farkas


def _filter(program: Program, rows: Array) -> Array:
    """Drop limits one by one as long as those left still contradict each other."""
    kept = rows
    for row in rows[:FILTERED]:
        without = kept[kept != row]
        if len(without) == len(kept):
            continue
        found = _relax(program, without)
        if found is not None and farkas_margin(program, found[2]) > 0:
            kept = np.nonzero(found[2])[0]
    return kept


def _sentence(program: Program, farkas: Array, conflict: Array, short: tuple[Shortfall, ...]) -> str:
    """What a planner reads."""

    def ask(i: int) -> str:
        lower, upper = program.limit_lower[i], program.limit_upper[i]
        what = f"exactly {lower:.6g}" if lower == upper else f"at least {lower:.6g}" if farkas[i] > 0 else f"at most {upper:.6g}"
        return f"{limit_name(program, i)!r} ({what})"

    listed = [ask(int(i)) for i in conflict[:5]] + ([f"{len(conflict) - 5} more limits"] if len(conflict) > 5 else [])
    if len(listed) == 1:
        claim = f"{listed[0]} cannot hold with any acquisitions inside their bounds"
    else:
        claim = f"{', '.join(listed[:-1])} and {listed[-1]} cannot hold together"
    worst = sorted(short, key=lambda s: -s.amount)[:3]
    relief = "; ".join(f"{s.name!r} is {'short by' if s.side == 'lower' else 'exceeded by'} {s.amount:.6g}" for s in worst)
    return f"{claim}: at the least relaxation of the limits {relief}." if relief else f"{claim}."
