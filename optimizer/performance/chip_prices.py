"""What chips are let for in a catalog, and what a million output tokens then cost."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.performance.serve_question import HERE
from optimizer.spec.case_error import CaseError, did_you_mean
from optimizer.spec.catalog import Catalog

KINDS = ("on_demand", "spot", "reserved_1y", "reserved_3y", "lease")
"""Price modes per chip-hour. A price to own is none: what a chip-hour of it costs depends on its life, its power and its site."""
Offer = tuple[float, str, bool]
"""$ per chip-hour, region, whether the price is an assumption."""


@dataclass(frozen=True)
class Cost:
    """The cheapest price of a mode, and what a million output tokens cost at it; low and high as of the chips."""

    kind: str
    region: str
    usd_per_chip_hour: float
    usd_per_million_output_tokens: float
    low: float
    high: float
    assumed: bool


def cost_at(kind: str, offer: Offer, output_tokens_per_s: float, chips: tuple[int, int, int]) -> Cost:
    """`chips`: planned, least, most. All of them are paid around the clock, and the tokens flow around the clock."""
    price, region, assumed = offer
    million_per_hour = output_tokens_per_s * 3600.0 / 1e6
    planned, low, high = (price * count / million_per_hour for count in chips)
    return Cost(kind, region, price, planned, low, high, assumed)


def cheapest_offers(catalog: Catalog, region: str | None) -> dict[str, dict[str, Offer]]:
    """The cheapest offer by chip and kind, of one region or of all. Raises CaseError: a region without prices."""
    known = {place for _, place, kind in catalog.prices if kind in KINDS}
    if region is not None and region not in known:
        raise CaseError(HERE, "region", f"`{region}` has no prices in the catalog", did_you_mean(region, sorted(known)))
    cheapest: dict[str, dict[str, Offer]] = {}
    for (chip, place, kind), price in catalog.prices.items():
        if kind not in KINDS or price.quantity is None or (region is not None and place != region):
            continue
        offer = price.quantity.value, place, price.quantity.assumed
        of_chip = cheapest.setdefault(chip, {})
        of_chip[kind] = min(of_chip.get(kind, offer), offer)
    return cheapest
