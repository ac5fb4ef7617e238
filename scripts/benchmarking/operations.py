"""How much the solver gives XLA to compile for a problem's shape: StableHLO operations by function, by kind and by line of the source.

    python -m scripts.benchmarking.operations two_clouds --lines 40 --compile
    python -m scripts.benchmarking.operations reference --scenarios 20

Time to compile follows the number of kernels that XLA makes of the operations, some 30 ms each on one core, and grows little with the sizes
of arrays. Every operation counts once as it stands in the module's text: bodies of loops and branches, and functions that are called,
however often they run.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OPERATION = re.compile(r"(?:^|= )\"?((?:stablehlo|chlo)\.\w+)")
LOCATION = re.compile(r"^(#loc\d*) = loc\((.*)\)$")
FRAME = re.compile(r'"([^"]+\.py)":(\d+)')


def operations(lowered: Any) -> Counter[str]:
    """Number of operations of a lowered function (jax.stages.Lowered) by kind; what only ends a region is none."""
    found: Counter[str] = Counter()
    for line in lowered.as_text().splitlines():
        if match := OPERATION.search(line.strip()):
            found[match[1].removeprefix("stablehlo.")] += 1
    del found["return"]
    return found


def by_line(lowered: Any) -> Counter[str]:
    """Number of operations by the line of this project that asked for them."""
    text = lowered.as_text(debug_info=True).splitlines()
    locations = {match[1]: match[2] for line in text if (match := LOCATION.match(line))}

    def place(told: str, seen: int = 0) -> str | None:  # the innermost frame of this project
        for file, number in FRAME.findall(told):
            if file.startswith(str(ROOT)) and "site-packages" not in file:
                return f"{file.removeprefix(str(ROOT) + '/')}:{number}"
        inner = (place(locations[name], seen + 1) for name in re.findall(r"#loc\d+", told) if name in locations and seen < 60)
        return next((found for found in inner if found), None)

    found: Counter[str] = Counter()
    for line in text:
        match = OPERATION.search(line.strip())
        if match and match[1] != "stablehlo.return":
            name = re.search(r"loc\((#loc\d*)\)$", line)
            found[(place(name[1]) if name else None) or "elsewhere"] += 1
    return found


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", help="a problem of the benchmark (scripts/benchmarking/problems.py)")
    parser.add_argument("--scenarios", type=int, default=0)
    parser.add_argument("--kinds", type=int, default=12, help="how many kinds of operations to name")
    parser.add_argument("--lines", type=int, default=0, help="how many lines of the source to name")
    parser.add_argument("--function", help="of this function alone")
    parser.add_argument("--compile", action="store_true", help="compile each, one after the other, past every cache")
    options = parser.parse_args(given)
    import jax

    from optimizer.devices import prepare
    from optimizer.solver.compiled import lowered
    from optimizer.solver.layout import make_layout
    from scripts.benchmarking.problems import problem_named

    prepare()
    jax.config.update("jax_enable_compilation_cache", False)
    layout = make_layout(problem_named(options.problem).build(options.scenarios, 0))
    kinds: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    start = time.perf_counter()
    functions = lowered(layout.shape, layout.data)
    print(f"traced and lowered in {time.perf_counter() - start:.1f} s")
    seconds = 0.0
    for name, function in functions.items():
        if options.function in (None, name):
            count = operations(function)
            kinds, lines = kinds + count, lines + (by_line(function) if options.lines else Counter())
            start = time.process_time()
            if options.compile:
                function.compile()
            seconds += (took := time.process_time() - start)
            print(f"{count.total():6d} {name}" + (f"  {took:.2f} s" if options.compile else ""))
    print(f"{kinds.total():6d} in all" + (f"  {seconds:.2f} s of processor time" if options.compile else ""))
    for title, table, most in (("kinds", kinds, options.kinds), ("lines", lines, options.lines)):
        if most:
            print(title)
            print("\n".join(f"{number:6d} {name}" for name, number in table.most_common(most)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
