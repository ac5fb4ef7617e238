"""Fields of chips and model classes that the performance model reads (case reference, section 9): all optional, in a case and in a catalog.

A plan that stands on measured throughput alone needs none of them, so a field that is missing is an error only where the
performance model is asked to use the row (`model_architecture`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from .schema_values import LARGEST_WHOLE, Block, Name, Positive, PositiveFraction, refuse, whole_number

Count = Annotated[int, Field(ge=1, le=LARGEST_WHOLE), BeforeValidator(whole_number)]

Conflict = tuple[str, str, str]
"""The field at fault, the problem, the remedy."""


class ChipArchitecture(Block):
    """What a chip can do at most and how it is joined to others; datasheet figures per chip."""

    hbm_gb_per_s: Positive | None = Field(None, description="memory bandwidth, GB/s")
    fp8_dense_tflops: Positive | None = Field(None, description="dense FP8 TFLOP/s; absent: no FP8 units")
    fp4_dense_tflops: Positive | None = Field(None, description="dense FP4 TFLOP/s; absent: no FP4 units")
    scale_up_gb_per_s: Positive | None = Field(None, description="GB/s that one chip sends into its scale-up network, one way")
    replica_chips: list[Count] | None = Field(
        None, description="chips that one serving replica may take, ascending; above scale_up_chips only whole domains", min_length=1
    )
    slice_chips: Count | None = Field(None, description="chips that are acquired together; absent: any number")
    architecture: Name | None = Field(None, description="name of the generation that shares calibrated efficiencies: hopper, tpu_v6e, ...")
    serving_stack: Name | None = Field(None, description="name of the serving software that shares calibrated overheads: trtllm, ...")

    @model_validator(mode="after")
    def _chip_is_consistent(self) -> ChipArchitecture:
        _refuse_conflict(chip_conflict({name: getattr(self, name) for name in type(self).model_fields}))
        return self


class ModelArchitecture(Block):
    """A decoder-only transformer; counts and widths as in the config.json of its release."""

    parameters_billion: Positive | None = Field(None, description="parameters, billions")
    active_parameters_billion: Positive | None = Field(None, description="parameters used per token, billions")
    expert_parameters_billion: Positive | None = Field(
        None, description="parameters of all routed experts together, billions; dense: absent"
    )
    experts: Count | None = Field(None, description="routed experts of a mixture layer; dense: absent")
    experts_per_token: Count | None = Field(None, description="routed experts that one token goes through; dense: absent")
    layers: Count | None = Field(None, description="layers")
    hidden_size: Count | None = Field(None, description="width of the residual stream")
    attention_heads: Count | None = Field(None, description="query heads")
    kv_heads: Count | None = Field(None, description="key and value heads")
    head_size: Count | None = Field(None, description="width of one value head")
    kv_latent_size: Count | None = Field(
        None, description="latent attention: elements cached per token and layer, latent and rotary part; else absent"
    )
    kv_rotary_size: Count | None = Field(None, description="latent attention: the rotary part of kv_latent_size; else absent")
    attention_window_tokens: Count | None = Field(None, description="tokens that a layer with local attention sees; absent: all see all")
    full_attention_share: PositiveFraction | None = Field(None, description="share of the layers that see all tokens, (0, 1]; absent: 1")
    vocabulary_size: Count | None = Field(None, description="tokens of the vocabulary")

    @model_validator(mode="after")
    def _model_is_consistent(self) -> ModelArchitecture:
        _refuse_conflict(model_conflict({name: getattr(self, name) for name in ModelArchitecture.model_fields}))
        return self


def _refuse_conflict(conflict: Conflict | None) -> None:
    if conflict is not None:
        field, problem, remedy = conflict
        raise refuse(problem, remedy, (field,))


def chip_conflict(values: Mapping[str, Any]) -> Conflict | None:
    """The first contradiction between the fields of one chip; a field that is absent or None contradicts nothing."""
    sizes, domain = values.get("replica_chips") or (), values.get("scale_up_chips")
    for smaller, larger in pairwise(sizes):
        if larger <= smaller:
            return "replica_chips", f"has {larger} after {smaller}", "write the sizes in ascending order, each once"
    for size in sizes:
        if domain is not None and size > domain and size % domain:
            remedy = "stay within the domain, or join whole domains by pipeline parallelism: write a multiple of it"
            return "replica_chips", f"has {size}, which is above one scale-up domain of {domain:g} chips and no multiple of it", remedy
    return None


_AT_MOST = (
    ("experts_per_token", "experts"),
    ("active_parameters_billion", "parameters_billion"),
    ("expert_parameters_billion", "parameters_billion"),
    ("kv_rotary_size", "kv_latent_size"),
)


def model_conflict(values: Mapping[str, Any]) -> Conflict | None:
    """The first contradiction between the fields of one model class; a field that is absent or None contradicts nothing."""
    for part, whole in _AT_MOST:
        of_part, of_whole = values.get(part), values.get(whole)
        if of_part is not None and of_whole is not None and of_part > of_whole:
            return part, f"is {of_part:g}, more than `{whole}` ({of_whole:g})", f"write at most {of_whole:g}"
    heads, kv_heads = values.get("attention_heads"), values.get("kv_heads")
    if heads is not None and kv_heads is not None and heads % kv_heads:
        return "kv_heads", f"is {kv_heads:g}, which does not divide `attention_heads` ({heads:g})", f"write a divisor of {heads:g}"
    return None
