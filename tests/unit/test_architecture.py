"""The arrows of the house, read from the imports of every file.

    cli -> report, plan -> build, spec, performance, economics, uncertainty -> program -> (nothing above)
    solve -> engine, simplex, interior -> solver -> kernels

`ARROWS` says what each room may import at run time, from this project and from outside; imports under TYPE_CHECKING are names for types
only and have their own, shorter list.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_LINES = 400
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
HOUSE = ("optimizer", "kernels")

# room -> rooms below it, packages from outside
ARROWS: dict[str, tuple[set[str], set[str]]] = {
    "optimizer": (set(), set()),
    "optimizer.cli": (
        {
            "optimizer", "optimizer.plan", "optimizer.report", "optimizer.spec", "optimizer.program", "optimizer.settings",
            "optimizer.checkpoint", "optimizer.cli_analyses", "optimizer.cli_performance", "optimizer.cli_sweep", "optimizer.cli_warm_up",
            "optimizer.hosts", "optimizer.process",
        },
        set(),
    ),
    "optimizer.cli_analyses": (
        {
            "optimizer.cli_alternatives", "optimizer.cli_break_even", "optimizer.cli_compare", "optimizer.cli_frontier",
            "optimizer.cli_goal", "optimizer.cli_rank", "optimizer.cli_sensitivity", "optimizer.cli_value",
        },
        set(),
    ),
    "optimizer.cli_break_even": (
        {"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec", "optimizer.sweep_points"},
        set(),
    ),
    "optimizer.cli_goal": ({"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec"}, set()),
    "optimizer.cli_frontier": (
        {"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec", "optimizer.sweep_points"},
        set(),
    ),
    "optimizer.cli_alternatives": ({"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report"}, set()),
    "optimizer.cli_analysis": ({"optimizer.report", "optimizer.spec"}, set()),
    "optimizer.cli_compare": ({"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec"}, set()),
    "optimizer.cli_rank": (
        {"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec", "optimizer.sweep_journal"},
        set(),
    ),
    "optimizer.cli_sensitivity": ({"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report"}, set()),
    "optimizer.cli_sweep": (
        {
            "optimizer.cli_analysis", "optimizer.sweep", "optimizer.sweep_journal", "optimizer.sweep_points", "optimizer.report",
            "optimizer.spec",
        },
        set(),
    ),
    "optimizer.cli_value": ({"optimizer.analysis", "optimizer.cli_analysis", "optimizer.report", "optimizer.spec"}, set()),
    "optimizer.cli_warm_up": ({"optimizer.plan", "optimizer.settings", "optimizer.warm_up"}, set()),
    "optimizer.warm_up": (
        {
            "optimizer.devices", "optimizer.headroom", "optimizer.performance", "optimizer.plan", "optimizer.program",
            "optimizer.settings", "optimizer.solver", "optimizer.spec",
        },
        set(),
    ),
    "optimizer.cli_performance": (
        {"optimizer.cli_calibrate", "optimizer.cli_serve", "optimizer.report", "optimizer.performance", "optimizer.spec"},
        set(),
    ),
    "optimizer.cli_calibrate": ({"optimizer.report", "optimizer.performance", "optimizer.spec"}, set()),
    "optimizer.cli_serve": ({"optimizer.report", "optimizer.performance", "optimizer.spec"}, set()),
    "optimizer.analysis": (
        {
            "optimizer.build", "optimizer.devices", "optimizer.economics", "optimizer.given_orders", "optimizer.headroom",
            "optimizer.performance", "optimizer.plan", "optimizer.program", "optimizer.report", "optimizer.settings", "optimizer.solve",
            "optimizer.solver", "optimizer.spec", "optimizer.sweep", "optimizer.sweep_fields", "optimizer.sweep_points",
            "optimizer.xla_flags",
        },
        {"numpy", "jax", "pandas", "scipy"},
    ),
    "optimizer.sweep": (
        {
            "optimizer", "optimizer.checkpoint", "optimizer.engine", "optimizer.plan", "optimizer.report", "optimizer.settings",
            "optimizer.solution", "optimizer.spec", "optimizer.sweep_fields", "optimizer.sweep_journal", "optimizer.sweep_points",
            "optimizer.sweep_start",
        },
        set(),
    ),
    "optimizer.sweep_start": ({"optimizer.report", "optimizer.simplex", "optimizer.solution"}, set()),
    "optimizer.sweep_fields": ({"optimizer.spec", "optimizer.sweep_points"}, set()),
    "optimizer.sweep_journal": ({"optimizer.checkpoint"}, set()),
    "optimizer.sweep_points": ({"optimizer.spec"}, set()),
    "optimizer.plan": (
        {
            "optimizer.both_sides", "optimizer.checkpoint", "optimizer.given_orders", "optimizer.headroom", "optimizer.report",
            "optimizer.build", "optimizer.spec", "optimizer.program", "optimizer.solve", "optimizer.settings",
        },
        set(),
    ),
    "optimizer.both_sides": ({"optimizer.program", "optimizer.simplex", "optimizer.solution"}, set()),
    "optimizer.headroom": ({"optimizer.performance", "optimizer.program", "optimizer.solve", "optimizer.settings"}, {"numpy"}),
    "optimizer.given_orders": ({"optimizer.build", "optimizer.spec", "optimizer.program"}, {"numpy", "pandas"}),
    "optimizer.report": (
        {"optimizer.build", "optimizer.spec", "optimizer.performance", "optimizer.economics", "optimizer.uncertainty", "optimizer.program"},
        {"numpy", "pandas", "pyarrow", "rich"},
    ),
    "optimizer.build": (
        {"optimizer.spec", "optimizer.performance", "optimizer.economics", "optimizer.uncertainty", "optimizer.program"},
        {"numpy", "jax"},
    ),
    "optimizer.performance": ({"optimizer.spec", "optimizer.xla_flags"}, {"numpy", "jax"}),
    "optimizer.economics": ({"optimizer.spec"}, {"numpy", "jax"}),
    "optimizer.uncertainty": ({"optimizer.spec"}, {"numpy", "jax"}),
    "optimizer.spec": (set(), {"pydantic", "pydantic_core", "yaml"}),
    "optimizer.solve": (
        {
            "optimizer.checkpoint", "optimizer.engine", "optimizer.interior", "optimizer.process", "optimizer.program",
            "optimizer.progress", "optimizer.settings", "optimizer.simplex", "optimizer.solution",
        },
        set(),
    ),
    "optimizer.engine": ({"optimizer.program", "optimizer.settings", "optimizer.solution", "optimizer.xla_flags"}, {"jax"}),
    "optimizer.interior": (
        {
            "optimizer.checkpoint", "optimizer.devices", "optimizer.incumbent", "optimizer.process", "optimizer.program",
            "optimizer.progress", "optimizer.settings", "optimizer.solution", "optimizer.solver",
        },
        set(),
    ),
    "optimizer.solution": ({"optimizer.program"}, set()),
    "optimizer.simplex": ({"optimizer.program"}, {"highspy", "numpy", "scipy"}),
    "optimizer.progress": ({"optimizer.settings"}, {"rich"}),
    "optimizer.incumbent": ({"optimizer.program"}, set()),
    "optimizer.checkpoint": ({"optimizer.program", "optimizer.solver"}, {"jax", "numpy"}),
    "optimizer.solver": ({"optimizer.cache_limit", "optimizer.program", "kernels"}, {"jax", "numpy"}),
    "optimizer.program": (set(), {"numpy", "scipy"}),
    "optimizer.devices": ({"optimizer.cache_limit", "optimizer.process", "optimizer.xla_flags"}, {"jax"}),
    "optimizer.process": (set(), {"scipy", "threadpoolctl"}),
    "optimizer.xla_flags": (set(), {"jax"}),
    "optimizer.cache_limit": (set(), set()),
    "optimizer.hosts": (set(), {"jax"}),
    "optimizer.settings": (set(), set()),
    "kernels": (set(), {"jax", "numpy"}),
}  # fmt: skip

# rooms whose types another room names without importing them at run time
TYPE_ARROWS: dict[str, set[str]] = {
    "optimizer": {
        "optimizer.analysis",
        "optimizer.plan",
        "optimizer.performance",
        "optimizer.program",
        "optimizer.report",
        "optimizer.settings",
        "optimizer.solve",
        "optimizer.spec",
        "optimizer.sweep",
    },
    "optimizer.checkpoint": {"optimizer.settings"},
    "optimizer.cli_analyses": {"optimizer.settings"},
    "optimizer.cli_analysis": {"optimizer.settings"},
    "optimizer.cli_alternatives": {"optimizer.settings"},
    "optimizer.cli_break_even": {"optimizer.settings"},
    "optimizer.cli_frontier": {"optimizer.settings"},
    "optimizer.cli_goal": {"optimizer.settings"},
    "optimizer.cli_compare": {"optimizer.settings"},
    "optimizer.cli_rank": {"optimizer.settings"},
    "optimizer.cli_sensitivity": {"optimizer.settings"},
    "optimizer.cli_sweep": {"optimizer.settings"},
    "optimizer.cli_value": {"optimizer.settings"},
    "optimizer.solution": {"optimizer.simplex", "optimizer.solver"},
    "optimizer.cli_warm_up": {"optimizer.warm_up"},
    "optimizer.report": {"optimizer.analysis", "optimizer.settings", "optimizer.solve"},
}

TWINS = ("twin", "twin_bound", "twin_lagrangian", "twin_repair")  # in jnp
MORE_IN_FILE = {f"optimizer/program/{name}.py": {"jax"} for name in TWINS}
MORE_IN_FILE["optimizer/performance/trace_file.py"] = {"pyarrow"}  # millions of rows
MORE_IN_FILE["optimizer/performance/calibration.py"] = {"optax"}  # the fit; a plan only reads its result
MORE_IN_FILE["optimizer/build/reverse_mode.py"] = {"autograd"}


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and whether for types only or at the top of the file."""

    file: str
    line: int
    module: str
    for_types: bool
    at_top: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


@cache
def imports() -> tuple[Import, ...]:
    """Every import of every file of the house, wherever in the file it stands."""
    return tuple(found for package in HOUSE for path in sorted((ROOT / package).rglob("*.py")) for found in imports_of(path))


def imports_of(path: Path) -> list[Import]:
    file, found = path.relative_to(ROOT).as_posix(), []

    def visit(node: ast.AST, for_types: bool, at_top: bool) -> None:
        for module in modules_named(node, path):
            found.append(Import(file, node.lineno, module, for_types, at_top))  # type: ignore[attr-defined]
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                visit(child, True, at_top)
            for child in node.orelse:
                visit(child, for_types, at_top)
            return
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, for_types, at_top and not inside)

    visit(ast.parse(path.read_text()), False, True)
    return found


def modules_named(node: ast.AST, path: Path) -> list[str]:
    """The modules of an import statement or of `import_module("...")`, relative ones made absolute.

    `from package import module` names the module, not its package.
    """
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
        return [node.args[0].value] if node.args and isinstance(node.args[0], ast.Constant) else []
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        package = path.relative_to(ROOT).parent.parts
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    inner = [f"{base}.{alias.name}" for alias in node.names if is_module(f"{base}.{alias.name}")]
    return inner or [base]


def is_module(name: str) -> bool:
    """Whether a file or package of the house has this name."""
    place = ROOT.joinpath(*name.split("."))
    return name.split(".")[0] in HOUSE and (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file())


def room_of_module(module: str) -> str:
    """optimizer.plan, optimizer.spec, ..., optimizer, kernels."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "optimizer" else parts[0]


def room_of_file(file: str) -> str:
    parts = Path(file).with_suffix("").parts
    return room_of_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def test_the_walk_sees_imports() -> None:
    """The tests below would pass on an empty list."""
    seen = {(room_of_file(i.file), i.module.split(".")[0], i.for_types) for i in imports()}
    assert {("optimizer.solver", "jax", False), ("optimizer.solver", "kernels", False), ("optimizer.spec", "pydantic", False)} <= seen
    assert ("optimizer.report", "optimizer", True) in seen
    assert any(i.file == "optimizer/spec/load.py" and i.module == "optimizer.spec.resolved" for i in imports()), "relative imports"
    assert any(i.file == "optimizer/interior.py" and i.module == "optimizer.solver.interior_point" and not i.at_top for i in imports())


def test_every_file_has_a_room() -> None:
    files = (path.relative_to(ROOT).as_posix() for package in HOUSE for path in (ROOT / package).rglob("*.py"))
    assert {room_of_file(file) for file in files} == set(ARROWS)


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_arrows(room: str) -> None:
    """What a room imports of the house and from outside is what it may."""
    below, outside = ARROWS[room]
    wrong = []
    for found in imports():
        if room_of_file(found.file) != room:
            continue
        top, target = found.module.split(".")[0], room_of_module(found.module)
        if top in HOUSE:
            allowed = below | {room} | (TYPE_ARROWS.get(room, set()) if found.for_types else set())
            good = target in allowed
        else:
            good = top in outside | MORE_IN_FILE.get(found.file, set()) or top in sys.stdlib_module_names
        if not good:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_arrows_point_one_way() -> None:
    """No room is above itself."""

    def above(room: str, path: tuple[str, ...]) -> None:
        assert room not in path, " -> ".join([*path, room])
        for lower in ARROWS[room][0] - {room}:
            above(lower, (*path, room))

    for room in ARROWS:
        above(room, ())


def test_the_solver_knows_no_other_solver() -> None:
    wrong = [
        str(i) for i in imports() if room_of_file(i.file) in ("optimizer.solver", "kernels") and i.module.startswith(("scipy", "highspy"))
    ]
    assert not wrong, "\n".join(wrong)
    borrowed = {i.module for i in imports() if room_of_file(i.file) == "optimizer.solver" and i.module.startswith("optimizer.program")}
    assert not any(i.module.startswith("optimizer.simplex") for i in imports() if room_of_file(i.file) in ("optimizer.solver", "kernels"))
    assert not borrowed & {module for module in program_modules() if uses_linear_programs(module)}, (
        "the solver borrows HiGHS through program"
    )


def program_modules() -> set[str]:
    return {f"optimizer.program.{path.stem}" for path in (ROOT / "optimizer" / "program").glob("*.py") if path.stem != "__init__"}


def uses_linear_programs(module: str) -> bool:
    file = module.replace(".", "/") + ".py"
    return any(i.module.startswith(("scipy.optimize", "highspy")) for i in imports() if i.file == file)


@pytest.mark.parametrize("start", ["certificate", "bound", "repair", "rows", "infeasible"])
def test_the_certificate_reaches_neither_solver_nor_jax(start: str) -> None:
    """Through whatever it imports, at any depth."""
    reached, waiting = set(), [f"optimizer.program.{start}"]
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        file = module.replace(".", "/") + ".py"
        waiting.extend(i.module for i in imports() if i.file == file)
    assert len(reached) > 1
    wrong = {
        m
        for m in reached
        if m.split(".")[0] in ("jax", "jaxlib", "kernels", "highspy") or (is_module(m) and room_of_module(m) != "optimizer.program")
    }
    assert not wrong


def loaded_after(statement: str) -> set[str]:
    """The top-level packages in memory after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import optimizer", {"jax", "jaxlib", "pandas", "scipy", "numpy", "pydantic", "yaml", "rich", "pyarrow"}),
        ("import optimizer; dir(optimizer); optimizer.Settings", {"jax", "jaxlib", "pandas", "scipy", "numpy", "pydantic", "yaml", "rich"}),
        ("import optimizer.cli", {"jax", "jaxlib", "pandas", "scipy"}),
        ("import optimizer; optimizer.load", {"jax", "jaxlib"}),
        ("import optimizer; optimizer.plan, optimizer.solve, optimizer.Program", {"jax", "jaxlib"}),
        ("import optimizer.spec.load", {"jax", "jaxlib", "pandas", "scipy"}),
        ("import optimizer.program.certificate, optimizer.program.infeasible", {"jax", "jaxlib", "pandas"}),
    ],
)
def test_nothing_happens_at_import(statement: str, absent: set[str]) -> None:
    assert not loaded_after(statement) & absent


def test_no_room_for_odds_and_ends() -> None:
    """No utils, common, helpers, misc, in the program or in its tests."""
    files = [path for folder in ("optimizer", "kernels", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
    wrong = [path.relative_to(ROOT).as_posix() for path in files if {path.stem, path.parent.name} & FORBIDDEN_NAMES]
    assert files and not wrong, wrong


def test_files_read_whole() -> None:
    sizes = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for package in HOUSE
        for path in (ROOT / package).rglob("*.py")
    }
    long = {file: lines for file, lines in sizes.items() if lines > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines: {long}"
