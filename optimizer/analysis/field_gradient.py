"""d (optimal cost) / d (every number of the case and of the catalog rows that it uses), in one backward pass.

The Lagrangian's partial derivatives at the certified plan and multipliers (`optimizer.program.lagrangian`) are pulled back through the
builder's values half to the parameter vector by automatic differentiation (`pullback`). What was chosen with the numbers as they are (which
pool may serve which stream, layouts of the performance model, the lines that stand for spare replicas) is held fixed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from optimizer.analysis.pullback import pulled_back
from optimizer.build.build import Built
from optimizer.program import Multipliers, Plan
from optimizer.program.lagrangian import lagrangian_gradient

SUM_RULES = (
    re.compile(r"(scenarios\.cases)\..*\.probability"),
    re.compile(r"(workloads\..*\.origins)\.[^.]*"),
    re.compile(r"(offers\..*\.deliveries)\.\d+\.share"),
)
"""Fields that must sum to one with their siblings: one moves, the others are rescaled."""


@dataclass(frozen=True)
class FieldGradient:
    """Per entry of `Parameters`: dollars of expected present cost per unit of the field. `alone` is False where the field moves its
    siblings with it (shares and probabilities); NaN where it cannot move at all (the only scenario). `partial`: of the field alone, as if
    shares need not add up: what a move of all fields together is multiplied with."""

    keys: tuple[str, ...]
    values: np.ndarray  # [M]
    derivative: np.ndarray  # [M]
    alone: np.ndarray  # bool[M]
    partial: np.ndarray  # [M]


def field_gradient(built: Built, plan: Plan, multipliers: Multipliers) -> FieldGradient:
    """`built.program` may differ from the case's own by constants (lines of spare replicas); plan and multipliers are of it. Raises
    ValueError where they do not fit."""
    theta = built.parameters.values
    raw = pulled_back(built.structure, theta, lagrangian_gradient(built.program, plan, multipliers))
    keys = built.parameters.keys
    derivative, alone = raw.copy(), np.ones(len(keys), bool)
    for members in siblings(keys):
        alone[members] = False
        derivative[members] = along_the_sum(raw[members], theta[members])
    return FieldGradient(keys, theta, derivative, alone, raw)


def siblings(keys: tuple[str, ...]) -> list[np.ndarray]:
    """Positions of the fields under each sum rule."""
    groups: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        for rule in SUM_RULES:
            found = rule.fullmatch(key)
            if found is not None:
                groups.setdefault(found[1], []).append(position)
    return [np.array(members) for members in groups.values()]


def along_the_sum(derivative: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Of each share while the others keep their proportions and the sum stays: g_i - sum_{j != i} g_j s_j / (sum - s_i)."""
    rest = share.sum() - share
    others = (derivative @ share) - derivative * share
    return np.where(rest > 0, derivative - others / np.where(rest > 0, rest, 1.0), np.nan)


def moved(theta: np.ndarray, keys: tuple[str, ...], position: int, by: float) -> np.ndarray:
    """The parameter vector with one field moved, its siblings rescaled."""
    out = theta.copy()
    out[position] += by
    for members in siblings(keys):
        if position in members:
            others = members[members != position]
            rest = theta[others].sum()
            out[others] *= (rest - by) / rest if rest > 0 else 1.0
    return out
