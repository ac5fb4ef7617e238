"""A user's own serving measurements as they are read: rows that no fit should see are refused, each with its place and the reason.

`rate_ceiling` is the bound that a rate is held against: the model itself with every share of a peak at 1 and nothing that no peak
explains. Memory and products count one after the other, as the model counts them, so it is below what a machine that hides one
behind the other might reach: by a factor of 2 at most, where both take equally long. The published points are at 0.16 to 0.78 of it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from optimizer.performance.batch import batch_memory
from optimizer.performance.measured_points import OPTIONAL, REQUIRED, MeasuredPoints, read_points
from optimizer.performance.serving import ChipSpeeds, Efficiency, step_time, token_load, tpot_s
from optimizer.performance.serving_calibration import ServingCalibration
from optimizer.spec.case_error import CaseError, nearest_name
from optimizer.spec.catalog import Catalog
from optimizer.spec.catalog_tables import Row, read_table

PERFECT = Efficiency(
    compute=1.0, memory=1.0, network=np.inf, step_s=0.0, layer_s=0.0, all_reduce_s=0.0, sequence_s=0.0, usable_memory_share=1.0,
    attention=1.0, decode_attention=1.0, expert_compute=1.0, expert_imbalance=0.0, prefill_wait=0.0,
)  # fmt: skip
"""Every share of a peak at 1, no overhead. The network is free: switches that add up on the way move less than the model counts."""


def known_stacks(catalog: Catalog, calibration: ServingCalibration) -> tuple[str, ...]:
    """Serving stacks that a chip of the catalog names or that the calibration has overheads of, sorted."""
    named = {chip.serving_stack for chip in catalog.chips.values() if chip.serving_stack is not None}
    fitted = {name.partition(".")[2] for name in calibration.values if name.startswith(("layer_s.", "sequence_s."))}
    return tuple(sorted(named | fitted - {""}))


def rate_ceiling(points: MeasuredPoints) -> np.ndarray:
    """Output tokens/s per chip [n] of the model with PERFECT efficiencies, at the batch of the point or the one that memory holds.

    Attention counts at the faster of the 16-bit peak and that of the compute type, since engines with 8-bit caches multiply in 8 bits.
    Not finite and positive where the weights alone exceed the memory of the replica.
    """
    chip, load = _fastest(points), token_load(points.model, points.work)
    held = batch_memory(chip, points.model, points.precision, PERFECT, points.layout, load)
    step = step_time(chip, points.model, points.precision, PERFECT, points.layout, load)
    batch = np.where(np.isnan(points.batch), np.minimum(np.maximum(held, 1.0), points.requests), points.batch)
    return np.where(held > 0.0, batch / (tpot_s(step, batch) * points.layout.chips), np.nan)


def attention_peak_ratio(points: MeasuredPoints) -> np.ndarray:
    """Fastest peak that attention may run at, over the 16-bit peak that its share is of [n]."""
    return np.asarray(_fastest(points).attention_flops_per_s) / np.asarray(points.chip.attention_flops_per_s)


def _fastest(points: MeasuredPoints) -> ChipSpeeds:
    compute, attention = np.asarray(points.chip.flops_per_s), np.asarray(points.chip.attention_flops_per_s)
    return points.chip._replace(attention_flops_per_s=np.maximum(compute, attention))


def read_own_points(path: Path, catalog: Catalog, base: ServingCalibration, new_stacks: Collection[str] = ()) -> MeasuredPoints:
    """The points of a table, all of them possible. `new_stacks`: serving stacks that nobody has measured before.

    Raises CaseError with row and column: what read_points refuses, a serving stack that is neither known nor new, weights that exceed
    the memory of the replica, a rate above `rate_ceiling`; ValueError: no rows.
    """
    points, rows = read_points(path, catalog), list(read_table(path, REQUIRED, OPTIONAL))
    _check_stacks(path, rows, known_stacks(catalog, base), new_stacks)
    ceiling = rate_ceiling(points)
    for i in np.flatnonzero(np.isnan(ceiling)):
        chips, each = points.layout.chips[i], points.chip.hbm_bytes[i] / 1e9
        problem = f"is {chips:g}: the weights of {points.model_name[i]} exceed {chips:g} x {each:g} GB of {points.chip_name[i]}"
        raise rows[i].error("replica_chips", problem, "check replica_chips and weight_type")
    above = points.rate / ceiling
    if np.any(above > 1.0):
        raise _too_fast(points, rows, ceiling, above)
    return points


def _check_stacks(path: Path, rows: list[Row], known: tuple[str, ...], new_stacks: Collection[str]) -> None:
    for row in rows:
        name = row.text("serving_stack")
        if name not in known and name not in new_stacks:
            near = nearest_name(name, known)
            remedy = f"`--new-stack {name}` takes it as a stack of your own"
            problem = f"`{name}` is not a known serving stack ({', '.join(known)})"
            raise row.error("serving_stack", problem, remedy if near is None else f"did you mean `{near}`? {remedy}")
    for name in new_stacks:
        if name not in {row.text("serving_stack") for row in rows}:
            raise CaseError(path, "--new-stack", f"`{name}` is not in the column serving_stack", "name the stack as the rows do")


def _too_fast(points: MeasuredPoints, rows: list[Row], ceiling: np.ndarray, above: np.ndarray) -> CaseError:
    worst, others = int(np.argmax(above)), int(np.sum(above > 1.0)) - 1
    problem = (
        f"is {points.rate[worst]:g}, {above[worst]:.3g} times the {ceiling[worst]:.4g} that {points.chip_name[worst]} would give at this "
        "batch with every peak fully used and no overheads"
    )
    if others:
        problem += f" ({others} other row{'s are' if others > 1 else ' is'} above it too)"
    remedy = (
        "write the rate of one chip, not of a replica or a node, and of output tokens alone; check batch (per replica) and the data "
        "types; runs with speculative decoding or a prefix cache cannot be fitted"
    )
    return rows[worst].error("output_tokens_per_s_per_chip", problem, remedy)
