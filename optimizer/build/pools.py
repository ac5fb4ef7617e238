"""The pools of a case: every (chip, place, firm or preemptible) in which capacity can stand in some period."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from optimizer.build.records import PoolRecord
from optimizer.performance.eligibility import Candidate
from optimizer.spec.resolved import Case

PoolKey = tuple[str, str, bool]  # chip, place, preemptible


@dataclass(frozen=True)
class Pools:
    """G pools in the order in which the case first names a source for them: offers, then the existing fleet."""

    candidates: tuple[Candidate, ...]
    position: dict[PoolKey, int]

    @staticmethod
    def of(case: Case, sources: Iterable[PoolKey]) -> Pools:
        keys = tuple(dict.fromkeys(sources))
        named = (
            Candidate(f"{chip} {place}{' (preemptible)' if preemptible else ''}", case.chips[chip], case.places[place], preemptible)
            for chip, place, preemptible in keys
        )
        return Pools(tuple(named), {key: index for index, key in enumerate(keys)})

    def __len__(self) -> int:
        return len(self.candidates)

    def at(self, keys: Iterable[PoolKey]) -> np.ndarray:
        """int[...]: positions; -1 for a pool without any source."""
        return np.array([self.position.get(key, -1) for key in keys], int)

    def records(self, rent: dict[int, tuple[str, float]], existing: dict[int, list[str]]) -> tuple[PoolRecord, ...]:
        """`rent`: offer and usable share by pool; `existing`: names of fleets by pool."""
        return tuple(
            PoolRecord(
                index=g,
                name=c.name,
                chip=c.chip.name,
                family=c.chip.family,
                place=c.place.name,
                provider=c.place.provider,
                residency_zone=c.place.residency_zone,
                preemptible=c.preemptible,
                is_site=c.place.is_site,
                rent_offer=rent[g][0] if g in rent else None,
                rent_usable_share=rent[g][1] if g in rent else 1.0,
                existing=tuple(existing.get(g, ())),
            )
            for g, c in enumerate(self.candidates)
        )
