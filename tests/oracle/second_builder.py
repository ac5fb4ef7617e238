"""Second builder: an independent reading of docs/case_reference.md, from the YAML file to a sparse LP solved by HiGHS.

It is the oracle of the product's builder, so it shares no code with it: dictionaries, named variables, plain loops.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from tests.oracle import second_builder_market as market
from tests.oracle import second_builder_reading as reading
from tests.oracle.second_builder_market import RENT_KINDS, Chip, Fleet, Offer, Place, Stream, selected
from tests.oracle.second_builder_reading import Calendar, CaseError, Map, number

Node = tuple[int, str | None]  # (period, scenario of the branch or None while it is shared)
Pool = tuple[str, str, str]
CATEGORIES = (
    "purchase",
    "operations",
    "energy",
    "lease",
    "reserved",
    "break_fee",
    "on_demand",
    "spot",
    "existing",
    "unserved",
    "share_excess",
    "end_value",
)


@dataclass
class SecondResult:
    """What the second builder found. Costs are probability-weighted present values."""

    objective: float
    status: str  # optimal | infeasible | other
    cost_by_category: dict[str, float]
    columns: int
    rows: int
    nonzeros: int
    variables: dict[str, float]
    dual_objective: float  # from the multipliers of HiGHS: equal to the objective when the optimum is exact
    on_derived_bound: list[str]  # acquisitions whose optimum lies on a derived upper bound
    upper: dict[str, float]  # upper bounds of the acquisitions
    row_activity: dict[str, float]  # left-hand side minus right-hand side of the <= rows, by name


@dataclass
class Program:
    """A linear program under construction: named columns and rows."""

    names: list[str] = field(default_factory=list)
    column: dict[str, int] = field(default_factory=dict)
    upper: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)  # the cost of a column by category
    equal: list[tuple[str, dict[str, float], float]] = field(default_factory=list)
    at_most: list[tuple[str, dict[str, float], float]] = field(default_factory=list)
    constant: dict[str, float] = field(default_factory=dict)
    violated: list[str] = field(default_factory=list)

    def add_column(self, name: str, upper: float, parts: dict[str, float], lower: float = 0.0) -> None:
        """A column."""
        if name in self.column:
            raise CaseError(f"column {name} twice")
        self.column[name] = len(self.names)
        self.names.append(name)
        self.upper.append(upper)
        self.lower.append(lower)
        self.parts.append(parts)
        self.cost.append(sum(parts.values()))

    def add_limit(self, name: str, terms: dict[str, float], right: float) -> None:
        """A row terms <= right; one without any column is checked as a constant and dropped."""
        if terms:
            self.at_most.append((name, terms, right))
        elif right < -1e-9 * max(1.0, abs(right)):
            self.violated.append(name)


@dataclass
class Acquisition:
    """One offer signed at one decision node, or what is handed back of it at one break (all of its chips and dollars then have the other
    sign)."""

    name: str
    offer: Offer
    node: Node
    counted: dict[int, float]  # period -> chips of capacity per chip signed
    present: dict[int, float]  # period -> chips that stand at any time of it
    delivered: dict[int, float]  # period -> chips that are delivered in it
    price: float  # nominal: expected over the scenarios that share the node
    derived: bool
    upper: float
    cash: list[float]  # nominal cash of each period: purchase, operations, lease, reserved, upfront, fees
    handed_back: bool = False


class Builder:
    """All of the case's names in one place; each method adds one paragraph of the reference page."""

    def __init__(self, path: Path) -> None:
        self.case: Map = reading.read_case(path)
        self.catalog: Map = reading.read_catalog(Path(self.case["catalog"]))
        self.calendar = Calendar(self.case["horizon"])
        self.rate = number(self.case["discount_rate_per_year"])
        self.blocks = reading.read_blocks(self.case["load_blocks"])
        self.chips: dict[str, Chip] = market.read_chips(self.case, self.catalog)
        self.places: dict[str, Place] = market.read_places(self.case, self.catalog)
        self.offers: list[Offer] = market.read_offers(self.case, self.catalog, self.chips, self.places)
        self.fleet: list[Fleet] = market.read_existing(self.case, self.chips, self.places)
        self.streams: list[Stream] = market.read_streams(self.case, self.blocks)
        self.limits: Map = self.case.get("limits", {})
        self.program = Program()
        self.acquisitions: list[Acquisition] = []
        self.run_terms: dict[tuple[str, str], dict[str, float]] = {}  # (scenario, stream): hours of every placement of a run
        self.read_scenarios()
        self.read_pools()

    # -- structure ------------------------------------------------------------------------------------------------------

    def read_scenarios(self) -> None:
        """Scenarios, the period of the reveal, and the decision nodes."""
        spec = self.case.get("scenarios")
        self.scenarios: dict[str, Map] = {"base": {"probability": 1.0}} if spec is None else spec["cases"]
        self.probability = {name: number(entry["probability"]) for name, entry in self.scenarios.items()}
        if abs(sum(self.probability.values()) - 1.0) > 1e-9 or min(self.probability.values()) <= 0:
            raise CaseError("the probabilities do not sum to 1")
        periods = self.calendar.count
        self.reveal = periods
        if spec is not None and "reveal" in spec:
            day = reading.to_date(spec["reveal"])
            if day not in self.calendar.first_day[1:periods]:
                raise CaseError("reveal must be the first day of a period after the first")
            self.reveal = self.calendar.first_day.index(day)
        self.nodes: list[Node] = [(t, None) for t in range(self.reveal)]
        for scenario in self.scenarios:
            for t in range(self.reveal, periods):
                self.nodes.append((t, scenario))

    def node_of(self, scenario: str, t: int) -> Node:
        """The decision node on which the recourse node (scenario, t) hangs."""
        return (t, None) if t < self.reveal else (t, scenario)

    def path_to(self, node: Node) -> set[Node]:
        """The decision nodes from the root to this one."""
        t, branch = node
        return {(earlier, None if earlier < self.reveal else branch) for earlier in range(t + 1)}

    def scenarios_through(self, node: Node) -> list[str]:
        """The scenarios that share a decision node."""
        return list(self.scenarios) if node[1] is None else [node[1]]

    def read_pools(self) -> None:
        """Pools, and for every stream the pools that may serve it."""
        pools: list[Pool] = []
        for offer in self.offers:
            if offer.pool not in pools:
                pools.append(offer.pool)
        for entry in self.fleet:
            if entry.pool not in pools:
                pools.append(entry.pool)
        self.pools = pools
        for stream in self.streams:
            for pool in pools:
                rate = market.rate_of(self.case, self.catalog, stream, pool, self.chips, self.places)
                if rate is not None:
                    stream.rate[pool] = rate

    # -- small quantities -----------------------------------------------------------------------------------------------

    def discount(self, years: float) -> float:
        """Present value of one dollar."""
        return (1.0 + self.rate) ** (-years)

    def hours(self, block: str, t: int) -> float:
        """Hours of a block in period t."""
        return len(self.blocks[block]) * self.calendar.days[t] / 7.0

    def electricity(self, place: Place, t: int) -> float:
        """Dollars per MWh at mid-period."""
        return reading.path_middle(place.electricity, self.calendar, t)

    def price_multiplier(self, scenario: str, offer: Offer, t: int, *, signing: bool) -> float:
        """Product of the scenario's price multipliers that select the offer."""
        product = 1.0
        for entry in self.scenarios[scenario].get("prices", {}).values():
            if selected(entry, {offer.kind}, offer.chip, offer.place):
                if signing:
                    product *= reading.path_signing(entry["path"], self.calendar, t)
                else:
                    product *= reading.path_middle(entry["path"], self.calendar, t)
        return product

    def rent_price(self, scenario: str, offer: Offer, t: int) -> float:
        """Dollars per rented chip-hour in period t."""
        return offer.price_middle(self.calendar, t) * self.price_multiplier(scenario, offer, t, signing=False)

    def volume(self, stream: Stream, scenario: str, t: int) -> float:
        """V * share * m of a stream."""
        workload = stream.workload
        key = {"serving": "requests_per_second", "batch": "requests_per_period", "training": "exaflop_per_period"}[stream.kind]
        value = reading.path_level(workload[key], self.calendar, t, stream.level) * stream.share
        for entry in self.scenarios[scenario].get("demand", {}).values():
            if "workloads" not in entry or stream.workload_name in entry["workloads"]:
                value *= reading.path_level(entry["path"], self.calendar, t, stream.level)
        return value

    def block_demand(self, stream: Stream, scenario: str, t: int, block: str) -> float:
        """Demand of a stream that may not move: requests per second, or work per hour."""
        value = self.volume(stream, scenario, t) * stream.profile_mean[block]
        if stream.kind != "serving":
            value /= 24.0 * self.calendar.days[t]
        return value

    def run_periods(self, stream: Stream) -> list[int]:
        """The periods that lie wholly inside the window of a run; both of its days are inclusive."""
        assert stream.run is not None
        begin = reading.to_date(stream.run["from"])
        beyond = reading.to_date(stream.run["until"]) + dt.timedelta(days=1)
        if begin < self.calendar.start or beyond > self.calendar.end or begin + dt.timedelta(days=1) >= beyond:
            raise CaseError(f"{stream.name}: the window leaves the horizon, or is empty")
        found = [t for t in range(self.calendar.count) if self.calendar.holds_whole(t, begin, beyond)]
        if not found:
            raise CaseError(f"{stream.name}: no whole period in the window")
        return found

    def run_work(self, stream: Stream, scenario: str) -> float:
        """ExaFLOP of a run: its amount times the demand multipliers on the first day of its first period."""
        assert stream.run is not None
        first = self.run_periods(stream)[0]
        value = number(stream.run["exaflop"])
        for entry in self.scenarios[scenario].get("demand", {}).values():
            if "workloads" not in entry or stream.workload_name in entry["workloads"]:
                value *= reading.path_signing(entry["path"], self.calendar, first)
        return value

    def need_on(self, pool: Pool, scenario: str, t: int) -> float:
        """Chips of a pool that all eligible demand would need, movable work all in the (first) shortest block; the largest over blocks."""
        shortest = min(self.blocks, key=lambda block: len(self.blocks[block]))
        worst = 0.0
        for block in self.blocks:
            total = 0.0
            for stream in self.streams:
                if pool in stream.rate:
                    per_unit = market.chips_per_unit(stream, stream.rate[pool])
                    if stream.run is not None:
                        if block == shortest and t in self.run_periods(stream):
                            total += per_unit * self.run_work(stream, scenario) / self.hours(block, t)
                    elif stream.movable and block == shortest:
                        total += per_unit * self.volume(stream, scenario, t) / self.hours(block, t)
                    elif not stream.movable:
                        total += per_unit * self.block_demand(stream, scenario, t, block)
            worst = max(worst, total)
        return worst

    # -- columns --------------------------------------------------------------------------------------------------------

    def add_acquisitions(self) -> None:
        """Section 3: offer x decision node."""
        calendar = self.calendar
        for offer in self.offers:
            if offer.kind in RENT_KINDS:
                continue
            begin, until = offer.window()
            fields = offer.fields
            if offer.kind == "own":
                months = int(fields["life_months"])
            elif offer.kind == "lease":
                months = int(fields["term_months"])
            else:
                months = 12 if offer.kind == "reserved_1y" else 36
            for node in self.nodes:
                signing_day = calendar.first_day[node[0]]
                if (begin is not None and signing_day < begin) or (until is not None and signing_day > until):
                    continue
                parts = []
                for months_after, share in offer.deliveries():
                    delivery = reading.add_months(signing_day, months_after)
                    parts.append((share, delivery, reading.add_months(delivery, months)))
                held = any(calendar.holds_whole(t, begins, ends) for t in range(calendar.count) for _, begins, ends in parts)
                if held and all(begins >= offer.chip.available_from for _, begins, _ in parts):
                    self.add_acquisition(offer, node, parts)

    def price_at(self, offer: Offer, node: Node) -> tuple[float, float]:
        """(probability of the node's branch, P of an order signed there)."""
        base = offer.price_signing(self.calendar, node[0])
        if node[1] is not None:
            return self.probability[node[1]], base * self.price_multiplier(node[1], offer, node[0], signing=True)
        price = 0.0
        for scenario in self.scenarios:
            price += self.probability[scenario] * base * self.price_multiplier(scenario, offer, node[0], signing=True)
        return 1.0, price

    def add_acquisition(self, offer: Offer, node: Node, parts: list[tuple[float, dt.date, dt.date]]) -> None:
        """One acquisition: its price, cash flows and upper bound. Each part (share, delivery, end) is a delivery of its own."""
        calendar = self.calendar
        fields = offer.fields
        weight, price = self.price_at(offer, node)
        costs: dict[str, float] = {}
        cash = [0.0] * calendar.count
        counted: dict[int, float] = {}
        present: dict[int, float] = {}
        delivered: dict[int, float] = {}
        for share, delivery, end in parts:
            if delivery >= calendar.end:
                continue
            first = calendar.period_of(delivery)
            delivered[first] = delivered.get(first, 0.0) + share
            for t in range(calendar.count):
                if calendar.holds_whole(t, delivery, end):
                    counted[t] = counted.get(t, 0.0) + share
                if calendar.overlap(t, delivery, end) > 0:
                    present[t] = present.get(t, 0.0) + share
            for category, usd in self.part_costs(offer, share, delivery, end, weight, price, cash).items():
                costs[category] = costs.get(category, 0.0) + usd

        lower = 0.0
        derived = "available_chips" not in fields and "lot_chips" not in fields
        if "lot_chips" in fields:
            take = fields.get("take", "fraction")
            upper = 0.0 if take == "nothing" else number(fields["lot_chips"])
            lower = upper if take == "all" else 0.0
        elif derived:
            need = 0.0
            for t, part in counted.items():
                for scenario in self.scenarios_through(node):
                    need = max(need, self.need_on(offer.pool, scenario, t) / part)
            upper = 2.0 * need / offer.usable_share + 1.0
        else:
            upper = reading.path_signing(fields["available_chips"], calendar, node[0])
        name = f"z[{offer.name}@{node[0]}{'' if node[1] is None else '.' + node[1]}]"
        self.program.add_column(name, upper, costs, lower)
        order = Acquisition(name, offer, node, counted, present, delivered, price, derived, upper, cash)
        self.acquisitions.append(order)
        if "breaks" in fields:
            self.add_breaks(order, parts[0][1], parts[0][2])

    def part_costs(
        self, offer: Offer, share: float, delivery: dt.date, end: dt.date, weight: float, price: float, cash: list[float]
    ) -> dict[str, float]:
        """Weighted present value by category of a share of a chip; adds its nominal dollars to `cash`."""
        calendar = self.calendar
        fields = offer.fields
        first = calendar.period_of(delivery)
        overlap = [share * calendar.overlap(t, delivery, end) for t in range(calendar.count)]
        parts: dict[str, float] = {}
        if offer.kind == "own":
            parts["purchase"] = weight * share * price * self.discount(calendar.start_years(first))
            cash[first] += share * price
            parts["operations"] = 0.0
            parts["energy"] = 0.0
            opex = number(fields.get("opex_usd_per_chip_year", 0))
            idle = offer.chip.values["idle_power_kw_per_chip"]
            for t in range(calendar.count):
                middle = self.discount(calendar.middle_years(t))
                parts["operations"] += weight * opex / 365.25 * overlap[t] * middle
                cash[t] += opex / 365.25 * overlap[t]
                megawatt_hours = idle * offer.place.pue * 24.0 * overlap[t] / 1000.0
                parts["energy"] += weight * megawatt_hours * self.electricity(offer.place, t) * middle
            if self.case.get("end_value", "straight_line") == "straight_line" and end > calendar.end:
                left = (end - calendar.end).days / (end - delivery).days
                parts["end_value"] = -weight * share * price * left * self.discount(calendar.years(calendar.end))
        else:
            category = "lease" if offer.kind == "lease" else "reserved"
            upfront = number(fields.get("upfront_share", 0))
            parts[category] = 0.0
            for t in range(calendar.count):
                running = price * 24.0 * overlap[t] * (1.0 - upfront)
                parts[category] += weight * running * self.discount(calendar.middle_years(t))
                cash[t] += running
            at_once = price * 24.0 * sum(overlap) * upfront
            parts[category] += weight * at_once * self.discount(calendar.start_years(first))
            cash[first] += at_once
        return parts

    def add_breaks(self, order: Acquisition, delivery: dt.date, end: dt.date) -> None:
        """What is handed back at every break: its rent is not paid from then on, a fee is, and it is part of what was signed."""
        calendar, offer = self.calendar, order.offer
        spec = offer.fields["breaks"]
        term = (end.year - delivery.year) * 12 + end.month - delivery.month
        months = list(spec["months"]) if "months" in spec else [m for m in range(1, term) if m % int(spec["every_months"]) == 0]
        upfront = number(offer.fields.get("upfront_share", 0))
        category = "lease" if offer.kind == "lease" else "reserved"
        rows: dict[str, dict[str, float]] = {scenario: {order.name: -1.0} for scenario in self.scenarios_through(order.node)}
        for month in months:
            day = reading.add_months(delivery, int(month))
            if day >= calendar.end:
                continue
            at = calendar.period_of(day)
            fee = number(spec.get("fee_usd_per_chip", 0)) + number(spec.get("fee_share", 0)) * order.price * 24.0 * (end - day).days
            decided = calendar.period_of(reading.add_months(day, -int(spec.get("notice_months", 0))))
            nodes: dict[Node, list[str]] = {}
            for scenario in rows:
                nodes.setdefault(self.node_of(scenario, decided), []).append(scenario)
            for node, scenarios in nodes.items():
                weight = 1.0 if node[1] is None else self.probability[node[1]]
                cash = [0.0] * calendar.count
                costs = {category: 0.0, "break_fee": weight * fee * self.discount(calendar.start_years(at))}
                for t in range(calendar.count):
                    running = order.price * 24.0 * calendar.overlap(t, day, end) * (1.0 - upfront)
                    costs[category] -= weight * running * self.discount(calendar.middle_years(t))
                    cash[t] -= running
                cash[at] += fee
                gone = {t: -share for t, share in order.counted.items() if calendar.first_day[t + 1] > day}
                name = f"back[{order.name},{day}{'' if node[1] is None else ',' + node[1]}]"
                self.program.add_column(name, math.inf, costs)
                self.acquisitions.append(
                    Acquisition(name, offer, node, gone, {}, {}, order.price, False, 2.0 * order.upper + 1.0, cash, handed_back=True)
                )
                for scenario in scenarios:
                    rows[scenario][name] = 1.0
        for scenario, terms in rows.items():
            self.program.add_limit(f"handed_back[{order.name},{scenario}]", terms, 0.0)

    def add_existing_constants(self) -> None:
        """The existing fleet's costs."""
        calendar = self.calendar
        total = 0.0
        for entry in self.fleet:
            for t in range(calendar.count):
                days = calendar.overlap(t, entry.start, entry.end)
                total += self.fleet_cash(entry, t) * self.discount(calendar.middle_years(t))
                if entry.fleet_class == "own":
                    kilowatts = entry.count * entry.chip.values["idle_power_kw_per_chip"] * entry.place.pue
                    total += kilowatts * 24.0 * days / 1000.0 * self.electricity(entry.place, t) * self.discount(calendar.middle_years(t))
        self.program.constant["existing"] = total

    def fleet_cash(self, entry: Fleet, t: int) -> float:
        """Nominal dollars of an existing entry in period t: opex or hourly price, no energy."""
        days = self.calendar.overlap(t, entry.start, entry.end)
        if entry.fleet_class == "own":
            return entry.count * entry.opex_per_year / 365.25 * days
        return entry.count * entry.price_per_hour * 24.0 * days

    def add_recourse(self, scenario: str, t: int) -> None:
        """Rents, placements, unserved work, demand rows and capacity rows of one recourse node."""
        calendar = self.calendar
        program = self.program
        weight = self.probability[scenario] * self.discount(calendar.middle_years(t))
        at = f"{scenario},{t}"
        load: dict[tuple[str, Pool], dict[str, float]] = {(block, pool): {} for block in self.blocks for pool in self.pools}

        for offer in self.offers:
            if offer.kind not in RENT_KINDS or not self.rent_is_open(offer, t):
                continue
            price = self.rent_price(scenario, offer, t)
            most = reading.path_middle(offer.fields["available_chips"], calendar, t)
            for block in self.blocks:
                name = f"r[{at},{block},{offer.name}]"
                program.add_column(name, most, {offer.kind: weight * price * self.hours(block, t)})
                load[block, offer.pool][name] = -offer.usable_share

        for stream in self.streams:
            if stream.run is not None and t not in self.run_periods(stream):
                continue
            if stream.kind == "training":
                penalty = number(stream.workload["unserved_usd_per_exaflop"])
            else:
                tokens = number(stream.workload["output_tokens"])
                penalty = number(stream.workload["unserved_usd_per_million_output_tokens"]) / 1.0e6 * tokens
            together: dict[str, float] = {}
            for block in self.blocks:
                hours = self.hours(block, t)
                terms: dict[str, float] = {}
                for pool, rate in stream.rate.items():
                    per_unit = market.chips_per_unit(stream, rate)
                    chip = self.chips[pool[0]]
                    place = self.places[pool[1]]
                    parts: dict[str, float] = {}
                    if place.is_site:
                        extra = chip.values["load_power_kw_per_chip"] - chip.values["idle_power_kw_per_chip"]
                        energy = per_unit * extra * place.pue * hours / 1000.0 * self.electricity(place, t)
                        parts["energy"] = weight * energy
                    name = f"x[{at},{block},{stream.name},{'|'.join(pool)}]"
                    program.add_column(name, math.inf, parts)
                    load[block, pool][name] = per_unit
                    terms[name] = 1.0
                    together[name] = hours
                if not stream.movable:
                    name = f"u[{at},{block},{stream.name}]"
                    seconds = 3600.0 if stream.kind == "serving" else 1.0
                    program.add_column(name, math.inf, {"unserved": weight * penalty * seconds * hours})
                    terms[name] = 1.0
                    program.equal.append((f"demand[{at},{block},{stream.name}]", terms, self.block_demand(stream, scenario, t, block)))
            if stream.run is not None:
                self.run_terms.setdefault((scenario, stream.name), {}).update(together)
            elif stream.movable:
                name = f"u[{at},{stream.name}]"
                program.add_column(name, math.inf, {"unserved": weight * penalty})
                together[name] = 1.0
                program.equal.append((f"demand[{at},{stream.name}]", together, self.volume(stream, scenario, t)))

        on_path = self.path_to(self.node_of(scenario, t))
        for pool in self.pools:
            ready = 0.0
            for entry in self.fleet:
                if entry.pool == pool and calendar.holds_whole(t, entry.start, entry.end):
                    ready += entry.usable_share * entry.count
            for block in self.blocks:
                terms = load[block, pool]
                for acquisition in self.acquisitions:
                    if acquisition.offer.pool == pool and acquisition.node in on_path and t in acquisition.counted:
                        terms[acquisition.name] = -acquisition.offer.usable_share * acquisition.counted[t]
                if terms:
                    program.at_most.append((f"capacity[{at},{block},{'|'.join(pool)}]", terms, ready))

    def add_runs(self) -> None:
        """One row per run and scenario over the periods of its window; what is left undone is priced in the last of them."""
        for stream in self.streams:
            if stream.run is None:
                continue
            for scenario in self.scenarios:
                work = self.run_work(stream, scenario)
                last = self.run_periods(stream)[-1]
                weight = self.probability[scenario] * self.discount(self.calendar.middle_years(last))
                undone = f"undone[{scenario},{stream.name}]"
                self.program.add_column(undone, work, {"unserved": weight * number(stream.workload["unserved_usd_per_exaflop"])})
                terms = {**self.run_terms[scenario, stream.name], undone: 1.0}
                self.program.equal.append((f"run[{scenario},{stream.name}]", terms, work))

    def rent_is_open(self, offer: Offer, t: int) -> bool:
        """The window holds the whole period and the chip is there on its first day."""
        begin, until = offer.window()
        first = self.calendar.first_day[t]
        last = self.calendar.first_day[t + 1] - dt.timedelta(days=1)
        if (begin is not None and first < begin) or (until is not None and last > until):
            return False
        return first >= offer.chip.available_from

    # -- limits ---------------------------------------------------------------------------------------------------------

    def add_site_power(self) -> None:
        """Own chips present at any time of the period, at provisioned power."""
        calendar = self.calendar
        for site in self.places.values():
            if not site.is_site:
                continue
            for node in self.nodes:
                t = node[0]
                on_path = self.path_to(node)
                right = reading.path_least(site.power_mw, calendar, t) * 1000.0
                terms: dict[str, float] = {}
                for entry in self.fleet:
                    if entry.place is site and calendar.overlap(t, entry.start, entry.end) > 0:
                        right -= entry.chip.values["provisioned_power_kw_per_chip"] * site.pue * entry.count
                for acquisition in self.acquisitions:
                    present = acquisition.present.get(t, 0.0)
                    if acquisition.offer.place is site and acquisition.node in on_path and present > 0:
                        terms[acquisition.name] = present * acquisition.offer.chip.values["provisioned_power_kw_per_chip"] * site.pue
                self.program.add_limit(f"power[{site.name},{node}]", terms, right)

    def add_supply(self) -> None:
        """Counts whose delivery date lies in the period."""
        for name, limit in self.limits.get("supply", {}).items():
            for node in self.nodes:
                on_path = self.path_to(node)
                terms = {}
                for acquisition in self.acquisitions:
                    offer = acquisition.offer
                    if acquisition.node in on_path and node[0] in acquisition.delivered:
                        if selected(limit, {offer.kind}, offer.chip, offer.place):
                            terms[acquisition.name] = acquisition.delivered[node[0]]
                most = reading.path_middle(limit["max_chips"], self.calendar, node[0])
                self.program.add_limit(f"supply[{name},{node}]", terms, most)

    def add_capex(self) -> None:
        """Nominal purchases whose delivery date lies in the period."""
        for name, limit in self.limits.get("capex", {}).items():
            for node in self.nodes:
                on_path = self.path_to(node)
                terms = {}
                for acquisition in self.acquisitions:
                    offer = acquisition.offer
                    if offer.kind != "own" or acquisition.node not in on_path:
                        continue
                    if node[0] in acquisition.delivered and selected(limit, {"own"}, offer.chip, offer.place):
                        terms[acquisition.name] = acquisition.price * acquisition.delivered[node[0]]
                most = reading.path_middle(limit["max_usd"], self.calendar, node[0])
                self.program.add_limit(f"capex[{name},{node}]", terms, most)

    def add_totals(self) -> None:
        """available_chips_total of an offer, along every branch."""
        last = [node for node in self.nodes if node[0] == self.calendar.count - 1]
        for offer in self.offers:
            if "available_chips_total" not in offer.fields:
                continue
            for node in last:
                on_path = self.path_to(node)
                terms = {a.name: 1.0 for a in self.acquisitions if a.offer is offer and a.node in on_path and not a.handed_back}
                self.program.add_limit(f"total[{offer.name},{node}]", terms, number(offer.fields["available_chips_total"]))

    def held(self, limit: Map, node: Node) -> tuple[dict[str, float], float, dict[str, float], float]:
        """A share limit's group and all, over acquisitions and existing: (columns, constant) of the group, then of all."""
        t = node[0]
        on_path = self.path_to(node)
        basis = limit["basis"]
        group: dict[str, float] = {}
        everything: dict[str, float] = {}
        group_constant = 0.0
        all_constant = 0.0
        for acquisition in self.acquisitions:
            offer = acquisition.offer
            if acquisition.node not in on_path:
                continue
            if basis == "spend":
                value = acquisition.cash[t]
            elif t in acquisition.counted:
                value = self.chip_weight(basis, offer.chip) * acquisition.counted[t]
            else:
                value = 0.0
            if value == 0.0:
                continue
            everything[acquisition.name] = value
            if selected(limit, {offer.kind}, offer.chip, offer.place):
                group[acquisition.name] = value
        for entry in self.fleet:
            if basis == "spend":
                value = self.fleet_cash(entry, t)
            elif self.calendar.holds_whole(t, entry.start, entry.end):
                value = self.chip_weight(basis, entry.chip) * entry.count
            else:
                value = 0.0
            all_constant += value
            if selected(limit, market.KINDS_OF_CLASS[entry.fleet_class], entry.chip, entry.place):
                group_constant += value
        return group, group_constant, everything, all_constant

    @staticmethod
    def chip_weight(basis: str, chip: Chip) -> float:
        """Weight of one chip: dense bf16 PFLOP/s, or 1."""
        if basis == "compute":
            return chip.values["bf16_dense_tflops"] / 1000.0
        if basis == "chips":
            return 1.0
        raise CaseError(f"basis {basis!r}")

    def add_shares(self) -> None:
        """Share limits, of what is signed or of the total."""
        for name, limit in self.limits.get("share", {}).items():
            if "min" not in limit and "max" not in limit:
                raise CaseError(f"share {name} needs min or max")
            if limit["of"] == "signed":
                for node in self.nodes:
                    group, group_constant, everything, all_constant = self.held(limit, node)
                    self.add_share_rows(f"{name},{node}", limit, node[0], group, group_constant, everything, all_constant, None)
                continue
            if number(limit["excess_usd_per_unit"]) <= 0:
                raise CaseError(f"share {name}: excess_usd_per_unit must be positive")
            for scenario in self.scenarios:
                for t in range(self.calendar.count):
                    group, group_constant, everything, all_constant = self.held(limit, self.node_of(scenario, t))
                    for offer in self.offers:
                        if offer.kind not in RENT_KINDS or not self.rent_is_open(offer, t):
                            continue
                        for block in self.blocks:
                            rent = f"r[{scenario},{t},{block},{offer.name}]"
                            if limit["basis"] == "spend":
                                value = self.hours(block, t) * self.rent_price(scenario, offer, t)
                            else:
                                value = self.chip_weight(limit["basis"], offer.chip) * self.hours(block, t) / (24.0 * self.calendar.days[t])
                            everything[rent] = value
                            if selected(limit, {offer.kind}, offer.chip, offer.place):
                                group[rent] = value
                    weight = self.probability[scenario] * self.discount(self.calendar.middle_years(t))
                    price = weight * number(limit["excess_usd_per_unit"])
                    if limit["basis"] != "spend":
                        price *= 24.0 * self.calendar.days[t]
                    self.add_share_rows(f"{name},{scenario},{t}", limit, t, group, group_constant, everything, all_constant, price)

    def add_share_rows(
        self,
        name: str,
        limit: Map,
        t: int,
        group: dict[str, float],
        group_constant: float,
        everything: dict[str, float],
        all_constant: float,
        excess_price: float | None,
    ) -> None:
        """group - max * all <= e and min * all - group <= e; without an excess price there is no e."""
        for side, sign in (("max", 1.0), ("min", -1.0)):
            if side not in limit:
                continue
            share = reading.path_middle(limit[side], self.calendar, t)
            terms: dict[str, float] = {}
            for column, value in everything.items():
                terms[column] = sign * (group.get(column, 0.0) - share * value)
            right = -sign * (group_constant - share * all_constant)
            if excess_price is not None:
                slack = f"e[{side},{name}]"
                self.program.add_column(slack, math.inf, {"share_excess": excess_price})
                terms[slack] = -1.0
            self.program.add_limit(f"share[{side},{name}]", terms, right)

    # -- all together ---------------------------------------------------------------------------------------------------

    def build(self) -> Program:
        """The whole program."""
        self.add_acquisitions()
        self.add_existing_constants()
        for scenario in self.scenarios:
            for t in range(self.calendar.count):
                self.add_recourse(scenario, t)
        self.add_runs()
        self.add_site_power()
        self.add_supply()
        self.add_capex()
        self.add_totals()
        self.add_shares()
        return self.program


def sparse(rows: list[tuple[str, dict[str, float], float]], program: Program) -> tuple[Any, np.ndarray]:
    """Rows as a scipy matrix and their right-hand sides."""
    row_index: list[int] = []
    column_index: list[int] = []
    values: list[float] = []
    right: list[float] = []
    for i, (_, terms, bound) in enumerate(rows):
        right.append(bound)
        for column, value in terms.items():
            row_index.append(i)
            column_index.append(program.column[column])
            values.append(value)
    matrix = coo_matrix((values, (row_index, column_index)), shape=(len(rows), len(program.names))).tocsr()
    return matrix, np.array(right)


def solve_case(path: str | Path) -> SecondResult:
    """Build the case and solve it by HiGHS at its tightest tolerances."""
    builder = Builder(Path(path))
    program = builder.build()
    upper = {a.name: a.upper for a in builder.acquisitions}
    rows = len(program.equal) + len(program.at_most)
    nonzeros = sum(len(terms) for _, terms, _ in program.equal) + sum(len(terms) for _, terms, _ in program.at_most)
    nothing = SecondResult(math.inf, "infeasible", {}, len(program.names), rows, nonzeros, {}, math.inf, [], upper, {})
    if program.violated:
        return nothing
    less, less_right = sparse(program.at_most, program)
    equal, equal_right = sparse(program.equal, program)
    cost = np.array(program.cost)
    most = np.array(program.upper)
    scale = max(1.0, float(np.abs(cost).max()))
    answer = linprog(
        cost / scale,
        A_ub=less,
        b_ub=less_right,
        A_eq=equal,
        b_eq=equal_right,
        bounds=[(least, None if math.isinf(bound) else bound) for least, bound in zip(program.lower, most, strict=True)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if answer.status == 2:
        return nothing
    if answer.status != 0:
        nothing.status = f"other: {answer.message}"
        return nothing
    constant = sum(program.constant.values())
    values = np.asarray(answer.x)
    dual = scale * float(less_right @ answer.ineqlin.marginals + equal_right @ answer.eqlin.marginals)
    finite = np.isfinite(most)
    dual += scale * float(most[finite] @ np.asarray(answer.upper.marginals)[finite] + np.array(program.lower) @ answer.lower.marginals)
    by_category = {category: program.constant.get(category, 0.0) for category in CATEGORIES}
    for value, parts in zip(values, program.parts, strict=True):
        for category, unit in parts.items():
            by_category[category] += float(value) * unit
    variables = {name: float(value) for name, value in zip(program.names, values, strict=True)}
    touching = [a.name for a in builder.acquisitions if a.derived and variables[a.name] >= a.upper * (1.0 - 1e-7)]
    activity = less @ values - less_right
    return SecondResult(
        float(cost @ values) + constant,
        "optimal",
        by_category,
        len(program.names),
        rows,
        nonzeros,
        variables,
        dual + constant,
        touching,
        upper,
        {name: float(activity[i]) for i, (name, _, _) in enumerate(program.at_most)},
    )
