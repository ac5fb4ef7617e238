"""Executables kept on disk, so that a shape which this machine has compiled once is neither traced nor compiled again.

JAX's own persistent cache is asked with the traced and lowered function: 1.5 to 2 s of tracing for every shape in every process. Here the
name of a file is made of everything that tracing would read: the shape, the types, this program's source, the versions, the device. Files
lie beside JAX's cache and are as trusted as it is: both hold machine code that is run. Host devices only.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import jax
from jax import monitoring
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

FORMAT = 1
DIGEST = hashlib.sha256
PACKAGES = ("optimizer/solver", "kernels")  # what is traced


def path_of(*described: Any) -> Path | None:
    """The file of what `described` (values whose repr says everything) compiles to; None where nothing is kept."""
    directory = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if directory is None or jax.default_backend() != "cpu":
        return None
    told = repr((FORMAT, *described, _machine(), _configuration(), _sources()))
    return Path(directory) / f"shape-{DIGEST(told.encode()).hexdigest()[:40]}.executables"


def load(path: Path, names: list[str]) -> dict[str, Callable] | None:
    """The executables of a file; None where it does not exist, is damaged or holds others."""
    try:
        digest, content = (raw := path.read_bytes())[: DIGEST().digest_size], raw[DIGEST().digest_size :]
        if DIGEST(content).digest() != digest:
            return None
        kept = pickle.loads(content)
        if set(kept) != set(names):
            return None
        _lapack()
        return {name: serialize_executable.deserialize_and_load(*kept[name]) for name in names}  # in threads: 0.75 s in place of 0.55 s
    except Exception:  # whatever is wrong with it, it can be compiled again
        return None


@contextmanager
def compiling_anew(path: Path | None) -> Iterator[None]:
    """Compile inside the block what is to be saved at `path`, without JAX's own cache: an executable that came from there has lost what
    it would be saved with (jaxlib 0.10.2: "Function ... not found" when it is called)."""
    if path is None:
        yield
        return
    config: Any = jax.config
    asked = config.jax_enable_compilation_cache
    try:
        config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        yield
    finally:
        config.update("jax_enable_compilation_cache", asked)
        compilation_cache.reset_cache()
    monitoring.record_event("/jax/compilation_cache/cache_misses")  # as it would have been


def save(path: Path, built: dict[str, Any]) -> None:
    """Write the executables in one rename; a directory that cannot be written costs time, not the answer."""
    with suppress(Exception):
        content = pickle.dumps({name: serialize_executable.serialize(compiled) for name, compiled in built.items()})
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(DIGEST(content).digest() + content)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                os.unlink(part)


def _lapack() -> None:
    """Have JAX look up the LAPACK functions that a loaded executable calls. It does so when it lowers such a call; in a process that lowers
    none they are null pointers, and the first factorisation ends it."""
    try:
        from jax._src.lib import lapack  # a tenth of a second less than lowering one

        lapack._lapack.initialize()
    except (ImportError, AttributeError):
        jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), "float32"))


@cache
def _sources() -> str:
    return digest_of_sources(Path(__file__).resolve().parents[2])


def digest_of_sources(root: Path) -> str:
    """Of every file that is traced, under the directory that holds the packages."""
    digest = DIGEST()
    for package in PACKAGES:
        for file in sorted((root / package).glob("*.py")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _machine() -> tuple[str, ...]:
    """The processor, as far as code for one may not run on another."""
    features = [platform.platform(), platform.machine(), platform.processor()]
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        features += sorted({line.strip() for line in lines if line.startswith(("model name", "flags", "Features"))})
    return tuple(features)


def _configuration() -> tuple[Any, ...]:
    config: Any = jax.config
    variables = tuple(os.environ.get(name, "") for name in ("XLA_FLAGS", "NPROC"))
    return jax.__version__, jax.lib.__version__, config.jax_enable_x64, config.jax_default_matmul_precision, jax.device_count(), *variables
