"""Ctrl-C ends the simplex itself, not only what waits for it."""

from __future__ import annotations

import highspy
import pytest

from optimizer.simplex.extensive import extensive_form
from optimizer.simplex.model import Model
from scripts.benchmarking.reference_family import reference_program


def test_an_interrupt_ends_the_pivots(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(extensive_form(reference_program(5)))
    waited = model.highs.wait
    answers = iter([KeyboardInterrupt])

    def interrupted(*timeout: float) -> object:
        for error in answers:
            raise error
        return waited(*timeout)

    monkeypatch.setattr(model.highs, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.run(1_000_000, 1e-7)
    assert not model.highs.is_solver_running()
    assert model.highs.getModelStatus() == highspy.HighsModelStatus.kInterrupt
