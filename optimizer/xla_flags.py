"""A flag of XLA that keeps sums right on the CPU, set before JAX begins: by every function that computes with JAX first.

From jaxlib 0.10.2 on XLA hands products and sums to a library, YNNPACK, which computes some of them wrongly:

    jaxlib 0.10.2                   a product of a matrix with every lane of a batch, then a sum: every lane beyond the 16,384th in float64,
                                    the 32,768th in float32 (jax-ml/jax#39103)
    jaxlib 0.10.2 to 0.12.0.1       a batched product with a matrix of one number, times a matrix, summed: off by anything to 1e300, or NaN

The solver has some forty calls of that library. The certificate judges in NumPy, so no plan would be wrong for it, but one might
not be found. An empty list of what may be handed over avoids both faults. An iteration at 20 scenarios takes 45 ms of a core either way.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

FLAG = "xla_cpu_experimental_ynn_fusion_type"
FIRST_FAULTY = (0, 10, 2)  # of jaxlib; none is known to be free of it since


def keep_sums_right() -> str | None:
    """Add the flag to XLA_FLAGS, where the installed jaxlib needs it and the user has not set it. Returns a sentence where that comes too
    late or XLA_FLAGS leaves no room for it; None where all is well."""
    given = os.environ.get("XLA_FLAGS", "").strip()
    if f"--{FLAG}" in given or (version := needed_by()) is None:
        return None
    faulty = f"jaxlib {version} may compute sums wrongly on the CPU, and plans may then not be certified"
    if given and not given.startswith("-"):  # XLA takes it for the name of a file
        return f"{faulty}: add --{FLAG}= to the file that XLA_FLAGS names"
    if has_begun():
        return f"{faulty}: JAX began before the first solve; set XLA_FLAGS=--{FLAG}= before it does"
    os.environ["XLA_FLAGS"] = f"{given} --{FLAG}=".strip()
    return None


def has_begun() -> bool:
    """Whether JAX has begun in this process: XLA reads its flags, and the size of its pool of threads, once then."""
    if "jax" not in sys.modules:
        return False
    from jax._src import xla_bridge  # nothing public tells

    return xla_bridge.backends_are_initialized()


def needed_by() -> str | None:
    """The version of the installed jaxlib, if it is one with the fault that knows the flag."""
    try:
        found = distribution("jaxlib")
    except PackageNotFoundError:
        return None
    numbers = tuple(int(part) for part in re.findall(r"\d+", found.version)[:3])
    if numbers < FIRST_FAULTY:
        return None
    return found.version if any(map(knows, Path(str(found.locate_file("jaxlib"))).glob("*jax_common*"))) else None


def knows(library: Path) -> bool:
    """Whether XLA in this file has the flag: one that it does not know ends the process. The name stands there by itself, as C holds it;
    that of a flag which was given up would stand in a description only. 5 ms."""
    try:
        with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"\0" + FLAG.encode() + b"\0") >= 0
    except (OSError, ValueError):
        return False
