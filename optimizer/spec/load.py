"""Reads a case: the file and what it extends, overrides, validation, catalog, checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .case_hash import check_keys, content_hash
from .case_warnings import find_warnings
from .catalog import open_catalog
from .checks_names import check_names
from .checks_plan import check_plan
from .checks_workloads import check_workloads
from .extends import read_case_file
from .quantities import Source
from .resolve_calibration import resolve_calibration
from .resolve_limits import resolve_capex, resolve_scenarios, resolve_share, resolve_supply
from .resolve_offers import resolve_existing, resolve_offers
from .resolve_performance import resolve_performance
from .resolve_places import resolve_chips, resolve_models, resolve_places, resolve_rtt, resolve_throughput
from .resolve_work import resolve_load_blocks, resolve_origins, resolve_workloads
from .resolved import Case
from .schema import CaseFile
from .schema_errors import validate


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Case:
    """See `optimizer.spec.load_case`. Raises CaseError."""
    document = read_case_file(path, overrides)
    file: CaseFile = validate(CaseFile, document)
    source = Source(file, document, open_catalog(document, file.catalog))
    places, chips = resolve_places(source), resolve_chips(source)
    check_names(source, places, chips)
    case = Case(
        name=file.name,
        description=file.description,
        file=path,
        hash="",
        horizon=source.horizon,
        discount_rate_per_year=source.number("discount_rate_per_year"),
        end_value=file.end_value,
        load_blocks=resolve_load_blocks(source),
        origins=resolve_origins(source),
        places=places,
        chips=chips,
        models=resolve_models(source),
        throughput=resolve_throughput(source),
        performance=resolve_performance(source),
        calibration=resolve_calibration(source),
        offers=resolve_offers(source),
        workloads=resolve_workloads(source),
        existing=resolve_existing(source),
        supply=resolve_supply(source),
        capex=resolve_capex(source),
        share=resolve_share(source),
        reveal=file.scenarios.reveal if file.scenarios else None,
        scenarios=resolve_scenarios(source),
        rtt_ms=resolve_rtt(source, places),
    )
    check_plan(case, source)
    check_workloads(case, source)
    check_keys(case, source)
    return replace(case, hash=content_hash(case), warnings=find_warnings(case, source))
