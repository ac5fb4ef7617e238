"""Which pool each acquisition feeds, and how much of it in every capacity state.

A contract is for chips in one pool, so a column of U has one pool in all states (and perhaps the few side rows). The acquisitions' matrix
U' S U then is one small product per pool; as a dense product it took 0.35 s of a factorisation's 0.65 on the flagship (1,728
acquisitions, 18 states), now 0.02.
"""

from __future__ import annotations

import numpy as np

from optimizer.solver.structure import Holdings, Shape

MOST_PADDING = 8  # members padded to the largest pool may be this many times the acquisitions


def no_holdings() -> Holdings:
    """Where they are not used."""
    index, values = np.zeros((0, 0), np.int32), np.zeros((0, 0))
    return Holdings(index.reshape(-1), values, index, values, index.reshape(-1), values[None], values)


def find_holdings(row: np.ndarray, col: np.ndarray, value: np.ndarray, shape: Shape) -> Holdings | None:
    """From the triples of U; None where an acquisition feeds several pools, or one pool has nearly all of them."""
    held = shape.pools + shape.sides
    state, feeds = row // held, row % held
    is_held = row < shape.states * held
    is_pool, is_side = is_held & (feeds < shape.pools), is_held & (feeds >= shape.pools)
    pool = np.zeros(shape.acquisitions, np.int32)
    pool[col[is_pool]] = feeds[is_pool]
    if (pool[col[is_pool]] != feeds[is_pool]).any():
        return None
    hold = np.zeros((shape.acquisitions, shape.states))
    np.add.at(hold, (col[is_pool], state[is_pool]), value[is_pool])
    side = np.zeros((shape.sides, shape.acquisitions, shape.states))
    np.add.at(side, (feeds[is_side] - shape.pools, col[is_side], state[is_side]), value[is_side])
    idle = np.setdiff1d(np.arange(shape.acquisitions), col[is_pool])
    pool[idle] = np.arange(len(idle)) % shape.pools  # fixed acquisitions and padding: spread, so that no pool gets long
    size = np.bincount(pool, minlength=shape.pools)
    most = int(size.max(initial=0))
    if most * shape.pools > MOST_PADDING * shape.acquisitions:
        return None
    order = np.argsort(pool, kind="stable")
    place = np.zeros(shape.acquisitions, np.int32)
    place[order] = np.arange(shape.acquisitions) - np.repeat(np.cumsum(size) - size, size)
    members, is_member = np.zeros((shape.pools, most), np.int32), np.zeros((shape.pools, most))
    members[pool, place] = np.arange(shape.acquisitions)
    is_member[pool, place] = 1.0
    limit = np.zeros((shape.limits, shape.acquisitions))
    at = row - shape.states * held
    mine = (at >= 0) & (at < shape.limits)
    np.add.at(limit, (at[mine], col[mine]), value[mine])
    return Holdings(pool, hold, members, is_member, place, side, limit)
