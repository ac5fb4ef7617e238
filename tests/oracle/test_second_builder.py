"""The product's builder, and its plans, against the second builder, on every small case."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.oracle.extensive import solve_extensive
from tests.oracle.second_builder import SecondResult, solve_case

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
NAMES = [path.stem for path in CASES]
INFEASIBLE = [path for path in CASES if "infeasible" in path.stem]
REFUSED = [path for path in CASES if "derived_bound" in path.stem]
PLANNED = [path for path in CASES if path not in INFEASIBLE and path not in REFUSED]


@cache
def second(path: Path) -> SecondResult:
    """The second builder's answer, once per case."""
    return solve_case(path)


@pytest.mark.parametrize("path", CASES, ids=NAMES)
def test_program_has_the_same_optimum(path: Path) -> None:
    """The product's program solved by HiGHS: independent of the product's solver."""
    from optimizer.build import build
    from optimizer.spec import load_case

    expected = second(path)
    answer = solve_extensive(build(load_case(path)).program)
    assert answer.status == expected.status
    if expected.status == "optimal":
        assert answer.objective == pytest.approx(expected.objective, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("path", [path for path in CASES if path not in INFEASIBLE], ids=lambda path: path.stem)
def test_program_has_the_same_bounds(path: Path) -> None:
    """Upper bounds of the acquisitions, given or derived, also where they do not bind."""
    from optimizer.build import build
    from optimizer.spec import load_case

    upper = np.sort(np.asarray(build(load_case(path)).program.acquisition_upper))
    assert upper == pytest.approx(np.sort(list(second(path).upper.values())), rel=1e-9)


@pytest.mark.parametrize("path", PLANNED, ids=lambda path: path.stem)
def test_plan_has_the_same_optimum(path: Path) -> None:
    """The product from end to end: its two bounds hold the optimum between them, and both are within 1e-8 of it."""
    import optimizer

    plan = optimizer.plan(optimizer.load(path), settings=optimizer.Settings(gap_relative=1e-9))
    expected = second(path).objective
    assert plan.lower_bound_usd <= expected + 1e-10 * abs(expected)
    assert plan.objective_usd >= expected - 1e-10 * abs(expected)
    assert plan.objective_usd == pytest.approx(expected, rel=1e-8)
    assert plan.lower_bound_usd == pytest.approx(expected, rel=1e-8)
    assert plan.status in ("CERTIFIED", "FEASIBLE")  # FEASIBLE: the gap is stated against a smaller amount than the optimum


@pytest.mark.parametrize("path", INFEASIBLE, ids=lambda path: path.stem)
def test_infeasible_plan(path: Path) -> None:
    """Nothing meets the limits, and the plan says so."""
    import optimizer

    plan = optimizer.plan(optimizer.load(path), settings=optimizer.Settings(gap_relative=1e-9))
    assert plan.status == "INFEASIBLE"


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_plan_on_a_derived_bound_is_refused(path: Path) -> None:
    """An optimum on a bound that nobody gave is an error, not a result."""
    import optimizer

    assert second(path).on_derived_bound
    plan = optimizer.plan(optimizer.load(path), settings=optimizer.Settings(gap_relative=1e-9))
    assert plan.status == "FAILED"
