"""Load blocks, profiles, origins and workloads."""

from __future__ import annotations

from .horizon_dates import period_starts, whole_periods
from .quantities import Source, optional_quantity, quantity
from .resolve_performance import resolve_traffic
from .resolved import LoadBlock, Origin, Path, Profile, Run, Workload
from .schema import HOURS_OF_WEEK
from .schema_workloads import Batch, Serving, Training

_DAYS = {"all": range(7), "weekdays": range(5), "weekend": range(5, 7)}
WrittenWorkload = Serving | Batch | Training


def resolve_load_blocks(source: Source) -> tuple[LoadBlock, ...]:
    """Blocks in the order of the file. Raises CaseError: an hour of the week in two blocks or in none."""
    owner: dict[int, str] = {}
    blocks: list[LoadBlock] = []
    for name, written in source.file.load_blocks.items():
        here = ("load_blocks", name, "utc_hours")
        cells: list[int] = []
        for day in _DAYS[written.days]:
            for hour in written.utc_hours:
                cell = 24 * day + hour
                if cell in owner:
                    raise source.error(here, f"hour {hour} already stands in block `{owner[cell]}`", "list each hour of the week once")
                owner[cell] = name
                cells.append(cell)
        blocks.append(LoadBlock(name, tuple(sorted(cells))))
    missing = [cell for cell in range(HOURS_OF_WEEK) if cell not in owner]
    if missing:
        day = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[missing[0] // 24]
        raise source.error(
            ("load_blocks",),
            f"{len(missing)} of the 168 hours of the week are in no block, the first is {day} {missing[0] % 24} UTC",
            "list each hour of the week once",
        )
    return tuple(blocks)


def resolve_origins(source: Source) -> dict[str, Origin]:
    """Origins by name, their profiles inside. The profile's name has been checked before."""
    origins: dict[str, Origin] = {}
    for name, written in source.file.origins.items():
        profile = None
        if written.profile is not None:
            curve = source.file.profiles[written.profile]
            here = ("profiles", written.profile)
            hours = tuple(quantity(value, (*here, "local_hours", hour)) for hour, value in enumerate(curve.local_hours))
            profile = Profile(written.profile, hours, quantity(curve.weekend_factor, (*here, "weekend_factor")))
        origins[name] = Origin(name, written.network_location, written.utc_offset_hours, profile)
    return origins


def resolve_workloads(source: Source) -> dict[str, Workload]:
    """Workloads by name. Raises CaseError for their paths."""
    workloads: dict[str, Workload] = {}
    for name, written in source.file.workloads.items():
        here = ("workloads", name)
        requests = None if isinstance(written, Training) else written
        serving = written if isinstance(written, Serving) else None
        origins = (requests.origins or {}) if requests else {}
        price_field = "unserved_usd_per_million_output_tokens" if requests else "unserved_usd_per_exaflop"
        workloads[name] = Workload(
            name=name,
            kind=written.kind,
            model=written.model,
            input_tokens=optional_quantity(requests.input_tokens if requests else None, (*here, "input_tokens")),
            output_tokens=optional_quantity(requests.output_tokens if requests else None, (*here, "output_tokens")),
            origins=tuple((origin, quantity(share, (*here, "origins", origin))) for origin, share in origins.items()),
            demand=_demand(source, name, written),
            level=written.level,
            ttft_p99_ms=optional_quantity(serving.ttft_p99_ms if serving else None, (*here, "ttft_p99_ms")),
            tpot_p99_ms=optional_quantity(serving.tpot_p99_ms if serving else None, (*here, "tpot_p99_ms")),
            round_trips_per_request=quantity(serving.round_trips_per_request if serving else 1.0, (*here, "round_trips_per_request")),
            allowed_residency_zones=_names(written.allowed_residency_zones),
            allowed_chips=_names(written.allowed_chips),
            allowed_families=_names(written.allowed_families),
            allowed_providers=_names(written.allowed_providers),
            allowed_places=_names(written.allowed_places),
            preemptible=written.preemptible,
            movable=False if isinstance(written, Serving) else written.movable,
            unserved_price=quantity(getattr(written, price_field), (*here, price_field)),
            runs=_runs(source, name, written) if isinstance(written, Training) else (),
            traffic=None if requests is None else resolve_traffic(source, name, requests),
        )
    return workloads


def _demand(source: Source, name: str, written: WrittenWorkload) -> Path | None:
    field = {"serving": "requests_per_second", "batch": "requests_per_period", "training": "exaflop_per_period"}[written.kind]
    return source.optional_path(getattr(written, field), ("workloads", name, field))


def _runs(source: Source, workload: str, written: Training) -> tuple[Run, ...]:
    """Runs in the order of the file. Raises CaseError: a window outside the horizon, or without a whole period."""
    runs: list[Run] = []
    starts = period_starts(source.horizon)
    start, end = starts[0], starts[-1]
    for name, run in (written.runs or {}).items():
        here = ("workloads", workload, "runs", name)
        if run.from_ < start:
            raise source.error((*here, "from"), f"{run.from_} is before the horizon's start ({start})", "write a later date")
        if run.until >= end:
            raise source.error((*here, "until"), f"{run.until} is not before the horizon's end ({end})", "write an earlier date")
        periods = whole_periods(source.horizon, run.from_, run.until)
        if not periods:
            raise source.error(
                (*here, "until"),
                f"no period lies wholly between {run.from_} and {run.until}",
                "widen the window to hold at least one period, first and last day included",
            )
        exaflop = quantity(run.exaflop, (*here, "exaflop"))
        runs.append(Run(name, exaflop, run.from_, run.until, periods, run.min_chips, run.slice_chips))
    return tuple(runs)


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
