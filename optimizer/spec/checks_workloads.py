"""Can each workload run at all? Places, chips, throughput rows and network times (case reference, section 5)."""

from __future__ import annotations

from collections.abc import Iterator

from .case_error import Location
from .model_architecture import missing_architecture, missing_performance
from .quantities import Source
from .resolved import Case, Chip, Place, Throughput, Workload


def check_workloads(case: Case, source: Source) -> None:
    """Raises CaseError: no allowed place or chip, no throughput row for the shape, a missing round-trip time that is needed."""
    for workload in case.workloads.values():
        here = ("workloads", workload.name)
        _check_places(case, source, workload, here)
        _check_chips(case, source, workload, here)
        _check_throughput(case, source, workload, here)
        _check_round_trips(case, source, workload, here)


def _check_places(case: Case, source: Source, workload: Workload, here: Location) -> None:
    left = list(case.places.values())
    if not left:
        raise source.error(("regions",), "there is neither a region nor a site", "define one in `regions` or `sites`")
    filters = (
        ("allowed_places", workload.allowed_places, lambda place: place.name),
        ("allowed_residency_zones", workload.allowed_residency_zones, lambda place: place.residency_zone),
        ("allowed_providers", workload.allowed_providers, lambda place: place.provider),
    )
    for field, allowed, of in filters:
        if allowed is None:
            continue
        there = sorted({of(place) for place in left})
        left = [place for place in left if of(place) in allowed]
        if not left:
            raise source.error((*here, field), "leaves no region or site for this workload", f"allow some of {', '.join(there[:12])}")


def _check_chips(case: Case, source: Source, workload: Workload, here: Location) -> None:
    left = list(case.chips.values())
    filters = (("allowed_chips", workload.allowed_chips, "name"), ("allowed_families", workload.allowed_families, "family"))
    for field, allowed, attribute in filters:
        if allowed is None:
            continue
        there = sorted({getattr(chip, attribute) for chip in left})
        left = [chip for chip in left if getattr(chip, attribute) in allowed]
        if not left:
            raise source.error((*here, field), "leaves no chip for this workload", f"allow some of {', '.join(there[:12])}")


def _check_throughput(case: Case, source: Source, workload: Workload, here: Location) -> None:
    if _modelled(case, workload):
        _check_architecture(case, source, workload)
        return
    if any(_fits(row, workload) for row in case.throughput):
        return
    task = _task(workload)
    rows = [row for row in case.throughput if row.model == workload.model and row.task == task]
    missing = source.catalog.missing_file("throughput.csv")
    if task == "serving" and rows:
        shapes = sorted({f"{row.input_tokens:g} x {row.output_tokens:g}" for row in rows})
        raise source.error(
            (*here, "input_tokens"),
            f"no throughput row of model {workload.model} has the shape "
            f"{_value(workload.input_tokens):g} x {_value(workload.output_tokens):g} (input x output tokens)",
            f"use one of {', '.join(shapes[:8])}, or add a row to `throughput`",
        )
    raise source.error(
        (*here, "model"),
        f"no chip of this case has a {task} throughput row for model {workload.model}{missing}",
        "add a row to `throughput`, or a chip that has one to `chips`",
    )


def _check_architecture(case: Case, source: Source, workload: Workload) -> None:
    """The performance model needs the architecture of the model, and peaks and replica sizes of every chip that may run the workload."""
    remedy = "write {them} here, or set performance.throughput: table"
    missing = missing_architecture(case.models[workload.model])
    if missing:
        problem = f"lacks {', '.join(missing)}, which the performance model needs for workload {workload.name}"
        raise source.error(("models", workload.model), problem, remedy.format(them="them" if len(missing) > 1 else "it"))
    for chip in sorted({chip for chip, place, preemptible in pools(case) if may_use(case, workload, chip, place, preemptible)}):
        missing = missing_performance(case.chips[chip])
        if missing:
            problem = f"lacks {', '.join(missing)}, which the performance model needs for workload {workload.name}"
            raise source.error(("chips", chip), problem, remedy.format(them="them" if len(missing) > 1 else "it"))


def _modelled(case: Case, workload: Workload) -> bool:
    return case.performance.model and workload.kind != "training"


def _check_round_trips(case: Case, source: Source, workload: Workload, here: Location) -> None:
    """A round-trip time is needed only where a target stands and the pool could serve otherwise."""
    if workload.ttft_p99_ms is None:
        return
    for chip, place in sorted(
        {(chip, place) for chip, place, preemptible in pools(case) if may_use(case, workload, chip, place, preemptible)}
    ):
        if not _modelled(case, workload) and all(row.ttft_p99_ms is None for row in rows_for(case, workload, chip)):
            continue
        location = case.places[place].network_location
        for origin, _ in workload.origins:
            if (case.origins[origin].network_location, location) not in case.rtt_ms:
                raise source.error(
                    (*here, "ttft_p99_ms"),
                    f"needs the round-trip time between {case.origins[origin].network_location} and {location}, which the catalog does "
                    f"not have{source.catalog.missing_file('network.csv')}",
                    f"add the pair to network.csv, or leave {place} out of `allowed_places`",
                )


def pools(case: Case) -> Iterator[tuple[str, str, bool]]:
    """(chip, place, preemptible) of every offer and of the existing fleet; some more than once."""
    for offer in case.offers.values():
        yield offer.chip, offer.place, offer.preemptible
    for fleet in case.existing.values():
        yield fleet.chip, fleet.place, False


def may_use(case: Case, workload: Workload, chip_name: str, place_name: str, preemptible: bool) -> bool:
    """Rules 1 to 5 of section 5; latency (rule 6) is not looked at."""
    chip, place = case.chips[chip_name], case.places[place_name]
    if preemptible and not workload.preemptible:
        return False
    if not _allows(workload, chip, place):
        return False
    return _modelled(case, workload) or (_holds_weights(case, workload, chip) and any(rows_for(case, workload, chip_name)))


def rows_for(case: Case, workload: Workload, chip: str) -> list[Throughput]:
    return [row for row in case.throughput if row.chip == chip and _fits(row, workload)]


def _allows(workload: Workload, chip: Chip, place: Place) -> bool:
    pairs = (
        (workload.allowed_chips, chip.name),
        (workload.allowed_families, chip.family),
        (workload.allowed_places, place.name),
        (workload.allowed_providers, place.provider),
        (workload.allowed_residency_zones, place.residency_zone),
    )
    return all(allowed is None or name in allowed for allowed, name in pairs)


def _holds_weights(case: Case, workload: Workload, chip: Chip) -> bool:
    return workload.kind == "training" or case.models[workload.model].weight_gb.value <= chip.hbm_gb.value * chip.scale_up_chips.value


def _fits(row: Throughput, workload: Workload) -> bool:
    if row.model != workload.model or row.task != _task(workload):
        return False
    if row.task == "training":
        return True
    return row.input_tokens == _value(workload.input_tokens) and row.output_tokens == _value(workload.output_tokens)


def _task(workload: Workload) -> str:
    return "training" if workload.kind == "training" else "serving"


def _value(quantity: object) -> float:
    return getattr(quantity, "value", float("nan"))
