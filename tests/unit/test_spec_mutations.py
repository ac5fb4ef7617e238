"""Whatever is done to a good case, it loads or is refused by CaseError in one line; nothing else comes out."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from optimizer.spec import CaseError, load_case
from optimizer.spec.yaml_file import read_yaml

BASE = Path(__file__).parent / "bad_cases"
VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 2.5, 180, 1e300, 10**400, float("nan"), float("inf")),
    *("", "x", "catalog", "h100", "texas", "aws:us-east-1", "2027-01-01", "<own>", "[key]", "a\nb", "a\0b", "é", "y" * 1000),
    *(date(2027, 1, 1), date(9999, 12, 31), date(1, 1, 1)),
    *([], [1], ["h100"], [[[]]], [0] * 24, [1e308] * 24, {}, {"a": 1}, {"<own>": 1}),
    *({"start": 1}, {"start": 1, "growth_per_year": 20}, {"by_period": []}, {"by_period": [1, 2, 3, 4]}, {"by_date": []}),
    *({"by_date": [{"from": date(2026, 1, 1), "value": 3}]}, {"catalog": "texas"}, {"catalog": [1]}, {"kind": "own"}, {"class": {}}),
]
KEYS = ("x", "a.b", "<own>", "kind", "chips", "place", "start", "by_period", "catalog", "from")


def locations(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*here, key)
        yield from locations(below, (*here, key))


def mutate(data: dict[str, Any], choose: random.Random) -> None:
    *way, last = choose.choice(list(locations(data)))
    parent: Any = data
    for key in way:
        parent = parent[key]
    what = choose.random()
    if what < 0.75:
        parent[last] = copy.deepcopy(choose.choice(VALUES))
    elif what < 0.85 or not isinstance(parent, dict):
        del parent[last]
    else:
        parent[choose.choice(KEYS)] = copy.deepcopy(choose.choice(VALUES))


def loads_or_is_refused(path: Path, overrides: dict[str, Any] | None = None) -> None:
    try:
        load_case(path, overrides)
    except CaseError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 3000
        assert error.problem and error.remedy and message.startswith(f"{error.file}: {error.key_path}: ")


@pytest.mark.parametrize("seed", range(8))
def test_values(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    good = read_yaml(BASE / "base.yaml").data
    good["catalog"] = str(BASE / "catalog")
    (tmp_path / "case.yaml").write_text("name: x\n")
    for _ in range(25):
        data = copy.deepcopy(good)
        for _ in range(choose.choice((1, 1, 2))):
            mutate(data, choose)
        loads_or_is_refused(tmp_path / "case.yaml", data)


@pytest.mark.parametrize("seed", range(4))
def test_characters(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    good = (BASE / "base.yaml").read_text()
    shutil.copytree(BASE / "catalog", tmp_path / "catalog")
    for _ in range(15):
        text = good
        for _ in range(choose.choice((1, 2, 5))):
            at = choose.randrange(len(text))
            piece = choose.choice(
                ["", "", "\t", "\n", "  ", ":", ": ", "- ", "&a ", "*a", "!x ", "#", "{", "}", "[", "]", '"', "0", "\ufeff", "\x00"]
            )
            text = text[:at] + piece + text[at + choose.choice((0, 1, 10)) :]
        (tmp_path / "case.yaml").write_text(text, encoding="utf-8")
        loads_or_is_refused(tmp_path / "case.yaml")
