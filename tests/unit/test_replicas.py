"""Chips of a pool of replicas: limits, monotonicity, concavity, and derivatives against finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.performance.replicas import ReplicaLoad, chips_needed, prefill_chips, slot_chips, spare_chips, spare_parts

ONE = ReplicaLoad(8.0, 0.9, 0.12, 0.4, 64.0, 1.5, 1.0, 1.3, 0.0)
NAMES = [name for name in ReplicaLoad._fields if name != "sticky"]


def test_a_large_pool_needs_what_is_busy_and_little_more() -> None:
    rate = np.array([1e2, 1e4, 1e6])
    share = spare_chips(rate, ONE) / (rate * ONE.chips * ONE.busy_s)
    assert (np.diff(share) < 0).all() and share[-1] < 5e-3 and share[0] > 0.02


def test_one_replica_is_shared_below_its_load() -> None:
    tiny = np.array([1e-6, 1e-5, 1e-4])
    for chips in (slot_chips, prefill_chips, chips_needed):
        needed = chips(tiny, ONE)
        np.testing.assert_allclose(needed / tiny, needed[0] / tiny[0], rtol=1e-9)
    assert chips_needed(0.0, ONE) == 0.0


@pytest.mark.parametrize(
    ("field", "sign"), [("slack_s", -1), ("slots", -1), ("arrival_cv2", +1), ("service_cv2", +1), ("peakedness", +1), ("prefill_s", +1)]
)
def test_more_slack_helps_and_more_variability_hurts(field: str, sign: int) -> None:
    rate = np.geomspace(0.1, 1e4, 60)
    for factor in (1.1, 2.0):
        other = ONE._replace(**{field: getattr(ONE, field) * factor})
        assert (sign * (chips_needed(rate, other) - chips_needed(rate, ONE)) >= -1e-9 * chips_needed(rate, ONE)).all()


def test_sticky_sessions_need_more_than_a_pool() -> None:
    rate = np.geomspace(1.0, 1e4, 30)
    assert (chips_needed(rate, ONE._replace(sticky=1.0)) >= chips_needed(rate, ONE) * (1 - 1e-9)).all()


def test_sticky_sessions_cannot_use_the_free_slots_of_another_replica() -> None:
    """Ten replicas with sessions of their own need ten times what one needs."""
    alone = ONE._replace(sticky=1.0, slack_s=100.0)
    assert slot_chips(500.0, alone) == pytest.approx(100 * slot_chips(5.0, alone))
    assert slot_chips(500.0, alone) > 1.1 * slot_chips(500.0, ONE)


def test_each_part_is_concave_and_zero_at_zero() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        load = ONE._replace(slack_s=rng.uniform(0.05, 4), slots=rng.choice([1.0, 16.0, 256.0]), service_cv2=rng.uniform(0, 3))
        rate = np.linspace(0.0, np.exp(rng.uniform(-1, 9)), 400)
        for part in spare_parts(rate, load):
            bend = part[2:] - 2 * part[1:-1] + part[:-2]
            assert part[0] == 0 and (bend <= 1e-8 * np.abs(part).max() + 1e-12).all()


@pytest.mark.parametrize("rate", [0.05, 3.0, 40.0, 5e3])
def test_gradients_match_finite_differences_under_jit_and_vmap(rate: float) -> None:
    leaves = np.array([getattr(ONE, name) for name in NAMES])

    def chips(x, r, xp):
        return chips_needed(r, ReplicaLoad(**{name: x[i] for i, name in enumerate(NAMES)}, sticky=0.0), xp)

    with jax.enable_x64(True):
        both = jax.jit(jax.vmap(jax.grad(lambda x, r: chips(x, r, jnp), (0, 1)), (None, 0)))
        slope, by_rate = both(jnp.asarray(leaves), jnp.asarray([rate]))
    for i in range(len(leaves)):
        step = 1e-5 * leaves[i]
        up, down = leaves.copy(), leaves.copy()
        up[i] += step
        down[i] -= step
        quotient = (chips(up, rate, np) - chips(down, rate, np)) / (2 * step)
        assert float(slope[0, i]) == pytest.approx(float(quotient), rel=1e-6, abs=1e-7 * float(chips(leaves, rate, np))), NAMES[i]
    quotient = (chips(leaves, rate * (1 + 1e-5), np) - chips(leaves, rate * (1 - 1e-5), np)) / (2e-5 * rate)
    assert float(by_rate[0]) == pytest.approx(float(quotient), rel=1e-6)
    single = jax.jit(lambda x: chips(x, jnp.float32(rate), jnp))(jnp.asarray(leaves, jnp.float32))
    assert float(single) == pytest.approx(float(chips(leaves, rate, np)), rel=2e-4)
