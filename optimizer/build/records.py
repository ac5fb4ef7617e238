"""What every row and column of a program means: the records that reports and explanations are written on.

Every record's `index` is its position on the program's axis of the same name, so `built.structure.pools[g]` describes
`program.rent_upper[:, :, g]`. Numbers that a derivative may reach are not repeated here (they are in the program's arrays);
the few floats below are the values at which the structure was decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from optimizer.performance.eligibility import Excuse as Excuse
from optimizer.spec.resolved import Throughput

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
"""Lines of the cost table (case reference, section 8)."""


@dataclass(frozen=True)
class PeriodRecord:
    """A period, and the template of the program's axis C (one template per period)."""

    index: int
    name: str  # 2027-03 | 2027Q1 | 2027 | 2026-11..2027-01
    start: date
    end: date  # the first day of the next period
    days: int
    start_years: float  # since the start of the horizon
    mid_years: float


@dataclass(frozen=True)
class BlockRecord:
    index: int
    name: str
    hours_per_week: int


@dataclass(frozen=True)
class DecisionRecord:
    """A decision node: a period on the path that all scenarios share, or on one scenario's branch. States are decision nodes (Q = D)."""

    index: int
    name: str
    period: int
    scenario: str | None  # None: shared by all scenarios
    parent: int  # -1: the root
    date: date


@dataclass(frozen=True)
class RecourseRecord:
    """A recourse node: a scenario in a period. `index = scenario_index * periods + period`."""

    index: int
    name: str
    scenario: str
    scenario_index: int
    period: int
    decision: int
    probability: float


@dataclass(frozen=True)
class PoolRecord:
    """(chip, place, firm or preemptible). The program rents usable chips: paid chips = r / rent_usable_share."""

    index: int
    name: str
    chip: str
    family: str
    place: str
    provider: str
    residency_zone: str
    preemptible: bool
    is_site: bool
    rent_offer: str | None
    rent_usable_share: float  # 1.0 without a rent offer
    existing: tuple[str, ...]


@dataclass(frozen=True)
class StreamRecord:
    """(workload, origin), or one run of a training workload. `position` is the index inside its group: demand[..., position] of a
    served stream, demand_deferrable[..., position] of a movable one, linking row scenario_index * runs + position of a run."""

    index: int
    name: str
    workload: str
    origin: str | None
    kind: str  # serving | batch | training
    model: str
    movable: bool
    position: int
    work_unit: str  # unit of x: requests/s | requests/h | exaFLOP/h
    demand_unit: str  # unit of its demand row: the same, or requests | exaFLOP for a movable stream
    run: str | None = None  # a run: work inside a window of dates, one linking row per scenario


@dataclass(frozen=True)
class PairRecord:
    index: int
    name: str
    stream: int
    pool: int
    throughput: Throughput  # the row whose rate is used, or the performance model's figures in the same form
    deployment: int = -1  # index into the structure's deployments; -1: a row of the table


@dataclass(frozen=True)
class PartRecord:
    """What of an acquisition comes on one date and ends on one date."""

    share: float  # of the count
    delivery_date: date  # of an extension the break after which it stands
    end_date: date
    counted: tuple[int, ...]  # periods in which it is capacity


@dataclass(frozen=True)
class AcquisitionRecord:
    """An offer signed at a decision node, or a contract with breaks extended there beyond one (case reference, section 3)."""

    index: int
    name: str
    offer: str
    kind: str  # own | lease | reserved_1y | reserved_3y
    chip: str
    place: str
    pool: int
    decision: int
    scenario: str | None  # None: decided under all scenarios
    period: int  # the contract is signed on its first day
    signing_date: date
    delivery_date: date  # of the first part; of an extension the break after which it stands
    end_date: date  # of the last part; the next break where there is one
    delivery_period: int
    counted: tuple[int, ...]  # periods wholly inside [delivery, end) of a part: capacity
    present: tuple[int, ...]  # periods that overlap a part: cost and power
    usable_share: float
    bound: str  # available_chips | lot_chips | derived
    assumed: bool
    parts: tuple[PartRecord, ...]  # at least one
    extends: int  # index of the acquisition that it extends; -1: it is an order
    decision_date: date  # that of signing, or the day on which an extension is decided
    signed_scenario: str | None  # the branch on which the contract, and with it the price, was signed
    contract_end: date  # of the last part, if every break is passed


@dataclass(frozen=True)
class ExistingRecord:
    index: int
    name: str
    ownership: str  # own | lease | reserved
    chip: str
    place: str
    pool: int  # -1: it never stands for a whole period
    counted: tuple[int, ...]
    present: tuple[int, ...]


@dataclass(frozen=True)
class RentRecord:
    """An on-demand or spot offer; `periods` are those in which it may be rented."""

    name: str
    kind: str  # on_demand | spot
    pool: int
    usable_share: float
    periods: tuple[int, ...]
    assumed: bool


@dataclass(frozen=True)
class LimitRecord:
    """One row of the program's limits (over acquisitions only). Rows of sibling nodes that have the same columns are stated once:
    `decisions` lists every decision node for which the row stands. Every row reads <= ."""

    index: int
    name: str
    kind: str  # site_power | supply | capex | total | share | break
    limit: str  # the site, the limit's name in the file, or the offer (total, break)
    bound: str  # max | min
    period: int  # of a total: the last period
    decisions: tuple[int, ...]
    scenario: str | None  # None: shared, or common to several branches
    unit: str  # MW | chips | USD | PFLOP/s
    place: str | None
    keys: tuple[str, ...]  # key paths of the numbers that set its right-hand side
    empty: bool  # no acquisition can change it, and it is violated: the case is infeasible


@dataclass(frozen=True)
class LinkRecord:
    """The linking row of one run in one scenario: its work over the periods of its window, and what stays undone."""

    index: int
    name: str
    scenario: str
    scenario_index: int
    stream: int
    periods: tuple[int, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class SideRecord:
    """One side row (share limit `of: total`), present in every recourse node, with a priced slack."""

    index: int
    name: str
    limit: str
    bound: str  # max | min
    basis: str  # compute | chips | spend
    unit: str  # PFLOP/s | chips | USD
    keys: tuple[str, ...]
