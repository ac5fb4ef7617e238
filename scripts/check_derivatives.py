"""Derivatives of the optimal cost against certified re-solves: fields of a case drawn at random, and how many of them agree.

    python scripts/check_derivatives.py configs/cases/two_clouds.yaml --fields 200 --seed 0

For every field the case is solved again with it moved to both sides. With g the derivative and fd the central quotient,

    agrees      |g - fd| <= 1e-5 |fd| + (gaps) / 2h
    flagged     the two sides differ by more than the gaps allow: a price that is not unique, or a kink of a coefficient
    unresolved  the gaps allow more than 1 % of g, or the gap at which g was taken allows the difference: the comparison says nothing
    one side    there is no such number, or no plan, to one side
    WRONG       none of these

A field that stands in right-hand sides or costs alone, linearly, bends the cost one way: there g must lie between the two sides whatever
the verdict (to within the gap over the step), and is WRONG otherwise. Exit code 1 where any is.

With --resolve highs the re-solves are HiGHS's simplex, each from the basis of the case as it is, judged by our certificate
(pip install '.[peers]'): another method, at gaps of 1e-12, and on a large case in seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from optimizer.analysis.sensitivity import Sensitivity, Worth
    from optimizer.build.build import Built

RELATIVE, RESOLVED = 1e-5, 0.01
LINEAR = 1e-9  # of the largest entry: what rounding leaves of a second difference


def verdict(g: float, left: tuple[float, float], right: tuple[float, float], kind: str = "coefficient", room: float = 0.0) -> str:
    """Of a derivative and the (least, most) quotients to both sides; `room`: what the gap behind g allows it to be outside of them."""
    low, high = ((a + b) / 2 for a, b in (left, right))
    noise, central = (left[1] - left[0] + right[1] - right[0]) / 4, (low + high) / 2
    if noise > RESOLVED * abs(g):
        return "unresolved"
    if abs(g - central) <= RELATIVE * abs(central) + noise:
        return "agrees"
    outside = max(min(left[0], right[0]) - g, g - max(left[1], right[1])) - RELATIVE * abs(g)
    if abs(high - low) > 2 * noise + RELATIVE * abs(central) and (outside <= room or kind == "coefficient"):
        return "flagged"
    return "unresolved" if abs(g - central) <= RELATIVE * abs(central) + noise + room else "WRONG"


def kind_of(built: Built, key: str, step: float) -> str:
    """`cost` or `right-hand side` where the field stands in those alone and linearly, else `coefficient`."""
    import numpy as np

    from optimizer.analysis.cost_shape import COSTS, SIDES
    from optimizer.analysis.field_gradient import moved
    from optimizer.build.build import program_of
    from optimizer.build.values import values
    from optimizer.program.program import Sparse, array_fields

    keys, base = built.parameters.keys, built.parameters.values
    programs = [program_of(built.structure, values(built.structure, moved(base, keys, keys.index(key), by))) for by in (-step, 0.0, step)]
    changed = set()
    for name in array_fields():
        arrays = [getattr(program, name) for program in programs]
        below, here, above = (np.asarray(a.value if isinstance(a, Sparse) else a, float) for a in arrays)
        if np.array_equal(below, above) and np.array_equal(below, here):
            continue
        finite = np.isfinite(below) & np.isfinite(here) & np.isfinite(above)
        bent = np.abs(below - 2 * here + above)[finite]
        if bent.size < here.size - np.isinf(here).sum() or bent.max(initial=0.0) > LINEAR * np.abs(here[finite]).max(initial=0.0):
            return "coefficient"
        changed.add(name)
    return "cost" if changed <= COSTS else "right-hand side" if changed <= SIDES else "coefficient"


def judged(found: Sensitivity, worth: Worth, kind: str) -> str:
    assert worth.left is not None and worth.right is not None
    if not (worth.left.known and worth.right.known):
        return "one side"
    sides = (worth.left.least, worth.left.most), (worth.right.least, worth.right.most)
    return verdict(worth.derivative_usd, *sides, kind, found.certificate.gap / worth.right.step)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=float, default=1e-4, help="relative step")
    parser.add_argument("--gap", type=float, default=1e-9, help="of our own solves")
    own = "what solves the moved programs (own: the interior point)"
    parser.add_argument("--resolve", choices=["own", "highs"], default="own", help=own)
    parser.add_argument("--json", type=Path, help="write every field with its verdict and its two sides here")
    options = parser.parse_args()

    import numpy as np

    import optimizer
    from optimizer.plan import build
    from optimizer.report.text_files import write_text
    from optimizer.report.waiting import PointsBar

    case = optimizer.load(options.case)
    built = build(case)
    keys = built.parameters.keys
    fields = [keys[i] for i in np.random.default_rng(options.seed).permutation(len(keys))[: options.fields]]
    engine = "interior" if options.resolve == "own" else "auto"  # so that the two ways are two methods
    settings = optimizer.Settings(gap_relative=options.gap, headroom_gap_relative=1e-2, engine=engine)
    resolve = None
    if options.resolve == "highs":
        from scripts.benchmarking.warm_highs import WarmHighs

        resolve = WarmHighs()

    with PointsBar(sys.stderr.isatty()) as bar:
        found = optimizer.sensitivity(case, settings, checked=0, fields=fields, step=options.step, progress=bar, resolve=resolve)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    rows = []
    for worth in found.fields:
        if worth.left is None or worth.right is None:
            continue
        kind = kind_of(built, worth.key, worth.right.step)
        said = judged(found, worth, kind)
        counts[said] += 1
        kinds[f"{said}, {kind}"] += 1
        rows.append({"field": worth.key, "kind": kind, "verdict": said, "value": worth.value, "derivative_usd": worth.derivative_usd,
                     "left": asdict(worth.left), "right": asdict(worth.right)})  # fmt: skip
        if said != "agrees":
            sides = f"left {worth.left.least:.9g} to {worth.left.most:.9g}, right {worth.right.least:.9g} to {worth.right.most:.9g}"
            print(f"{said:10s} {kind:15s} {worth.key} = {worth.value:g}: {worth.derivative_usd:.9g}, {sides}")
    total = sum(counts.values())
    c = found.certificate
    drawn = f"{total} of {len(keys)} fields, seed {options.seed}, step {options.step:g}, re-solved by {options.resolve}"
    print(f"{case.name}: {c.status.name}, gap {c.gap_relative:.1e}; {drawn}")
    print(", ".join(f"{name} {count} ({100 * count / total:.1f} %)" for name, count in counts.most_common()))
    print("; ".join(f"{name} {count}" for name, count in sorted(kinds.items())))
    if options.json is not None:
        write_text(options.json, json.dumps(rows, indent=1))
        print(f"Results: {options.json}")
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
