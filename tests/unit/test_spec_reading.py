"""From YAML text to plain values: what scalars mean, `extends`, merge keys, overrides."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.spec import CaseError
from optimizer.spec.extends import read_case_file
from optimizer.spec.yaml_file import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("1_000_000", 1_000_000),
        ("1e6", 1e6),
        ("1E6", 1e6),
        ("1e+6", 1e6),
        ("2.5e-3", 0.0025),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.25", -0.25),
        ("'5'", "5"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1_00", "1_00"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e", "1e"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("NO", "NO"),
        ("'true'", "true"),
        ("2026-10-01", date(2026, 10, 1)),
        ("'2026-10-01'", "2026-10-01"),
        ("2026-10", "2026-10"),
        ("2026-10-01 12:00:00", "2026-10-01 12:00:00"),
        ("2026-10-01T12:00:00Z", "2026-10-01T12:00:00Z"),
        ("aws:us-east-1", "aws:us-east-1"),
        ("[1, a, [2.0]]", [1, "a", [2.0]]),
        ("{a: 1, b: {c: 2026-01-01}}", {"a": 1, "b": {"c": date(2026, 1, 1)}}),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    read = parse_yaml(f"x: {text}\n", "f").data["x"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("key", ["2027", "1e6", "true", "on", "2026-10-01", "'quoted'", "aws:us-east-1"])
def test_keys_are_texts(key: str) -> None:
    assert list(parse_yaml(f"{key}: 1\n", "f").data) == [key.strip("'")]


def test_order_of_keys_is_kept() -> None:
    assert list(parse_yaml("b: 1\na: 2\nc: 3\n", "f").data) == ["b", "a", "c"]


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_bytes(b"\xef\xbb\xbfname: x\r\nperiods: 4\r\n")
    assert read_case_file(tmp_path / "case.yaml").data == {"name": "x", "periods": 4}


def test_aliases_are_copies() -> None:
    data = parse_yaml("a: &a {x: [1]}\nb: *a\n", "f").data
    data["b"]["x"].append(2)
    assert data["a"] == {"x": [1]}


def test_many_aliases_are_allowed() -> None:
    data = parse_yaml("a: &a [1, 2, 3]\n" + "".join(f"b{n}: *a\n" for n in range(500)), "f").data
    assert len(data) == 501 and data["b499"] == [1, 2, 3]


def test_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, y: 5}\nd: {y: 5, <<: [*a, *b]}\n"
    data = parse_yaml(text, "f").data
    assert data["c"] == {"x": 1, "y": 5}
    assert data["d"] == {"x": 1, "y": 5, "z": 4}
    assert parse_yaml("'<<': 1\n", "f").data == {"<<": 1}


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "case.yaml"


def test_null_removes_what_a_merge_key_took_over(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: null}\nc: {x: ~, <<: *a}\n"
    data = read_case_file(write(tmp_path, case=text)).data
    assert data == {"a": {"x": 1, "y": 2}, "b": {"y": 2}, "c": {"y": 2}}


def test_extends_merges_maps_and_replaces_the_rest(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        case="extends: middle.yaml\nm: {b: null, c: {e: 6}, l: [9]}\nwas_scalar: {x: 1}\nwas_map: 2\n",
        middle="extends: root.yaml\nm: {a: 10}\n",
        root="m: {a: 1, b: 2, c: {d: 4, e: 5}, l: [1, 2, 3]}\nwas_scalar: 0\nwas_map: {x: 1}\n",
    )
    assert read_case_file(path).data == {
        "m": {"a": 10, "c": {"d": 4, "e": 6}, "l": [9]},
        "was_scalar": {"x": 1},
        "was_map": 2,
    }


def test_a_removed_key_may_come_back(tmp_path: Path) -> None:
    path = write(tmp_path, case="extends: b.yaml\na: {y: 2}\n", b="extends: c.yaml\na: null\n", c="a: {x: 1}\n")
    assert read_case_file(path).data == {"a": {"y": 2}}


def test_paths_are_relative_to_the_file_that_writes_them(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "shared" / "deep").mkdir(parents=True)
    (tmp_path / "shared" / "deep" / "root.yaml").write_text("catalog: ../catalog\n")
    (tmp_path / "shared" / "root.yaml").write_text("extends: deep/root.yaml\n")
    path = write(tmp_path / "cases", case="extends: ../shared/root.yaml\n")
    assert read_case_file(path).data == {"catalog": str(tmp_path / "shared" / "catalog")}


def test_one_base_for_two_parents_is_no_cycle(tmp_path: Path) -> None:
    path = write(tmp_path, case="extends: a.yaml\nx: 1\n", a="extends: b.yaml\nx: 2\n", b="x: 3\ny: 4\n")
    assert read_case_file(path).data == {"x": 1, "y": 4}


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, case="a: {x: 1, y: 2}\nl: [1]\n")
    overrides = {"a": {"x": np.float64(3.5), "y": None}, "l": (1, 2), "n": np.int64(4), "d": date(2027, 1, 1), "new": {"deep": {"er": "t"}}}
    assert read_case_file(path, overrides).data == {
        "a": {"x": 3.5},
        "l": [1, 2],
        "n": 4,
        "d": date(2027, 1, 1),
        "new": {"deep": {"er": "t"}},
    }
    assert type(read_case_file(path, overrides).data["n"]) is int
    assert read_case_file(path, {}).data == read_case_file(path).data


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        ({"extends": "x.yaml"}, "extends", "cannot be overridden"),
        ({"a": {"z": None}}, "a.z", "is blank"),
        ({"a": {"x": object()}}, "a.x", "Python object"),
        ({"a": {1: 2}}, "a", "has the key 1"),
    ],
)
def test_wrong_overrides(tmp_path: Path, overrides: dict[str, Any], key: str, says: str) -> None:
    path = write(tmp_path, case="a: {x: 1, y: 2}\n")
    with pytest.raises(CaseError) as caught:
        read_case_file(path, overrides)
    assert caught.value.key_path == key and says in caught.value.problem
    assert str(caught.value).startswith(f"{path} (override): {key}: ")


def test_overrides_that_contain_themselves(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    with pytest.raises(CaseError, match="nested too deeply"):
        read_case_file(write(tmp_path, case="a: 1\n"), loop)


def test_error_survives_pickling() -> None:
    error = CaseError("f.yaml", "a.b", "is\nwrong", "write\tit", 7, "case.yaml")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "f.yaml: a.b: is wrong (line 7, read for case.yaml); write it"
    assert (again.file, again.key_path, again.problem, again.remedy, again.line) == ("f.yaml", "a.b", "is wrong", "write it", 7)
    assert isinstance(error, ValueError)
