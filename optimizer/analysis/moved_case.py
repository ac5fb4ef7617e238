"""A case with some of its numbers moved inside ranges: what a change is, how large it is, and the certified best plan there.

A change is a vector u, one entry per field: the relative change of the number, or, of a share or rate that is 0, the change itself (0.01 is
a point). A field of the case file is laid on the file and read again with all that hangs on it; a number of a catalog row is replaced in
the vector of the built case, where what may serve what stays as it is. Shares and probabilities take the rest of their sum from those that
are not named, in proportion.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.analysis.field_gradient import field_gradient, siblings
from optimizer.analysis.field_units import allowed, is_point
from optimizer.analysis.what_if import Answer, WhatIf
from optimizer.build.build import Built, program_of
from optimizer.build.values import values
from optimizer.program.program import ProgramError
from optimizer.spec import CaseError
from optimizer.sweep_fields import locate

Ranges = Mapping[str, tuple[float, float]]
MOST_FIELDS = 12
SAME = 1e-12  # changes closer than this are one point


def read_changes(texts: Iterable[str]) -> dict[str, tuple[float, float]]:
    """(lowest, highest) by key path, of options such as `offers.buy.price_usd_per_chip=20000:35000`. Raises CaseError."""
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        key, equals, span = text.partition("=")
        key, ends = key.strip(), span.split(":")
        if not equals or not key or len(ends) != 2:
            remedy = "write a range, such as offers.buy.price_usd_per_chip=20000:35000"
            raise CaseError("--change", text, "is not KEY.PATH=LOWEST:HIGHEST", remedy)
        if key in found:
            raise CaseError("--change", key, "is named twice", "write one range per field")
        try:
            found[key] = float(ends[0]), float(ends[1])
        except ValueError as error:
            raise CaseError("--change", key, f"has the range `{span}`, which is not two numbers", "write LOWEST:HIGHEST") from error
    return found


@dataclass(frozen=True)
class Field:
    """One number that may move. `scale`: what a change of 1 is; `in_case`: it stands in the case file, else in a row of the catalog;
    `smooth`: the cost has a derivative with respect to it."""

    key: str
    value: float
    lowest: float
    highest: float
    scale: float
    relative: bool
    in_case: bool
    smooth: bool

    def at(self, change: float) -> float:
        """The number at a change; exact at the ends of the range and at no change."""
        if change == 0:
            return self.value
        return float(min(max(self.value + change * self.scale, self.lowest), self.highest))


class MovedCase:
    """Certified answers at changes u [K] of K fields. Raises CaseError for a field that does not exist, that is no number, or whose range
    cannot be."""

    def __init__(self, what_if: WhatIf, ranges: Ranges) -> None:
        if not ranges:
            raise CaseError(str(what_if.path), "--change", "names no field", "name at least one as KEY.PATH=LOWEST:HIGHEST")
        if len(ranges) > MOST_FIELDS:
            raise CaseError(str(what_if.path), "--change", f"names {len(ranges)} fields", f"name at most {MOST_FIELDS}")
        self.what_if = what_if
        self.base = what_if.built()
        self.fields = tuple(self._field(key, float(low), float(high)) for key, (low, high) in ranges.items())
        self._groups = self._sum_groups()
        self.low = np.array([(f.lowest - f.value) / f.scale for f in self.fields])
        self.high = np.array([(f.highest - f.value) / f.scale for f in self.fields])
        self._known: dict[tuple[float, ...], Answer] = {}
        self._slopes: dict[int, tuple[Answer, np.ndarray]] = {}
        self._asked: dict[tuple[float, ...], np.ndarray] = {}
        self.ends = [self._refuse_unusable(i, end) for i in range(len(self.fields)) for end in (self.low[i], self.high[i])]

    # reading --------------------------------------------------------------------------------------------------------------------------
    def _field(self, key: str, low: float, high: float) -> Field:
        file, parameters = str(self.what_if.path), self.base.parameters
        smooth, in_case = key in parameters, True
        try:
            location = locate(self.what_if.document, key)
        except CaseError as error:
            if not smooth:
                raise self._unknown(key, error) from error
            location, in_case = (), False
        if smooth:
            value = parameters.value(key)
        else:
            stands: Any = self.what_if.document.data
            for step in location:
                stands = stands.get(step) if isinstance(stands, dict) else stands[step]
            if isinstance(stands, bool) or not isinstance(stands, int | float):
                raise self._no_number(key, stands)
            value = float(stands)
        if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
            what = f"has the range {low:g}:{high:g}, which is empty or has no end"
            raise CaseError(file, key, what, "write LOWEST:HIGHEST, finite, the lowest first")
        if not low <= value <= high:
            remedy = f"write a range that holds {value:g}"
            raise CaseError(file, key, f"is {value:g} as it is, outside the range {low:g}:{high:g}", remedy)
        least, most = allowed(key)
        if smooth and not (least <= low and high <= most):
            remedy = f"stay between {least:g} and {most:g}" if math.isfinite(most) else f"stay at or above {least:g}"
            raise CaseError(file, key, f"has the range {low:g}:{high:g}, beyond what the number can be", remedy)
        if value == 0 and not is_point(key):
            what = "is 0, and a change relative to 0 has no size"
            raise CaseError(file, key, what, "write a number into the case, or name another field")
        return Field(key, value, low, high, abs(value) or 1.0, value != 0, in_case, smooth)

    def _unknown(self, key: str, error: CaseError) -> CaseError:
        """A row of the catalog is told with the nearest numbers that the case uses."""
        if not key.startswith("catalog."):
            return error
        rows = [name for name in self.base.parameters.keys if name.startswith("catalog.")]
        near = [f"`{name}`" for name in difflib.get_close_matches(key, rows, 3, 0.6)]
        remedy = f"the nearest are {', '.join(near)}" if near else "capacity sensitivity lists every number that counts"
        return CaseError(str(self.what_if.path), key, "is no number of the catalog that the case uses", remedy)

    def _no_number(self, key: str, stands: Any) -> CaseError:
        names, end = self.base.parameters.keys, f".{key.rpartition('.')[2]}"
        keys = [name for name in names if name.startswith(f"{key}.")]
        keys += [name for name in names if stands == "catalog" and name.startswith("catalog.") and name.endswith(end)]
        near = ", ".join(f"`{name}`" for name in keys[:3])
        said = f"is `{stands}`" if isinstance(stands, str) else "is no single number"
        remedy = f"name a number: {near}" if near else "name a field with a number"
        return CaseError(str(self.what_if.path), key, f"{said} in the case", remedy)

    def _sum_groups(self) -> list[tuple[list[int], np.ndarray, np.ndarray]]:
        """(fields, their positions in the vector, positions of the free siblings) of every sum rule that is touched."""
        keys, found = self.base.parameters.keys, []
        for members in siblings(keys):
            mine = [i for i, f in enumerate(self.fields) if f.smooth and self.base.parameters.index(f.key) in members]
            if not mine:
                continue
            positions = np.array([self.base.parameters.index(self.fields[i].key) for i in mine])
            free = np.setdiff1d(members, positions)
            file, first = str(self.what_if.path), self.fields[mine[0]].key
            if not len(free) or self.base.parameters.values[free].sum() <= 0:
                raise CaseError(file, first, "has no sibling left that could take up its change", "leave one of the shares out of --change")
            if sum(self.fields[i].highest for i in mine) >= 1:
                raise CaseError(file, first, "and its siblings could sum to 1 or more", "lower the highest values: the others keep a share")
            found.append((mine, positions, free))
        return found

    def _refuse_unusable(self, i: int, end: float) -> tuple[np.ndarray, Built]:
        u = np.zeros(len(self.fields))
        u[i] = end
        return u, self.built(u)

    # moving -----------------------------------------------------------------------------------------------------------------------------
    def changed(self, u: np.ndarray) -> dict[str, float]:
        """Number by key path, siblings under a sum rule with them; what does not move is left out."""
        u, theta = np.asarray(u, float), self.base.parameters.values
        found = {f.key: f.at(c) for f, c in zip(self.fields, u, strict=True) if f.at(c) != f.value}
        for mine, positions, free in self._groups:
            if any(self.fields[i].key in found for i in mine):
                rest = 1.0 - sum(self.fields[i].at(u[i]) for i in mine)
                before = 1.0 - float(theta[positions].sum())
                found |= {self.base.parameters.keys[j]: float(theta[j]) * rest / before for j in free}
        return found

    def built(self, u: np.ndarray) -> Built:
        """The case at a change. Raises CaseError where a number cannot be."""
        found = self.changed(u)
        rows = {f.key for f in self.fields if not f.in_case}
        built = self.what_if.built({key: value for key, value in found.items() if key not in rows})
        catalog = {key: value for key, value in found.items() if key in rows}
        if not catalog:
            return built
        theta = built.parameters.replaced(catalog)
        try:
            program = program_of(built.structure, values(built.structure, theta)).check()
        except ProgramError as error:
            raise CaseError(str(self.what_if.path), ", ".join(catalog), str(error), "choose another range") from error
        return replace(built, program=program, parameters=replace(built.parameters, values=theta))

    def at(self, u: np.ndarray) -> Answer:
        """The certified best plan at a change; solved once."""
        u = np.clip(np.asarray(u, float), self.low, self.high)
        key = tuple(np.round(u / SAME).tolist())
        if key not in self._known:
            self._known[key] = self.what_if.of(self.built(u), self.changed(u))
            self._asked[key] = u
        return self._known[key]

    @property
    def solved(self) -> list[np.ndarray]:
        """The changes that were solved, in their order."""
        return list(self._asked.values())

    def theta(self, u: np.ndarray) -> np.ndarray:
        """The vector of the built case's numbers at a change, [M]; fields that are no part of it stay."""
        return self.base.parameters.replaced({key: value for key, value in self.changed(u).items() if key in self.base.parameters})

    @property
    def smooth(self) -> bool:
        return all(f.smooth for f in self.fields)

    def gradient(self, answer: Answer) -> np.ndarray:
        """[K]: d (optimal cost) / du at a certified plan, dollars; exact almost everywhere where all fields are `smooth`."""
        known = self._slopes.get(id(answer))
        if known is not None:
            return known[1]
        c, built = answer.found.solution.certificate, answer.found.built
        assert c.plan is not None and c.multipliers is not None
        found = field_gradient(built, c.plan, c.multipliers)
        position = {key: i for i, key in enumerate(found.keys)}
        out = np.array([found.derivative[position[f.key]] for f in self.fields])
        for mine, positions, free in self._groups:
            # `derivative` lets all siblings of one field give way; here only the free ones do. Up to a constant that a sum rule cannot
            # feel, the derivative of a share with the others held is (1 - share) times it.
            members = np.concatenate([positions, free])
            share = found.values[members]
            raw = found.derivative[members] * (1.0 - share)
            rest = raw[len(positions) :] @ share[len(positions) :] / share[len(positions) :].sum()
            out[mine] = raw[: len(positions)] - rest
        out = out * np.array([f.scale for f in self.fields])
        self._slopes[id(answer)] = answer, out  # with the answer, so that no other one gets its identity
        return out
