"""The case as the rest of the program sees it: overrides merged, catalog rows looked up, every number with its key path.

A `Quantity` remembers where its number came from ("offers.h100_texas.price_usd_per_chip",
"catalog.chips.h100.hbm_gb"), so that the derivative of the optimal cost can be reported per field of the file.
Two quantities with one key are one field: an offer expanded over ten regions still has one price.

`docs/case_reference.md` is the meaning of every field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path as FilePath

from .resolved_offers import Breaks as Breaks
from .resolved_offers import Existing as Existing
from .resolved_offers import Interruptions as Interruptions
from .resolved_offers import Offer as Offer
from .resolved_offers import Tranche as Tranche


@dataclass(frozen=True)
class Quantity:
    """One number of the case or of a catalog row, in the unit that its key ends in."""

    value: float
    key: str
    assumed: bool = False


@dataclass(frozen=True)
class Path:
    """A value over time (case reference, section 1).

    form is "constant" (values = (v,)), "growth" (values = (start, growth_per_year)), "by_period" (one value per period)
    or "by_date" (one value per entry of `dates`).
    """

    form: str
    values: tuple[Quantity, ...]
    dates: tuple[date, ...] = ()


@dataclass(frozen=True)
class Horizon:
    start: date
    periods: int
    months_per_period: int


@dataclass(frozen=True)
class LoadBlock:
    """`cells` are hours of the UTC week, 0 = Monday 00:00-01:00, ..., 167."""

    name: str
    cells: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    name: str
    local_hours: tuple[Quantity, ...]  # 24
    weekend_factor: Quantity


@dataclass(frozen=True)
class Origin:
    name: str
    network_location: str
    utc_offset_hours: int
    profile: Profile | None


@dataclass(frozen=True)
class Place:
    """A cloud region (the own-site fields are None) or an own site."""

    name: str
    provider: str
    residency_zone: str
    network_location: str
    is_site: bool
    power_mw: Path | None = None
    pue: Quantity | None = None
    electricity_usd_per_mwh: Path | None = None


@dataclass(frozen=True)
class Chip:
    name: str
    vendor: str
    family: str
    bf16_dense_tflops: Quantity
    hbm_gb: Quantity
    scale_up_chips: Quantity
    provisioned_power_kw_per_chip: Quantity
    idle_power_kw_per_chip: Quantity
    load_power_kw_per_chip: Quantity
    available_from: date
    # read by the performance model only; None: neither the case nor the catalog gives it
    hbm_gb_per_s: Quantity | None = None
    fp8_dense_tflops: Quantity | None = None  # None: no units for it
    fp4_dense_tflops: Quantity | None = None
    scale_up_gb_per_s: Quantity | None = None  # one way
    replica_chips: tuple[int, ...] | None = None  # ascending
    slice_chips: int | None = None
    architecture: str | None = None
    serving_stack: str | None = None


@dataclass(frozen=True)
class ModelClass:
    """Beside its weight only the performance model reads it; None: neither the case nor the catalog gives it (or does not apply)."""

    name: str
    weight_gb: Quantity
    parameters_billion: Quantity | None = None
    active_parameters_billion: Quantity | None = None
    expert_parameters_billion: Quantity | None = None
    experts: Quantity | None = None
    experts_per_token: Quantity | None = None
    layers: Quantity | None = None
    hidden_size: Quantity | None = None
    attention_heads: Quantity | None = None
    kv_heads: Quantity | None = None
    head_size: Quantity | None = None
    kv_latent_size: Quantity | None = None  # latent and rotary part
    kv_rotary_size: Quantity | None = None
    attention_window_tokens: Quantity | None = None
    full_attention_share: Quantity | None = None
    vocabulary_size: Quantity | None = None


@dataclass(frozen=True)
class Throughput:
    """One row; `rate` is output tokens/s/chip (serving) or TFLOP/s/chip (training). Missing latency figures are None."""

    chip: str
    model: str
    task: str  # serving | training
    input_tokens: float | None
    output_tokens: float | None
    rate: Quantity
    ttft_p99_ms: Quantity | None
    tpot_p99_ms: Quantity | None
    log_std: float | None = None  # standard deviation of the logarithm of the rate, where it is known
    measured: bool = True  # a measurement, not an estimate: the performance model is pinned to it


@dataclass(frozen=True)
class Calibration:
    """What the catalog's calibration of the serving model holds: `parameters` by name, with the standard deviations of their logarithms."""

    parameters: dict[str, Quantity]
    log_std: dict[str, float]
    residual_log_std: float  # of a throughput, with the parameters known


@dataclass(frozen=True)
class Run:
    """An amount of training that may be done in any of the periods that lie wholly inside its window."""

    name: str
    exaflop: Quantity
    window_from: date
    window_until: date  # inclusive
    periods: tuple[int, ...]  # at least one
    min_chips: int  # 0: none
    slice_chips: int  # 1: any number of chips


@dataclass(frozen=True)
class LengthBucket:
    input_tokens: Quantity
    output_tokens: Quantity
    share: Quantity


@dataclass(frozen=True)
class Speculative:
    draft_tokens: Quantity
    acceptance: Quantity
    draft_ms: Quantity


@dataclass(frozen=True)
class Traffic:
    """What the performance model needs of a serving or batch workload beyond its mean shape."""

    buckets: tuple[LengthBucket, ...]  # empty: every request has the mean shape
    input_tokens_cv2: Quantity
    input_tokens_p99: Quantity | None  # None: that of the mean and the cv2, in each bucket
    output_tokens_cv2: Quantity
    cache_hit_ratio: Quantity
    arrival_cv2: Quantity
    service_cv2: Quantity  # of the prefill time; where it is not written, that of the input length
    peakedness: Quantity | None
    sticky: bool  # every session keeps its replica
    precisions: tuple[str, ...] | None
    speculative: Speculative | None


@dataclass(frozen=True)
class Performance:
    """`model`: serving throughput comes from the calibrated model, measured rows pin it. `quantile`, `error_points`: both None plans at
    the median; points of the throughput error are scenarios of their own (`optimizer.performance.error_points`)."""

    model: bool
    quantile: float | None
    queueing: bool
    tpot_mean_over_p99: Quantity
    prefill_tokens_per_step: Quantity
    error_points: int | None = None


@dataclass(frozen=True)
class Workload:
    name: str
    kind: str  # serving | batch | training
    model: str
    input_tokens: Quantity | None
    output_tokens: Quantity | None
    origins: tuple[tuple[str, Quantity], ...]  # (origin name, share); empty: one stream without origin
    demand: Path | None  # None: the workload has runs
    level: str  # mid | end
    ttft_p99_ms: Quantity | None
    tpot_p99_ms: Quantity | None
    round_trips_per_request: Quantity
    allowed_residency_zones: tuple[str, ...] | None
    allowed_chips: tuple[str, ...] | None
    allowed_families: tuple[str, ...] | None
    allowed_providers: tuple[str, ...] | None
    allowed_places: tuple[str, ...] | None
    preemptible: bool
    movable: bool  # always False for serving
    unserved_price: Quantity  # $/million output tokens, or $/exaFLOP for training
    runs: tuple[Run, ...] = ()  # training with deadlines; empty: the demand is a path
    traffic: Traffic | None = None  # None: training


@dataclass(frozen=True)
class Selector:
    """None = anything."""

    kinds: tuple[str, ...] | None = None
    chips: tuple[str, ...] | None = None
    families: tuple[str, ...] | None = None
    places: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SupplyLimit:
    name: str
    selector: Selector
    max_chips: Path


@dataclass(frozen=True)
class CapexLimit:
    name: str
    selector: Selector
    max_usd: Path


@dataclass(frozen=True)
class ShareLimit:
    name: str
    selector: Selector
    minimum: Path | None
    maximum: Path | None
    of: str  # total | signed
    basis: str  # compute | chips | spend
    excess_usd_per_unit: Quantity | None


@dataclass(frozen=True)
class DemandMultiplier:
    workloads: tuple[str, ...] | None
    path: Path


@dataclass(frozen=True)
class PriceMultiplier:
    selector: Selector
    path: Path


@dataclass(frozen=True)
class Scenario:
    """A scenario of the file, or that at one point of the throughput error: `throughput_sd` of its own standard deviations off."""

    name: str
    probability: Quantity  # of the scenario of the file
    demand: tuple[DemandMultiplier, ...] = ()
    prices: tuple[PriceMultiplier, ...] = ()
    weight: float = 1.0  # the point's part of that probability
    throughput_sd: float = 0.0

    @property
    def weighted_probability(self) -> float:
        """These sum to 1 over the scenarios of a case."""
        return self.probability.value * self.weight


@dataclass(frozen=True)
class Case:
    """Everything one question needs; the catalog's rows that it uses are already inside."""

    name: str
    description: str
    file: FilePath
    hash: str  # sha256 over the resolved content
    horizon: Horizon
    discount_rate_per_year: Quantity
    end_value: str  # straight_line | none
    load_blocks: tuple[LoadBlock, ...]
    origins: dict[str, Origin]
    places: dict[str, Place]
    chips: dict[str, Chip]
    models: dict[str, ModelClass]
    throughput: tuple[Throughput, ...]  # the case's rows and those catalog rows that they do not set aside
    performance: Performance
    calibration: Calibration | None  # None: throughput comes from the rows alone
    offers: dict[str, Offer]  # expanded: one chip, one place each
    workloads: dict[str, Workload]
    existing: dict[str, Existing]
    supply: tuple[SupplyLimit, ...]
    capex: tuple[CapexLimit, ...]
    share: tuple[ShareLimit, ...]
    reveal: date | None
    scenarios: tuple[Scenario, ...]
    rtt_ms: dict[tuple[str, str], Quantity] = field(default_factory=dict)  # both orders present
    warnings: tuple[str, ...] = ()
