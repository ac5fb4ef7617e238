"""How numbers and pages read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import optimizer
from optimizer.report import figures
from optimizer.report.page import bullets, grid, line, print_page, text_of
from optimizer.report.summary import plan_page
from optimizer.spec import load_case
from tests.unit.small_case import small_case

CASES = Path(__file__).resolve().parent.parent / "oracle" / "cases"


@pytest.fixture(scope="module")
def plan() -> optimizer.Plan:
    return optimizer.plan(small_case())


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0"), (1234567890, "$1.23 B"), (56_780_000, "$56.78 M"), (123_456_789, "$123.5 M"), (-910, "-$910.0"), (999_960, "$1.00 M"),
     (0.0776, "$0.0776"), (1e-9, "$1.0e-09"), (float("nan"), "-"), (2.5e13, "$25.00 T")],
)  # fmt: skip
def test_dollars(amount: float, text: str) -> None:
    assert figures.usd(amount) == text


def test_other_figures() -> None:
    assert figures.usd_exact(123251421.50075) == "$123,251,421.50" and figures.usd_exact(-2) == "-$2.00"
    shares = {0: "0 %", 1: "100 %", 0.553: "55 %", 0.0123: "1.2 %", 0.0007: "0.07 %", 1e-9: "~0 %", -0.5: "-50 %"}
    assert {share: figures.percent(share) for share in shares} == shares
    assert [figures.chips(c) for c in (0, 1e-9, 0.839, 67.44, 12345.6)] == ["0", "0", "0.839", "67.4", "12,346"]
    assert figures.amount(3.2, "MW") == "3.2 MW" and figures.amount(4e6, "USD") == "$4.00 M"
    assert figures.amount(1500, "chips") == "1,500 chips"
    assert figures.per_unit(1.2e6, "MW") == "$1.20 M per MW" and figures.per_unit(0.31, "USD") == "$0.31 per $"
    assert figures.per_unit(916.6, "chips") == "$916.6 per chip"
    assert figures.counted(1, "row") == "1 row" and figures.counted(2000, "row") == "2,000 rows"


@pytest.mark.parametrize("width", [80, 100, 60])
def test_the_page_fits(plan: optimizer.Plan, width: int) -> None:
    text = plan.summary(width)
    assert max(len(written) for written in text.splitlines()) <= width
    assert "\x1b" not in text
    assert "2026Q4" in text and figures.usd_exact(plan.objective_usd) in text


def test_the_page_says_what_a_planner_asks(plan: optimizer.Plan) -> None:
    text = plan.summary(100)
    first = text.splitlines()[0]
    assert first == "small: CERTIFIED"
    asked = "lower bound|gap|no plan can cost less|Own or rent|Cost by category|Orders|Limits that bind|per MW|Unserved work|Penalties"
    more = "assumed numbers|past the horizon|remaining straight-line|1 warning|--out DIR"
    for words in f"{asked}|{more}".split("|"):
        assert words in text, words
    assert text.splitlines()[-1].startswith("Results were not written")


def test_a_plan_on_disk_says_where(plan: optimizer.Plan) -> None:
    assert text_of(plan_page(plan, "plans/small"), 80).splitlines()[-1] == "Results: plans/small"


def test_an_infeasible_case_names_its_limits_and_amounts() -> None:
    text = optimizer.plan(load_case(CASES / "40_infeasible_constant.yaml")).summary(200)
    assert "power at site old is short by 0.000104 MW in 2027Q1 because the existing fleet kept takes 0.011 MW" in text
    assert "sites.old.power_mw.by_date.1.value" in text and "Own or rent" not in text
    text = optimizer.plan(load_case(CASES / "41_infeasible_share.yaml")).summary(200)
    assert "share owned misses its minimum by 4.07 chips in 2027Q2 because power at site texas leaves 0.083 MW in 2027Q3" in text


def test_frames_are_drawn_in_what_the_stream_can_write() -> None:
    page = [grid(["name", "count"], [["a", "1"]])]
    assert text_of(page, 40, "ascii").isascii()
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_page(page, out)
    out.seek(0)
    assert "name" in out.read()


def test_names_of_the_case_are_no_markup() -> None:
    assert text_of([line("[bold]x[/bold] :smile:"), bullets(["[red]y"])], 40) == "[bold]x[/bold] :smile:\n  - [red]y\n"
