"""Wright omega function of a real argument: the root omega > 0 of omega + ln(omega) = r.

It inverts the waiting-time tail of a pooled queue (optimizer.performance.queueing). d omega / d r = omega / (1 + omega).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

NEWTON_STEPS = 5


def wright_omega(r: Any, xp: ModuleType = np) -> Any:
    """omega(r) of a real array of any shape: |omega + ln(omega) - r| <= 1e-14 max(1, |r|) for r in [-20, 1e4] in float64.

    With xp = jax.numpy every derivative follows omega / (1 + omega) and not the iteration.
    """
    return _newton(xp.asarray(r), np) if xp is np else _jax_omega()(xp.asarray(r))


def _newton(r: Any, xp: ModuleType) -> Any:
    # Both starts are lower bounds, and omega + ln(omega) is concave: the iterates rise to the root and stay positive.
    small = xp.minimum(r, 1.0)
    omega = xp.maximum(xp.exp(small) / (1.0 + xp.exp(small)), r - xp.log(xp.maximum(r, 1.0)))
    for _ in range(NEWTON_STEPS):
        omega = omega * (1.0 + r - xp.log(omega)) / (1.0 + omega)
    return omega


@cache
def _jax_omega() -> Callable[[Any], Any]:
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def omega(r: Any) -> Any:
        return _newton(r, jnp)

    @omega.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        value = omega(primals[0])
        return value, value / (1.0 + value) * tangents[0]

    return omega
