"""The utilisation bound against a simulated queue. CAPACITY_LONG_TESTS=1: twenty times the customers, and what the bound gives away.

The bound over-promises by less than 0.5 % if the queue at bound / 1.005 is late no more often than the tail, but for two standard errors.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from optimizer.performance.queueing import closed_form_utilisation, greatest_utilisation
from tests.queue_simulation import (
    Law,
    deterministic,
    exponential,
    gamma,
    hyperexponential,
    lognormal,
    peakedness,
    simulate,
    waits,
)

LONG = os.environ.get("CAPACITY_LONG_TESTS") == "1"
TAIL, ALLOWED = 0.01, 0.005
SLACKS = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
ARRIVALS: dict[str, Law] = {"Poisson": exponential(), "gamma 3": gamma(3)}
SERVICES: dict[str, Law] = {
    "exponential": exponential(), "hyperexponential 3": hyperexponential(3), "lognormal 3": lognormal(3), "deterministic": deterministic(),
}  # fmt: skip


# the simulator itself ---------------------------------------------------------------------------------------------------------------
def test_simulator_against_one_exponential_server() -> None:
    rho, slacks = np.array([0.3, 0.6, 0.8]), np.array([0.0, 1.0, 4.0])
    found = simulate(exponential(), exponential(), 1, rho, slacks, 400_000)
    exact = rho[:, None] * np.exp(-(1 - rho[:, None]) * slacks)
    assert (np.abs(found.share - exact) <= 4 * found.standard_error + 1e-4).all()
    assert (found.standard_error < 0.02 * exact + 0.002).all()


@pytest.mark.parametrize("servers", [2, 5, 32])
def test_simulator_against_erlang(servers: int) -> None:
    rho = 0.85
    load, blocked = rho * servers, 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    waiting = blocked / (1 - rho + rho * blocked)
    slacks = np.array([0.0, 0.2])
    found = simulate(exponential(), exponential(), servers, np.array([rho]), slacks, 400_000)
    exact = waiting * np.exp(-servers * (1 - rho) * slacks)
    assert (np.abs(found.share[0] - exact) <= 4 * found.standard_error[0]).all()


def test_simulator_against_one_constant_server() -> None:
    """M/D/1: P(W <= t) for t < 1 is (1 - rho) exp(rho t)."""
    found = simulate(exponential(), deterministic(), 1, np.array([0.5]), np.array([0.0, 0.5, 0.9]), 400_000)
    exact = 1 - 0.5 * np.exp(0.5 * np.array([0.0, 0.5, 0.9]))
    assert (np.abs(found.share[0] - exact) <= 4 * found.standard_error[0] + 1e-4).all()


def test_the_two_simulators_agree() -> None:
    """Customers one by one through a heap, and the recursion over sorted work."""
    random = np.random.default_rng(3)
    arrivals = np.cumsum(random.standard_gamma(1 / 3, 400_000) * 3) / (4 * 0.8)
    late = waits(arrivals, lognormal(3).draw(random, (400_000,)), 4)[20_000:] > 2.0
    found = simulate(gamma(3), lognormal(3), 4, np.array([0.8]), np.array([2.0]), 1_000_000)
    assert late.mean() == pytest.approx(found.share[0, 0], abs=5 * found.standard_error[0, 0] + 0.004)


@pytest.mark.parametrize("law", [*SERVICES.values(), gamma(3), lognormal(0.5)])
def test_laws_have_the_moments_they_state(law: Law) -> None:
    draws = law.draw(np.random.default_rng(5), (2, 1_000_000))
    assert draws.mean() == pytest.approx(1, abs=0.01)
    assert draws.var() == pytest.approx(law.cv2, rel=0.06)
    if not math.isnan(law.omega):
        assert draws.min(axis=0).mean() == pytest.approx(law.omega, rel=0.01)


# the bound ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("servers", [1, 2, 4, 32, 256])
@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_the_bound_never_promises_more_than_simulation(servers: int, arrivals: str) -> None:
    late = []
    for number, (name, services) in enumerate(SERVICES.items()):
        arriving = ARRIVALS[arrivals]
        bound = greatest_utilisation(servers, SLACKS, arriving.cv2, services.cv2, peakedness(arriving, services))
        customers = (150_000 if servers < 256 else 100_000) * (20 if LONG else 1)
        copies = 64 if servers < 32 else 16
        found = simulate(
            arriving, services, servers, bound / (1 + ALLOWED), SLACKS, customers, copies=copies, seed=100 + number, every=1 if LONG else 2
        )
        at = np.arange(len(SLACKS))
        share, error = found.share[at, at], found.standard_error[at, at]
        late += [f"{name}, slack {s:g}: {p:.5f} ± {e:.5f}" for s, p, e in zip(SLACKS, share, error, strict=True) if p - 2 * e > TAIL]
        if LONG:
            closed = closed_form_utilisation(servers, SLACKS, arriving.cv2, services.cv2, peakedness(arriving, services))
            print(servers, arrivals, name, "bound", bound.round(4), "late", share.round(5), "±", error.round(5), "closed", closed.round(4))
    assert not late, "\n".join(late)


def test_the_closed_form_alone_promises_too_much() -> None:
    """Why there is a table: one server, much slack, lognormal services."""
    closed = closed_form_utilisation(1, 10.0, 1.0, 3.0, 1.0)
    found = simulate(exponential(), lognormal(3), 1, np.array([closed / 1.2]), np.array([10.0]), 400_000)
    assert found.share[0, 0] - 2 * found.standard_error[0, 0] > TAIL
