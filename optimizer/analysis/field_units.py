"""The natural step of a field: a megawatt, a millisecond, a chip, a point of a share; read off the unit that ends its name."""

from __future__ import annotations

import math

POINT = 0.01
SKIPPED = ("start", "value", "path", "by_period", "by_date")  # parts of a path over time
UNITS = (
    (("_mw",), 1.0, "MW"),
    (("_ms",), 1.0, "ms"),
    (("_chips",), 1.0, "chip"),
    (("_kw_per_chip",), 1.0, "kW"),
    (("usd_per_mwh",), 1.0, "$ per MWh"),
    (("growth_per_year", "rate_per_year", "decline_per_year"), POINT, "point per year"),
    (("_share", "probability", "_ratio", "max", "min", "pue"), POINT, "0.01"),
)


def _named(key: str) -> tuple[list[str], str]:
    """(parts of the key path that are no place in a path over time, the last of them)."""
    parts = [part for part in key.split(".") if not part.isdigit() and part not in SKIPPED]
    return parts, parts[-1] if parts else key


def natural_step(key: str) -> tuple[float, str]:
    """(step, its name); a price is in its own unit, and what has no unit moves by one."""
    parts, name = _named(key)
    if "origins" in parts[:-1] or name == "share":
        return POINT, "0.01"
    for endings, step, said in UNITS:
        if name.endswith(endings):
            return step, said
    if "usd" in name:
        return 1.0, "$" + name.partition("usd")[2].replace("_", " ")
    return 1.0, "1"


def allowed(key: str) -> tuple[float, float]:
    """The range in which a number of this field means something: a share beyond one or a PUE below one does not."""
    parts, name = _named(key)
    of_whole = name.endswith(("_share", "probability", "_ratio")) or name == "share" or "origins" in parts[:-1]
    if of_whole or (parts[:2] == ["limits", "share"] and name in ("max", "min")):
        return 0.0, 1.0
    if name == "pue":
        return 1.0, math.inf
    if name.endswith("_per_year") and "usd" not in name:  # growth and discount rates
        return -1.0, math.inf
    return 0.0, math.inf


def is_point(key: str) -> bool:
    """Whether the field is a share or a rate, for which a step makes sense even where it is zero."""
    return natural_step(key)[0] == POINT
