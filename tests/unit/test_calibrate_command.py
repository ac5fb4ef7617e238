"""`capacity calibrate`: the printed errors, own measurements that become a catalog, and one sentence for wrong input."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from optimizer import cli
from optimizer.performance.own_points import rate_ceiling, read_own_points
from optimizer.performance.serve import serve
from optimizer.performance.serving_calibration import read_serving_calibration
from optimizer.performance.training_calibration import ErrorRow, calibrate_training, own_errors
from optimizer.performance.training_parameters import load_training_calibration
from optimizer.performance.training_points import read_training_points
from optimizer.report.calibration_page import growth_warning
from optimizer.spec.catalog import Catalog, shipped_catalog

MEASUREMENTS = shipped_catalog() / "measurements"
CATALOG = Catalog(shipped_catalog())
SHIPPED = read_serving_calibration(shipped_catalog() / "calibration" / "serving.yaml")
RATE = "output_tokens_per_s_per_chip"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not folded, whatever the terminal of the test run is."""
    monkeypatch.setenv("COLUMNS", "120")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["calibrate", *arguments])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), printed.err


def shipped_rows(table: str, chip: str) -> list[dict[str, str]]:
    with (MEASUREMENTS / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["chip"] == chip]


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def with_rate(row: dict[str, str], factor: float, **cells: str) -> dict[str, str]:
    return {**row, RATE: str(factor * float(row[RATE])), **cells}


def own_points(path: Path, chip: str, factor: float) -> Path:
    """The shipped points of a chip, as if somebody's server were `factor` times as fast."""
    return written(path, [with_rate(row, factor) for row in shipped_rows("serving_points", chip)])


def refused(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str) -> str:
    """The one sentence that the command says; nothing is written."""
    code, page, errors = said(capsys, *arguments, "--out", str(out))
    assert (code, page) == (2, "") and errors.count("\n") == 1 and not out.exists(), errors
    return errors


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


def own_runs(factor: float, **cells: str) -> list[dict[str, str]]:
    """The shipped dense runs of a chip, `factor` times as fast."""
    rows = [row for row in shipped_rows("training", "tpu_v6e") if row["kind"] == "dense"]
    return [{**row, "training_tflops_per_chip": str(factor * float(row["training_tflops_per_chip"])), **cells} for row in rows]


def test_own_training_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "runs.csv", own_runs(1.2))
    out = tmp_path / "new" / "training.yaml"
    code, page, _ = said(capsys, "--training", str(tmp_path / "runs.csv"), "--out", str(out))
    assert code == 0 and page.endswith(f"Results: {out}") and "runs.csv" in page
    count = len(own_runs(1.2))
    means = {test: float(re.search(rf"{test} all {count} ([\d.]+)", page)[1]) for test in ("before", "after")}  # type: ignore[index]
    assert means["after"] < 0.7 * means["before"]
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


@pytest.mark.parametrize(
    ("cells", "factor", "sentences"),
    [
        ({}, 8.0, ("is {rate:g}, ", " times the ", "mi300x", "other rows are above it too", "not of a replica or a node", "data types")),
        ({"serving_stack": "vlm_rocm"}, 1.0, ("row 2.serving_stack: `vlm_rocm` is not", "neuron, trtllm,", "did you mean `vllm_rocm`?")),
        ({"serving_stack": "sglang"}, 1.0, ("`sglang` is not a known", "vllm_rocm", "`--new-stack sglang` takes it")),
        ({"model": "dense_405b", "weight_type": "bf16"}, 1.0, ("replica_chips: is 1: the weights of dense_405b exceed 1 x 192 GB",)),
        ({RATE: "nan"}, 1.0, (f"row 2.{RATE}: is the text 'nan'",)),
    ],
)
def test_impossible_measurements(
    cells: dict[str, str], factor: float, sentences: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [with_rate(row, factor, **cells) for row in shipped_rows("serving_points", "mi300x")]
    told = refused(capsys, tmp_path / "serving.yaml", str(written(tmp_path / "mine.csv", rows)))
    place = re.search(r"mine\.csv: row (\d)\.", told)
    assert place is not None
    rate = rows[int(place[1]) - 2][RATE]
    assert all(sentence.format(rate=float(rate)) in told for sentence in sentences), told
    if factor > 1.0:  # a rate that is said to be x times too high is accepted when it is divided by a little more than x
        above = float(re.search(r"([\d.]+) times", told)[1])  # type: ignore[index]
        points = written(tmp_path / "less.csv", [with_rate(row, 0.99 / above, serving_stack="unknown") for row in rows])
        assert "row 2.serving_stack" in refused(capsys, tmp_path / "serving.yaml", str(points))
        assert read_own_points(points, CATALOG, SHIPPED, ["unknown"]).rate.max() == pytest.approx(
            max(float(r[RATE]) for r in rows) / above, rel=0.02
        )


def test_a_stack_of_ones_own_and_a_fit_that_makes_it_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two measurements of the same thing that contradict each other: each is predicted worse by a fit to the other."""
    row = shipped_rows("serving_points", "mi300x")[0]
    points = written(tmp_path / "mine.csv", [with_rate(row, factor, serving_stack="mine", name=str(factor)) for factor in (1.4, 0.7)])
    out = tmp_path / "serving.yaml"
    code, page, errors = said(capsys, str(points), "--new-stack", "mine", "--out", str(out))
    assert (code, errors) == (0, "") and "mine is a new serving stack: its layer_s and sequence_s start from the prior" in page
    grew = re.search(
        r"Warning: the mean error on your own measurements grew from ([\d.]+) % before the fit to ([\d.]+) % after, leave", page
    )
    assert grew is not None and float(grew[2]) > 1.15 * float(grew[1])
    assert re.search(rf"Results: {out} \(warning: the mean error on your own measurements grew from [^)]*\)$", page)
    assert "layer_s.mine" in read_serving_calibration(out).values
    assert "`other` is not in the column" in refused(
        capsys, tmp_path / "no.yaml", str(points), "--new-stack", "mine", "--new-stack", "other"
    )


def test_a_fit_above_a_peak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every rate just below what the peaks permit: none is impossible by itself, but with overheads the shares would exceed 1."""
    rows = shipped_rows("serving_points", "h200")[:5]
    ceiling = rate_ceiling(read_own_points(written(tmp_path / "mine.csv", rows), CATALOG, SHIPPED))
    points = written(tmp_path / "mine.csv", [{**row, RATE: str(0.99 * most)} for row, most in zip(rows, ceiling, strict=True)])
    told = refused(capsys, tmp_path / "serving.yaml", str(points))
    share = re.search(r"the fit puts (memory|compute)[\w. ]* at ([\d.]+) of its peak, and no chip can do more than 1", told)
    assert share is not None and float(share[2]) > 1


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            {"training_tflops_per_chip": "3672", "peak_tflops": "7344"},
            "row 2.training_tflops_per_chip: is 3672, 4 times the bf16 peak of tpu_v6e",
        ),
        ({"fitted": "no"}, "no row is marked as fitted"),
    ],
)
def test_impossible_runs(cells: dict[str, str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = written(tmp_path / "runs.csv", own_runs(1.0, **cells))
    assert sentence in refused(capsys, tmp_path / "training.yaml", "--training", str(runs))


def test_options_of_a_new_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = written(tmp_path / "runs.csv", own_runs(1.0))
    assert "--new-stack: is given without serving" in refused(
        capsys, tmp_path / "training.yaml", "--training", str(runs), "--new-stack", "mine"
    )


@pytest.mark.parametrize(
    ("after", "alone", "grown"), [(0.08, 0.10, None), (0.13, 0.09, "13.0 % after"), (0.08, 0.13, "13.0 % after, left")]
)
def test_errors_that_grow_with_the_fit(after: float, alone: float, grown: str | None) -> None:
    """`before` is 10 %: a growth of a point, or by 15 %, is scatter."""
    rows = [
        ErrorRow(name, "all", 3, mean, mean, mean, 0.0, mean) for name, mean in (("before", 0.10), ("after", after), ("after, left", alone))
    ]
    assert growth_warning(rows[:2]) is None or after > 0.115
    assert (growth_warning(rows) or "").endswith(f"grew from 10.0 % before the fit to {grown}" if grown else "")
    assert (growth_warning(rows) is None) == (grown is None)


def test_a_utilisation_above_the_peak() -> None:
    points = read_training_points(MEASUREMENTS / "training.csv")
    fit = calibrate_training(points)
    name = "mfu.tpu_v6e.bf16.dense"
    assert [row.test for row in own_errors(fit, points, points[-3:])] == ["before", "after", "after, leave one point out"]
    high = {**fit.parameters, name: dataclasses.replace(fit.parameters[name], value=1.2)}
    with pytest.raises(ValueError, match=f"the fit puts {name} at 1.2 of the peak"):
        own_errors(dataclasses.replace(fit, parameters=high), points, points[-3:])
