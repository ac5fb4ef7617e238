"""Every chip, place, model, profile, origin and workload that the case names must exist: in the case itself, or, where a list only
permits or selects, in the catalog. (Families, providers and residency zones are free words: `case_warnings` looks at them.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .case_error import Location, did_you_mean
from .quantities import Source
from .resolved import Chip, Place
from .schema_limits import Selector
from .schema_offers import ExistingOwn
from .schema_workloads import Training


def check_names(source: Source, places: Mapping[str, Place], chips: Mapping[str, Chip]) -> None:
    """Raises CaseError for the first unknown name, and for an offer or a fleet that stands where its kind may not stand."""
    checker = _Names(source, places, chips)
    checker.origins()
    checker.throughput()
    checker.offers()
    checker.existing()
    checker.workloads()
    checker.limits()
    checker.scenarios()


class _Names:
    def __init__(self, source: Source, places: Mapping[str, Place], chips: Mapping[str, Chip]) -> None:
        self.source, self.file, self.places, self.chips = source, source.file, places, chips

    def known(self, name: str, among: Iterable[str], section: str, location: Location) -> None:
        names = list(among)
        if name in names:
            return
        # what the catalog has is only forgotten in the case; a near name in the case is the likelier wish
        table = {"chips": "chips", "models": "models", "regions or sites": "regions"}.get(section)
        if table and name in getattr(self.source.catalog, table):
            raise self.source.error(location, f"`{name}` is not listed in {section}", f"add `{name}: {{}}` to `{table}`")
        remedy = did_you_mean(name, names) if names else f"define it in {section}"
        raise self.source.error(location, f"`{name}` is not listed in {section}", remedy)

    def one_or_many(self, written: object, one: str, many: str, among: Iterable[str], section: str, here: Location) -> list[str]:
        names = list(among)
        several = getattr(written, many)
        if several is None:
            single = getattr(written, one)
            self.known(single, names, section, (*here, one))
            return [single]
        for position, name in enumerate(several):
            self.known(name, names, section, (*here, many, position))
        return several

    def origins(self) -> None:
        for name, origin in self.file.origins.items():
            if origin.profile is not None:
                self.known(origin.profile, self.file.profiles, "profiles", ("origins", name, "profile"))

    def throughput(self) -> None:
        for name, row in self.file.throughput.items():
            self.known(row.chip, self.file.chips, "chips", ("throughput", name, "chip"))
            self.known(row.model, self.file.models, "models", ("throughput", name, "model"))

    def offers(self) -> None:
        for name, offer in self.file.offers.items():
            here = ("offers", name)
            self.one_or_many(offer, "chip", "chips", self.file.chips, "chips", here)
            places = self.one_or_many(offer, "place", "places", self.places, "regions or sites", here)
            for position, place in enumerate(places):
                location = (*here, "place") if offer.places is None else (*here, "places", position)
                self.stands(place, offer.kind == "own", f"an offer of kind {offer.kind}", location)

    def existing(self) -> None:
        for name, fleet in self.file.existing.items():
            here = ("existing", name)
            self.known(fleet.chip, self.file.chips, "chips", (*here, "chip"))
            self.known(fleet.place, self.places, "regions or sites", (*here, "place"))
            self.stands(fleet.place, isinstance(fleet, ExistingOwn), f"a fleet of class {fleet.class_}", (*here, "place"))

    def stands(self, place: str, own: bool, what: str, location: Location) -> None:
        """Own chips stand on sites, all others in regions."""
        if self.places[place].is_site == own:
            return
        right, wrong = ("site", "cloud region") if own else ("cloud region", "site")
        names = [name for name, other in self.places.items() if other.is_site == own]
        remedy = f"use a {right}: {', '.join(names[:12])}" if names else f"define a {right} for it"
        raise self.source.error(location, f"{what} cannot stand in `{place}`, which is a {wrong}", remedy)

    def workloads(self) -> None:
        for name, workload in self.file.workloads.items():
            here = ("workloads", name)
            self.known(workload.model, self.file.models, "models", (*here, "model"))
            for origin in {} if isinstance(workload, Training) else workload.origins or {}:
                self.known(origin, self.file.origins, "origins", (*here, "origins", origin))
            for field in ("chips", "places"):
                self.permitted(field, getattr(workload, f"allowed_{field}"), (*here, f"allowed_{field}"))

    def limits(self) -> None:
        for kind in ("supply", "capex", "share"):
            for name, limit in getattr(self.file.limits, kind).items():
                self.selector(limit, ("limits", kind, name))

    def scenarios(self) -> None:
        for name, case in (self.file.scenarios.cases if self.file.scenarios else {}).items():
            here = ("scenarios", "cases", name)
            for label, demand in case.demand.items():
                for position, workload in enumerate(demand.workloads or ()):
                    self.known(workload, self.file.workloads, "workloads", (*here, "demand", label, "workloads", position))
            for label, prices in case.prices.items():
                self.selector(prices, (*here, "prices", label))

    def selector(self, selector: Selector, here: Location) -> None:
        for field in ("chips", "places"):
            self.permitted(field, getattr(selector, field), (*here, field))

    def permitted(self, field: str, names: list[str] | None, location: Location) -> None:
        """A list that permits or selects may hold what this case happens not to use, if the catalog knows it."""
        if names is None:
            return
        used = list(self.file.chips if field == "chips" else self.places)
        for position, name in enumerate(names):
            if name not in used and name not in (self.source.catalog.chips if field == "chips" else self.source.catalog.regions):
                self.known(name, used, "chips" if field == "chips" else "regions or sites", (*location, position))
