"""Chips and model classes as a catalog alone gives them, for questions that have no case file."""

from __future__ import annotations

from typing import Any

from .case_error import CaseError, did_you_mean
from .catalog import Catalog
from .quantities import quantity
from .resolved import Chip, ModelClass, Quantity
from .schema_architecture import ModelArchitecture


def catalog_chip(catalog: Catalog, name: str) -> Chip:
    """Raises CaseError: a chip that the catalog does not have, a field that every chip needs and that is blank."""
    entry = _Entry(catalog, "chips", name)
    row = entry.row
    return Chip(
        name,
        row.vendor,
        row.family,
        bf16_dense_tflops=entry.number("bf16_dense_tflops"),
        hbm_gb=entry.number("hbm_gb"),
        scale_up_chips=entry.number("scale_up_chips"),
        provisioned_power_kw_per_chip=entry.number("provisioned_power_kw_per_chip"),
        idle_power_kw_per_chip=entry.number("idle_power_kw_per_chip"),
        load_power_kw_per_chip=entry.number("load_power_kw_per_chip"),
        available_from=entry.value("available_from"),
        hbm_gb_per_s=entry.optional_number("hbm_gb_per_s"),
        fp8_dense_tflops=entry.optional_number("fp8_dense_tflops"),
        fp4_dense_tflops=entry.optional_number("fp4_dense_tflops"),
        scale_up_gb_per_s=entry.optional_number("scale_up_gb_per_s"),
        replica_chips=None if row.replica_chips is None else tuple(row.replica_chips),
        slice_chips=row.slice_chips,
        architecture=row.architecture,
        serving_stack=row.serving_stack,
    )


def catalog_model(catalog: Catalog, name: str) -> ModelClass:
    """Raises CaseError: a model that the catalog does not have, or without weight_gb."""
    entry = _Entry(catalog, "models", name)
    return ModelClass(name, entry.number("weight_gb"), **{field: entry.optional_number(field) for field in ModelArchitecture.model_fields})


class _Entry:
    """One row of chips.yaml or models.yaml."""

    def __init__(self, catalog: Catalog, table: str, name: str) -> None:
        self.table, self.name, self.file = table, name, catalog.folder / f"{table}.yaml"
        rows = getattr(catalog, table)
        if name not in rows:
            problem = f"is not in the catalog{catalog.missing_file(self.file.name)}"
            raise CaseError(self.file, f"{table}.{name}", problem, did_you_mean(name, rows))
        self.row = rows[name]

    def value(self, field: str) -> Any:
        value = getattr(self.row, field)
        if value is None:
            raise CaseError(self.file, f"{self.table}.{self.name}.{field}", "is blank (not published)", "write it there")
        return value

    def number(self, field: str) -> Quantity:
        return quantity(self.value(field), ("catalog", self.table, self.name, field), self.row.is_assumed(field))

    def optional_number(self, field: str) -> Quantity | None:
        return None if getattr(self.row, field) is None else self.number(field)
