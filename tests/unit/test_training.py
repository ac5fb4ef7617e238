"""Training: FLOPs, scaling, goodput and the chips for a deadline, against published runs, simulation and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.performance.training import (
    Reliability,
    Scaling,
    fastest_chips,
    goodput,
    mfu,
    sustained_tflops_per_chip,
    training_chips,
    training_flops,
    training_seconds,
    whole_slices,
)

DAY = 86400.0
# Llama 3 405B on H100: 3.8e25 FLOP, 43 % on 8,192 chips, 419 unexpected interruptions in 54 days on 16,384
LLAMA = Scaling(0.43, 8192.0, 0.069, 0.069, 8.0)
FAILURES = Reliability(50677.0, 30.0, 400.0)
RUN = 3.8e25
# kinks only at chips = scale_up_chips
CLIFF = Scaling(0.5, 64.0, 0.004, 0.06, 256.0)


def test_flops_of_published_models() -> None:
    """FLOP per token as public training tables count them (model TFLOP/s over tokens/s), without the input embedding."""
    llama_8b = training_flops(8.03e9 - 128256 * 4096, 1.0, 32, 4096, 8192)
    llama_70b = training_flops(70.55e9 - 128256 * 8192, 1.0, 80, 8192, 8192)
    long = training_flops(70.55e9 - 128256 * 8192, 1.0, 80, 8192, 131072)
    assert llama_8b == pytest.approx(1933e12 / 37556, rel=2e-3)
    assert llama_70b == pytest.approx(1207.05e12 / 2686.98, rel=2e-3)
    assert long == pytest.approx(897.94e12 / 963.03, rel=2e-3)
    assert training_flops(8e9, 2e12, 32, 4096, 8192) == pytest.approx(2e12 * training_flops(8e9, 1.0, 32, 4096, 8192))


@pytest.mark.parametrize(("days", "chips"), [(54, 23_700), (70, 17_400), (100, 11_600), (200, 5_300)])
def test_chips_for_a_deadline(days: float, chips: float) -> None:
    found = training_chips(RUN, days * DAY, 989.0, LLAMA, FAILURES)
    assert found.feasible and float(found.chips) == pytest.approx(chips, rel=5e-3)
    assert training_seconds(RUN, found.chips, 989.0, LLAMA, FAILURES) == pytest.approx(days * DAY, rel=1e-12)


def test_goodput_of_a_large_job() -> None:
    """20 s checkpoints, 300 s restarts. To first order (1 - sqrt(2 t/M) - R/M) published as 98.3, 96.3, 91.3 and 77 %; the exponential
    form, which cannot turn negative, lies above it by the second-order terms."""
    chips = np.array([1024.0, 4096.0, 16384.0, 65536.0])
    exact = goodput(chips, Reliability(50677.0, 20.0, 300.0))
    first_order = 1 + np.log(exact)
    assert first_order == pytest.approx([0.983, 0.963, 0.913, 0.77], abs=3e-3)
    assert exact == pytest.approx([0.9835, 0.9640, 0.9168, 0.7964], abs=1e-4)


def test_more_chips_than_the_fastest_finish_later() -> None:
    best = float(fastest_chips(LLAMA, FAILURES))
    assert best == pytest.approx(350_000, rel=0.01)
    seconds = training_seconds(RUN, best * np.array([0.9, 0.99, 1.0, 1.01, 1.1]), 989.0, LLAMA, FAILURES)
    assert np.argmin(seconds) == 2
    grid = np.geomspace(1.0, 1e7, 400_001)
    for scaling in (LLAMA, CLIFF, Scaling(0.5, 64.0, 0.0, 0.6, 60_000.0), Scaling(0.5, 64.0, 0.0, 0.9, 200_000.0)):
        slowest = grid[np.argmin(training_seconds(RUN, grid, 989.0, scaling, FAILURES))]
        assert fastest_chips(scaling, FAILURES) == pytest.approx(slowest, rel=1e-3)


def test_an_impossible_deadline() -> None:
    fastest = float(training_seconds(RUN, fastest_chips(LLAMA, FAILURES), 989.0, LLAMA, FAILURES))
    found = training_chips(RUN, fastest * np.array([0.5, 1 - 1e-6, 1 + 1e-6, 1.5]), 989.0, LLAMA, FAILURES)
    assert found.feasible.tolist() == [False, False, True, True]
    assert np.isinf(found.chips[:2]).all() and (found.chips[2:] <= found.fastest_chips).all()
    assert found.chips[2] == pytest.approx(float(fastest_chips(LLAMA, FAILURES)), rel=0.01)


def test_the_root_is_the_fewest_chips() -> None:
    """Brute force over a fine grid, inside, at and beyond the scale-up domain."""
    grid = np.geomspace(1.0, float(fastest_chips(CLIFF, FAILURES)), 400_001)
    seconds = training_seconds(1e22, grid, 989.0, CLIFF, FAILURES)
    for n in (3.0, 100.0, 255.0, 256.0, 257.0, 5000.0, 90_000.0):
        deadline = training_seconds(1e22, n, 989.0, CLIFF, FAILURES)
        found = training_chips(1e22, deadline, 989.0, CLIFF, FAILURES)
        assert found.chips == pytest.approx(n, rel=1e-9)
        assert grid[np.argmax(seconds <= deadline * (1 + 1e-9))] == pytest.approx(n, rel=1e-4)


def test_chips_are_convex_in_the_work() -> None:
    chips = training_chips(np.linspace(1e24, 6e25, 60), 60 * DAY, 989.0, LLAMA, FAILURES).chips
    assert np.isfinite(chips).all() and (np.diff(chips) > 0).all() and (np.diff(chips, 2) > 0).all()


def test_utilisation_falls_by_gamma() -> None:
    """Flat inside the scale-up domain, a power law across it, continuous between, exact at the reference on either side."""
    flat = Scaling(0.5, 64.0, 0.0, 0.05, 256.0)
    assert mfu(np.array([1.0, 64.0, 256.0]), flat) == pytest.approx([0.5, 0.5, 0.5])
    assert mfu(np.array([512.0, 2560.0]), flat) == pytest.approx([0.5 * 2**-0.05, 0.5 * 10**-0.05])
    assert mfu(16384.0, LLAMA) == pytest.approx(0.43 * 2**-0.069)
    across = Scaling(0.4, 4096.0, 0.01, 0.05, 256.0)
    assert mfu(4096.0, across) == pytest.approx(0.4)
    assert mfu(64.0, across) == pytest.approx(0.4 * 16**0.05 * 4**0.01)
    assert sustained_tflops_per_chip(4096.0, 1000.0, across, FAILURES, 0.9) == pytest.approx(360 * goodput(4096.0, FAILURES))


def test_whole_slices() -> None:
    found = whole_slices(np.array([0.0, 1.0, 64.0, 64.0 + 1e-9, 65.0, 300.0]), 64, 256)
    assert found.chips.tolist() == [0, 256, 256, 256, 256, 320]
    assert found.added_chips == pytest.approx([0, 255, 192, 192, 191, 20])
    assert found.added_share[-1] == pytest.approx(20 / 300) and found.added_share[0] == 0
    assert whole_slices(12.3).chips == 13 and whole_slices(12.0).added_chips == 0
    assert whole_slices(1e-9 / 2, 8).chips == 0  # nothing but rounding


# every public smooth function as f(theta, xp); theta is one point of its arguments
GRADIENTS: dict[str, tuple[Callable[[Any, ModuleType], Any], list[float]]] = {
    "training_flops": (lambda a, xp: training_flops(*a), [7e10, 1.5e13, 80.0, 8192.0, 8192.0]),
    "mfu": (lambda a, xp: mfu(a[0], Scaling(*a[1:]), xp), [3000.0, 0.4, 512.0, 0.004, 0.05, 256.0]),
    "goodput": (lambda a, xp: goodput(a[0], Reliability(*a[1:]), xp), [16384.0, 50677.0, 20.0, 300.0]),
    "sustained": (
        lambda a, xp: sustained_tflops_per_chip(a[0], a[1], Scaling(*a[2:7]), Reliability(*a[7:10]), a[10], xp),
        [3000.0, 989.0, 0.4, 512.0, 0.004, 0.05, 256.0, 50677.0, 20.0, 300.0, 0.97],
    ),
    "fastest": (
        lambda a, xp: fastest_chips(Scaling(*a[:5]), Reliability(*a[5:]), xp), [0.4, 512.0, 0.004, 0.05, 256.0, 50677.0, 20.0, 300.0],
    ),
    "chips_across": (
        lambda a, xp: training_chips(a[0], a[1], a[2], Scaling(*a[3:8]), Reliability(*a[8:11]), a[11], xp).chips,
        [3e24, 60 * DAY, 989.0, 0.4, 512.0, 0.004, 0.05, 256.0, 50677.0, 20.0, 300.0, 0.97],
    ),
    "chips_inside": (
        lambda a, xp: training_chips(a[0], a[1], a[2], Scaling(*a[3:8]), Reliability(*a[8:11]), a[11], xp).chips,
        [2e23, 60 * DAY, 989.0, 0.4, 512.0, 0.004, 0.05, 256.0, 50677.0, 20.0, 300.0, 0.97],
    ),
    "seconds": (
        lambda a, xp: training_seconds(a[0], a[1], a[2], Scaling(*a[3:8]), Reliability(*a[8:11]), a[11], xp),
        [3e24, 4000.0, 989.0, 0.4, 512.0, 0.004, 0.05, 256.0, 50677.0, 20.0, 300.0, 0.97],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    """Under jit and vmap, float64: 1e-6 relative to central differences of the numpy path (in logarithms, so that all arguments count
    alike); float32: 2e-3."""
    assert_gradients(*GRADIENTS[name])


def assert_gradients(function: Callable[[Any, ModuleType], Any], point: list[float]) -> None:
    points = np.asarray(point) * np.exp(np.random.default_rng(3).uniform(-0.02, 0.02, (4, len(point))))
    h = 1e-5

    def in_logs(log_theta: Any, xp: ModuleType) -> Any:
        theta = xp.exp(log_theta)
        return xp.log(function([theta[i] for i in range(len(point))], xp))

    logs = np.log(points)
    steps = h * np.eye(len(point))
    expected = np.array([[(in_logs(row + s, np) - in_logs(row - s, np)) / (2 * h) for s in steps] for row in logs])
    with jax.enable_x64(True):
        value, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda a: in_logs(a, jnp))))(jnp.asarray(logs))
        assert np.asarray(value) == pytest.approx(np.array([in_logs(row, np) for row in logs]), rel=1e-12)
        assert np.abs(np.asarray(slope) - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())
        forward = jax.jit(jax.vmap(jax.jacfwd(lambda a: in_logs(a, jnp))))(jnp.asarray(logs))
        assert np.asarray(forward) == pytest.approx(np.asarray(slope), rel=1e-9, abs=1e-12)
    single = jax.jit(jax.vmap(jax.grad(lambda a: in_logs(a, jnp))))(jnp.asarray(logs, jnp.float32))
    assert single.dtype == jnp.float32
    assert np.abs(np.asarray(single) - expected).max() <= 2e-3 * max(1.0, np.abs(expected).max())


def test_no_nan_where_nothing_is_feasible() -> None:
    def chips(deadline: Any) -> Any:
        return jnp.where(
            training_chips(RUN, deadline, 989.0, LLAMA, FAILURES, xp=jnp).feasible,
            training_chips(RUN, deadline, 989.0, LLAMA, FAILURES, xp=jnp).chips,
            0.0,
        )

    with jax.enable_x64(True):
        slopes = jax.vmap(jax.grad(chips))(jnp.array([1.0, 3.0, 60.0]) * DAY)
    assert np.isfinite(np.asarray(slopes)).all() and slopes[0] == 0 and slopes[2] < 0
