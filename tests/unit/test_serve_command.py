"""`capacity serve`: the page, the files, and one sentence with the right exit code where the input is wrong or nothing is enough."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from optimizer import cli
from optimizer.performance.serve import serve
from optimizer.spec.catalog import shipped_catalog

ASK = ["serve", "--model", "dense_70b", "--requests-per-second", "200", "--input-tokens", "1000", "--output-tokens", "500"]
ONE = [*ASK, "--chip", "h100", "--ttft-p99-ms", "1000", "--tpot-p99-ms", "50"]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main([*arguments])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), printed.err


@pytest.fixture
def own_catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    shutil.copytree(shipped_catalog(), folder)
    return folder


def rewrite(path: Path, key: str, row: str, **fields: object) -> None:
    """Sets fields of one row of a YAML table; None removes."""
    table = yaml.safe_load(path.read_text())
    for name, value in fields.items():
        table[key][row].pop(name, None)
        if value is not None:
            table[key][row][name] = value
    path.write_text(yaml.safe_dump(table))


def test_one_chip(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, errors = said(capsys, *ONE)
    one = serve("dense_70b", 200, chips=["h100"], input_tokens=1000, output_tokens=500, ttft_p99_ms=1000, tpot_p99_ms=50).chips[0]
    assert (code, errors) == (0, "")
    assert page.startswith("dense_70b: 200 requests/s of 1,000 + 500 tokens, 100,000 output tokens/s")
    assert f"h100: {one.chips} chips, {one.chips_low} to {one.chips_high} with 80 % probability" in page
    for part in (
        "busy",
        "waiting",
        "rounding",
        "tensor parallel 2, fp8",
        "TTFT p99",
        "step under way",
        "on-demand",
        "TPOT: it sets the batch",
    ):
        assert part in page, part
    assert page.endswith("Nothing was written; --out FILE.json or FILE.csv writes the answer.")


def test_other_planners_options(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--isl", "1000", "--osl", "500", "--ttft", "1000", "--tpot", "50", "--target-request-rate", "200"]
    assert said(capsys, "serve", "--model", "dense_70b", "--chip", "h100", *short) == said(capsys, *ONE)


def test_a_table_over_all_chips_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["serve", "--model", "dense_405b", "--isl", "1000", "--osl", "500", "--requests-per-second", "20", "--tpot", "60"]
    code, page, _ = said(capsys, *whole, "--out", str(tmp_path / "new" / "answer.json"))
    assert code == 0 and page.endswith(f"Results: {tmp_path / 'new' / 'answer.json'}")
    document = json.loads((tmp_path / "new" / "answer.json").read_text())
    listed = [chip["chip"] for chip in document["chips"]]
    assert set(listed) | set(document["refused"]) == set(yaml.safe_load((shipped_catalog() / "chips.yaml").read_text())["chips"])
    assert "a100_80gb" in document["refused"] and "such chips would hold it" in document["refused"]["a100_80gb"]
    assert all(name in page for name in listed) and "Cannot do it" in page and "EP" not in page
    assert document["question"]["output_tokens"] == 500 and document["schema_version"] == 1
    code, _, _ = said(capsys, *whole, "--sort", "chips", "--out", str(tmp_path / "answer.csv"))
    rows = list(csv.DictReader((tmp_path / "answer.csv").open()))
    counts = [int(row["chips"]) for row in rows]
    assert counts == sorted(counts) and sorted(row["chip"] for row in rows) == sorted(listed)
    by_name = {chip["chip"]: chip for chip in document["chips"]}
    assert all(float(row["ttft_p99_ms"]) == pytest.approx(by_name[row["chip"]]["ttft_p99_ms"]) for row in rows)


def test_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    mix = ["serve", "--model", "dense_70b", "--chip", "h100", "b200", "--requests-per-second", "200", "--tpot", "50"]
    code, page, _ = said(capsys, *mix, "--lengths", "500:250:0.8,3000:1500:0.2")
    assert code == 0 and "200 requests/s of 1,000 + 500 tokens (mean of 2 lengths)" in page


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--model", "dense_70"], "models.dense_70: is not in the catalog; did you mean `dense_70b`?"),
        (["--chip", "h10"], "chips.h10: is not in the catalog; did you mean `h100`?"),
        (["--region", "aws:us-east"], "region: `aws:us-east` has no prices in the catalog; did you mean `aws:us-east-2`?"),
        (["--input-tokens", "0"], "input_tokens: is 0.0; write a number above 0"),
        (["--output-tokens", "nan"], "output_tokens: is nan; write a number above 0"),
        (["--requests-per-second", "-3"], "requests_per_second: is -3.0; write a number above 0"),
        (["--tpot-p99-ms", "inf"], "tpot_p99_ms: is inf; write a number above 0"),
        (["--rtt-ms", "-1"], "rtt_ms: is -1.0; write 0 or a number above it"),
        (["--cache-hit-ratio", "1"], "cache_hit_ratio: is 1.0; write a share of 0 or more and below 1"),
        (["--quantile", "90"], "quantile: is 90.0; write a probability between 0 and 1"),
        (["--precision", "int4"], "precision: is the text 'int4'; write one of bf16, fp8, fp4"),
        (["--routing", "random"], "routing: is the text 'random'; write one of pooled, sticky"),
        (["--sort", "price"], "sort: is `price`; write one of cost, chips"),
        (["--arrival-cv2", "0", "--input-tokens-cv2", "0"], "arrival_cv2: is 0 and so is input_tokens_cv2"),
        (["--lengths", "1000:500"], "lengths: has the part the text '1000:500'; write input:output:share"),
        (["--lengths", "1000:500:0.5"], "lengths: has shares that sum to 0.5; let the shares sum to 1"),
        (["--lengths", "10:500:1"], "input_tokens: is 1000, and the mean of lengths is 10; leave it out, or change the lengths"),
        (["--catalog", "nowhere"], "catalog: `nowhere` is not a directory; give the directory of a catalog"),
        (["--out", "answer.txt"], "--out: is answer.txt; name a file that ends in .json or .csv"),
        (["--out", str(Path(__file__) / "answer.json")], "is no directory that can be written to"),
    ],
)
def test_bad_input(more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, page, errors = said(capsys, *ONE, *more)
    assert (code, page) == (2, "") and errors.count("\n") == 1
    assert sentence in errors


def test_an_answer_that_cannot_be_written_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optimizer.report.text_files.write_text", full)
    code, page, errors = said(capsys, *ONE, "--out", "answer.json")
    assert code == 1 and "h100:" in page and "Results" not in page
    assert errors == "capacity: the answer could not be written to answer.json: [Errno 28] No space left on device\n"


def test_a_shape_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = said(capsys, "serve", "--model", "dense_70b", "--requests-per-second", "2", "--input-tokens", "10")
    assert code == 2 and "output_tokens: is missing; write the mean tokens of a request" in errors


def test_missing_fields_are_named(own_catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(own_catalog / "models.yaml", "models", "dense_70b", layers=None, kv_heads=None)
    code, _, errors = said(capsys, *ONE, "--catalog", str(own_catalog))
    assert code == 2 and f"{own_catalog}/models.yaml: models.dense_70b: lacks layers, kv_heads, which the performance model needs" in errors
    rewrite(own_catalog / "models.yaml", "models", "dense_70b", layers=80, kv_heads=8)
    rewrite(own_catalog / "chips.yaml", "chips", "h100", hbm_gb_per_s=None)
    code, _, errors = said(capsys, *ONE, "--catalog", str(own_catalog))
    assert code == 2 and "chips.h100: lacks hbm_gb_per_s, which the performance model needs" in errors
    code, page, _ = said(capsys, *ASK, "--catalog", str(own_catalog))  # beside others it is only passed over
    assert code == 0 and "h100: lacks hbm_gb_per_s" in page


def test_a_catalog_without_calibration(own_catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_catalog / "calibration" / "serving.yaml").unlink()
    code, page, errors = said(capsys, *ONE, "--catalog", str(own_catalog))
    assert (code, page) == (2, "") and "calibration/serving.yaml" in errors


def test_a_model_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Eight A100 do not hold 405 B parameters in bf16: 811 GB in 72.4 usable GB each take 12."""
    code, page, errors = said(capsys, *ASK, "--chip", "a100_80gb", "--model", "dense_405b")
    assert (code, errors) == (4, "")
    assert "a100_80gb: the weights and one sequence take 811 GB" in page and "12 such chips would hold it" in page


def test_impossible_targets(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, _ = said(capsys, *ONE, "--tpot-p99-ms", "4")
    assert code == 4 and "a TPOT p99 of 4 ms cannot be met: the least possible is" in page and "to read the weights" in page
    least = float(page.partition("the least possible is ")[2].partition(" ms")[0])
    assert said(capsys, *ONE, "--tpot-p99-ms", str(1.02 * least))[0] == 0 and said(capsys, *ONE, "--tpot-p99-ms", str(0.98 * least))[0] == 4
    code, page, _ = said(capsys, *ONE, "--ttft-p99-ms", "300", "--rtt-ms", "290")
    assert code == 4 and "a TTFT p99 of 300 ms cannot be met: the least possible is" in page and "network 290 ms" in page
    code, page, _ = said(capsys, *ONE, "--precision", "fp4")
    assert code == 4 and "h100 serves in none of fp4" in page
