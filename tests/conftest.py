"""What every test relies on: one thread per BLAS, float64 in JAX, fixed seeds."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import random

import pytest


@pytest.fixture(scope="session", autouse=True)
def jax_is_ready() -> None:
    """float64 for the whole process, as every solve has it."""
    from optimizer.devices import prepare

    prepare()


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The global generators start alike in every test; the tests' own generators state their seeds."""
    import numpy as np

    random.seed(20261121)
    np.random.seed(20261121)  # noqa: NPY002 (the legacy global state is what needs a seed)
