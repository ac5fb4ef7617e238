"""Sobol indices: which share of the variance of an output each uncertain input is to blame for, alone and with the others.

The sample has rows of d + 2 points (Saltelli et al. 2010): A, B, and A with one input after the other taken from B. `scipy.stats` turns the
outputs at these points into first-order indices (what fixing the input would take off the variance on average) and total ones (what is left
when everything but the input is fixed). Intervals: the rows drawn again with replacement.
"""

from __future__ import annotations

import warnings

import numpy as np

RESAMPLES = 400
INTERVAL = 95.0  # per cent


def sobol_rows(inputs: int, rows: int, seed: int) -> np.ndarray:
    """[2 rows, d + 2, d] points of the unit cube: `rows` (a power of two) of a scrambled Sobol sequence, and as many to fall back on."""
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the balance of a sequence, which a power of two has
        drawn = qmc.Sobol(2 * inputs, scramble=True, rng=np.random.default_rng(seed)).random(2 * rows)
    a, b = drawn[:, :inputs], drawn[:, inputs:]
    mixed = np.repeat(a[:, None], inputs, axis=1)
    index = np.arange(inputs)
    mixed[:, index, index] = b
    return np.concatenate([a[:, None], b[:, None], mixed], axis=1)


def sobol_indices(outputs: np.ndarray, seed: int) -> np.ndarray:
    """[S, 2, 3, d] from [S, rows, d + 2]: of each output the first-order and the total index with the ends of its interval."""
    rows = outputs.shape[1]
    generator = np.random.default_rng(seed)
    middle = _indices(outputs)
    drawn = np.array([_indices(outputs[:, generator.integers(0, rows, rows)]) for _ in range(RESAMPLES)])
    tail = (100.0 - INTERVAL) / 2
    low, high = np.percentile(drawn, [tail, 100.0 - tail], axis=0)
    return np.stack([middle, low, high], axis=2)


def _indices(outputs: np.ndarray) -> np.ndarray:
    """[S, 2, d]."""
    from scipy import stats

    count, rows, width = outputs.shape
    padded = np.concatenate([outputs, outputs[:1]])  # of one output of one input, scipy makes a number where it expects an array
    arrays = {"f_A": padded[..., 0], "f_B": padded[..., 1], "f_AB": np.moveaxis(padded[..., 2:], 2, 0)}
    found = stats.sobol_indices(func=arrays, n=rows)
    return np.stack([np.reshape(found.first_order, (count + 1, width - 2)), np.reshape(found.total_order, (count + 1, width - 2))], axis=1)[
        :-1
    ]
