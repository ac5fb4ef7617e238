"""Which layouts of a replica are legal, which is best on hard values, and how many chips a model needs at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from optimizer.performance.batch import BINDING, Operation, held_bytes, operate
from optimizer.performance.serving import (
    Architecture,
    ChipSpeeds,
    Efficiency,
    Layout,
    Precision,
    TokenLoad,
    Work,
    token_load,
    tpot_s,
    weight_bytes,
)


class Choice(NamedTuple):
    """The layouts tried (leaves of shape [layouts]), the operation of each, and the index of the best, None where none is feasible."""

    layouts: Layout
    operations: Operation
    best: int | None
    refusal: str | None  # one sentence where best is None

    def best_layout(self) -> Layout:
        """The chosen layout as scalars; ValueError with the refusal where there is none."""
        if self.best is None:
            raise ValueError(self.refusal)
        return Layout(*(float(leaf[self.best]) for leaf in self.layouts))

    def best_operation(self) -> Operation:
        """The operation of the chosen layout as scalars; ValueError with the refusal where there is none."""
        if self.best is None:
            raise ValueError(self.refusal)
        best, shape = self.best, self.layouts.chips.shape
        step = self.operations.step
        chosen = {field: np.broadcast_to(getattr(self.operations, field), shape)[best] for field in Operation._fields if field != "step"}
        return Operation(**chosen, step=type(step)(*(float(np.broadcast_to(leaf, shape)[best]) for leaf in step)))


def least_chips(chip: ChipSpeeds, model: Architecture, precision: Precision, efficiency: Efficiency, load: TokenLoad) -> int | None:
    """Fewest chips of one tensor-parallel group that hold the weights and one sequence; None where no number does."""
    usable = float(chip.hbm_bytes * efficiency.usable_memory_share)
    dense, routed = weight_bytes(model, precision)
    sequence = float(model.kv_elements_per_token * precision.kv_bytes * load.cached_tokens)
    # Beyond kv_heads chips every further chip keeps a copy of a head's cache, so a chip's own share stops falling.
    spread = math.ceil(float(dense + routed + sequence) / usable - 1e-9)
    heads = float(model.kv_heads)
    if spread <= heads:
        return max(1, spread)
    left = usable - sequence / heads
    return max(1, math.ceil(float(dense + routed) / left - 1e-9)) if left > 0.0 else None


def legal_layouts(model: Architecture, replica_chips: Sequence[int], scale_up_chips: int) -> Layout:
    """All layouts of a replica, leaves of shape [layouts].

    `replica_chips` are the allowed sizes. Tensor parallelism stays inside one scale-up domain and divides the attention heads; a replica
    larger than the domain is a pipeline of whole domains; a mixture of experts may instead spread its experts over a domain with
    data-parallel attention. ValueError where no size is given.
    """
    if not replica_chips or min(replica_chips) < 1 or scale_up_chips < 1:
        sizes = f"replica sizes {list(replica_chips)} in a scale-up domain of {scale_up_chips} chips"
        raise ValueError(f"{sizes}: at least one size is needed, and all of them must be 1 chip or more")
    mixture, heads, layers = float(model.expert_parameters) > 0.0, int(model.attention_heads), int(model.layers)
    found: list[tuple[float, float, float]] = []
    for chips in sorted(set(replica_chips)):
        stages = math.ceil(chips / scale_up_chips)
        if chips % stages or stages > layers:
            continue
        ways = chips // stages
        if heads % ways == 0:
            found.append((chips, stages, 0.0))
        if mixture and ways > 1 and ways <= float(model.experts):
            found.append((chips, stages, 1.0))
    columns = np.array(found, dtype=float).reshape(-1, 3).T
    return Layout(columns[0], columns[1], columns[2])


def best_layout(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    work: Work | TokenLoad,
    tpot_mean_limit_s: float,
    replica_chips: Sequence[int],
    scale_up_chips: int,
) -> Choice:
    """Enumerates the legal layouts of one chip and one model (scalars); the most output tokens per second and chip wins, on hard values."""
    load = work if isinstance(work, TokenLoad) else token_load(model, work)
    layouts = legal_layouts(model, replica_chips, scale_up_chips)
    if not layouts.chips.size:
        sizes = ", ".join(str(size) for size in sorted(set(replica_chips)))
        sentence = f"no replica of {sizes} chips divides the {model.attention_heads:g} attention heads of the model"
        return Choice(layouts, operate(chip, model, precision, efficiency, layouts, load, tpot_mean_limit_s), None, sentence)
    done = operate(chip, model, precision, efficiency, layouts, load, tpot_mean_limit_s)
    if np.any(done.feasible):
        return Choice(layouts, done, int(np.argmax(done.output_tokens_per_s_per_chip)), None)
    return Choice(layouts, done, None, refusal(chip, model, precision, efficiency, layouts, load, tpot_mean_limit_s, done))


def refusal(
    chip: ChipSpeeds,
    model: Architecture,
    precision: Precision,
    efficiency: Efficiency,
    layouts: Layout,
    load: TokenLoad,
    tpot_mean_limit_s: float,
    done: Operation,
) -> str:
    """Why no layout works, in one sentence: the chips that would hold the model, or the least time per token of those that hold it."""
    binds = np.broadcast_to(done.binds, layouts.chips.shape)
    held = binds != BINDING.index("weights_do_not_fit")
    if not np.any(held):
        at = int(np.argmax(done.batch_memory))
        chips = layouts.chips[at]
        needs = held_bytes(model, precision, Layout(*(leaf[at] for leaf in layouts))) + (
            model.kv_elements_per_token * precision.kv_bytes * load.cached_tokens
        )
        usable = chip.hbm_bytes * efficiency.usable_memory_share
        enough = least_chips(chip, model, precision, efficiency, load)
        tail = f"{enough} such chips would hold it" if enough else "no number of such chips in one tensor-parallel group would hold it"
        return (
            f"the weights and one sequence take {needs / 1e9:,.0f} GB and {chips:g} chips with {usable / 1e9:,.1f} usable GB each hold"
            f" {chips * usable / 1e9:,.0f} GB: {tail}"
        )
    one = np.where(held, np.broadcast_to(tpot_s(done.step, 1.0), held.shape), np.inf)
    at = int(np.argmin(one))
    read = np.broadcast_to(done.step.weights_s, held.shape)[at] + np.broadcast_to(done.step.overhead_s, held.shape)[at]
    return (
        f"a mean time per output token of {tpot_mean_limit_s * 1e3:.3g} ms cannot be met: one sequence alone takes {one[at] * 1e3:.3g} ms"
        f" on {layouts.chips[at]:g} chips, {read * 1e3:.3g} ms of it to read the weights and to launch the layers"
    )
