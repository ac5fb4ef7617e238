"""Decision nodes, with and without a reveal (case reference, section 7)."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.uncertainty.tree import SHARED, Tree


def test_without_reveal() -> None:
    tree = Tree.of(scenarios=3, periods=2, reveal=None)
    assert tree.parent.tolist() == [-1, 0]
    assert tree.scenario.tolist() == [SHARED, SHARED]
    assert tree.decision_of_recourse.tolist() == [0, 1, 0, 1, 0, 1]
    assert tree.leaves.tolist() == [1]
    assert tree.scenarios_of(1).tolist() == [0, 1, 2]


def test_with_reveal() -> None:
    #        0 - 1 - 2 - 3   scenario 0
    #              \ 4 - 5   scenario 1
    tree = Tree.of(scenarios=2, periods=4, reveal=2)
    assert tree.parent.tolist() == [-1, 0, 1, 2, 1, 4]
    assert tree.period.tolist() == [0, 1, 2, 3, 2, 3]
    assert tree.scenario.tolist() == [SHARED, SHARED, 0, 0, 1, 1]
    assert tree.node_at.tolist() == [[0, 1, 2, 3], [0, 1, 4, 5]]
    assert tree.leaves.tolist() == [3, 5]
    assert tree.scenarios_of(4).tolist() == [1]


def test_reach() -> None:
    tree = Tree.of(scenarios=2, periods=4, reveal=2)
    signed_at = np.array([1, 4])  # one order on the shared path, one on the branch of scenario 1
    mask = np.array([[False, True, True, False], [False, False, True, True]])
    node, order, period = tree.reach(signed_at, mask)
    # the shared order is there at its own node and, in period 2, on both branches; the other on its branch only
    assert list(zip(order.tolist(), period.tolist(), node.tolist(), strict=True)) == [(0, 1, 1), (0, 2, 2), (0, 2, 4), (1, 2, 4), (1, 3, 5)]


def test_reach_stays_below_the_node() -> None:
    rng = np.random.default_rng(0)
    tree = Tree.of(scenarios=4, periods=6, reveal=3)
    signed_at = rng.integers(0, tree.decisions, 50)
    mask = (rng.random((50, 6)) < 0.5) & (np.arange(6) >= tree.period[signed_at][:, None])
    node, order, period = tree.reach(signed_at, mask)
    found = set(zip(node.tolist(), order.tolist(), strict=True))
    expected = set()
    for q in range(tree.decisions):
        above, path = q, []
        while above >= 0:
            path.append(above)
            above = int(tree.parent[above])
        expected |= {(q, z) for z in range(50) if signed_at[z] in path and mask[z, tree.period[q]]}
    assert found == expected and len(node) == len(expected)
    np.testing.assert_array_equal(tree.period[node], period)


@pytest.mark.parametrize("reveal", [0, 4, 7])
def test_reveal_must_be_inside(reveal: int) -> None:
    with pytest.raises(ValueError, match="reveal"):
        Tree.of(2, 4, reveal)
