"""How the nodes of a program are cut: packs of one capacity state, chunks that fit into a cache, groups that devices share.

groups   a sum over nodes adds their totals in order; at most as many devices can share the work
chunks   of a group, one after the other
packs    of a chunk, each of `pack` nodes of one capacity state: what the state's matrix takes from them is one product
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GROUPS = 8
LEAST_BYTES = 2_000_000  # of placement; smaller programs are one chunk: sharing them out costs more than it saves
LEAST_LANES = 16  # of a chunk: below, the loops over nodes are shorter than their overhead
CHUNK_BYTES = 400_000  # of placement in a chunk, so that what a factorisation makes of it stays in the cache
WASTE = 17 / 16  # most padding to packs
PACKS = (32, 16, 8, 4, 2)


class Cut(NamedTuple):
    groups: int
    chunks: int
    packs: int
    pack: int

    @property
    def nodes(self) -> int:
        return self.groups * self.chunks * self.packs * self.pack


def cut_nodes(state_of_node: np.ndarray, placement_bytes: int, streamed: bool) -> Cut:
    """For nodes [N] with their states, and so many bytes of placement per node; not streamed: one chunk per group."""
    counts = np.bincount(state_of_node)
    nodes = len(state_of_node)
    pack = next((m for m in PACKS if (-(-counts // m) * m).sum() <= WASTE * nodes), 1)
    packs = int((-(-counts // pack)).sum())
    if nodes * placement_bytes < LEAST_BYTES:
        return Cut(1, 1, _rounded(packs * pack) // pack if pack <= 8 else packs, pack)
    per_group = -(-packs // GROUPS)
    lanes = max(LEAST_LANES, pack, CHUNK_BYTES // max(placement_bytes, 1)) if streamed else per_group * pack
    chunks = max(1, round(per_group * pack / lanes))
    chunks = chunks if chunks <= 16 else _rounded(chunks)
    each = -(-per_group // chunks)
    return Cut(GROUPS, chunks, _rounded(each * pack) // pack if pack <= 8 else each, pack)


def _rounded(n: int) -> int:
    """Up to a number of few binary digits, so that programs of about one size share a shape; at least a multiple of eight."""
    step = max(8, 2 ** (int(np.ceil(np.log2(max(n, 1)))) - 4))
    return -(-n // step) * step


def places(state_of_node: np.ndarray, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """(position of every node among all lanes, int[N]; state of every pack, int[groups * chunks, packs])."""
    order = np.argsort(state_of_node, kind="stable")
    counts = np.bincount(state_of_node)
    packs_of = -(-counts // cut.pack)
    first_pack = np.concatenate([[0], np.cumsum(packs_of)[:-1]])
    first_node = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sorted_states = state_of_node[order]
    place = np.empty(len(order), int)
    place[order] = first_pack[sorted_states] * cut.pack + np.arange(len(order)) - first_node[sorted_states]
    state = np.full(cut.nodes // cut.pack, len(counts) - 1)
    state[: packs_of.sum()] = np.repeat(np.arange(len(counts)), packs_of)
    return place, state.reshape(cut.groups * cut.chunks, cut.packs)
