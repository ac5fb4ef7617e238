"""Which offers, existing fleets and rents a selector means (case reference, sections 6 and 7)."""

from __future__ import annotations

from optimizer.spec.resolved import Case, Existing, Offer, Selector

KINDS_OF_OWNERSHIP = {"own": ("own",), "lease": ("lease",), "reserved": ("reserved_1y", "reserved_3y")}


def selects(selector: Selector, kinds: tuple[str, ...], chip: str, place: str, case: Case) -> bool:
    """All that the selector gives must hold; one of `kinds` is enough."""
    if selector.kinds is not None and not any(kind in selector.kinds for kind in kinds):
        return False
    given = (
        (selector.chips, chip),
        (selector.families, case.chips[chip].family),
        (selector.places, place),
        (selector.providers, case.places[place].provider),
    )
    return all(allowed is None or has in allowed for allowed, has in given)


def selects_offer(selector: Selector, offer: Offer, case: Case) -> bool:
    return selects(selector, (offer.kind,), offer.chip, offer.place, case)


def selects_existing(selector: Selector, fleet: Existing, case: Case) -> bool:
    return selects(selector, KINDS_OF_OWNERSHIP[fleet.ownership], fleet.chip, fleet.place, case)
