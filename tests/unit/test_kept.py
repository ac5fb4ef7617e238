"""Executables on disk: a second process neither traces nor compiles a shape, and nothing that lies there can change an answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
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
found = solve(reference_program(1, 0), Settings(engine="interior", gap_relative=1e-8))
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


@pytest.fixture
def doubled(directory: Path, monkeypatch: pytest.MonkeyPatch):
    """`doubled()` takes a function from a file, or compiles it: (what it makes of 3, how often it has been compiled)."""
    monkeypatch.setattr(kept, "_told", False)
    count = 0

    def build() -> dict:
        nonlocal count
        count += 1
        return {"double": jax.jit(lambda x: 2.0 * x).lower(jax.ShapeDtypeStruct((), "float64")).compile()}

    def take() -> tuple[float, int]:
        return float(kept.taken(directory / NAME, ["double"], build)["double"](np.float64(3.0))), count

    return take


NAME = f"shape-{'0' * 40}.executables"


def test_a_file_counts_as_used_when_it_is_loaded(doubled, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doubled() == (6.0, 1)
    os.utime(directory / NAME, (1.0, 1.0))
    assert doubled() == (6.0, 1)
    assert (directory / NAME).stat().st_mtime > 1.0
    assert capsys.readouterr().err == ""


def test_a_damaged_file_is_told_once_compiled_again_and_replaced(doubled, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled()
    whole = (directory / NAME).read_bytes()
    for count, content in enumerate((whole[:-1], whole[:40] + bytes(8) + whole[48:], b""), 2):
        (directory / NAME).write_bytes(content)
        assert doubled() == (6.0, count)
        assert doubled() == (6.0, count)  # what replaced it is taken
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("capacity: ") and "compiled again (it is damaged)" in said


def test_a_file_of_another_processor_is_told_and_replaced(
    doubled, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doubled()
    os.utime(directory / NAME, (1.0, 1.0))
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise RuntimeError("INTERNAL: Target machine feature +prefer-no-gather is not supported\non the host machine.")

        patch.setattr(kept.serialize_executable, "deserialize_and_load", refuse)
        assert doubled() == (6.0, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "+prefer-no-gather is not supported on the host machine" in said
    assert (directory / NAME).stat().st_mtime > 1.0 and doubled() == (6.0, 2)


def failing(error: Exception):
    def load(*_):
        def function(*_):
            raise error

        return function

    return load


def test_a_function_that_loads_and_fails_when_it_is_called_is_compiled_again(
    doubled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doubled()
    with monkeypatch.context() as patch:
        patch.setattr(kept.serialize_executable, "deserialize_and_load", failing(RuntimeError("Function sum_1 not found")))
        assert doubled() == (6.0, 2)
    assert "Function sum_1 not found" in capsys.readouterr().err
    assert doubled() == (6.0, 2)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: out of memory")])
def test_memory_that_ends_is_not_taken_for_wrong_code(doubled, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    doubled()
    monkeypatch.setattr(kept.serialize_executable, "deserialize_and_load", failing(error))
    with pytest.raises(type(error)):
        doubled()


def test_files_beyond_the_limit_go_when_another_is_written(doubled, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = directory / NAME.replace("0", "1")
    old.write_bytes(bytes(10_000))
    os.utime(old, (1.0, 1.0))
    monkeypatch.setenv("CAPACITY_CACHE_BYTES", "100000")
    doubled()
    assert old.exists() and (directory / NAME).exists()
    (directory / NAME).unlink()
    monkeypatch.setenv("CAPACITY_CACHE_BYTES", "9000")
    doubled()
    assert not old.exists() and (directory / NAME).exists()


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    kept.save(tmp_path / "nowhere" / "shape-0.executables", {})
    assert not list(tmp_path.iterdir())
