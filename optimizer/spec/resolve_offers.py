"""Offers, each expanded to one chip in one place, and the existing fleet."""

from __future__ import annotations

from collections.abc import Iterator

from .case_error import Location
from .quantities import Source, optional_quantity, quantity
from .resolved import Breaks, Existing, Interruptions, Offer, Path, Tranche
from .schema_offers import TERM_MONTHS, ExistingContract, ExistingOwn, LeaseOffer, OnDemandOffer, OwnOffer, ReservedOffer, SpotOffer

WrittenOffer = OwnOffer | LeaseOffer | ReservedOffer | OnDemandOffer | SpotOffer


def resolve_offers(source: Source) -> dict[str, Offer]:
    """Offers by name, in the order of the file; one that lists chips or places becomes offer/chip/place for each of them.

    Raises CaseError: two offers of one name after the expansion, a `catalog` price that nobody has published.
    """
    offers: dict[str, Offer] = {}
    for name, written in source.file.offers.items():
        for expanded, chip, place in _expansion(name, written):
            if expanded in offers:
                raise source.error(("offers", name), f"makes a second offer named `{expanded}`", "rename one of them")
            offers[expanded] = _offer(source, name, expanded, chip, place, written)
    return offers


def _expansion(name: str, written: WrittenOffer) -> Iterator[tuple[str, str, str]]:
    chips = written.chips or [str(written.chip)]
    places = written.places or [str(written.place)]
    listed = written.chips is not None or written.places is not None
    for chip in chips:
        for place in places:
            yield (f"{name}/{chip}/{place}" if listed else name), chip, place


def _offer(source: Source, name: str, expanded: str, chip: str, place: str, written: WrittenOffer) -> Offer:
    here = ("offers", name)
    price, assumed, per_year = _price(source, here, chip, place, written)
    # fields that a kind does not have count as their default and keep the key path they would have
    opex = written.opex_usd_per_chip_year if isinstance(written, OwnOffer) else 0.0
    upfront = written.upfront_share if isinstance(written, LeaseOffer | ReservedOffer) else 0.0
    signed = None if isinstance(written, OnDemandOffer | SpotOffer) else written
    window = written.window
    return Offer(
        name=expanded,
        kind=written.kind,
        chip=chip,
        place=place,
        price=price,
        price_per_year=per_year,
        price_growth_per_year=quantity(written.price_growth_per_year, (*here, "price_growth_per_year"), written.assumed),
        opex_usd_per_chip_year=quantity(opex, (*here, "opex_usd_per_chip_year"), written.assumed),
        months=_months(written),
        upfront_share=quantity(upfront, (*here, "upfront_share"), written.assumed),
        deliveries=_deliveries(here, signed) if signed else (Tranche(0, None),),
        window_from=window.from_ if window else None,
        window_until=window.until if window else None,
        available_chips=source.optional_path(written.available_chips, (*here, "available_chips"), written.assumed),
        available_chips_total=optional_quantity(
            signed.available_chips_total if signed else None, (*here, "available_chips_total"), written.assumed
        ),
        usable_share=quantity(written.usable_share, (*here, "usable_share"), written.assumed),
        assumed=written.assumed or assumed,
        interruptions=_interruptions(here, written) if isinstance(written, SpotOffer) else None,
        lot_chips=optional_quantity(signed.lot_chips if signed else None, (*here, "lot_chips"), written.assumed),
        take=signed.take if signed else "fraction",
        breaks=_breaks(here, written) if isinstance(written, LeaseOffer | ReservedOffer) else None,
    )


def _deliveries(here: Location, written: OwnOffer | LeaseOffer | ReservedOffer) -> tuple[Tranche, ...]:
    if written.deliveries is None:
        return (Tranche(written.lead_time_months, None),)
    return tuple(
        Tranche(tranche.months, quantity(tranche.share, (*here, "deliveries", n, "share"), written.assumed))
        for n, tranche in enumerate(written.deliveries)
    )


def _breaks(here: Location, written: LeaseOffer | ReservedOffer) -> Breaks | None:
    block, at = written.breaks, (*here, "breaks")
    if block is None:
        return None
    return Breaks(
        months=block.inside(written.contract_months),
        notice_months=block.notice_months,
        fee_usd_per_chip=optional_quantity(block.fee_usd_per_chip, (*at, "fee_usd_per_chip"), written.assumed),
        fee_share=optional_quantity(block.fee_share, (*at, "fee_share"), written.assumed),
    )


def _interruptions(here: Location, written: SpotOffer) -> Interruptions | None:
    block, at = written.interruptions, (*here, "interruptions")
    if block is None:
        return None
    return Interruptions(
        per_hour=quantity(block.per_hour, (*at, "per_hour"), written.assumed),
        checkpoint_minutes=quantity(block.checkpoint_minutes, (*at, "checkpoint_minutes"), written.assumed),
        checkpoint_interval_minutes=optional_quantity(
            block.checkpoint_interval_minutes, (*at, "checkpoint_interval_minutes"), written.assumed
        ),
        restore_minutes=quantity(block.restore_minutes, (*at, "restore_minutes"), written.assumed),
    )


def _months(written: WrittenOffer) -> int:
    if isinstance(written, OwnOffer):
        return written.life_months
    if isinstance(written, LeaseOffer):
        return written.term_months
    return TERM_MONTHS.get(written.kind, 0)


def _price(source: Source, here: Location, chip: str, place: str, written: WrittenOffer) -> tuple[Path, bool, bool]:
    """The price path, whether it rests on an assumption, and whether it is per year."""
    if isinstance(written, OwnOffer):
        field, value = "price_usd_per_chip", written.price_usd_per_chip
    elif written.price_usd_per_chip_hour is not None:
        field, value = "price_usd_per_chip_hour", written.price_usd_per_chip_hour
    else:
        path = source.path(written.price_usd_per_chip_year, (*here, "price_usd_per_chip_year"), written.assumed)
        return path, written.assumed, True
    if value != "catalog":
        return source.path(value, (*here, field), written.assumed), written.assumed, False
    region = "any" if isinstance(written, OwnOffer) else place
    row = source.catalog.prices.get((chip, region, written.kind))
    if row is None or row.quantity is None:
        why = f"has no row{source.catalog.missing_file('prices.csv')}" if row is None else f"is blank (prices.csv row {row.row.number})"
        remedy = f"write {field} here, or remove the offer for {chip} in {place}"
        raise source.error((*here, field), f"the catalog price for chip {chip}, region {region}, kind {written.kind} {why}", remedy)
    price = row.quantity
    if written.assumed and not price.assumed:
        price = type(price)(price.value, price.key, True)
    return source.constant(price), price.assumed, False


def resolve_existing(source: Source) -> dict[str, Existing]:
    """The existing fleet by name."""
    fleet: dict[str, Existing] = {}
    for name, written in source.file.existing.items():
        here = ("existing", name)
        contract = isinstance(written, ExistingContract)
        opex = written.opex_usd_per_chip_year if isinstance(written, ExistingOwn) else 0.0
        fleet[name] = Existing(
            name=name,
            ownership=written.class_,
            chip=written.chip,
            place=written.place,
            count_chips=quantity(written.count_chips, (*here, "count_chips")),
            start=written.start,
            end=written.end,
            opex_usd_per_chip_year=quantity(opex, (*here, "opex_usd_per_chip_year")),
            price_usd_per_chip_hour=quantity(written.price_usd_per_chip_hour, (*here, "price_usd_per_chip_hour")) if contract else None,
            usable_share=quantity(written.usable_share, (*here, "usable_share")),
        )
    return fleet
