"""values(): the same numbers in numpy and in jax.numpy, and derivatives of every array against finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.build import Built, build, unit_costs, values
from tests.unit.small_case import small_case

QUICK = {"xla_backend_optimization_level": 0}  # compile in half the time


@pytest.fixture(scope="module")
def built() -> Built:
    return build(small_case())


def test_check(built: Built) -> None:
    built.program.check()


def test_every_feature_is_there(built: Built) -> None:
    program, structure = built.program, built.structure
    assert {a.kind for a in structure.acquisitions} == {"own", "lease", "reserved_1y"}
    assert {limit.kind for limit in structure.limits} == {"site_power", "supply", "capex", "total", "share"}
    assert [side.name for side in structure.sides] == [
        "share own_compute max",
        "share own_compute min",
        "share cloud_spend max",
        "share rent_chips max",
    ]
    assert program.served == 5 and program.deferrable == 2
    assert program.upper_is_derived.any() and not program.upper_is_derived.all()
    assert program.held_base.any() and program.constant > 0
    assert {pool.preemptible for pool in structure.pools} == {True, False}


@dataclass(frozen=True)
class InJax:
    values: dict[str, np.ndarray]
    jacobian: dict[str, np.ndarray]  # [..., M]
    pulled: np.ndarray  # [M]: the gradient of a weighted sum of all finite entries, in reverse mode
    weights: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def in_jax(built: Built) -> InJax:
    """Everything that needs a compilation, in one."""
    rng = np.random.default_rng(7)
    here = values(built.structure, built.parameters.values)
    weights = {name: np.where(np.isfinite(array), rng.uniform(-1, 1, np.shape(array)), 0.0) for name, array in here.items()}

    def weighted(x: jax.Array) -> jax.Array:
        arrays = values(built.structure, x, jnp)
        return sum(jnp.sum(jnp.where(jnp.isfinite(array), array, 0.0) * weights[name]) for name, array in arrays.items())

    def everything(x: jax.Array) -> tuple:
        return values(built.structure, x, jnp), jax.jacfwd(lambda y: values(built.structure, y, jnp))(x), jax.grad(weighted)(x)

    with jax.enable_x64(True):
        there, jacobian, pulled = jax.jit(everything, compiler_options=QUICK)(jnp.asarray(built.parameters.values))
        as_numpy = [{name: np.asarray(array) for name, array in arrays.items()} for arrays in (there, jacobian)]
        return InJax(*as_numpy, np.asarray(pulled), weights)


def test_numpy_and_jax_agree(built: Built, in_jax: InJax) -> None:
    for name, array in values(built.structure, built.parameters.values).items():
        np.testing.assert_allclose(in_jax.values[name], array, rtol=1e-13, atol=0, err_msg=name)
        assert in_jax.values[name].shape == np.shape(array), name
        assert in_jax.values[name].dtype == np.float64, name


def test_program_holds_the_values(built: Built) -> None:
    for name, array in values(built.structure, built.parameters.values).items():
        held = getattr(built.program, name)
        np.testing.assert_array_equal(getattr(held, "value", held), array, err_msg=name)


def test_derivatives(built: Built, in_jax: InJax) -> None:
    """Central differences with h = 1e-5 |v|: truncation about 1e-10 of the value for these powers and quotients, rounding 1e-16 |f| / h."""
    structure, theta, jacobian = built.structure, built.parameters.values, in_jax.jacobian
    moved: set[str] = set()
    for m, key in enumerate(built.parameters.keys):
        h = 1e-5 * (abs(theta[m]) or 1.0)
        up, down = theta.copy(), theta.copy()
        up[m], down[m] = theta[m] + h, theta[m] - h
        high, low = values(structure, up), values(structure, down)
        for name, array in jacobian.items():
            finite = np.isfinite(high[name])
            difference = np.where(finite, np.subtract(high[name], low[name], where=finite, out=np.zeros(np.shape(finite))), 0.0) / (2 * h)
            noise = 1e-15 * np.where(finite, np.abs(high[name]), 0.0) / h
            error = np.abs(array[..., m] - difference)
            assert np.all(error <= 1e-8 * np.abs(difference) + noise + 1e-300), (name, key, float(error.max()))
            if np.any(difference):
                moved.add(name)
    still = {
        "acquisition_lower",
        "limit_lower",
        "block_hours",
        "placement_upper",
        "availability",
        "side_pair",
        "side_slack_upper",
    }
    assert moved == {name for name in jacobian if not name.startswith("link_")} - still


def test_reverse_mode(in_jax: InJax) -> None:
    """The gradient of a scalar of the arrays is the same number in one reverse pass."""
    forward = sum(np.tensordot(weight, in_jax.jacobian[name], weight.ndim) for name, weight in in_jax.weights.items())
    scale = sum(np.tensordot(np.abs(weight), np.abs(in_jax.jacobian[name]), weight.ndim) for name, weight in in_jax.weights.items())
    assert np.all(np.abs(in_jax.pulled - forward) <= 1e-13 * scale)


def test_every_number_reaches_an_array(built: Built, in_jax: InJax) -> None:
    """The fields that no array depends on are those that a date or a minimum hides."""
    reached = np.zeros(len(built.parameters), bool)
    for array in in_jax.jacobian.values():
        reached |= np.any(array.reshape(-1, len(reached)) != 0, axis=0)
    hidden = {key for key, found in zip(built.parameters.keys, reached, strict=True) if not found}
    assert hidden == {
        "sites.texas.power_mw.by_date.0.value",  # nothing can be delivered in 2026Q4, and 0.07 MW is less in 2027Q1
        "sites.sweden.power_mw.by_period.0",  # its chip comes on 2027-02-15
        "sites.sweden.power_mw.by_period.1",
        "offers.own_sweden.available_chips.by_period.0",
        "offers.own_sweden.available_chips.by_period.1",
        "limits.capex.budget.max_usd.by_period.0",
    }


def test_unit_costs_add_up(built: Built) -> None:
    costs = unit_costs(built.structure, built.parameters.values)
    total = costs.weight * sum(array.sum(axis=1) for array in costs.present.values())
    np.testing.assert_allclose(total, built.program.acquisition_cost, rtol=1e-13)
    np.testing.assert_allclose(costs.existing_present.sum(), built.program.constant, rtol=1e-13)


def test_one_step_off_keeps_the_structure(built: Built) -> None:
    """A price doubled: the rent costs double and nothing else moves."""
    key = "offers.rent_east.price_usd_per_chip_hour"
    theta = built.parameters.replaced({key: 2 * built.parameters.value(key)})
    before, after = values(built.structure, built.parameters.values), values(built.structure, theta)
    g = next(pool.index for pool in built.structure.pools if pool.rent_offer == "rent_east")
    np.testing.assert_allclose(after["rent_cost"][:, :, g], 2 * before["rent_cost"][:, :, g], rtol=1e-14)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"rent_cost", "side_rent"}
