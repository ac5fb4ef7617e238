"""The extensive form in HiGHS: forms without rows, columns or demand, numbers of every size, Ctrl-C, starts from a neighbour's basis."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import highspy
import numpy as np
import pytest

from optimizer.program.certificate import Status
from optimizer.program.program import Program, ProgramError
from optimizer.settings import Settings
from optimizer.simplex import model as models
from optimizer.simplex.by_column import ByColumn
from optimizer.simplex.extensive import Extensive, extensive_form
from optimizer.simplex.model import Model
from optimizer.simplex.propose import Start, propose
from optimizer.solution import SIMPLEX, Solution
from optimizer.solve import Neighbours, solve
from scripts.benchmarking.reference_family import reference_program
from tests.oracle.extensive import solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program
from tests.unit.test_warm_start import changed

SETTINGS = Settings(engine="simplex")
MANY = 100_000
TIGHT = 1e-10


def brackets_meet(one: Solution, other: Solution) -> bool:
    """Both hold the optimum between bound and plan, so each bound is below the other plan."""
    a, b = one.certificate, other.certificate
    return a.lower_bound <= b.objective and b.lower_bound <= a.objective


# odd forms ------------------------------------------------------------------------------------------------------------------------
def of_size(form: Extensive, rows: int, columns: int) -> Extensive:
    """The first rows and columns of a form."""
    matrix = form.matrix[:rows, :columns].tocsc()
    entries = ByColumn(matrix.indptr, matrix.indices, matrix.data, (rows, columns))
    return replace(
        form, entries=entries, cost=form.cost[:columns], lower=form.lower[:columns], upper=form.upper[:columns],
        row_lower=form.row_lower[:rows], row_upper=form.row_upper[:rows],
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (0, 0)])
def test_a_form_without_rows_or_columns_has_an_empty_answer(rows: int, columns: int) -> None:
    form = of_size(extensive_form(random_program(0)), rows, columns)
    vertex = Model(form).run(MANY, TIGHT)
    assert vertex is not None and vertex.values.shape == (columns,) and vertex.duals.shape == (rows,)
    assert np.array_equal(vertex.values, np.where(form.cost > 0, form.lower, vertex.values))


def without_acquisitions(program: Program) -> Program:
    none = np.zeros(program.acquisitions)
    return replace(program, acquisition_lower=none, acquisition_upper=none)


def without_demand(program: Program) -> Program:
    return replace(program, demand=np.zeros_like(program.demand), demand_deferrable=np.zeros_like(program.demand_deferrable))


EVEN_WITHOUT_ORDERS = ("plain", "one_node", "tree", "zero_capacity")
NOTHING = [(change, family) for family in EVEN_WITHOUT_ORDERS for change in (without_demand, without_acquisitions)]


@pytest.mark.parametrize(("change", "family"), [*NOTHING, (without_demand, "degenerate")])
def test_programs_of_nothing_are_certified(change: Callable[[Program], Program], family: str) -> None:
    program = change(random_program(0, **FAMILIES[family]))
    found = solve(program, SETTINGS)
    optimum = solve_extensive(program).objective
    assert found.status is Status.CERTIFIED and found.engine == SIMPLEX
    assert found.certificate.objective == pytest.approx(optimum, rel=1e-9, abs=1e-9)


# hostile numbers ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["demand", "acquisition_cost", "rent_cost", "pair_capacity", "held_base", "node_weight", "unserved_cost"])
@pytest.mark.parametrize("engine", ["simplex", "interior", "auto"])
def test_what_is_no_number_is_refused_before_any_engine(name: str, engine: str) -> None:
    program = random_program(0, **FAMILIES["plain"])
    values = np.array(getattr(program, name))
    values.reshape(-1)[0] = np.nan
    with pytest.raises(ProgramError, match=name):
        solve(replace(program, **{name: values}), Settings(engine=engine))


@pytest.mark.parametrize("family", ["plain", "tree_all_rows", "limits", "rent_open", "price_spread"])
@pytest.mark.parametrize("seed", range(3))
def test_prices_over_ten_decades(family: str, seed: int) -> None:
    """Every price times a power of ten of its own, from 1e-5 to 1e5; the certificate reaches its gap all the same."""
    program, draw = random_program(seed, **FAMILIES[family]), np.random.default_rng(seed)

    def spread(values: np.ndarray) -> np.ndarray:
        return values * 10.0 ** draw.uniform(-5, 5, values.shape)

    names = ("acquisition_cost", "rent_cost", "placement_cost")
    wide = replace(program, **{name: spread(getattr(program, name)) for name in names})
    found = solve(wide, SETTINGS)
    optimum = solve_extensive(wide).objective
    assert found.status is Status.CERTIFIED, found.certificate.reason
    slack = 1e-9 * max(1.0, abs(optimum))
    assert found.certificate.lower_bound <= optimum + slack and found.certificate.objective >= optimum - slack


@pytest.mark.parametrize("power", [-6, 6])
def test_dollars_and_chips_in_other_units(power: int) -> None:
    """All prices, or all amounts, in a unit a million times larger or smaller: the same plan in that unit."""
    program = random_program(0, **FAMILIES["plain"])
    unit = 10.0**power
    prices = {
        name: getattr(program, name) * unit
        for name in ("acquisition_cost", "rent_cost", "placement_cost", "unserved_cost", "unserved_cost_deferrable", "side_slack_cost")
    }
    dearer = replace(program, **prices, constant=program.constant * unit)
    usual, found = solve(program, SETTINGS), solve(dearer, SETTINGS)
    assert usual.status is Status.CERTIFIED
    assert found.certificate.objective / unit == pytest.approx(usual.certificate.objective, rel=1e-6, abs=1e-6 / unit)


# pivots and interruptions ---------------------------------------------------------------------------------------------------------
def test_no_more_pivots_than_allowed_and_the_next_run_goes_on() -> None:
    form = extensive_form(reference_program(2))
    whole = Model(form)
    whole.run(MANY, TIGHT)
    assert whole.pivots > 100
    parted = Model(form)
    parted.run(40, TIGHT)
    assert 0 < parted.pivots <= 40
    vertex = parted.run(MANY, TIGHT)
    assert vertex is not None and form.cost @ vertex.values == pytest.approx(form.cost @ whole.run(MANY, TIGHT).values, rel=1e-9)


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_ctrl_c_ends_a_run_before_its_end(after_s: float) -> None:
    """And the process can go on to use HiGHS. A shell starts what runs in the background with the signal ignored: here it is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    form = extensive_form(reference_program(40))
    assert len(form.row_upper) > models.AT_ONCE_ROWS
    model = Model(form)
    timer = threading.Timer(after_s, _thread.interrupt_main)
    try:
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            model.run(MANY, TIGHT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert model.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal
    assert Model(extensive_form(random_program(0))).run(MANY, TIGHT) is not None


def test_a_large_form_waits_in_turns_and_gets_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS's own thread, as for large forms, made to serve a small one."""
    program = random_program(0, **FAMILIES["tree_all_rows"])
    usual = solve(program, SETTINGS)
    monkeypatch.setattr(models, "AT_ONCE_ROWS", 0)
    again = solve(program, SETTINGS)
    assert (again.certificate.objective, again.iterations) == (usual.certificate.objective, usual.iterations)


# neighbours -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["plain", "limits", "cvar", "tree_all_rows"])
def test_the_order_of_warm_solves_does_not_change_an_answer(family: str) -> None:
    first = random_program(0, **FAMILIES[family])
    programs = [first, *(changed(first, seed) for seed in range(3))]
    alone = [solve(program, SETTINGS) for program in programs]
    assert all(found.status is Status.CERTIFIED for found in alone)
    for order in list(permutations(range(4)))[::3]:
        neighbours = Neighbours()
        for number in order:
            together = solve(programs[number], SETTINGS, neighbours)
            assert together.status is Status.CERTIFIED, order
            assert brackets_meet(together, alone[number]), (order, number)


def test_a_neighbours_basis_saves_pivots() -> None:
    program, neighbours = reference_program(5), Neighbours()
    solve(program, SETTINGS, neighbours)
    other = changed(program, 0)
    assert solve(other, SETTINGS, neighbours).iterations < 0.5 * solve(other, SETTINGS).iterations


def test_a_basis_of_another_form_is_left_aside() -> None:
    neighbours = Neighbours()
    solve(random_program(0, **FAMILIES["cvar"]), SETTINGS, neighbours)
    assert neighbours.start is not None
    program = random_program(0, **FAMILIES["plain"])
    together, alone = solve(program, SETTINGS, neighbours), solve(program, SETTINGS)
    assert together.iterations == alone.iterations and together.certificate.objective == alone.certificate.objective


def test_a_basis_that_leads_nowhere_is_given_up() -> None:
    """One pivot in ten is allowed to it; then the usual start has its turn."""
    program = reference_program(2)
    end = propose(program, 1e-6, MANY).start
    assert end is not None
    turned = replace(program, demand=program.demand[::-1].copy(), rent_cost=program.rent_cost[::-1].copy())
    most = 10 * propose(turned, 1e-6, MANY).pivots // 9 + 100
    found = propose(turned, 1e-6, most, Start(end.basis, end.size))
    assert found.certificate is not None and found.certificate.status is Status.CERTIFIED and found.pivots <= most
