"""The values that fields are made of: names, dates, numbers with their ranges; and the blocks of keys they stand in.

A value that is refused carries its problem and its remedy in words (`refuse`); `schema_errors` puts file and key in front.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from .case_error import Location, did_you_mean, nearest_name, shown

LONGEST_NAME = 200
LARGEST_WHOLE = 10**9
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


def whole_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(f"is {shown(value)}, not a whole number", "write a whole number")
    if abs(value) > LARGEST_WHOLE:
        raise refuse("is too large", f"write a whole number below {LARGEST_WHOLE}")
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
    if len(value) > LONGEST_NAME:
        raise refuse(f"has {len(value)} characters", f"use a name of at most {LONGEST_NAME}")
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

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_number)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Variation = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False), BeforeValidator(_number)]
Peakedness = Annotated[float, Field(ge=0.01, le=1000, allow_inf_nan=False), BeforeValidator(_number)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(_number)]
PositiveFraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]
Growth = Annotated[float, Field(gt=-1, le=20, allow_inf_nan=False), BeforeValidator(_number)]
AtLeastOne = Annotated[float, Field(ge=1, allow_inf_nan=False), BeforeValidator(_number)]
DiscountRate = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(_number)]
Months = Annotated[int, Field(ge=1, le=180), BeforeValidator(whole_number)]
LeadTime = Annotated[int, Field(ge=0, le=600), BeforeValidator(whole_number)]
Periods = Annotated[int, Field(ge=1, le=600), BeforeValidator(whole_number)]
ChipCount = Annotated[int, Field(ge=0, le=LARGEST_WHOLE), BeforeValidator(whole_number)]
SliceChips = Annotated[int, Field(ge=1, le=LARGEST_WHOLE), BeforeValidator(whole_number)]
HourOfDay = Annotated[int, Field(ge=0, le=23), BeforeValidator(whole_number)]
UtcOffset = Annotated[int, Field(ge=-12, le=14), BeforeValidator(whole_number)]


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
