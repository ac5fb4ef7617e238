"""The values that fields are made of: names, dates, numbers with their ranges, and paths over time.

A value that is refused carries its problem and its remedy in words (`refuse`); `schema_errors` puts file and key in front.
"""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .case_error import Location, did_you_mean, nearest_name, shown

NAME_PATTERN = r"^[A-Za-z0-9_.:/-]+$"
NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/-")


def refuse(problem: str, remedy: str, at: Location = ()) -> PydanticCustomError:
    """The error of a value; `at` leads from the value to the part of it that is meant."""
    return PydanticCustomError("refused", "{problem}; {remedy}", {"problem": problem, "remedy": remedy, "at": at})


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        remedy = "write a number"
        if isinstance(value, str):
            remedy = "write a number without quotes or unit (the unit is in the key)"
            if "," in value:
                remedy = "write a number with a decimal point and without thousands separators"
        raise refuse(f"is {shown(value)}, not a number", remedy)
    try:
        return float(value)
    except OverflowError:
        raise refuse("is too large", "write a finite number") from None


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(f"is {shown(value)}, not a whole number", "write a whole number")
    return value


def _date(value: Any) -> Any:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise refuse(f"is {shown(value)}, not a date", "write a date YYYY-MM-DD without quotes")
    if not 1990 <= value.year <= 2150:
        raise refuse(f"is {value}, which no plan reaches", "write a date between 1990 and 2150")
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        raise refuse(f"is {shown(value)}, not a name", "write a text; put it in quotes if it looks like a number or a date")
    if not value or not NAME_CHARACTERS.issuperset(value):
        raise refuse(f"is {shown(value)}, not a name", "use letters, digits and _ . : / - only")
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise refuse(f"is {shown(value)}, not a text", "put it in quotes")
    return value


def _truth(value: Any) -> Any:
    if not isinstance(value, bool):
        raise refuse(f"is {shown(value)}", "write true or false")
    return value


Name = Annotated[str, Field(pattern=NAME_PATTERN), BeforeValidator(_name)]
Text = Annotated[str, BeforeValidator(_text)]
Date = Annotated[date, BeforeValidator(_date)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Names = Annotated[list[Name], Field(min_length=1)]

Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_number)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]
PositiveFraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]
Growth = Annotated[float, Field(gt=-1, le=20, allow_inf_nan=False), BeforeValidator(_number)]
AtLeastOne = Annotated[float, Field(ge=1, allow_inf_nan=False), BeforeValidator(_number)]
DiscountRate = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(_number)]
Months = Annotated[int, Field(ge=1, le=180), BeforeValidator(_whole)]
LeadTime = Annotated[int, Field(ge=0, le=600), BeforeValidator(_whole)]
Periods = Annotated[int, Field(ge=1, le=600), BeforeValidator(_whole)]
HourOfDay = Annotated[int, Field(ge=0, le=23), BeforeValidator(_whole)]
UtcOffset = Annotated[int, Field(ge=-12, le=14), BeforeValidator(_whole)]


class Block(BaseModel):
    """A map of the file with fixed keys. Unknown keys are refused with the nearest key that exists."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    elsewhere: ClassVar[dict[str, str]] = {}
    """Keys that are right in another place, and what to say about them here."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: Any) -> Any:
        keys = [info.alias or name for name, info in cls.model_fields.items()]
        if not isinstance(data, dict):
            raise refuse(f"is {shown(data)}", f"write a map with the keys {', '.join(keys)}")
        for key in data:
            if key not in keys:
                remedy = cls.elsewhere.get(key) or _key_remedy(key, keys)
                raise PydanticCustomError("unknown_key", "unknown", {"problem": "is not a key here", "remedy": remedy, "at": (str(key),)})
        return data


def _key_remedy(key: str, keys: list[str]) -> str:
    # a wrong or forgotten unit is the commonest misspelling; what stands before the unit then tells the key meant
    stem = key.rsplit("_", 1)[0]
    meant = [k for k in keys if k.startswith(f"{key}_")]
    meant = meant or [k for k in keys if "_" in k and "_" in key and len(stem) >= 4 and k.rsplit("_", 1)[0] == stem]
    meant = meant or [k for k in keys if key.startswith(f"{k}_")]
    if meant:
        return f"did you mean {' or '.join(f'`{k}`' for k in meant[:3])}?"
    return did_you_mean(key, keys)


def check_choice(value: Any, key: str, choices: tuple[str, ...]) -> Any:
    """Refuses a map whose `key`, which decides what fields it has, is absent or none of `choices`."""
    if not isinstance(value, dict):
        raise refuse(f"is {shown(value)}", f"write a map with `{key}` and its other fields")
    if key not in value:
        near = nearest_name(key, value)
        remedy = f"`{near}` is no key; did you mean `{key}`?" if near else f"write `{key}:` and one of {', '.join(choices)}"
        raise refuse("is missing", remedy, (key,))
    chosen = value[key]
    if not isinstance(chosen, str) or chosen not in choices:
        remedy = did_you_mean(chosen, choices) if isinstance(chosen, str) else f"write one of {', '.join(choices)}"
        raise refuse(f"is {shown(chosen)}", remedy, (key,))
    return value


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
