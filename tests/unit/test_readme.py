"""Every example of the README runs, in one directory and in order, and its sample output is what the program says.

Marks in the README: `<!-- file: NAME -->` the block is a file; `<!-- run -->` it is run (sh or python); `<!-- output -->` it is the
beginning of what the run before printed. `CAPACITY_REWRITE=1 pytest tests/unit/test_readme.py` replaces the samples by what is printed now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"<!-- (?P<mark>run|output|file: (?P<file>[^ ]+)) -->\n```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)
SHOWN_LINES = 41
NUMBER = re.compile(r"\d[\d,]*\.?\d*(?:e-?\d+)?")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory like a checkout: with `configs`, and with the command `capacity` in `bin`."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "capacity"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m optimizer.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(language: str, content: str, folder: Path) -> str:
    """What a block prints."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "JAX_PLATFORMS": "cpu"}
    program = ["sh", "-e", "-c", content] if language == "sh" else [sys.executable, "-c", content]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{content}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_example_runs(folder: Path) -> None:
    text, printed, samples = README.read_text(), "", []
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        if block["file"]:
            (folder / block["file"]).write_text(block["text"])
        elif block["mark"] == "run":
            printed = run(block["language"], block["text"], folder)
        else:
            samples.append((block.span("text"), "\n".join([*printed.splitlines()[:SHOWN_LINES], "...", ""])))
            if not os.environ.get("CAPACITY_REWRITE"):
                same(block["text"], printed)
    assert [block["mark"] for block in blocks].count("run") >= 5 and samples
    if os.environ.get("CAPACITY_REWRITE"):
        for (start, end), sample in reversed(samples):
            text = text[:start] + sample + text[end:]
        README.write_text(text)


def same(sample: str, printed: str) -> None:
    """The same words in the same lines, and numbers that differ by little: a sample must not age, and machines round differently."""
    shown = sample.rstrip().removesuffix("...").rstrip().splitlines()
    assert len(shown) >= 10, "the sample is missing; CAPACITY_REWRITE=1 writes it"
    for mine, now in zip(shown, printed.splitlines(), strict=False):
        if "gap" in mine:
            continue  # how far below the asked gap the last iteration landed
        assert NUMBER.sub("#", mine).split() == NUMBER.sub("#", now).split(), f"{mine!r} is now {now!r}"
        for old, new in zip(NUMBER.findall(mine), NUMBER.findall(now), strict=True):
            old_value, new_value = (float(number.replace(",", "")) for number in (old, new))
            assert new_value == pytest.approx(old_value, rel=0.02, abs=0.11), f"{mine!r} is now {now!r}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target


def test_the_test_command_is_the_projects() -> None:
    assert "pip install -e '.[test]' && pytest" in README.read_text()
