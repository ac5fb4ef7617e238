"""The product's builder against the second builder on random mixtures of the small cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.oracle.extensive import solve_extensive
from tests.oracle.second_builder import SecondResult, solve_case
from tests.oracle.second_builder_mixing import mixed_case
from tests.oracle.second_builder_reading import CaseError


@pytest.mark.parametrize("seed", range(60))
def test_mixed_case(seed: int, tmp_path: Path) -> None:
    """The same optimum and the same bounds, or both refuse."""
    from optimizer.build import build
    from optimizer.spec import CaseError as ProductError
    from optimizer.spec import load_case

    path = tmp_path / "mixed.yaml"
    path.write_text(yaml.safe_dump(mixed_case(seed), sort_keys=False), encoding="utf-8")
    expected: SecondResult
    try:
        expected = solve_case(path)
    except CaseError:
        with pytest.raises(ProductError):
            load_case(path)
        return
    program = build(load_case(path)).program
    answer = solve_extensive(program)
    assert answer.status == expected.status
    assert np.sort(np.asarray(program.acquisition_upper)) == pytest.approx(np.sort(list(expected.upper.values())), rel=1e-9)
    if expected.status == "optimal":
        assert answer.objective == pytest.approx(expected.objective, rel=1e-9, abs=1e-6)
