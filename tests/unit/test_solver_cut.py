"""Nodes cut into packs, chunks and groups, and sweeps over them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.solver.cut import GROUPS, LEAST_BYTES, Cut, cut_nodes, places
from optimizer.solver.structure import Shape
from optimizer.solver.sweeps import sweep


@pytest.mark.parametrize("nodes", [1, 7, 60, 374, 2400, 24_001])
@pytest.mark.parametrize("states", [1, 5, 30, 374])
@pytest.mark.parametrize("placement_bytes", [48, 3_000, 40_000])
def test_every_node_has_its_place_in_a_pack_of_its_state(nodes: int, states: int, placement_bytes: int) -> None:
    state_of_node = np.sort(np.random.default_rng(nodes + states).integers(0, min(states, nodes), nodes))
    np.random.default_rng(1).shuffle(state_of_node)
    for streamed in (True, False):
        cut = cut_nodes(state_of_node, placement_bytes, streamed)
        place, state = places(state_of_node, cut)
        assert len(np.unique(place)) == nodes and place.min() >= 0 and place.max() < cut.nodes
        assert state.shape == (cut.groups * cut.chunks, cut.packs)
        np.testing.assert_array_equal(state.reshape(-1)[place // cut.pack], state_of_node)
        assert cut.groups in (1, GROUPS) and (cut.groups > 1) == (nodes * placement_bytes >= LEAST_BYTES)
        assert cut.nodes <= 1.45 * nodes + 8 * cut.groups * cut.chunks + 32


def shape_of(cut: Cut, streaming: int) -> Shape:
    rest = {name: 0 for name in Shape._fields if name not in cut._fields}
    return Shape(**(rest | cut._asdict() | {"streaming": streaming, "devices": 1, "x_bounded": True, "acquisition_space": True}))


@pytest.mark.parametrize("cut", [Cut(1, 1, 2, 4), Cut(1, 3, 2, 4), Cut(8, 1, 1, 4), Cut(8, 3, 2, 2)], ids=str)
def test_a_sweep_is_the_same_chunk_by_chunk_and_all_at_once(cut: Cut) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(cut.groups * cut.chunks, 5, cut.packs * cut.pack))

    def body(a):
        return {"twice": 2.0 * a}, (a.sum(), a.sum(0)), a.min()

    found = [jax.jit(lambda v, k=k: sweep(shape_of(cut, k), body, v))(jnp.asarray(values)) for k in (0, 2)]
    for results, (total, rows), least in found:
        np.testing.assert_array_equal(results["twice"], 2.0 * values)
        np.testing.assert_allclose(total, values.sum(), rtol=1e-12)
        np.testing.assert_allclose(rows, values.sum((0, 1)), rtol=1e-12, atol=1e-12)
        assert least == values.min()


def test_heavy_sweeps_are_streamed_first() -> None:
    cut, seen = Cut(8, 2, 1, 2), []

    def body(a):
        seen.append(a.shape)
        return a, a.sum(), None

    values = jnp.ones((16, 3, 2))
    for streaming, heavy, loops in ((0, True, False), (1, False, False), (1, True, True), (2, False, True)):
        text = jax.jit(lambda v, s=streaming, h=heavy: sweep(shape_of(cut, s), body, v, heavy=h)).lower(values).as_text()
        assert ("while" in text) == loops
