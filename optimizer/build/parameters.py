"""Every number of the case that an array depends on, as one vector; and the table that hands out positions in it.

Two quantities with one key are one field of the file and share one entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from optimizer.spec.resolved import Quantity

ONE = -1
ZERO = -2
"""Positions of the constants 1 and 0 in the extended vector."""


class BuildError(ValueError):
    """The resolved case contradicts itself; the message names the field."""


@dataclass(frozen=True)
class Parameters:
    """`values[i]` is the number that stands at key path `keys[i]` of the case or of a catalog row."""

    values: np.ndarray  # float64[M]
    keys: tuple[str, ...]  # M
    assumed: np.ndarray  # bool[M]

    @cached_property
    def _position(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._position

    def index(self, key: str) -> int:
        return self._position[key]

    def value(self, key: str) -> float:
        return float(self.values[self._position[key]])

    def replaced(self, changes: dict[str, float]) -> np.ndarray:
        """float64[M]: the vector with some entries changed; the structure stays."""
        theta = self.values.copy()
        for key, value in changes.items():
            theta[self._position[key]] = value
        return theta


@dataclass(frozen=True)
class Scaled:
    """Numbers of the vector, each times a constant of its own."""

    position: np.ndarray  # int[X]
    factor: np.ndarray  # [X]

    def read(self, e: Any) -> Any:
        """[X]; `e` is the extended vector."""
        return e[self.position] * self.factor


@dataclass
class ParameterTable:
    """Collects quantities while the structure is built."""

    _position: dict[str, int] = field(default_factory=dict)
    _values: list[float] = field(default_factory=list)
    _assumed: list[bool] = field(default_factory=list)

    def at(self, quantity: Quantity | None, otherwise: int = ZERO) -> int:
        """The position of a quantity in the extended vector; `otherwise` (ZERO or ONE) for None."""
        if quantity is None:
            return otherwise
        known = self._position.get(quantity.key)
        if known is None:
            known = self._position[quantity.key] = len(self._values)
            self._values.append(float(quantity.value))
            self._assumed.append(quantity.assumed)
        elif self._values[known] != float(quantity.value):
            raise BuildError(f"two numbers have the one key {quantity.key}: {self._values[known]!r} and {quantity.value!r}")
        return known

    def all(self, quantities: Iterable[Quantity | None], otherwise: int = ZERO) -> np.ndarray:
        """int[...]: positions of many quantities."""
        return np.array([self.at(q, otherwise) for q in quantities], int)

    def keys(self, positions: Iterable[int]) -> tuple[str, ...]:
        """Key paths of positions, constants left out, each once."""
        known = tuple(self._position)
        return tuple(dict.fromkeys(known[i] for i in positions if i >= 0))

    def parameters(self) -> Parameters:
        return Parameters(np.array(self._values, float), tuple(self._position), np.array(self._assumed, bool))


def extended(theta: Any, xp: ModuleType) -> Any:
    """[M + 2]: the parameter vector with the constants 0 and 1 behind it."""
    return xp.concatenate([theta, xp.asarray([0.0, 1.0])])
