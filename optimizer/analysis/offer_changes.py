"""A case with one of its offers forbidden, priced otherwise, or taken in a fixed number; everything else as it stands."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace

import numpy as np

from optimizer.analysis.decisions import chip_hours, expands_to
from optimizer.build.build import Built, program_of
from optimizer.build.records import LimitRecord
from optimizer.build.structure import Structure
from optimizer.build.values import values
from optimizer.economics.calendar import HOURS_PER_YEAR
from optimizer.program.program import Array, Plan, Program, Sparse
from optimizer.spec import CaseError


@dataclass(frozen=True)
class OfferColumns:
    """The columns of an offer (of all its chips and places): acquisitions that are orders, all its acquisitions, pools that it rents to."""

    name: str
    offers: tuple[str, ...]  # by their names after expansion
    orders: Array  # bool[Z]
    acquisitions: Array  # bool[Z]
    pools: Array  # bool[G]

    @property
    def nothing(self) -> bool:
        """Whether it can never be signed or rented."""
        return not (self.acquisitions.any() or self.pools.any())


def columns_of_offer(structure: Structure, name: str) -> OfferColumns:
    """`name`: as in the file, or one of offer/chip/place. Raises CaseError with the nearest names."""
    case = structure.case
    whole = tuple(offer for offer in case.offers if expands_to(name, offer))
    if not whole:
        roots = list(dict.fromkeys([*(offer.partition("/")[0] for offer in case.offers), *case.offers]))
        near = difflib.get_close_matches(name, roots, 3, 0.5) or roots[:6]
        raise CaseError(str(case.file), "--offer", f"`{name}` is no offer of the case", f"the nearest are {', '.join(near)}")
    mine = np.array([a.offer in whole for a in structure.acquisitions], bool).reshape(-1)
    order = np.array([a.extends < 0 for a in structure.acquisitions], bool).reshape(-1)
    pools = np.zeros(len(structure.pools), bool)
    pools[[rent.pool for rent in structure.rents if rent.name in whole]] = True
    return OfferColumns(name, whole, mine & order, mine, pools)


def forbidden(built: Built, columns: OfferColumns) -> Built:
    """Nothing of the offer is signed or rented."""
    p = built.program
    program = replace(
        p,
        acquisition_lower=np.where(columns.acquisitions, 0.0, p.acquisition_lower),
        acquisition_upper=np.where(columns.acquisitions, 0.0, p.acquisition_upper),
        upper_is_derived=p.upper_is_derived & ~columns.acquisitions,
        rent_upper=np.where(columns.pools, 0.0, p.rent_upper),
    )
    return replace(built, program=program)


def priced(built: Built, columns: OfferColumns, factor: float) -> Built:
    """The offer's price times a factor, wherever it counts: payments, budgets, shares of spend. Its energy and operations stay."""
    s = built.structure
    signed = np.array([o.name in columns.offers for o in s.acquisition.offers], bool).reshape(-1)
    rented = np.array([o.name in columns.offers for o in s.rent.offers], bool).reshape(-1)
    with np.errstate(divide="ignore"):
        acquisition = replace(s.acquisition, price_divisor=s.acquisition.price_divisor / np.where(signed, factor, 1.0))
        rent = replace(s.rent, price_divisor=s.rent.price_divisor / np.where(rented, factor, 1.0))
    structure = replace(s, acquisition=acquisition, rent=rent)
    program = program_of(structure, values(structure, built.parameters.values))
    return replace(built, program=program, structure=structure)


def taken(built: Built, columns: OfferColumns, count: float, all_of_it: bool = True) -> Built:
    """Exactly so many chips of the offer are signed, or (not `all_of_it`) at most so many, whenever and wherever its terms allow: a row for
    every path of decisions. Raises CaseError for an offer that is rented by the hour."""
    p, structure = built.program, built.structure
    if not columns.orders.any():
        file = str(structure.case.file)
        raise CaseError(file, "--lot", f"`{columns.name}` is never signed", "name an own, lease or reserved offer that can be")
    paths = [np.nonzero(columns.orders & np.isin(p.signed_at, nodes))[0] for nodes in structure.tree.node_at]
    paths = list({tuple(path.tolist()): path for path in paths}.values())
    lots = np.array([structure.case.offers[a.offer].lot_chips is not None for a in structure.acquisitions], bool).reshape(-1)
    any_count = columns.orders & (lots | p.upper_is_derived)  # what is not bounded by an availability
    extensions = columns.acquisitions & ~columns.orders  # bounded by their orders: their own bound must not bind
    upper = np.where(any_count, float(count), p.acquisition_upper)
    upper = np.where(extensions, np.maximum(upper, 2.0 * count + 1.0), upper)
    lower = np.where(columns.orders, 0.0, p.acquisition_lower)
    most = min(float(upper[path].sum()) for path in paths)
    if most < count:
        file = str(structure.case.file)
        raise CaseError(file, "--lot", f"is {count:g}, and at most {most:g} can be signed", "give a lot that is available")
    p = replace(p, acquisition_lower=lower, acquisition_upper=upper, upper_is_derived=p.upper_is_derived & ~columns.orders)
    if all(len(path) == 1 for path in paths):  # a bound says the same
        upper = np.where(columns.orders, np.minimum(upper, count), upper)
        lower = np.where(columns.orders & all_of_it, count, lower)
        return replace(built, program=replace(p, acquisition_lower=lower, acquisition_upper=upper))
    rows = np.concatenate([np.full(len(path), p.limits + k) for k, path in enumerate(paths)])
    matrix, bound = p.limit_matrix, np.full(len(paths), float(count))
    names = tuple(f"lot of {columns.name}" for _ in paths)
    program = replace(
        p,
        limit_matrix=Sparse(
            (np.concatenate([matrix.index[0], rows]), np.concatenate([matrix.index[1], *paths])),
            np.concatenate([matrix.value, np.ones(len(rows))]),
        ),
        limit_lower=np.concatenate([p.limit_lower, bound if all_of_it else np.full(len(paths), -np.inf)]),
        limit_upper=np.concatenate([p.limit_upper, bound]),
        names=replace(p.names, limit=(*p.names.limit, *names)),
    )
    last = structure.calendar.periods - 1
    records = tuple(
        LimitRecord(
            index=p.limits + k, name=name, kind="total", limit=columns.name, bound="max", period=last,
            decisions=tuple(dict.fromkeys(p.signed_at[path].tolist())), scenario=None, unit="chips", place=None, keys=(), empty=False,
        )
        for k, (name, path) in enumerate(zip(names, paths, strict=True))
    )  # fmt: skip
    return replace(built, program=program, structure=replace(structure, limits=(*structure.limits, *records)))


@dataclass(frozen=True)
class Use:
    """What a plan takes of an offer, expected over the scenarios: chips signed, chip-years held or rented inside the horizon, and what is
    paid for them at the offer's price (without energy and operations), in dollars of present value."""

    signed_chips: float
    chip_years: float
    paid_usd: float


def use_of(built: Built, free: Program, columns: OfferColumns, plan: Plan) -> Use:
    """`free`: the program with the price at zero; the difference is what the price costs."""
    s, p = built.structure, built.program
    weight = s.acquisition.weight.read(np.concatenate([built.parameters.values, [0.0, 1.0]]))
    z = np.where(columns.acquisitions, plan.z, 0.0)
    signed = float((weight * np.where(columns.orders, plan.z, 0.0)).sum())
    paid = float((p.acquisition_cost - free.acquisition_cost) @ z)
    paid += float((p.node_weight[:, None, None] * (p.rent_cost - free.rent_cost) * plan.r * columns.pools).sum())
    hours = chip_hours(s, plan)
    return Use(signed, math.fsum(hours[offer] for offer in columns.offers) / HOURS_PER_YEAR, paid)
