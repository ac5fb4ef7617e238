"""The optimal cost as a differentiable function: closed forms, jit, vmap, and what it says where there is no plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer import devices
from optimizer.analysis.optimal_cost import OptimalCost
from optimizer.program.certificate import Status
from optimizer.settings import Settings

CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"
PRICE, RENT = "offers.buy.price_usd_per_chip", "offers.rent.price_usd_per_chip_year"


@pytest.fixture(scope="module")
def own_or_rent() -> OptimalCost:
    return optimizer.optimal_cost(CASES / "own_or_rent.yaml")


def at(cost: OptimalCost, **changes: float) -> np.ndarray:
    parameters = np.array(cost.values)
    for key, value in changes.items():
        parameters[cost.position({"price": PRICE, "rent": RENT}[key])] = value
    return parameters


def newsvendor(price: float, rent: float) -> tuple[float, float, float]:
    """(cost, chips owned, expected chip-years rented): four years, ten equally likely levels."""
    levels = np.array([100, 150, 200, 250, 300, 400, 500, 700, 900, 1200]) * 1e3
    own, short = min(
        ((n, np.maximum(levels - n, 0).mean()) for n in (0.0, *levels)), key=lambda p: p[0] * (price + 20_000) + p[1] * 4 * rent
    )
    return own * (price + 20_000) + short * 4 * rent, own, 4 * short


@pytest.mark.parametrize(("price", "rent"), [(35_000, 30_000), (35_000, 18_000), (61_000, 30_000)])
def test_value_and_gradient_are_the_newsvendors(own_or_rent: OptimalCost, price: float, rent: float) -> None:
    import jax

    (cost, bound), slope = jax.value_and_grad(own_or_rent.with_bound, has_aux=True)(at(own_or_rent, price=price, rent=rent))
    least, owned, rented = newsvendor(price, rent)
    assert cost == pytest.approx(least, rel=2e-9)
    assert 0 <= cost - bound <= 1e-9 * cost
    assert slope[own_or_rent.position(PRICE)] == pytest.approx(owned, rel=1e-5, abs=1.0)
    assert slope[own_or_rent.position(RENT)] == pytest.approx(rented, rel=1e-5, abs=1.0)


def test_under_jit_and_vmap(own_or_rent: OptimalCost) -> None:
    """A batch of what-ifs in one call, and the gradients of all of them."""
    import jax
    import jax.numpy as jnp

    prices = [20_000.0, 35_000.0, 61_000.0]
    batch = jnp.stack([at(own_or_rent, price=price) for price in prices])
    costs = jax.jit(jax.vmap(own_or_rent))(batch)
    slopes = jax.vmap(jax.grad(own_or_rent))(batch)
    for price, cost, slope in zip(prices, costs, slopes, strict=True):
        least, owned, _ = newsvendor(price, 30_000)
        assert cost == pytest.approx(least, rel=2e-9)
        assert slope[own_or_rent.position(PRICE)] == pytest.approx(owned, rel=1e-5, abs=1.0)


def test_it_chains_with_what_the_caller_computes(own_or_rent: OptimalCost) -> None:
    """d cost / d discount on both prices at once, against differences."""
    import jax
    import jax.numpy as jnp

    parameters = jnp.asarray(own_or_rent.values)
    prices = np.isin(np.arange(len(parameters)), [own_or_rent.position(PRICE), own_or_rent.position(RENT)])

    def discounted(share: float) -> jax.Array:
        return own_or_rent(parameters * jnp.where(prices, 1.0 - share, 1.0))

    slope = float(jax.grad(discounted)(0.1))
    up, down = float(discounted(0.101)), float(discounted(0.099))
    assert slope == pytest.approx((up - down) / 0.002, rel=1e-6)


def test_no_plan_is_no_number(own_or_rent: OptimalCost) -> None:
    import jax

    parameters = at(own_or_rent, price=-1.0)  # whoever is paid to own would own without end
    cost, bound = own_or_rent.with_bound(at(own_or_rent, price=float("nan")))
    assert np.isnan(cost) and bound == -np.inf
    assert np.isnan(np.asarray(jax.grad(own_or_rent)(at(own_or_rent, price=float("nan"))))).any()
    assert own_or_rent.certificate(at(own_or_rent)).status is Status.CERTIFIED
    assert not np.isfinite(own_or_rent(parameters)) or own_or_rent.certificate(parameters).status is Status.CERTIFIED


@pytest.mark.parametrize("engine", ["simplex", "auto"])
def test_two_clouds_by_the_simplex(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative lies between certified quotients to both sides; under jit and vmap there are the same numbers."""
    import jax
    import jax.numpy as jnp

    def unexpected(*_: object) -> None:
        raise AssertionError("the simplex answers this case")

    monkeypatch.setattr("optimizer.interior.by_interior_point", unexpected)
    two_clouds = optimizer.optimal_cost(CASES / "two_clouds.yaml", Settings(gap_relative=1e-9, engine=engine))
    start = np.array(two_clouds.values)
    (cost, bound), slope = jax.value_and_grad(two_clouds.with_bound, has_aux=True)(start)
    assert 0 <= cost - bound <= 1e-9 * cost
    moved = {
        "offers.rent_gpu.available_chips": 0.01, "workloads.chat.requests_per_second.start": 1e-4, "sites.texas.pue": 1e-4,
        "catalog.prices.h200.any.own.price_usd_per_chip": 1e-4, "sites.texas.power_mw.by_date.1.value": 1e-4,
    }  # fmt: skip
    batch = [start]
    for key, step in moved.items():
        i, quotients = two_clouds.position(key), []
        for by in (-step * start[i], step * start[i]):
            there = np.where(np.arange(len(start)) == i, start + by, start)
            c = two_clouds.certificate(there)
            assert c.status is Status.CERTIFIED
            quotients += [(c.lower_bound - cost) / by, (c.objective - bound) / by]
            batch.append(there)
        room = 2 * step * max(map(abs, quotients))  # curvature over the step
        assert min(quotients) - room <= slope[i] <= max(quotients) + room, (key, slope[i], quotients)
    several = jnp.asarray(np.array(batch))
    costs, slopes = jax.jit(jax.vmap(two_clouds))(several), jax.vmap(jax.grad(two_clouds))(several)
    for there, one in zip(batch, costs, strict=True):
        assert float(one) == pytest.approx(two_clouds.certificate(there).objective, rel=2e-9)
    np.testing.assert_allclose(slopes[0], slope, rtol=0, atol=1e-12 * np.abs(slope).max())


def test_a_device_with_one_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for itself for ever."""
    devices.prepare()
    monkeypatch.setenv("NPROC", "1")
    with pytest.raises(RuntimeError, match="NPROC=2"):
        optimizer.optimal_cost(CASES / "own_or_rent.yaml")
