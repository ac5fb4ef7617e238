"""The structure half of the builder: names, eligibility and index lists, decided once per case with the numbers as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np

from optimizer.build.acquisitions import AcquisitionIndex, acquisition_structure
from optimizer.build.demand import DemandIndex, demand_structure
from optimizer.build.draft import Draft
from optimizer.build.existing import ExistingIndex, counted_periods, existing_structure, existing_values
from optimizer.build.limits import LimitIndex, drop_satisfied, limit_structure
from optimizer.build.numbers import Array, Numbers
from optimizer.build.orders import Orders
from optimizer.build.parameters import Parameters, Scaled
from optimizer.build.paths import PathTable
from optimizer.build.placement import PairIndex, pair_structure
from optimizer.build.pools import Pools
from optimizer.build.records import (
    AcquisitionRecord,
    BlockRecord,
    DecisionRecord,
    Excuse,
    ExistingRecord,
    LimitRecord,
    LinkRecord,
    PairRecord,
    PeriodRecord,
    PoolRecord,
    RecourseRecord,
    RentRecord,
    SideRecord,
    StreamRecord,
)
from optimizer.build.rent import RentIndex, rent_offers, rent_structure
from optimizer.build.runs import RunIndex, run_structure
from optimizer.build.shares import ShareIndex, share_structure
from optimizer.economics.calendar import Calendar
from optimizer.performance.error_points import with_error_points
from optimizer.program.program import Names
from optimizer.spec.resolved import Case
from optimizer.uncertainty.tree import SHARED, Tree


@dataclass(frozen=True)
class Structure:
    """Records say what every row and column means; the index parts are what `values` computes with."""

    case: Case
    calendar: Calendar
    tree: Tree
    # records, by the axes of the program
    periods: tuple[PeriodRecord, ...]
    blocks: tuple[BlockRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    recourse: tuple[RecourseRecord, ...]
    pools: tuple[PoolRecord, ...]
    streams: tuple[StreamRecord, ...]
    pairs: tuple[PairRecord, ...]
    acquisitions: tuple[AcquisitionRecord, ...]
    limits: tuple[LimitRecord, ...]
    sides: tuple[SideRecord, ...]
    links: tuple[LinkRecord, ...]
    existing: tuple[ExistingRecord, ...]
    rents: tuple[RentRecord, ...]
    # what cannot be, and why
    excuses: tuple[Excuse, ...]  # every pool that may not serve a stream, with the reason
    unplaced: tuple[int, ...]  # streams that no pool may serve: all of their work goes unserved at its price
    warnings: tuple[str, ...]
    # index parts
    paths: PathTable
    cells: np.ndarray  # int[B], hours of the week in each block
    rate: int  # position of the discount rate
    probability: Scaled  # [S]
    demand: DemandIndex
    pair_index: PairIndex
    run: RunIndex
    rent: RentIndex
    existing_index: ExistingIndex
    acquisition: AcquisitionIndex
    share: ShareIndex
    limit: LimitIndex

    def numbers(self, theta: Array, xp: ModuleType = np) -> Numbers:
        return Numbers.of(theta, self.paths, self.rate, self.calendar, self.cells, xp)

    @cached_property
    def names(self) -> Names:
        def of(records: tuple) -> tuple[str, ...]:
            return tuple(record.name for record in records)

        decisions = of(self.decisions)
        return Names(
            decision=decisions,
            state=decisions,
            recourse=of(self.recourse),
            block=of(self.blocks),
            pool=of(self.pools),
            side=of(self.sides),
            stream=of(self.streams),
            acquisition=of(self.acquisitions),
            limit=of(self.limits),
            link=of(self.links),
        )

    def link_of_run(self, stream: StreamRecord) -> LinkRecord:
        """The linking row of a run in the first scenario; its periods are those of every scenario."""
        return self.links[stream.position]

    def excuses_of(self, stream: int) -> tuple[Excuse, ...]:
        record = self.streams[stream]
        return tuple(x for x in self.excuses if x.workload == record.workload and x.origin == record.origin)


def structure_of(case: Case) -> tuple[Structure, Parameters]:
    """Everything that does not change while numbers change a little, and the numbers. Where the case plans with the throughput error as
    scenarios, `Structure.case` has them all."""
    case = with_error_points(case)
    draft = Draft.of(case)
    calendar, tree, table = draft.calendar, draft.tree, draft.table
    rate = table.at(case.discount_rate_per_year)
    demand, streams = demand_structure(draft)
    orders = Orders.of(case, calendar)
    rents = rent_offers(case, calendar)
    stands = [bool(counts.any()) for counts in counted_periods(case, calendar)[0]]
    pools = Pools.of(
        case,
        [
            *((orders.offers[o].chip, orders.offers[o].place, False) for o in np.unique(orders.offer)),
            *((offer.chip, offer.place, offer.preemptible) for offer, _ in rents),
            *((f.chip, f.place, False) for f, counts in zip(case.existing.values(), stands, strict=True) if counts),
        ],
    )
    pair_index, pairs, excuses = pair_structure(draft, pools, streams, demand)
    run, links = run_structure(draft, streams, demand, pair_index)
    rent, rent_records = rent_structure(draft, pools, rents)
    existing, existing_records = existing_structure(draft, pools)
    acquisition, acquisition_records = acquisition_structure(draft, pools, orders)
    tflops = table.all(c.chip.bf16_dense_tflops for c in pools.candidates)
    share, sides = share_structure(draft, acquisition, existing, rent, tflops)
    all_limits, limit_records = limit_structure(draft, acquisition, acquisition_records, existing, share)

    parameters, paths = table.parameters(), draft.reader.paths()
    numbers = Numbers.of(parameters.values, paths, rate, calendar, draft.cells, np)
    flows = existing_values(existing, numbers)
    limit, limits = drop_satisfied(all_limits, limit_records, share, flows, numbers)
    unplaced = tuple(sorted(set(range(len(streams))) - set(pair_index.stream.tolist())))
    structure = Structure(
        case=case,
        calendar=calendar,
        tree=tree,
        periods=_periods(calendar),
        blocks=tuple(BlockRecord(i, b.name, len(b.cells)) for i, b in enumerate(case.load_blocks)),
        decisions=_decisions(draft),
        recourse=_recourse(draft),
        pools=_pools(pools, rent_records, existing_records),
        streams=streams,
        pairs=pairs,
        acquisitions=acquisition_records,
        limits=limits,
        sides=sides,
        links=links,
        existing=existing_records,
        rents=rent_records,
        excuses=excuses,
        unplaced=unplaced,
        warnings=(
            *case.warnings,
            *(f"NO POOL MAY SERVE {streams[w].name}: all of it goes unserved at its price" for w in unplaced),
        ),
        paths=paths,
        cells=draft.cells,
        rate=rate,
        probability=draft.probability,
        demand=demand,
        pair_index=pair_index,
        run=run,
        rent=rent,
        existing_index=existing,
        acquisition=acquisition,
        share=share,
        limit=limit,
    )
    return structure, parameters


def _periods(calendar: Calendar) -> tuple[PeriodRecord, ...]:
    return tuple(
        PeriodRecord(t, name, calendar.first_day[t], calendar.first_day[t + 1], int(days), float(start), float(mid))
        for t, (name, days, start, mid) in enumerate(
            zip(calendar.names, calendar.days, calendar.start_years, calendar.mid_years, strict=True)
        )
    )


def _decisions(draft: Draft) -> tuple[DecisionRecord, ...]:
    tree, calendar, records = draft.tree, draft.calendar, []
    for d, (t, s, parent) in enumerate(zip(tree.period.tolist(), tree.scenario.tolist(), tree.parent.tolist(), strict=True)):
        scenario = None if s == SHARED else draft.case.scenarios[s].name
        name = calendar.names[t] + (f" [{scenario}]" if scenario else "")
        records.append(DecisionRecord(d, name, t, scenario, parent, calendar.first_day[t]))
    return tuple(records)


def _recourse(draft: Draft) -> tuple[RecourseRecord, ...]:
    tree, names = draft.tree, draft.calendar.names
    return tuple(
        RecourseRecord(s * tree.periods + t, f"{scenario.name} {names[t]}", scenario.name, s, t, int(tree.node_at[s, t]), p)
        for s, (scenario, p) in enumerate((x, x.weighted_probability) for x in draft.case.scenarios)
        for t in range(tree.periods)
    )


def _pools(pools: Pools, rents: tuple[RentRecord, ...], existing: tuple[ExistingRecord, ...]) -> tuple[PoolRecord, ...]:
    fleets: dict[int, list[str]] = {}
    for record in existing:
        fleets.setdefault(record.pool, []).append(record.name)
    return pools.records({r.pool: (r.name, r.usable_share) for r in rents}, fleets)
