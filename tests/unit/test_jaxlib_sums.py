"""Sums of the installed jaxlib against NumPy: those that its compiler is known to get wrong, and the solver's own at the same sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from kernels.cells import schur, times, times_transposed
from kernels.segments import exclusive_of_group, segment_sum
from optimizer import xla_flags
from optimizer.program.certificate import Status
from optimizer.settings import Settings
from optimizer.solve import solve
from optimizer.solver.layout import make_layout
from optimizer.solver.operators import apply_of_chunk, held_prices_of_chunk, transpose_of_chunk
from optimizer.solver.structure import Part, Rows, joined, split_rest, split_rows
from optimizer.xla_flags import FLAG, keep_sums_right
from tests.oracle.extensive import solve_extensive
from tests.oracle.random_programs import random_program

LANES = (16_385, 40_000)  # jaxlib 0.10.2 was wrong from the first of them on

PATTERNS = """
from optimizer.devices import prepare
prepare()
import jax
import jax.numpy as jnp
import numpy as np

def compare(said, function, want, *given):
    error = np.abs(np.asarray(jax.jit(function)(*given)) - want).max() / np.abs(want).max()
    tolerance = 1e-12 if want.dtype == np.float64 else 1e-5
    print(said, want.dtype.name, "right" if error <= tolerance else f"off by {error:.1e}")

for kind in ("float64", "float32"):
    for lanes in (16_384, 16_385, 32_769, 40_000):
        x, matrix = np.random.default_rng(0).random((lanes, 3)).astype(kind), np.eye(3, dtype=kind)
        compare(f"{lanes} lanes", jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)), (x**2).sum(1), x)
    a, number = np.random.default_rng(1).random((5, 60, 60)).astype(kind), np.asarray(0.37, kind)
    same = np.full_like(a, number)
    compare("one number", lambda a, number: jnp.sum((a @ jnp.full_like(a, number)) * a, axis=-1), ((a @ same) * a).sum(-1), a, number)
"""
CLEAN = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES")}


def ran(code: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**CLEAN, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def test_the_sums_that_the_compiler_is_known_to_get_wrong_are_right_after_prepare() -> None:
    """Without the flag jaxlib 0.10.2 prints six times "off by", 0.12.0.1 once."""
    said = ran(PATTERNS).stdout.splitlines()
    assert len(said) == 10
    assert [line for line in said if not line.endswith("right")] == []


ORDER = """
import os
{before}
from optimizer.devices import prepare
prepare()
print(os.environ.get("XLA_FLAGS", ""))
"""


@pytest.mark.parametrize(
    ("given", "before", "flags", "warned"),
    [
        (None, "", f"--{FLAG}=", False),
        ("--xla_cpu_enable_fast_math=false", "import jax", f"--xla_cpu_enable_fast_math=false --{FLAG}=", False),
        (f"--{FLAG}=-reduce", "", f"--{FLAG}=-reduce", False),
        (None, "import jax; jax.devices()", "", True),
    ],
)
def test_the_flag_is_added_before_jax_begins_unless_the_user_has_set_it(given: str | None, before: str, flags: str, warned: bool) -> None:
    if xla_flags.needed_by() is None:
        pytest.skip("this jaxlib needs no flag")
    shown = ran(ORDER.format(before=before), **({} if given is None else {"XLA_FLAGS": given}))
    assert shown.stdout.strip() == flags
    assert ("may compute sums wrongly" in shown.stderr) == warned


def test_a_library_without_the_flag_or_before_the_fault_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA ends the process for a flag that it does not know."""
    (tmp_path / "jaxlib").mkdir()
    library = tmp_path / "jaxlib" / "libjax_common.so"

    class Installed:
        version = "0.99.0"
        locate_file = staticmethod(lambda name: tmp_path / name)

    monkeypatch.setattr(xla_flags, "distribution", lambda name: Installed)
    for content, version, needed in (
        (b"\0" + FLAG.encode() + b"\0", "0.99.0", True),
        (b"\x24" + FLAG.encode() + b"\x18", "0.99.0", False),  # of a description
        (b"", "0.99.0", False),
        (b"\0" + FLAG.encode() + b"\0", "0.10.1", False),
    ):
        library.write_bytes(content)
        Installed.version = version
        monkeypatch.setenv("XLA_FLAGS", "")
        assert (xla_flags.needed_by() == version) == needed
        keep_sums_right()
        assert (FLAG in os.environ["XLA_FLAGS"]) == (needed and not xla_flags.has_begun())
    monkeypatch.setenv("XLA_FLAGS", "flags.txt")
    library.write_bytes(b"\0" + FLAG.encode() + b"\0")
    Installed.version = "0.99.0"
    assert "file that XLA_FLAGS names" in str(keep_sums_right()) and os.environ["XLA_FLAGS"] == "flags.txt"


def test_the_tests_themselves_run_with_the_flag() -> None:
    """JAX begins in `prepare`, not when a test file is read."""
    assert xla_flags.needed_by() is None or FLAG in os.environ["XLA_FLAGS"]


def agree(function, want: np.ndarray, *given: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(jax.jit(function)(*given)), want, rtol=1e-12, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("lanes", LANES)
def test_the_kernels_agree_with_numpy(lanes: int) -> None:
    rng = np.random.default_rng(2)
    matrix, vector = rng.normal(size=(lanes, 2, 3)), rng.normal(size=(lanes, 3))
    agree(times, (matrix * vector[:, None]).sum(-1), matrix, vector)
    agree(times_transposed, (matrix * vector[:, :2, None]).sum(1), matrix, vector[:, :2])
    agree(lambda m, v: (times(m, v) ** 2).sum(-1), ((matrix * vector[:, None]).sum(-1) ** 2).sum(-1), matrix, vector)
    coupling, diagonal = rng.normal(size=(lanes, 1, 2, 3)), rng.uniform(1, 2, (lanes, 1, 3))
    agree(schur, -np.einsum("nbig,nbg,nbjg->nbij", coupling, 1 / diagonal, coupling), coupling, diagonal)
    values, groups, other = rng.uniform(size=(6, lanes)), np.array([0, 1, 0, 2, 2, 2]), rng.uniform(size=(3, lanes))
    total = np.stack([values[groups == g].sum(0) for g in range(3)])
    agree(lambda v: segment_sum(v, groups, 3), total, values)
    agree(lambda v, o: exclusive_of_group(v, groups, o)[1], (total + other)[groups] - values, values, other)


def wide(lanes: int):
    """A program of so many small nodes, which are one chunk."""
    return random_program(4, periods=1, scenarios=lanes, blocks=1, served=2, deferrable=1, pools=2, availability=True)


@pytest.mark.parametrize("lanes", LANES)
def test_the_sweeps_over_nodes_agree_with_numpy(lanes: int) -> None:
    layout = make_layout(wide(lanes))
    shape, data = layout.shape, layout.data
    assert shape.lanes >= lanes and shape.groups * shape.chunks == 1
    cells, rng, n = jax.tree.map(lambda a: a[0], data.cells), np.random.default_rng(3), shape.lanes
    v, held = Part(rng.normal(size=(shape.pairs, 1, n)), rng.normal(size=(shape.rest, n))), rng.normal(size=(shape.states, shape.pools))
    of_stream = [(data.pair_stream == w) for w in range(shape.served + shape.deferrable)]
    of_pool, rest = [(data.pair_pool == g) for g in range(shape.pools)], split_rest(shape, v.rest)
    node_state = np.repeat(cells.state, shape.pack)
    demand = np.stack([v.x[own].sum(0) for own in of_stream[: shape.served]]) + rest.u
    late = [(v.x[own].sum(0) * cells.h).sum(0) for own in of_stream[shape.served :]]
    chips = np.stack([(cells.a[own][:, None] * v.x[own]).sum(0) for own in of_pool])
    capacity = chips - rest.r + rest.s - (cells.availability * held[node_state].T)[:, None]
    whole = Rows(demand, np.stack(late) + rest.ud, capacity, np.zeros((0, n)))
    agree(lambda *a: apply_of_chunk(shape, data, *a)[0], np.asarray(joined(whole, np) * cells.terms.row_active), cells, v, held)

    y = rng.normal(size=whole_rows(shape, n)) * cells.terms.row_active
    rows = split_rows(shape, y)
    prices = np.concatenate([rows.demand, rows.deferred[:, None] * cells.h[None], np.zeros((1, 1, n))])
    x = prices[data.pair_stream] + cells.a[:, None] * rows.capacity[data.pair_pool]
    agree(lambda c, y: transpose_of_chunk(shape, data, c, y, np.zeros(1)).x, x, cells, y)
    of_packs = (cells.availability * rows.capacity.sum(1)).reshape(shape.pools, shape.packs, shape.pack).sum(2).T
    agree(partial(held_prices_of_chunk, shape), -of_packs, cells, y)


def whole_rows(shape, n: int) -> tuple[int, int]:
    return shape.blocks * (shape.served + shape.pools) + shape.deferrable, n


def test_a_program_of_more_nodes_than_the_faulty_sums_could_take_is_certified() -> None:
    """HiGHS solves it on the extensive form; no code is shared."""
    program = wide(16_500)
    best = solve_extensive(program)
    found = solve(program, Settings(gap_relative=1e-7, engine="interior")).certificate
    assert found.status is Status.CERTIFIED and program.nodes > 16_384
    slack = 1e-9 * abs(best.objective)
    assert found.lower_bound - slack <= best.objective <= found.objective + slack
    assert found.objective - best.objective <= 1e-6 * max(1.0, abs(best.objective))
