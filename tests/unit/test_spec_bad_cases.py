"""Wrong case files: each must be refused in one line that names the file, the key, and what would be right.

`bad_cases/base.yaml` is good and uses every section; the bad cases, in the other files there, change one thing of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from optimizer.spec import CaseError, load_case

BASE = Path(__file__).parent / "bad_cases"
GROUPS = ("syntax", "numbers", "keys", "time", "references", "extends")
CASES: dict[str, dict[str, Any]] = {
    f"{group}-{name}": case for group in GROUPS for name, case in yaml.safe_load((BASE / f"{group}.yaml").read_text()).items()
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the base case and its catalog."""
    shutil.copy(BASE / "base.yaml", tmp_path)
    shutil.copytree(BASE / "catalog", tmp_path / "catalog")
    return tmp_path


def refusal(path: Path) -> CaseError:
    with pytest.raises(CaseError) as caught:
        load_case(path)
    return caught.value


def assert_tells(error: CaseError, file: str, key: str, words: list[str]) -> None:
    message = str(error)
    assert "\n" not in message and message.isprintable()
    assert Path(error.file).name == file
    assert error.key_path == key
    assert message.startswith(f"{error.file}: {key}: {error.problem}")
    assert message.endswith(f"; {error.remedy}") and error.problem and error.remedy
    said = message.removeprefix(f"{error.file}: {key}: ")
    assert [word for word in words if word not in said] == []
    assert len(message) < 500 + len(error.file)


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_line(folder: Path, name: str) -> None:
    case = CASES[name]
    path = folder / "case.yaml"
    path.write_text(case["file"] if "file" in case else f"extends: base.yaml\n{case['patch']}\n", encoding="utf-8")
    error = refusal(path)
    # a contradiction between two keys is shown at the one that is wrong, which base.yaml may have written
    assert_tells(error, "case.yaml" if error.read_for is None else "base.yaml", case["key"], case["says"])
    assert "case.yaml" in str(error)


def test_there_are_many() -> None:
    assert len(CASES) > 150


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        pytest.param("name: " + "[" * 50_000, "(top level)", ["nested too deeply", "levels"], id="brackets"),
        pytest.param("name: \x07\n", "(top level)", ["not YAML", "UTF-8"], id="control_character"),
        pytest.param(f"name: {'9' * 390}", "name", ["not a name", "text"], id="long_integer"),
        pytest.param(f"name: {'9' * 50_000}", "name", ["50000 characters", "at most 200"], id="longer_integer"),
    ],
)
def test_hostile_text(tmp_path: Path, text: str, key: str, says: list[str]) -> None:
    (tmp_path / "case.yaml").write_text(text, encoding="utf-8")
    assert_tells(refusal(tmp_path / "case.yaml"), "case.yaml", key, says)


def bomb(levels: int) -> str:
    """YAML of some hundred bytes whose aliases expand to 10 ** levels texts of 20 bytes."""
    lines = ["a0: &a0 twenty_bytes_of_text"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("levels", [8, 9, 30])
def test_alias_bomb_costs_nothing(tmp_path: Path, levels: int) -> None:
    (tmp_path / "case.yaml").write_text(bomb(levels))
    began = time.perf_counter()
    error = refusal(tmp_path / "case.yaml")
    assert time.perf_counter() - began < 2.0
    assert_tells(error, "case.yaml", error.key_path, ["expands to more than", "through aliases", "write fewer"])


def test_alias_bomb_in_little_memory(tmp_path: Path) -> None:
    """2 GB expanded, within 300 MB of address space on top of the interpreter's own."""
    (tmp_path / "case.yaml").write_text(bomb(8))
    script = (
        "import resource, sys\n"
        "from optimizer.spec import CaseError, load_case\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 300 * 2**20, resource.RLIM_INFINITY))\n"
        "try:\n    load_case(sys.argv[1])\n"
        "except CaseError as error:\n    print(error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "case.yaml")], cwd=root, capture_output=True, text=True, timeout=60)
    assert "through aliases" in done.stdout, done.stderr


def test_cycle_of_three_files(folder: Path) -> None:
    for this, other in (("case", "b"), ("b", "c"), ("c", "case")):
        (folder / f"{this}.yaml").write_text(f"extends: {other}.yaml\n")
    assert_tells(refusal(folder / "case.yaml"), "c.yaml", "extends", ["cycle"])


def test_chain_of_too_many_files(folder: Path) -> None:
    for number in range(40):
        (folder / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    (folder / "40.yaml").write_text("name: x\n")
    assert_tells(refusal(folder / "0.yaml"), "19.yaml", "extends", ["more than 20 files", "merge"])


def test_not_there(tmp_path: Path) -> None:
    assert_tells(refusal(tmp_path / "nobody.yaml"), "nobody.yaml", "(top level)", ["cannot be read", "existing case file"])
    assert_tells(refusal(tmp_path), tmp_path.name, "(top level)", ["cannot be read", "existing case file"])


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_bytes(b"name: x\ndescription: caf\xe9\n")
    assert_tells(refusal(path), "case.yaml", "(top level)", ["UTF-8", "line 2"])


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_bytes(b"# \n" * (2 << 20))
    assert_tells(refusal(path), "case.yaml", "(top level)", ["larger than 4 MiB", "split"])


def test_the_line_is_that_of_the_file_which_wrote_it(folder: Path) -> None:
    (folder / "case.yaml").write_text("extends: base.yaml\nname: other\n\ndiscount_rate_per_year: 8\n")
    assert refusal(folder / "case.yaml").line == 4
    text = (folder / "base.yaml").read_text().replace("pue: 1.15", "pue: 0.15")
    (folder / "base.yaml").write_text(text)
    (folder / "case.yaml").write_text("extends: base.yaml\nname: other\n")
    error = refusal(folder / "case.yaml")
    assert Path(error.file).name == "base.yaml"
    assert text.splitlines()[(error.line or 0) - 1].strip() == "pue: 0.15"
