"""Progress on standard error."""

from __future__ import annotations

import pytest

from optimizer.report import waiting
from optimizer.report.waiting import PointsBar


def _steps(bar: PointsBar) -> None:
    with bar:
        for done in range(5):
            bar(done, 4)


def test_a_short_run_that_nobody_watches_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _steps(PointsBar(False))
    assert capsys.readouterr().err == ""


def test_a_long_run_that_nobody_watches_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    _steps(PointsBar(False))
    said = capsys.readouterr().err.splitlines()
    assert said and all(line.startswith("capacity: ") and " of 4 done after " in line for line in said)
    assert len(said) < 4  # not every step, and neither the first nor the last


def test_where_the_solver_logs_for_itself_the_bar_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SAID_EVERY_S", 0.0)
    _steps(PointsBar(False, quiet=True))
    assert capsys.readouterr().err == ""
