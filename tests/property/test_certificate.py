"""The judge is never wrong: on every kind of program, for good and corrupted plans and multipliers, against HiGHS on the extensive form."""

from __future__ import annotations

import ast
import itertools
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from optimizer.program.bound import clip_multipliers, lower_bound
from optimizer.program.certificate import Status, certify, cost, infeasible_certificate
from optimizer.program.infeasible import farkas_margin, find_infeasibility
from optimizer.program.program import Multipliers, Plan, Program, Sparse
from optimizer.program.repair import repair
from optimizer.program.rows import violation
from tests.oracle.extensive import Result, extensive_form, solve_extensive
from tests.oracle.random_programs import FAMILIES, infeasible_program, random_program, with_derived_bounds

SEEDS = range(5)
CASES = [(family, seed) for family in FAMILIES for seed in SEEDS]
SLACK = 1e-9  # of the optimum: what HiGHS's own tolerances allow


@cache
def solved(family: str, seed: int) -> tuple[Program, Result]:
    """A random program and what HiGHS says about it."""
    program = random_program(seed, **FAMILIES[family]).check()
    result = solve_extensive(program)
    assert result.status == "optimal"
    return program, result


def scale_of(program: Program, result: Result) -> float:
    """What relative means here: the optimum without the constant."""
    return max(1.0, abs(result.objective - program.constant))


def changed(values: Plan | Multipliers, change) -> Plan | Multipliers:
    """The same object with a change applied to every array."""
    return type(values)(*(change(np.array(getattr(values, f.name), dtype=float)) for f in fields(values)))


def judged(program: Program, result: Result, plan: Plan, multipliers: Multipliers, tolerance: float = 1e-6):
    """Certify, and hold what must always hold."""
    certificate = certify(program, plan, multipliers, tolerance)
    allowed = SLACK * scale_of(program, result)
    assert certificate.status in (Status.CERTIFIED, Status.FEASIBLE), certificate.reason
    assert certificate.lower_bound <= result.objective + allowed
    assert certificate.objective >= result.objective - allowed
    assert violation(program, certificate.plan).feasible
    assert np.isclose(certificate.objective, cost(program, certificate.plan)["total"], rtol=1e-12)
    if certificate.status is Status.CERTIFIED:
        scale = max(1.0, abs(certificate.objective - certificate.penalties - program.constant))
        assert certificate.objective - result.objective <= tolerance * scale + allowed
    return certificate


@pytest.mark.parametrize(("family", "seed"), CASES)
def test_an_optimal_pair_is_certified(family: str, seed: int) -> None:
    program, result = solved(family, seed)
    certificate = judged(program, result, result.plan, result.multipliers, 1e-8)
    assert certificate.status is Status.CERTIFIED, certificate.reason
    assert abs(certificate.objective - result.objective) <= 1e-9 * scale_of(program, result)
    assert abs(certificate.lower_bound - result.objective) <= 1e-9 * scale_of(program, result)


@pytest.mark.parametrize(("family", "seed"), CASES)
def test_noise_costs_no_more_than_noise(family: str, seed: int) -> None:
    """A plan that is off by 1e-9 is repaired at a cost of that order; slack prices multiply it where a row has no other way out."""
    program, result = solved(family, seed)
    rng = np.random.default_rng(seed)
    noisy = changed(result.plan, lambda a: a * (1 + 1e-9 * rng.standard_normal(a.shape)))
    certificate = judged(program, result, noisy, result.multipliers)
    assert certificate.objective - result.objective <= 5e-8 * scale_of(program, result)


def corruptions(rng: np.random.Generator):
    """(name, change of one array) that a broken solver might hand over."""
    for scale in (1e-12, 1e-9, 1e-6, 1e-3, 1e-1, 1e1, 1e3):
        yield f"noise {scale}", lambda a, s=scale: a * (1 + s * rng.standard_normal(a.shape)) + s * rng.standard_normal(a.shape)
    yield "zeros", lambda a: 0 * a
    yield "flipped", lambda a: -a
    yield "huge", lambda a: a * 1e30
    yield "enormous", lambda a: a * 1e290
    yield "tiny", lambda a: a * 1e-30
    yield "nan", lambda a: np.where(rng.random(a.shape) < 0.2, np.nan, a)
    yield "all nan", lambda a: a * np.nan
    yield "inf", lambda a: np.where(rng.random(a.shape) < 0.2, rng.choice([np.inf, -np.inf], a.shape), a)
    yield "shuffled", lambda a: rng.permutation(a.ravel()).reshape(a.shape)
    yield "rolled", lambda a: np.roll(a, 1)
    yield "one spike", _spike


def _spike(a):
    if a.size:
        a.flat[a.size // 2] = 1e6
    return a


@pytest.mark.parametrize(("family", "seed"), CASES)
def test_corruption_is_never_certified(family: str, seed: int) -> None:
    program, result = solved(family, seed)
    rng = np.random.default_rng([seed, 1])
    names = [name for name, _ in corruptions(rng)]
    for number, (_, change) in enumerate(corruptions(rng)):
        if number % 5 != seed:  # the five seeds of a family share the list
            continue
        judged(program, result, changed(result.plan, change), result.multipliers)
        judged(program, result, result.plan, changed(result.multipliers, change))
        both = changed(result.plan, change), changed(result.multipliers, change)
        certificate = judged(program, result, *both)
        if names[number] in ("zeros", "all nan"):
            assert certificate.gap >= 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_optimum_of_another_program_is_judged_on_its_merits(family: str) -> None:
    program, result = solved(family, 0)
    other, answer = solved(family, 1)
    same_shape = all(np.shape(getattr(answer.plan, f.name)) == np.shape(getattr(result.plan, f.name)) for f in fields(Plan))
    if same_shape:
        judged(program, result, answer.plan, answer.multipliers)
    else:
        assert certify(program, answer.plan, answer.multipliers, 1e-6).status is Status.FAILED
    assert other is not program


@pytest.mark.parametrize(("family", "seed"), [*itertools.product(["plain", "tree_all_rows", "boxed", "rent_open", "sides"], range(3))])
def test_the_bound_lies_below_the_exact_lagrangian(family: str, seed: int) -> None:
    """In rational arithmetic, for multipliers of many sizes, and no lower than its rounding term explains."""
    program, result = solved(family, seed)
    rng = np.random.default_rng(seed)
    for size in (0.0, 1e-6, 1.0, 1e4):
        noisy = changed(result.multipliers, lambda a, s=size: a * (1 + s * rng.standard_normal(a.shape)))
        clipped = clip_multipliers(program, noisy)
        bound, exact = lower_bound(program, noisy), exact_lagrangian(program, clipped)
        assert Fraction(bound.value) <= exact
        assert exact - Fraction(bound.value) <= Fraction(2 * bound.rounding)


def exact_lagrangian(p: Program, m: Multipliers) -> Fraction:
    """min over boxes and demand rows of cost - multipliers * (rows - sides), in fractions, from the extensive form's own matrix."""
    form = extensive_form(p)
    duals = np.zeros(len(form.row_lower))
    for name in ("capacity", "side", "limit", "link"):
        duals[form.rows[name]] = getattr(m, name)
    total = Fraction(form.constant)
    for i in np.nonzero(duals)[0]:
        total += Fraction(duals[i]) * Fraction(float(form.row_lower[i] if duals[i] > 0 else form.row_upper[i]))
    reduced = [Fraction(float(c)) for c in form.cost]
    matrix = form.matrix.tocoo()
    for i, j, value in zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True):
        if duals[i]:
            reduced[j] -= Fraction(duals[i]) * Fraction(value)
    in_demand: dict[int, list[tuple[int, Fraction]]] = {int(i): [] for name in ("demand", "deferrable") for i in form.rows[name].ravel()}
    tied = set()
    for i, j, value in zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True):
        if i in in_demand:
            in_demand[i].append((j, Fraction(value)))
            tied.add(j)
    for j, price in enumerate(reduced):
        if j not in tied:
            side = form.lower[j] if price >= 0 else form.upper[j]
            total += price * Fraction(float(side)) if price else 0
    for i, columns in in_demand.items():
        left = Fraction(float(form.row_lower[i]))
        for rate, j, unit in sorted((reduced[j] / unit, j, unit) for j, unit in columns):
            taken = min(left, unit * Fraction(float(form.upper[j])))
            total += rate * taken
            left -= taken
    return total


@pytest.mark.parametrize(
    ("family", "seed"), [*itertools.product(["plain", "limits", "tree_all_rows", "zero_width", "degenerate", "cvar"], range(5))]
)
def test_infeasibility_is_proven_and_agrees_with_highs(family: str, seed: int) -> None:
    program = infeasible_program(seed, **FAMILIES[family]).check()
    assert solve_extensive(program).status == "infeasible"
    found = find_infeasibility(program)
    assert found is not None
    assert farkas_margin(program, found.farkas) > 0
    assert infeasible_certificate(program, found).status is Status.INFEASIBLE
    assert found.shortfalls and found.conflict
    for dropped in found.conflict:  # none of the limits named can be spared
        lower, upper = np.full(program.limits, -np.inf), np.full(program.limits, np.inf)
        rest = [i for i in found.conflict if i != dropped]
        lower[rest], upper[rest] = program.limit_lower[rest], program.limit_upper[rest]
        assert find_infeasibility(replace(program, limit_lower=lower, limit_upper=upper)) is None
    nothing = random_program(seed, **FAMILIES[family])
    plan, multipliers = solved(family, seed)[1].plan, solved(family, seed)[1].multipliers
    assert nothing.limits == program.limits - 2
    wider = replace(multipliers, limit=np.append(multipliers.limit, [0.0, 0.0]))
    assert certify(program, plan, wider, 1e-6).status is Status.FAILED


@pytest.mark.parametrize(("family", "seed"), CASES)
def test_feasible_programs_are_not_called_infeasible(family: str, seed: int) -> None:
    program, _ = solved(family, seed)
    assert find_infeasibility(program) is None
    wrong = np.random.default_rng(seed).standard_normal(program.limits)
    assert farkas_margin(program, wrong) <= 0


def test_a_plan_on_a_derived_bound_is_refused() -> None:
    program, result = solved("plain", 2)
    at = int(np.argmax(result.z))
    assert result.z[at] > 1
    tight = replace(
        program, acquisition_upper=np.where(np.arange(program.acquisitions) == at, result.z[at] * 0.5, program.acquisition_upper)
    )
    answer = solve_extensive(tight)
    stated = certify(tight, answer.plan, answer.multipliers, 1e-8)
    derived = certify(with_derived_bounds(tight, at), answer.plan, answer.multipliers, 1e-8)
    assert stated.status is Status.CERTIFIED
    assert derived.status is Status.FAILED
    assert derived.on_derived_bound == (at,)
    assert f"acquisition {at}" in derived.reason


def test_wrong_shapes_fail_with_a_sentence() -> None:
    program, result = solved("plain", 0)
    short = replace(result.plan, x=result.plan.x[:-1])
    assert certify(program, short, result.multipliers, 1e-8).status is Status.FAILED
    flat = replace(result.multipliers, capacity=result.multipliers.capacity.ravel())
    assert certify(program, result.plan, flat, 1e-8).status is Status.FAILED


def test_a_tolerance_that_is_no_number_certifies_nothing() -> None:
    program, result = solved("plain", 0)
    assert certify(program, result.plan, result.multipliers, float("nan")).status is Status.FEASIBLE


def without_pairs(program: Program) -> Program:
    """Nothing can be placed anywhere."""
    none = np.zeros(0, np.int64)
    empty = {name: getattr(program, name)[..., :0] for name in ("pair_capacity", "placement_cost", "placement_upper", "side_pair")}
    return replace(program, pair_stream=none, pair_pool=none, **empty)


def without_acquisitions(program: Program) -> Program:
    """Nothing can be acquired."""
    columns = ("signed_at", "acquisition_cost", "acquisition_lower", "acquisition_upper", "upper_is_derived")
    empty = {name: getattr(program, name)[:0] for name in columns}
    free = np.full(program.limits, np.inf)
    return replace(program, held_matrix=Sparse.empty(3), limit_matrix=Sparse.empty(2), limit_lower=-free, limit_upper=free, **empty)


def without_limits(program: Program) -> Program:
    """Acquisitions are bounded by their boxes alone."""
    return replace(program, limit_matrix=Sparse.empty(2), limit_lower=np.zeros(0), limit_upper=np.zeros(0))


@pytest.mark.parametrize("less", [without_pairs, without_acquisitions, without_limits])
@pytest.mark.parametrize(
    "knobs", [{}, {"served": 0, "deferrable": 2}, {"sides": 1, "deferrable": 1}, {"served": 0, "deferrable": 0, "free": 1}]
)
def test_axes_may_be_empty(less, knobs: dict) -> None:
    program = less(random_program(3, **knobs)).check()
    result = solve_extensive(program)
    certificate = judged(program, result, result.plan, result.multipliers, 1e-8)
    assert certificate.status is Status.CERTIFIED
    assert find_infeasibility(program) is None


def test_a_limit_without_columns_is_a_constant() -> None:
    program = random_program(0)
    empty = replace(program, limit_matrix=Sparse.empty(2), limit_lower=np.array([5.0]), limit_upper=np.array([np.inf]))
    found = find_infeasibility(empty.check())
    assert found is not None and found.conflict == (0,)
    assert found.sentence.startswith("'limit 0' (at least 5) cannot hold")
    assert find_infeasibility(replace(empty, limit_lower=np.array([-5.0]))) is None


def test_repair_leaves_its_inputs_alone() -> None:
    program, result = solved("tree_all_rows", 0)
    before = changed(result.plan, np.copy), changed(result.multipliers, np.copy)
    repaired = repair(program, result.plan, result.multipliers)
    turned = repair(program, changed(result.plan, np.asfortranarray), result.multipliers)
    assert all(np.array_equal(getattr(repaired, f.name), getattr(turned, f.name)) for f in fields(Plan))
    for values, kept in zip((result.plan, result.multipliers), before, strict=True):
        assert all(np.array_equal(getattr(values, f.name), getattr(kept, f.name)) for f in fields(values))


def test_a_penalty_does_not_hide_the_plan() -> None:
    """gap_relative is measured against the cost without penalties and constants."""
    program, result = solved("zero_capacity", 0)
    huge = replace(program, constant=1e9)
    certificate = certify(huge, changed(result.plan, lambda a: 0 * a), result.multipliers, 1e-6)
    assert certificate.gap_relative == pytest.approx(certificate.gap / max(1.0, abs(certificate.objective - certificate.penalties - 1e9)))
    assert certificate.status is Status.FEASIBLE


def test_the_certificate_knows_neither_solver_nor_models() -> None:
    folder = Path(certify.__code__.co_filename).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("optimizer"):
                assert module.startswith("optimizer.program"), f"{path.name} imports {module}"
