"""Executables on disk: a second process neither traces nor compiles a shape, and nothing that lies there can change an answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from optimizer.solver import kept

SOLVE = """
import sys
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver import compiled
from scripts.benchmarking.reference_family import reference_program

if "loads" in sys.argv:
    def _built(*_):
        raise AssertionError("traced again")
    compiled._built = _built
found = solve(reference_program(1, 0), Settings(gap_relative=1e-8))
print(found.status.name, found.certificate.objective.hex(), found.certificate.lower_bound.hex(), found.iterations, found.compilations)
"""
ROOT = Path(__file__).resolve().parents[2]


def _solved(cache: Path, *arguments: str) -> list[str]:
    environment = {**os.environ, "CAPACITY_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES"):
        environment.pop(name, None)
    ran = subprocess.run([sys.executable, "-c", SOLVE, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_a_second_process_loads_what_the_first_compiled_and_a_damaged_file_is_compiled_again(tmp_path: Path) -> None:
    first = _solved(tmp_path)
    assert first[0] == "CERTIFIED" and first[-1] != "0"
    (file,) = tmp_path.glob("shape-*.executables")
    whole = file.read_bytes()
    second = _solved(tmp_path, "loads")
    assert second == [*first[:-1], "0"]  # to the last bit, and with nothing compiled
    file.write_bytes(whole[:-100] + bytes(100))
    third = _solved(tmp_path)
    assert third[:-1] == first[:-1]
    assert [left.name for left in tmp_path.glob("*shape-*")] == [file.name]  # no part of a file stays
    assert _solved(tmp_path, "loads") == second  # what replaced it can be loaded again


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """JAX's cache, for the duration of a test."""
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path  # type: ignore[misc]
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_name_of_a_file_says_what_tracing_would_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = kept.path_of((3, 4), "float64")
    assert plain is not None and plain.parent == directory
    others = [kept.path_of((3, 5), "float64"), kept.path_of((3, 4), "float32")]
    for name in ("_sources", "_machine", "_configuration"):
        with monkeypatch.context() as patch:
            patch.setattr(kept, name, lambda: "another")
            others.append(kept.path_of((3, 4), "float64"))
    assert len({plain, *others}) == 6
    assert kept.path_of((3, 4), "float64") == plain


def test_an_edited_source_is_another_program(tmp_path: Path) -> None:
    for package in kept.PACKAGES:
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "a.py").write_text("x = 1\n")
    before = kept.digest_of_sources(tmp_path)
    (tmp_path / kept.PACKAGES[-1] / "a.py").write_text("x = 2\n")
    assert kept.digest_of_sources(tmp_path) != before


def test_without_a_cache_directory_nothing_is_kept(directory: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", None)
    assert kept.path_of((3, 4), "float64") is None


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 4096])
def test_no_content_of_a_file_raises(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "shape-0.executables"
    assert kept.load(file, ["advance"]) is None
    file.write_bytes(content)
    assert kept.load(file, ["advance"]) is None


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    kept.save(tmp_path / "nowhere" / "shape-0.executables", {})
    assert not list(tmp_path.iterdir())
