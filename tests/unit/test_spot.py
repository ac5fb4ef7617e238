"""Checkpointed work and preemptible capacity, against simulation, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from optimizer.performance import checkpoint, spot
from tests.unit.test_training import assert_gradients


def simulated_goodput(interval_s: float, checkpoint_s: float, restart_s: float, mtbf_s: float, seed: int) -> tuple[float, float]:
    """(share of time that is progress, standard error): work, checkpoint, Poisson failures at any time, restart, again.

    20 batches of 2,000 completed segments; one segment is `interval_s` of work that its checkpoint has saved."""
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(20):
        clock = 0.0
        failed = np.zeros(2000, bool)
        for _ in range(10_000):
            restart = np.where(failed, restart_s, 0.0)
            need = restart + interval_s + checkpoint_s
            life = rng.exponential(mtbf_s, len(failed))
            lost = life < need
            clock += float(np.where(lost, life, need).sum())
            failed = np.ones(int(lost.sum()), bool)
            if not len(failed):
                break
        shares.append(2000 * interval_s / clock)
    return float(np.mean(shares)), float(np.std(shares, ddof=1) / np.sqrt(len(shares)))


@pytest.mark.parametrize(
    ("interval", "pause", "restart", "mtbf"),
    [
        (667.0, 20.0, 300.0, 11135.0),  # 16,384 chips of the Llama 3 job, Young's interval
        (334.0, 20.0, 300.0, 2784.0),  # 65,536 chips
        (900.0, 60.0, 600.0, 1800.0),  # spot chips taken twice an hour
        (3600.0, 60.0, 600.0, 1800.0),  # far too rare checkpoints
        (60.0, 60.0, 5.0, 3600.0),  # far too frequent ones
    ],
)
def test_goodput_is_that_of_the_process(interval: float, pause: float, restart: float, mtbf: float) -> None:
    mean, error = simulated_goodput(interval, pause, restart, mtbf, 11)
    exact = checkpoint.goodput_at_interval(interval, pause, restart, mtbf)
    assert abs(exact - mean) <= 4 * error and error < 0.005


def test_youngs_form_is_close_where_it_is_used() -> None:
    """Within 0.25 points of the exact best goodput down to 77 %, never below it by more than rounding."""
    chips = np.array([1024.0, 4096.0, 16384.0, 65536.0])
    mtbf = 50677.0 * 3600 / chips
    young, exact = checkpoint.young_goodput(20.0, 300.0, mtbf), checkpoint.best_goodput(20.0, 300.0, mtbf)
    assert np.all(young >= exact) and np.all(young - exact < 2.5e-3)
    assert checkpoint.goodput_at_interval(checkpoint.young_interval_s(20.0, mtbf), 20.0, 300.0, mtbf) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("pause", [1e-6, 1e-3, 0.1, 1.0, 10.0])
def test_best_interval(pause: float) -> None:
    """Against Lambert's W of scipy, and against a numerical search."""
    mtbf = 7200.0
    share = 1 + lambertw(-np.exp(-1 - pause)).real
    assert checkpoint.best_interval_s(pause * mtbf, mtbf) == pytest.approx(share * mtbf, rel=1e-7)
    found = minimize_scalar(
        lambda log_interval: -checkpoint.goodput_at_interval(np.exp(log_interval), pause * mtbf, 100.0, mtbf),
        bounds=(np.log(1e-4 * mtbf), np.log(mtbf)), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    assert checkpoint.best_interval_s(pause * mtbf, mtbf) == pytest.approx(np.exp(found.x), rel=1e-3)
    assert checkpoint.best_goodput(pause * mtbf, 100.0, mtbf) == pytest.approx(-found.fun, rel=1e-9)


def test_spot_training() -> None:
    rate, pause, restore = 0.05, 30.0, 600.0
    best = spot.training_goodput(rate, pause, restore)
    interval = spot.checkpoint_interval_s(rate, pause)
    assert best == pytest.approx(spot.training_goodput(rate, pause, restore, interval), rel=1e-12)
    assert best > spot.training_goodput(rate, pause, restore, 2 * interval) and best > spot.training_goodput(
        rate, pause, restore, interval / 2
    )
    # to first order: restore and half an interval per interruption, and the checkpoints themselves
    lost = rate / 3600 * (interval / 2 + restore) + pause / interval
    assert 1 - best == pytest.approx(lost, rel=0.02)


def test_spot_inference() -> None:
    assert spot.availability(0.5, 3600.0) == pytest.approx(1 / 1.5)
    assert spot.inference_work_lost(0.05, 20.0) == pytest.approx(0.05 * 20 / 3600, rel=1e-3)
    assert spot.inference_goodput(0.05, 20.0, 300.0) == pytest.approx((1 - 0.05 * 20 / 3600) / (1 + 0.05 * 300 / 3600), rel=1e-6)
    rng = np.random.default_rng(5)
    # requests of constant residence, an interruption at a Poisson time: caught when it comes before the end
    caught = rng.exponential(3600 / 2.0, 400_000) < 900.0
    share = spot.inference_work_lost(2.0, 900.0)
    assert abs(caught.mean() - share) < 4 * np.sqrt(share * (1 - share) / caught.size)
    # a random residence of the same mean loses less
    random = rng.exponential(3600 / 2.0, 400_000) < rng.exponential(900.0, 400_000)
    assert random.mean() < share


def test_rates() -> None:
    assert spot.rate_per_hour_of_monthly_share(0.1) * spot.HOURS_PER_MONTH == pytest.approx(-np.log(0.9))
    assert 1 - np.exp(-spot.rate_per_hour_of_monthly_share(0.35) * spot.HOURS_PER_MONTH) == pytest.approx(0.35)
    assert spot.gang_rate_per_hour(0.001, 64) == pytest.approx(0.064)


GRADIENTS = {
    "at_interval": (lambda a, xp: checkpoint.goodput_at_interval(*a, xp=xp), [800.0, 30.0, 400.0, 9000.0]),
    "young_interval": (lambda a, xp: checkpoint.young_interval_s(*a, xp=xp), [30.0, 9000.0]),
    "young": (lambda a, xp: checkpoint.young_goodput(*a, xp=xp), [30.0, 400.0, 9000.0]),
    "best_interval": (lambda a, xp: checkpoint.best_interval_s(*a, xp=xp), [30.0, 9000.0]),
    "best": (lambda a, xp: checkpoint.best_goodput(*a, xp=xp), [30.0, 400.0, 9000.0]),
    "monthly": (lambda a, xp: spot.rate_per_hour_of_monthly_share(*a, xp=xp), [0.2]),
    "gang": (lambda a, xp: spot.gang_rate_per_hour(*a), [0.001, 64.0]),
    "training": (lambda a, xp: spot.training_goodput(*a, xp=xp), [0.4, 30.0, 400.0]),
    "training_at_interval": (lambda a, xp: spot.training_goodput(a[0], a[1], a[2], a[3], xp), [0.4, 30.0, 400.0, 500.0]),
    "interval": (lambda a, xp: spot.checkpoint_interval_s(*a, xp=xp), [0.4, 30.0]),
    "availability": (lambda a, xp: spot.availability(*a), [0.4, 300.0]),
    "lost": (lambda a, xp: spot.inference_work_lost(*a, xp=xp), [0.4, 30.0]),
    "inference": (lambda a, xp: spot.inference_goodput(*a, xp=xp), [0.4, 30.0, 300.0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    assert_gradients(*GRADIENTS[name])
