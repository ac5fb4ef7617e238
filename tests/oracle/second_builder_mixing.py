"""Random cases mixed from the small ones: offers, work, limits and scenarios of several cases on a new calendar, with jittered numbers.

The small cases are written for one branch of the reference each; a mixture meets the branches together.
"""

from __future__ import annotations

import copy
import datetime as dt
import math
import random
from pathlib import Path
from typing import Any

from tests.oracle.second_builder_reading import MONTHS_PER_PERIOD, Map, add_months, read_case, to_date

CASES = Path(__file__).parent / "cases"
TABLES = ("regions", "sites", "chips", "models", "origins", "profiles", "throughput")
SIGNED_KINDS = ("own", "lease", "reserved_1y", "reserved_3y")
RENT_KINDS = ("on_demand", "spot")
AMOUNTS = """
power_mw price_usd_per_chip price_usd_per_chip_hour price_usd_per_chip_year available_chips requests_per_second requests_per_period
exaflop_per_period max_chips max_usd path
""".split()
PLAIN = """
electricity_usd_per_mwh opex_usd_per_chip_year available_chips_total count_chips unserved_usd_per_million_output_tokens
unserved_usd_per_exaflop exaflop excess_usd_per_unit training_tflops_per_chip ttft_p99_ms tpot_p99_ms provisioned_power_kw_per_chip
""".split()


class Mixer:
    """One random case."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        names = sorted(path for path in CASES.glob("*.yaml") if "infeasible" not in path.stem and "hand_" not in path.stem)
        self.parents = [copy.deepcopy(read_case(self.rng.choice(names))) for _ in range(4)]
        self.case = self.parents.pop(0)

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.rng.random() < probability

    def jitter(self, value: float) -> float:
        """A positive number about as large."""
        return float(f"{value * math.exp(self.rng.gauss(0, 0.25)):.6g}")

    def mix(self) -> Map:
        """The case."""
        self.join()
        self.set_calendar()
        existing = self.case.pop("existing", {})
        self.case = self.vary(self.case, "")
        self.case["existing"] = existing
        self.case["horizon"] = self.horizon
        self.vary_offers()
        self.vary_existing()
        self.vary_shares()
        self.vary_work()
        self.vary_scenarios()
        if self.chance(0.3):
            for chip in self.case["chips"].values():
                if self.chance(0.3):
                    chip["available_from"] = self.start + dt.timedelta(days=self.rng.randint(-30, self.days))
        return self.case

    def join(self) -> None:
        """Add what the other parents have."""
        for parent in self.parents:
            for table in TABLES:
                for name, row in parent.get(table, {}).items():
                    self.case.setdefault(table, {}).setdefault(name, row)
            for name, offer in parent.get("offers", {}).items():
                if self.chance(0.6):
                    self.case.setdefault("offers", {})[name if self.chance(0.5) else f"{name}_too"] = offer
            for name, workload in parent["workloads"].items():
                if self.chance(0.35):
                    self.case["workloads"][name] = workload
            for name, entry in parent.get("existing", {}).items():
                if self.chance(0.5):
                    self.case.setdefault("existing", {})[name] = entry
            for group, limits in parent.get("limits", {}).items():
                for name, limit in limits.items():
                    if self.chance(0.6):
                        self.case.setdefault("limits", {}).setdefault(group, {})[name] = limit
        if self.chance(0.5):
            self.case["load_blocks"] = self.parents[0]["load_blocks"]
        uncertain = [parent["scenarios"] for parent in self.parents if "scenarios" in parent]
        if uncertain and self.chance(0.6):
            self.case["scenarios"] = uncertain[0]

    def set_calendar(self) -> None:
        """A new horizon."""
        period = self.rng.choice(["month", "quarter", "quarter", "year"])
        self.periods = self.rng.randint(1, 4 if period == "year" else 6)
        self.start = add_months(dt.date(2026, 7, 1), self.rng.randint(0, 14))
        self.firsts = [add_months(self.start, MONTHS_PER_PERIOD[period] * t) for t in range(self.periods + 1)]
        self.days = (self.firsts[-1] - self.start).days
        self.horizon = {"start": self.start, "periods": self.periods, "period": period}

    def path(self, value: Any, *, share: bool) -> Any:
        """A path of about the same size, in the same form or another; a share stays in [0, 1]."""
        form = "number"
        base = value
        if isinstance(value, dict):
            form = next((key for key in ("by_period", "by_date", "start") if key in value), "")
            if form == "by_period":
                base = sum(value["by_period"]) / len(value["by_period"])
            elif form == "by_date":
                base = max(step["value"] for step in value["by_date"])
            elif form == "start":
                base = value["start"] * (0.4 if share else 1.0)
            else:
                return value
        if not isinstance(base, int | float):
            return value
        if self.chance(0.35):
            form = self.rng.choice(["number", "start", "by_period", "by_date"])

        def draw() -> float:
            return min(1.0, self.jitter(base)) if share else self.jitter(base)

        if form == "number":
            return draw()
        if form == "start":
            return {"start": draw() * (0.4 if share else 1.0), "growth_per_year": round(self.rng.uniform(-0.4, 0.7), 3)}
        if form == "by_period":
            return {"by_period": [draw() for _ in range(self.periods)]}
        offsets = {self.rng.randint(-30, 0)}
        for _ in range(self.rng.randint(0, 3)):
            month = (add_months(self.start, self.rng.randint(1, 12)) - self.start).days
            offsets.add(self.rng.choice([month, self.rng.randint(1, self.days + 20)]))
        return {"by_date": [{"from": self.start + dt.timedelta(days=day), "value": draw()} for day in sorted(offsets)]}

    def vary(self, node: Any, key: str) -> Any:
        """Jitter amounts and paths wherever they stand."""
        if key in AMOUNTS or key in ("min", "max") or (isinstance(node, dict) and ("by_period" in node or "by_date" in node)):
            return self.path(node, share=key in ("min", "max"))
        if isinstance(node, dict):
            return {name: self.vary(entry, name) for name, entry in node.items()}
        if key in PLAIN and isinstance(node, int | float) and node > 0:
            return self.jitter(node)
        return node

    def vary_offers(self) -> None:
        """Lead times, lives, windows, usable and upfront shares; one rent per pool."""
        rented: set[tuple[str, str, str]] = set()
        for name in list(self.case.get("offers", {})):
            offer = self.case["offers"][name]
            kind = offer["kind"]
            if kind in SIGNED_KINDS:
                self.vary_terms(offer)
            if kind in SIGNED_KINDS and "deliveries" not in offer and self.chance(0.5):
                offer["lead_time_months"] = self.rng.randint(0, 5)
            if kind == "own" and self.chance(0.4):
                offer["life_months"] = self.rng.randint(3, 60)
            if kind == "lease" and self.chance(0.4):
                offer["term_months"] = self.rng.randint(1, 24)
            if kind in SIGNED_KINDS[1:] and self.chance(0.4):
                offer["upfront_share"] = round(self.rng.random(), 2)
            self.vary_breaks(offer)
            if self.chance(0.3):
                offer["usable_share"] = round(self.rng.uniform(0.6, 1), 2)
            offer.pop("window", None)
            if self.chance(0.3):
                until = self.rng.choice(self.firsts[1:]) + dt.timedelta(days=self.rng.choice([-1, 0, 1, -20]))
                offer["window"] = {"until": until}
                if self.chance(0.5):
                    latest = min(self.days - 1, (until - self.start).days)
                    offer["window"]["from"] = self.start + dt.timedelta(days=self.rng.randint(-20, latest))
            if "lot_chips" in offer:
                day = self.rng.choice(self.firsts[:-1])
                offer["window"] = {"from": day, "until": day}
            if kind == "spot" and self.chance(0.5):
                offer["interruptions"] = self.interruptions()
            if kind in RENT_KINDS:
                chips = offer.get("chips", [offer.get("chip")])
                places = offer.get("places", [offer.get("place")])
                pools = {(chip, place, kind) for chip in chips for place in places}
                if pools & rented:
                    del self.case["offers"][name]
                rented |= pools

    def vary_terms(self, offer: Map) -> None:
        """Lots that may be taken in part, and tables of deliveries."""
        if "lot_chips" in offer:
            offer["take"] = self.rng.choice(["fraction", "nothing"])
        offer.pop("deliveries", None)
        if self.chance(0.25):
            offer.pop("lead_time_months", None)
            offer.pop("breaks", None)
            months = sorted(self.rng.sample(range(14), self.rng.randint(1, 3)))
            shares = [1.0] if len(months) == 1 else [0.25, 0.75] if len(months) == 2 else [0.5, 0.125, 0.375]
            offer["deliveries"] = [{"months": month, "share": share} for month, share in zip(months, shares, strict=True)]

    def vary_breaks(self, offer: Map) -> None:
        """Breaks that fit the term; on some contracts that had none."""
        had = offer.pop("breaks", None)
        term = {"lease": offer.get("term_months", 0), "reserved_1y": 12, "reserved_3y": 36}.get(offer["kind"], 0)
        if term < 2 or "deliveries" in offer or not (had or self.chance(0.4)):
            return
        first = self.rng.randint(1, min(term - 1, 9))
        breaks: Map = {"every_months": first}
        if self.chance(0.5):
            breaks = {"months": sorted({first, *(self.rng.randint(first, term - 1) for _ in range(3))})}
        if self.chance(0.6):
            breaks["notice_months"] = self.rng.randint(0, first + offer.get("lead_time_months", 0))
        if self.chance(0.7):
            breaks["fee_share"] = round(self.rng.uniform(0, 0.3), 3)
        elif self.chance(0.5):
            breaks["fee_usd_per_chip"] = self.jitter(900)
        offer["breaks"] = breaks

    def interruptions(self) -> Map:
        """From hardly any to several an hour; a written checkpoint interval or the best."""
        found: Map = {
            "per_hour": float(f"{10 ** self.rng.uniform(-5, 0.8):.4g}") if self.chance(0.9) else 0,
            "restore_minutes": round(self.rng.uniform(0, 15), 2),
        }
        if self.chance(0.5):
            found["checkpoint_minutes"] = round(self.rng.uniform(0.1, 8), 2)
        if self.chance(0.5):
            found["checkpoint_interval_minutes"] = round(self.rng.uniform(1, 90), 1)
        return found

    def vary_existing(self) -> None:
        """Starts and ends inside the horizon."""
        for entry in self.case.get("existing", {}).values():
            entry.pop("start", None)
            entry["count_chips"] = self.jitter(entry["count_chips"])
            if self.chance(0.6) or to_date(entry["end"]) <= self.start:
                some_day = self.start + dt.timedelta(days=self.rng.randint(5, self.days + 40))
                entry["end"] = self.rng.choice([some_day, self.rng.choice(self.firsts[1:])])
            if self.chance(0.3):
                longest = min(self.days, (to_date(entry["end"]) - self.start).days)
                entry["start"] = self.start + dt.timedelta(days=self.rng.randint(-50, longest - 1))

    def vary_shares(self) -> None:
        """Of what, and on which basis; a share keeps one side."""
        for share in self.case.get("limits", {}).get("share", {}).values():
            if self.chance(0.75):
                share["of"] = "total"
            if self.chance(0.4):
                share["basis"] = self.rng.choice(["compute", "chips", "spend"])
            if "min" in share and "max" in share:
                del share[self.rng.choice(["min", "max"])]
            share.pop("excess_usd_per_unit", None)
            if share["of"] == "total":
                share["excess_usd_per_unit"] = round(self.rng.uniform(0.1, 2), 3)

    def vary_work(self) -> None:
        """Level, movability, preemptibility; no list that could leave nothing."""
        for workload in self.case["workloads"].values():
            workload.pop("allowed_providers", None)
            workload.pop("allowed_families", None)
            if "runs" in workload:
                self.vary_windows(workload["runs"])
                continue
            if self.chance(0.3):
                workload["level"] = self.rng.choice(["mid", "end"])
            if workload["kind"] != "serving" and self.chance(0.3):
                workload["movable"] = self.chance(0.5)
            if self.chance(0.3):
                workload["preemptible"] = self.chance(0.6)

    def vary_windows(self, runs: Map) -> None:
        """Windows of at least one whole period of the new calendar, not always at its edges."""
        for run in runs.values():
            first = self.rng.randrange(self.periods)
            last = self.rng.randrange(first, self.periods)
            begin, until = self.firsts[first], self.firsts[last + 1] - dt.timedelta(days=1)
            early = self.rng.randint(0, 25) if first > 0 and self.chance(0.5) else 0
            late = self.rng.randint(0, 25) if last + 1 < self.periods and self.chance(0.5) else 0
            run["from"], run["until"] = begin - dt.timedelta(days=early), until + dt.timedelta(days=late)

    def vary_scenarios(self) -> None:
        """When they part, and one more multiplier for some."""
        scenarios = self.case.get("scenarios")
        if scenarios is None:
            return
        scenarios.pop("reveal", None)
        if self.periods > 1 and self.chance(0.7):
            scenarios["reveal"] = self.rng.choice(self.firsts[1 : self.periods])
        for scenario in scenarios["cases"].values():
            for entry in scenario.get("demand", {}).values():
                if "workloads" in entry:
                    known = [name for name in entry["workloads"] if name in self.case["workloads"]]
                    entry["workloads"] = known or list(self.case["workloads"])[:1]
            if self.chance(0.4):
                kinds = self.rng.sample([*SIGNED_KINDS, *RENT_KINDS], self.rng.randint(1, 4))
                scenario.setdefault("prices", {})["mixed"] = {"path": round(self.rng.uniform(0.6, 1.6), 3), "kinds": kinds}
            if self.chance(0.3):
                scenario.setdefault("demand", {})["mixed"] = {"path": round(self.rng.uniform(0.6, 1.6), 3)}


def mixed_case(seed: int) -> Map:
    """The random case of a seed."""
    case = Mixer(seed).mix()
    case["name"] = f"mixed_{seed}"
    return case
