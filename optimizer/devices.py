"""JAX made ready, once, when something is about to be solved by it: float64, the persistent compilation cache, the count of compilations.

Nothing here happens at import. float64 is this program's choice: it is switched on for the process at the first such solve, and said so
here. What a process sets without JAX is in `optimizer.process`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.cache_limit import keep_within, most_bytes
from optimizer.process import end_of_start, keep_freed_memory, one_blas_thread, versions_of
from optimizer.xla_flags import has_begun, keep_sums_right

MOST_MAPS = 0.5  # of the kernel's limit

_session: Session | None = None


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


def prepare() -> Session:
    """Import and configure JAX; idempotent."""
    global _session
    end_of_start()
    if _session is not None:
        return _session
    one_blas_thread()
    keep_freed_memory()
    enough, doubt = _threads_for_devices(), keep_sums_right()
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
    name = f"{device.platform}: {device.device_kind} x{jax.device_count()}"
    count = jax.device_count() if enough or device.platform != "cpu" else 1
    _session = Session(name, versions_of("jax", "jaxlib", "numpy", "scipy"), str(directory), device.platform, count)
    if doubt is not None and device.platform == "cpu":
        warnings.warn(doubt, RuntimeWarning, stacklevel=2)
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
        if not has_begun() and len(_cores()) == 1:
            os.environ.setdefault("NPROC", "2")  # see threads_for_callbacks
        return True
    cores = os.cpu_count() or 1
    threads = os.environ.get("NPROC", "")
    if (int(threads) if threads.isdigit() else cores) >= count + 1:
        return True
    if has_begun():
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


def _listen(session: Session) -> None:
    """Count what is compiled, and make room for what is going to be kept of it."""
    import jax.monitoring as monitoring

    directory, most = Path(session.cache), most_bytes()

    def on_event(event: str, **_) -> None:
        if event == "/jax/compilation_cache/cache_misses":
            for counter in session.active:
                counter.count += 1
            keep_within(directory, most)

    monitoring.register_event_listener(on_event)
