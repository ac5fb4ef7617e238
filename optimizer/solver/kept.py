"""Executables kept on disk, so that a shape which this machine has compiled once is neither traced nor compiled again.

JAX's own persistent cache is asked with the traced and lowered function: 1.5 to 2 s of tracing for every shape in every process. Here the
name of a file is made of everything that tracing would read: the shape, the types, this program's source, the versions, the device. Files
lie beside JAX's cache and are as trusted as it is: both hold machine code that is run. Host devices only.

A file may be refused all the same: damaged, or of a processor that this one is not (jax-ml/jax#38445: on some machines jaxlib takes its own
machine code for that of another). Then it is said once, the shape is compiled and the file replaced.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
from jax import monitoring
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from optimizer.cache_limit import keep_within, most_bytes

FORMAT = 1
DIGEST = hashlib.sha256
PACKAGES = ("optimizer/solver", "kernels")  # what is traced

_told = False  # that something was refused


def path_of(*described: Any) -> Path | None:
    """The file of what `described` (values whose repr says everything) compiles to; None where nothing is kept."""
    directory = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if directory is None or jax.default_backend() != "cpu":
        return None
    told = repr((FORMAT, *described, _machine(), _configuration(), _sources()))
    return Path(directory) / f"shape-{DIGEST(told.encode()).hexdigest()[:40]}.executables"


def taken(path: Path | None, names: list[str], build: Callable[[], dict[str, Any]]) -> dict[str, Callable]:
    """The functions of the file; where there is none that can be used, what `build` compiles, and the file is written anew."""
    functions = load(path, names) if path is not None else None
    if path is None or functions is None:
        return _anew(path, build)
    trial = _Trial(functions, lambda: _anew(path, build))
    return {name: partial(trial, name) for name in names}


def load(path: Path, names: list[str]) -> dict[str, Callable] | None:
    """The executables of a file; None where it does not exist, is damaged, is refused or holds others. It counts as used then."""
    try:
        digest, content = (raw := path.read_bytes())[: DIGEST().digest_size], raw[DIGEST().digest_size :]
        if DIGEST(content).digest() != digest:
            return _refused("it is damaged")
        kept = pickle.loads(content)
        if set(kept) != set(names):
            return _refused("it holds other functions")
        _lapack()
        functions = {name: serialize_executable.deserialize_and_load(*kept[name]) for name in names}  # in threads: 0.75 s, not 0.55 s
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is wrong with it, it can be compiled again
        return _refused(error)
    with suppress(OSError):
        os.utime(path)
    return functions


class _Trial:
    """Functions that were loaded, until each has run once: one that fails then is compiled anew, with all of its file."""

    def __init__(self, functions: dict[str, Callable], anew: Callable[[], dict[str, Callable]]) -> None:
        self.functions, self.anew, self.untried = functions, anew, set(functions)

    def __call__(self, name: str, *arguments: Any) -> Any:
        if name not in self.untried:
            return self.functions[name](*arguments)
        try:
            found = jax.block_until_ready(self.functions[name](*arguments))
        except Exception as error:
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise  # that is not the code's fault
            _refused(error)
            self.functions, self.untried = self.anew(), set()
            return self.functions[name](*arguments)
        self.untried.discard(name)
        return found


def _refused(why: Exception | str) -> None:
    """Say that compiled code could not be used; once, however many shapes it meets."""
    global _told
    if not _told:
        _told = True
        said = " ".join(str(why).split())[:200] or type(why).__name__
        print(f"capacity: code compiled earlier cannot be used here and is compiled again ({said})", file=sys.stderr)


def _anew(path: Path | None, build: Callable[[], dict[str, Any]]) -> dict[str, Callable]:
    with compiling_anew(path):
        built = build()
    if path is not None:
        save(path, built)
    return built


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
            keep_within(path.parent, most_bytes())
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
