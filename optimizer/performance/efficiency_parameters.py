"""The parameters that calibration fits: their names, their priors, and the efficiencies of one chip and stack made from them.

Names are FIELD or FIELD.GROUP: the group is the chip architecture (memory, decode_attention), architecture and data type
(compute, expert_compute) or the serving stack (layer_s, sequence_s); the others are shared by all. Priors are log-normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from optimizer.performance.serving import Efficiency

OLDER_SOFTWARE = "older_software"
"""Factor on the time of points measured with a release that is a year older than the rest."""


class Normal(NamedTuple):
    """A log-normal belief: median and standard deviation of the logarithm."""

    value: float
    log_std: float


_PRIORS = {
    "compute": Normal(0.50, 0.35),
    "compute.hopper_fp8": Normal(0.55, 0.35),
    "compute.tpu_v6e_bf16": Normal(0.55, 0.35),
    "compute.blackwell_fp4": Normal(0.45, 0.35),
    "compute.cdna3_fp8": Normal(0.40, 0.35),
    "memory": Normal(0.75, 0.20),
    "memory.cdna3": Normal(0.70, 0.20),
    "memory.trainium2": Normal(0.65, 0.20),
    "network": Normal(0.70, 0.20),
    "step_s": Normal(1e-3, 0.70),
    "layer_s": Normal(40e-6, 0.70),
    "layer_s.trtllm": Normal(20e-6, 0.70),
    "layer_s.trtllm_pytorch": Normal(20e-6, 0.70),
    "layer_s.vllm_tpu": Normal(30e-6, 0.70),
    "layer_s.neuron": Normal(150e-6, 0.70),
    "all_reduce_s": Normal(10e-6, 0.50),
    "sequence_s": Normal(10e-6, 1.00),
    "sequence_s.vllm_rocm": Normal(40e-6, 1.00),
    "usable_memory_share": Normal(0.88, 0.05),
    "attention": Normal(0.60, 0.35),
    "decode_attention": Normal(0.80, 0.50),
    "expert_compute": Normal(0.70, 0.35),
    "expert_imbalance": Normal(0.20, 0.50),
    "prefill_wait": Normal(0.20, 0.70),
    OLDER_SOFTWARE: Normal(1.00, 0.15),
}
_BY_ARCHITECTURE = ("memory", "decode_attention")
_BY_ARCHITECTURE_AND_TYPE = ("compute", "expert_compute")
_BY_STACK = ("layer_s", "sequence_s")


def prior(name: str) -> Normal:
    """What is believed of a parameter before any point: its own entry, else that of its field. KeyError for an unknown field."""
    return _PRIORS.get(name) or _PRIORS[name.split(".")[0]]


def parameter_names(architecture: str, data_type: str, stack: str) -> Efficiency:
    """For each field of Efficiency the name of the parameter that it is, for a chip architecture, compute data type and serving stack."""
    group = dict.fromkeys(_BY_ARCHITECTURE, architecture)
    group |= dict.fromkeys(_BY_ARCHITECTURE_AND_TYPE, f"{architecture}_{data_type}")
    group |= dict.fromkeys(_BY_STACK, stack)
    return Efficiency(*(f"{field}.{group[field]}" if field in group else field for field in Efficiency._fields))


def efficiency(values: Mapping[str, Normal], architecture: str, data_type: str, stack: str) -> tuple[Efficiency, Efficiency]:
    """(values, log standard deviations) by field; a parameter that `values` lacks, such as one of a new chip, stands at its prior."""
    known = [values.get(name) or prior(name) for name in parameter_names(architecture, data_type, stack)]
    return Efficiency(*(one.value for one in known)), Efficiency(*(one.log_std for one in known))
