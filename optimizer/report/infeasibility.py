"""Why no plan exists, in the words and units of the case."""

from __future__ import annotations

import numpy as np

from optimizer.build.records import LimitRecord
from optimizer.build.structure import Structure
from optimizer.program.infeasible import Infeasibility, Shortfall
from optimizer.program.layout import limit_operator
from optimizer.program.program import Program
from optimizer.report import figures

MOST = 8
"""Shortfalls that are written out."""
CAUSES = 3


def conflicts(structure: Structure, program: Program, infeasibility: Infeasibility) -> tuple[str, ...]:
    """One sentence per limit that the least relaxation must move, the worst first; then what is left unsaid."""
    worst = sorted(infeasibility.shortfalls, key=lambda s: -s.amount / _size(program, s.index))
    said = [_sentence(structure, program, infeasibility, shortfall) for shortfall in worst[:MOST]]
    if len(worst) > MOST:
        said.append(f"{len(worst) - MOST} more limits are short.")
    return tuple(said) or (infeasibility.sentence,)


def _size(program: Program, row: int) -> float:
    upper = program.limit_upper[row]
    return max(abs(float(upper)), 1e-9) if np.isfinite(upper) else 1.0


def _sentence(structure: Structure, program: Program, infeasibility: Infeasibility, shortfall: Shortfall) -> str:
    record = structure.limits[shortfall.index]
    causes = [*_fleets(structure, record), *_fixed_orders(structure, program, record)]
    if not causes:
        others = [structure.limits[row] for row in infeasibility.conflict if row != shortfall.index]
        causes = [_asks(structure, program, other) for other in others]
    because = f" because {_listed(causes[:CAUSES], len(causes))}" if causes else ""
    where = f" (set by {', '.join(record.keys)})" if record.keys else ""
    return f"{_short(structure, record, shortfall.amount)}{because}{where}."


def _short(structure: Structure, record: LimitRecord, amount: float) -> str:
    by, when = figures.amount(amount, record.unit), _when(structure, record)
    if record.kind == "site_power":
        return f"power at site {record.limit} is short by {by} {when}"
    if record.kind == "supply":
        return f"supply {record.limit} is short by {by} {when}"
    if record.kind == "capex":
        return f"the budget {record.limit} is short by {by} {when}"
    if record.kind == "total":
        return f"offer {record.limit} is short by {by} over the horizon"
    if record.kind == "break":
        return f"more of {record.limit} is extended than is held before the break, by {by}, decided {when}"
    if record.kind == "available":
        return f"offer {record.limit} is short by {by} when signed {when}"
    verb = "exceeds its maximum" if record.bound == "max" else "misses its minimum"
    return f"share {record.limit} {verb} by {by} {when}"


def _when(structure: Structure, record: LimitRecord) -> str:
    scenario = f" in scenario {record.scenario}" if record.scenario else ""
    return f"in {structure.periods[record.period].name}{scenario}"


def _asks(structure: Structure, program: Program, record: LimitRecord) -> str:
    """What another limit of the conflict asks for."""
    upper, when = figures.amount(float(program.limit_upper[record.index]), record.unit), _when(structure, record)
    if record.kind == "site_power":
        return f"power at site {record.limit} leaves {upper} {when}"
    if record.kind == "share":
        return f"share {record.limit} asks for its {'maximum' if record.bound == 'max' else 'minimum'} {when}"
    return f"{record.kind} {record.limit} allows {upper}{'' if record.kind == 'total' else ' ' + when}"


def _fleets(structure: Structure, record: LimitRecord) -> list[str]:
    """Existing fleets that take of a site's power in the period."""
    if record.kind != "site_power":
        return []
    said = []
    for present in structure.existing:
        fleet = structure.case.existing[present.name]
        if present.place == record.limit and present.ownership == "own" and record.period in present.present:
            place, chip = structure.case.places[fleet.place], structure.case.chips[fleet.chip]
            assert place.pue is not None
            megawatt = fleet.count_chips.value * chip.provisioned_power_kw_per_chip.value * place.pue.value / 1000
            said.append(f"the existing fleet {fleet.name} takes {figures.amount(megawatt, 'MW')}")
    return said


def _fixed_orders(structure: Structure, program: Program, record: LimitRecord) -> list[str]:
    """Orders that are given (not free) and count in the row, the largest first."""
    row = limit_operator(program).dense([record.index])[0]
    taken = row * program.acquisition_lower
    said = []
    for z in np.argsort(-taken).tolist()[:CAUSES]:
        if taken[z] > 0:
            a = structure.acquisitions[z]
            count = figures.amount(float(program.acquisition_lower[z]), "chips")
            uses = "" if record.unit == "chips" else f" take {figures.amount(float(taken[z]), record.unit)}"
            said.append(f"{count} of {a.offer} signed on {a.signing_date}{uses or ' are ordered'}")
    return said


def _listed(items: list[str], whole: int) -> str:
    more = [f"{whole - len(items)} more"] if whole > len(items) else []
    return " and ".join([*items, *more])
