"""Utilisation, servers and headroom under a waiting-time percentile: closed forms, shape, derivatives, bad input."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import lognorm, norm

from optimizer.performance.queueing import (
    closed_form_utilisation,
    greatest_utilisation,
    headroom,
    lognormal_omega,
    renewal_peakedness,
    servers_needed,
    service_peakedness,
    slots_needed,
    staffing_beta,
)

TRAFFIC = {"slack": (0.0, 100.0), "arrival_cv2": (0.0, 8.0), "service_cv2": (0.02, 10.0), "peakedness": (1.0, 7.0)}


def random_traffic(number: int, seed: int = 1) -> np.ndarray:
    """[4, number]: slack (a third of them close to 0), ca2, cs2, z over more than the range of the tables."""
    random = np.random.default_rng(seed)
    slack = np.exp(random.uniform(np.log(0.01), np.log(100), number)) * (random.random(number) < 0.97)
    return np.stack([slack, random.uniform(0, 8, number), random.uniform(0.02, 10, number), 1 + random.exponential(1.0, number)])


# the closed form ------------------------------------------------------------------------------------------------------------------
def test_one_exponential_server_with_poisson_arrivals_is_exact() -> None:
    slack = np.array([0.0, 0.1, 1.0, 5.0, 40.0])
    rho = closed_form_utilisation(1.0, slack, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(rho * np.exp(-(1 - rho) * slack), 0.01, rtol=1e-11)


@pytest.mark.parametrize(
    ("kappa", "load", "servers"),
    [(0.05, 16, 28.8), (0.05, 256, 290), (0.05, 1024, 1073), (1, 16, 19.5), (1, 256, 260.3), (4, 16, 17.07), (4, 256, 257.1)],
)
def test_published_inverse_of_the_closed_form(kappa: float, load: float, servers: float) -> None:
    """The research table: servers that carry a load, tail 1 %, z = 1; V = 1 makes the slack kappa."""
    found = brentq(lambda c: c * closed_form_utilisation(c, kappa, 1.0, 1.0, 1.0) - load, load, 3 * load)
    assert found == pytest.approx(servers, rel=3e-3)


def test_without_slack_it_is_a_power_of_the_tail() -> None:
    for servers, z in ((1.0, 1.0), (7.0, 2.0)):
        m = (np.sqrt(2 * (servers + 1)) - 1) / np.sqrt(z)
        assert closed_form_utilisation(servers, 0.0, 1.0, 2.0, z, 0.05) == pytest.approx(0.05 ** (1 / m), rel=1e-10)


# shape ----------------------------------------------------------------------------------------------------------------------------
def test_load_carried_is_convex_in_servers_everywhere() -> None:
    """So its inverse is concave: slopes never fall, from the ray of a part of a server on."""
    servers = np.concatenate([np.linspace(1, 12, 1101), np.geomspace(12.02, 3000, 1500)])[:, None]
    traffic = random_traffic(400)
    load = servers * greatest_utilisation(servers, *traffic)
    slopes = np.diff(load, axis=0) / np.diff(servers, axis=0)
    assert (slopes[0] >= load[0] * (1 - 1e-9)).all()
    assert (np.diff(slopes, axis=0) >= -1e-9).all()
    assert (load > 0).all() and (load < servers).all()


def test_servers_are_the_inverse_of_the_load() -> None:
    traffic = random_traffic(300, 2)
    loads = np.geomspace(1e-3, 3000, 60)[:, None]
    servers = servers_needed(loads, *traffic)
    one = greatest_utilisation(1.0, *traffic)
    whole = np.broadcast_to(loads >= one, servers.shape)
    carried = servers * greatest_utilisation(np.maximum(servers, 1.0), *traffic)
    np.testing.assert_allclose(carried[whole], np.broadcast_to(loads, servers.shape)[whole], rtol=1e-10)
    np.testing.assert_allclose(servers[~whole], (loads / one)[~whole], rtol=1e-12)


def test_servers_are_concave_and_rise_from_nothing() -> None:
    traffic = random_traffic(200, 3)
    loads = np.concatenate([[0.0], np.geomspace(1e-4, 2000, 1500)])[:, None]
    servers = servers_needed(loads, *traffic)
    slopes = np.diff(servers, axis=0) / np.diff(loads, axis=0)
    assert (servers[0] == 0).all() and (servers >= loads).all() and (slopes > 0).all()
    assert (np.diff(slopes, axis=0) <= 1e-7 * slopes[:-1]).all()
    one = greatest_utilisation(1.0, *traffic)
    np.testing.assert_allclose(slopes[0][one > 1e-4], 1 / one[one > 1e-4], rtol=1e-9)


def test_tangents_lie_above_and_secants_below() -> None:
    traffic = random_traffic(200, 4)
    loads = np.geomspace(0.01, 500, 80)[:, None, None]
    at = np.geomspace(0.02, 400, 30)[:, None]
    spare, slope = headroom(at, *traffic)
    true = headroom(loads, *traffic).servers
    assert (true <= spare + slope * (loads - at) + 1e-8 * (1 + spare)).all()
    below = np.broadcast_to(loads <= at, np.broadcast_shapes(true.shape, spare.shape))
    assert (true >= spare * loads / at - 1e-8 * (1 + spare))[below].all()


@pytest.mark.parametrize(("argument", "sign"), [(0, -1), (1, 1), (2, 1), (3, 1)])
@pytest.mark.parametrize("sticky", [False, True])
def test_more_slack_never_needs_more_and_more_variability_never_fewer(argument: int, sign: int, sticky: bool) -> None:
    traffic = random_traffic(300, 5)[:, None, :].repeat(40, axis=1)
    low, high = list(TRAFFIC.values())[argument]
    traffic[argument] = np.linspace(low, high, 40)[:, None] if argument else np.geomspace(0.01, high, 40)[:, None]
    for load in (0.3, 3.0, 40.0):
        servers = servers_needed(load, *traffic, sticky=sticky)
        assert (sign * np.diff(servers, axis=0) >= -1e-9 * servers[1:]).all()


def test_own_queues_need_more_than_a_shared_one() -> None:
    traffic = random_traffic(100, 6)
    load = np.geomspace(0.1, 100, 20)[:, None]
    shared, own = servers_needed(load, *traffic), servers_needed(load, *traffic, sticky=True)
    assert (own >= shared * (1 - 1e-12)).all()
    np.testing.assert_allclose(own, load / greatest_utilisation(1.0, *traffic))
    np.testing.assert_allclose(headroom(load, *traffic, sticky=True).servers, own - load, atol=1e-12)


# slots and variability --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("blocking", "beta"), [(0.2, 1.062), (0.1, 1.420), (0.05, 1.740), (0.01, 2.375), (0.001, 3.115)])
def test_staffing_beta(blocking: float, beta: float) -> None:
    found = float(staffing_beta(blocking))
    assert found == pytest.approx(beta, abs=6e-4)
    assert 1 / (1 + found * norm.cdf(found) / norm.pdf(found)) == pytest.approx(blocking, rel=1e-11)
    assert slots_needed(50.0, 2.0, blocking) == pytest.approx(50 + found * 10)


def test_staffing_beta_over_all_probabilities() -> None:
    blocking = np.concatenate([np.geomspace(1e-9, 0.5, 200), 1 - np.geomspace(1e-9, 0.5, 200)])
    beta = staffing_beta(blocking)
    np.testing.assert_allclose(np.log(beta * norm.cdf(beta) / norm.pdf(beta)), np.log(1 / blocking - 1), atol=1e-9)


@pytest.mark.parametrize("cv2", [0.3, 1.0, 3.0, 8.0])
def test_lognormal_omega_is_its_integral(cv2: float) -> None:
    sigma = np.sqrt(np.log1p(cv2))
    survival = lognorm(sigma, scale=np.exp(-(sigma**2) / 2)).sf
    integral = quad(lambda t: survival(t) ** 2, 0, 1)[0] + quad(lambda t: survival(t) ** 2, 1, 200, limit=500)[0]
    assert lognormal_omega(cv2) == pytest.approx(integral, rel=1e-6)


def test_peakedness() -> None:
    assert lognormal_omega(3.0) == pytest.approx(0.405, abs=1e-3)
    assert lognormal_omega(0.0) == 1.0
    assert service_peakedness(1.0, 2.0) == 1.0
    assert service_peakedness(3.0, 0.0) == 3.0 == renewal_peakedness(3.0, 1.0)


# derivatives ------------------------------------------------------------------------------------------------------------------------
FUNCTIONS: dict[str, Callable[..., object]] = {
    "closed_form_utilisation": lambda x, xp: closed_form_utilisation(1 + x[0], *x[1:], xp=xp),
    "greatest_utilisation": lambda x, xp: greatest_utilisation(1 + x[0], *x[1:], xp=xp),
    "servers_needed": lambda x, xp: servers_needed(x[0], *x[1:], xp=xp),
    "servers_needed sticky": lambda x, xp: servers_needed(x[0], *x[1:], sticky=True, xp=xp),
    "headroom slope": lambda x, xp: headroom(x[0], *x[1:], sticky=True, xp=xp).slope,
    "slots_needed": lambda x, xp: slots_needed(x[0], x[4], 0.001 * (1 + x[1]), xp=xp),
    "staffing_beta": lambda x, xp: staffing_beta(1 / (2 + x[0]), xp=xp),
    "service_peakedness": lambda x, xp: service_peakedness(x[2], x[3], xp=xp),
}


def smooth_points() -> np.ndarray:
    """[points, 5]: load, slack, ca2, cs2, z away from the kink at the load of one server and the rounded corners at whole servers."""
    points = []
    for load in (0.02, 3.7, 15.0, 120.0):
        for slack in (0.3, 1.7, 12.0):
            for ca2, cs2, z in ((1.2, 0.7, 1.1), (2.6, 2.2, 1.9), (4.4, 5.0, 2.4), (0.6, 1.4, 3.0)):
                points.append((load, slack, ca2, cs2, z))
    return np.array(points)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_match_finite_differences(name: str) -> None:
    """Fourth-order central differences of the numpy path against jax.grad under jit and vmap."""
    function, points = FUNCTIONS[name], smooth_points()
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(lambda x: function(x, jnp))))(jnp.asarray(points))
    np.testing.assert_allclose(value, function(points.T, np), rtol=1e-11)
    for argument in range(points.shape[1]):
        h = 2e-4 * points[:, argument]
        moved = [points + np.eye(5)[argument] * (step * h)[:, None] for step in (-2, -1, 1, 2)]
        a, b, c, d = (np.asarray(function(p.T, np)) for p in moved)
        difference = (a - 8 * b + 8 * c - d) / (12 * h)
        # what a gradient is compared with: its own size, or the rounding of the differences
        rounding = 1e-6 * np.abs(difference) + 4e-15 * np.abs(value) / h + 1e-9
        assert (np.abs(gradient[:, argument] - difference) <= rounding).all(), f"argument {argument}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_precision(name: str) -> None:
    """Values to 2e-4 and gradients to 1 % of their size where that is not small."""
    function, points = FUNCTIONS[name], smooth_points()
    both = jax.jit(jax.vmap(jax.value_and_grad(lambda x: function(x, jnp))))
    value, gradient = both(jnp.asarray(points, jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32
    exact, slopes = both(jnp.asarray(points, jnp.float64))
    np.testing.assert_allclose(value, exact, rtol=2e-4)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-2, atol=1e-3)


def test_slope_of_the_headroom_is_its_derivative() -> None:
    points = smooth_points()
    derivative = jax.jit(jax.vmap(jax.grad(lambda a, rest: servers_needed(a, *rest, xp=jnp))))
    slope = derivative(jnp.asarray(points[:, 0]), jnp.asarray(points[:, 1:]))
    np.testing.assert_allclose(headroom(*points.T).slope, slope - 1, rtol=1e-9, atol=1e-12)


def test_no_derivative_is_lost_at_the_edges() -> None:
    """No load, no slack, constant services, a load far below one server: finite everywhere."""
    points = [
        (0.0, 1.0, 1.0, 1.0, 1.0),
        (5.0, 0.0, 1.0, 1.0, 1.0),
        (5.0, 1.0, 3.0, 0.0, 3.0),
        (1e-9, 0.1, 3.0, 0.0, 3.0),
        (9.0, 500.0, 1.0, 0.5, 1.0),
    ]
    gradients = jax.jit(jax.vmap(jax.grad(lambda x: servers_needed(*x, xp=jnp))))(jnp.array(points))
    assert np.isfinite(gradients).all(), gradients


# bad input --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offered_load_erlangs": -1.0}, "offered_load_erlangs is -1; it must be finite and at least 0"),
        ({"slack": np.array([1.0, -0.5])}, "slack is -0.5; it must be finite and at least 0"),
        ({"service_cv2": np.nan}, "service_cv2 is nan"),
        ({"peakedness": 0.0}, "peakedness is 0; it must be greater than 0"),
        ({"tail": 1.0}, "tail is 1; it must be at least 0.01"),
        ({"tail": 0.001}, "tail is 0.001; it must be at least 0.01, the tail that was simulated"),
        ({"arrival_cv2": 0.0, "service_cv2": 0.0}, "both 0"),
    ],
)
def test_bad_numbers_get_one_sentence(change: dict[str, object], words: str) -> None:
    good: dict[str, object] = dict(offered_load_erlangs=3.0, slack=1.0, arrival_cv2=1.0, service_cv2=1.0, peakedness=1.0, tail=0.01)
    with pytest.raises(ValueError, match=words):
        servers_needed(**(good | change))  # type: ignore[arg-type]


def test_less_than_a_server_has_no_utilisation() -> None:
    with pytest.raises(ValueError, match=r"servers is 0\.5; it must be finite and at least 1"):
        greatest_utilisation(0.5, 1.0, 1.0, 1.0, 1.0)
