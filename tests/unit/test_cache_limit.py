"""The directory of compiled code: what goes first when it is full, and what never goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optimizer import cache_limit
from optimizer.cache_limit import MOST_BYTES, keep_within, most_bytes

ROOT = Path(__file__).resolve().parents[2]


def shape(number: int) -> str:
    return f"shape-{number:040x}.executables"


def of_jax(number: int) -> str:
    return f"jit_scatter-add-{number:064x}-cache"


def put(directory: Path, name: str, size: int, age_s: float) -> Path:
    path = directory / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def test_what_was_used_longest_ago_goes_first_and_no_more_than_must(tmp_path: Path) -> None:
    old, older = put(tmp_path, shape(1), 100, 50.0), put(tmp_path, of_jax(2), 100, 90.0)
    beside = put(tmp_path, of_jax(2).replace("-cache", "-atime"), 8, 1.0)
    new, newest = put(tmp_path, of_jax(3), 100, 20.0), put(tmp_path, shape(4), 100, 10.0)
    assert keep_within(tmp_path, 400) == 0 and older.exists()
    assert keep_within(tmp_path, 350) == 100
    assert not older.exists() and not beside.exists() and old.exists()
    assert keep_within(tmp_path, 200) == 100
    assert not old.exists() and new.exists() and newest.exists()
    os.utime(new)  # as a load does
    assert keep_within(tmp_path, 199) == 100
    assert new.exists() and not newest.exists()
    assert keep_within(tmp_path, 0) == 100 and not list(tmp_path.iterdir())


def test_what_is_not_ours_neither_counts_nor_goes(tmp_path: Path) -> None:
    others = ("thesis.pdf", "shape-1.executables", "shape-of-things.executables", "a-cache", "results-cache", ".lockfile")
    kept = [put(tmp_path, name, 1000, 1e6) for name in (*others, f"{of_jax(1)}.bak")]
    (tmp_path / shape(1)).mkdir()
    elsewhere = put(tmp_path, "elsewhere", 1000, 1e6)
    (tmp_path / shape(2)).symlink_to(elsewhere)
    assert keep_within(tmp_path, 0) == 0
    assert all(path.exists() for path in (*kept, elsewhere, tmp_path / shape(1), tmp_path / shape(2)))


def test_what_a_killed_process_left_half_written_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    left, written = put(tmp_path, f".{shape(1)}.abc", 100, 2 * cache_limit.PART_S), put(tmp_path, f".{shape(2)}.abc", 100, 1.0)
    keep_within(tmp_path, 0)
    assert not left.exists() and written.exists()


def test_a_directory_that_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    assert keep_within(tmp_path / "nowhere", 0) == 0


def test_several_processes_remove_no_more_than_one_would(tmp_path: Path) -> None:
    for number in range(400):
        put(tmp_path, shape(number), 100, 1000.0 - number)
    code = f"from pathlib import Path; from optimizer.cache_limit import keep_within; keep_within(Path({str(tmp_path)!r}), 20_000)"
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0], [process.stderr.read() for process in running if process.stderr]
    assert sorted(path.name for path in tmp_path.iterdir()) == [shape(number) for number in range(200, 400)]


@pytest.mark.parametrize(("said", "most", "told"), [("", MOST_BYTES, 0), ("5000", 5000, 0), ("0", 0, 0), ("2 GB", MOST_BYTES, 1)])
def test_the_limit_is_read_from_the_environment(
    said: str, most: int, told: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache_limit._read.cache_clear()
    monkeypatch.setenv(cache_limit.VARIABLE, said)
    assert most_bytes() == most_bytes() == most
    assert capsys.readouterr().err.count("\n") == told
