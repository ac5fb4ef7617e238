"""What simulation says of small pools: the load that few servers carry, smooth in slack and variability.

The closed form of optimizer.performance.queueing promises too much where the wait is one long service or one batch of arrivals and not an
exponential, and too little where a handful of servers is bursty. The load carried by c servers is therefore the largest of

    straight lines through the loads of 0, 1, 2, 3, 4, 6 and 8 servers by simulation, and
    c rho(c) - delta,  the closed form less the servers delta >= 0 that put it below simulation,

each corner rounded. All are convex in c, so their maximum is. Slopes and delta are tables over slack, arrival cv2 and service cv2. In the
tables slopes rise and delta falls with the slack, the other way with both squared variations; between nodes they are linear (the logarithm
of a slope is, in ca2), averaged over a short stretch, so the order of the nodes is the order everywhere and the slope is continuous.
Outside the tables their edge is used. scripts/fit_small_pools.py writes them.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from optimizer.performance.small_pools_table import ARRIVAL_CV2, LOG_SLOPE, SERVERS, SERVICE_CV2, SHORTFALL, SLACK

TAIL = 0.01  # the probability of a longer wait at which the tables were made
LIFT = 0.002  # a rounded corner lies above the sharp one by at most this share of the load there
WIDEST = 0.25  # servers on either side of a corner between two lines that the rounding reaches
EQUAL_CV2 = 0.05  # ca2 and the ca2 that the peakedness stands for are one number if they differ by much less than this
AVERAGED = 0.03  # in ln(slack), ca2 and ln(1 + cs2)
OMEGA_POWER = 0.65  # (1 + cs2)^-0.65 is at least the omega of the usual service laws


class SmallPool(NamedTuple):
    """What the tables say at some slack and variability; arrays of the broadcast shape."""

    shortfall: Any  # delta, servers
    slopes: Any  # [6, ...]: load added per server between SERVERS, the first from 0


def small_pool(slack: Any, arrival_cv2: Any, service_cv2: Any, peakedness: Any, xp: ModuleType = np) -> SmallPool:
    """The tables at a slack in mean service times and variabilities of any shapes that broadcast.

    A peakedness beyond that of a renewal stream of this ca2 counts as the greater ca2 that has it.
    """
    slack, arrival_cv2, service_cv2, peakedness = xp.broadcast_arrays(
        *(xp.asarray(x) for x in (slack, arrival_cv2, service_cv2, peakedness))
    )
    implied = 1.0 + (peakedness - 1.0) * (1.0 + service_cv2) ** OMEGA_POWER
    arrivals = _greater(arrival_cv2, implied, EQUAL_CV2, xp)[0]
    smallest = SLACK[0] * 1e-3  # for the logarithm of a zero slack, where the edge holds anyway
    found: Any = xp.asarray(_tables(), dtype=xp.result_type(slack, arrival_cv2, service_cv2, peakedness, 1.0))
    found = found.reshape(found.shape + (1,) * slack.ndim)
    for x, nodes in (
        (xp.log(xp.maximum(slack, smallest)), np.log(SLACK)),
        (arrivals, np.array(ARRIVAL_CV2)),
        (xp.log1p(service_cv2), np.log1p(SERVICE_CV2)),
    ):
        share = _node_shares(x, nodes, xp)
        found = (found * share.reshape((1, len(nodes), *(1,) * (found.ndim - 2 - slack.ndim), *slack.shape))).sum(axis=1)
    return SmallPool(found[0], xp.exp(found[1:]))


def carried_load(servers: Any, closed: Any, closed_slope: Any, pool: SmallPool, xp: ModuleType = np) -> tuple[Any, Any]:
    """(load, its derivative by servers) from the closed-form utilisation and its derivative by servers."""
    at, slope = pool.slopes[0], pool.slopes[1]  # at: the load at the begin of a line, first that of 1 server
    load = at + slope * (servers - SERVERS[0])
    for last, begin, before, line in zip(SERVERS, SERVERS[1:], pool.slopes[1:], pool.slopes[2:], strict=False):
        at = at + before * (begin - last)
        bend = line - before + 1e-9 * at  # never 0
        load, share = _greater(load, at + line * (servers - begin), bend / (1.0 / WIDEST + bend / (4.0 * LIFT * at)), xp)
        slope = slope + share * (line - slope)
    bent, bent_slope = servers * closed - pool.shortfall, closed + servers * closed_slope
    load, share = _greater(load, bent, 4.0 * LIFT * pool.slopes[0], xp)
    return load, slope + share * (bent_slope - slope)


def _greater(a: Any, b: Any, corner: Any, xp: ModuleType) -> tuple[Any, Any]:
    """(max(a, b), share of b in its derivative): a quadratic corner, at most corner / 4 more, where a and b differ by less; convex."""
    lean = xp.clip((b - a) / corner, -1.0, 1.0)  # -1: a alone, 1: b alone
    return a + 0.25 * corner * (1.0 + lean) ** 2 + xp.maximum(b - a - corner, 0.0), 0.5 * (1.0 + lean)


def _node_shares(x: Any, nodes: np.ndarray, xp: ModuleType) -> Any:
    """[nodes, ...]: shares of the nodes in a linear interpolation at x, averaged over AVERAGED on either side; the edge beyond the ends."""
    known = xp.asarray(nodes, dtype=x.dtype).reshape((-1,) + (1,) * x.ndim)
    beyond = x - known
    ramp = xp.clip(beyond + AVERAGED, 0.0, 2.0 * AVERAGED) ** 2 / (4.0 * AVERAGED) + xp.maximum(beyond - AVERAGED, 0.0)
    passed = (ramp[:-1] - ramp[1:]) / (known[1:] - known[:-1])  # 0 before a stretch, 1 after it
    one = xp.ones_like(passed[:1])
    return xp.concatenate([one, passed]) - xp.concatenate([passed, 0.0 * one])


@cache
def _tables() -> np.ndarray:
    """[delta, six log slopes] x slack x arrival cv2 x service cv2, read-only."""
    table = np.array((*SHORTFALL, *LOG_SLOPE), float).reshape(1 + len(SERVERS), len(SLACK), len(ARRIVAL_CV2), len(SERVICE_CV2))
    table.setflags(write=False)
    return table
