"""Tiny orders leave a certified plan, and only where it stays certified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.program.certificate import Status, certify
from optimizer.program.tidy import without_dust
from optimizer.settings import Settings
from optimizer.solve import solve
from tests.oracle.random_programs import FAMILIES, random_program


def test_dust_is_swept_out_and_the_plan_stays_certified() -> None:
    program = random_program(3, **FAMILIES["plain"])
    best = solve(program, Settings(gap_relative=1e-6, engine="interior")).certificate  # near a vertex: from one, repair sweeps by itself
    assert best.status is Status.CERTIFIED
    z = best.plan.z
    idle = (z == 0) & (program.acquisition_lower == 0)
    assert idle.any()
    dusty = certify(program, replace(best.plan, z=np.where(idle, 1e-9 * z.max(), z)), best.multipliers, 1e-6)
    assert (dusty.plan.z > 0).sum() > (z > 0).sum()
    clean = without_dust(program, dusty, 1e-6)
    assert clean is not None
    assert clean.status is Status.CERTIFIED
    assert (clean.plan.z > 0).sum() == (z > 0).sum()


def test_a_plan_that_is_not_certified_without_its_dust_keeps_it() -> None:
    program = random_program(3, **FAMILIES["plain"])
    best = solve(program, Settings(gap_relative=1e-6)).certificate
    z = best.plan.z
    dusty = replace(best, plan=replace(best.plan, z=np.where(z == 0, 1e-9 * z.max(), z)))
    assert without_dust(program, dusty, 1e-15) is None
