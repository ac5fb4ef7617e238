"""The state of a solve on disk, from which a process that was killed goes on.

One .npz file per solve, named by the fingerprint of what is solved, so that a run of several solves finds the state of each. It is written
to a temporary name, synchronised and renamed: a reader sees the old state or the new one, never half of it. A solve inside a longer run
leaves its last state until the whole run has ended (`whole_run`), so that it is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.program import Multipliers, Plan, Program

if TYPE_CHECKING:
    from optimizer.settings import Settings
    from optimizer.solver.layout import Layout

FORMAT = 2
_KINDS = {"plan": Plan, "multipliers": Multipliers}


@dataclass
class _Run:
    """The solves of one run: files to remove at its end, and seconds of solves that ended without being written down."""

    used: set[Path] = field(default_factory=set)
    unsaved_s: float = 0.0


_run: ContextVar[_Run | None] = ContextVar("checkpoints of this run", default=None)


@contextmanager
def whole_run() -> Iterator[None]:
    """The checkpoints of all solves inside stay until the outermost such block ends, and go when it ends without an error."""
    if _run.get() is not None:
        yield
        return
    run = _Run()
    token = _run.set(run)
    try:
        yield
        for path in run.used:
            with suppress(OSError):
                path.unlink(missing_ok=True)
                for left in path.parent.glob(f".{path.name}.*.part"):  # of processes that were killed while they wrote
                    left.unlink(missing_ok=True)
    finally:
        _run.reset(token)


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds. `state` is the solver's, as arrays of the host; `complete`: nothing is left to iterate."""

    iteration: int
    complete: bool
    seconds: float  # spent until then
    state: Any
    log: list[list[Any]]
    numbers: dict[str, float]  # of the incumbent
    pairs: dict[str, tuple[Plan, Multipliers]]


class Store:
    """The checkpoint of one solve. `notes` collects, in sentences, what went wrong; a solve never stops because of its checkpoint."""

    def __init__(self, program: Program, settings: Settings, layout: Layout, directory: Path) -> None:
        self.program, self.settings, self.layout, self.directory = program, settings, layout, directory
        self.notes: list[str] = []
        self.saved_at = time.perf_counter()
        self.broken = False

    @cached_property
    def path(self) -> Path:
        return self.directory / f"solve-{fingerprint(self.program, self.settings, self.layout)[:24]}.npz"

    def read(self) -> Saved | None:
        """The state to go on from; None where there is none, or none that can be read."""
        self.saved_at = time.perf_counter()
        if not self.directory.is_dir() or not self.path.exists():
            return None
        self._use()
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return _unpacked(dict(arrays), self.layout)
        except Exception as error:  # whatever a damaged file makes of its reader, the answer is the same
            told = " ".join(str(error).split()) or type(error).__name__
            self.notes.append(f"The checkpoint {self.path} cannot be used ({told[:200]}); the solve began anew.")
            return None

    def due(self, iteration_seconds: float) -> bool:
        """Whether one more iteration without writing could lose more than the interval."""
        if self.broken:
            return False
        run = _run.get()
        lost = time.perf_counter() - self.saved_at + (run.unsaved_s if run is not None else 0.0)
        return lost + iteration_seconds >= self.settings.checkpoint_interval_s

    def write(self, saved: Saved) -> None:
        part = self.directory / f".{self.path.name}.{os.getpid()}.part"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._use()
            with part.open("wb") as out:
                np.savez(out, allow_pickle=False, **_packed(saved))
                out.flush()
                os.fsync(out.fileno())
            os.replace(part, self.path)
            sync_directory(self.directory)
        except OSError as error:
            self.broken = True
            self.notes.append(f"No checkpoint could be written to {self.directory} ({error.strerror or error}); the solve went on without.")
            with suppress(OSError):
                part.unlink(missing_ok=True)
        self.saved_at = time.perf_counter()

    def write_complete(self, saved: Saved, seconds: float) -> None:
        """The end of a solve inside a longer run, unless it took so little that all such solves together may be repeated."""
        run = _run.get()
        if run is None or self.broken:
            return
        if run.unsaved_s + seconds < 0.5 * self.settings.checkpoint_interval_s:
            run.unsaved_s += seconds
        else:
            self.write(saved)

    def keep(self) -> None:
        """Leave the file when the run ends: there may be more to do from it on another machine."""
        run = _run.get()
        if run is not None:
            run.used.discard(self.path)

    def _use(self) -> None:
        run = _run.get()
        if run is not None:
            run.used.add(self.path)


def sync_directory(directory: Path) -> None:
    """Make a rename in it survive a loss of power, where the system can."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fingerprint(program: Program, settings: Settings, layout: Layout) -> str:
    """sha256 (hexadecimal) of everything that the iterates follow from: the program's numbers, the settings that change the answer, and
    how the solver lays the program out and scales it. The number of devices does not count, nor how much is streamed."""
    shape = layout.shape._replace(devices=1, streaming=1)
    digest = hashlib.sha256(json.dumps([FORMAT, settings.gap_relative, settings.max_iterations, settings.precision, repr(shape)]).encode())
    for value in (program, layout.scales):
        for name, array in _arrays(value):
            array = np.ascontiguousarray(array)
            digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _arrays(value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every number of a program or of its scales, by the name of its field; names of rows and columns do not count."""
    for f in fields(value):
        inner = getattr(value, f.name)
        if f.name == "names":
            continue
        if is_dataclass(inner) and not isinstance(inner, type):
            yield from ((f"{f.name}.{name}", array) for name, array in _arrays(inner))
        elif isinstance(inner, tuple):
            yield from ((f"{f.name}.{position}", np.asarray(array)) for position, array in enumerate(inner))
        else:
            yield f.name, np.asarray(inner)


def shared_by_processes() -> bool:
    """Whether several processes solve together; they would have to agree on when to write."""
    import jax

    return jax.process_count() > 1


# a file ---------------------------------------------------------------------------------------------------------------------------
def host_state(state: Any) -> Any:
    """The solver's state as arrays of the host."""
    import jax

    return jax.device_get(state)


def _packed(saved: Saved) -> dict[str, np.ndarray]:
    import jax

    head = {name: getattr(saved, name) for name in ("iteration", "complete", "seconds", "log", "numbers")}
    found = {"head": np.frombuffer(json.dumps({"format": FORMAT, **head}).encode(), np.uint8)}
    found |= {f"state.{position}": np.asarray(leaf) for position, leaf in enumerate(jax.tree.leaves(host_state(saved.state)))}
    for name, pair in saved.pairs.items():
        for kind, value in zip(_KINDS, pair, strict=True):
            found |= {f"{name}.{kind}.{f.name}": np.asarray(getattr(value, f.name)) for f in fields(value)}
    return found


def _unpacked(arrays: dict[str, np.ndarray], layout: Layout) -> Saved:
    """Raises whatever fits the damage."""
    import jax

    head = json.loads(arrays["head"].tobytes())
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']}, not {FORMAT}")
    like = _state_like(layout)
    leaves = [arrays[f"state.{position}"] for position in range(len(jax.tree.leaves(like)))]
    for leaf, wanted in zip(leaves, jax.tree.leaves(like), strict=True):
        if leaf.shape != wanted.shape or leaf.dtype not in (np.float32, np.float64) or leaf.dtype != leaves[0].dtype:
            raise ValueError(f"an array has the shape {leaf.shape} and the type {leaf.dtype}, not {wanted.shape} and that of the others")
    pairs = {
        name: tuple(kind(**{f.name: arrays[f"{name}.{word}.{f.name}"] for f in fields(kind)}) for word, kind in _KINDS.items())
        for name in ("certified", "likely")
        if f"{name}.plan.z" in arrays
    }
    state = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return Saved(head["iteration"], head["complete"], head["seconds"], state, head["log"], head["numbers"], pairs)  # type: ignore[arg-type]


def _state_like(layout: Layout) -> Any:
    """The shapes and types of the solver's state; nothing is computed."""
    import jax

    from optimizer.solver.start import lift
    from optimizer.solver.structure import Both

    cells, own = layout.data.cells.terms, layout.data.own
    columns = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2, *a.shape), a.dtype), Both(cells.cost, own.cost))
    return jax.eval_shape(partial(lift, layout.shape._replace(devices=1)), layout.data, columns, Both(cells.rhs, own.rhs))
