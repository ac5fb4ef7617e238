"""Regions, sites, chips, models, throughput rows and network times: the catalog's rows with the case's fields on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .case_error import Location, did_you_mean
from .quantities import Source, optional_quantity, quantity
from .resolved import Chip, ModelClass, Place, Quantity, Throughput
from .schema import ElectricityRow, ServingThroughput, Site
from .schema_architecture import ChipArchitecture, Conflict, ModelArchitecture, chip_conflict, model_conflict

_CHIP_NUMBERS = (
    "bf16_dense_tflops",
    "hbm_gb",
    "scale_up_chips",
    "provisioned_power_kw_per_chip",
    "idle_power_kw_per_chip",
    "load_power_kw_per_chip",
)
_OPTIONAL_FIELDS = {*ChipArchitecture.model_fields, *ModelArchitecture.model_fields}
LOCAL_RTT_MS = 1.0


def resolve_places(source: Source) -> dict[str, Place]:
    """Regions first, then sites. Raises CaseError: a name used twice, a region or electricity row the catalog does not have."""
    places: dict[str, Place] = {}
    for name, written in source.file.regions.items():
        row = source.catalog.regions.get(name) if _needs_catalog(written) else None
        fields = _Fields(source, ("regions", name), "regions.yaml", written, row, source.catalog.regions)
        places[name] = Place(name, fields.text("provider"), fields.text("residency_zone"), fields.text("network_location"), is_site=False)
    for name, site in source.file.sites.items():
        if name in places:
            raise source.error(("sites", name), "is also the name of a region", "rename the site")
        places[name] = _site(source, name, site)
    return places


def _site(source: Source, name: str, site: Site) -> Place:
    here = ("sites", name)
    price = site.electricity_usd_per_mwh
    if isinstance(price, ElectricityRow):
        if price.catalog not in source.catalog.electricity:
            raise source.error(
                (*here, "electricity_usd_per_mwh", "catalog"),
                f"`{price.catalog}` has no price in the catalog's electricity table{source.catalog.missing_file('electricity.csv')}",
                did_you_mean(price.catalog, source.catalog.electricity),
            )
        electricity = source.constant(source.catalog.electricity[price.catalog])
    else:
        electricity = source.path(price, (*here, "electricity_usd_per_mwh"))
    return Place(
        name,
        site.provider,
        site.residency_zone,
        site.network_location,
        is_site=True,
        power_mw=source.path(site.power_mw, (*here, "power_mw")),
        pue=quantity(site.pue, (*here, "pue")),
        electricity_usd_per_mwh=electricity,
    )


def resolve_chips(source: Source) -> dict[str, Chip]:
    """Raises CaseError: a chip the catalog does not have, a field that neither gives, fields that contradict each other."""
    chips: dict[str, Chip] = {}
    for name, written in source.file.chips.items():
        row = source.catalog.chips.get(name)
        fields = _Fields(source, ("chips", name), "chips.yaml", written, row, source.catalog.chips)
        fields.check(chip_conflict)
        numbers = {field: fields.number(field) for field in _CHIP_NUMBERS}
        replica_chips = fields.optional("replica_chips")
        chips[name] = Chip(
            name,
            fields.text("vendor"),
            fields.text("family"),
            **numbers,
            available_from=fields.value("available_from"),
            hbm_gb_per_s=fields.optional_number("hbm_gb_per_s"),
            fp8_dense_tflops=fields.optional_number("fp8_dense_tflops"),
            fp4_dense_tflops=fields.optional_number("fp4_dense_tflops"),
            scale_up_gb_per_s=fields.optional_number("scale_up_gb_per_s"),
            replica_chips=None if replica_chips is None else tuple(replica_chips),
            slice_chips=fields.optional("slice_chips"),
            architecture=fields.optional("architecture"),
            serving_stack=fields.optional("serving_stack"),
        )
        idle, load = numbers["idle_power_kw_per_chip"], numbers["load_power_kw_per_chip"]
        if load.value < idle.value:
            field = "load_power_kw_per_chip" if written.load_power_kw_per_chip is not None else "idle_power_kw_per_chip"
            raise source.error(
                ("chips", name, field),
                f"load power {load.value:g} kW is below idle power {idle.value:g} kW",
                "write a load power of at least the idle power",
            )
    return chips


def resolve_models(source: Source) -> dict[str, ModelClass]:
    """Raises CaseError: a model the catalog does not have, or without weight_gb, or whose fields contradict each other."""
    models: dict[str, ModelClass] = {}
    for name, written in source.file.models.items():
        row = source.catalog.models.get(name)
        fields = _Fields(source, ("models", name), "models.yaml", written, row, source.catalog.models)
        fields.check(model_conflict)
        architecture = {field: fields.optional_number(field) for field in ModelArchitecture.model_fields}
        models[name] = ModelClass(name, fields.number("weight_gb"), **architecture)
    return models


class _Fields:
    """Reads one field at a time: from the case if it is written there, else from the catalog row."""

    def __init__(self, source: Source, here: Location, table: str, written: Any, row: Any, known: Mapping[str, Any]) -> None:
        self.source, self.here, self.written, self.row = source, here, written, row
        if row is None and _needs_catalog(written):
            kind = str(here[0])
            remedy = did_you_mean(str(here[1]), known) if known else "give all its fields here"
            problem = f"is not in the catalog's {kind}{source.catalog.missing_file(table)}, and not all its fields are given here"
            raise source.error(here, problem, remedy)

    def check(self, conflict_of: Callable[[Mapping[str, Any]], Conflict | None]) -> None:
        """Raises CaseError where the fields of the case contradict those of the catalog row."""
        conflict = conflict_of({field: self.optional(field) for field in type(self.written).model_fields})
        if conflict is not None:
            field, problem, remedy = conflict
            raise self.source.error((*self.here, field), problem, remedy)

    def optional(self, field: str) -> Any:
        written = getattr(self.written, field)
        return written if written is not None else getattr(self.row, field, None)

    def optional_number(self, field: str) -> Quantity | None:
        return None if self.optional(field) is None else self.number(field)

    def value(self, field: str) -> Any:
        value = self.optional(field)
        if value is None:
            raise self.source.error((*self.here, field), "is blank in the catalog (not published)", "write it here")
        return value

    def text(self, field: str) -> str:
        return self.value(field)

    def number(self, field: str) -> Quantity:
        value = self.value(field)
        if getattr(self.written, field) is not None:
            return quantity(value, (*self.here, field))
        return quantity(value, ("catalog", *self.here, field), self.row.is_assumed(field))


def _needs_catalog(written: Any) -> bool:
    return any(getattr(written, name) is None for name in type(written).model_fields if name not in _OPTIONAL_FIELDS)


def resolve_throughput(source: Source) -> tuple[Throughput, ...]:
    """The case's rows, then the catalog's rows for chips and models of the case and for keys that the case has no row for."""
    rows: list[Throughput] = []
    for name, written in source.file.throughput.items():
        here = ("throughput", name)
        if isinstance(written, ServingThroughput):
            rate = quantity(written.output_tokens_per_second_per_chip, (*here, "output_tokens_per_second_per_chip"), written.assumed)
            ttft = optional_quantity(written.ttft_p99_ms, (*here, "ttft_p99_ms"), written.assumed)
            tpot = optional_quantity(written.tpot_p99_ms, (*here, "tpot_p99_ms"), written.assumed)
            shape = (written.input_tokens, written.output_tokens)
            rows.append(Throughput(written.chip, written.model, "serving", *shape, rate, ttft, tpot, measured=not written.assumed))
        else:
            rate = quantity(written.training_tflops_per_chip, (*here, "training_tflops_per_chip"), written.assumed)
            rows.append(Throughput(written.chip, written.model, "training", None, None, rate, None, None))
    set_aside = {_throughput_key(row) for row in rows}
    for row in source.catalog.throughput:
        if row.chip in source.file.chips and row.model in source.file.models and _throughput_key(row) not in set_aside:
            rows.append(row)
    return tuple(rows)


def _throughput_key(row: Throughput) -> tuple[str, str, str, float | None, float | None]:
    return row.chip, row.model, row.task, row.input_tokens, row.output_tokens


def resolve_rtt(source: Source, places: Mapping[str, Place]) -> dict[tuple[str, str], Quantity]:
    """Round-trip times in ms that are known between locations of origins and of places, both orders; 1 ms to itself by default."""
    network = source.catalog.network
    locations = [place.network_location for place in places.values()]
    found: dict[tuple[str, str], Quantity] = {}
    for origin in (written.network_location for written in source.file.origins.values()):
        for location in locations:
            for pair, turned in (((origin, location), (location, origin)), ((location, origin), (origin, location))):
                row = network.get(pair) or network.get(turned)
                if row is None and origin == location:
                    row = Quantity(LOCAL_RTT_MS, f"catalog.network.{origin}.{origin}.rtt_ms")
                if row is not None:
                    found[pair] = row
    return found
