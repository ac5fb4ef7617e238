"""Bytes per element of the data types that serving engines store weights and cache in."""

from __future__ import annotations

from optimizer.performance.serving import Precision

COMPUTE_TYPES = ("bf16", "fp8", "fp4")
STORED_TYPES = ("bf16", "fp8", "fp4", "mxfp4")

_DENSE = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.58, "mxfp4": 0.56}
_EXPERT = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625, "mxfp4": 0.53125}
_CACHE = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625, "mxfp4": 0.53125}


def stored_precision(weights: str, cache: str, mixture: bool) -> Precision:
    """Bytes per element for `weights` and `cache` in STORED_TYPES; ValueError for another name.

    Four bits and a one-byte scale for every 16 (fp4) or 32 (mxfp4) elements. A dense model keeps embeddings and a few layers wider: 0.58.
    In the 4-bit releases of mixtures only the routed experts are 4-bit and the rest, attention included, is bf16.
    """
    for name, role in ((weights, "weights"), (cache, "cache")):
        if name not in STORED_TYPES:
            raise ValueError(f"data type `{name}` of the {role} is not known: use one of {', '.join(STORED_TYPES)}")
    if not mixture:
        return Precision(_DENSE[weights], _CACHE[cache])
    dense = _DENSE["bf16"] if weights in ("fp4", "mxfp4") else _DENSE[weights]
    return Precision(dense, _CACHE[cache], _EXPERT[weights])
