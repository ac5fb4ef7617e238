"""Paths: values over time, in their four forms (case reference, section 1), and prices that may be `catalog`."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from .case_error import shown
from .schema_values import Block, Date, Fraction, Growth, NotNegative, Positive, refuse

V = TypeVar("V")


class _PathPart(Block, Generic[V]):
    """A part of a path whose values lie in the range V."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[type[Any], ...]) -> str:
        # pydantic's own name spells out the annotation; editors show it
        ranges = {"positive": Positive, "not_negative": NotNegative, "fraction": Fraction}
        return f"{cls.__name__}_{next((name for name, range_ in ranges.items() if range_ == params[0]), 'any')}"


class GrowthPath(_PathPart[V], Generic[V]):
    """`start * (1 + growth_per_year) ** years since the horizon start`."""

    start: V = Field(description="value at the start of the horizon, in the unit of the key")
    growth_per_year: Growth = Field(description="growth as a fraction per year, greater than -1: 0.5 is +50 % a year")


class ByPeriodPath(_PathPart[V], Generic[V]):
    """One value for each period."""

    by_period: list[V] = Field(description="exactly one value for each period of the horizon, in the unit of the key", min_length=1)


class Step(_PathPart[V], Generic[V]):
    """A value and the first day on which it holds."""

    from_: Date = Field(alias="from", description="first day on which the value holds")
    value: V = Field(description="value from that day on, in the unit of the key")


class ByDatePath(_PathPart[V], Generic[V]):
    """A value that steps at dates."""

    by_date: list[Step[V]] = Field(description="steps in ascending order; the first is not after the horizon start", min_length=1)

    @field_validator("by_date")
    @classmethod
    def _ascending(cls, steps: list[Step[V]]) -> list[Step[V]]:
        for position, (before, after) in enumerate(pairwise(steps), start=1):
            if after.from_ <= before.from_:
                raise refuse(
                    f"{after.from_} does not come after {before.from_}", "put the dates in ascending order, each once", (position, "from")
                )
        return steps


FORMS = "a number, {start, growth_per_year}, {by_period: [...]} or {by_date: [{from, value}, ...]}"
_FORM_OF_KEY = {"start": "<growth>", "growth_per_year": "<growth>", "by_period": "<by_period>", "by_date": "<by_date>"}


def path_form(value: Any) -> str:
    if not isinstance(value, dict):
        return "<number>"
    forms = list(dict.fromkeys(_FORM_OF_KEY[key] for key in value if key in _FORM_OF_KEY))
    return forms[0] if forms else "<growth>"


def check_path_form(value: Any) -> Any:
    """Refuses what is of no form or of two; the second happens when a path is merged onto one of another form."""
    if isinstance(value, dict):
        keys = [key for key in value if key in _FORM_OF_KEY]
        forms = {_FORM_OF_KEY[key] for key in keys}
        if len(forms) > 1:
            raise refuse(f"mixes the forms of a path ({', '.join(keys)})", "keep one form; set inherited keys of the other to null")
        if not forms:
            raise refuse(f"is {shown(value)}, not a path", f"write {FORMS}")
    elif isinstance(value, list):
        raise refuse(f"is {shown(value)}", f"write {FORMS}")
    return value


_PATH = (Discriminator(path_form), BeforeValidator(check_path_form))

PositivePath = Annotated[
    Annotated[Positive, Tag("<number>")]
    | Annotated[GrowthPath[Positive], Tag("<growth>")]
    | Annotated[ByPeriodPath[Positive], Tag("<by_period>")]
    | Annotated[ByDatePath[Positive], Tag("<by_date>")],
    *_PATH,
]
NotNegativePath = Annotated[
    Annotated[NotNegative, Tag("<number>")]
    | Annotated[GrowthPath[NotNegative], Tag("<growth>")]
    | Annotated[ByPeriodPath[NotNegative], Tag("<by_period>")]
    | Annotated[ByDatePath[NotNegative], Tag("<by_date>")],
    *_PATH,
]
FractionPath = Annotated[
    Annotated[Fraction, Tag("<number>")]
    | Annotated[GrowthPath[Fraction], Tag("<growth>")]
    | Annotated[ByPeriodPath[Fraction], Tag("<by_period>")]
    | Annotated[ByDatePath[Fraction], Tag("<by_date>")],
    *_PATH,
]
PathBlock = GrowthPath[Any] | ByPeriodPath[Any] | ByDatePath[Any]


def _price_form(value: Any) -> str:
    return "<catalog>" if isinstance(value, str) else "<path>"


def _check_price(value: Any) -> Any:
    if isinstance(value, str) and value != "catalog":
        raise refuse(f"is {shown(value)}, not a price", f"write {FORMS}, or catalog")
    return value


PriceOrCatalog = Annotated[
    Annotated[Literal["catalog"], Tag("<catalog>")] | Annotated[PositivePath, Tag("<path>")],
    Discriminator(_price_form),
    BeforeValidator(_check_price),
]
