"""`capacity warm-up`: what it compiles, what it says, and that one shape serves all programs of a case whose work queues."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from optimizer import cli, devices
from optimizer.headroom import from_above, from_below, most_load
from optimizer.performance.replicas import SpareCurves
from optimizer.program import Multipliers, Plan
from optimizer.solver import compiled
from optimizer.solver.layout import make_layout
from tests.oracle.random_programs import random_program
from tests.oracle.test_headroom import with_groups
from tests.unit.small_case import FILE


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; in place of the solver's functions, small ones that are compiled at once."""
    session, before = devices.prepare(), jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    monkeypatch.setattr(session, "cache", str(tmp_path))

    def built(key, names, mesh):
        return {name: jax.jit(partial(jax.numpy.multiply, k)).lower(1.0).compile() for k, name in enumerate(names)}

    monkeypatch.setattr(compiled, "_built", built)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compiled._compile.cache_clear()
    yield tmp_path  # type: ignore[misc]
    compiled._compile.cache_clear()
    jax.config.update("jax_compilation_cache_dir", before)


def test_shapes_are_compiled_once_and_told_line_by_line(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["warm-up", str(FILE), "--precision", "mixed"]
    assert cli.main(arguments) == 0
    first = capsys.readouterr().out.splitlines()
    files = sorted(str(file) for file in directory.glob("shape-*.executables"))
    assert len(first) == len(files) == 2  # float32 and float64
    assert sorted(line.split()[-1] for line in first) == files
    assert all(line.startswith("small_case.yaml: ") and "compiled in" in line for line in first)
    compiled._compile.cache_clear()  # as another process
    assert cli.main([*arguments[:1], str(FILE), *arguments[1:]]) == 0
    again = capsys.readouterr().out.splitlines()
    assert len(again) == 4 and all("already there" in line for line in again)
    assert sorted(str(file) for file in directory.glob("shape-*.executables")) == files


def test_a_case_that_cannot_be_used_is_bad_input_before_anything_is_compiled(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["warm-up", str(FILE), "nowhere.yaml"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("capacity: nowhere.yaml: ") and said.err.count("\n") == 1
    assert not list(directory.iterdir())


def test_what_could_not_be_kept_is_a_failure(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("optimizer.solver.kept.save", lambda *_: None)
    assert cli.main(["warm-up", str(FILE)]) == 1
    assert "could not be kept" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", [{}, {"periods": 6, "scenarios": 12, "blocks": 3, "pools": 6, "served": 5}])
def test_programs_from_below_and_from_above_have_one_shape(sizes: dict) -> None:
    for seed in range(3):
        program, rng = random_program(seed, **sizes), np.random.default_rng(seed)
        groups = with_groups(program, rng)
        most = most_load(program, groups)
        curves = SpareCurves(groups.load, most.max(axis=(0, 1)))
        shape = make_layout(from_below(program, groups, curves, most)).shape
        for share in (0.0, 0.3, 1.0):
            z = program.acquisition_upper * rng.random(program.acquisitions) * (rng.random(program.acquisitions) < share)
            work = rng.random((program.nodes, program.blocks, program.pairs)) * 5 * (rng.random(program.pairs) < share)
            guess = Plan(z, work, *(np.zeros(0) for _ in range(5)))
            prices = Multipliers(-rng.random((program.nodes, program.blocks, program.pools)), *(np.zeros(0) for _ in range(3)))
            stated = from_above(program, groups, curves, most, guess, prices)
            assert (stated.placement_upper == 0).any() or share > 0
            assert make_layout(stated).shape == shape
