"""What every test relies on: one thread per BLAS, float64 in JAX, fixed seeds."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import random

import pytest

from tests.slow import SLOW

WHICH = "CAPACITY_TESTS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests (tests/slow.py) as well")
    parser.addoption("--slow", action="store_true", help="run the slow tests alone")


def pytest_configure(config: pytest.Config) -> None:
    """A run that names files or tests runs all that it names. Told to the workers by the environment: they are given every test by name."""
    if not hasattr(config, "workerinput"):
        named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
        os.environ[WHICH] = "slow" if config.option.slow else "all" if config.option.all or named else "quick"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    which = os.environ[WHICH]
    if which == "all":
        return
    slow = [item for item in items if item.nodeid.startswith(SLOW)]
    quick = [item for item in items if not item.nodeid.startswith(SLOW)]
    items[:], left_out = (slow, quick) if which == "slow" else (quick, slow)
    config.hook.pytest_deselected(items=left_out)


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
