"""Whether the performance model can be applied to a model class or a chip: the fields that it needs and that nobody has given."""

from __future__ import annotations

from .resolved import Chip, ModelClass

_EVERY_MODEL = ("parameters_billion", "active_parameters_billion", "layers", "hidden_size", "attention_heads", "head_size")
_MIXTURE = ("expert_parameters_billion", "experts", "experts_per_token")
_LATENT_ATTENTION = ("kv_latent_size", "kv_rotary_size")
_LOCAL_ATTENTION = ("attention_window_tokens", "full_attention_share")
_EVERY_CHIP = ("hbm_gb_per_s", "scale_up_gb_per_s", "replica_chips", "architecture", "serving_stack")


def is_mixture(model: ModelClass) -> bool:
    """Some parameters are used by some tokens only. Known as soon as one field tells it."""
    if any(getattr(model, name) is not None for name in _MIXTURE):
        return True
    total, active = model.parameters_billion, model.active_parameters_billion
    return total is not None and active is not None and active.value < total.value


def missing_architecture(model: ModelClass) -> tuple[str, ...]:
    """The fields of `models.NAME` that the performance model needs and that neither the case nor the catalog gives; empty: none.

    A dense model needs no field of experts. Latent attention needs `kv_latent_size` and `kv_rotary_size` in place of `kv_heads`;
    local attention needs both of its fields.
    """
    needed: list[str] = list(_EVERY_MODEL)
    if is_mixture(model):
        needed += _MIXTURE
    if any(getattr(model, name) is not None for name in _LATENT_ATTENTION):
        needed += _LATENT_ATTENTION
    else:
        needed.append("kv_heads")
    if any(getattr(model, name) is not None for name in _LOCAL_ATTENTION):
        needed += _LOCAL_ATTENTION
    return tuple(name for name in needed if getattr(model, name) is None)


def missing_performance(chip: Chip) -> tuple[str, ...]:
    """The fields of `chips.NAME` that the performance model needs and that neither the case nor the catalog gives; empty: none.

    FP8 and FP4 peaks are not among them: without them the chip computes in bf16.
    """
    return tuple(name for name in _EVERY_CHIP if getattr(chip, name) is None)
