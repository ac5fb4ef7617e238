"""How a number is written for people: short, with its unit, in ASCII."""

from __future__ import annotations

import math

SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
NOTHING = "-"


def usd(amount: float) -> str:
    """About four digits: $1.234 B, $56.78 M, -$910."""
    if not math.isfinite(amount):
        return NOTHING
    size, sign = abs(amount), "-" if amount < 0 else ""
    for scale, letter in SCALES:
        if size >= 0.99995 * scale:
            return f"{sign}${_digits(size / scale)} {letter}"
    return f"{sign}${_digits(size)}" if size >= 0.005 or size == 0 else f"{sign}${size:.1e}"


def usd_exact(amount: float) -> str:
    """To the cent: $1,234,567.89."""
    if not math.isfinite(amount):
        return NOTHING
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.2f}" if abs(amount) >= 0.005 or amount == 0 else f"{sign}${abs(amount):.1e}"


def usd_scale(amounts: list[float]) -> tuple[float, str]:
    """(divisor, heading) for a column of dollars: the largest scale in which the largest amount has two digits before the point."""
    largest = max((abs(a) for a in amounts if math.isfinite(a)), default=0.0)
    for scale, letter in SCALES:
        if largest >= 10 * scale:
            return scale, f"${letter}"
    return 1.0, "$"


def scaled(amount: float, divisor: float) -> str:
    """An entry of a column with a common divisor."""
    value = amount / divisor
    return f"{value:,.1f}" if divisor > 1 else f"{value:,.2f}"


def chips(count: float) -> str:
    """Whole chips with separators; fractions below ten."""
    if not math.isfinite(count):
        return NOTHING
    if abs(count) < 5e-7:
        return "0"
    return f"{count:,.0f}" if abs(count) >= 99.5 else f"{count:.3g}"


def number(value: float) -> str:
    """About four digits, with separators above a thousand."""
    if not math.isfinite(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"


def percent(share: float) -> str:
    """50 %, 1.2 %, 0.03 %."""
    if not math.isfinite(share):
        return NOTHING
    value = 100 * share
    if value == 0:
        return "0 %"
    if abs(value) < 5e-4:
        return "~0 %"
    if abs(value) >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if abs(value) >= 0.095 else f"{value:.1g} %"


def small(value: float) -> str:
    """A relative gap: 3.1e-07."""
    return f"{value:.1e}" if math.isfinite(value) else NOTHING


def amount(value: float, unit: str) -> str:
    """A quantity of a limit with its unit: 3.2 MW, 1,500 chips, $4.0 M."""
    if unit == "USD":
        return usd(value)
    return f"{chips(value) if unit.endswith('chips') else number(value)} {unit}"


def per_unit(price_usd: float, unit: str) -> str:
    """The price of a limit: $1.2 M per MW; of a budget in dollars per dollar: $0.31 per $."""
    return f"{usd(price_usd)} per {'$' if unit == 'USD' else unit.removesuffix('s') if unit.endswith('chips') else unit}"


def name(offer: str) -> str:
    """An offer's name so that it breaks between its parts: buy/h100/texas becomes buy h100 texas."""
    return offer.replace("/", " ")


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 0.95 else f"{value:.2f} s"


def counted(count: int, noun: str) -> str:
    """1 row, 2 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _digits(value: float) -> str:
    """Four significant digits of a number from 1 to 1000, three of a smaller one."""
    return f"{value:.0f}" if value >= 999.5 else f"{value:.1f}" if value >= 99.95 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3g}"
