"""The fit, its file, its tables: recovered parameters, refused rows, and the errors that are promised."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from optimizer.performance import serving_errors
from optimizer.performance.batch import operate
from optimizer.performance.calibration import fit, leave_out_weights, log_rate, parameters_of
from optimizer.performance.efficiency_parameters import OLDER_SOFTWARE, Normal, prior
from optimizer.performance.measured_points import MeasuredPoints, read_points
from optimizer.performance.own_points import known_stacks, rate_ceiling
from optimizer.performance.serving import Layout, Work
from optimizer.performance.serving_calibration import (
    calibrate,
    point_sigma,
    read_serving_calibration,
    write_serving_calibration,
)
from optimizer.spec.case_error import CaseError
from optimizer.spec.catalog import Catalog, shipped_catalog

CATALOG = Catalog(shipped_catalog())
POINTS = shipped_catalog() / "measurements" / serving_errors.POINTS
SHIPPED = shipped_catalog() / "calibration" / "serving.yaml"


@pytest.fixture(scope="module")
def points() -> MeasuredPoints:
    return read_points(POINTS, CATALOG)


def test_the_errors_of_points_chips_and_models_left_out(points: MeasuredPoints) -> None:
    """The promise: leave-one-out 12 %, leave-one-chip-out 13 %, leave-one-model-out 15.5 % mean absolute error on exactly 51 rows."""
    assert len(points) == 51 and len(set(points.name)) == 51
    weights, at = [np.ones((1, 51))], []
    for by in (None, points.chip_name, points.model_name):
        more, where = leave_out_weights(points, by)
        at.append(where + sum(map(len, weights)))
        weights.append(more)
    fits = fit(points, np.concatenate(weights), point_sigma(points))
    every = np.arange(51)
    rows = [serving_errors.error_row("", np.exp(fits.log_rate[where, every] - np.log(points.rate)) - 1.0) for where in at]
    assert [row.mean_absolute < bar for row, bar in zip(rows, (0.12, 0.13, 0.155), strict=True)] == [True] * 3
    assert all(abs(row.bias) < 0.03 for row in rows)
    slo = serving_errors.error_row("", serving_errors.slo_only_errors(points, fits, at[0]))
    assert slo.points == 33 and slo.mean_absolute < 0.205
    # what is not fitted must not be known: with every point of an architecture left out its efficiency is the prior
    chips = [chip for chip in dict.fromkeys(points.chip_name)]
    without = fits.log_value[1 + 51 + chips.index("trainium2")]
    assert np.exp(without[fits.names.index("memory.trainium2")]) == pytest.approx(prior("memory.trainium2").value, rel=1e-6)


def test_a_point_weighs_nothing_where_it_is_left_out(points: MeasuredPoints) -> None:
    wrong = dataclasses.replace(points, rate=np.where(np.arange(51) == 7, 50.0 * points.rate, points.rate))
    weights = (np.arange(51) != 7).astype(float)
    right, changed = fit(points, weights, point_sigma(points)), fit(wrong, weights, point_sigma(points))
    assert np.array_equal(right.log_value, changed.log_value)


def test_parameters_come_back_from_rates_that_they_made(points: MeasuredPoints) -> None:
    """Rates computed from known parameters and a small sigma: what the points determine is recovered within its standard deviation."""
    names, index = parameters_of(points)
    rng = np.random.default_rng(3)
    beliefs = [prior(name) for name in names]
    truth = np.log([one.value for one in beliefs]) + 0.5 * np.array([one.log_std for one in beliefs]) * rng.standard_normal(len(names))
    made = np.exp(log_rate(truth, points, index, names.index(OLDER_SOFTWARE), xp=np))
    found = fit(dataclasses.replace(points, rate=made), np.ones((1, 51)), 0.005)
    miss = (found.log_value[0] - truth) / found.log_std[0]
    assert np.all(np.abs(miss) < 4.0)
    assert np.max(np.abs(np.exp(found.log_rate[0]) / made - 1.0)) < 0.01
    at = names.index("compute.hopper_fp8")
    assert found.log_std[0, at] < 0.2 * found.prior_log_std[at] and abs(found.log_value[0, at] - truth[at]) < 0.05


def test_the_standard_deviations_are_those_of_a_linear_fit(points: MeasuredPoints) -> None:
    """Where one parameter has a tight prior and one point, the posterior is the product of two normals."""
    one = points.select(np.array([name.startswith("MLPerf-v4.1-NVIDIA-B200") for name in points.name]))
    names, _ = parameters_of(one)
    tight = {name: Normal(prior(name).value, 1e-6) for name in names if name != OLDER_SOFTWARE}
    found = fit(one, np.ones((1, 1)), 0.12, tight)
    at = names.index(OLDER_SOFTWARE)
    expected = (0.12**-2 + 0.15**-2) ** -0.5
    assert found.log_std[0, at] == pytest.approx(expected, rel=1e-5)  # log rate falls one to one with the factor


def test_the_shipped_file_is_the_fit_and_survives_a_round_trip(tmp_path: Path) -> None:
    shipped = read_serving_calibration(SHIPPED)
    write_serving_calibration(shipped, tmp_path / "again.yaml")
    again = read_serving_calibration(tmp_path / "again.yaml")
    assert again.values.keys() == shipped.values.keys() and again.date == shipped.date
    assert all(again.values[name].value == pytest.approx(shipped.values[name].value, rel=1e-5) for name in shipped.values)
    assert list(tmp_path.iterdir()) == [tmp_path / "again.yaml"]
    sources = [read_points(shipped_catalog() / "measurements" / name, CATALOG) for name in (serving_errors.POINTS, serving_errors.MIXTURES)]
    known = shipped.residual_log_std, shipped.tpot_mean_over_p99
    fitted = calibrate(serving_errors.joined(*sources), shipped.fitted_from, shipped.date, None, *known)
    assert all(fitted.values[name].value == pytest.approx(shipped.values[name].value, rel=1e-3) for name in shipped.values)


def test_own_measurements_move_what_they_measure(points: MeasuredPoints, tmp_path: Path) -> None:
    """Points of one chip, half again as fast as the shipped calibration says: that chip gets faster, the others stay."""
    shipped = read_serving_calibration(SHIPPED)
    own = points.select(np.array([chip == "mi300x" for chip in points.chip_name]))
    names, index = parameters_of(own)
    value = np.log([shipped.values[name].value for name in names])
    rate = 1.5 * np.exp(log_rate(value, own, index, names.index(OLDER_SOFTWARE), xp=np))
    new = calibrate(dataclasses.replace(own, rate=rate), "own.csv", date(2026, 11, 21), shipped)
    assert new.values["compute.cdna3_fp8"].value > 1.1 * shipped.values["compute.cdna3_fp8"].value
    assert new.values["compute.cdna3_fp8"].log_std < shipped.values["compute.cdna3_fp8"].log_std
    assert new.values["compute.tpu_v6e_bf16"] == shipped.values["compute.tpu_v6e_bf16"]
    assert new.priors["compute.cdna3_fp8"] == shipped.values["compute.cdna3_fp8"]
    write_serving_calibration(new, tmp_path / "serving.yaml")
    assert read_serving_calibration(tmp_path / "serving.yaml").fitted_from == "own.csv"
    with pytest.raises(ValueError, match="needs its residuals"):
        calibrate(own, "own.csv", date(2026, 11, 21))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("chip", "h1000", "did you mean `h100`"),
        ("model", "dense_71b", "did you mean `dense_70b`"),
        ("compute_type", "fp6", "bf16, fp8, fp4"),
        ("batch", "", "basis served"),
        ("output_tokens", "", "is blank"),
        ("output_tokens_per_s_per_chip", "-3", "greater than 0"),
        ("pipeline_stages", "3", "does not divide"),
        ("attention", "both", "tensor, data"),
    ],
)
def test_a_wrong_row_is_one_sentence_with_its_place(tmp_path: Path, column: str, value: str, words: str) -> None:
    lines = POINTS.read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",")
    first = lines[1].replace('"mean of the data set, ', '"mean of the data set ').split(",")
    cells = dict(zip(header, first, strict=True)) | {column: value}
    path = tmp_path / "points.csv"
    path.write_text("\n".join([lines[0], ",".join(cells[name] for name in header)]) + "\n", encoding="utf-8")
    with pytest.raises(CaseError) as wrong:
        read_points(path, CATALOG)
    assert "points.csv: row 2." in str(wrong.value) and words in str(wrong.value) and "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("date: 2026-11-21", "date: soon", "not a date"),
        ("  slo_only:", "  slo:", "has no `slo_only`"),
        ("  attention: {value: ", "  attention: {value: -", "greater than 0"),
        ("  attention: {", "  attraction: {", "not a parameter"),
    ],
)
def test_a_wrong_calibration_file_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "serving.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CaseError, match=r"serving\.yaml") as wrong:
        read_serving_calibration(path)
    assert words in str(wrong.value)


PUBLISHED_RATES = {
    # chip, model, weights, chips, input, output: output tokens/s per chip at saturation, TensorRT-LLM perf-overview
    ("h100", "fp8", 2, 1000, 1000): 1e6 / 453,
    ("h200", "fp8", 2, 1000, 1000): 1e6 / 387,
    ("b200", "fp4", 1, 1000, 1000): 1e6 / 145,
    ("h100", "fp8", 2, 8192, 1024): 1e6 / 2513,
    ("h200", "fp8", 2, 8192, 1024): 1e6 / 1862,
    ("b200", "fp4", 1, 8192, 1024): 1e6 / 734,
}


def test_chips_for_a_million_tokens_per_second_of_a_70b_model(points: MeasuredPoints) -> None:
    """Published chips for 1 M output tokens/s, saturated, within twice the stated residual."""
    shipped = read_serving_calibration(SHIPPED)
    for (chip, weights, chips, tokens_in, tokens_out), expected in PUBLISHED_RATES.items():
        at = next(i for i, name in enumerate(points.chip_name) if name == chip and points.model_name[i] == "dense_70b")
        one = points.select(np.arange(51) == at)
        assert one.group[0][1] == weights
        efficiency, _ = shipped.efficiency(one.group[0][0], weights, "trtllm_pytorch")
        done = operate(one.chip, one.model, one.precision, efficiency, Layout(float(chips)), Work(tokens_in, tokens_out), np.inf)
        miss = np.log(done.output_tokens_per_s_per_chip[0] / expected)
        assert abs(miss) < 2 * shipped.residual_log_std["given_batch"], (chip, tokens_in, miss)


def test_no_published_rate_exceeds_the_ceiling(points: MeasuredPoints) -> None:
    """Nor does the model itself; a dense model on one chip has a closed form."""
    for name in (serving_errors.POINTS, serving_errors.MIXTURES, serving_errors.HELD_OUT):
        table = read_points(shipped_catalog() / "measurements" / name, CATALOG)
        assert np.all(table.rate < 0.8 * rate_ceiling(table))
    i = int(np.flatnonzero((np.array(points.model_name) == "llama2_70b") & (points.layout.chips == 1.0))[0])
    one, ceiling = points.select(np.arange(51) == i), rate_ceiling(points)[i]
    batch, tokens_in, tokens_out = one.batch[0], one.work.input_tokens[0], one.work.output_tokens[0]
    context = tokens_in + 0.5 * tokens_out * (1.0 + one.work.output_tokens_cv2[0])
    kv = one.model.kv_elements_per_token[0] * one.precision.kv_bytes[0] * context
    memory = (one.precision.weight_bytes[0] * one.model.parameters[0] + batch * kv) / one.chip.hbm_bytes_per_s[0]
    pairs = context + 0.5 * tokens_in * tokens_in / tokens_out  # decode, and the prompt against itself
    flops = 2.0 * one.model.active_parameters[0] * (1.0 + tokens_in / tokens_out) + one.model.attention_flops_per_token_pair[0] * pairs
    assert ceiling == pytest.approx(batch / (memory + batch * flops / one.chip.flops_per_s[0]), rel=1e-9)


def test_known_stacks_are_those_of_chips_and_of_the_calibration() -> None:
    known = known_stacks(CATALOG, read_serving_calibration(SHIPPED))
    assert known == ("neuron", "trtllm", "trtllm_pytorch", "vllm_cuda", "vllm_rocm", "vllm_tpu")
