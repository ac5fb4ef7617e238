"""Derivatives of the optimal cost against certified re-solves: fields of a case drawn at random, and how many of them agree.

    python scripts/check_derivatives.py configs/cases/two_clouds.yaml --fields 200 --seed 0

For every field the case is solved again with it moved to both sides. With g the derivative and fd the central quotient,

    agrees      |g - fd| <= 1e-5 |fd| + (gaps) / 2h
    flagged     the two sides differ by more than the gaps allow: a price that is not unique, or a kink of a coefficient
    unresolved  the gaps allow more than 1 % of g: at this gap the comparison says nothing
    one side    there is no such number, or no plan, to one side
    WRONG       none of these

and a flagged derivative of a right-hand side or a price must still lie between its two sides. Exit code 1 where any is WRONG.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RELATIVE, RESOLVED = 1e-5, 0.01


def verdict(g: float, left: tuple[float, float], right: tuple[float, float]) -> tuple[str, bool]:
    """(verdict, whether g lies between the sides) of a derivative and the (least, most) quotients to both sides."""
    low, high = ((a + b) / 2 for a, b in (left, right))
    noise, central = (left[1] - left[0] + right[1] - right[0]) / 4, (low + high) / 2
    between = min(left[0], right[0]) - RELATIVE * abs(g) <= g <= max(left[1], right[1]) + RELATIVE * abs(g)
    if noise > RESOLVED * abs(g):
        return "unresolved", between
    if abs(g - central) <= RELATIVE * abs(central) + noise:
        return "agrees", between
    if abs(high - low) > 2 * noise + RELATIVE * abs(central):
        return "flagged", between
    return "WRONG", between


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=float, default=1e-4, help="relative step")
    parser.add_argument("--gap", type=float, default=1e-9)
    options = parser.parse_args()

    import numpy as np

    import optimizer
    from optimizer.plan import build

    case = optimizer.load(options.case)
    keys = build(case).parameters.keys
    drawn = np.random.default_rng(options.seed).permutation(len(keys))[: options.fields]
    settings = optimizer.Settings(gap_relative=options.gap, headroom_gap_relative=1e-2)

    def bar(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {of} re-solves", end="", file=sys.stderr)

    found = optimizer.sensitivity(case, settings, checked=0, fields=[keys[i] for i in drawn], step=options.step, progress=bar)
    counts: Counter[str] = Counter()
    for worth in found.fields:
        if worth.left is None or worth.right is None:
            continue
        if not (worth.left.known and worth.right.known):
            counts["one side"] += 1
            continue
        sides = (worth.left.least, worth.left.most), (worth.right.least, worth.right.most)
        said, between = verdict(worth.derivative_usd, *sides)
        counts[said] += 1
        if said != "agrees":
            print(f"{said:10s} {worth.key} = {worth.value:g}: {worth.derivative_usd:.9g}, left {sides[0]}, right {sides[1]}"
                  f"{'' if between else '  NOT BETWEEN'}")  # fmt: skip
    total = sum(counts.values())
    c = found.certificate
    drawn_how = f"{total} of {len(keys)} fields, seed {options.seed}, step {options.step:g}"
    print(f"{case.name}: {c.status.name}, gap {c.gap_relative:.1e}; {drawn_how}")
    print(", ".join(f"{name} {count} ({100 * count / total:.1f} %)" for name, count in counts.most_common()))
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
