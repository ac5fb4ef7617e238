"""`capacity trace`: the page, the block, and exit code 2 with one sentence for wrong input."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from optimizer import cli
from optimizer.spec.schema_workloads import Serving
from tests.unit.test_trace import HOURS, curve_arrivals, public_log


def written(path: Path, arrivals: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, first: datetime) -> Path:
    """A log in the public format."""
    stamps = (first + timedelta(seconds=float(at)) for at in arrivals)
    lines = [f"{stamp:%Y-%m-%d %H:%M:%S.%f}0,{i},{o}" for stamp, i, o in zip(stamps, inputs, outputs, strict=True)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def hour_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = public_log("code")
    assert log.first is not None
    return written(tmp_path_factory.mktemp("logs") / "code.csv", log.arrivals_s, log.input_tokens, log.output_tokens, log.first)


def test_the_block_of_a_public_log(hour_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "block.yaml"
    options = ["--out", str(out), "--workload", "code:eu", "--model", "dense_70b", "--origin", "eu", "--buckets", "6"]
    assert cli.main(["trace", str(hour_log), *options]) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.splitlines()[-1] == f"Results: {out}"
    assert said.out.startswith("code.csv: 8,819 requests in 57.3 min\n") and "peakedness" in said.out
    block = yaml.safe_load(out.read_text())
    assert set(block) == {"workloads"}
    work = block["workloads"]["code:eu"]
    log = public_log("code")
    assert set(work) == {
        "kind", "model", "input_tokens", "output_tokens", "input_tokens_cv2", "input_tokens_p99", "output_tokens_cv2", "origins",
            "requests_per_second",
        "length_buckets", "burstiness",
    }  # fmt: skip
    assert (work["kind"], work["model"], work["origins"]) == ("serving", "dense_70b", {"eu": 1})
    assert work["input_tokens"] == pytest.approx(log.input_tokens.mean(), rel=1e-11)
    assert work["requests_per_second"] == pytest.approx(8818 / log.span_s, rel=1e-5)
    buckets = work["length_buckets"]
    assert len(buckets) == 6 and math.fsum(b["share"] for b in buckets) == pytest.approx(1, abs=1e-11)
    for field in ("input_tokens", "output_tokens"):
        assert math.fsum(b["share"] * b[field] for b in buckets) == pytest.approx(work[field], rel=1e-9)
        second = math.fsum(b["share"] * b[field] ** 2 for b in buckets) * (1 + work[f"{field}_cv2"])
        assert second == pytest.approx((getattr(log, field).astype(float) ** 2).mean(), rel=1e-9)
    assert set(work["burstiness"]) == {"arrival_cv2", "service_cv2", "peakedness"}
    assert work["burstiness"]["service_cv2"] == pytest.approx(work["input_tokens_cv2"])
    assert 2 < work["burstiness"]["peakedness"] < work["burstiness"]["arrival_cv2"] < 6
    assert not list(out.parent.glob(".*"))
    Serving.model_validate(work | {"unserved_usd_per_million_output_tokens": 1.0})


def test_speeds_change_the_scale(hour_log: Path, tmp_path: Path) -> None:
    """A slot is held longer than a prefill, and this log is more bursty at longer scales."""
    found = []
    for options in ([], ["--decode-tokens-per-second", "30"], ["--decode-tokens-per-second", "30", "--service-seconds", "8"]):
        out = tmp_path / "block.yaml"
        assert cli.main(["trace", str(hour_log), "--out", str(out), *options]) == 0
        found.append(yaml.safe_load(out.read_text())["workloads"]["traced"]["burstiness"]["peakedness"])
    assert found[0] < found[1] < found[2]


def test_a_week_has_a_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2024, 5, 13, tzinfo=UTC)
    arrivals = curve_arrivals(np.random.default_rng(1), start, 7.2, HOURS / 20, 0.5, 2)
    ones = np.ones(len(arrivals), int)
    path, out = written(tmp_path / "week.csv", arrivals, 100 * ones, 10 * ones, start), tmp_path / "block.yaml"
    assert cli.main(["trace", str(path), "--out", str(out), "--origin", "no", "--utc-offset-hours", "2", "--service-seconds", "5"]) == 0
    assert "Load profile, local hours" in capsys.readouterr().out
    text = out.read_text()
    block = yaml.safe_load(text)
    profile = block["profiles"]["no"]
    assert block["workloads"]["traced"]["origins"] == {"no": 1}, "a name that YAML could read as false is quoted"
    assert len(profile["local_hours"]) == 24 and np.mean(profile["local_hours"]) == pytest.approx(1, abs=1e-5)
    assert profile["weekend_factor"] == pytest.approx(0.5, rel=0.1)
    assert np.corrcoef(profile["local_hours"], HOURS)[0, 1] > 0.97
    assert "utc_offset_hours: 2" in text and "mean over a week" in text
    assert block["workloads"]["traced"]["burstiness"]["arrival_cv2"] == pytest.approx(1, abs=0.1)
    assert block["workloads"]["traced"]["output_tokens_cv2"] == 0


def test_nothing_is_written_unasked(hour_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(hour_log.parent.iterdir())
    assert cli.main(["trace", str(hour_log)]) == 0
    assert "--out BLOCK.yaml" in capsys.readouterr().out.splitlines()[-1]
    assert sorted(hour_log.parent.iterdir()) == before


def test_a_short_log_still_has_its_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "short.csv", tmp_path / "block.yaml"
    path.write_text("arrived_at,input_length,output_length\n0,10,2\n0.1,30,4\n0.2,20,3\n")
    assert cli.main(["trace", str(path), "--out", str(out), "--service-seconds", "1"]) == 0
    assert "no burstiness: the log spans 0.2 s" in " ".join(capsys.readouterr().out.split())
    work = yaml.safe_load(out.read_text())["workloads"]["traced"]
    assert work["requests_per_second"] == pytest.approx(10) and work["input_tokens"] == 20 and "burstiness" not in work
    assert "model" not in work


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--buckets", "0"], "--buckets: is 0"),
        (["--workload", "my work"], "--workload: is `my work`, not a name"),
        (["--utc-offset-hours", "15"], "from -12 to 14"),
        (["--service-seconds", "-1"], "--service-seconds: is -1"),
        (["--prefill-tokens-per-second", "nan"], "--prefill-tokens-per-second: is nan"),
        (["--out", "/"], "--out: / is a directory"),
    ],
)
def test_wrong_options(options: list[str], said: str, hour_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", str(hour_log), *options]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and said in sentence


def test_a_wrong_log_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "log.csv", tmp_path / "block.yaml"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5,5\n2023-11-16 18:15:45,5,5\n")
    assert cli.main(["trace", str(path), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.out == ""
    for part in (str(path), "column TIMESTAMP", "line 3", "earlier than the row before", "sort the log"):
        assert part in said.err
    assert not out.exists()
