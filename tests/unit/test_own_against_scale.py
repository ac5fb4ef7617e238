"""docs/own_against_scale.md: every figure again, from closed forms, from the script, and some from new solves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.own_against_scale import QUESTIONS, REASONS, SCALE, SCALES, TABLES, flip_table, share_table
from scripts.published_unit_costs import claims_table, owned_of_rent_supply, threshold_table, unit_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_against_scale.md"
MW = 1.44 * 1.2 / 1000  # of a chip
LEVELS = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.4, 1.7, 2.0)


def table(name: str, text: str | None = None) -> list[list[str]]:
    """The rows of a table of the page, without its head."""
    text = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", text or PAGE.read_text(), re.DOTALL)[1]  # type: ignore[index]
    return cells(text)


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()[2:]]


def own_share(reason: str, chips: int) -> float:
    """By hand: what is owned over what is held, rent counted as it is used."""
    word = reason.partition(" (")[0]
    if word == "uncertain demand":  # a level is owned if it is reached with more than 0.4583: five of ten reach 1.0
        return 1 / (1 + sum(max(0.0, level - 1) for level in LEVELS) / 10)
    if word == "supply of rent":
        return owned_of_rent_supply(chips, 400_000)
    at_most = {"capital": 14e9 / 35_000, "supply of own chips": 400_000, "power of the site": 500 / MW}
    return {"nothing": 1.0, "demand that may not come": 0.0, "lead time": 0.75}.get(word, min(1.0, at_most.get(word, 0) / chips))


def flip(reason: str, field: str, chips: int | None) -> float:
    """Where the own share is 40 %."""
    word, name = reason.partition(" (")[0], field.rpartition(".")[2]
    if field == SCALE:
        return {"capital": 1e6, "supply of own chips": 1e6, "power of the site": 500 / MW / 0.4}.get(word, 400_000 * 0.78 / 0.6)
    fixed = {"price_usd_per_chip_year": 13_750.0}
    if name == "price_usd_per_chip":
        return 4 * 30_000 * (0.8 if word == "uncertain demand" else 1.0) - 4 * 5000  # 55 % of the mean is reached with 0.8
    assert chips is not None
    limits = {"max_usd": 0.4 * chips * 35_000, "available_chips_total": 0.4 * chips, "power_mw": 0.4 * chips * MW}
    return (fixed | limits | {"available_chips": chips * 0.6 / 0.78})[name]


def test_the_page_holds_what_the_formulas_give() -> None:
    for name, made in (("units", unit_table()), ("claims", claims_table()), ("thresholds", threshold_table())):
        assert table(name) == cells(made), name
    assert set(TABLES) == set(re.findall(r"<!-- table: (\w+) -->", PAGE.read_text()))


def test_every_share_of_the_page_has_its_closed_form() -> None:
    rows = table("shares")
    assert [row[0] for row in rows] == list(REASONS)
    for reason, *shares in rows:
        assert [float(share.rstrip("%")) for share in shares] == pytest.approx([100 * own_share(reason, n) for n in SCALES], abs=0.051)


def test_every_flip_of_the_page_has_its_closed_form() -> None:
    rows = table("flips")
    assert len(rows) == len(QUESTIONS)
    for question, (_, field, chips, said) in zip(QUESTIONS, rows, strict=True):
        assert field == question.field and chips == ("-" if question.scale is None else f"{question.scale:,}")
        low, high = bracket(said)
        wanted = flip(question.reason, question.field, question.scale)
        assert low * (1 - 1e-5) <= wanted <= high * (1 + 1e-5), (said, wanted)
        assert high - low <= 1e-3 * high


def bracket(said: str) -> tuple[float, float]:
    """The two values of `A (share) to B (share)`."""
    found = re.fullmatch(r"([\d,.]+) \([\d.]+%\) to ([\d,.]+) \([\d.]+%\)", said)
    assert found is not None, said
    return float(found[1].replace(",", "")), float(found[2].replace(",", ""))


def test_new_solves_give_the_page() -> None:
    reasons, scales = [list(REASONS)[i] for i in (0, 4, 6, 7)], (500_000, 2_000_000)
    of_page = {row[0]: row[1:] for row in table("shares")}
    for reason, *shares in cells(share_table(reasons, scales)):
        assert shares == [of_page[reason][SCALES.index(n)] for n in scales], reason
    position = next(i for i, q in enumerate(QUESTIONS) if q.field == "offers.rent.available_chips")
    low, high = bracket(cells(flip_table([QUESTIONS[position]], tolerance=0.02))[0][-1])
    old_low, old_high = bracket(table("flips")[position][-1])
    assert low <= old_high and old_low <= high
