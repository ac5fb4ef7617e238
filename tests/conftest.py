"""What every test relies on: one thread per BLAS, float64 in JAX, fixed seeds."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import random

import pytest

from tests.slow import SLOW


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests (tests/slow.py) as well")
    parser.addoption("--slow", action="store_true", help="run the slow tests alone")


def pytest_configure(config: pytest.Config) -> None:
    """A run that names files or tests runs all that it names. Said here: the workers that collect are given every test by name."""
    if not hasattr(config, "workerinput") and config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        config.option.all = True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unknown = [name for name in SLOW if not any(item.nodeid.startswith(name) for item in items)]
    if config.option.all and not config.option.slow:
        return
    if unknown and not config.option.all:  # everything was collected
        raise pytest.UsageError(f"tests/slow.py names tests that do not exist: {', '.join(unknown)}")
    left_out = [item for item in items if item.nodeid.startswith(SLOW) != config.option.slow]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item.nodeid.startswith(SLOW) == config.option.slow]


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
