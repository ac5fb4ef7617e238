"""How much load a pool of servers carries under a waiting-time percentile, and how many servers a load needs.

First come, first served, one queue for the pool (G/G/c). Time is counted in mean service times S; the slack is what the wait may last.

    P(W > t) = rho^m exp(-c (1 - rho) t / V),   m = (sqrt(2 (c + 1)) - 1) / sqrt(z),   V = (ca2 + cs2) / 2        (Sakasegawa; Whitt's z)

set to the tail eps at t = slack and solved for rho with the Wright omega function, corrected by optimizer.performance.small_pools,
which holds it below a simulation. The load carried, c rho_max(c), is increasing and convex in c; its inverse g(a) is the number of servers
for a load of a erlangs, increasing and concave with g(0) = 0. Below the load of one server g is the ray a / rho_max(1): a part of a
server. The only kink is there, at a = rho_max(1).

Arguments are arrays that broadcast: servers (>= 1, real), slack (>= 0, in service times), arrival_cv2, service_cv2 (>= 0, not both 0),
peakedness (> 0), tail in [0.01, 1). With xp = numpy a value outside its range raises ValueError; with jax.numpy nothing is checked.
Derivatives by every argument are right to first order.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from optimizer.performance.small_pools import TAIL, SmallPool, carried_load, small_pool
from optimizer.performance.wright_omega import wright_omega

CAUTION = 1.06  # on V in pools: the closed form is up to 2.1 % above simulation at 64 and 256 servers with bursty arrivals
NEWTON_STEPS = 12
SMALLEST_DECAY = 1e-12  # c slack / V where the slack is zero: the formula's limit, to 12 digits


class Headroom(NamedTuple):
    """Servers beyond the load itself, g(a) - a, and its slope g'(a) - 1 (at the kink the smaller one)."""

    servers: Any
    slope: Any


def closed_form_utilisation(
    servers: Any, slack: Any, arrival_cv2: Any, service_cv2: Any, peakedness: Any, tail: Any = TAIL, xp: ModuleType = np
) -> Any:
    """Utilisation at which P(W > slack) = tail, in (0, 1), by the closed form alone: exact for M/M/1, no bound for small pools."""
    _check(xp, servers=servers, slack=slack, arrival_cv2=arrival_cv2, service_cv2=service_cv2, peakedness=peakedness, probability=tail)
    return _closed_form(servers, _Traffic(slack, arrival_cv2, service_cv2, peakedness, tail), xp)[0]


def greatest_utilisation(
    servers: Any, slack: Any, arrival_cv2: Any, service_cv2: Any, peakedness: Any, tail: Any = TAIL, xp: ModuleType = np
) -> Any:
    """Largest utilisation of a pooled queue with P(W > slack) <= tail: below simulation at a tail of 1 %.

    The loads of small pools are simulated at 1 % and used at every tail in [0.01, 1): more of it is given away the greater the tail.
    """
    _check(xp, servers=servers, slack=slack, arrival_cv2=arrival_cv2, service_cv2=service_cv2, peakedness=peakedness, tail=tail)
    pool = small_pool(slack, arrival_cv2, service_cv2, peakedness, xp)
    servers = xp.asarray(servers)
    return _carried(servers, _Traffic(slack, arrival_cv2, service_cv2, peakedness, tail), pool, xp)[0] / servers


def servers_needed(
    offered_load_erlangs: Any,
    slack: Any,
    arrival_cv2: Any,
    service_cv2: Any,
    peakedness: Any,
    tail: Any = TAIL,
    *,
    sticky: bool = False,
    xp: ModuleType = np,
) -> Any:
    """Servers g(a), a real number, that carry a load a >= 0 (arrival rate x mean service time) with P(W > slack) <= tail, in [0.01, 1).

    `sticky`: every server keeps a queue of its own (prefix-cache affinity, random routing), so g(a) = a / rho_max(1). The variability is
    then that of the stream which reaches one server; it is nearer to Poisson than the whole if requests are sent at random.
    """
    return _needed(offered_load_erlangs, _Traffic(slack, arrival_cv2, service_cv2, peakedness, tail), sticky, xp)[0]


def headroom(
    offered_load_erlangs: Any,
    slack: Any,
    arrival_cv2: Any,
    service_cv2: Any,
    peakedness: Any,
    tail: Any = TAIL,
    *,
    sticky: bool = False,
    xp: ModuleType = np,
) -> Headroom:
    """g(a) - a and its slope, arguments as in servers_needed. A tangent of g lies above g, a secant below."""
    servers, slope = _needed(offered_load_erlangs, _Traffic(slack, arrival_cv2, service_cv2, peakedness, tail), sticky, xp)
    return Headroom(servers - offered_load_erlangs, slope - 1.0)


def slots_needed(offered_load_erlangs: Any, peakedness: Any, blocking: Any = TAIL, xp: ModuleType = np) -> Any:
    """Slots (decode sequences) so that a request finds none free with probability `blocking` in (0, 1): a + beta sqrt(z a).

    Square-root staffing; a in busy slots. Its slope is infinite at a = 0.
    """
    _check(xp, offered_load_erlangs=offered_load_erlangs, peakedness=peakedness)
    spread = peakedness * xp.asarray(offered_load_erlangs)
    busy = spread > 0.0
    root = xp.where(busy, xp.sqrt(xp.where(busy, spread, 1.0)), 0.0)
    return offered_load_erlangs + staffing_beta(blocking, xp) * root


def staffing_beta(blocking: Any, xp: ModuleType = np) -> Any:
    """beta > 0 of the Halfin-Whitt delay probability 1 / (1 + beta Phi(beta) / phi(beta)) = blocking, in (0, 1)."""
    _check(xp, blocking=blocking)
    target = xp.log(1.0 / xp.asarray(blocking) - 1.0)

    def residual(log_beta: Any, target: Any) -> tuple[Any, Any]:
        """ln(beta Phi / phi) - target and its derivative by ln(beta)."""
        beta = xp.exp(log_beta)
        below = 1.0 - 0.5 * _erfc(beta / math.sqrt(2.0), xp)
        density = xp.exp(-0.5 * beta**2) / math.sqrt(2.0 * math.pi)
        return log_beta + xp.log(below / density) - target, 1.0 + beta * density / below + beta**2

    held = _held(target, xp)
    log_beta = xp.where(held > 0.0, 0.5 * xp.log(1.0 + 2.0 * xp.maximum(held, 0.0)), held)
    for _ in range(NEWTON_STEPS):
        value, slope = residual(log_beta, held)
        log_beta = log_beta - value / slope
    log_beta = _held(log_beta, xp)
    value, slope = residual(log_beta, target)  # the last step carries the derivative
    return xp.exp(log_beta - value / _held(slope, xp))


def renewal_peakedness(arrival_cv2: Any, service_omega: Any) -> Any:
    """z = 1 + (ca2 - 1) omega of a renewal stream; omega = E[min(S1, S2)] / S of two independent services (1/2 exponential, 1 constant)."""
    return 1.0 + (arrival_cv2 - 1.0) * service_omega


def service_peakedness(arrival_cv2: Any, service_cv2: Any, xp: ModuleType = np) -> Any:
    """Peakedness of a renewal stream seen by lognormal services: constant ones where service_cv2 is 0. Greater than 0 if arrival_cv2 is."""
    return renewal_peakedness(arrival_cv2, lognormal_omega(service_cv2, xp))


def lognormal_omega(service_cv2: Any, xp: ModuleType = np) -> Any:
    """omega of lognormal services: 2 Phi(-sigma / sqrt 2), sigma^2 = ln(1 + cs2). Its slope is infinite at cs2 = 0."""
    _check(xp, service_cv2=service_cv2)
    spread = xp.log1p(xp.asarray(service_cv2))
    varies = spread > 0.0
    return _erfc(xp.where(varies, 0.5 * xp.sqrt(xp.where(varies, spread, 1.0)), 0.0), xp)


# inside ---------------------------------------------------------------------------------------------------------------------------
def _closed_form(c: Any, traffic: _Traffic, xp: ModuleType) -> tuple[Any, Any]:
    """(rho, d rho / d c) of the closed form."""
    decay = traffic.slack / (0.5 * (traffic.arrival_cv2 + traffic.service_cv2))
    spread = xp.sqrt(traffic.peakedness)
    scaled = c * decay + SMALLEST_DECAY
    root = xp.sqrt(2.0 * (c + 1.0))
    m = (root - 1.0) / spread
    log_tail = xp.log(xp.asarray(traffic.tail))
    rho = m / scaled * wright_omega((scaled + log_tail) / m - xp.log(m / scaled), xp)
    # -m ln(rho) + scaled (1 - rho) = -ln(tail), differentiated
    slope = (decay * (1.0 - rho) - xp.log(rho) / (root * spread)) / (m / rho + scaled)
    return rho, slope


class _Traffic(NamedTuple):
    slack: Any
    arrival_cv2: Any
    service_cv2: Any
    peakedness: Any
    tail: Any


def _carried(c: Any, traffic: _Traffic, pool: SmallPool, xp: ModuleType) -> tuple[Any, Any]:
    """(load c rho_max(c) carried by c servers, its derivative by c)."""
    careful = traffic._replace(arrival_cv2=CAUTION * traffic.arrival_cv2, service_cv2=CAUTION * traffic.service_cv2)
    rho, slope = _closed_form(c, careful, xp)
    return carried_load(c, rho, slope, pool, xp)


def _needed(load: Any, traffic: _Traffic, sticky: bool, xp: ModuleType) -> tuple[Any, Any]:
    """(g(a), g'(a)). Newton on a convex function: after the first step every iterate lies above the root and falls to it."""
    _check(xp, offered_load_erlangs=load, **traffic._asdict())
    load, traffic = xp.asarray(load), _Traffic(*(xp.asarray(x) for x in traffic))
    pool = small_pool(*traffic[:4], xp)
    one, _ = _carried(1.0, traffic, pool, xp)
    if sticky:
        return load / one, 1.0 / one + xp.zeros_like(load)
    whole = load >= one
    held, held_pool = _Traffic(*(_held(x, xp) for x in traffic)), SmallPool(*(_held(x, xp) for x in pool))
    target = _held(xp.maximum(load, one), xp)

    def newton(_: Any, c: Any) -> Any:
        carried, slope = _carried(c, held, held_pool, xp)
        return xp.maximum(c - (carried - target) / slope, 1.0)

    root = xp.maximum(target, 1.0)
    if xp is np:
        for step in range(NEWTON_STEPS):
            root = newton(step, root)
    else:
        from jax import lax

        root = lax.stop_gradient(lax.fori_loop(0, NEWTON_STEPS, newton, root))
    carried, slope = _carried(root, traffic, pool, xp)
    # the last step carries the derivative: d g = (d a - the change of c rho_max at this c) / slope
    servers = root - (carried - xp.where(whole, load, _held(carried, xp))) / _held(slope, xp)
    return xp.where(whole, servers, load / one), xp.where(whole, 1.0 / slope, 1.0 / one)


def _held(value: Any, xp: ModuleType) -> Any:
    """The value without its derivative."""
    if xp is np:
        return value
    from jax import lax

    return lax.stop_gradient(value)


def _erfc(x: Any, xp: ModuleType) -> Any:
    if xp is np:
        return np.vectorize(math.erfc, otypes=[float])(x)
    from jax.scipy.special import erfc

    return erfc(x)


LEAST = {"offered_load_erlangs": 0.0, "servers": 1.0, "slack": 0.0, "arrival_cv2": 0.0, "service_cv2": 0.0}
OPEN_RANGE = {"peakedness": math.inf, "probability": 1.0, "blocking": 1.0}  # greater than 0 and less than this


def _check(xp: ModuleType, **arguments: Any) -> None:
    """ValueError for a value outside its range; with jax.numpy values are not known and nothing is checked."""
    if xp is not np:
        return
    for name, value in arguments.items():
        values = np.asarray(value)
        if name == "tail":
            wrong, range_ = ~((values >= TAIL) & (values < 1.0)), f"at least {TAIL:g}, the tail that was simulated, and less than 1"
        elif name in LEAST:
            wrong, range_ = ~(np.isfinite(values) & (values >= LEAST[name])), f"finite and at least {LEAST[name]:g}"
        else:
            wrong, range_ = ~((values > 0) & (values < OPEN_RANGE[name])), f"greater than 0 and less than {OPEN_RANGE[name]:g}"
        if wrong.any():
            raise ValueError(f"{name} is {values[wrong].flat[0]:g}; it must be {range_}")
    if "arrival_cv2" in arguments and np.any(np.asarray(arguments["arrival_cv2"]) + arguments["service_cv2"] <= 0):
        raise ValueError("arrival_cv2 and service_cv2 are both 0; one of them must be positive, for without variability nothing waits")
