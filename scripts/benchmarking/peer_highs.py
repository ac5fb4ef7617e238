"""HiGHS: simplex, interior point with and without crossover, HiPO where the build has it; and scipy's own copy of it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.program.program import Program
from optimizer.simplex.extensive import Extensive, extensive_form
from scripts.benchmarking.machine import cores
from scripts.benchmarking.proposal import Goal, NotAvailableError, Proposal, Solve, UnfinishedError

ALGORITHMS = {
    "highs_simplex": {"solver": "simplex"},
    "highs_ipm": {"solver": "ipx", "run_crossover": "off"},
    "highs_ipm_crossover": {"solver": "ipx", "run_crossover": "on"},
    "highs_hipo": {"solver": "hipo", "run_crossover": "off"},
    "highs_pdlp": {"solver": "pdlp"},
}
SIGNS = {"HiPO": "hipo", "IPX": "ipx", "dual simplex": "dual simplex", "primal simplex": "primal simplex"}


def highs(name: str) -> Solve:
    """HiGHS with one of ALGORITHMS on all cores; everything else, tolerances, presolve and pricing, as HiGHS has it."""

    def run(program: Program, goal: Goal) -> Proposal:
        highspy = imported_highspy()
        start = time.perf_counter()
        form = extensive_form(program)
        model = model_of(form, name, goal.limit_s)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "highs.log"
            model.setOptionValue("log_file", str(log))
            began = time.perf_counter()
            ran = model.run()
            ended = time.perf_counter()
            model.setOptionValue("log_file", "")
            shown = log.read_text() if log.exists() else ""
        if ran == highspy.HighsStatus.kError:
            raise UnfinishedError("HiGHS says that its run is an error")
        status = model.modelStatusToString(model.getModelStatus())
        if model.getModelStatus() == highspy.HighsModelStatus.kTimeLimit:
            raise UnfinishedError(f"HiGHS reached its limit of {goal.limit_s:.0f} s", timed_out=True)
        solution, info = model.getSolution(), model.getInfo()
        if not solution.value_valid:
            raise UnfinishedError(f"HiGHS ends with {status} and no values")
        counts = iteration_counts(info)
        algorithm = algorithm_in(shown, counts)
        seconds = {"model": began - start, "solve": ended - began, "total": ended - began}
        detail = {**{f"{kind}_iterations": n for kind, n in counts.items() if n > 0}, "status": status}
        plan, multipliers = form.plan(np.asarray(solution.col_value)), form.multipliers(np.asarray(solution.row_dual))
        return Proposal(plan, multipliers, _leading(algorithm, counts), algorithm, seconds, detail)

    return run


def model_of(form: Extensive, name: str, limit_s: float) -> Any:
    """The form in HiGHS, ready to run one of ALGORITHMS. Raises NotAvailableError where highspy, or the algorithm, is missing."""
    highspy = imported_highspy()
    from optimizer.simplex.model import stated

    model = stated(form)
    for option, value in {**ALGORITHMS[name], "time_limit": float(limit_s), "threads": cores()}.items():
        if model.setOptionValue(option, value) != highspy.HighsStatus.kOk:
            raise NotAvailableError(f"this build of HiGHS {model.version()} refuses {option} = {value}")
    highspy.Highs.resetGlobalScheduler(True)  # it keeps the first number of threads of a process, and with another no run begins
    return model


def iteration_counts(info) -> dict[str, int]:
    """Of every algorithm, as HiGHS reports them; -1 or 0 where it did not run."""
    return {kind: int(getattr(info, f"{kind}_iteration_count")) for kind in ("simplex", "ipm", "crossover", "pdlp")}


def _leading(algorithm: str, counts: dict[str, int]) -> int:
    """Iterations of the algorithm that did the work."""
    kind = "ipm" if algorithm.startswith(("ipx", "hipo")) else "pdlp" if algorithm.startswith("pdlp") else "simplex"
    return max(counts[kind], 0)


def algorithm_in(log: str, counts: dict[str, int]) -> str:
    """What HiGHS's own log and counts show to have run: an algorithm that the build lacks may be replaced in silence."""
    found = [word for _, word in sorted((log.find(sign), word) for sign, word in SIGNS.items() if sign in log)]
    if counts["pdlp"] > 0:  # writes its log elsewhere
        found.append("pdlp")
    if counts["crossover"] > 0 or "Running crossover" in log:
        found.append("crossover")
    return " + ".join(dict.fromkeys(found)) or "none: presolve solved it"


def imported_highspy():
    """The module. Raises NotAvailableError where it is not installed."""
    try:
        import highspy
    except ImportError as error:
        raise NotAvailableError(f"highspy cannot be imported ({error}); pip install capacity-optimizer[peers]") from error
    return highspy


def scipy_highs(program: Program, goal: Goal) -> Proposal:
    """scipy's own copy of HiGHS, for machines without highspy; the algorithm is HiGHS's choice."""
    import scipy.sparse as sparse
    from scipy.optimize import linprog

    start = time.perf_counter()
    form = extensive_form(program)
    equal = form.row_lower == form.row_upper
    below, above = ~equal & np.isfinite(form.row_upper), ~equal & np.isfinite(form.row_lower)
    rows, right = sparse.vstack([form.matrix[below], -form.matrix[above]]), np.concatenate([form.row_upper[below], -form.row_lower[above]])
    bounds = np.stack([form.lower, form.upper], axis=1)
    began = time.perf_counter()
    answer = linprog(
        form.cost, A_ub=rows, b_ub=right, A_eq=form.matrix[equal], b_eq=form.row_lower[equal], bounds=bounds, method="highs",
        options={"time_limit": float(goal.limit_s)},
    )  # fmt: skip
    ended = time.perf_counter()
    if answer.status != 0:
        raise UnfinishedError(f"scipy's HiGHS ends with: {answer.message}", timed_out=answer.status == 1)
    duals = np.zeros(len(equal))
    duals[equal] = answer.eqlin.marginals
    duals[below] += answer.ineqlin.marginals[: int(below.sum())]
    duals[above] -= answer.ineqlin.marginals[int(below.sum()) :]
    seconds = {"model": began - start, "solve": ended - began, "total": ended - began}
    return Proposal(form.plan(answer.x), form.multipliers(duals), int(answer.nit), "chosen by HiGHS inside scipy", seconds)
