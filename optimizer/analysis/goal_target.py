"""What a goal is to meet: cost_usd<=2.0e9, cost<=-5%, share_own>=0.5, unserved<=0.1%; and how far a certified plan is from it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.report.summary import MODES
from optimizer.spec import CaseError

if TYPE_CHECKING:
    from optimizer.analysis.what_if import Answer

COST, CHANGE, UNSERVED = "cost_usd", "cost", "unserved"
SHARES = tuple(f"share_{word.replace('-', '_')}" for word in MODES)
SMALLEST = 1e-9  # a share of unserved work below this is rounding
_TARGET = re.compile(r"\s*([A-Za-z_][A-Za-z_ \-]*?)\s*(<=|>=)\s*(\S+)\s*")
KNOWN = f"cost_usd<=X, cost<=-5%, unserved<=x, or a share of the compute such as {SHARES[0]}>=0.5"


@dataclass(frozen=True)
class Target:
    """`measure` is COST, CHANGE, UNSERVED or one of SHARES; `value` in dollars, or a share."""

    text: str
    measure: str
    at_least: bool
    value: float

    @property
    def of_cost(self) -> bool:
        return self.measure in (COST, CHANGE)

    def limit(self, base: Answer) -> float:
        """What the measure is compared with. A fall of the cost counts from the base's certified lower bound, so that it is certified."""
        return base.lower_bound_usd * (1.0 + self.value) if self.measure == CHANGE else self.value

    def bracket(self, answer: Answer) -> tuple[float, float]:
        """(at least, at most) of the measure. Of the cost: the certified bracket. Of anything else: what the certified plan has, twice;
        other plans of the same cost may have something else. Without a plan: NaN."""
        if not answer.has_plan:
            return math.nan, math.nan
        if self.of_cost:
            return answer.lower_bound_usd, answer.cost_usd
        value = unserved_share(answer) if self.measure == UNSERVED else float(answer.row.get(self.measure, 0.0))
        return value, value

    def excess(self, answer: Answer, limit: float) -> tuple[float, float]:
        """(at least, at most) of what is to be at or below zero."""
        low, high = self.bracket(answer)
        if not answer.has_plan:  # where limits clash there is none; where a solve failed there may be
            return (math.inf if answer.status == "INFEASIBLE" else -math.inf), math.inf
        return (limit - high, limit - low) if self.at_least else (low - limit, high - limit)


def read_target(text: str) -> Target:
    """Raises CaseError for what is no target."""
    found = _TARGET.fullmatch(text)
    if found is None:
        raise CaseError("--meet", text, "is no target", f"write {KNOWN}")
    name, way, number = found[1].replace("-", "_").replace(" ", "_"), found[2], found[3]
    percent = number.endswith("%")
    try:
        value = float(number.rstrip("%")) / (100 if percent else 1)
    except ValueError as error:
        raise CaseError("--meet", text, f"compares with `{number}`, which is no number", "write a number such as 2.0e9 or 5%") from error
    if not math.isfinite(value):
        raise CaseError("--meet", text, "compares with what is not finite", "write a number")
    if name.endswith("_share"):
        name = f"share_{name.removesuffix('_share')}"
    if name not in (COST, CHANGE, UNSERVED, *SHARES):
        raise CaseError("--meet", text, f"`{found[1]}` is nothing that a goal can meet", f"write {KNOWN}")
    if name in (COST, CHANGE, UNSERVED) and way == ">=":
        raise CaseError("--meet", text, "asks for more of what should be little", f"write {name}<={number}")
    if name == CHANGE and not percent:
        raise CaseError("--meet", text, "gives the change of the cost as no percentage", "write cost<=-5%, or cost_usd<=X for dollars")
    if name == CHANGE and value <= -1:
        raise CaseError("--meet", text, "asks for a cost below nothing", "write a fall of less than 100 %, such as cost<=-5%")
    if name == COST and percent:
        raise CaseError("--meet", text, "gives dollars as a percentage", "write cost<=-5% for a change")
    if name not in (COST, CHANGE) and not 0 <= value <= 1:
        raise CaseError("--meet", text, f"compares a share with {value:g}", "write a number from 0 to 1, or a percentage")
    return Target(text.strip(), name, way == ">=", value)


def unserved_share(answer: Answer) -> float:
    """Of all work, weighted by what it costs to leave it unserved (probability, discounting and price of the work), the part that is."""
    program, plan = answer.found.built.program, answer.found.solution.certificate.plan
    assert plan is not None
    template, weight = program.template_of_node, program.node_weight
    priced = np.where(np.isfinite(program.link_slack_cost) & np.isfinite(program.link_slack_upper), program.link_slack_cost, 0.0)
    room = np.where(np.isfinite(program.link_slack_upper), program.link_slack_upper, 0.0)

    def weighed(served: np.ndarray, deferrable: np.ndarray, slack: np.ndarray) -> float:
        by_node = np.einsum("nbw,nbw->n", program.unserved_cost[template], served)
        by_node = by_node + np.einsum("nw,nw->n", program.unserved_cost_deferrable[template], deferrable)
        return float(weight @ by_node + priced @ slack)

    whole = weighed(program.demand, program.demand_deferrable, room)
    share = weighed(plan.u, plan.ud, plan.link_slack) / whole if whole > 0 else 0.0
    return share if share > SMALLEST else 0.0
