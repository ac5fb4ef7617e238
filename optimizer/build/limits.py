"""Limits over acquisitions: site power, supply, capex, totals, and shares of what is signed (case reference, section 6).

Every row reads  sum of coefficient * z <= upper.  Rows of sibling decision nodes with the same columns are one row. Power rows are in
MW, so that a multiplier is dollars per MW; capex rows in dollars, the others in the unit of their limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from optimizer.build.acquisitions import Acquired, AcquisitionIndex
from optimizer.build.draft import Draft
from optimizer.build.existing import ExistingFlows, ExistingIndex
from optimizer.build.numbers import Array, Numbers
from optimizer.build.parameters import ZERO
from optimizer.build.paths import UNIT_ROW, padded
from optimizer.build.records import AcquisitionRecord, LimitRecord
from optimizer.build.selectors import selects_offer
from optimizer.build.shares import UNITS, ShareIndex, coefficient, existing_excess, held_mask
from optimizer.economics.cashflow import OWN
from optimizer.spec.resolved import Selector
from optimizer.uncertainty.tree import SHARED, Tree

POWER, COUNT, CAPEX, SHARE, DELIVERED, BREAK = 0, 1, 2, 3, 4, 5
"""What a coefficient is: MW per chip, 1, dollars per chip, a share's, what is delivered of a chip in the period, 1 or -1."""


@dataclass(frozen=True)
class LimitIndex:
    """L rows, J coefficients sorted by row."""

    kind: np.ndarray  # int[L], POWER | COUNT | CAPEX | SHARE | DELIVERED | BREAK
    period: np.ndarray  # int[L]
    share: np.ndarray  # int[L], index into the share rows; 0 for other kinds
    path: np.ndarray  # int[L, M], rows of the path table whose least is the right-hand side before the existing fleet
    number: np.ndarray  # int[L], position of a total; ZERO for other kinds
    fleet: np.ndarray  # [L, E], 1 where the existing fleet takes of the limit (power)
    row: np.ndarray  # int[J]
    acquisition: np.ndarray  # int[J]
    sign: np.ndarray  # [J], -1 for what a row of a break stands below; else 1

    @property
    def limits(self) -> int:
        return len(self.kind)

    def only(self, rows: np.ndarray) -> LimitIndex:
        """The index with some rows left out; `rows` bool[L]."""
        number = np.cumsum(rows) - 1
        entries = rows[self.row]
        return LimitIndex(
            *(getattr(self, name)[rows] for name in ("kind", "period", "share", "path", "number", "fleet")),
            row=number[self.row[entries]],
            acquisition=self.acquisition[entries],
            sign=self.sign[entries],
        )


@dataclass(frozen=True)
class _Row:
    record: LimitRecord
    kind: int
    columns: np.ndarray
    path: list[int]
    number: int = ZERO
    share: int = 0
    fleet: tuple[int, ...] = ()


def limit_structure(
    draft: Draft, index: AcquisitionIndex, acquisitions: tuple[AcquisitionRecord, ...], existing: ExistingIndex, shares: ShareIndex
) -> tuple[LimitIndex, tuple[LimitRecord, ...]]:
    """All rows, those without columns included: `drop_satisfied` judges them once the numbers can be read."""
    found = [
        *_power(draft, index, existing),
        *_supply(draft, index),
        *_capex(draft, index),
        *_totals(draft, index),
        *_signed_shares(draft, index, shares),
        *_breaks(draft, acquisitions),
    ]
    longest = max((len(r.path) for r in found), default=0)
    fleet = np.zeros((len(found), len(existing.fleets)))
    for i, row in enumerate(found):
        fleet[i, list(row.fleet)] = 1.0
    limits = LimitIndex(
        kind=np.array([r.kind for r in found], int),
        period=np.array([r.record.period for r in found], int),
        share=np.array([r.share for r in found], int),
        path=padded([r.path + r.path[:1] * (longest - len(r.path)) for r in found]),
        number=np.array([r.number for r in found], int),
        fleet=fleet,
        row=np.repeat(np.arange(len(found)), [len(r.columns) for r in found]),
        acquisition=np.concatenate([*(r.columns for r in found), np.zeros(0, int)]),
        sign=np.concatenate(
            [
                *(np.where(np.arange(len(r.columns)) == 1, -1.0, 1.0) if r.kind == BREAK else np.ones(len(r.columns)) for r in found),
                np.zeros(0),
            ]
        ),
    )
    return limits, tuple(replace(r.record, index=i) for i, r in enumerate(found))


def limit_coefficients(limits: LimitIndex, index: AcquisitionIndex, shares: ShareIndex, acquired: Acquired, numbers: Numbers) -> Array:
    """[J]."""
    xp, e = numbers.xp, numbers.e
    z, kind, t = limits.acquisition, limits.kind[limits.row], limits.period[limits.row]
    megawatt = (e[index.provisioned_kw] * e[index.pue] / 1000)[index.offer]
    parts, delivered = acquired.parts, acquired.parts.shape.delivery[z, t]
    values = xp.where(kind == POWER, megawatt[z] * parts.present[z, t], xp.where(kind == CAPEX, acquired.price[z] * delivered, limits.sign))
    values = xp.where(kind == DELIVERED, delivered, values)
    if not shares.rows:
        return values
    return xp.where(kind == SHARE, coefficient(shares, index, acquired, limits.share[limits.row], z, t, numbers), values)


def limit_upper(limits: LimitIndex, shares: ShareIndex, flows: ExistingFlows, numbers: Numbers) -> tuple[Array, Array]:
    """[L] upper bounds, and [L] the size of the terms they are differences of."""
    xp = numbers.xp
    level = xp.min(numbers.rows[limits.path, limits.period[:, None]], axis=1, initial=np.inf)
    used = xp.sum(limits.fleet * xp.swapaxes(flows.power_mw, 0, 1)[limits.period], axis=1)
    total = limits.number != ZERO
    upper = xp.where(total, numbers.e[limits.number], xp.where(limits.kind == BREAK, 0.0, level - used))
    size = xp.where(total, numbers.e[limits.number], level + used)
    if not shares.rows:
        return upper, size
    excess, whole = existing_excess(shares, flows, numbers)
    share = limits.kind == SHARE
    at = (limits.share, limits.period)
    return xp.where(share, 0.0 - excess[at], upper), xp.where(share, whole[at], size)


def drop_satisfied(
    limits: LimitIndex, records: tuple[LimitRecord, ...], shares: ShareIndex, flows: ExistingFlows, numbers: Numbers
) -> tuple[LimitIndex, tuple[LimitRecord, ...]]:
    """A row without columns is a constant: it goes where it holds (to 1e-9 of its terms), and stays as an empty row, which no plan
    can satisfy, where it does not. Numpy only."""
    upper, size = limit_upper(limits, shares, flows, numbers)
    empty = np.bincount(limits.row, minlength=limits.limits) == 0
    keep = ~empty | (upper < -1e-9 * size)
    left = [r for r in records if keep[r.index]]
    return limits.only(keep), tuple(replace(r, index=i, empty=bool(empty[r.index])) for i, r in enumerate(left))


# one subject each ---------------------------------------------------------------------------------------------------------------
def _power(draft: Draft, index: AcquisitionIndex, existing: ExistingIndex) -> Iterator[_Row]:
    owned = index.ownership == OWN
    for name, place in draft.case.places.items():
        if not place.is_site or place.power_mw is None:
            continue
        rows = draft.reader.least_rows(place.power_mw)
        here = owned & np.array([o.place == name for o in index.offers], bool)[index.offer]
        fleet = tuple(i for i, f in enumerate(existing.fleets) if f.place == name and f.ownership == "own")
        for nodes, columns in _groups(draft.tree, index, index.present & here[:, None]):
            yield _row(draft, "site_power", name, "max", nodes, columns, rows, POWER, unit="MW", place=name, fleet=fleet)


def _supply(draft: Draft, index: AcquisitionIndex) -> Iterator[_Row]:
    for limit in draft.case.supply:
        chosen = _chosen(draft, index, limit.selector)
        rows = [draft.reader.row(limit.max_chips, draft.calendar.mid)]
        for nodes, columns in _groups(draft.tree, index, index.delivered & chosen[:, None]):
            yield _row(draft, "supply", limit.name, "max", nodes, columns, rows, DELIVERED, unit="chips")


def _capex(draft: Draft, index: AcquisitionIndex) -> Iterator[_Row]:
    for limit in draft.case.capex:
        chosen = _chosen(draft, index, limit.selector) & (index.ownership == OWN)
        rows = [draft.reader.row(limit.max_usd, draft.calendar.mid)]
        for nodes, columns in _groups(draft.tree, index, index.delivered & chosen[:, None]):
            yield _row(draft, "capex", limit.name, "max", nodes, columns, rows, CAPEX, unit="USD")


def _totals(draft: Draft, index: AcquisitionIndex) -> Iterator[_Row]:
    last = np.arange(draft.calendar.periods) == draft.calendar.periods - 1
    for o, offer in enumerate(index.offers):
        if offer.available_chips_total is None:
            continue
        number = draft.table.at(offer.available_chips_total)
        for nodes, columns in _groups(draft.tree, index, ((index.offer == o) & (index.previous < 0))[:, None] & last):
            if len(columns):
                yield _row(draft, "total", offer.name, "max", nodes, columns, [0], COUNT, unit="chips", place=offer.place, number=number)


def _signed_shares(draft: Draft, index: AcquisitionIndex, shares: ShareIndex) -> Iterator[_Row]:
    for k, (limit, bound) in enumerate(shares.rows):
        if limit.of == "signed":
            for nodes, columns in _groups(draft.tree, index, held_mask(index, limit)):
                row = [int(shares.bound[k])]
                yield _row(draft, "share", limit.name, bound, nodes, columns, row, SHARE, unit=UNITS[limit.basis], share=k)


def _breaks(draft: Draft, acquisitions: tuple[AcquisitionRecord, ...]) -> Iterator[_Row]:
    """What is extended beyond a break is no more than what stood before it."""
    for a in acquisitions:
        if a.extends >= 0:
            period = int(draft.tree.period[a.decision])
            record = LimitRecord(
                -1, f"break {a.name}", "break", a.offer, "max", period, (a.decision,), a.scenario, "chips", a.place, (), False
            )
            yield _Row(record, BREAK, np.array([a.index, a.extends]), [UNIT_ROW])


def _chosen(draft: Draft, index: AcquisitionIndex, selector: Selector) -> np.ndarray:
    """bool[Z]."""
    return np.array([selects_offer(selector, o, draft.case) for o in index.offers], bool)[index.offer]


def _groups(tree: Tree, index: AcquisitionIndex, mask: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """Decision nodes of one period that have the same columns, and these; for every node of every period in which one has columns or
    a constant must be checked. mask bool[Z, T]. A mask that is True in the last period only is asked of the leaves only."""
    node, order, _ = tree.reach(index.decision, mask)
    by_node = np.argsort(node, kind="stable")
    node, order = node[by_node], order[by_node]
    bounds = np.searchsorted(node, np.arange(tree.decisions + 1))
    found: dict[tuple[int, bytes], tuple[list[int], np.ndarray]] = {}
    for d in range(tree.decisions):
        columns = order[bounds[d] : bounds[d + 1]]
        found.setdefault((int(tree.period[d]), columns.tobytes()), ([], columns))[0].append(d)
    yield from found.values()


def _row(
    draft: Draft,
    kind: str,
    limit: str,
    bound: str,
    nodes: list[int],
    columns: np.ndarray,
    path: list[int],
    coefficients: int,
    unit: str,
    place: str | None = None,
    number: int = ZERO,
    share: int = 0,
    fleet: tuple[int, ...] = (),
) -> _Row:
    tree, t = draft.tree, int(draft.tree.period[nodes[0]])
    word = {"site_power": "power"}.get(kind, kind)
    name = f"{word} {limit}" + (f" {bound}" if kind == "share" else "") + ("" if kind == "total" else f" {draft.calendar.names[t]}")
    own = [draft.case.scenarios[s].name for s in tree.scenario[nodes] if s != SHARED]
    if own and len(own) < tree.scenarios:
        name += f" [{', '.join(own)}]" if len(own) <= 3 else f" [{own[0]} and {len(own) - 1} others]"
    scenario = own[0] if len(own) == 1 else None
    keys = draft.reader.keys(path, t) if number == ZERO else draft.table.keys([number])
    record = LimitRecord(-1, name, kind, limit, bound, t, tuple(nodes), scenario, unit, place, keys, False)
    return _Row(record, coefficients, columns, path, number, share, fleet)
