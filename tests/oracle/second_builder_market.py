"""Second builder, part two: chips, places, offers, the existing fleet, streams, and which pool may serve which stream."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any

from scipy.optimize import minimize_scalar

from tests.oracle import second_builder_reading as reading
from tests.oracle.second_builder_reading import Calendar, CaseError, Map, number, to_date

CHIP_NUMBERS = (
    "bf16_dense_tflops",
    "hbm_gb",
    "scale_up_chips",
    "provisioned_power_kw_per_chip",
    "idle_power_kw_per_chip",
    "load_power_kw_per_chip",
)
FIELDS_OF_SIGNED = {"lead_time_months", "deliveries", "lot_chips", "take", "available_chips_total"}
FIELDS_OF_CONTRACT = {"price_usd_per_chip_hour", "price_usd_per_chip_year", "upfront_share", "breaks"} | FIELDS_OF_SIGNED
FIELDS_OF_KIND = {
    "own": {"price_usd_per_chip", "opex_usd_per_chip_year", "life_months"} | FIELDS_OF_SIGNED,
    "lease": {"term_months"} | FIELDS_OF_CONTRACT,
    "reserved_1y": FIELDS_OF_CONTRACT,
    "reserved_3y": FIELDS_OF_CONTRACT,
    "on_demand": {"price_usd_per_chip_hour", "price_usd_per_chip_year"},
    "spot": {"price_usd_per_chip_hour", "price_usd_per_chip_year", "interruptions"},
}
FIELDS_OF_ALL = {
    "kind",
    "chip",
    "chips",
    "place",
    "places",
    "price_growth_per_year",
    "window",
    "available_chips",
    "usable_share",
    "assumed",
}
KINDS_OF_CLASS = {"own": {"own"}, "lease": {"lease"}, "reserved": {"reserved_1y", "reserved_3y"}}
RENT_KINDS = ("on_demand", "spot")


@dataclass
class Chip:
    """A chip after the case's overrides."""

    name: str
    family: str
    available_from: dt.date
    values: dict[str, float]


@dataclass
class Place:
    """A cloud region or an own site."""

    name: str
    is_site: bool
    provider: str
    zone: str
    location: str
    pue: float = 1.0
    power_mw: Any = None
    electricity: Any = None


@dataclass
class Offer:
    """One offer of one chip at one place."""

    name: str
    kind: str
    chip: Chip
    place: Place
    price: Any  # Path of the price per chip (own) or per chip-hour or per chip-year
    price_divisor: float  # 8766 for a price per year
    fields: Map

    @property
    def pool(self) -> tuple[str, str, str]:
        """(chip, place, firm or preemptible)."""
        return (self.chip.name, self.place.name, "preemptible" if self.kind == "spot" else "firm")

    @property
    def usable_share(self) -> float:
        """Usable chip-hours per paid chip-hour."""
        return number(self.fields.get("usable_share", 1))

    def price_signing(self, calendar: Calendar, t: int) -> float:
        """Price on the first day of period t, before the scenario's multiplier."""
        growth = (1.0 + number(self.fields.get("price_growth_per_year", 0))) ** calendar.start_years(t)
        return reading.path_signing(self.price, calendar, t) / self.price_divisor * growth

    def price_middle(self, calendar: Calendar, t: int) -> float:
        """Price at the middle of period t, before the scenario's multiplier."""
        growth = (1.0 + number(self.fields.get("price_growth_per_year", 0))) ** calendar.middle_years(t)
        return reading.path_middle(self.price, calendar, t) / self.price_divisor * growth

    def deliveries(self) -> list[tuple[int, float]]:
        """(months after signing, share of the count) of every delivery."""
        if "deliveries" not in self.fields:
            return [(int(self.fields.get("lead_time_months", 0)), 1.0)]
        return [(int(entry["months"]), number(entry["share"])) for entry in self.fields["deliveries"]]

    def window(self) -> tuple[dt.date | None, dt.date | None]:
        """First and last date of the window, both inclusive."""
        window = self.fields.get("window", {})
        begin = to_date(window["from"]) if "from" in window else None
        until = to_date(window["until"]) if "until" in window else None
        return begin, until


@dataclass
class Fleet:
    """One entry of the existing fleet."""

    name: str
    fleet_class: str
    chip: Chip
    place: Place
    count: float
    start: dt.date | None
    end: dt.date
    opex_per_year: float
    price_per_hour: float
    usable_share: float

    @property
    def pool(self) -> tuple[str, str, str]:
        """(chip, place, firm)."""
        return (self.chip.name, self.place.name, "firm")


@dataclass
class Stream:
    """A workload from one origin (or from nowhere in particular)."""

    name: str
    workload_name: str
    workload: Map
    kind: str
    share: float
    origin_location: str | None
    movable: bool
    level: str
    profile_mean: dict[str, float]
    run: Map | None = None  # one run of a training workload, with a window
    rate: dict[tuple[str, str, str], float] = field(default_factory=dict)  # pool -> progress per chip, in the throughput row's unit


def read_chips(case: Map, catalog: Map) -> dict[str, Chip]:
    """The chips of the case."""
    chips = {}
    for name, override in case.get("chips", {}).items():
        row = {**catalog["chips"].get(name, {}), **override}
        values = {key: number(row[key]) for key in CHIP_NUMBERS}
        chips[name] = Chip(name, row["family"], to_date(row["available_from"]), values)
    return chips


def read_places(case: Map, catalog: Map) -> dict[str, Place]:
    """Regions and sites."""
    places = {}
    for name, override in case.get("regions", {}).items():
        row = {**catalog["regions"].get(name, {}), **override}
        places[name] = Place(name, False, row["provider"], row["residency_zone"], row["network_location"])
    for name, site in case.get("sites", {}).items():
        if name in places:
            raise CaseError(f"{name} is both a region and a site")
        electricity = site["electricity_usd_per_mwh"]
        if isinstance(electricity, dict) and "catalog" in electricity:
            if len(electricity) != 1:
                raise CaseError(f"{name}: a catalog row and a path at once")
            electricity = reading.catalog_electricity(catalog, electricity["catalog"])
        places[name] = Place(
            name,
            True,
            site.get("provider", "own"),
            site["residency_zone"],
            site["network_location"],
            number(site["pue"]),
            site["power_mw"],
            electricity,
        )
    return places


def read_offers(case: Map, catalog: Map, chips: dict[str, Chip], places: dict[str, Place]) -> list[Offer]:
    """The offers, one per (chip, place)."""
    offers = []
    rented: set[tuple[str, str, str]] = set()
    for name, fields in case.get("offers", {}).items():
        kind = fields["kind"]
        refused = set(fields) - FIELDS_OF_ALL - FIELDS_OF_KIND[kind]
        if refused:
            raise CaseError(f"{name}: {sorted(refused)} do not belong to kind {kind}")
        several = "chips" in fields or "places" in fields
        for chip_name in fields.get("chips", [fields.get("chip")]):
            for place_name in fields.get("places", [fields.get("place")]):
                chip = chips[chip_name]
                place = places[place_name]
                if place.is_site != (kind == "own"):
                    raise CaseError(f"{name}: kind {kind} does not stand at {place_name}")
                divisor = 1.0
                if kind == "own":
                    column = "price_usd_per_chip"
                elif "price_usd_per_chip_year" in fields:
                    column = "price_usd_per_chip_year"
                    divisor = 8766.0
                else:
                    column = "price_usd_per_chip_hour"
                price = fields[column]
                if price == "catalog":
                    price = reading.catalog_price(catalog, chip_name, "any" if kind == "own" else place_name, kind, column)
                offer = Offer(f"{name}/{chip_name}/{place_name}" if several else name, kind, chip, place, price, divisor, fields)
                if kind in RENT_KINDS:
                    if offer.pool in rented:
                        raise CaseError(f"{name}: a second {kind} offer of pool {offer.pool}")
                    rented.add(offer.pool)
                offers.append(offer)
    return offers


def read_existing(case: Map, chips: dict[str, Chip], places: dict[str, Place]) -> list[Fleet]:
    """The existing fleet."""
    fleet = []
    for name, entry in case.get("existing", {}).items():
        fleet_class = entry["class"]
        place = places[entry["place"]]
        if place.is_site != (fleet_class == "own"):
            raise CaseError(f"{name}: class {fleet_class} does not stand at {place.name}")
        fleet.append(
            Fleet(
                name,
                fleet_class,
                chips[entry["chip"]],
                place,
                number(entry["count_chips"]),
                to_date(entry["start"]) if "start" in entry else None,
                to_date(entry["end"]),
                number(entry.get("opex_usd_per_chip_year", 0)) if fleet_class == "own" else 0.0,
                0.0 if fleet_class == "own" else number(entry["price_usd_per_chip_hour"]),
                number(entry.get("usable_share", 1)),
            )
        )
    return fleet


def read_streams(case: Map, blocks: dict[str, list[tuple[int, int]]]) -> list[Stream]:
    """The streams: workload x origin."""
    profiles = case.get("profiles", {})
    streams = []
    for name, workload in case["workloads"].items():
        kind = workload["kind"]
        movable = bool(workload.get("movable", True)) and kind != "serving"
        level = workload.get("level", "mid")
        shares = workload.get("origins")
        if kind == "training" and shares:
            raise CaseError(f"{name}: training has no origins")
        if ("runs" in workload) == ("exaflop_per_period" in workload) and kind == "training":
            raise CaseError(f"{name}: training has either exaflop_per_period or runs")
        for run_name, run in workload.get("runs", {}).items():
            if kind != "training" or level != "mid" or not movable:
                raise CaseError(f"{name}: runs belong to movable training without a level")
            flat = {block: 1.0 for block in blocks}
            streams.append(Stream(f"{name}/{run_name}", name, workload, kind, 1.0, None, True, level, flat, run))
        if "runs" in workload:
            continue
        if kind == "serving" and not shares:
            raise CaseError(f"{name}: serving needs origins")
        if not shares:
            flat = {block: 1.0 for block in blocks}
            streams.append(Stream(name, name, workload, kind, 1.0, None, movable, level, flat))
            continue
        if abs(sum(number(share) for share in shares.values()) - 1.0) > 1e-9:
            raise CaseError(f"{name}: the origins' shares do not sum to 1")
        for origin_name, share in shares.items():
            origin = case["origins"][origin_name]
            profile = profiles[origin["profile"]] if "profile" in origin else None
            means = {block: reading.profile_mean(profile, int(origin["utc_offset_hours"]), cells) for block, cells in blocks.items()}
            stream_name = f"{name}/{origin_name}"
            streams.append(Stream(stream_name, name, workload, kind, number(share), origin["network_location"], movable, level, means))
    return streams


def throughput_rows(case: Map, catalog: Map, chip: str, workload: Map) -> list[Map]:
    """The rows for (chip, model, task, shape); the case's own set the catalog's aside."""

    def matches(row: Map) -> bool:
        if row["chip"] != chip or row["model"] != workload["model"]:
            return False
        if workload["kind"] == "training":
            return row["task"] == "training"
        return (
            row["task"] == "serving"
            and number(row["input_tokens"]) == number(workload["input_tokens"])
            and number(row["output_tokens"]) == number(workload["output_tokens"])
        )

    own = [row for row in case.get("throughput", {}).values() if matches(row)]
    if own:
        return own
    return [row for row in catalog["throughput"] if matches(row)]


def figure(row: Map, key: str) -> float | None:
    """A figure of a throughput row, or None when the row does not have it."""
    value = row.get(key)
    return None if value is None or value == "" else number(value)


def rate_of(
    case: Map, catalog: Map, stream: Stream, pool: tuple[str, str, str], chips: dict[str, Chip], places: dict[str, Place]
) -> float | None:
    """Throughput times goodput of a stream on a pool by the best operating point that qualifies, or None when the pool may not serve it."""
    workload = stream.workload
    chip = chips[pool[0]]
    place = places[pool[1]]
    if "allowed_chips" in workload and chip.name not in workload["allowed_chips"]:
        return None
    if "allowed_families" in workload and chip.family not in workload["allowed_families"]:
        return None
    if "allowed_providers" in workload and place.provider not in workload["allowed_providers"]:
        return None
    if "allowed_places" in workload and place.name not in workload["allowed_places"]:
        return None
    if "allowed_residency_zones" in workload and place.zone not in workload["allowed_residency_zones"]:
        return None
    if pool[2] == "preemptible" and not workload.get("preemptible", False):
        return None
    if stream.kind != "training":
        model = {**catalog["models"].get(workload["model"], {}), **case["models"][workload["model"]]}
        if number(model["weight_gb"]) > chip.values["hbm_gb"] * chip.values["scale_up_chips"]:
            return None
    best: float | None = None
    best_tpot: float | None = None
    for row in throughput_rows(case, catalog, chip.name, workload):
        if stream.kind == "training":
            rate = figure(row, "training_tflops_per_chip")
        else:
            rate = figure(row, "output_tokens_per_second_per_chip")
        if rate is None:
            continue
        tpot = figure(row, "tpot_p99_ms")
        if stream.kind == "serving" and "ttft_p99_ms" in workload:
            ttft = figure(row, "ttft_p99_ms")
            if ttft is None or stream.origin_location is None:
                continue
            trips = number(workload.get("round_trips_per_request", 1))
            rtt = reading.catalog_rtt(catalog, stream.origin_location, place.location)
            if trips * rtt + ttft > number(workload["ttft_p99_ms"]):
                continue
        if stream.kind == "serving" and "tpot_p99_ms" in workload:
            if tpot is None or tpot > number(workload["tpot_p99_ms"]):
                continue
        if best is None or rate > best:
            best, best_tpot = rate, tpot
    if best is None or pool[2] == "firm":
        return best
    return best * pool_goodput(case, stream, pool, best_tpot)


def pool_goodput(case: Map, stream: Stream, pool: tuple[str, str, str], tpot_p99_ms: float | None) -> float:
    """The share of the paid time on a preemptible pool that is progress; its one spot offer says what interrupts it."""
    for fields in case["offers"].values():
        here = pool[0] in fields.get("chips", [fields.get("chip")]) and pool[1] in fields.get("places", [fields.get("place")])
        if fields["kind"] == "spot" and here and "interruptions" in fields:
            share = goodput(stream, fields["interruptions"], tpot_p99_ms)
            if share < 0.001:
                raise CaseError(f"{stream.name}: goodput {share} on {pool}")
            return share
    return 1.0


def goodput(stream: Stream, interruptions: Map, tpot_p99_ms: float | None) -> float:
    """Goodput by the formulas of the reference page, in minutes; the best interval by a search."""
    r = number(interruptions["per_hour"]) / 60.0
    restore = number(interruptions["restore_minutes"])
    if r == 0.0:
        return 1.0
    if stream.kind != "training":
        residence = number(stream.workload["output_tokens"]) * (tpot_p99_ms or 0.0) / 60000.0
        return math.exp(-r * residence) / (1.0 + r * restore)
    checkpoint = number(interruptions.get("checkpoint_minutes", 1))

    def progress(interval: float) -> float:
        """Share with a checkpoint after every `interval` minutes of work."""
        return r * interval * math.exp(-r * restore) / math.expm1(r * (interval + checkpoint))

    if "checkpoint_interval_minutes" in interruptions:
        return progress(number(interruptions["checkpoint_interval_minutes"]))
    # Young's interval sqrt(2 c / r) is never below the best one
    young = math.log(math.sqrt(2.0 * checkpoint / r))
    search = {"bounds": (young - 7.0, young), "method": "bounded", "options": {"xatol": 1.0e-9}}
    return progress(math.exp(minimize_scalar(lambda log: -progress(math.exp(log)), **search).x))


def chips_per_unit(stream: Stream, rate: float) -> float:
    """Chips per unit of work: per request/s (serving), per request/hour (batch), per exaFLOP/hour (training)."""
    if stream.kind == "serving":
        return number(stream.workload["output_tokens"]) / rate
    if stream.kind == "batch":
        return number(stream.workload["output_tokens"]) / (3600.0 * rate)
    return 1.0e6 / (3600.0 * rate)


def selected(selector: Map, kinds: set[str], chip: Chip, place: Place) -> bool:
    """All the selectors that are given hold."""
    if "kinds" in selector and not kinds & set(selector["kinds"]):
        return False
    if "chips" in selector and chip.name not in selector["chips"]:
        return False
    if "families" in selector and chip.family not in selector["families"]:
        return False
    if "places" in selector and place.name not in selector["places"]:
        return False
    return not ("providers" in selector and place.provider not in selector["providers"])
