"""What the numbers of the case are in every period: the reading of prices that the accounts stand on (case reference, sections 1, 3, 4, 7).

It is a second reading, on purpose: nothing here looks at the program's arrays or at the code that fills them, so that a cost table
that adds up to the objective says something.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from optimizer.economics.calendar import HOURS_PER_YEAR, Calendar, Instants
from optimizer.economics.cashflow import discount
from optimizer.performance.spot import inference_goodput, training_goodput
from optimizer.spec.resolved import Case, Offer, Path, Quantity, Scenario, Selector, Throughput, Workload

Array = np.ndarray


@dataclass
class CasePrices:
    """Paths, prices and discount factors of one case; [T] arrays, one entry per period."""

    case: Case
    calendar: Calendar
    _read: dict[tuple[int, str], Array] = field(default_factory=dict)

    @staticmethod
    def of(case: Case) -> CasePrices:
        return CasePrices(case, Calendar.of(case.horizon))

    # time -------------------------------------------------------------------------------------------------------------------
    @property
    def discount_mid(self) -> Array:
        """[T]: of the middle of each period."""
        return discount(self.case.discount_rate_per_year.value, self.calendar.mid_years)

    @property
    def discount_start(self) -> Array:
        """[T]: of the first day of each period."""
        return discount(self.case.discount_rate_per_year.value, self.calendar.start_years)

    @property
    def discount_end(self) -> float:
        """Of the end of the horizon."""
        return float(discount(self.case.discount_rate_per_year.value, self.calendar.end_years))

    @property
    def block_hours(self) -> Array:
        """[T, B], hours."""
        return self.calendar.block_hours(np.array([len(block.cells) for block in self.case.load_blocks]))

    # paths ------------------------------------------------------------------------------------------------------------------
    def path(self, path: Path, instants: Instants) -> Array:
        """[T]: a path at one instant per period."""
        key = (id(path), instants.name)
        if key not in self._read:
            self._read[key] = self._value(path, instants)
        return self._read[key]

    def _value(self, path: Path, instants: Instants) -> Array:
        values = np.array([quantity.value for quantity in path.values])
        if path.form == "constant":
            return np.full(self.calendar.periods, values[0])
        if path.form == "growth":
            return values[0] * (1 + values[1]) ** instants.years
        if path.form == "by_period":
            return values
        begins = np.array([self.calendar.offset(day) for day in path.dates])
        return values[[max(0, int(np.sum(begins <= instant)) - 1) for instant in instants.offset]]

    def electricity(self, place: str) -> Array:
        """[T], $/MWh mid-period; 0 in a region, where prices hold the energy."""
        path = self.case.places[place].electricity_usd_per_mwh
        return np.zeros(self.calendar.periods) if path is None else self.path(path, self.calendar.mid)

    # prices -----------------------------------------------------------------------------------------------------------------
    def price(self, offer: Offer, instants: Instants) -> Array:
        """[T], $ per chip (own) or chip-hour, before the scenarios' multipliers."""
        price = self.path(offer.price, instants) * (1 + offer.price_growth_per_year.value) ** instants.years
        return price / HOURS_PER_YEAR if offer.price_per_year else price

    def multiplier(self, scenario: Scenario, offer: Offer, instants: Instants) -> Array:
        """[T]: the product of the scenario's price multipliers that select the offer."""
        product = np.ones(self.calendar.periods)
        for multiplier in scenario.prices:
            if self.selects(multiplier.selector, offer):
                product = product * self.path(multiplier.path, instants)
        return product

    def price_at_signing(self, offer: Offer, scenario: str | None) -> Array:
        """[T], P of an order signed on the first day of each period: on a scenario's branch, or (None) expected over all."""
        price = self.price(offer, self.calendar.first)
        scenarios = self.case.scenarios
        if scenario is not None:
            (own,) = (s for s in scenarios if s.name == scenario)
            return price * self.multiplier(own, offer, self.calendar.first)
        return price * sum(s.weighted_probability * self.multiplier(s, offer, self.calendar.first) for s in scenarios)

    def rent_price(self, offer: Offer) -> Array:
        """[S, T], $ per paid chip-hour mid-period."""
        mid = self.calendar.mid
        return np.stack([self.price(offer, mid) * self.multiplier(scenario, offer, mid) for scenario in self.case.scenarios])

    def selects(self, selector: Selector, offer: Offer) -> bool:
        chip, place = self.case.chips[offer.chip], self.case.places[offer.place]
        given = (
            (selector.kinds, offer.kind),
            (selector.chips, offer.chip),
            (selector.families, chip.family),
            (selector.places, offer.place),
            (selector.providers, place.provider),
        )
        return all(names is None or has in names for names, has in given)

    # energy -----------------------------------------------------------------------------------------------------------------
    def idle_usd_per_chip_day(self, chip: str, place: str) -> Array:
        """[T]: idle energy of one chip on a site for one day; 0 in a region."""
        at = self.case.places[place]
        if at.pue is None:
            return np.zeros(self.calendar.periods)
        return self.case.chips[chip].idle_power_kw_per_chip.value * at.pue.value * 24 / 1000 * self.electricity(place)

    def load_usd_per_chip_hour(self, chip: str, place: str) -> Array:
        """[T]: what an hour of use costs on top of idling; 0 in a region."""
        at, of = self.case.places[place], self.case.chips[chip]
        if at.pue is None:
            return np.zeros(self.calendar.periods)
        return (of.load_power_kw_per_chip.value - of.idle_power_kw_per_chip.value) * at.pue.value / 1000 * self.electricity(place)

    # work -------------------------------------------------------------------------------------------------------------------
    def chips_per_work(self, workload: Workload, row: Throughput) -> float:
        """Chips that are never interrupted per request/s (serving), request/h (batch) or exaFLOP/h (training)."""
        if workload.kind == "training":
            return 1e6 / (3600 * row.rate.value)
        assert workload.output_tokens is not None
        return workload.output_tokens.value / (row.rate.value * (3600 if workload.kind == "batch" else 1))

    def goodput(self, workload: Workload, tpot_ms: float, offer: Offer) -> float:
        """Share of the paid time on the chips of a spot offer that is progress; tpot_ms is read for serving and batch."""
        what = offer.interruptions
        if what is None or what.per_hour.value == 0:
            return 1.0
        per_hour, restore_s = what.per_hour.value, 60 * what.restore_minutes.value
        if workload.kind == "training":
            written = what.checkpoint_interval_minutes
            interval_s = None if written is None else 60 * written.value
            return float(training_goodput(per_hour, 60 * what.checkpoint_minutes.value, restore_s, interval_s))
        assert workload.output_tokens is not None
        return float(inference_goodput(per_hour, workload.output_tokens.value * tpot_ms / 1000, restore_s))

    def unserved_usd_per_work(self, workload: Workload) -> float:
        """$ per request (serving, batch) or exaFLOP (training) that is not served."""
        if workload.kind == "training":
            return workload.unserved_price.value
        assert workload.output_tokens is not None
        return workload.unserved_price.value / 1e6 * workload.output_tokens.value


def any_assumed(*parts: Quantity | Path | None) -> bool:
    """Whether one of these numbers is marked as assumed."""
    for part in parts:
        if isinstance(part, Path) and any(quantity.assumed for quantity in part.values):
            return True
        if isinstance(part, Quantity) and part.assumed:
            return True
    return False
