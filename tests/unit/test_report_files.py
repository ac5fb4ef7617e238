"""What is written: complete, typed, free of NaN, and never half there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optimizer
from optimizer.report import files, text_files
from optimizer.report.result import TABLES
from optimizer.spec import load_case
from tests.unit.small_case import small_case

CASES = Path(__file__).resolve().parent.parent / "oracle" / "cases"


@pytest.fixture(scope="module")
def plan() -> optimizer.Plan:
    return optimizer.plan(small_case())


def test_a_directory_holds_the_plan_and_every_table_twice(plan: optimizer.Plan, tmp_path: Path) -> None:
    target = plan.write(tmp_path / "new" / "here")
    expected = {"plan.json"} | {f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")}
    assert {file.name for file in target.iterdir()} == expected
    assert os.listdir(tmp_path / "new") == ["here"]
    for name in TABLES:
        table = plan.tables()[name]
        again = pd.read_parquet(target / f"{name}.parquet")
        assert list(again.columns) == list(table.columns) and len(again) == len(table)
        for column in table.select_dtypes("number"):
            assert np.array_equal(again[column].to_numpy(), table[column].to_numpy(), equal_nan=True), f"{name}.{column}"
        blank = {column: [""] for column in table.select_dtypes("number")}
        read = pd.read_csv(target / f"{name}.csv", keep_default_na=False, na_values=blank)
        for column in blank:
            same = np.array_equal(read[column].to_numpy(dtype=float), table[column].to_numpy(), equal_nan=True)
            assert same, "CSV keeps every digit"


def test_plan_json_says_what_matters(plan: optimizer.Plan) -> None:
    document = json.loads(text_files.json_text(files.plan_document(plan)))
    assert document["status"] == "CERTIFIED" and document["objective_usd"] == plan.objective_usd
    assert document["case"] == {"name": "small", "hash": plan.case_hash, "file": str(plan.case.file)}
    assert set(document["seconds"]) == {"build", "compile", "solve", "certify", "report"}
    total = sum(entry["present_value"] for entry in document["cost_by_category_usd"].values())
    assert total == pytest.approx(plan.objective_usd, rel=1e-9)
    assert document["acquisitions"][0]["signing_date"] == str(plan.acquisitions.iloc[0]["signing_date"])
    for key in ("reason", "lower_bound_usd", "gap_usd", "gap_relative", "penalties_usd", "iterations", "compilations", "versions", "device",
                "settings", "warnings", "schema_version", "assumed_share_of_cost", "excuses", "conflicts"):  # fmt: skip
        assert key in document


def test_nothing_that_is_no_number_reaches_json(tmp_path: Path) -> None:
    plan = optimizer.plan(load_case(CASES / "40_infeasible_constant.yaml"))
    text = (plan.write(tmp_path / "out") / "plan.json").read_text()
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in plan.json"))
    assert document["status"] == "INFEASIBLE" and document["objective_usd"] is None and document["lower_bound_usd"] is None
    assert document["acquisitions"] == [] and len(document["conflicts"]) == 2
    assert files.plain({"a": np.float64("nan"), "b": (np.int64(3), np.bool_(True), float("inf"))}) == {"a": None, "b": [3, True, None]}


def test_writing_twice_replaces_and_leaves_other_files_alone(plan: optimizer.Plan, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    plan.write(target)
    first = (target / "plan.json").stat().st_ino
    plan.write(target)
    assert (target / "plan.json").stat().st_ino != first
    assert (target / "notes.txt").read_text() == "mine"
    assert not [file for file in target.iterdir() if file.name.startswith(".")]


def test_a_failed_write_leaves_no_half(plan: optimizer.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(document: object) -> str:
        raise OSError("no space left on device")

    target = plan.write(tmp_path / "old")
    before = (target / "plan.json").read_bytes()
    monkeypatch.setattr(files, "json_text", fail)
    for directory in (tmp_path / "fresh", target):
        with pytest.raises(OSError, match="no space"):
            plan.write(directory)
    assert sorted(os.listdir(tmp_path)) == ["old"]
    assert (target / "plan.json").read_bytes() == before
    assert not [file for file in target.iterdir() if file.name.startswith(".")]


def test_places_that_cannot_be_written_are_refused_before_solving(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match="is a file"):
        text_files.refuse_unwritable(file, directory=True)
    with pytest.raises(OSError, match="is a directory"):
        text_files.refuse_unwritable(tmp_path, directory=False)
    with pytest.raises(OSError, match="no directory"):
        text_files.refuse_unwritable(file / "below" / "out", directory=True)
    text_files.refuse_unwritable(tmp_path / "a" / "b", directory=True)
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_acquisitions_are_read_from_json_and_csv(plan: optimizer.Plan, tmp_path: Path) -> None:
    target = plan.write(tmp_path / "out")
    from_json, from_csv = (files.read_acquisitions(target / name) for name in ("plan.json", "acquisitions.csv"))
    assert [(r["offer"], r["signing_date"], r["scenario"], r["count_chips"]) for r in from_json] == [
        (r["offer"], r["signing_date"], r["scenario"], r["count_chips"]) for r in from_csv
    ]
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(ValueError, match="no list"):
        files.read_acquisitions(tmp_path / "none.json")
