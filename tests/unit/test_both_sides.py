"""Both sides of a price: vertices whose two prices are known, random programs against the oracle's re-solves, and what a page says."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

import optimizer
from optimizer.both_sides import Asked, both_sides, most_asked
from optimizer.plan import build, solved
from optimizer.program.layout import limit_operator
from optimizer.program.program import Program, Sparse
from optimizer.program.right_side import HELD, LIMIT, ORDER, RENT, SIDE, RightSide, Slope, TwoPrices, moved
from optimizer.report.limit_prices import priced_rows, prices_table
from optimizer.report.page import text_of
from optimizer.report.summary import plan_page
from optimizer.report.tables import tables_of
from optimizer.settings import Settings
from optimizer.solve import Solution, solve
from tests.oracle.extensive import extensive_form, solve_extensive
from tests.oracle.random_programs import FAMILIES, random_program
from tests.oracle.test_published import stated

CLOUDS = "configs/cases/two_clouds.yaml"
SIMPLEX = Settings(engine="simplex", gap_relative=1e-9)
THE_LIMIT = RightSide(LIMIT, (0,))


def vertex(limit: float = 6.0, weight: float = 1.0, usd: float = 1.0, **given: object) -> Program:
    """Ten requests. A chip that is bought costs 2 and at most six are, four may be rented beside them for 3, others elsewhere for 5:
    nothing is left over and nothing is missing, so that one more chip saves 3 - 2 and one less costs 5 - 2. The limit reads
    weight * z <= limit."""
    parts: dict = dict(
        parent=np.array([-1]), decision_of_state=np.array([0]), state_of_node=np.array([0]), signed_at=np.array([0]), pools=2,
        pair_stream=np.array([0, 0]), pair_pool=np.array([0, 1]), acquisition_cost=np.array([2.0]) * usd, acquisition_lower=np.array([0.0]),
        acquisition_upper=np.array([100.0]), upper_is_derived=np.array([False]),
        held_matrix=Sparse((np.array([0]), np.array([0]), np.array([0])), np.array([1.0])), held_base=np.zeros((1, 2)),
        limit_matrix=Sparse((np.array([0]), np.array([0])), np.array([weight])), limit_lower=np.array([-np.inf]),
        limit_upper=np.array([limit]), node_weight=np.array([1.0]), placement_cost=np.zeros((1, 1, 2)),
        unserved_cost=np.full((1, 1, 1), 50.0) * usd, demand=np.full((1, 1, 1), 10.0), rent_cost=np.array([[[3.0, 5.0]]]) * usd,
        rent_upper=np.array([[[4.0, 100.0]]]), constant=0.0,
    )  # fmt: skip
    return stated(**{**parts, **given}).check()


def price_of(program: Program, solution: Solution, side: RightSide) -> float:
    """The multipliers' own, with the sign of what one more saves."""
    m = solution.certificate.multipliers
    assert m is not None
    if side.what == LIMIT:
        both = math.isfinite(program.limit_upper[side.at]) and program.limit_lower[side.at] < program.limit_upper[side.at]
        return max(0.0, -float(m.limit[side.at])) if both else -float(m.limit[side.at])  # where there are two sides the upper one moves
    if side.what == SIDE:
        return -float(m.side[side.at])
    if side.what == HELD:
        state, output = side.at
        per_node = program.availability[:, output] * m.capacity[:, :, output].sum(axis=1)
        return -float(per_node[program.state_of_node == state].sum())
    return math.nan  # of a column: what the rows make of it, which the report adds up


def asked(program: Program, side: RightSide, solution: Solution) -> Asked:
    price = price_of(program, solution, side)
    if side.what == LIMIT:
        z = solution.certificate.plan.z  # type: ignore[union-attr]
        upper, lower = program.limit_upper[side.at], program.limit_lower[side.at]
        used = float((abs(limit_operator(program)) @ abs(z))[side.at])
        return Asked(side, price, max(used, abs(upper) if np.isfinite(upper) else abs(lower)))
    sizes = {ORDER: lambda: program.acquisition_upper[side.at], HELD: lambda: 10.0, SIDE: lambda: 10.0}
    return Asked(side, price, float(sizes.get(side.what, lambda: 4.0)()))


def two_prices(program: Program, side: RightSide = THE_LIMIT, price: float | None = None) -> TwoPrices | None:
    solution = solve(program, SIMPLEX)
    one = asked(program, side, solution)
    return both_sides(program, solution, [one if price is None else one._replace(price=price)]).get(side)


def told(program: Program, side: RightSide = THE_LIMIT, price: float | None = None) -> tuple[float, float]:
    found = two_prices(program, side, price)
    assert found is not None and not found.contradict
    return found.told


# known in closed form ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("side", "price", "known"),
    [
        (THE_LIMIT, None, (1.0, 3.0)),
        (RightSide(RENT, (0, 0)), 1.0, (0.0, 2.0)),
        (RightSide(RENT, (0, 0), 0.8), 1.0, (0.0, 1.6)),
        (RightSide(HELD, (0, 0)), None, (3.0, 5.0)),
    ],
)
def test_a_planted_vertex_has_its_two_prices(side: RightSide, price: float | None, known: tuple[float, float]) -> None:
    found = two_prices(vertex(), side, price)
    assert found is not None and found.differ and not found.contradict
    assert found.told == pytest.approx(known, rel=1e-6, abs=1e-6)
    assert found.more.least <= known[0] <= found.more.most and found.less.least <= known[1] <= found.less.most


def test_an_offer_of_which_all_is_taken() -> None:
    program = vertex(limit=50.0, acquisition_upper=np.array([6.0]))
    assert told(program, RightSide(ORDER, (0,)), 2.0) == pytest.approx((1.0, 3.0))


def test_one_price_is_one_number() -> None:
    """Between two vertices of the cost there is no kink: the multiplier is the price to both sides, to the last digit."""
    program = vertex(limit=5.0)
    found = two_prices(program)
    assert found is not None and not found.differ
    assert found.told == (found.price, found.price) and found.price == pytest.approx(3.0)


def test_of_two_limits_that_say_the_same_neither_is_worth_anything_more() -> None:
    twice = Sparse((np.array([0, 1]), np.array([0, 0])), np.ones(2))
    program = vertex(limit_matrix=twice, limit_lower=np.full(2, -np.inf), limit_upper=np.full(2, 5.0))
    for row in (0, 1):  # one of them has a multiplier of zero
        assert told(program, RightSide(LIMIT, (row,))) == pytest.approx((0.0, 3.0), abs=1e-6)


def test_a_side_row_is_moved_in_one_node_alone() -> None:
    """Two futures of one state, both with a row on what is rented in pool 0: the other future's row stays as it is."""
    program = vertex(
        limit=0.0, state_of_node=np.zeros(2, int), node_weight=np.array([0.25, 0.75]), demand=np.array([[[4.0]], [[10.0]]]),
        rent_cost=np.tile([[[3.0, 5.0]]], (2, 1, 1)), rent_upper=np.full((2, 1, 2), 100.0), held_base=np.array([[0.0, 0.0, 4.0]]),
        side_pair=np.zeros((1, 1, 1, 2)), side_rent=np.tile([[[[1.0, 0.0]]]], (2, 1, 1, 1)),
        side_slack_cost=np.full((2, 1), np.inf), side_slack_upper=np.zeros((2, 1)),
    )  # fmt: skip
    assert told(program, RightSide(SIDE, (0, 0))) == pytest.approx((0.0, 0.25 * 2), abs=1e-7)
    assert told(program, RightSide(SIDE, (1, 0))) == pytest.approx((0.75 * 2, 0.75 * 2))
    alone = moved(program, RightSide(SIDE, (0, 0)), 1.0)
    assert alone.check().states == program.states + 1 and told(alone, RightSide(SIDE, (0, 0)))[1] == pytest.approx(0.0, abs=1e-7)


def test_with_less_there_may_be_no_plan() -> None:
    program = vertex(acquisition_lower=np.array([6.0]))
    found = two_prices(program)
    assert found is not None and found.differ and not found.less.exists and not found.contradict
    more, less = found.told
    assert more == pytest.approx(1.0) and math.isnan(less)


def test_a_limit_of_zero() -> None:
    """Nothing may be bought: nothing has a size, and the step is what the certificates resolve."""
    found = two_prices(vertex(limit=0.0))
    assert found is not None and found.told[0] == pytest.approx(3.0) and math.isnan(found.told[1])
    nothing = vertex(limit=0.0, acquisition_cost=np.array([60.0]))
    assert two_prices(nothing) is None, "it is nothing, and worth nothing"


@pytest.mark.parametrize(("limit", "known"), [(6.0, (1.0, 3.0)), (12.0, (-2.0, -2.0)), (10.0, (-2.0, 1.0))])
def test_an_equality_may_cost_to_have_more_of(limit: float, known: tuple[float, float]) -> None:
    assert told(vertex(limit=limit, limit_lower=np.array([limit]))) == pytest.approx(known)


def test_an_equality_may_have_no_plan_with_more() -> None:
    more, less = told(vertex(limit_lower=np.array([6.0]), acquisition_upper=np.array([6.0])))
    assert math.isnan(more) and less == pytest.approx(3.0)


def test_a_limit_between_two_sides_is_not_moved_across() -> None:
    """The step to less is half of the way to the lower side at most."""
    found = two_prices(vertex(limit_lower=np.array([6.0 - 1e-6])))
    assert found is None or (found.step < 1e-6 and found.less.exists)


@pytest.mark.parametrize("limit", [1e12, 1.0, 1e-3])
@pytest.mark.parametrize("usd", [1e-2, 1.0, 1e8])
def test_hostile_scales(limit: float, usd: float) -> None:
    found = two_prices(vertex(limit=limit, weight=limit / 6, usd=usd))
    assert found is not None and found.differ and not found.contradict
    assert found.told == pytest.approx((usd * 6 / limit, 3 * usd * 6 / limit), rel=1e-6)


def test_a_contradiction_is_seen() -> None:
    more, less = Slope(0.9, 1.1), Slope(2.9, 3.1)
    assert not TwoPrices(2.0, more, less, 0.0, 1.0).contradict
    assert TwoPrices(3.2, more, less, 0.0, 1.0).contradict and not TwoPrices(3.2, more, less, 0.2, 1.0).contradict
    assert TwoPrices(0.8, more, less, 0.0, 1.0).contradict and TwoPrices(1.0, less, more, 9.0, 1.0).contradict


# random programs --------------------------------------------------------------------------------------------------------------------
CHOSEN = ("limits", "degenerate", "sides", "tree_all_rows", "availability", "drawn_open_sides", "zero_width", "price_spread", "linking")


def right_sides(program: Program, draw: np.random.Generator) -> list[RightSide]:
    """Every limit, and some of each other kind."""
    def some(what: str, *shape: int) -> list[RightSide]:
        places = draw.permutation(math.prod(shape))[:4]
        return [RightSide(what, tuple(int(i) for i in np.unravel_index(at, shape))) for at in places]

    every = [RightSide(LIMIT, (row,)) for row in range(program.limits)]
    every += some(HELD, program.states, program.pools) + some(ORDER, program.acquisitions) + some(RENT, program.nodes, program.pools)
    return every + (some(SIDE, program.nodes, program.sides) if program.sides else [])


@pytest.mark.parametrize("family", CHOSEN)
def test_a_moved_program_differs_in_the_bounds_of_its_right_hand_side(family: str) -> None:
    program = random_program(0, **FAMILIES[family])
    form = extensive_form(program)
    for side in right_sides(program, np.random.default_rng(0)):
        other = extensive_form(moved(program, side, 0.5))
        assert np.array_equal(form.cost, other.cost) and (form.matrix != other.matrix).nnz == 0, side
        rows = (form.row_lower != other.row_lower) | (form.row_upper != other.row_upper)
        columns = (form.lower != other.lower) | (form.upper != other.upper)
        allowed_rows, allowed_columns = set(), set()
        if side.what == LIMIT:
            allowed_rows = {int(form.rows["limit"][side.at])}
        elif side.what == SIDE:
            allowed_rows = {int(form.rows["side"][side.at])}
        elif side.what == HELD:
            allowed_rows = set(form.rows["capacity"][program.state_of_node == side.at[0]][:, :, side.at[1]].ravel().tolist())
        elif side.what == ORDER:
            allowed_columns = {int(form.columns["z"][side.at])}
        else:
            allowed_columns = set(form.columns["r"][side.at[0], :, side.at[1]].ravel().tolist())
        assert set(np.nonzero(rows)[0].tolist()) <= allowed_rows and set(np.nonzero(columns)[0].tolist()) <= allowed_columns, side
        assert rows.any() or columns.any() or side.what in (RENT, HELD), "none of it is rented or available there"


@pytest.mark.parametrize("family", CHOSEN)
def test_random_programs_against_the_oracle(family: str) -> None:
    """The quotients of independent re-solves lie in the brackets, and multipliers between the two."""
    compared = 0
    for seed in range(4):
        program = random_program(seed, **FAMILIES[family])
        solution = solve(program, SIMPLEX)
        if solution.engine != "simplex" or solution.start is None:
            continue
        base = solve_extensive(program).objective
        every = [asked(program, side, solution) for side in right_sides(program, np.random.default_rng(seed))]
        every = [one if math.isfinite(one.price) else one._replace(price=0.0) for one in every]
        columns = {one.side for one in every if one.side.what in (ORDER, RENT)}
        for side, found in both_sides(program, solution, every).items():
            for sign, slope in ((1, found.more), (-1, found.less)):
                there = solve_extensive(moved(program, side, sign * found.step))
                if not slope.exists:
                    assert there.status == "infeasible", (seed, side)
                    continue
                quotient = sign * (base - there.objective) / found.step
                noise = 1e-9 * max(1.0, abs(base)) / found.step  # of the oracle, which certifies nothing
                assert slope.least - noise <= quotient <= slope.most + noise, (seed, side, found)
                compared += 1
            if side in columns:  # no multiplier is stated for them here
                assert not found.more.exists or not found.less.exists or found.more.least <= found.less.most
            else:
                assert not found.contradict, (seed, side, found)
    assert compared >= 20, compared


def test_what_the_interior_point_solved_is_not_asked() -> None:
    program = vertex()
    solution = solve(program, SIMPLEX)
    assert most_asked(solution) > 0
    other = replace(solution, engine="interior", start=None)
    assert most_asked(other) == 0
    with pytest.raises(ValueError, match="basis"):
        both_sides(program, other, [Asked(THE_LIMIT, 1.0, 6.0)])


# a case -----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def clouds() -> optimizer.Plan:
    return optimizer.plan(CLOUDS)


def test_nothing_else_of_the_plan_changes(clouds: optimizer.Plan) -> None:
    found = solved(build(optimizer.load(CLOUDS)), Settings())
    without = tables_of(found.built, found.solution, Settings(), 0.0, found.true)
    assert clouds.objective_usd == without.objective_usd and clouds.lower_bound_usd == without.lower_bound_usd
    for name, table in without.tables().items():
        columns = [column for column in table if column not in ("price_more_usd_per_unit", "price_less_usd_per_unit", "two_prices")]
        assert table[columns].equals(clouds.tables()[name][columns]), name
    assert without.prices["price_more_usd_per_unit"].isna().all() and not without.prices["two_prices"].any()
    assert clouds.warnings == without.warnings


def test_the_order_of_asking_does_not_matter() -> None:
    """To the last bit: HiGHS keeps nothing of one right-hand side for the next."""
    found = solved(build(optimizer.load(CLOUDS)), Settings())
    program, certificate = found.built.program, found.solution.certificate
    assert certificate.plan is not None and certificate.multipliers is not None
    rows = priced_rows(found.built.structure, program, certificate.plan, certificate.multipliers)
    every = [Asked(one.side, one.price, one.size) for one in rows if one.side.what == LIMIT or one.side.what == RENT]
    first = both_sides(program, found.solution, every)
    assert len(first) > 20
    for seed in range(5):
        random.Random(seed).shuffle(every)
        assert both_sides(program, found.solution, every) == first
    alone = [prices for one in every[:5] for prices in both_sides(program, found.solution, [one]).items()]
    assert all(first[side] == prices for side, prices in alone)


def test_both_sides_in_the_table(clouds: optimizer.Plan) -> None:
    prices = clouds.prices
    known = prices[prices["price_more_usd_per_unit"].notna()]
    assert 10 <= len(known) <= 12 and known["binding"].all()
    tight = 1e-6 * known["price_usd_per_unit"] + 1e-6
    assert (known["price_more_usd_per_unit"] <= known["price_usd_per_unit"] + tight).all()
    assert (known["price_less_usd_per_unit"].fillna(np.inf) >= known["price_usd_per_unit"] - tight).all()
    two = known["two_prices"]
    assert 0 < two.sum() < len(known)
    alike = known[~two]
    assert (alike["price_more_usd_per_unit"] == alike["price_less_usd_per_unit"]).all()
    rest = prices[prices["price_more_usd_per_unit"].isna()]
    assert rest["price_less_usd_per_unit"].isna().all() and not rest["two_prices"].any()


def test_the_two_prices_of_a_case_against_the_oracle(clouds: optimizer.Plan) -> None:
    program, certificate = clouds.built.program, clouds.solution.certificate
    assert certificate.plan is not None and certificate.multipliers is not None
    rows = priced_rows(clouds.built.structure, program, certificate.plan, certificate.multipliers)
    base, checked = solve_extensive(program).objective, 0
    for row, one in zip(clouds.prices.to_dict("records"), rows, strict=True):
        if not row["two_prices"]:
            continue
        step = 1e-3 * one.size
        saved = (base - solve_extensive(moved(program, one.side, step)).objective) / step
        lost = (solve_extensive(moved(program, one.side, -step)).objective - base) / step
        assert saved == pytest.approx(row["price_more_usd_per_unit"], rel=1e-3, abs=10.0), row["name"]
        assert lost == pytest.approx(row["price_less_usd_per_unit"], rel=1e-3), row["name"]
        checked += 1
    assert checked >= 3


def test_the_page_says_both(clouds: optimizer.Plan) -> None:
    for width in (80, 100):
        page = text_of(plan_page(clouds), width)
        limits = page[page.index("Limits that bind") : page.index("Unserved work")]
        assert " to $" in limits and "two prices: one more unit would save the lower, one less would cost the higher" in limits
        assert max(len(line) for line in limits.splitlines()) <= width
        assert "none with less" not in limits


def test_the_page_says_that_there_is_no_plan_with_less(clouds: optimizer.Plan) -> None:
    certificate = clouds.solution.certificate
    assert certificate.plan is not None and certificate.multipliers is not None
    rows = priced_rows(clouds.built.structure, clouds.built.program, certificate.plan, certificate.multipliers)
    dearest = next(one for one in rows if one.row[0] == "capex" and one.price > 0)
    none = TwoPrices(dearest.price, Slope(dearest.price, dearest.price), Slope(math.inf, math.inf), 0.0, 1.0)
    columns = clouds.columns._replace(prices=prices_table(rows, {dearest.side: none}))
    page = text_of(plan_page(replace(clouds, columns=columns)), 80)
    assert "per $, none with less" in page and "none with less: there is no plan with less of it" in page
