"""Chips of a pool of replicas as a function of its load: what the work itself needs, and the spare that keeps waiting within the target.

A group is streams that share replicas: one workload on one pool at one layout. At a rate of x requests/s

    busy replicas      k x                            k = output_tokens * TPOT / batch, replica-seconds per request
    for slots          k x + beta sqrt(z k B x) / B   B sequences per replica; a request rarely finds all slots taken
    for prefill        g(S x)                         S seconds of the token-budget server; P(wait > slack) <= 1 %
    chips              n max(slots, prefill)
    spare              chips - n k x >= 0

Both terms are concave in x and zero at zero, and so is each of them less n k x; their maximum need not be concave. So a bound from
above or below is taken of each and the larger one kept (`tangent`, `secant`). Sources: Sakasegawa's exponent and square-root staffing, see
`queueing`; a FCFS pool keeps the tightest slack that it serves, so the streams of a group have about the same slack.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from optimizer.performance.queueing import greatest_utilisation, servers_needed, slots_needed
from optimizer.performance.serving import Array

GRID = 400  # points of a curve, evenly spaced in the logarithm of the load
SMALLEST_SHARE = 1e-6  # of the largest load: the first point
SLOPE_STEP = 1e-4  # of the load, to either side, for the slope of a tangent


class ReplicaLoad(NamedTuple):
    """One group; leaves broadcast with the rate."""

    chips: Array  # n, of one replica
    busy_s: Array  # k
    prefill_s: Array  # S
    slack_s: Array  # what may be waited at the 99th percentile
    slots: Array  # B
    arrival_cv2: Array
    service_cv2: Array
    peakedness: Array
    sticky: Array  # 1: each replica has its own queue


@dataclass(frozen=True)
class Groups:
    """Streams that share replicas: Q groups; a pair (stream, pool) of the program belongs to at most one. K errors of the throughput,
    one in each of the C templates of the program."""

    pair: np.ndarray  # int[P], the group, -1 for none
    pool: np.ndarray  # int[Q]
    load: ReplicaLoad  # leaves [Q], at the planned throughput
    speed: np.ndarray | None = None  # [K, Q], throughput at each error over the planned one; None: one error, no difference
    point: np.ndarray | None = None  # int[C], the error of each template; None where there is one

    @property
    def size(self) -> int:
        return len(self.pool)

    @property
    def loads(self) -> ReplicaLoad:
        """Leaves [K, Q]: a factor on the throughput divides the times of work."""
        speed = np.ones((1, self.size)) if self.speed is None else self.speed
        slower = self.load._replace(busy_s=self.load.busy_s / speed, prefill_s=self.load.prefill_s / speed)
        return ReplicaLoad(*(np.broadcast_to(leaf, speed.shape) for leaf in slower))

    def points(self, templates: int) -> np.ndarray:
        """int[C]: the error of each template."""
        return np.zeros(templates, int) if self.point is None else self.point

    def rates(self, x: np.ndarray) -> np.ndarray:
        """[..., P] -> [..., Q]: the work of each group, requests/s."""
        out = np.zeros((*x.shape[:-1], self.size + 1))
        np.add.at(np.moveaxis(out, -1, 0), self.pair, np.moveaxis(x, -1, 0))  # pairs without a group go last
        return out[..., : self.size]


def slot_chips(rate: Array, load: ReplicaLoad, xp: ModuleType = np) -> Array:
    """Chips so that a request finds no free slot with probability 1 %; rate in requests/s.

    Below the load that one replica carries it is that share of a replica, as in `servers_needed`: the square root would rise without limit.
    """
    busy = rate * load.busy_s * load.slots
    spread = slots_needed(1.0, load.peakedness, xp=xp) - 1.0  # beta sqrt(z)
    one = ((xp.sqrt(spread**2 + 4.0 * load.slots) - spread) / 2.0) ** 2
    apart = (busy < one) | (load.sticky > 0)  # a session that keeps its replica cannot use a free slot of another
    slots = xp.where(apart, busy * load.slots / one, slots_needed(xp.maximum(busy, one), load.peakedness, xp=xp))
    return load.chips * slots / load.slots


def prefill_chips(rate: Array, load: ReplicaLoad, xp: ModuleType = np) -> Array:
    """Chips so that the wait for prefill exceeds the slack with probability at most 1 %."""
    busy, slack = rate * load.prefill_s, load.slack_s / load.prefill_s
    law = (slack, load.arrival_cv2, load.service_cv2, load.peakedness)
    apart = busy / greatest_utilisation(1.0, *law, xp=xp)
    return load.chips * xp.where(load.sticky > 0, apart, servers_needed(busy, *law, xp=xp))


def chips_needed(rate: Array, load: ReplicaLoad, xp: ModuleType = np) -> Array:
    """Chips of the group at a rate of requests/s, parts of a replica included; at least those that the work itself keeps busy."""
    return xp.maximum(slot_chips(rate, load, xp), prefill_chips(rate, load, xp))


def spare_parts(rate: Array, load: ReplicaLoad) -> np.ndarray:
    """[2, ...]: spare chips for slots and for prefill, each concave in the rate and zero at zero; the second may be negative."""
    busy = load.chips * load.busy_s * rate
    return np.stack(np.broadcast_arrays(slot_chips(rate, load) - busy, prefill_chips(rate, load) - busy))


def spare_chips(rate: Array, load: ReplicaLoad) -> np.ndarray:
    """Chips beyond those that are busy, >= 0."""
    return spare_parts(rate, load).max(axis=0)


class SpareCurves:
    """Spare chips of every group on a grid of loads, made once: lines above and below them are then found without the queue.

    Between the points a concave curve lies above its chords and below the extended chords of the neighbouring cells: both are used as
    bounds, not as estimates.
    """

    def __init__(self, load: ReplicaLoad, most: np.ndarray) -> None:
        """Leaves [Q], or [K, Q] at K errors of the throughput; `most` [Q]: the largest rate that is ever asked of a group; groups with 0
        are never asked."""
        self.load, self.most = ReplicaLoad(*(np.atleast_2d(leaf) for leaf in load)), np.where(most > 0, most, 1.0)
        self.grid = self.most[:, None] * np.geomspace(SMALLEST_SHARE, 1.0, GRID)  # [Q, G]
        self.parts = spare_parts(self.grid, ReplicaLoad(*(leaf[..., None] for leaf in self.load)))  # [2, K, Q, G]

    def secant(self, most: Array, point: Array = 0) -> np.ndarray:
        """The slope (chips per request/s) of a line through zero that is nowhere above the spare chips on [0, most]; most [..., Q], point
        int[...]."""
        most = np.asarray(most, float)
        points = np.concatenate([np.zeros((len(self.grid), 1)), self.grid], axis=1)
        spare, point = np.zeros(most.shape), np.broadcast_to(point, most.shape[:-1])
        for part in self.parts:  # each is concave; a chord of their maximum could lie above it
            height = np.concatenate([np.zeros((*part.shape[:2], 1)), part], axis=-1)  # [K, Q, G + 1]
            for k in range(len(height)):
                of = point == k
                for q in range(len(self.grid)):
                    spare[of, q] = np.maximum(spare[of, q], np.interp(most[of, q], points[q], height[k, q]))
        return np.where(most > 0, spare / np.where(most > 0, most, 1.0), 0.0)

    def tangent(self, at: Array, most: Array, point: Array = 0) -> tuple[np.ndarray, np.ndarray]:
        """(slope, draw) of the line draw + slope * rate that is nowhere below the spare chips on [0, most] and close to them at the rate
        `at`; both [C, Q], 0 < at <= most; point int[C]."""
        at, most = np.asarray(at, float), np.asarray(most, float)
        point = np.broadcast_to(point, len(at))
        load = ReplicaLoad(*(leaf[point] for leaf in self.load))
        parts, step = spare_parts(at, load), SLOPE_STEP * at
        rise = (spare_parts(at + step, load) - spare_parts(at - step, load)) / (2 * step)
        slope = np.maximum(np.take_along_axis(rise, parts.argmax(axis=0)[None], axis=0)[0], 0.0)
        curves = np.moveaxis(self.parts[:, point], 1, 0)  # [C, 2, Q, G]
        return slope, np.stack([self._greatest_distance(*line) for line in zip(slope, most, curves, strict=True)])

    def _greatest_distance(self, slope: np.ndarray, most: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """[Q]: at least the largest spare(x) - slope * x over x in [0, most]; slope, most [Q]; parts [2, Q, G]."""
        slope, width = slope[:, None], np.diff(self.grid, axis=-1)
        height = parts - slope * self.grid  # [2, Q, G]
        chord = np.diff(height, axis=-1) / width
        # inside cell j the curve stays below the extensions of cells j-1 and j+1
        from_left = height[..., 1:-2] + np.maximum(chord[..., :-2], 0.0) * width[..., 1:-1]
        from_right = height[..., 2:-1] + np.maximum(-chord[..., 2:], 0.0) * width[..., 1:-1]
        inside = np.where(self.grid[:, 1:-2] <= most[:, None], np.minimum(from_left, from_right), 0.0)
        # before the second point it rises from zero to less than its height there; behind the last but one it has one neighbour
        first = np.maximum(parts[..., 0], height[..., 1] + slope[:, 0] * (self.grid[:, 1] - self.grid[:, 0]))
        last = np.where(most > self.grid[:, -2], height[..., -2] + np.maximum(chord[..., -2], 0.0) * width[:, -1], 0.0)
        return np.maximum(np.maximum(inside.max(axis=(0, 2)), last.max(axis=0)), np.maximum(first.max(axis=0), 0.0))
