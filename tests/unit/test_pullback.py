"""The two ways back from a program's arrays to the numbers of a case: recorded in numpy, compiled by JAX."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.analysis.frontier_axes import axis_of_word
from optimizer.analysis.pullback import READ, ROOMS, Form, compiled, compiled_form, pulled_back, recorded
from optimizer.analysis.what_if import WhatIf
from optimizer.build import Built, build, reverse_mode, values
from optimizer.build.numbers import Numbers
from optimizer.build.structure import Structure
from optimizer.economics.calendar import Calendar
from optimizer.performance.checkpoint import best_goodput
from optimizer.spec import load_case
from tests.unit.small_case import small_case

ROOT = Path(__file__).resolve().parents[2]
CASES, ORACLE = ROOT / "configs" / "cases", ROOT / "tests" / "oracle" / "cases"
TWO_CLOUDS = CASES / "two_clouds.yaml"
AGREED = 1e-12  # of the largest entry
WAYS = (jnp, reverse_mode)


def drawn(built: Built, seed: int = 11) -> dict[str, np.ndarray]:
    """A derivative with respect to every array; nothing with respect to what is infinite."""
    rng, arrays = np.random.default_rng(seed), values(built.structure, built.parameters.values)
    return {name: rng.normal(size=np.shape(array)) * np.isfinite(array) for name, array in arrays.items()}


def check_agreement(built: Built) -> None:
    structure, theta, of_arrays = built.structure, built.parameters.values, drawn(built)
    with np.errstate(all="raise"):
        mine = recorded(structure, theta, of_arrays)
    theirs = compiled(structure, theta, of_arrays)
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=AGREED * np.abs(theirs).max())


@pytest.mark.parametrize("name", [path.stem for path in sorted(ORACLE.glob("*.yaml"))])
def test_both_ways_agree(name: str) -> None:
    check_agreement(build(load_case(ORACLE / f"{name}.yaml")))


@pytest.mark.parametrize("name", ["own_or_rent", "two_clouds"])
def test_both_ways_agree_on_the_cases_that_come_along(name: str) -> None:
    check_agreement(build(load_case(CASES / f"{name}.yaml")))


@pytest.mark.parametrize(("word", "value"), [("provider_share:gcp", 0.25), ("capex_usd", 3e7), ("unserved", 0.5)])
def test_both_ways_agree_at_points_of_a_frontier(word: str, value: float) -> None:
    what_if = WhatIf(TWO_CLOUDS)
    axis = axis_of_word(what_if, word, date(2027, 1, 1) if "share" in word else None)
    check_agreement(what_if.built(*axis.change(value)))


def test_the_way_recorded_against_differences() -> None:
    """JAX left out: one direction through every number of a case with every feature."""
    built = build(small_case())
    theta, of_arrays = built.parameters.values, drawn(built)
    direction = np.random.default_rng(3).normal(size=len(theta)) * np.maximum(np.abs(theta), 1e-3)

    def weighted(at: np.ndarray) -> float:
        arrays = values(built.structure, at)
        return float(sum((np.where(np.isfinite(a), a, 0.0) * of_arrays[name]).sum() for name, a in arrays.items()))

    h = 1e-6
    quotient = (weighted(theta + h * direction) - weighted(theta - h * direction)) / (2 * h)
    assert recorded(built.structure, theta, of_arrays) @ direction == pytest.approx(quotient, rel=1e-6)


# ties and the namespace -----------------------------------------------------------------------------------------------------------------
def slope(function: Any, at: list[float], xp: ModuleType) -> list[float]:
    x = np.array(at)
    if xp is jnp:
        return np.asarray(jax.grad(lambda v: function(v, xp))(x)).tolist()
    return reverse_mode.pulled_back(lambda v: xp.reshape(function(v, xp), (1,)), x, np.ones(1)).tolist()


@pytest.mark.parametrize("xp", WAYS, ids=["compiled", "recorded"])
def test_at_a_tie_the_equal_share_alike(xp: ModuleType) -> None:
    assert slope(lambda v, xp: xp.maximum(v[0], v[1]), [3.0, 3.0], xp) == [0.5, 0.5]
    assert slope(lambda v, xp: xp.maximum(v[0], 3.0) + v[1], [3.0, 0.0], xp) == [0.5, 1.0]
    assert slope(lambda v, xp: xp.max(v), [3.0, 1.0, 3.0, 3.0], xp) == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert slope(lambda v, xp: xp.sum(xp.min(xp.stack([v, v[::-1]]), axis=1, initial=np.inf)), [2.0, 2.0], xp) == [1.0, 1.0]
    assert slope(lambda v, xp: xp.sum(xp.where(v > 2.0, 5.0 * v, v)), [2.0, 2.1], xp) == [1.0, 5.0]


@pytest.mark.parametrize("xp", WAYS, ids=["compiled", "recorded"])
def test_operands_that_are_broadcast(xp: ModuleType) -> None:
    chosen = np.array([[True, False, True], [True, True, False]])
    assert slope(lambda v, xp: xp.sum(xp.where(chosen, v, 0.0)), [1.0, 2.0, 3.0], xp) == [2.0, 1.0, 1.0]
    assert slope(lambda v, xp: xp.sum(xp.where(chosen, 0.0, v[0])), [1.0], xp) == [2.0]
    assert slope(lambda v, xp: xp.sum(xp.broadcast_to(v, (4, *v.shape))), [1.0, 2.0], xp) == [4.0, 4.0]


@pytest.mark.parametrize("xp", WAYS, ids=["compiled", "recorded"])
def test_sums_over_segments(xp: ModuleType) -> None:
    weight, segment = np.array([2.0, 3.0, 5.0]), np.array([2, 0, 2])

    def function(v: Any, xp: ModuleType) -> Any:
        numbers = Numbers(xp, v, v, v, v, v, np.zeros((1, 1)), np.zeros(1))
        return xp.sum(numbers.segment_sum(v, segment, 3) * weight)

    assert slope(function, [1.0, 1.0, 1.0], xp) == [5.0, 2.0, 5.0]


def test_the_best_interval_between_checkpoints_is_implicit() -> None:
    def goodput(v: Any, xp: ModuleType) -> Any:
        return best_goodput(v[0], v[1], v[2], xp)

    at = [60.0, 300.0, 8 * 3600.0]
    assert slope(goodput, at, reverse_mode) == pytest.approx(slope(goodput, at, jnp), rel=1e-12)


# forms --------------------------------------------------------------------------------------------------------------------------------
def test_numbers_are_no_part_of_a_form_and_dates_are() -> None:
    def form(**changes: Any) -> Form:
        return Form(build(load_case(TWO_CLOUDS, changes)).structure)

    base, dearer = form(), form(offers={"rent_gpu": {"available_chips": 700}}, discount_rate_per_year=0.08)
    assert base == dearer and hash(base) == hash(dearer)
    assert compiled_form(base) is compiled_form(dearer)
    assert base != form(offers={"spot": None})
    def power(month: int) -> Form:
        steps = [{"from": date(2026, 10, 1), "value": 3.0}, {"from": date(2027, month, 1), "value": 3.0}]
        return form(sites={"texas": {"power_mw": {"by_date": steps}}})

    # the same arrays at these numbers, but not the same function of them
    assert power(4) != power(10)


def only_what_is_read(part: Any) -> Any:
    """With nothing but what a form knows."""
    if isinstance(part, np.ndarray | int | np.integer | Calendar):  # a calendar's numbers all follow from its first days
        return part
    if dataclasses.is_dataclass(part) and type(part).__module__.startswith(ROOMS):
        names = [field.name for field in dataclasses.fields(part)]
        return dataclasses.replace(part, **{name: only_what_is_read(getattr(part, name)) for name in names})
    if isinstance(part, dict):
        return {name: only_what_is_read(member) for name, member in part.items()}
    return tuple(only_what_is_read(member) for member in part) if isinstance(part, tuple) else None


@pytest.mark.parametrize("changes", [{}, {"performance": {"throughput": "model"}}], ids=["table", "model"])
def test_a_form_holds_all_that_the_values_are_computed_with(changes: dict[str, Any]) -> None:
    built = build(load_case(TWO_CLOUDS, changes))
    whole: Structure = built.structure
    shown = {
        field.name: only_what_is_read(getattr(whole, field.name)) if field.name in READ else (None,) * len(getattr(whole, field.name))
        for field in dataclasses.fields(whole)
        if field.name in READ or isinstance(getattr(whole, field.name), tuple)
    }
    mine = values(dataclasses.replace(whole, case=None, **shown), built.parameters.values)
    for name, array in values(whole, built.parameters.values).items():
        np.testing.assert_array_equal(mine[name], array, err_msg=name)


# without JAX ----------------------------------------------------------------------------------------------------------------------------
def test_commands_on_cases_of_the_table_do_without_jax(tmp_path: Path) -> None:
    two_clouds, own_or_rent = str(TWO_CLOUDS), str(CASES / "own_or_rent.yaml")
    orders, other = tmp_path / "orders.json", tmp_path / "other.yaml"
    orders.write_text('[{"offer": "buy", "signing_date": "2026-10-01", "count_chips": 500000}]')
    other.write_text(f"name: other\nextends: {two_clouds}\noffers: {{rent_gpu: {{available_chips: 600}}}}\n")
    price, rent = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year"
    commands = [
        ["sensitivity", two_clouds, "--checked", "1"],
        ["value", two_clouds, "--offer", "buy", "--factors", "1", "--refine", "0"],
        ["break-even", own_or_rent, "--field", f"{rent}=40000:50000", "--when", "own_share=0.85", "--points", "2"],
        ["frontier", two_clouds, "--limit", "provider_share:gcp=0.2:0.4:2"],
        ["goal", own_or_rent, "--meet", "cost_usd<=41.4e9", "--change", f"{price}=15000:40000", "--change", f"{rent}=20000:40000"],
        ["goal", own_or_rent, "--plan", str(orders), "--change", f"{price}=15000:40000", "--change", f"{rent}=20000:40000"],
        ["compare", two_clouds, str(other), "--by", "number"],
    ]
    code = (
        "import sys\nfrom optimizer.cli import main\n"
        f"for command in {commands!r}:\n"
        "    assert main(command) in (0, 3), command\n"
        "    assert not {'jax', 'jaxlib', 'optax'} & set(sys.modules), command\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=600)


def test_where_the_performance_model_counts_jax_takes_the_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for way in ("recorded", "compiled"):
        monkeypatch.setattr(f"optimizer.analysis.pullback.{way}", lambda *_, way=way: taken.append(way))
    for changes in ({}, {"performance": {"throughput": "model"}}):
        built = build(load_case(TWO_CLOUDS, changes))
        pulled_back(built.structure, built.parameters.values, {})
    assert taken == ["recorded", "compiled"]
