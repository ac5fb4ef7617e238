"""JAX made ready, once, when something is about to be solved: float64, the persistent compilation cache, the count of compilations.

Nothing here happens at import. float64 is this program's choice: it is switched on for the process at the first solve, and said so here.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

MOST_MAPS = 0.5  # of the kernel's limit

_session: Session | None = None
_usual_threshold: tuple[int, int, int] | None = None


@dataclass
class Counter:
    """Compilations: misses of the persistent cache."""

    count: int = 0


@dataclass
class Session:
    device: str
    versions: dict[str, str]
    cache: str
    platform: str = "cpu"
    devices: int = 1
    active: list[Counter] = field(default_factory=list)

    @contextmanager
    def counting(self) -> Iterator[Counter]:
        """Count what is compiled inside the block."""
        counter = Counter()
        self.active.append(counter)
        try:
            yield counter
        finally:
            self.active.remove(counter)

    def crowded(self) -> bool:
        """Whether compiled code should be dropped, before the process runs out of memory maps.

        XLA's CPU code takes thousands of maps per program shape; at the kernel's limit (65,530 by default) loading more aborts the process.
        What is dropped comes back from the persistent cache.
        """
        try:
            with open("/proc/self/maps", "rb") as maps, open("/proc/sys/vm/max_map_count", "rb") as limit:
                return sum(1 for _ in maps) > MOST_MAPS * int(limit.read())
        except OSError:
            return False  # Not Linux: no such limit.


def cache_directory() -> Path:
    """Where compiled code is kept: $CAPACITY_CACHE, or the user's cache directory."""
    if "CAPACITY_CACHE" in os.environ:
        return Path(os.environ["CAPACITY_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "capacity-optimizer" / "compiled"


def begin_command() -> None:
    """What a command does before it imports anything large: `one_blas_thread_from_the_start`, and garbage is collected rarely until
    `prepare` or `end_of_start`. What is imported stays: looking for cycles in it took 0.2 s of the time to the first iteration."""
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


def prepare() -> Session:
    """Import and configure JAX; idempotent."""
    global _session
    end_of_start()
    if _session is not None:
        return _session
    _one_blas_thread()
    _keep_freed_memory()
    enough = _threads_for_devices()
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")  # else float32 products are TF32 on a GPU, bfloat16 on a TPU
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    except OSError:
        pass  # A read-only home costs compile time, not correctness.
    device = jax.devices()[0]
    versions = {name: version(name) for name in ("jax", "jaxlib", "numpy", "scipy")}
    name = f"{device.platform}: {device.device_kind} x{jax.device_count()}"
    count = jax.device_count() if enough or device.platform != "cpu" else 1
    _session = Session(name, versions, str(directory), device.platform, count)
    _listen(_session)
    return _session


def _threads_for_devices() -> bool:
    """Where the user cuts the host into several devices: a device that waits for the others holds a thread of the pool that they work with,
    and with one thread per core all of them wait for ever. XLA reads the size of its pool from NPROC when it begins. False where it has
    begun without: then one device must do."""
    flags = os.environ.get("XLA_FLAGS", "")
    asked = os.environ.get("JAX_NUM_CPU_DEVICES") or flags.partition("xla_force_host_platform_device_count=")[2].split(" ")[0]
    count = int(asked) if asked.isdigit() else 1
    if "jax" in sys.modules:  # the user may have said so in Python
        import jax

        count = max(count, getattr(jax.config, "jax_num_cpu_devices", 1))
    if count <= 1:
        if not _has_begun() and len(_cores()) == 1:
            os.environ.setdefault("NPROC", "2")  # see threads_for_callbacks
        return True
    cores = os.cpu_count() or 1
    threads = os.environ.get("NPROC", "")
    if (int(threads) if threads.isdigit() else cores) >= count + 1:
        return True
    if _has_begun():
        return False
    os.environ["NPROC"] = str(cores + count)
    return True


def threads_for_callbacks() -> bool:
    """Whether a callback may compute with JAX itself. The computation that called it waits and holds a thread of the device's pool; with
    one thread both wait for ever. XLA reads the size of its pool from NPROC when it begins."""
    import jax

    if jax.default_backend() != "cpu":
        return True
    threads = os.environ.get("NPROC", "")
    return (int(threads) if threads.isdigit() else len(_cores())) > 1


def _cores() -> set[int]:
    """Those that the process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _has_begun() -> bool:
    if "jax" not in sys.modules:
        return False
    from jax._src import xla_bridge  # nothing public tells

    return xla_bridge.backends_are_initialized()


def one_blas_thread_from_the_start() -> bool:
    """Say it by the environment variable, for this process and those that it starts; False where NumPy has been loaded without it.
    A command says it first of all: 0.4 s less before a solve starts than by `_one_blas_thread`."""
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return True
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return "numpy" not in sys.modules


def _one_blas_thread() -> None:
    """Hold the host's BLAS at one thread, unless the user chose: JAX, which calls it for every small matrix, brings threads of its own.

    With two they wait for each other by spinning: a factorisation of 6 ms took 170 ms on two busy cores. The environment variable alone
    comes too late where NumPy is already loaded.
    """
    if one_blas_thread_from_the_start():
        return
    import scipy.linalg  # noqa: F401  JAX borrows its LAPACK
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1, user_api="blas")


def _keep_freed_memory() -> None:
    """Let glibc's allocator keep what a computation frees. By default each array of some megabytes is mapped anew and every page of it
    faulted in again: a quarter of the solver's time on the flagship case (75 of 290 CPU seconds were the kernel's)."""
    arena_max, top_pad, trim_threshold = -8, -2, -1  # malloc.h
    _mallopt({arena_max: 1, MMAP_MAX: 0, top_pad: 1 << 28, trim_threshold: -1})


MMAP_MAX, MMAP_THRESHOLD = -4, -3  # malloc.h
MAPPED_BYTES = 16 << 20


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


def _listen(session: Session) -> None:
    import jax.monitoring as monitoring

    def on_event(event: str, **_) -> None:
        if event == "/jax/compilation_cache/cache_misses":
            for counter in session.active:
                counter.count += 1

    monitoring.register_event_listener(on_event)
