"""What must hold of any certified plan when its case is changed: demand, offers that nobody wants, order of the file, split scenarios.

Two cases have the same optimum if their intervals [lower bound, cost of the plan] meet; nothing is allowed beyond the certified gaps but
the rounding of a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import optimizer

ORACLE = Path(__file__).resolve().parent.parent / "oracle"
CASES = ("37_four_scenarios", "35_reveal", "20_spot_and_firm", "18_batch")
WITH_SCENARIOS = ("37_four_scenarios", "35_reveal", "49_hand_newsvendor")
GAP = 1e-8
ROUNDING = 1e-12
CONTRACTS = ("own", "lease", "reserved_1y", "reserved_3y")
PRICE_KEYS = ("price_usd_per_chip", "price_usd_per_chip_hour", "price_usd_per_chip_year")
Data = dict[str, Any]


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Data:
    """Maps merge key by key, the rest replaces, null removes."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def read(path: Path) -> Data:
    """A case file with what it extends, the catalog as an absolute path."""
    data = yaml.safe_load(path.read_text())
    if "catalog" in data:
        data["catalog"] = str((path.parent / data["catalog"]).resolve())
    extends = data.pop("extends", None)
    return data if extends is None else merged(read(path.parent / extends), data)


@cache
def case(name: str) -> Data:
    """The case as one map; copy before changing it."""
    return read(ORACLE / "cases" / f"{name}.yaml")


def planned(data: Data, folder: Path) -> optimizer.Plan:
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    plan = optimizer.plan(path, optimizer.Settings(gap_relative=GAP))
    assert plan.status == "CERTIFIED", plan.reason
    return plan


@cache
def unchanged(name: str) -> optimizer.Plan:
    """The plan of the case as it is."""
    plan = optimizer.plan(ORACLE / "cases" / f"{name}.yaml", optimizer.Settings(gap_relative=GAP))
    assert plan.status == "CERTIFIED", plan.reason
    return plan


def same_optimum(one: optimizer.Plan, other: optimizer.Plan) -> None:
    slack = ROUNDING * max(abs(one.objective_usd), abs(other.objective_usd))
    assert one.lower_bound_usd <= other.objective_usd + slack
    assert other.lower_bound_usd <= one.objective_usd + slack


def scenario_cases(data: Data) -> Data:
    """The scenarios; a case without any has one."""
    return data.setdefault("scenarios", {}).setdefault("cases", {"base": {"probability": 1}})


@pytest.mark.parametrize("name", CASES)
def test_flattening_changes_nothing(name: str, tmp_path: Path) -> None:
    """The ground that the tests below stand on: the map that they change is the case."""
    same_optimum(unchanged(name), planned(case(name), tmp_path))


@pytest.mark.parametrize("name", CASES)
def test_more_demand_is_never_cheaper(name: str, tmp_path: Path) -> None:
    data = deepcopy(case(name))
    for scenario in scenario_cases(data).values():
        scenario.setdefault("demand", {})["five_percent_more"] = {"path": 1.05}
    base, more = unchanged(name), planned(data, tmp_path)
    assert more.objective_usd >= base.lower_bound_usd
    assert more.lower_bound_usd > base.objective_usd, "no case here has chips to spare: it must be dearer, certified"


@pytest.mark.parametrize("name", [*CASES, "49_hand_newsvendor"])
def test_a_dominated_offer_changes_nothing(name: str, tmp_path: Path) -> None:
    """Every contract once more, the same but dearer. (A second on-demand or spot offer of a pool is refused, so these have none.)"""
    data = deepcopy(case(name))
    added = {}
    for offer, terms in data["offers"].items():
        if terms["kind"] in CONTRACTS and "available_chips" not in terms and "available_chips_total" not in terms:
            added[f"{offer}_dearer"] = dearer(terms)
    assert added
    data["offers"] = {**added, **data["offers"]}
    base, with_more = unchanged(name), planned(data, tmp_path)
    same_optimum(base, with_more)
    rows = with_more.acquisitions[with_more.acquisitions["offer"].isin(added)]
    assert rows["count_chips"].sum() <= 1e-4, "what is bought at the dearer offer costs more than the gap allows"


def dearer(terms: Data) -> Data:
    """The same offer at a price a tenth higher."""
    result = dict(terms)
    (key,) = (key for key in PRICE_KEYS if key in terms)
    price = terms[key]
    if isinstance(price, Mapping):
        assert "start" in price, "give this form of path here too"
        result[key] = {**price, "start": 1.1 * price["start"]}
    else:
        result[key] = 1.1 * price
    return result


def backwards(data: Data, *keys: str) -> None:
    for key in keys:
        if key in data:
            data[key] = dict(reversed(data[key].items()))


def scenarios_backwards(data: Data) -> None:
    cases = scenario_cases(data)
    backwards(data["scenarios"], "cases")
    assert len(cases) > 1


def streams_backwards(data: Data) -> None:
    backwards(data, "workloads", "origins")
    for workload in data["workloads"].values():
        backwards(workload, "origins")


def pools_backwards(data: Data) -> None:
    backwards(data, "offers", "regions", "sites", "chips")
    for offer in data["offers"].values():
        for key in ("chips", "places"):
            if key in offer:
                offer[key] = offer[key][::-1]


def blocks_backwards(data: Data) -> None:
    backwards(data, "load_blocks")


ORDERS: list[tuple[str, Callable[[Data], None]]] = [
    *((name, scenarios_backwards) for name in ("37_four_scenarios", "35_reveal")),
    *((name, change) for name in ("37_four_scenarios", "45_lists_of_chips_and_places") for change in (streams_backwards, pools_backwards)),
    ("20_spot_and_firm", pools_backwards),
    ("37_four_scenarios", blocks_backwards),
]


@pytest.mark.parametrize(("name", "change"), ORDERS, ids=lambda value: getattr(value, "__name__", value))
def test_order_changes_nothing(name: str, change: Callable[[Data], None], tmp_path: Path) -> None:
    data = deepcopy(case(name))
    change(data)
    assert yaml.safe_dump(data, sort_keys=False) != yaml.safe_dump(case(name), sort_keys=False)
    same_optimum(unchanged(name), planned(data, tmp_path))


@pytest.mark.parametrize("name", WITH_SCENARIOS)
def test_splitting_a_scenario_changes_nothing(name: str, tmp_path: Path) -> None:
    """The first scenario becomes two of half its probability; with a reveal each half may sign its own orders, and gains nothing."""
    data = deepcopy(case(name))
    cases = scenario_cases(data)
    first, terms = next(iter(cases.items()))
    half = {**terms, "probability": terms["probability"] / 2}
    rest = {key: value for key, value in cases.items() if key != first}
    data["scenarios"]["cases"] = {f"{first}_left": half, **rest, f"{first}_right": deepcopy(half)}
    same_optimum(unchanged(name), planned(data, tmp_path))
