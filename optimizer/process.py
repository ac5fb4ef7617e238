"""What a command or a solve sets in its own process, before and without JAX: one thread of the host's BLAS, garbage collected rarely while
modules are imported, freed memory kept or given back. JAX is made ready by `optimizer.devices`.

Nothing here happens at import.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

MMAP_MAX, MMAP_THRESHOLD = -4, -3  # malloc.h
MAPPED_BYTES = 16 << 20

_usual_threshold: tuple[int, int, int] | None = None


def begin_command() -> None:
    """What a command does before it imports anything large: `one_blas_thread_from_the_start`, and garbage is collected rarely until
    `end_of_start`. What is imported stays: looking for cycles in it took 0.2 s of the time to the first iteration."""
    global _usual_threshold
    one_blas_thread_from_the_start()
    if _usual_threshold is None:
        _usual_threshold = gc.get_threshold()
        gc.set_threshold(200_000, *_usual_threshold[1:])


def end_of_start() -> None:
    """Collect garbage as usual, but not among what has been imported."""
    global _usual_threshold
    if _usual_threshold is not None:
        gc.freeze()
        gc.set_threshold(*_usual_threshold)
        _usual_threshold = None


def one_blas_thread_from_the_start() -> bool:
    """Say it by the environment variable, for this process and those that it starts; False where NumPy has been loaded without it.
    A command says it first of all: 0.4 s less before a solve starts than by `one_blas_thread`."""
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return True
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return "numpy" not in sys.modules


def one_blas_thread() -> None:
    """Hold the host's BLAS at one thread, unless the user chose: JAX, which calls it for every small matrix, brings threads of its own.

    With two they wait for each other by spinning: a factorisation of 6 ms took 170 ms on two busy cores. The environment variable alone
    comes too late where NumPy is already loaded.
    """
    if one_blas_thread_from_the_start():
        return
    import scipy.linalg  # noqa: F401  JAX borrows its LAPACK
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1, user_api="blas")


def keep_freed_memory() -> None:
    """Let glibc's allocator keep what a computation frees. By default each array of some megabytes is mapped anew and every page of it
    faulted in again: a quarter of the solver's time on the flagship case (75 of 290 CPU seconds were the kernel's)."""
    arena_max, top_pad, trim_threshold = -8, -2, -1  # malloc.h
    _mallopt({arena_max: 1, MMAP_MAX: 0, top_pad: 1 << 28, trim_threshold: -1})


@contextmanager
def large_arrays_mapped(large: bool) -> Iterator[None]:
    """Inside the block, where `large`, large arrays go back to the system when they are freed. Kept, they leave holes that the next ones do
    not fit into: 24,000 nodes stood at 64 arrays of placement where 42 are in use. The pages that are faulted in anew are a small part of
    the time there."""
    if large:
        _mallopt({MMAP_MAX: 1 << 16, MMAP_THRESHOLD: MAPPED_BYTES})
    try:
        yield
    finally:
        if large:
            _mallopt({MMAP_MAX: 0})


def _mallopt(settings: dict[int, int]) -> None:
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # Another C library: slower, not wrong.
            libc = ctypes.CDLL(None)
            for option, value in settings.items():
                libc.mallopt(option, value)


def release_freed_memory() -> None:
    """Give back what is freed but kept. Between the iterations of a program of gigabytes the holes would add up: one with 100,000 nodes was
    killed at 22 GB with 12 in use."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


@cache
def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def versions_of(*packages: str) -> dict[str, str]:
    """Of installed packages, as an answer states them; none is imported."""
    return {package: _version(package) for package in packages}
