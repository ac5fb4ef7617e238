"""A first-come-first-served G/G/c queue, simulated: the oracle of the waiting-time formulas.

Kiefer-Wolfowitz recursion on the sorted residual work of the c servers, in numpy, over lanes = utilisations x independent copies of the
queue. All utilisations of one call see the same random numbers. The copies are independent, so their spread is the standard error. Time
is counted in mean service times.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


class Law(NamedTuple):
    """A positive random variable of mean 1."""

    cv2: float  # squared coefficient of variation
    omega: float  # E[min of two independent ones]: the weight of (ca2 - 1) in the peakedness
    draw: Draw  # (generator, shape) -> samples


def exponential() -> Law:
    return Law(1.0, 0.5, lambda random, shape: random.standard_exponential(shape))


def deterministic() -> Law:
    return Law(0.0, 1.0, lambda random, shape: np.ones(shape))


def gamma(cv2: float) -> Law:
    """Shape 1/cv2; its omega is not needed, it is used for arrivals."""
    return Law(cv2, math.nan, lambda random, shape: random.standard_gamma(1 / cv2, shape) * cv2)


def lognormal(cv2: float) -> Law:
    sigma = math.sqrt(math.log1p(cv2))
    return Law(cv2, math.erfc(sigma / 2), lambda random, shape: np.exp(sigma * random.standard_normal(shape) - sigma**2 / 2))


def hyperexponential(cv2: float) -> Law:
    """Two phases with balanced means, cv2 > 1."""
    p = (1 + math.sqrt((cv2 - 1) / (cv2 + 1))) / 2
    rates = (2 * p, 2 * (1 - p))
    omega = p * p / (2 * rates[0]) + (1 - p) ** 2 / (2 * rates[1]) + 2 * p * (1 - p) / sum(rates)

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return random.standard_exponential(shape) / np.where(random.random(shape) < p, *rates)

    return Law(cv2, omega, draw)


def peakedness(arrivals: Law, services: Law) -> float:
    """Heavy-traffic peakedness of a renewal arrival process seen by infinitely many servers."""
    return 1 + (arrivals.cv2 - 1) * services.omega


BLOCK = 512  # customers per drawing of random numbers


def waits(arrivals_s: np.ndarray, services_s: np.ndarray, servers: int) -> np.ndarray:
    """Waits of given customers in their order, in a pool that starts empty."""
    free = [0.0] * servers  # when each server is free
    found = np.empty(len(arrivals_s))
    for i, (arrival, service) in enumerate(zip(arrivals_s.tolist(), services_s.tolist(), strict=True)):
        begin = max(arrival, free[0])
        found[i] = begin - arrival
        heapq.heapreplace(free, begin + service)
    return found


class LateShare(NamedTuple):
    """Share of the customers that wait longer than each slack, and its standard error; both (utilisations, slacks)."""

    share: np.ndarray
    standard_error: np.ndarray


def simulate(
    arrivals: Law,
    services: Law,
    servers: int,
    utilisations: np.ndarray,
    slacks: np.ndarray,
    customers: int,
    *,
    copies: int = 64,
    seed: int = 0,
    every: int = 1,
) -> LateShare:
    """`customers` counted per utilisation over all copies, after a warm-up of a quarter as many; one in `every` is looked at.

    Each copy starts with every server busy with probability rho, its residual work drawn from the stationary excess of the service law.
    """
    random = np.random.default_rng(seed)
    rho = np.asarray(utilisations, float)[:, None]
    slacks = np.asarray(slacks, float)
    steps = -(-customers // copies)
    warm_up = steps // 4
    lanes = (rho.shape[0], copies)
    work = _stationary_work(random, services, servers, rho, copies)  # sorted along the servers
    after, moved = np.empty_like(work), np.empty((servers - 1, *lanes))
    late = np.zeros((slacks.size, *lanes), np.int64)
    stretch = 1 / (servers * rho)
    looked_at = 0
    for start in range(0, warm_up + steps, BLOCK):
        block = min(BLOCK, warm_up + steps - start)
        gaps, lengths = arrivals.draw(random, (block, copies)), services.draw(random, (block, copies))
        for step in range(block):
            work -= gaps[step] * stretch
            np.maximum(work, 0, out=work)
            if start + step >= warm_up and (start + step) % every == 0:
                looked_at += 1
                for slack, count in zip(slacks, late, strict=True):
                    count += work[0] > slack
            new = work[0] + lengths[step]
            if servers == 1:
                work[0] = new
                continue
            # the least worked server takes the customer: its new work is inserted among the others, which stay in order
            np.maximum(work[1:], new, out=moved)
            np.minimum(work[1], new, out=after[0])
            np.minimum(work[2:], moved[:-1], out=after[1:-1])
            after[-1] = moved[-1]
            work, after = after, work
    share = late / looked_at
    return LateShare(share.mean(2).T, share.std(2, ddof=1).T / math.sqrt(copies))


def _stationary_work(random: np.random.Generator, services: Law, servers: int, rho: np.ndarray, copies: int) -> np.ndarray:
    """Residual work (servers, utilisations, copies), sorted: busy with probability rho, then a stationary excess."""
    pool = services.draw(random, (1 << 16,))
    shape = (servers, rho.shape[0], copies)
    excess = random.choice(pool, shape, p=pool / pool.sum()) * random.random(shape)
    return np.sort(np.where(random.random(shape) < rho, excess, 0.0), axis=0)
