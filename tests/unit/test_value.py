"""What an offer is worth: the newsvendor's closed forms, brute force, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import optimizer
from optimizer.analysis.what_if import WhatIf
from optimizer.cli import main
from optimizer.spec import CaseError

CASES = Path(__file__).resolve().parents[2] / "configs" / "cases"
OWN_OR_RENT, TWO_CLOUDS = CASES / "own_or_rent.yaml", CASES / "two_clouds.yaml"
LEVELS = (100e3, 150e3, 200e3, 250e3, 300e3, 400e3, 500e3, 700e3, 900e3, 1200e3)
OWN, RENT = 20_000.0, 120_000.0  # of a chip for four years, beside its price; rented


def least(price: float, rent: float = RENT) -> tuple[float, float]:
    """(cost, chips owned)."""
    return min((n * (price + OWN) + rent * sum(max(x - n, 0) for x in LEVELS) / 10, n) for n in (0.0, *LEVELS))


def test_buying_is_worth_what_the_newsvendor_says() -> None:
    found = optimizer.value(OWN_OR_RENT, "buy", factors=(0.5, 1.5, 2.5), lot_chips=300_000)
    worth = least(1e9)[0] - least(35_000)[0]
    assert found.worth_usd[0] <= worth <= found.worth_usd[1] and found.worth_usd[1] - found.worth_usd[0] < 2e-6 * worth * 5
    # the first chip is busy with certainty: worth its rent less its operations, 100,000 $
    low, high = found.highest_factor
    assert low <= 100 / 35 <= high * (1 + 1e-6) and high / low < 1.02
    for point in found.curve:
        if point.factor in (0.5, 1.0, 1.5, 2.5):
            assert point.use.signed_chips == pytest.approx(least(35_000 * point.factor)[1], rel=1e-4)
            assert point.use.chip_years == pytest.approx(4 * point.use.signed_chips, rel=1e-6)
            assert point.use.paid_usd == pytest.approx(35_000 * point.use.signed_chips, rel=1e-6)
    assert found.lot is not None
    short = sum(max(x - 300e3, 0) for x in LEVELS) / 10
    assert sum(found.lot.worth_usd) / 2 == pytest.approx(least(1e9)[0] - 300e3 * OWN - RENT * short, rel=1e-5)
    assert sum(found.lot.gain_usd) / 2 == pytest.approx(sum(found.lot.worth_usd) / 2 - 300e3 * 35_000, rel=1e-5)
    assert found.lot.price_usd == pytest.approx(300e3 * 35_000, rel=1e-6) and found.lot.best_fraction == pytest.approx(1.0, rel=1e-4)
    row = next(row for row in found.displaced if row["mode"] == "on_demand")
    assert row["change_chip_years"] == pytest.approx(-4 * (470_000 - 170_000), rel=1e-4)


def test_a_lot_that_is_too_large_loses_money_and_says_which_part_is_best() -> None:
    found = optimizer.value(OWN_OR_RENT, "buy", factors=(), lot_chips=1_200_000, refined=0)
    assert found.lot is not None
    # of a chip beyond the 400,000 that is busy with probability q: bought at once where it earns its operations, else in the last quarter
    beyond = ((100e3, 0.4), (200e3, 0.3), (200e3, 0.2), (300e3, 0.1))
    lost = sum(n * (35_000 + min(years * (5_000 - 30_000 * q) for years in (4.0, 0.25))) for n, q in beyond)
    assert sum(found.lot.gain_usd) / 2 == pytest.approx(14.0e9 - lost, rel=1e-3) and found.lot.gain_usd[1] < 0
    assert found.lot.best_fraction == pytest.approx(400 / 1200, rel=1e-4)


def test_the_curve_falls_and_its_slope_is_what_is_paid() -> None:
    """The optimal cost is concave in the price, and lies between the tangents of its points."""
    found = optimizer.value(TWO_CLOUDS, "reserve_gpu", factors=(0.6, 0.9, 1.2), refined=0)
    for a, b in zip(found.curve, found.curve[1:], strict=False):
        room = 1e-5 * a.answer.cost_usd
        assert b.use.paid_usd <= a.use.paid_usd * (1 + 1e-6) + 1e3
        step = b.factor - a.factor
        assert b.use.paid_usd * step - room <= b.answer.cost_usd - a.answer.cost_usd <= a.use.paid_usd * step + room
    assert sum(found.worth_usd) / 2 >= 0
    # the offer of one place is worth no more than that of both
    one = optimizer.value(TWO_CLOUDS, "reserve_gpu/h100/aws:eu-north-1", factors=(), refined=0)
    assert one.worth_usd[0] <= found.worth_usd[1]


def test_a_lot_of_the_case_is_the_lot_and_tranches_count_from_their_own_dates(tmp_path: Path) -> None:
    """Half of 200,000 chips at once and half two years later: three years each on average of the four, and paid when they come."""
    case = tmp_path / "lot.yaml"
    case.write_text(
        f"extends: {OWN_OR_RENT}\noffers: {{buy: {{lot_chips: 200000, window: {{from: 2026-10-01, until: 2026-10-01}}, "
        "deliveries: [{months: 0, share: 0.5}, {months: 24, share: 0.5}], life_months: 24}}\n"
    )
    found = optimizer.value(case, "buy", factors=(), refined=0)
    assert found.lot is not None and found.lot.count_chips == 200_000
    assert found.with_offer.use.signed_chips == pytest.approx(found.lot.best_fraction * 200_000, rel=1e-6)
    assert found.with_offer.use.chip_years == pytest.approx(2.0 * found.with_offer.use.signed_chips, rel=2e-3)
    row = next(row for row in found.displaced if row["mode"] == "own")
    assert row["chip_years_with"] == pytest.approx(found.with_offer.use.chip_years, rel=1e-6)


def test_without_it_means_the_case_without_it() -> None:
    """Against the case file with the offer taken out."""
    found = optimizer.value(TWO_CLOUDS, "reserve_tpu", factors=(), refined=0)
    other = WhatIf(TWO_CLOUDS).at(more={"offers": {"reserve_tpu": None}})
    assert found.without.lower_bound_usd <= other.cost_usd and other.lower_bound_usd <= found.without.cost_usd


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--offer", "reserv_tpu"], "`reserv_tpu` is no offer of the case; the nearest are reserve_tpu"),
        (["--offer", "rent_gpu", "--lot", "10"], "`rent_gpu` is never signed"),
        (["--offer", "buy", "--lot", "-1"], "--lot: is -1; give a number of chips above zero"),
        (["--offer", "buy", "--factors", "1,two"], "give numbers with commas between them"),
        (["--offer", "buy", "--factors", "nan"], "give a factor on the price between 0 and 1e6"),
        (["--offer", "buy", "--refine", "-2"], "give how many bisections to make"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["value", str(TWO_CLOUDS), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_offer_that_never_comes_is_refused(tmp_path: Path) -> None:
    case = tmp_path / "late.yaml"
    case.write_text(f"extends: {TWO_CLOUDS}\noffers: {{buy: {{window: {{from: 2028-06-01}}}}}}\n")
    with pytest.raises(CaseError, match="can never be signed or rented"):
        optimizer.value(case, "buy")


def test_the_command_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "worth"
    assert main(["value", str(OWN_OR_RENT), "--offer", "buy", "--factors", "1.5", "--refine", "0", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "own_or_rent: buy is worth $14" in page and f"Results: {out}" in page
    document = json.loads((out / "value.json").read_text())
    assert document["worth_usd"]["least"] <= 14.0e9 <= document["worth_usd"]["most"]
    assert document["with_offer"]["status"] == document["without_offer"]["status"] == "CERTIFIED"
    rows = list(csv.DictReader((out / "value_curve.csv").open()))
    assert [float(row["price_factor"]) for row in rows][-2:] == [1.0, 1.5]
    assert (out / "value.svg").read_text().startswith("<svg")
