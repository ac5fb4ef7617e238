"""Orders too small to mean anything are taken out of a certified plan, if it is certified without them.

An interior point leaves every order that is not worth having at a little above zero: 1,465 orders under one chip beside the 192 that make
the flagship's plan.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.program.certificate import Certificate, Status, certify_plans
from optimizer.program.program import Program

SHARES = (1e-4, 1e-6)  # of the largest order, tried in turn


def without_dust(program: Program, certificate: Certificate, tolerance: float) -> Certificate | None:
    """The certificate of the plan without its smallest orders; None where there are some and the plan needs them to be certified.

    Only orders that may be zero and that feed a pool are taken out.
    """
    plan, multipliers = certificate.plan, certificate.multipliers
    assert plan is not None and multipliers is not None
    _, output, acquisition = program.held_matrix.index
    orders = np.zeros(program.acquisitions, bool)
    orders[acquisition[output < program.pools]] = True
    orders &= program.acquisition_lower == 0
    largest = plan.z[orders].max(initial=0.0)
    dust = [orders & (plan.z > 0) & (plan.z < share * largest) for share in SHARES]
    swept = (replace(plan, z=np.where(some, 0.0, plan.z)) for some in dust if some.any())
    tried = certify_plans(program, swept, multipliers, tolerance, reach=1.1)
    if tried and tried[-1].status is Status.CERTIFIED:
        return tried[-1]
    return None if dust[-1].any() else certificate
