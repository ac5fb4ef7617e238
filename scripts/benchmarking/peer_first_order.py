"""First-order methods: OR-Tools' PDLP and MPAX. Each is run with tighter tolerances until our certificate accepts its answer; the time is
that of the accepted run alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sparse

from optimizer.program.certificate import certify
from optimizer.program.program import Array, Program
from optimizer.simplex.extensive import Extensive, extensive_form
from scripts.benchmarking.machine import cores
from scripts.benchmarking.proposal import Goal, NotAvailableError, Proposal, UnfinishedError

TOLERANCES = (1e-6, 1e-8, 1e-10)  # relative and absolute, tried in turn

Attempt = Callable[[float, float], tuple[Array, Array, int, str]]  # (tolerance, seconds left) -> columns, row duals, iterations, status


def ortools_pdlp(program: Program, goal: Goal) -> Proposal:
    """OR-Tools' PDLP on all cores."""
    try:
        from ortools.pdlp import solve_log_pb2, solvers_pb2
        from ortools.pdlp.python import pdlp
    except ImportError as error:
        raise NotAvailableError(f"ortools cannot be imported ({error}); pip install capacity-optimizer[peers]") from error
    start = time.perf_counter()
    form = extensive_form(program)
    model: Any = pdlp.QuadraticProgram()
    model.objective_vector, model.constraint_matrix = form.cost, form.matrix.tocsc()
    model.constraint_lower_bounds, model.constraint_upper_bounds = form.row_lower, form.row_upper
    model.variable_lower_bounds, model.variable_upper_bounds = form.lower, form.upper

    def attempt(tolerance: float, left_s: float) -> tuple[Array, Array, int, str]:
        parameters = solvers_pb2.PrimalDualHybridGradientParams()
        parameters.num_threads = cores()
        criteria = parameters.termination_criteria
        criteria.time_sec_limit = left_s
        criteria.simple_optimality_criteria.eps_optimal_absolute = tolerance
        criteria.simple_optimality_criteria.eps_optimal_relative = tolerance
        result = pdlp.primal_dual_hybrid_gradient(model, parameters)
        reason = solve_log_pb2.TerminationReason.Name(result.solve_log.termination_reason)
        if result.solve_log.termination_reason == solve_log_pb2.TERMINATION_REASON_TIME_LIMIT:
            raise UnfinishedError(f"PDLP did not reach {tolerance:g} within the limit of {goal.limit_s:.0f} s", timed_out=True)
        return np.asarray(result.primal_solution), np.asarray(result.dual_solution), int(result.solve_log.iteration_count), reason

    return _tightened(program, goal, form, attempt, "PDLP", time.perf_counter() - start)


def mpax_r2hpdhg(program: Program, goal: Goal) -> Proposal:
    """MPAX's r2HPDHG in float64 on JAX's default device. It knows no time limit."""
    from optimizer.devices import prepare

    try:
        import mpax
    except ImportError as error:
        raise NotAvailableError(f"mpax cannot be imported ({error}); pip install capacity-optimizer[peers]") from error
    session = prepare()
    import jax
    import jax.numpy as jnp

    start = time.perf_counter()
    form = extensive_form(program)
    equal = form.row_lower == form.row_upper
    above, below = ~equal & np.isfinite(form.row_lower), ~equal & np.isfinite(form.row_upper)
    rows = sparse.vstack([form.matrix[above], -form.matrix[below]]).tocsr()
    right = np.concatenate([form.row_lower[above], -form.row_upper[below]])
    arrays = [jnp.asarray(a) for a in (form.row_lower[equal], right, form.cost, form.lower, form.upper)]
    problem = mpax.create_lp(arrays[2], form.matrix[equal], arrays[0], rows, arrays[1], arrays[3], arrays[4])

    def attempt(tolerance: float, left_s: float) -> tuple[Array, Array, int, str]:
        solver = mpax.r2HPDHG(eps_abs=tolerance, eps_rel=tolerance, verbose=False)
        result = jax.block_until_ready(jax.jit(solver.optimize)(problem))
        given = np.asarray(result.dual_solution)
        duals = np.zeros(len(equal))
        first, second = int(equal.sum()), int(equal.sum() + above.sum())
        duals[equal] = given[:first]
        duals[above] += given[first:second]
        duals[below] -= given[second:]
        return np.asarray(result.primal_solution), duals, int(result.iteration_count), f"status {int(result.termination_status)}"

    proposal = _tightened(program, goal, form, attempt, "r2HPDHG", time.perf_counter() - start)
    proposal.device = session.device
    return proposal


def _tightened(program: Program, goal: Goal, form: Extensive, attempt: Attempt, algorithm: str, model_s: float) -> Proposal:
    spent: list[float] = []
    reached: list[str] = []
    for tolerance in TOLERANCES:
        left = goal.limit_s - sum(spent)
        if left <= 0:
            break
        start = time.perf_counter()
        try:
            columns, duals, iterations, status = attempt(tolerance, left)
        except UnfinishedError as error:
            raise UnfinishedError("; ".join([str(error), *reached]), error.timed_out) from error
        spent.append(time.perf_counter() - start)
        plan, multipliers = form.plan(columns), form.multipliers(duals)
        seconds = {"model": model_s, "solve": spent[-1], "total": spent[-1]}
        detail = {"tolerance": tolerance, "status": status, "seconds_of_attempts": list(spent)}
        proposal = Proposal(plan, multipliers, iterations, algorithm, seconds, detail)
        gap = certify(program, plan, multipliers, goal.gap_relative).gap_relative
        if gap <= goal.gap_relative:
            return proposal
        reached.append(f"at {tolerance:g} it took {spent[-1]:.1f} s and {iterations} iterations to a certified gap of {gap:.1e}")
    return proposal
