"""The costs of the program split as the cost table prints them (case reference, section 8): by category, period and payment date.

The program holds one coefficient per acquisition and one constant; this is the same money before it is added up, so that
    weight[z] * sum over categories and periods of present[z, t] = acquisition_cost[z]
    sum over existing fleets and periods of present[e, t]        = constant
The recourse needs no splitting: placement_cost is energy, unserved_cost is unserved, rent_cost is on_demand or (in preemptible
pools) spot, side_slack_cost is share_excess, each nominal, each times node_weight = probability * discount factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from optimizer.build.acquisitions import acquisition_values
from optimizer.build.existing import existing_values
from optimizer.build.numbers import Array
from optimizer.build.structure import Structure
from optimizer.economics.cashflow import LEASE, RESERVED


@dataclass(frozen=True)
class UnitCosts:
    """Dollars per chip of every acquisition, dollars of every existing fleet. End values stand in the last period."""

    weight: Array  # [Z], probability of the acquisition's branch; 1 at a shared node
    nominal: dict[str, Array]  # category -> [Z, T]
    present: dict[str, Array]  # category -> [Z, T], discounted to the start of the horizon
    existing_nominal: Array  # [E, T], category `existing`: operations or hourly price, and idle energy
    existing_present: Array  # [E, T]
    discount_mid: Array  # [T]


def unit_costs(structure: Structure, theta: Array, xp: ModuleType = np) -> UnitCosts:
    """theta float64[M]; numpy or jax.numpy."""
    numbers = structure.numbers(theta, xp)
    index = structure.acquisition
    acquired = acquisition_values(index, numbers)
    cash, start, mid = acquired.cash, numbers.start, numbers.mid
    last = (np.arange(structure.tree.periods) == structure.tree.periods - 1).astype(float)
    hired = cash.contract + cash.upfront
    hired_present = cash.contract * mid + cash.upfront * start
    lease, reserved = ((index.ownership == kind).astype(float)[:, None] for kind in (LEASE, RESERVED))
    nominal = {
        "purchase": cash.purchase,
        "operations": cash.operations,
        "energy": cash.energy,
        "lease": hired * lease,
        "reserved": hired * reserved,
        "break_fee": cash.break_fee,
        "end_value": cash.end_value[:, None] * last,
    }
    present = {
        "purchase": cash.purchase * start,
        "operations": cash.operations * mid,
        "energy": cash.energy * mid,
        "lease": hired_present * lease,
        "reserved": hired_present * reserved,
        "break_fee": cash.break_fee * start,
        "end_value": cash.end_value[:, None] * last * numbers.end,
    }
    flows = existing_values(structure.existing_index, numbers)
    existing = flows.spend + flows.energy
    return UnitCosts(acquired.weight, nominal, present, existing, existing * mid, mid)
