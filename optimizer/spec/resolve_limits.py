"""Limits and scenarios."""

from __future__ import annotations

from .case_error import Location
from .quantities import Source, optional_quantity, quantity
from .resolved import CapexLimit, DemandMultiplier, PriceMultiplier, Quantity, Scenario, Selector, ShareLimit, SupplyLimit
from .schema_limits import ScenarioCase
from .schema_limits import Selector as WrittenSelector

SELECTOR_FIELDS = ("kinds", "chips", "families", "places", "providers")


def resolve_supply(source: Source) -> tuple[SupplyLimit, ...]:
    return tuple(
        SupplyLimit(name, selector(written), source.path(written.max_chips, ("limits", "supply", name, "max_chips")))
        for name, written in source.file.limits.supply.items()
    )


def resolve_capex(source: Source) -> tuple[CapexLimit, ...]:
    return tuple(
        CapexLimit(name, selector(written), source.path(written.max_usd, ("limits", "capex", name, "max_usd")))
        for name, written in source.file.limits.capex.items()
    )


def resolve_share(source: Source) -> tuple[ShareLimit, ...]:
    limits: list[ShareLimit] = []
    for name, written in source.file.limits.share.items():
        here = ("limits", "share", name)
        limits.append(
            ShareLimit(
                name=name,
                selector=selector(written),
                minimum=source.optional_path(written.min, (*here, "min")),
                maximum=source.optional_path(written.max, (*here, "max")),
                of=written.of,
                basis=written.basis,
                excess_usd_per_unit=optional_quantity(written.excess_usd_per_unit, (*here, "excess_usd_per_unit")),
            )
        )
    return tuple(limits)


def resolve_scenarios(source: Source) -> tuple[Scenario, ...]:
    """Scenarios in the order of the file; without any, `base` with probability 1."""
    here: Location = ("scenarios", "cases")
    if source.file.scenarios is None:
        return (Scenario("base", Quantity(1.0, "scenarios.cases.base.probability")),)
    return tuple(_scenario(source, name, written, (*here, name)) for name, written in source.file.scenarios.cases.items())


def _scenario(source: Source, name: str, written: ScenarioCase, here: Location) -> Scenario:
    demand = tuple(
        DemandMultiplier(
            tuple(multiplier.workloads) if multiplier.workloads is not None else None,
            source.path(multiplier.path, (*here, "demand", label, "path")),
        )
        for label, multiplier in written.demand.items()
    )
    prices = tuple(
        PriceMultiplier(selector(multiplier), source.path(multiplier.path, (*here, "prices", label, "path")))
        for label, multiplier in written.prices.items()
    )
    return Scenario(name, quantity(written.probability, (*here, "probability")), demand, prices)


def selector(written: WrittenSelector) -> Selector:
    given = {field: getattr(written, field) for field in SELECTOR_FIELDS}
    return Selector(**{field: tuple(names) for field, names in given.items() if names is not None})
