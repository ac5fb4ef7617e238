"""The Wright omega function: its equation, its derivative rule, a second definition."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import wrightomega

from optimizer.performance.wright_omega import wright_omega

ARGUMENTS = np.concatenate([np.linspace(-20, 20, 4001), np.geomspace(20, 1e4, 2001)])


def test_the_equation_holds_to_the_last_digits() -> None:
    omega = wright_omega(ARGUMENTS)
    residual = np.abs(omega + np.log(omega) - ARGUMENTS)
    assert (residual <= 1e-14 * np.maximum(1, np.abs(ARGUMENTS))).all()
    assert residual[np.abs(ARGUMENTS) < 10].max() <= 1e-14


def test_scipy_agrees() -> None:
    np.testing.assert_allclose(wright_omega(ARGUMENTS), wrightomega(ARGUMENTS), rtol=2e-14)


def test_far_left_it_is_the_exponential() -> None:
    np.testing.assert_allclose(wright_omega(np.array([-700.0, -40.0])), np.exp([-700.0, -40.0]), rtol=1e-14)


def test_its_own_derivative_under_jit_and_vmap() -> None:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        r = jnp.asarray(ARGUMENTS[::50])
        slope = jax.jit(jax.vmap(jax.grad(lambda x: wright_omega(x, jnp))))(r)
        omega, h = wright_omega(np.asarray(r)), 1e-5
        np.testing.assert_allclose(slope, omega / (1 + omega), rtol=1e-14)
        central = (wright_omega(np.asarray(r) + h) - wright_omega(np.asarray(r) - h)) / (2 * h)
        np.testing.assert_allclose(slope[np.abs(r) < 15], central[np.abs(r) < 15], rtol=1e-6)
        second = jax.vmap(jax.grad(jax.grad(lambda x: wright_omega(x, jnp))))(r)
        np.testing.assert_allclose(second, omega / (1 + omega) ** 3, rtol=1e-10)


def test_single_precision() -> None:
    import jax.numpy as jnp

    r = jnp.asarray(ARGUMENTS, jnp.float32)
    np.testing.assert_allclose(wright_omega(r, jnp), wrightomega(np.asarray(r, float)), rtol=4e-6)


@pytest.mark.parametrize("module", ["wright_omega", "queueing", "small_pools"])
def test_importing_it_does_not_load_jax(module: str) -> None:
    code = f"import sys, optimizer.performance.{module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
