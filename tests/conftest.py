"""What every test relies on: one thread per BLAS, float64 where a test uses JAX itself, fixed seeds; and which worker runs which file."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import random
from types import ModuleType

import pytest

from tests.shared_shapes import WORKERS
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


@pytest.hookimpl(tryfirst=True)  # the workers read the marks in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for; a file's tests go to one worker, and so do files that compile the same shapes, which begin first."""
    which = os.environ[WHICH]
    slow = [item for item in items if item.nodeid.startswith(SLOW)]
    quick = [item for item in items if not item.nodeid.startswith(SLOW)]
    chosen, left_out = {"slow": (slow, quick), "quick": (quick, slow), "all": (list(items), [])}[which]
    config.hook.pytest_deselected(items=left_out)
    place = {file: number for number, files in enumerate(WORKERS.values()) for file in files}
    items[:] = sorted(chosen, key=lambda item: place.get(file_of(item), len(WORKERS)))
    for item in items:
        group = next((name for name, files in WORKERS.items() if file_of(item) in files), file_of(item))
        item.add_marker(pytest.mark.xdist_group(group))


def file_of(item: pytest.Item) -> str:
    return item.nodeid.split("::")[0]


@pytest.fixture(autouse=True)
def float64_in_jax(request: pytest.FixtureRequest) -> None:
    """A file that imports JAX finds it as every solve has it. One that does not waits for it only where what it tests imports it."""
    if any(isinstance(v, ModuleType) and v.__name__.partition(".")[0] == "jax" for v in vars(request.module).values()):
        from optimizer.devices import prepare

        prepare()


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The global generators start alike in every test; the tests' own generators state their seeds."""
    import numpy as np

    random.seed(20261121)
    np.random.seed(20261121)  # noqa: NPY002 (the legacy global state is what needs a seed)
