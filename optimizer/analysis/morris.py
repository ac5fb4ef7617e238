"""Elementary effects: a cheap first look at which of many inputs matter (Morris 1991).

A trajectory starts at a point of a grid of LEVELS levels and moves one input after the other by STEP of its range; the quotient of each
move is an elementary effect. mu* is the mean of their sizes (Campolongo, Cariboni and Saltelli 2007), mu their mean, sigma their standard
deviation: zero where the output is linear in the input and nothing else changes its slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVELS = 4
STEP = LEVELS / (2 * (LEVELS - 1))  # of the range: every level is then equally likely
RESAMPLES = 400
INTERVAL = 95.0  # per cent


@dataclass(frozen=True)
class Effects:
    """Of one output, each [d], in units of the output per whole range of the input."""

    mu_star: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray


def trajectories(inputs: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """([count, d + 1, d] points of the unit cube, int[count, d] the input that moves at each step)."""
    generator = np.random.default_rng(seed)
    points, moved = np.zeros((count, inputs + 1, inputs)), np.zeros((count, inputs), int)
    for k in range(count):
        low = generator.integers(0, LEVELS // 2, inputs) / (LEVELS - 1)
        up = generator.random(inputs) < 0.5
        at = np.where(up, low, low + STEP)
        moved[k] = generator.permutation(inputs)
        points[k, 0] = at
        for step, i in enumerate(moved[k]):
            at[i] += STEP if up[i] else -STEP
            points[k, step + 1] = at
    return points, moved


def elementary_effects(points: np.ndarray, moved: np.ndarray, output: np.ndarray) -> np.ndarray:
    """[count, d] from points and the output [count, d + 1] there."""
    count, inputs = moved.shape
    found = np.zeros((count, inputs))
    row = np.arange(count)
    for step in range(inputs):
        i = moved[:, step]
        by = points[row, step + 1, i] - points[row, step, i]
        found[row, i] = (output[:, step + 1] - output[:, step]) / by
    return found


def most_from_gaps(moved: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """[d]: what mu* of a cost may be off by when the true cost lies up to `gaps` [count, d + 1] below the one found."""
    found = np.zeros(moved.shape)
    np.put_along_axis(found, moved, np.maximum(gaps[:, 1:], gaps[:, :-1]) / STEP, axis=1)
    return found.mean(axis=0)


def summed_up(effects: np.ndarray, seed: int) -> Effects:
    """Of [count, d]; the interval of mu* comes from trajectories drawn again with replacement."""
    count = len(effects)
    generator = np.random.default_rng(seed)
    size = np.abs(effects)
    drawn = np.array([size[generator.integers(0, count, count)].mean(axis=0) for _ in range(RESAMPLES)])
    tail = (100.0 - INTERVAL) / 2
    low, high = np.percentile(drawn, [tail, 100.0 - tail], axis=0)
    return Effects(size.mean(axis=0), low, high, effects.mean(axis=0), effects.std(axis=0, ddof=1))
