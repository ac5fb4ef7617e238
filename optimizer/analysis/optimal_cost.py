"""optimal_cost(case): the least expected cost as a function of the case's numbers, with its exact derivative, inside JAX programs.

The value is the cost of the certified plan; beside it stands the certified lower bound. The derivative is the Lagrangian's at the certified
pair (`optimizer.program.lagrangian`), pulled back by automatic differentiation through `optimizer.build.values`: prices, finance, demand
and the performance model. `jax.grad`, `jax.jit` and `jax.vmap` work on it.

Solver, bound and repair run on the host behind a callback, so the numbers are those of numpy's certificate and not of a twin of it. The
callback computes with JAX itself, which needs a second thread of the CPU device: `optimizer.devices.prepare` gives it one where it comes
before the first computation of the process; elsewhere a single-threaded device is refused.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from optimizer.analysis.moved_program import added_lines, laid_on
from optimizer.build.build import Built, program_of
from optimizer.build.values import values
from optimizer.devices import prepare, threads_for_callbacks
from optimizer.plan import CaseOrPath, build, load, solved
from optimizer.program.certificate import Certificate, Status
from optimizer.program.lagrangian import lagrangian_gradient
from optimizer.program.program import ProgramError
from optimizer.settings import Settings
from optimizer.solve import Neighbours, solve
from optimizer.spec import CaseError
from optimizer.spec.resolved import Case

GAP = 1e-9


class OptimalCost:
    """A function of the parameter vector [M] (`values`, named by `keys`): dollars of expected present cost.

    Where there is no certified plan the cost is infinite (INFEASIBLE) or NaN (anything else), the bound -inf, and the derivative NaN.
    Numbers move one by one: shares and probabilities that must add up to one are the caller's to rescale. What was chosen with the case's
    own numbers stays (which pool may serve which stream, layouts, lines for spare replicas).
    """

    def __init__(self, built: Built, settings: Settings, lines: dict[str, Any]) -> None:
        import jax
        import jax.numpy as jnp

        self.keys, self.values, self.assumed = built.parameters.keys, built.parameters.values, built.parameters.assumed
        self._built, self._settings, self._lines, self._neighbours = built, settings, lines, Neighbours()
        self._arrays = jax.jit(lambda parameters: values(built.structure, parameters, jnp))
        self._cost = jax.custom_vjp(self._value)
        self._cost.defvjp(self._forward, self._backward)

    def __call__(self, parameters: Any) -> Any:
        """The optimal cost at a parameter vector [M]."""
        return self.with_bound(parameters)[0]

    def with_bound(self, parameters: Any) -> tuple[Any, Any]:
        """(cost, certified lower bound). For `jax.value_and_grad(..., has_aux=True)`; the bound has no derivative."""
        import jax
        import jax.numpy as jnp

        with jax.enable_x64(True):
            cost, bound = self._cost(self._arrays(jnp.asarray(parameters, float)))
            return cost, jax.lax.stop_gradient(bound)

    def position(self, key: str) -> int:
        """Where a field stands in the vector. Raises KeyError."""
        return self._built.parameters.index(key)

    def certificate(self, parameters: Any) -> Certificate:
        """The whole certificate at a parameter vector, by the same way. Raises ProgramError where the numbers make no program."""
        return self._certified({name: np.asarray(a) for name, a in values(self._built.structure, np.asarray(parameters, float)).items()})[1]

    # behind JAX -------------------------------------------------------------------------------------------------------------------
    def _certified(self, arrays: dict[str, Any]) -> tuple[Any, Certificate]:
        program = laid_on(program_of(self._built.structure, arrays), self._lines)
        return program, solve(program, self._settings, self._neighbours).certificate

    def _numbers(self, arrays: dict[str, Any], gradient: bool) -> tuple[np.ndarray, ...]:
        cost, bound, slopes = math.nan, -math.inf, {}
        try:
            program, c = self._certified({name: np.asarray(a) for name, a in arrays.items()})
            if c.plan is not None and c.status in (Status.CERTIFIED, Status.FEASIBLE):
                cost, bound = c.objective, c.lower_bound
                if gradient and c.multipliers is not None:
                    slopes = lagrangian_gradient(program, c.plan, c.multipliers)
            elif c.status is Status.INFEASIBLE:
                cost = math.inf
        except ProgramError:
            pass  # no program: NaN
        both = np.asarray(cost), np.asarray(bound)
        if not gradient:
            return both
        nothing = {name: np.full(np.shape(a), np.nan) for name, a in arrays.items()}
        return *both, {name: np.asarray(slopes.get(name, none), float).reshape(none.shape) for name, none in nothing.items()}  # type: ignore[return-value]

    def _value(self, arrays: dict[str, Any]) -> Any:
        return self._called(arrays, gradient=False)

    def _called(self, arrays: dict[str, Any], gradient: bool) -> Any:
        import jax
        import jax.numpy as jnp

        number = jax.ShapeDtypeStruct((), jnp.float64)
        shapes: Any = (number, number)
        if gradient:
            shapes = (*shapes, {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in arrays.items()})
        return jax.pure_callback(partial(self._numbers, gradient=gradient), shapes, arrays, vmap_method="sequential")

    def _forward(self, arrays: dict[str, Any]) -> tuple[Any, Any]:
        cost, bound, slopes = self._called(arrays, gradient=True)
        return (cost, bound), slopes

    def _backward(self, slopes: Any, cotangents: Any) -> tuple[Any]:
        return ({name: cotangents[0] * slope for name, slope in slopes.items()},)


def optimal_cost(case: CaseOrPath, settings: Settings | None = None) -> OptimalCost:
    """The optimal cost of a case as a function of its numbers. `settings.gap_relative` is GAP where none are given; what was reached is the
    distance to the bound. Raises CaseError for a case that cannot be used, or that has no certified plan where its lines for spare replicas
    must be placed; RuntimeError where the device has one thread only."""
    prepare()
    if not threads_for_callbacks():
        raise RuntimeError("the CPU device has one thread, and a callback that computes needs two: set NPROC=2 before JAX starts")
    settings = settings or Settings(gap_relative=GAP)
    case = case if isinstance(case, Case) else load(case)
    built = build(case)
    lines: dict[str, Any] = {}
    if built.structure.pair_index.groups is not None:
        found = solved(built, settings)
        if found.solution.certificate.plan is None:
            raise CaseError(str(case.file), "", f"has no plan: {found.solution.certificate.reason}", "change the case")
        lines = added_lines(found.built)
    return OptimalCost(built, settings, lines)
