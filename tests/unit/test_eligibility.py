"""Which pool may serve which stream, and the reasons with their amounts (case reference, section 5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.build import BuildError, build
from optimizer.performance.eligibility import Candidate, Eligibility, MissingRoundTrip, Verdict
from optimizer.spec.resolved import Case, Quantity, Workload
from tests.unit.small_case import small_case

# The test catalog's rows for g90, big, 1000 x 500 tokens (rate, TTFT, TPOT): 2210, 450, 40; 1480, 250, 25; 3130, 900, 80; 3590 without
# figures. Round trips: us-east-1 with itself 2.5 ms, with europe-west4 84 ms; us-south1 (texas) with us-east-1 33, europe-west4 112.


@pytest.fixture(scope="module")
def case() -> Case:
    return small_case()


def judge(case: Case, workload: Workload, origin: str | None, chip: str, place: str, preemptible: bool = False) -> Verdict:
    return Eligibility(case).judge(workload, origin, Candidate("pool", case.chips[chip], case.places[place], preemptible))


def reasons(verdict: Verdict) -> dict[str, str]:
    assert verdict.row is None
    return {excuse.reason: excuse.sentence for excuse in verdict.excuses}


def ms(value: float) -> Quantity:
    return Quantity(value, "a target")


def chat(case: Case, ttft: float | None, tpot: float | None = None, **changes: object) -> Workload:
    targets = {"ttft_p99_ms": None if ttft is None else ms(ttft), "tpot_p99_ms": None if tpot is None else ms(tpot)}
    return replace(case.workloads["chat"], **targets, **changes)


@pytest.mark.parametrize(
    ("ttft", "tpot", "rate"),
    [
        (None, None, 3590),  # no target: the row without figures is the fastest
        (1012, None, 3130),  # 112 + 900 = 1012 is in time
        (1011, None, 2210),
        (562, None, 2210),  # 112 + 450
        (561, None, 1480),
        (1012, 79, 2210),
        (1012, 39, 1480),
        (None, 80, 3130),  # a row without TPOT does not qualify
    ],
)
def test_best_row_in_time(case: Case, ttft: float | None, tpot: float | None, rate: float) -> None:
    row = judge(case, chat(case, ttft, tpot), "europe", "g90", "texas").row
    assert row is not None and case.throughput[row].rate.value == rate


def test_latency_is_said_with_its_amounts(case: Case) -> None:
    late = reasons(judge(case, chat(case, 300), "europe", "g90", "texas"))
    assert late == {"latency": "RTT 112 ms + TTFT 250 ms exceeds 300 ms by 62 ms (the best of 4 throughput rows)"}
    twice = reasons(judge(case, chat(case, 300, round_trips_per_request=ms(2)), "europe", "g90", "texas"))
    assert twice["latency"].startswith("RTT 224 ms (2 round trips) + TTFT 250 ms exceeds 300 ms by 174 ms")
    slow = reasons(judge(case, chat(case, None, 20), "europe", "g90", "texas"))
    assert slow["latency"].startswith("TPOT 25 ms exceeds 20 ms by 5 ms")


def test_origin_decides(case: Case) -> None:
    tight = chat(case, 300)
    assert judge(case, tight, "us", "g90", "texas").row is not None  # 33 + 250 = 283
    assert judge(case, tight, "europe", "g90", "texas").row is None


def test_round_trip_at_home(case: Case) -> None:
    rows = {("aws:us-east-1", "aws:us-east-1"): 2.5, ("gcp:europe-west4", "gcp:europe-west4"): 1.0}  # the catalog's own row, or else 1 ms
    for (origin, _), rtt in rows.items():
        name = "us" if origin.startswith("aws") else "europe"
        assert Eligibility(case).round_trip_ms(case.workloads["chat"], name, case.places[origin]) == rtt


def test_memory(case: Case) -> None:
    found = reasons(judge(case, chat(case, None), "us", "p6", "texas"))
    assert found["memory"] == "big needs 142 GB; 4 p6 with 32 GB each hold 128 GB, short by 14 GB"
    # training holds the model by other means
    assert judge(case, case.workloads["tune"], None, "p6", "texas").row is not None


def test_lists_zones_and_preemption(case: Case) -> None:
    strict = chat(
        case,
        None,
        allowed_chips=("g200",),
        allowed_families=("tpu", "trainium"),
        allowed_providers=("own",),
        allowed_places=("texas",),
        allowed_residency_zones=("eu",),
    )
    found = reasons(judge(case, strict, "us", "g90", "aws:us-east-1", preemptible=True))
    assert list(found) == ["allowed_chips", "allowed_families", "allowed_providers", "allowed_places", "residency", "preemptible"]
    assert found["allowed_families"] == "family gpu is not among tpu, trainium"
    assert found["residency"] == "aws:us-east-1 is in zone us, allowed: eu"
    assert judge(case, case.workloads["digest"], None, "g90", "aws:us-east-1", preemptible=True).row is not None


def test_no_throughput_row(case: Case) -> None:
    found = reasons(judge(case, case.workloads["digest"], None, "g200", "texas"))
    assert found == {"throughput": "no throughput row for g200, small, serving 3000 input and 250 output tokens"}


def test_ties_go_to_the_first_row(case: Case) -> None:
    first = judge(case, chat(case, 562), "europe", "g90", "texas").row
    assert first is not None
    doubled = replace(case, throughput=(*case.throughput, case.throughput[first]))
    assert judge(doubled, chat(case, 562), "europe", "g90", "texas").row == first


def test_missing_round_trip(case: Case) -> None:
    bare = replace(case, rtt_ms={})
    assert judge(bare, chat(case, None), "europe", "g90", "texas").row is not None  # nobody needs it
    with pytest.raises(MissingRoundTrip, match=r"chat.*europe-west4.*texas"):
        judge(bare, chat(case, 600), "europe", "g90", "texas")
    with pytest.raises(BuildError, match="chat"):
        build(bare)


def test_a_stream_without_pools_is_reported() -> None:
    built = build(small_case({"workloads": {"helper": {"ttft_p99_ms": 100}}}))
    stream = next(s for s in built.structure.streams if s.workload == "helper")
    assert built.structure.unplaced == (stream.index,)
    assert not (built.program.pair_stream == stream.index).any()
    excuses = built.structure.excuses_of(stream.index)
    assert {e.pool for e in excuses} == set(built.program.names.pool)  # a reason for every pool
    assert any("helper europe" in warning for warning in built.structure.warnings)
