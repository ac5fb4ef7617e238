"""scripts/check_derivatives.py: its verdicts, how it sorts fields, and HiGHS's re-solves against ours."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer.build.build import Built
from optimizer.plan import build
from optimizer.program.certificate import Status
from optimizer.settings import Settings
from scripts.benchmarking.reference_family import reference_program
from scripts.check_derivatives import judged, kind_of, verdict

CASE = Path(__file__).resolve().parents[2] / "configs" / "cases" / "two_clouds.yaml"


@pytest.mark.parametrize(
    ("g", "left", "right", "kind", "said"),
    [
        (10.0, (9.9999, 10.0001), (9.9999, 10.0001), "cost", "agrees"),
        (10.0, (10.0, 10.0), (10.0, 10.0), "coefficient", "agrees"),
        (-10.0, (-10.0001, -9.9999), (-10.0001, -9.9999), "coefficient", "agrees"),
        (10.0, (9.0, 9.0), (12.0, 12.0), "right-hand side", "flagged"),
        (10.0, (9.0, 9.0), (10.9, 10.9), "coefficient", "flagged"),
        (13.0, (9.0, 9.0), (12.0, 12.0), "coefficient", "flagged"),  # a kink of a coefficient: no derivative
        (13.0, (9.0, 9.0), (12.0, 12.0), "right-hand side", "WRONG"),
        (10.0, (10.1, 10.1), (10.1, 10.1), "coefficient", "WRONG"),
        (-10.0, (10.0, 10.0), (10.0, 10.0), "coefficient", "WRONG"),  # a sign
        (10.0, (9.0, 11.0), (9.0, 11.0), "cost", "unresolved"),
        (0.0, (-1e-9, 1e-9), (-1e-9, 1e-9), "cost", "unresolved"),
    ],
)
def test_a_verdict(g: float, left: tuple[float, float], right: tuple[float, float], kind: str, said: str) -> None:
    assert verdict(g, left, right, kind) == said


def test_the_gap_behind_a_derivative_is_room_beside_its_sides() -> None:
    assert verdict(13.0, (9.0, 9.0), (12.0, 12.0), "cost", room=1.5) == "flagged"
    assert verdict(13.0, (9.0, 9.0), (12.0, 12.0), "cost", room=0.5) == "WRONG"
    assert verdict(10.0, (10.1, 10.1), (10.1, 10.1), "coefficient", room=0.2) == "unresolved"
    assert verdict(10.0, (10.1, 10.1), (10.1, 10.1), "coefficient", room=0.05) == "WRONG"


@cache
def two_clouds() -> Built:
    return build(optimizer.load(CASE))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("catalog.prices.h200.any.own.price_usd_per_chip", "coefficient"),  # stands in the capital limit too
        ("catalog.prices.tpu_v6e.gcp:europe-west4.on_demand.price_usd_per_chip_hour", "cost"),
        ("workloads.chat.unserved_usd_per_million_output_tokens", "cost"),
        ("offers.spot.available_chips", "right-hand side"),
        ("sites.texas.power_mw.by_date.1.value", "right-hand side"),
        ("catalog.throughput.tpu_v6e.dense_70b.serving.8192x1024.0.output_tokens_per_second_per_chip", "coefficient"),
    ],
)
def test_fields_are_sorted_by_where_they_stand(key: str, kind: str) -> None:
    built = two_clouds()
    value = built.parameters.values[built.parameters.keys.index(key)]
    assert kind_of(built, key, 1e-4 * value) == kind


def test_highs_from_a_basis_gives_the_optimum_of_a_moved_program() -> None:
    pytest.importorskip("highspy")
    from optimizer.solve import solve
    from scripts.benchmarking.warm_highs import WarmHighs

    program = reference_program(2, 0)
    resolve = WarmHighs()
    assert resolve(program).gap_relative < 1e-10
    moves = [{"demand": 1.02 * program.demand}, {"acquisition_cost": 0.98 * program.acquisition_cost}, {"demand": 1.3 * program.demand}]
    for moved in (replace(program, **move) for move in moves):
        quick, ours = resolve(moved), solve(moved, Settings(gap_relative=1e-8)).certificate
        assert quick.status is Status.CERTIFIED and quick.gap_relative < 1e-9
        assert ours.lower_bound - 1e-9 * abs(quick.objective) <= quick.objective <= ours.objective + 1e-9 * abs(quick.objective)
    cold = WarmHighs()(replace(program, **moves[0])).objective
    assert resolve(replace(program, **moves[0])).objective == pytest.approx(cold, rel=1e-10)


def test_what_highs_calls_infeasible_is_left_to_our_solver() -> None:
    pytest.importorskip("highspy")
    from scripts.benchmarking.warm_highs import WarmHighs

    program = reference_program(1, 0)
    row = int(np.flatnonzero(np.isfinite(program.limit_upper))[0])
    beyond = program.limit_upper.copy()
    beyond[row] = -1.0
    clashing = replace(program, limit_upper=beyond, limit_lower=np.minimum(program.limit_lower, beyond))
    resolve = WarmHighs()
    resolve(program)
    assert resolve(clashing).status is Status.INFEASIBLE


def test_a_case_is_checked_field_by_field_by_both() -> None:
    pytest.importorskip("highspy")
    from scripts.benchmarking.warm_highs import WarmHighs

    fields = ["sites.texas.power_mw.by_date.1.value", "catalog.prices.h200.any.own.price_usd_per_chip", "offers.buy.usable_share"]
    settings = Settings(gap_relative=1e-9)
    found = optimizer.sensitivity(CASE, settings, checked=0, fields=fields, step=1e-4, resolve=WarmHighs())
    said = {w.key: judged(found, w, kind_of(two_clouds(), w.key, w.right.step)) for w in found.fields if w.left and w.right}
    assert said == dict(zip(fields, ["agrees", "agrees", "one side"], strict=True))
    settings = Settings(gap_relative=1e-9, engine="interior")
    ours = optimizer.sensitivity(CASE, settings, checked=0, fields=fields[:1], step=1e-4).fields
    (quick,), (slow,) = ([w for w in side if w.key == fields[0]] for side in (found.fields, ours))
    assert quick.right is not None and slow.right is not None
    assert slow.right.least <= quick.right.most and quick.right.least <= slow.right.most
    assert quick.right.most - quick.right.least < slow.right.most - slow.right.least
