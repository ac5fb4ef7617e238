"""The fit of training utilisation: recovers what made the points, errors as documented, file read back, wrong files refused."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize

from optimizer.performance import training_calibration as calibration
from optimizer.performance.training_calibration import TrainingFit, calibrate_training
from optimizer.performance.training_parameters import calibration_of, calibration_text, error_table, load_training_calibration
from optimizer.performance.training_points import TrainingPoint, read_training_points
from optimizer.spec import CaseError

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "configs" / "catalog"
POINTS = CATALOG / "measurements" / "training.csv"


@pytest.fixture(scope="module")
def fit() -> TrainingFit:
    return calibrate_training(read_training_points(POINTS))


def test_every_published_row_is_here() -> None:
    with POINTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    chips = yaml.safe_load((CATALOG / "chips.yaml").read_text())["chips"]
    models = yaml.safe_load((CATALOG / "models.yaml").read_text())["models"]
    assert len(rows) == 54 and [row["public_model"] for row in rows if row["fitted"] == "no"] == ["GPT3-175B"]
    for row in rows:
        chip = chips[row["chip"]]
        assert row["architecture"] == chip["architecture"] and float(row["scale_up_chips"]) == chip["scale_up_chips"], row
        assert float(row["peak_tflops"]) == chip[f"{row['precision']}_dense_tflops"], row
        assert row["model"] in {"", *models} and row["source"] and date.fromisoformat(row["date"]) <= date(2026, 12, 31), row
        if row["model"]:
            active = models[row["model"]]["active_parameters_billion"]
            assert float(row["active_parameters_billion"]) == pytest.approx(active, rel=0.01), row
        assert row["confidence"] in ("high", "medium") and row["attention_count"] in ("causal", "full", "windowed"), row
        assert row["fitted"] == "yes" or row["note"], row


def test_rates_are_tokens_times_flops() -> None:
    """tokens/s x (6 P + 6 L d s) of the catalog's shapes, P without the input embedding: the catalog rounds P, which
    leaves 3.5 %; rows counted in full have been brought down."""
    models = yaml.safe_load((CATALOG / "models.yaml").read_text())["models"]
    compared = 0
    with POINTS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] not in models or row["attention_count"] == "windowed" or "kv_latent_size" in models[row["model"]]:
                continue
            shape = models[row["model"]]
            weights = shape["active_parameters_billion"] * 1e9 - shape["vocabulary_size"] * shape["hidden_size"]
            if "attention_window_tokens" in shape:
                continue  # a count inside the windows and one of the whole context are both in use
            attention = shape["layers"] * shape["attention_heads"] * shape["head_size"] * float(row["sequence_tokens"])
            expected = float(row["tokens_per_second_per_chip"]) * 6 * (weights + attention) / 1e12
            assert float(row["training_tflops_per_chip"]) == pytest.approx(expected, rel=0.035), row
            if row["attention_count"] == "full":
                assert float(row["published_tflops_per_chip"]) / float(row["training_tflops_per_chip"]) > 1.03, row
            compared += 1
    assert compared >= 34


def made_points(seed: int, noise: float) -> tuple[list[TrainingPoint], dict[str, float]]:
    """Points of a known law, on chips inside and across their domain."""
    truth = {"base": 0.5, "tenfold": 1.1, "inside": 0.006, "across": 0.06}
    rng = np.random.default_rng(seed)
    points = []
    for architecture in ("a", "b", "c"):
        factor = math.exp(rng.normal(0, 0.1))
        for _ in range(60):
            size, chips, domain = math.exp(rng.uniform(1, 6)), 2.0 ** rng.integers(0, 14), 64.0
            mfu = truth["base"] * factor * truth["tenfold"] ** math.log10(size / 30)
            mfu *= min(chips / domain, 1) ** -truth["inside"] * max(chips / domain, 1) ** -truth["across"]
            mfu *= math.exp(rng.normal(0, noise))
            points.append(
                TrainingPoint(
                    f"chip_{architecture}",
                    f"model_{rng.integers(12)}",
                    False,
                    size,
                    architecture,
                    domain,
                    "bf16",
                    1000.0,
                    chips,
                    1000 * mfu,
                    True,
                    "made",
                    "2026-01-01",
                )
            )
    return points, truth


def test_a_known_law_is_recovered() -> None:
    points, truth = made_points(5, 0.05)
    found = calibrate_training(points)
    assert found.parameters["gamma_across.dense"].value == pytest.approx(truth["across"], abs=0.006)
    assert found.parameters["tenfold.dense"].value == pytest.approx(truth["tenfold"], rel=0.02)
    errors = {(row.test, row.kind): row for row in found.errors}
    assert errors["leave one point out", "dense"].mean_absolute == pytest.approx(0.05 * math.sqrt(2 / math.pi), rel=0.15)
    assert found.residual_log_std["dense"] == pytest.approx(0.05, rel=0.15)
    assert errors["in sample", "mixture"].points == 0
    # the standard deviations are honest: the truth lies within three of them
    across = found.parameters["gamma_across.dense"]
    assert abs(math.log(across.value / truth["across"])) < 3 * across.log_std


def test_the_mode_is_the_best_of_the_posterior() -> None:
    """Against a general minimiser of the same negative log posterior."""
    points = [p for p in read_training_points(POINTS) if p.fitted]
    columns = calibration._Columns.of(points)
    prior, spread = columns.priors()
    mode, covariance = calibration._mode(points, columns)
    design, measured = columns.design(points), np.log([p.mfu for p in points])
    sigma = np.array([calibration.RESIDUAL[p.kind] for p in points])

    def negative(theta: np.ndarray) -> float:
        rest = (
            measured - design[:, : columns.linear] @ theta[: columns.linear] - design[:, columns.linear :] @ np.exp(theta[columns.linear :])
        )
        return float(0.5 * np.sum((rest / sigma) ** 2) + 0.5 * np.sum(((theta - prior) / spread) ** 2))

    best = minimize(negative, prior, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000})
    assert negative(mode) <= best.fun + 1e-9
    assert np.all(np.linalg.eigvalsh(covariance) > 0)


def test_errors_are_the_documented_ones(fit: TrainingFit) -> None:
    """The table of docs/performance_model/training.md is this fit's, digit by digit."""
    columns, rows = error_table(fit.errors)
    text = (ROOT / "docs" / "performance_model" / "training.md").read_text()
    for row in rows:
        assert f"| {' | '.join(row)} |" in text, row
    assert len(columns) == len(rows[0]) and len(rows) == 12
    errors = {(row.test, row.kind): row for row in fit.errors}
    assert errors["leave one point out", "dense"].mean_absolute < 0.10
    for kind in ("all", "dense", "mixture"):
        assert errors["in sample", kind].log_rms < errors["leave one point out", kind].log_rms
    assert errors["leave one point out", "all"].points == len(fit.points) == 53 and len(fit.not_fitted) == 1


def test_a_left_out_point_does_not_see_itself(fit: TrainingFit) -> None:
    points = list(read_training_points(POINTS))
    i = next(i for i, p in enumerate(points) if (p.chip, p.model) == ("trainium1", "Llama3-70B"))
    changed = [replace(p, tflops_per_chip=p.tflops_per_chip * 2) if j == i else p for j, p in enumerate(points)]
    at = [p.chip for p in fit.points].index("trainium1")
    again = calibrate_training(changed)
    assert again.left_out_tflops[at] == pytest.approx(fit.left_out_tflops[at], rel=1e-9)
    assert again.predicted_tflops[at] > 1.2 * fit.predicted_tflops[at]


def test_the_catalog_holds_this_fit(fit: TrainingFit) -> None:
    held = load_training_calibration(CATALOG / "calibration" / "training.yaml")
    assert calibration_text(held) == calibration_text(calibration_of(fit, held.fitted_from, held.date))
    assert (CATALOG / held.fitted_from).samefile(POINTS)


def test_a_run_that_was_not_fitted() -> None:
    """Llama 3 405B in bf16 on H100: 43 % on 8,192 chips and 41 % on 16,384, by its paper; no bf16 dense point of Hopper is fitted."""
    held = load_training_calibration(CATALOG / "calibration" / "training.yaml")
    for chips, mfu in ((8192, 0.43), (16384, 0.41)):
        rate = held.rate("hopper", "bf16", False, 405, 8, 989, chips)
        assert abs(math.log(rate.tflops_per_chip / (989 * mfu))) < rate.log_std < 0.4
        assert rate.tflops_per_chip == pytest.approx(989 * mfu, rel=0.15)
    assert (
        held.rate("unheard_of", "bf16", False, 405, 8, 989, 8192).log_std > held.rate("tpu_v6e", "bf16", False, 405, 256, 918, 256).log_std
    )
    with pytest.raises(ValueError, match="fp4 has no fitted utilisation"):
        held.rate("hopper", "fp4", False, 405, 8, 989, 8192)
    with pytest.raises(ValueError, match="active_parameters_billion is 0"):
        held.scaling("hopper", "bf16", False, 0, 8)


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("chip,", "chap,", "chip", "not a column"),
        (",bf16,", ",bf15,", "precision", "bf16, fp8"),
        (",dense,8.03,", ",dense,-8.03,", "active_parameters_billion", "greater than 0"),
        (",1933,yes,", ",nan,yes,", "training_tflops_per_chip", "greater than 0"),
        (",1933,yes,", ",9000,yes,", "training_tflops_per_chip", "above the dense fp8 peak"),
        (",1933,yes,", ",1933,perhaps,", "fitted", "yes, no"),
    ],
)
def test_wrong_points(tmp_path: Path, old: str, new: str, key: str, says: str) -> None:
    file = tmp_path / "points.csv"
    file.write_text(POINTS.read_text().replace(old, new))
    with pytest.raises(CaseError, match=re.escape(says)) as caught:
        read_training_points(file)
    assert caught.value.key_path == key and "\n" not in str(caught.value)


def test_no_points(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="cannot be read"):
        read_training_points(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text(POINTS.read_text().splitlines()[0] + "\n")
    with pytest.raises(CaseError, match="has no rows"):
        read_training_points(tmp_path / "empty.csv")
    with pytest.raises(ValueError, match="at least 3"):
        calibrate_training([replace(p, fitted=False) for p in read_training_points(POINTS)])


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("residual_log_std:", "residual:", "residual_log_std"),
        ("gamma_inside: {value: 0", "gamma_inside: {value: -0", "parameters.gamma_inside.value"),
        ("gamma_inside: {value: 0", "gamma_inside: {value: 3", "parameters.gamma_inside"),
        ("gamma_inside:", "gamma_within:", "parameters.gamma_inside"),
        ("gamma_inside: {value:", "gamma_inside: {values:", "parameters.gamma_inside"),
        ("date: 2026", "date: year 2026", "date"),
    ],
)
def test_wrong_calibration_files(tmp_path: Path, old: str, new: str, key: str) -> None:
    file = tmp_path / "training.yaml"
    file.write_text((CATALOG / "calibration" / "training.yaml").read_text().replace(old, new, 1))
    with pytest.raises(CaseError) as caught:
        load_training_calibration(file)
    assert caught.value.key_path == key and "\n" not in str(caught.value)
