"""The brackets of some problems on the CPU, in a process of its own: python -m scripts.accelerator.bracket OUT.json NAME[:SCENARIOS] ...

To be started with JAX_PLATFORMS=cpu. The file is complete after every problem.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.benchmarking.measure import write_atomically
from scripts.benchmarking.problems import problem_named


def program_of(said: str):
    """two_clouds, or reference:20."""
    name, _, scenarios = said.partition(":")
    return problem_named(name).build(int(scenarios or 0), 0)


def main(out: Path, names: list[str]) -> None:
    from scripts.accelerator.solving import settings_of, solved

    found = {}
    for name in names:
        found[name] = solved(name, program_of(name), settings_of(), lambda text: None)
        write_atomically(out, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
