"""What a command has in memory when it ends: no import that it did not need.

Start-up is most of the time of a small answer: on one core JAX takes a second to load, pandas and scipy.optimize half a second each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = "tests/unit/small_case.yaml"
TWO_CLOUDS = "configs/cases/two_clouds.yaml"
MODEL = "configs/cases/frontier_lab.yaml"  # performance: {throughput: model}
SERVE = "serve --model dense_70b --chip h100 --requests-per-second 200 --input-tokens 1000 --output-tokens 1000"

COMPILER = {"jax", "jaxlib", "optax"}
TABLES = {"pandas", "pyarrow", "matplotlib"}
PROGRAMS = {"scipy", "highspy"}
ARRAYS = {"numpy"}
FILES = {"pydantic", "yaml"}
PAGE = {"rich"}
WATCHED = COMPILER | TABLES | PROGRAMS | ARRAYS | FILES | PAGE


def loaded(code: str) -> set[str]:
    """Those of WATCHED that are in memory after some code in a fresh interpreter."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint('\\n', *sys.modules)"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return WATCHED & set(shown.stdout.splitlines()[-1].split())


def after_command(arguments: str, exit_code: int) -> set[str]:
    return loaded(
        f"from optimizer.cli import main\n"
        f"try:\n    code = main({arguments.split()!r})\n"
        f"except SystemExit as end:\n    code = end.code\n"
        f"assert code == {exit_code}, code"
    )


@pytest.mark.parametrize(
    ("arguments", "exit_code", "needed"),
    [
        ("--help", 0, set()),
        ("--version", 0, set()),
        ("plan", 2, set()),
        ("plan --help", 0, set()),
        (f"plan {SMALL} --gap 2", 2, set()),
        (f"sweep {SMALL}", 2, set()),
        (f"frontier {SMALL} --out x", 2, set()),
        ("schema", 0, {"pydantic"}),
        ("plan no_such_file.yaml", 2, ARRAYS | FILES),
        ("sweep no_such_file.yaml --out build/none --vary a=1,2", 2, ARRAYS | FILES | PAGE),
        (f"check {SMALL}", 0, ARRAYS | FILES | PAGE),
        (f"check {TWO_CLOUDS}", 0, ARRAYS | FILES | PAGE),
        (f"plan {TWO_CLOUDS} --engine simplex", 0, ARRAYS | FILES | PAGE | {"highspy"}),
        (SERVE, 0, ARRAYS | FILES | PAGE),
        (f"{SERVE} --ttft-p99-ms 1000 --tpot-p99-ms 50", 0, ARRAYS | FILES | PAGE),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(arguments: str, exit_code: int, needed: set[str]) -> None:
    assert after_command(arguments, exit_code) <= needed


BUILT = "import optimizer\nfrom optimizer.plan import build\nbuilt = build(optimizer.load({case!r}))"


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import optimizer.process; optimizer.process.begin_command(); optimizer.process.end_of_start()", set()),
        ("from optimizer.process import versions_of; assert versions_of('jax', 'numpy', 'scipy')", set()),
        ("from optimizer.program import Program; from optimizer.program.certificate import certify", ARRAYS),
        (BUILT.format(case=SMALL), ARRAYS | FILES),
        (BUILT.format(case=TWO_CLOUDS), ARRAYS | FILES),
    ],
)
def test_a_case_becomes_a_program_without_jax(code: str, needed: set[str]) -> None:
    assert loaded(code) <= needed


def test_the_page_of_a_plan_needs_no_dataframe() -> None:
    """Nor does plan.json; a table does."""
    plan = f"import optimizer\nplan = optimizer.plan({SMALL!r})\n"
    assert not loaded(f"{plan}assert 'CERTIFIED' in plan.summary() and plan.to_json()") & (TABLES | COMPILER)
    assert "pandas" in loaded(f"{plan}assert len(plan.cost)")
