"""Arrays that do not state a certifiable program are refused with one sentence that names the field and the entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from optimizer.program.program import Names, Program, ProgramError, Sparse
from optimizer.program.validate import AXES, MAY_BE_INFINITE, MAY_BE_MINUS_INFINITE, NOT_NEGATIVE, POSITIVE, SPARSE, WHOLE
from tests.oracle.random_programs import FAMILIES, infeasible_program, random_program

EVERYTHING = random_program(0, **FAMILIES["tree_all_rows"])
PLAIN = random_program(0, **FAMILIES["plain"])


def with_entry(program: Program, field: str, at: tuple[int, ...], value: float) -> Program:
    """The program with one number of one dense field replaced."""
    array = getattr(program, field).copy()
    array[at] = value
    return replace(program, **{field: array})


def refused(program: Program) -> str:
    """The sentence of the refusal."""
    with pytest.raises(ProgramError) as caught:
        program.check()
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("family", FAMILIES)
def test_every_random_program_passes(family: str) -> None:
    for seed in range(3):
        program = random_program(seed, **FAMILIES[family])
        assert program.check() is program


def test_every_field_of_the_program_is_checked() -> None:
    others = {"served", "deferrable", "free", "pools", "constant", "names"}
    assert {f.name for f in fields(Program)} == set(AXES) | set(SPARSE) | others


NUMBERS = [name for name in AXES if name not in WHOLE and name != "upper_is_derived"]


@pytest.mark.parametrize("field", [n for n in NUMBERS if getattr(EVERYTHING, n).size])
def test_nan_and_wrong_infinities_and_signs_are_refused(field: str) -> None:
    first = (0,) * getattr(EVERYTHING, field).ndim
    assert field in refused(with_entry(EVERYTHING, field, first, np.nan))
    assert "inf" in refused(with_entry(EVERYTHING, field, first, 1e20))
    if field not in MAY_BE_INFINITE:
        assert field in refused(with_entry(EVERYTHING, field, first, np.inf))
    if field not in MAY_BE_MINUS_INFINITE:
        assert field in refused(with_entry(EVERYTHING, field, first, -np.inf))
    if field in NOT_NEGATIVE or field in POSITIVE:
        assert field in refused(with_entry(EVERYTHING, field, first, -1.0))
    if field in POSITIVE:
        assert field in refused(with_entry(EVERYTHING, field, first, 0.0))


# the fields whose length says how long an axis is: another length is found at the next field of that axis
AXIS_GIVERS = (
    "parent",
    "decision_of_state",
    "state_of_node",
    "pair_stream",
    "block_hours",
    "acquisition_cost",
    "limit_lower",
    "link_lower",
)


@pytest.mark.parametrize("field", AXES)
def test_wrong_shapes_and_types_are_refused(field: str) -> None:
    value = getattr(EVERYTHING, field)
    assert field in refused(replace(EVERYTHING, **{field: value[..., None]}))
    assert field in refused(replace(EVERYTHING, **{field: value.tolist()}))
    wrong_type = value.astype(float) if field in WHOLE or field == "upper_is_derived" else value.astype(np.float32)
    assert field in refused(replace(EVERYTHING, **{field: wrong_type}))
    if value.size and field not in AXIS_GIVERS:
        assert field in refused(replace(EVERYTHING, **{field: np.concatenate([value, value[-1:]])}))


@pytest.mark.parametrize("field", SPARSE)
def test_sparse_coordinates_are_checked(field: str) -> None:
    value: Sparse = getattr(EVERYTHING, field)
    assert value.size

    def changed(axis: int, number: int) -> Program:
        index = [i.copy() for i in value.index]
        index[axis][0] = number
        return replace(EVERYTHING, **{field: Sparse(tuple(index), value.value)})

    for axis in range(len(value.index)):
        assert field in refused(changed(axis, -1))
        assert field in refused(changed(axis, 10**6))
    twice = Sparse(tuple(np.append(i, i[0]) for i in value.index), np.append(value.value, 1.0))
    assert "twice" in refused(replace(EVERYTHING, **{field: twice}))
    for number in (np.nan, np.inf, 1e20):
        assert field in refused(replace(EVERYTHING, **{field: Sparse(value.index, np.append(value.value[:-1], number))}))
    assert field in refused(replace(EVERYTHING, **{field: Sparse(value.index[:-1], value.value)}))
    assert field in refused(replace(EVERYTHING, **{field: Sparse(tuple(i.astype(float) for i in value.index), value.value)}))


def _last_column_of_held(program: Program) -> Program:
    """An acquisition signed at the last decision node that reaches the root's state."""
    late = int(np.argmax(program.signed_at))
    index = tuple(np.append(i, v) for i, v in zip(program.held_matrix.index, (0, 0, late), strict=True))
    return replace(program, held_matrix=Sparse(index, np.append(program.held_matrix.value, 1.0)))


REFUSALS: dict[str, tuple[Callable[[], Program], str]] = {
    "order of an acquisition's bounds": (lambda: with_entry(PLAIN, "acquisition_lower", (0,), 1e6), "acquisition_upper"),
    "order of a limit": (lambda: with_entry(PLAIN, "limit_lower", (0,), 1e9), "limit_upper"),
    "order of a linking row": (lambda: with_entry(EVERYTHING, "link_lower", (4,), 1e9), "link_upper"),
    "pairs not sorted": (lambda: replace(PLAIN, pair_stream=PLAIN.pair_stream[::-1].copy()), "sorted by stream"),
    "pairs twice": (lambda: with_entry(PLAIN, "pair_pool", (1,), PLAIN.pair_pool[0]), "twice"),
    "a stream that is none": (lambda: with_entry(PLAIN, "pair_stream", (PLAIN.pairs - 1,), 9), "pair_stream[6]"),
    "a circle of decisions": (lambda: with_entry(EVERYTHING, "parent", (0,), 3), "forest"),
    "a parent that is none": (lambda: with_entry(EVERYTHING, "parent", (0,), 99), "parent[0]"),
    "capacity before it is signed": (lambda: _last_column_of_held(EVERYTHING), "descendants"),
    "a scenario that is not the row's": (lambda: with_entry(EVERYTHING, "link_scenario", (0,), 1), "write -1"),
    "free work without a bound": (lambda: with_entry(EVERYTHING, "placement_upper", (0, 0, EVERYTHING.pairs - 1), np.inf), "free stream"),
    "priced slack without a bound": (lambda: with_entry(EVERYTHING, "link_slack_upper", (0,), np.inf), "link_slack_upper[0]"),
    "a slack's sign": (lambda: with_entry(EVERYTHING, "link_slack_sign", (0,), 0.5), "+1 or -1"),
    "negative capacity": (lambda: with_entry(PLAIN, "held_base", (0, 0), -1000.0), "rent makes up for at most"),
    "a side row that serving nothing breaks": (
        lambda: replace(with_entry(EVERYTHING, "held_base", (0, EVERYTHING.pools), -100.0), side_slack_cost=np.full((19, 2), np.inf)),
        "serving nothing must satisfy it",
    ),
    "a side row with too little slack": (
        lambda: replace(with_entry(EVERYTHING, "held_base", (0, EVERYTHING.pools), -100.0), side_slack_upper=np.full((19, 2), 1.0)),
        "takes at most 1",
    ),
    "a linking row without slack that serving nothing breaks": (
        lambda: with_entry(EVERYTHING, "link_slack_cost", (4,), np.inf),
        "when nothing is served",
    ),
    "a linking row with too little slack": (lambda: with_entry(EVERYTHING, "link_slack_upper", (4,), 1e-3), "when nothing is served"),
    "a number of names": (lambda: replace(PLAIN, names=Names(pool=("a",))), "names.pool has 1 names"),
    "a constant that is none": (lambda: replace(PLAIN, constant=float("nan")), "constant"),
    "streams below zero": (lambda: replace(PLAIN, free=-1), "free is -1"),
    "no recourse node": (lambda: replace(PLAIN, state_of_node=np.zeros(0, int)), "no recourse node"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    make, words = REFUSALS[case]
    assert words in refused(make())


def test_entries_are_called_by_their_names() -> None:
    names = Names(
        recourse=tuple(f"peak {n}" for n in range(PLAIN.nodes)),
        block=("day", "night"),
        stream=("chat", "code", "batch"),
        pool=("a", "b", "c", "d"),
    )
    named = replace(PLAIN, names=names)
    assert refused(with_entry(named, "demand", (3, 1, 2), -2.0)) == (
        "demand[3, 1, 2] (recourse 'peak 3', block 'night', stream 'batch') is -2.0; it must be 0 or more."
    )
    sentence = refused(with_entry(named, "pair_capacity", (0, 0), np.nan))
    assert "stream 'chat'" in sentence and "pool" in sentence


def test_a_row_that_only_the_limits_make_satisfiable_passes() -> None:
    """Interval arithmetic over the box cannot clear it; the linear program over box and limits can."""
    program = random_program(0, pools=1, periods=1, scenarios=1, budgets=0)
    offer = program.acquisitions - 1
    sells = Sparse(tuple(np.array([v]) for v in (0, 0, offer)), np.array([-1.0]))  # gives capacity back, at most what is held
    short = replace(program, held_matrix=sells, held_base=np.full((1, 1), 5.0), acquisition_upper=np.full(program.acquisitions, 8.0))
    assert "rent makes up for at most" in refused(short)
    limited = replace(
        short,
        limit_matrix=Sparse((np.array([0]), np.array([offer])), np.array([1.0])),
        limit_lower=np.array([-np.inf]),
        limit_upper=np.array([5.0]),
    )
    limited.check()


def test_contradictory_limits_are_no_bad_input() -> None:
    infeasible_program(0, **FAMILIES["sides_without_slack"]).check()
