"""The catalog: what is known about chips, model classes, regions, prices, networks, throughput and electricity.

A directory of small files (case reference, section 9). Each table is read when it is first needed; a file that is not there
is an empty table, so that a case may bring a catalog of only what it uses. Prices that nobody has published are blank and stay
missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import scandir
from os.path import isdir
from pathlib import Path
from typing import Any

from .case_error import Document
from .catalog_schema import ChipRow, ChipTable, ModelRow, ModelTable, RegionRow, RegionTable
from .catalog_tables import Row, read_table
from .resolved import Quantity, Throughput
from .schema_errors import validate
from .schema_offers import KINDS
from .schema_values import Block
from .yaml_file import read_yaml


@dataclass(frozen=True)
class Price:
    """A price row; `quantity` is None where the price is blank. $ per chip (own) or per chip-hour."""

    quantity: Quantity | None
    row: Row


class Catalog:
    """One catalog directory. Reading a table raises CaseError that names the file and the row or key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing_file(self, name: str) -> str:
        """An explanation for messages when the table is not there at all, else empty."""
        return "" if (self.folder / name).is_file() else f" (there is no {name} in {self.folder})"

    @cached_property
    def chips(self) -> Mapping[str, ChipRow]:
        return self._yaml("chips.yaml", ChipTable, "chips")

    @cached_property
    def models(self) -> Mapping[str, ModelRow]:
        return self._yaml("models.yaml", ModelTable, "models")

    @cached_property
    def regions(self) -> Mapping[str, RegionRow]:
        return self._yaml("regions.yaml", RegionTable, "regions")

    def _yaml(self, name: str, model: type[Block], top: str) -> Mapping[str, Any]:
        path = self.folder / name
        if not path.is_file():
            return {}
        document = read_yaml(path)
        return getattr(validate(model, _without_blanks(document)), top)

    @cached_property
    def prices(self) -> Mapping[tuple[str, str, str], Price]:
        """By chip, region ("any" for own) and kind."""
        prices: dict[tuple[str, str, str], Price] = {}
        columns = ("chip", "region", "kind", "price_usd_per_chip_hour", "price_usd_per_chip", "source", "date", "confidence")
        for row in self._table("prices.csv", columns, ("note",)):
            chip, region, kind = row.name("chip"), row.name("region"), row.choice("kind", KINDS)
            column, other = ("price_usd_per_chip", "price_usd_per_chip_hour")[:: 1 if kind == "own" else -1]
            if row.text(other):
                raise row.error(other, f"does not apply to kind {kind}", f"leave it blank and write {column}")
            if kind == "own" and region != "any":
                raise row.error("region", f"is `{region}` for kind own", "write any")
            if (chip, region, kind) in prices:
                raise row.error("chip", f"repeats row {prices[chip, region, kind].row.number}", "keep one row per chip, region and kind")
            value = row.positive(column)
            quantity = None if value is None else Quantity(value, f"catalog.prices.{chip}.{region}.{kind}.{column}", row.assumed())
            prices[chip, region, kind] = Price(quantity, row)
        return prices

    @cached_property
    def network(self) -> Mapping[tuple[str, str], Quantity]:
        """Round-trip times in ms, by the ordered pair of network locations as the table writes it."""
        pairs: dict[tuple[str, str], Quantity] = {}
        for row in self._table("network.csv", ("from", "to", "rtt_ms", "source", "date", "confidence"), ("note",)):
            pair = row.name("from"), row.name("to")
            if pair in pairs:
                raise row.error("from", f"repeats the pair {pair[0]}, {pair[1]}", "keep one row per pair")
            value = row.positive("rtt_ms")
            if value is not None:
                pairs[pair] = Quantity(value, f"catalog.network.{pair[0]}.{pair[1]}.rtt_ms", row.assumed())
        return pairs

    @cached_property
    def throughput(self) -> tuple[Throughput, ...]:
        """Rows in the order of the table; a row whose rate is blank is passed over."""
        columns = ("chip", "model", "task", "input_tokens", "output_tokens", "output_tokens_per_second_per_chip")
        columns += ("training_tflops_per_chip", "ttft_p99_ms", "tpot_p99_ms", "source", "date", "confidence")
        rows: list[Throughput] = []
        count: dict[str, int] = {}
        for row in self._table("throughput.csv", columns, ("log_std", "note")):
            found = _throughput_row(row, count)
            if found is not None:
                rows.append(found)
        return tuple(rows)

    @cached_property
    def electricity(self) -> Mapping[str, Quantity]:
        """$ per MWh by place; a blank price is left out."""
        prices: dict[str, Quantity] = {}
        for row in self._table("electricity.csv", ("place", "usd_per_mwh", "source", "date", "confidence"), ("note",)):
            place = row.name("place")
            if place in prices:
                raise row.error("place", f"repeats `{place}`", "keep one row per place")
            value = row.positive("usd_per_mwh")
            if value is not None:
                prices[place] = Quantity(value, f"catalog.electricity.{place}.usd_per_mwh", row.assumed())
        return prices

    def _table(self, name: str, required: tuple[str, ...], optional: tuple[str, ...]) -> list[Row]:
        path = self.folder / name
        return list(read_table(path, required, optional)) if path.is_file() else []


def _throughput_row(row: Row, count: dict[str, int]) -> Throughput | None:
    chip, model, task = row.name("chip"), row.name("model"), row.choice("task", ("serving", "training"))
    tokens_in, tokens_out = row.positive("input_tokens"), row.positive("output_tokens")
    rate_column = "output_tokens_per_second_per_chip" if task == "serving" else "training_tflops_per_chip"
    other = "training_tflops_per_chip" if task == "serving" else "output_tokens_per_second_per_chip"
    if row.text(other):
        raise row.error(other, f"does not apply to task {task}", f"leave it blank and write {rate_column}")
    key = f"catalog.throughput.{chip}.{model}.{task}"
    if task == "serving":
        if tokens_in is None or tokens_out is None:
            raise row.error("input_tokens" if tokens_in is None else "output_tokens", "is blank", "write the tokens per request")
        key += f".{_count(tokens_in)}x{_count(tokens_out)}"
    else:
        tokens_in = tokens_out = None
    number = count.get(key, 0)
    count[key] = number + 1
    rate = row.positive(rate_column)
    if rate is None:
        return None
    assumed = row.assumed()

    def latency(column: str) -> Quantity | None:
        value = row.positive(column)
        return None if value is None or task == "training" else Quantity(value, f"{key}.{number}.{column}", assumed)

    rate_quantity = Quantity(rate, f"{key}.{number}.{rate_column}", assumed)
    ttft, tpot = latency("ttft_p99_ms"), latency("tpot_p99_ms")
    measured = row.text("confidence") == "high"
    return Throughput(chip, model, task, tokens_in, tokens_out, rate_quantity, ttft, tpot, row.positive("log_std"), measured)


def _count(tokens: float) -> str:
    return str(int(tokens)) if tokens.is_integer() else repr(tokens)


def _without_blanks(document: Document) -> Document:
    """In a catalog a blank field is one that is not published: the same as leaving it out."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {key: strip(below) for key, below in value.items() if below is not None}
        return value

    data = strip(document.data)
    assert isinstance(data, dict)
    return Document(data, document.marks)


def shipped_catalog() -> Path:
    """The directory that ships with the project: inside the package (wheel), else beside it (checkout)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs" / "catalog"
    return inside if inside.is_dir() else package.parent / "configs" / "catalog"


def open_catalog(document: Document, folder: str | None) -> Catalog:
    """The catalog that a case names, or the shipped one, read again only where one of its files has changed. Raises CaseError: the
    directory does not exist."""
    if folder is None:
        return _as_it_stands(shipped_catalog())
    path = Path(folder)
    if not isdir(path):  # not Path.is_dir, which raises for a name that is too long
        # the absolute path would tell little about what was written, so the message shows its last parts
        raise document.error(
            ("catalog",), f"'{'/'.join(path.parts[-2:])}' is not a directory", "give a directory relative to the case file"
        )
    return _as_it_stands(path)


def _as_it_stands(folder: Path) -> Catalog:
    files = sorted((entry for entry in scandir(folder) if entry.is_file()), key=lambda entry: entry.name)
    stands = tuple((entry.name, status.st_mtime_ns, status.st_size, status.st_ino) for entry in files for status in (entry.stat(),))
    return _opened(folder, stands)


@lru_cache(maxsize=4)
def _opened(folder: Path, stands: tuple) -> Catalog:
    """Reading the tables was half of the time of a point of a sweep. `stands`: what tells that a file has changed."""
    del stands
    return Catalog(folder)
