"""The catalog as data: complete, sourced, consistent with itself and with physics. Reads the files, not the program."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from datetime import date
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import yaml

CATALOG = Path(__file__).resolve().parents[2] / "configs" / "catalog"
CONFIDENCES = {"high", "medium", "low", "assumed"}
TABLES = {
    "prices": ["chip", "region", "kind", "price_usd_per_chip_hour", "price_usd_per_chip", "source", "date", "confidence", "note"],
    "network": ["from", "to", "rtt_ms", "source", "date", "confidence"],
    "throughput": [
        "chip", "model", "task", "input_tokens", "output_tokens", "output_tokens_per_second_per_chip", "training_tflops_per_chip",
        "ttft_p99_ms", "tpot_p99_ms", "log_std", "source", "date", "confidence", "note",
    ],
    "electricity": ["place", "usd_per_mwh", "source", "date", "confidence"],
}  # fmt: skip
NUMBERS = {
    "prices": ["price_usd_per_chip_hour", "price_usd_per_chip"],
    "network": ["rtt_ms"],
    "throughput": TABLES["throughput"][3:10],
    "electricity": ["usd_per_mwh"],
}
CHIPS = "tpu_v5e tpu_v5p tpu_v6e tpu_v7 trainium1 trainium2 trainium3 a100_80gb h100 h200 b200 gb200 gb300 mi300x".split()
MODELS = "dense_8b dense_20b dense_70b dense_405b moe_deepseek_r1 moe_gpt_oss_120b moe_2t".split()
HOURLY_KINDS = ("on_demand", "spot", "reserved_1y", "reserved_3y", "lease")
CHIP_NUMBERS = (
    "bf16_dense_tflops", "hbm_gb", "hbm_gb_per_s", "scale_up_chips",
    "provisioned_power_kw_per_chip", "idle_power_kw_per_chip", "load_power_kw_per_chip",
)  # fmt: skip

# Later chips of one maker that are slower than an earlier one, and are so in fact.
LESS_BANDWIDTH = {("tpu_v5p", "tpu_v6e")}  # v6e gave up memory for compute

# Chip and region whose prices are really not in the order spot < on demand, 3 years <= 1 year <= on demand.
PRICE_ORDER_EXCEPTIONS: set[tuple[str, str]] = set()

# Metro areas, latitude and longitude in degrees.
COORDINATES = {
    "aws:us-east-1": (38.9, -77.4), "aws:us-east-2": (40.0, -83.0), "aws:us-west-1": (37.4, -121.9), "aws:us-west-2": (45.8, -119.7),
    "aws:eu-central-1": (50.1, 8.7), "aws:eu-north-1": (59.3, 18.1), "aws:eu-west-1": (53.3, -6.3), "aws:eu-west-2": (51.5, -0.1),
    "aws:ap-northeast-1": (35.7, 139.7), "aws:ap-south-1": (19.1, 72.9), "aws:ap-southeast-1": (1.4, 103.8),
    "gcp:us-central1": (41.3, -95.9), "gcp:us-east1": (33.2, -80.0), "gcp:us-east4": (39.0, -77.5), "gcp:us-south1": (32.8, -96.8),
    "gcp:us-west1": (45.6, -121.2), "gcp:northamerica-northeast1": (45.5, -73.6),
    "gcp:europe-west1": (50.4, 3.8), "gcp:europe-west2": (51.5, -0.1), "gcp:europe-west4": (53.4, 6.8),
    "gcp:asia-northeast1": (35.7, 139.7), "gcp:asia-south1": (19.1, 72.9), "gcp:asia-southeast1": (1.4, 103.8),
    "azure:eastus": (38.9, -77.5), "azure:westus3": (33.4, -112.1), "azure:swedencentral": (60.7, 17.1), "azure:norwayeast": (59.9, 10.7),
    "azure:germanywestcentral": (50.1, 8.7), "azure:uksouth": (51.5, -0.1), "azure:japaneast": (35.7, 139.7),
}  # fmt: skip


def read_map(name: str) -> dict[str, dict]:
    return yaml.safe_load((CATALOG / f"{name}.yaml").read_text())[name]


def read_rows(name: str) -> list[dict[str, str]]:
    with (CATALOG / f"{name}.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == TABLES[name]
        rows = list(reader)
    assert rows
    return rows


chips, models, regions = read_map("chips"), read_map("models"), read_map("regions")
prices, network, throughput, electricity = (read_rows(name) for name in TABLES)
maps = {"chip": chips, "model": models, "region": regions}
entries = [(f"{kind} {name}", row) for kind, table in maps.items() for name, row in table.items()]
entries += [(f"{name} row {i}", row) for name in TABLES for i, row in enumerate(read_rows(name), start=2)]


def number(row: dict[str, str], column: str) -> float | None:
    return float(row[column]) if row[column] else None


def great_circle_km(a: str, b: str) -> float:
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, COORDINATES[x])) for x in (a, b))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(h))


# ---- every row


def test_every_row_has_a_public_source_a_date_and_a_confidence():
    assert len(entries) > 1000
    for where, row in entries:
        assert len(row["source"]) >= 8, where
        assert not re.search(r"(^|[\s(])(/|\.\./)[a-z]|shared/|/work/|localhost|memory, unverified", row["source"]), where
        day = row["date"] if isinstance(row["date"], date) else date.fromisoformat(row["date"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(row["date"])) and date(2020, 1, 1) <= day <= date(2026, 12, 31), where
        assert row["confidence"] in CONFIDENCES, where


@pytest.mark.parametrize("table", TABLES)
def test_numbers_of_the_tables_are_finite_and_positive(table):
    for i, row in enumerate(read_rows(table), start=2):
        for column in NUMBERS[table]:
            value = number(row, column)
            assert value is None or (math.isfinite(value) and value > 0), f"{table} row {i} {column}"


def test_what_is_assumed_says_why():
    for where, row in entries:
        if row["confidence"] == "assumed" and "note" in row:
            assert len(row["note"]) >= 8, where
        assert ("assumed" in row["source"]) <= (row["confidence"] == "assumed"), where
    for where, row in entries[: len(chips) + len(models) + len(regions)]:
        assert set(row.get("assumed", [])) <= row.keys(), where
        if row.get("assumed"):
            assert row.get("note"), where
        if row["confidence"] == "assumed":
            assert row.get("assumed"), where


def test_no_comma_or_blank_lines_break_the_tables():
    for name in TABLES:
        for i, row in enumerate(read_rows(name), start=2):
            assert None not in row and None not in row.values(), f"{name} row {i}"
            assert all(value == value.strip() for value in row.values()), f"{name} row {i}"


# ---- chips and models


def test_chips_are_there_and_complete():
    assert set(CHIPS) <= chips.keys()
    for name, chip in chips.items():
        assert chip["family"] in ("gpu", "tpu", "trainium"), name
        assert chip["vendor"] in {"tpu": ("google",), "trainium": ("aws",), "gpu": ("nvidia", "amd")}[chip["family"]], name
        assert isinstance(chip["available_from"], date), name
        for field in CHIP_NUMBERS:
            assert math.isfinite(chip[field]) and chip[field] > 0, f"{name} {field}"
        assert chip["idle_power_kw_per_chip"] < chip["load_power_kw_per_chip"] <= chip["provisioned_power_kw_per_chip"], name


def test_later_chips_of_a_maker_are_not_slower():
    makers = defaultdict(list)
    for name, chip in chips.items():
        makers[chip["vendor"]].append(name)
    assert len(makers) >= 4
    for names in makers.values():
        for older, newer in pairwise(sorted(names, key=lambda name: chips[name]["available_from"])):
            assert chips[newer]["bf16_dense_tflops"] >= chips[older]["bf16_dense_tflops"], (older, newer)
            assert chips[newer]["hbm_gb_per_s"] >= chips[older]["hbm_gb_per_s"] or (older, newer) in LESS_BANDWIDTH, (older, newer)


def test_models_are_there_and_weigh_what_their_parameters_do():
    assert set(MODELS) <= models.keys()
    for name, model in models.items():
        assert 0 < model["active_parameters_billion"] <= model["parameters_billion"], name
        assert 0.5 <= model["weight_gb"] / model["parameters_billion"] <= 2, name
        assert (model["active_parameters_billion"] < model["parameters_billion"]) == name.startswith("moe_"), name


# ---- regions and round trips


def test_regions_cover_three_clouds_and_a_neocloud():
    count = defaultdict(int)
    for region in regions.values():
        count[region["provider"]] += 1
    assert len(regions) >= 12
    assert count["aws"] >= 6 and count["gcp"] >= 6 and count["azure"] >= 4
    assert sum(n for provider, n in count.items() if provider not in ("aws", "gcp", "azure")) >= 1
    assert {"us", "eu", "uk", "asia"} <= {region["residency_zone"] for region in regions.values()}
    for name, region in regions.items():
        assert name.split(":")[0] == region["provider"], name


def test_round_trips_exist_for_every_pair_once():
    pairs = [frozenset((row["from"], row["to"])) for row in network]
    assert len(set(pairs)) == len(pairs), "a pair stands twice, perhaps the other way round"
    locations = {row[end] for row in network for end in ("from", "to")}
    assert {region["network_location"] for region in regions.values()} <= locations == COORDINATES.keys()
    assert {frozenset(pair) for pair in combinations(locations, 2)} <= set(pairs)


def test_no_round_trip_is_faster_than_light_in_fibre():
    for row in network:
        least = great_circle_km(row["from"], row["to"]) / 100  # 200 km per ms, there and back
        assert least <= float(row["rtt_ms"]) <= 400, row
    rtt = {frozenset((row["from"], row["to"])): float(row["rtt_ms"]) for row in network}
    assert rtt[frozenset(("aws:us-east-1", "aws:eu-central-1"))] == pytest.approx(90, abs=5)
    assert rtt[frozenset(("aws:us-east-1", "aws:ap-northeast-1"))] == pytest.approx(168, abs=10)


# ---- prices


def price_table() -> dict[tuple[str, str], dict[str, float]]:
    table: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in prices:
        value = number(row, "price_usd_per_chip_hour")
        if value is not None:
            table[row["chip"], row["region"]][row["kind"]] = value
    return table


def test_prices_name_existing_chips_and_regions_once():
    keys = [(row["chip"], row["region"], row["kind"]) for row in prices]
    assert len(set(keys)) == len(keys)
    for row in prices:
        assert row["chip"] in chips, row
        if row["kind"] == "own":
            assert row["region"] == "any" and not row["price_usd_per_chip_hour"], row
            assert 5_000 <= float(row["price_usd_per_chip"]) <= 150_000, row
        else:
            assert row["kind"] in HOURLY_KINDS and row["region"] in regions and not row["price_usd_per_chip"], row
            assert not row["price_usd_per_chip_hour"] or 0.1 <= float(row["price_usd_per_chip_hour"]) <= 60, row


def test_longer_commitment_is_cheaper_and_spot_is_cheaper_than_on_demand():
    broken = set()
    for place, price in price_table().items():
        on_demand = price.get("on_demand", math.inf)
        one_year = price.get("reserved_1y", on_demand)
        three_years = price.get("reserved_3y", 0)
        if not (price.get("spot", 0) < on_demand and one_year <= on_demand and three_years <= one_year and three_years <= on_demand):
            broken.add(place)
    assert broken == PRICE_ORDER_EXCEPTIONS


def test_a_price_derived_by_a_ratio_is_that_multiple_of_a_price_in_the_table():
    table, derived = price_table(), 0
    for row in prices:
        if ratio := re.match(r"([\d.]+) x the (\w+) price here: ", row["note"]):
            base = table[row["chip"], row["region"]][ratio[2]]
            assert float(row["price_usd_per_chip_hour"]) == pytest.approx(float(ratio[1]) * base, abs=2e-3), row
            assert row["confidence"] == "assumed", row
            derived += 1
    assert derived > 50


def test_known_list_prices():
    table = price_table()
    assert table["h100", "aws:us-east-1"]["on_demand"] == 6.88
    assert table["h100", "gcp:us-central1"]["reserved_3y"] == pytest.approx(4.858, abs=1e-3)
    assert table["tpu_v6e", "gcp:us-central1"]["on_demand"] == 2.7
    own = {row["chip"]: float(row["price_usd_per_chip"]) for row in prices if row["kind"] == "own"}
    assert own["h100"] == 35_000


def test_chips_of_a_cloud_are_sold_in_that_cloud_only():
    for row in prices:
        if row["kind"] != "own" and chips[row["chip"]]["family"] in ("tpu", "trainium"):
            assert regions[row["region"]]["provider"] == {"tpu": "gcp", "trainium": "aws"}[chips[row["chip"]]["family"]], row


# ---- throughput


def test_throughput_rows_are_of_one_task_and_of_known_chips_and_models():
    keys = [tuple(row[column] for column in TABLES["throughput"][:9]) for row in throughput]
    assert len(set(keys)) == len(keys)
    for row in throughput:
        assert row["chip"] in chips and row["model"] in models, row
        serving = [row[column] != "" for column in ("input_tokens", "output_tokens", "output_tokens_per_second_per_chip")]
        training = row["training_tflops_per_chip"] != ""
        if row["task"] == "serving":
            assert all(serving) and not training, row
            assert (row["ttft_p99_ms"] == "") == (row["tpot_p99_ms"] == ""), row
        else:
            assert row["task"] == "training" and training and not any(serving), row
            assert row["ttft_p99_ms"] == row["tpot_p99_ms"] == "", row


def test_the_error_of_a_throughput_fits_its_confidence():
    least = {"high": 0.05, "medium": 0.1, "low": 0.15, "assumed": 0.35}
    most = {"high": 0.1, "medium": 0.2, "low": 0.3, "assumed": 0.6}
    for row in throughput:
        assert least[row["confidence"]] <= float(row["log_std"]) <= most[row["confidence"]], row


def test_a_tighter_latency_never_gives_more_throughput():
    groups = defaultdict(list)
    for row in throughput:
        if row["task"] == "serving":
            groups[tuple(row[column] for column in ("chip", "model", "input_tokens", "output_tokens"))].append(row)
    assert sum(len(rows) > 1 for rows in groups.values()) > 50
    for key, rows in groups.items():
        rows.sort(key=lambda row: number(row, "tpot_p99_ms") or math.inf)
        rates = [float(row["output_tokens_per_second_per_chip"]) for row in rows]
        assert rates == sorted(rates), key


def test_no_throughput_exceeds_the_peak_of_the_chip():
    for row in throughput:
        peak = chips[row["chip"]]["bf16_dense_tflops"]
        if row["task"] == "training":
            assert float(row["training_tflops_per_chip"]) <= 2 * peak, row  # FP8 is at most about twice bf16
        else:
            tokens = float(row["output_tokens_per_second_per_chip"]) * (1 + float(row["input_tokens"]) / float(row["output_tokens"]))
            tflops = 2 * models[row["model"]]["active_parameters_billion"] * tokens / 1000
            assert tflops <= 4 * peak, row  # FP4


def test_measured_figures_are_the_published_ones():
    rates = {(row["chip"], row["model"], row["input_tokens"], row["output_tokens"], row["tpot_p99_ms"]): row for row in throughput}
    h100 = rates["h100", "dense_70b", "1000", "1000", ""]
    assert (h100["output_tokens_per_second_per_chip"], h100["confidence"]) == ("2209", "high")
    gb200 = rates["gb200", "dense_70b", "8192", "1024", ""]
    assert (gb200["output_tokens_per_second_per_chip"], gb200["confidence"]) == ("1491", "high")
    training = {(row["chip"], row["model"]): row["training_tflops_per_chip"] for row in throughput if row["task"] == "training"}
    assert training["gb300", "dense_405b"] == "2522" and training["tpu_v6e", "dense_70b"] == "462"


def test_every_large_model_row_fits_into_the_scale_up_domain():
    for row in throughput:
        if row["task"] == "serving":
            chip = chips[row["chip"]]
            if row["confidence"] == "assumed":  # a measured run may span several domains
                assert models[row["model"]]["weight_gb"] <= chip["hbm_gb"] * chip["scale_up_chips"], row


# ---- electricity


def test_electricity_is_a_price_per_mwh():
    names = [row["place"] for row in electricity]
    assert len(set(names)) == len(names) and {"texas", "virginia", "ohio", "sweden"} <= set(names)
    for row in electricity:
        assert 30 <= float(row["usd_per_mwh"]) <= 400, row
    assert {row["place"]: row["usd_per_mwh"] for row in electricity}["texas"] == "66.3"
