"""Which pool may serve which stream, by which throughput row, and by name why not (case reference, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optimizer.performance.deployment import Deployment, DeploymentModel
from optimizer.spec.resolved import Case, Chip, Place, Throughput, Workload

SAME_LOCATION_RTT_MS = 1.0
"""Round trip between a network location and itself where the catalog has no row of its own."""

REASONS = (
    "allowed_chips",
    "allowed_families",
    "allowed_providers",
    "allowed_places",
    "residency",
    "preemptible",
    "memory",
    "throughput",
    "latency",
    "model",
)
HOURS_PER_YEAR = 8766.0


class MissingRoundTrip(ValueError):
    """A workload with a latency target needs a network pair that the catalog does not have."""


@dataclass(frozen=True)
class Excuse:
    """One reason why one pool may not serve one stream, with its amounts."""

    workload: str
    origin: str | None
    pool: str
    reason: str  # one of REASONS
    sentence: str


@dataclass(frozen=True)
class Candidate:
    """The place of a pool in this question: a chip in a place, firm or preemptible."""

    name: str
    chip: Chip
    place: Place
    preemptible: bool


@dataclass(frozen=True)
class Verdict:
    """`row` is the index into case.throughput of the chosen row, `deployment` what the performance model chose; both None where the pool
    may not serve the stream."""

    row: int | None
    excuses: tuple[Excuse, ...] = ()
    deployment: Deployment | None = None


class Eligibility:
    """Answers for one case; what depends on the workload and the pool alone is settled once for all origins."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._rows: dict[tuple[str, str, str, float | None, float | None], list[int]] = {}
        for index, row in enumerate(case.throughput):
            tokens = (row.input_tokens, row.output_tokens) if row.task == "serving" else (None, None)
            self._rows.setdefault((row.chip, row.model, row.task, tokens[0], tokens[1]), []).append(index)
        self._settled: dict[tuple[str, str], tuple[list[tuple[str, str]], list[int]]] = {}
        self._deployments: dict[tuple[str, str], dict[tuple[str | None, float], Deployment | str]] = {}
        self._model: DeploymentModel | None = None
        if case.calibration is not None:
            self._model = DeploymentModel(case.performance, case.calibration, case.throughput)

    def judge(self, workload: Workload, origin: str | None, pool: Candidate) -> Verdict:
        """All rules of section 5, in its order; every rule that fails is an excuse."""
        known = self._settled.get((workload.name, pool.name))
        if known is None:
            known = self._settled[workload.name, pool.name] = self._without_network(workload, pool)
        failed, rows = known
        if not failed and self._modelled(workload):
            return self._deployed(workload, origin, pool)
        if not failed:
            fast, late = self._in_time(workload, origin, pool.place, rows)
            if fast:
                return Verdict(max(fast, key=lambda i: (self.case.throughput[i].rate.value, -i)))
            failed = [("latency", late)]
        return Verdict(None, tuple(Excuse(workload.name, origin, pool.name, reason, sentence) for reason, sentence in failed))

    def _modelled(self, workload: Workload) -> bool:
        return self._model is not None and workload.kind != "training"

    def _deployed(self, workload: Workload, origin: str | None, pool: Candidate) -> Verdict:
        """What the performance model makes of it: memory, targets and network are judged there, on hard values."""
        key = (workload.name, pool.chip.name)
        if key not in self._deployments:
            self._deployments[key] = self._deploy_everywhere(workload, pool.chip)
        chosen = self._deployments[key][origin, self._network_ms(workload, origin, pool.place)]
        if isinstance(chosen, str):
            return Verdict(None, (Excuse(workload.name, origin, pool.name, "model", chosen),))
        return Verdict(None, (), chosen)

    def _deploy_everywhere(self, workload: Workload, chip: Chip) -> dict[tuple[str | None, float], Deployment | str]:
        """By origin and network time, for all places of the chip at once: the queue is dear to ask."""
        assert self._model is not None
        asked: dict[tuple[str | None, float], float] = {}
        for origin in [name for name, _ in workload.origins] or [None]:
            for place in self._places_of(chip):
                try:
                    asked[origin, self._network_ms(workload, origin, place)] = typical_rate(self.case, workload, origin)
                except MissingRoundTrip:
                    continue  # an error only where this place is asked for
        network = [ms for _, ms in asked]
        found = self._model.choose_each(workload, chip, self.case.models[workload.model], network, list(asked.values()))
        return dict(zip(asked, found, strict=True))

    def _places_of(self, chip: Chip) -> list[Place]:
        """Where the chip can stand at all."""
        sources = (*self.case.offers.values(), *self.case.existing.values())
        return [self.case.places[name] for name in dict.fromkeys(source.place for source in sources if source.chip == chip.name)]

    def _network_ms(self, workload: Workload, origin: str | None, place: Place) -> float:
        if workload.ttft_p99_ms is None:
            return 0.0
        return workload.round_trips_per_request.value * self.round_trip_ms(workload, origin, place)

    def _without_network(self, workload: Workload, pool: Candidate) -> tuple[list[tuple[str, str]], list[int]]:
        """Rules 1 to 5: (reason, sentence) of those that fail, and the throughput rows for these keys."""
        failed = list(_not_allowed(workload, pool))
        zones = workload.allowed_residency_zones
        if zones is not None and pool.place.residency_zone not in zones:
            failed.append(("residency", f"{pool.place.name} is in zone {pool.place.residency_zone}, allowed: {_listed(zones)}"))
        if pool.preemptible and not workload.preemptible:
            failed.append(("preemptible", "the pool can be withdrawn at any time and the workload is not preemptible"))
        chip = pool.chip
        if workload.kind != "training" and not self._modelled(workload):
            weight, memory = self.case.models[workload.model].weight_gb.value, chip.hbm_gb.value * chip.scale_up_chips.value
            if weight > memory:
                one = f"{chip.scale_up_chips.value:g} {chip.name} with {chip.hbm_gb.value:g} GB each"
                sentence = f"{workload.model} needs {weight:g} GB; {one} hold {memory:g} GB, short by {weight - memory:g} GB"
                failed.append(("memory", sentence))
        keys, words = (chip.name, workload.model, "training", None, None), "training"
        if workload.input_tokens is not None and workload.output_tokens is not None:
            tokens = (workload.input_tokens.value, workload.output_tokens.value)
            keys = (chip.name, workload.model, "serving", *tokens)
            words = f"serving {tokens[0]:g} input and {tokens[1]:g} output tokens"
        rows = self._rows.get(keys, [])
        if not rows and not self._modelled(workload):
            failed.append(("throughput", f"no throughput row for {chip.name}, {workload.model}, {words}"))
        return failed, rows

    def _in_time(self, workload: Workload, origin: str | None, place: Place, rows: list[int]) -> tuple[list[int], str]:
        """Rule 6: the rows that keep the targets, or why the best of them does not."""
        ttft, tpot = workload.ttft_p99_ms, workload.tpot_p99_ms
        if workload.kind != "serving" or (ttft is None and tpot is None):
            return rows, ""
        fast: list[int] = []
        late: list[tuple[float, str]] = []  # (how bad, sentence)
        for index in rows:
            row = self.case.throughput[index]
            excess, sentence = self._lateness(workload, origin, place, row)
            if sentence:
                late.append((excess, sentence))
            else:
                fast.append(index)
        return fast, "" if fast else min(late)[1] + (f" (the best of {len(rows)} throughput rows)" if len(rows) > 1 else "")

    def _lateness(self, workload: Workload, origin: str | None, place: Place, row: Throughput) -> tuple[float, str]:
        """(milliseconds too late, sentence) of one row; an empty sentence: in time."""
        said: list[str] = []
        excess = 0.0
        if workload.ttft_p99_ms is not None:
            target = workload.ttft_p99_ms.value
            if row.ttft_p99_ms is None:
                said, excess = [*said, f"{row.chip} has no TTFT figure for {row.model}, the target is {target:g} ms"], float("inf")
            else:
                trips = workload.round_trips_per_request.value
                rtt = trips * self.round_trip_ms(workload, origin, place)
                total = rtt + row.ttft_p99_ms.value
                if not total <= target:
                    many = f" ({trips:g} round trips)" if trips != 1 else ""
                    said.append(f"RTT {rtt:g} ms{many} + TTFT {row.ttft_p99_ms.value:g} ms exceeds {target:g} ms by {total - target:g} ms")
                    excess += total - target
        if workload.tpot_p99_ms is not None:
            target = workload.tpot_p99_ms.value
            if row.tpot_p99_ms is None:
                said, excess = [*said, f"{row.chip} has no TPOT figure for {row.model}, the target is {target:g} ms"], float("inf")
            elif not row.tpot_p99_ms.value <= target:
                over = row.tpot_p99_ms.value - target
                said.append(f"TPOT {row.tpot_p99_ms.value:g} ms exceeds {target:g} ms by {over:g} ms")
                excess += over
        return excess, "; ".join(said)

    def round_trip_ms(self, workload: Workload, origin: str | None, place: Place) -> float:
        """rtt_ms(origin, place); MissingRoundTrip where a target needs a pair that the catalog lacks."""
        if origin is None:
            return 0.0
        here, there = self.case.origins[origin].network_location, place.network_location
        found = self.case.rtt_ms.get((here, there)) or self.case.rtt_ms.get((there, here))
        if found is not None:
            return found.value
        if here == there:
            return SAME_LOCATION_RTT_MS
        raise MissingRoundTrip(
            f"workload {workload.name} has a TTFT target, but the catalog has no rtt_ms between {here} (origin {origin})"
            f" and {there} (place {place.name})"
        )


def typical_rate(case: Case, workload: Workload, origin: str | None) -> float:
    """Requests per second of a serving or batch stream at its largest over the horizon: what layouts are chosen for."""
    assert workload.demand is not None
    values, years = [q.value for q in workload.demand.values], case.horizon.periods * case.horizon.months_per_period / 12
    largest = values[0] * max(1.0, (1.0 + values[1]) ** years) if workload.demand.form == "growth" else max(values)
    rate = largest * dict((name, share.value) for name, share in workload.origins).get(origin or "", 1.0)
    return rate if workload.kind == "serving" else rate / (HOURS_PER_YEAR * 3600 * case.horizon.months_per_period / 12)


def _not_allowed(workload: Workload, pool: Candidate) -> Iterable[tuple[str, str]]:
    for field, allowed, has, noun in (
        ("allowed_chips", workload.allowed_chips, pool.chip.name, "chip"),
        ("allowed_families", workload.allowed_families, pool.chip.family, "family"),
        ("allowed_providers", workload.allowed_providers, pool.place.provider, "provider"),
        ("allowed_places", workload.allowed_places, pool.place.name, "place"),
    ):
        if allowed is not None and has not in allowed:
            yield field, f"{noun} {has} is not among {_listed(allowed)}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "none"
