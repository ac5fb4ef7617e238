"""Starts from a neighbour's state: the same certified answers in fewer iterations, and the usual start where they lead nowhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimizer.program import Program
from optimizer.program.certificate import Status
from optimizer.settings import Settings
from optimizer.solve import Neighbours, solve
from optimizer.solver.layout import make_layout
from optimizer.solver.warm import fitted
from tests.oracle.random_programs import FAMILIES, random_program

INTERIOR = Settings(engine="interior")
FAMILIES_TRIED = ("plain", "limits", "cvar", "tree_all_rows")


def changed(program: Program, seed: int) -> Program:
    """Every price and demand a few per cent off."""
    draw = np.random.default_rng(seed)

    def near(values: np.ndarray) -> np.ndarray:
        return values * draw.uniform(0.95, 1.05, values.shape)

    return replace(
        program, acquisition_cost=near(program.acquisition_cost), rent_cost=near(program.rent_cost),
        demand=near(program.demand), held_base=near(program.held_base),
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES_TRIED)
def test_neighbours_get_the_answers_that_they_get_alone(family: str) -> None:
    program, neighbours = random_program(0, **FAMILIES[family]), Neighbours()
    first = solve(program, INTERIOR, neighbours)
    assert first.status is Status.CERTIFIED and neighbours.warm is not None
    spent = {"alone": 0, "together": 0}
    for seed in range(4):
        other = changed(program, seed)
        alone, together = solve(other, INTERIOR), solve(other, INTERIOR, neighbours)
        spent["alone"] += alone.iterations
        spent["together"] += together.iterations
        assert alone.status is together.status is Status.CERTIFIED
        a, b = alone.certificate, together.certificate
        assert a.lower_bound <= b.objective and b.lower_bound <= a.objective
    assert spent["together"] < spent["alone"], spent


def test_a_start_is_inside_whatever_the_neighbour_used() -> None:
    program, neighbours = random_program(1, **FAMILIES["limits"]), Neighbours()
    solve(program, INTERIOR, neighbours)
    assert neighbours.warm is not None
    turned = (np.roll(getattr(program, name), 1, axis=0) for name in ("rent_upper", "demand"))  # other columns have an interior
    other = replace(program, rent_upper=next(turned), demand=next(turned))
    layout = make_layout(other)
    state = fitted(neighbours.warm, layout)
    assert state is not None
    was = neighbours.warm.state.cells.v
    assert any(((new > 0) != (old > 0)).any() for new, old in zip(_arrays(state.cells.v), _arrays(was), strict=True))
    for terms, point in ((layout.data.cells.terms, state.cells), (layout.data.own, state.own)):
        active, bounded = _arrays(terms.active), _arrays(terms.bounded)
        for v, zl, m in zip(_arrays(point.v), _arrays(point.zl), active, strict=True):
            assert (v[m] > 0).all() and (zl[m] > 0).all() and not v[~m].any() and not zl[~m].any()
        for w, zu, b in zip(_arrays(point.w), _arrays(point.zu), bounded, strict=True):
            assert (w > 0).all() and (zu[b] > 0).all() and not zu[~b].any()


def test_other_rows_begin_anew() -> None:
    small, neighbours = random_program(0, **FAMILIES["plain"]), Neighbours()
    solve(small, INTERIOR, neighbours)
    linked = random_program(0, **FAMILIES["cvar"])
    assert fitted(neighbours.warm, make_layout(linked)) is None
    assert solve(linked, INTERIOR, neighbours).iterations == solve(linked, INTERIOR).iterations


def test_a_start_that_leads_nowhere_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    program, neighbours = random_program(0, **FAMILIES["plain"]), Neighbours()
    solve(program, INTERIOR, neighbours)
    monkeypatch.setattr(sys.modules["optimizer.interior"], "WARM_MOST", 2)
    other = changed(program, 0)
    found = solve(other, INTERIOR, neighbours)
    assert found.status is Status.CERTIFIED and found.iterations > solve(other, INTERIOR).iterations


def test_checkpoints_and_neighbours_do_not_mix(tmp_path) -> None:
    """What a killed process left must not decide the answer of the next."""
    program, neighbours = random_program(0, **FAMILIES["plain"]), Neighbours()
    solve(program, INTERIOR, neighbours)
    other = changed(program, 0)
    kept = solve(other, replace(INTERIOR, checkpoint=tmp_path), neighbours)
    assert kept.certificate.objective == solve(other, INTERIOR).certificate.objective


def _arrays(tree) -> list[np.ndarray]:
    return [np.asarray(a) for a in (tree if isinstance(tree, tuple) else (tree,))]


def test_after_a_certificate_that_leads_nowhere_the_usual_start_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm run that looked close, was certified badly and went no further: the run from the usual start must not be judged from its
    first iterates on, of which none is better for a while."""
    module = importlib.import_module("optimizer.solver.interior_point")
    usual, runs = module.interior_point, []

    def stuck_at_first(*arguments: Any) -> Iterator[Any]:
        runs.append(1)
        for iterate in usual(*arguments):
            if len(runs) != 2:  # the first solve's, then the warm run
                yield iterate
            elif iterate.gap_estimate < 1e-2:
                yield replace(iterate, primal_cost=1.0, dual_cost=1.0, primal_error=0.0)
                return

    monkeypatch.setattr(module, "interior_point", stuck_at_first)
    program, neighbours = random_program(0, **FAMILIES["tree_all_rows"]), Neighbours()
    assert solve(program, INTERIOR, neighbours).status is Status.CERTIFIED
    assert solve(changed(program, 1), INTERIOR, neighbours).status is Status.CERTIFIED
    assert len(runs) == 3
