"""Compile what a case's programs need without solving them, so that an image of a machine begins to solve at once.

A case whose work queues is solved as several programs (`optimizer.headroom`): one from below and some from above. They differ in numbers
alone and have one shape, so the first stands for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optimizer.devices import Session, prepare
from optimizer.headroom import from_below, most_load
from optimizer.performance.replicas import SpareCurves
from optimizer.plan import CaseOrPath, build, load
from optimizer.program.program import Program
from optimizer.settings import Settings
from optimizer.spec.resolved import Case


@dataclass(frozen=True)
class Warmed:
    """One shape in one precision: `nodes`, `pairs` and `acquisitions` after padding, how many functions were `compiled` (0: all were there
    already), in how many seconds, and the file or directory where they lie."""

    precision: str
    nodes: int
    pairs: int
    acquisitions: int
    compiled: int
    seconds: float
    where: Path


def warm_up(case: CaseOrPath, settings: Settings | None = None) -> Iterator[Warmed]:
    """Compile and keep every shape that a plan of the case needs. Raises CaseError for a case that cannot be used."""
    from optimizer.solver.compiled import compile_for, file_for
    from optimizer.solver.interior_point import LADDER, as_type, suitable
    from optimizer.solver.layout import make_layout

    settings = settings or Settings()
    program = first_program(case if isinstance(case, Case) else load(case))
    session = prepare()
    layout = make_layout(program, most_devices(session, settings), session.platform == "cpu")
    for kind in LADDER[suitable(settings.precision, session.platform)]:
        data, began = as_type(layout.data, kind), time.perf_counter()
        with session.counting() as counter:
            compile_for(layout.shape, data)
        shape, seconds = layout.shape, time.perf_counter() - began
        where = file_for(shape, data) or Path(session.cache)
        yield Warmed(kind, shape.nodes, shape.pairs, shape.acquisitions, counter.count, seconds, where)


def first_program(case: Case) -> Program:
    """The one that a plan solves first."""
    built = build(case)
    groups = built.structure.pair_index.groups
    if groups is None:
        return built.program
    most = most_load(built.program, groups)
    return from_below(built.program, groups, SpareCurves(groups.loads, most.max(axis=(0, 1))), most)


def most_devices(session: Session, settings: Settings) -> int:
    """As many as a solve would share itself out to."""
    return min(settings.devices or session.devices, session.devices)
