"""JAX made ready, once, when something is about to be solved: float64, the persistent compilation cache, the count of compilations.

Nothing here happens at import. float64 is this program's choice: it is switched on for the process at the first solve, and said so here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

_session: Session | None = None


@dataclass
class Counter:
    """Compilations (cache misses) and the seconds spent on tracing, lowering and compiling or loading compiled code."""

    count: int = 0
    seconds: float = 0.0


@dataclass
class Session:
    device: str
    versions: dict[str, str]
    cache: str
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


def cache_directory() -> Path:
    """Where compiled code is kept: $CAPACITY_CACHE, or the user's cache directory."""
    if "CAPACITY_CACHE" in os.environ:
        return Path(os.environ["CAPACITY_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "capacity-optimizer" / "compiled"


def prepare() -> Session:
    """Import and configure JAX; idempotent. Thread pools of the host's BLAS are held at one unless the user chose: JAX brings its own."""
    global _session
    if _session is not None:
        return _session
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import jax

    jax.config.update("jax_enable_x64", True)
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
    _session = Session(f"{device.platform}: {device.device_kind} x{jax.device_count()}", versions, str(directory))
    _listen(_session)
    return _session


def _listen(session: Session) -> None:
    import jax.monitoring as monitoring

    def on_duration(event: str, seconds: float, **_) -> None:
        # compile_time_saved and cache retrieval are inside backend_compile; tracing and lowering are their own events
        if event in (
            "/jax/core/compile/backend_compile_duration",
            "/jax/core/compile/jaxpr_trace_duration",
            "/jax/core/compile/jaxpr_to_mlir_module_duration",
        ):
            for counter in session.active:
                counter.seconds += seconds

    def on_event(event: str, **_) -> None:
        if event == "/jax/compilation_cache/cache_misses":
            for counter in session.active:
                counter.count += 1

    monitoring.register_event_duration_secs_listener(on_duration)
    monitoring.register_event_listener(on_event)
