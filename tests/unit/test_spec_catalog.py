"""The catalog's tables: blanks stay missing, and what is wrong is named with file and row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.spec import CaseError, load_case
from optimizer.spec.catalog import Catalog, shipped_catalog
from optimizer.spec.resolved import Quantity

BASE = Path(__file__).parent / "bad_cases"
CASES = Path(__file__).parents[2] / "configs" / "cases"
PRICES = "chip,region,kind,price_usd_per_chip_hour,price_usd_per_chip,source,date,confidence,note\n"
NETWORK = "from,to,rtt_ms,source,date,confidence\n"
SERVING = "chip,model,task,input_tokens,output_tokens,output_tokens_per_second_per_chip,training_tflops_per_chip"
THROUGHPUT = f"{SERVING},ttft_p99_ms,tpot_p99_ms,log_std,source,date,confidence,note\n"
ELECTRICITY = "place,usd_per_mwh,source,date,confidence\n"


def test_blank_is_missing() -> None:
    catalog = Catalog(BASE / "catalog")
    assert catalog.prices["a100", "any", "own"].quantity is None
    assert catalog.prices["h100", "any", "own"].quantity == Quantity(32000.0, "catalog.prices.h100.any.own.price_usd_per_chip")
    assert catalog.chips["blank_chip"].hbm_gb is None


def test_quoted_commas_and_blank_rows(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES + "\n,,,,,,,,\n" + 'h100,aws:x,spot,2.5,,"list, 2025",2025-01-01,low,\n')
    prices = Catalog(tmp_path).prices
    assert [(key, price.row.number) for key, price in prices.items()] == [(("h100", "aws:x", "spot"), 4)]


def test_columns_in_any_order_and_optional_note(tmp_path: Path) -> None:
    (tmp_path / "network.csv").write_text("\ufeffconfidence,rtt_ms,to,from,source,date\nassumed,12.5,b,a,probe,\n", encoding="utf-8")
    assert Catalog(tmp_path).network == {("a", "b"): Quantity(12.5, "catalog.network.a.b.rtt_ms", assumed=True)}


def test_files_that_are_not_there_are_empty(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    assert not any(
        (catalog.chips, catalog.models, catalog.regions, catalog.prices, catalog.network, catalog.throughput, catalog.electricity)
    )


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "c")
    (tmp_path / "c" / "catalog" / "prices.csv").unlink()
    with pytest.raises(CaseError, match=r"has no row \(there is no prices\.csv in "):
        load_case(tmp_path / "c" / "base.yaml")


def test_measured_direction_comes_first(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "c")
    with (tmp_path / "c" / "catalog" / "network.csv").open("a") as network:
        network.write("aws:eu-west-1,aws:us-east-1,70,probe,2022-01-01,high\n")
    rtt = load_case(tmp_path / "c" / "base.yaml").rtt_ms
    assert (rtt["aws:eu-west-1", "aws:us-east-1"].value, rtt["aws:us-east-1", "aws:eu-west-1"].value) == (70.0, 68.0)


def read_prices(catalog: Catalog) -> object:
    return catalog.prices


def read_network(catalog: Catalog) -> object:
    return catalog.network


def read_throughput(catalog: Catalog) -> object:
    return catalog.throughput


def read_electricity(catalog: Catalog) -> object:
    return catalog.electricity


ROW = "h100,aws:x,spot,2.5,,list,2025-01-01,low,\n"
BAD_TABLES: dict[str, tuple[Callable[[Catalog], object], str, str, str]] = {
    "zero_price": (read_prices, PRICES + ROW + "h100,aws:y,spot,0,,list,2025-01-01,low,\n", "row 3.price_usd_per_chip_hour", "never free"),
    "negative_price": (
        read_prices,
        PRICES + "h100,aws:y,spot,-2,,list,2025-01-01,low,\n",
        "row 2.price_usd_per_chip_hour",
        "greater than 0",
    ),
    "nan_price": (read_prices, PRICES + "h100,aws:y,spot,nan,,list,2025-01-01,low,\n", "row 2.price_usd_per_chip_hour", "finite"),
    "inf_price": (read_prices, PRICES + "h100,aws:y,spot,inf,,list,2025-01-01,low,\n", "row 2.price_usd_per_chip_hour", "finite"),
    "text_price": (read_prices, PRICES + "h100,aws:y,spot,$2,,list,2025-01-01,low,\n", "row 2.price_usd_per_chip_hour", "without unit"),
    "underscore": (read_prices, PRICES + "h100,aws:y,spot,2_0,,list,2025-01-01,low,\n", "row 2.price_usd_per_chip_hour", "finite number"),
    "unknown_kind": (read_prices, PRICES + "h100,aws:y,hourly,2,,list,2025-01-01,low,\n", "row 2.kind", "on_demand"),
    "no_chip": (read_prices, PRICES + ",aws:y,spot,2,,list,2025-01-01,low,\n", "row 2.chip", "letters"),
    "wrong_confidence": (read_prices, PRICES + "h100,aws:y,spot,2,,list,2025-01-01,sure,\n", "row 2.confidence", "high, medium"),
    "wrong_date": (read_prices, PRICES + "h100,aws:y,spot,2,,list,May 2025,low,\n", "row 2.date", "YYYY-MM-DD"),
    "repeated": (read_prices, PRICES + ROW + ROW, "row 3.chip", "one row per chip, region and kind"),
    "own_by_hour": (read_prices, PRICES + "h100,any,own,2,,list,2025-01-01,low,\n", "row 2.price_usd_per_chip_hour", "price_usd_per_chip"),
    "own_in_region": (read_prices, PRICES + "h100,aws:y,own,,2,list,2025-01-01,low,\n", "row 2.region", "write any"),
    "spot_per_chip": (read_prices, PRICES + "h100,aws:y,spot,,2,list,2025-01-01,low,\n", "row 2.price_usd_per_chip", "leave it blank"),
    "short_row": (read_prices, PRICES + "h100,aws:y,spot,2\n", "row 2", "quotes"),
    "long_row": (read_prices, PRICES + ROW.replace("list", "list, 2025"), "row 2", "quotes"),
    "unknown_column": (read_prices, PRICES.replace(",note", ",remark") + ROW, "row 1.remark", "use one of"),
    "misspelt_column": (read_prices, PRICES.replace("region", "regio") + ROW, "row 1.regio", "did you mean `region`"),
    "missing_column": (read_prices, PRICES.replace(",source", "") + ROW.replace(",list", ""), "row 1.source", "write the columns"),
    "column_twice": (read_prices, PRICES.replace("note", "date") + ROW, "row 1.date", "keep one"),
    "open_quote": (read_prices, PRICES + '"h100,aws:y,spot,2,,list,2025-01-01,low,\n', "row 2", "quotes"),
    "empty": (read_prices, "", "row 1.chip", "write the columns"),
    "repeated_pair": (read_network, NETWORK + 2 * "a,b,5,probe,2022-01-01,high\n", "row 3.from", "one row per pair"),
    "zero_rtt": (read_network, NETWORK + "a,b,0,probe,2022-01-01,high\n", "row 2.rtt_ms", "greater than 0"),
    "repeated_place": (read_electricity, ELECTRICITY + 2 * "texas,60,EIA,2024-10-17,high\n", "row 3.place", "one row per place"),
    "unknown_task": (read_throughput, THROUGHPUT + "h100,m,batch,1,1,5,,,,,s,,high,\n", "row 2.task", "serving, training"),
    "no_tokens": (read_throughput, THROUGHPUT + "h100,m,serving,1,,5,,,,,s,,high,\n", "row 2.output_tokens", "tokens per request"),
    "both_rates": (
        read_throughput,
        THROUGHPUT + "h100,m,serving,1,1,5,6,,,,s,,high,\n",
        "row 2.training_tflops_per_chip",
        "leave it blank",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_wrong_table(tmp_path: Path, name: str) -> None:
    read, text, key, says = BAD_TABLES[name]
    file = tmp_path / f"{read.__name__.removeprefix('read_')}.csv"
    file.write_text(text)
    with pytest.raises(CaseError) as caught:
        read(Catalog(tmp_path))
    assert (caught.value.file, caught.value.key_path) == (str(file), key)
    assert says in caught.value.remedy and "\n" not in str(caught.value)


CHIP = (BASE / "catalog" / "chips.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (CHIP.replace("hbm_gb: 80", "hbm_gb: -80"), "chips.h100.hbm_gb", "greater than 0"),
        (CHIP.replace("hbm_gb: 80", "hbm_gib: 80"), "chips.h100.hbm_gib", "did you mean `hbm_gb`"),
        (CHIP.replace("family: tpu", "family: tpus"), "chips.blank_chip.family", "did you mean `tpu`"),
        (CHIP.replace("confidence: low", "confidence: unsure"), "chips.blank_chip.confidence", "high, medium, low, assumed"),
        (CHIP.replace("[idle_power_kw_per_chip]", "[idle_power]"), "chips.h100.assumed.0", "did you mean `idle_power_kw_per_chip`"),
        (CHIP.replace("a100:", "h100:"), "chips.h100", "keep one"),
        ("h100: {}\n", "h100", "use one of `chips`"),
    ],
)
def test_wrong_chips(tmp_path: Path, text: str, key: str, says: str) -> None:
    (tmp_path / "chips.yaml").write_text(text)
    with pytest.raises(CaseError) as caught:
        _ = Catalog(tmp_path).chips
    assert (caught.value.file, caught.value.key_path) == (str(tmp_path / "chips.yaml"), key)
    assert says in caught.value.remedy


def test_shipped_catalog_reads() -> None:
    assert shipped_catalog().is_dir()
    catalog = Catalog(shipped_catalog())
    assert all((catalog.chips, catalog.models, catalog.regions, catalog.prices, catalog.network, catalog.throughput, catalog.electricity))


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_cases_load(path: Path) -> None:
    assert load_case(path).name
