"""`capacity calibrate`: the printed errors, own measurements that become a catalog, and one sentence for wrong input."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from optimizer import cli
from optimizer.performance.serve import serve
from optimizer.performance.serving_calibration import read_serving_calibration
from optimizer.performance.training_parameters import load_training_calibration
from optimizer.spec.catalog import shipped_catalog

MEASUREMENTS = shipped_catalog() / "measurements"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not folded, whatever the terminal of the test run is."""
    monkeypatch.setenv("COLUMNS", "120")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["calibrate", *arguments])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), printed.err


def own_points(path: Path, chip: str, factor: float) -> Path:
    """The shipped points of a chip, as if somebody's server were `factor` times as fast."""
    with (MEASUREMENTS / "serving_points.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["chip"] == chip]
    for row in rows:
        row["output_tokens_per_s_per_chip"] = str(factor * float(row["output_tokens_per_s_per_chip"]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_errors_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, errors = said(capsys, "--training")
    assert (code, errors) == (0, "")
    shipped = load_training_calibration(shipped_catalog() / "calibration" / "training.yaml")
    assert f"Training: calibration of {shipped.date.isoformat()}, fitted to {shipped.fitted_from}" in page
    row = re.search(r"leave one chip out dense (\d+) ([\d.]+)", page)
    assert row is not None and int(row[1]) >= 20 and float(row[2]) < 15
    assert "Serving" not in page and page.endswith("Nothing was written; POINTS.csv --out FILE.yaml fits your own measurements.")


def test_the_errors_of_serving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few points of each table, for speed: test_serving_calibration holds what the whole tables promise."""
    folder = tmp_path / "catalog"
    shutil.copytree(shipped_catalog(), folder)
    for name, models in (
        ("serving_points", "dense_8b moe_mixtral_8x7b moe_deepseek_r1"),
        ("mixture_points", "moe_gpt_oss_20b"),
        ("mixture_held_out_points", "moe_qwen3_30b"),
    ):
        lines = (MEASUREMENTS / f"{name}.csv").read_text().splitlines()
        kept = [line for line in lines[1:] if any(f",{model}," in line for model in models.split())]
        assert len(kept) >= 3
        (folder / "measurements" / f"{name}.csv").write_text("\n".join([lines[0], *kept]) + "\n")
    code, page, errors = said(capsys, "--catalog", str(folder))
    assert (code, errors) == (0, "")
    shipped = read_serving_calibration(shipped_catalog() / "calibration" / "serving.yaml")
    assert page.startswith(f"Serving: calibration of {shipped.date.isoformat()}, fitted to {shipped.fitted_from}")
    means = {}
    for test in ("in sample", "leave one point out", "leave one chip out", "leave one model out"):
        row = re.search(rf"{test} 11 ([\d.]+) % ([\d.]+) % ([\d.]+) % [+-][\d.]+ %", page)
        assert row is not None and float(row[1]) <= float(row[3])
        means[test] = float(row[1])
    assert 0 < means["in sample"] < means["leave one point out"] < 60
    for part in (
        "Qwen3 mixtures, held out, judged once 10",
        "by chip",
        "by model",
        "first token, never fitted",
        "Training: calibration of",
    ):
        assert part in page, part


def test_own_measurements_become_a_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chip measured a third faster than the shipped points of it: the fit says so, and serving with it takes fewer of that chip."""
    points = own_points(tmp_path / "mine.csv", "mi300x", 1.33)
    folder = tmp_path / "catalog"
    shutil.copytree(shipped_catalog(), folder)
    out = folder / "calibration" / "serving.yaml"
    before = {
        chip: serve("dense_32b", 50, chips=[chip], catalog=folder, input_tokens=1000, output_tokens=500).chips[0]
        for chip in ("mi300x", "tpu_v6e")
    }
    code, page, errors = said(capsys, str(points), "--catalog", str(folder), "--out", str(out))
    assert (code, errors) == (0, "") and page.endswith(f"Results: {out}")
    assert page.startswith("mine.csv: 4 measurements on top of the calibration of the catalog")
    means = {test: float(re.search(rf"{test} 4 ([\d.]+) %", page)[1]) for test in ("before", "after")}  # type: ignore[index]
    assert means["after"] < 0.7 * means["before"]
    assert "compute.cdna3_fp8" in page and "memory.tpu_v6e" not in page and "leave one point out" in page
    new, shipped = read_serving_calibration(out), read_serving_calibration(shipped_catalog() / "calibration" / "serving.yaml")
    assert new.fitted_from == f"{shipped.fitted_from}, then mine.csv"
    assert new.values["compute.cdna3_fp8"].value > shipped.values["compute.cdna3_fp8"].value
    after = {chip: serve("dense_32b", 50, chips=[chip], catalog=folder, input_tokens=1000, output_tokens=500).chips[0] for chip in before}
    assert after["mi300x"].output_tokens_per_s_per_chip > 1.05 * before["mi300x"].output_tokens_per_s_per_chip
    assert after["tpu_v6e"].output_tokens_per_s_per_chip == pytest.approx(before["tpu_v6e"].output_tokens_per_s_per_chip, rel=0.1)


def test_own_training_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (MEASUREMENTS / "training.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["chip"] == "tpu_v6e" and row["kind"] == "dense"]
    with (tmp_path / "runs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "training_tflops_per_chip": str(1.2 * float(row["training_tflops_per_chip"]))} for row in rows)
    out = tmp_path / "new" / "training.yaml"
    code, page, _ = said(capsys, "--training", str(tmp_path / "runs.csv"), "--out", str(out))
    assert code == 0 and page.endswith(f"Results: {out}") and "runs.csv" in page
    shipped, new = load_training_calibration(shipped_catalog() / "calibration" / "training.yaml"), load_training_calibration(out)
    name = "mfu.tpu_v6e.bf16.dense"
    assert new.parameters[name].value > 1.03 * shipped.parameters[name].value


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mine.csv"], "--out: is missing; name the file that the fitted calibration goes to"),
        (["--out", "serving.yaml"], "--out: is given without measurements; name the file of your measurements as well"),
        (["mine.csv", "--out", "serving.json"], "--out: is serving.json; name a file that ends in .yaml"),
        (["nowhere.csv", "--out", "serving.yaml"], "nowhere.csv: (top level): cannot be read (No such file or directory)"),
        (["--catalog", "nowhere"], "--catalog: `nowhere` is not a directory; give the directory of a catalog"),
        (["--training", "nowhere.csv", "--out", "training.yaml"], "nowhere.csv"),
    ],
)
def test_bad_input(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, page, errors = said(capsys, *arguments)
    assert (code, page) == (2, "") and errors.count("\n") == 1 and sentence in errors
    assert not Path("serving.yaml").exists() and not Path("training.yaml").exists()


def test_bad_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, out = own_points(tmp_path / "mine.csv", "mi300x", 1.0), tmp_path / "serving.yaml"
    text = points.read_text()
    for wrong, sentence in (
        (text.replace("mi300x", "mi300"), "row 2.chip: `mi300` is not in chips.yaml; did you mean `mi300x`?"),
        (text.replace("output_tokens_per_s_per_chip", "rate"), "row 1.rate: is not a column of this table"),
        (text.splitlines()[0] + "\n", "has no rows; write one measured point per row"),
        ("", "row 1.name: is missing"),
    ):
        points.write_text(wrong)
        code, page, errors = said(capsys, str(points), "--out", str(out))
        assert (code, page) == (2, "") and errors.count("\n") == 1 and sentence in errors, errors
    assert not out.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv"]
