"""Turns what pydantic found into one `CaseError`: the most telling error, in words, with its key path and a remedy."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from .case_error import CaseError, Document, Location, did_you_mean, nearest_name, shown

_RANGES = {
    "greater_than": ("gt", "is {value}, which is not greater than {limit:g}", "write a number greater than {limit:g}"),
    "greater_than_equal": ("ge", "is {value}, which is less than {limit:g}", "write a number of at least {limit:g}"),
    "less_than": ("lt", "is {value}, which is not less than {limit:g}", "write a number less than {limit:g}"),
    "less_than_equal": ("le", "is {value}, which is greater than {limit:g}", "write a number of at most {limit:g}"),
}
_FRACTIONS = {
    "discount_rate_per_year": "write a fraction per year: 0.08 is 8 %",
    "growth_per_year": "write a fraction per year greater than -1 and at most 20: 0.5 is +50 %",
    "price_growth_per_year": "write a fraction per year greater than -1 and at most 20: -0.1 is 10 % cheaper a year",
    "usable_share": "write a share greater than 0 and at most 1",
    "upfront_share": "write a share from 0 to 1",
    "fee_share": "write a share from 0 to 1",
    "share": "write a share greater than 0 and at most 1",
    "probability": "write a probability greater than 0 and at most 1",
}


def validate(model: type[BaseModel], document: Document) -> Any:
    """The model of a document. Raises CaseError."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise translated(error, document) from None


def translated(error: ValidationError, document: Document) -> CaseError:
    """The first unknown key, or else the first error, in words."""
    found = error.errors(include_url=False)
    # a misspelt key also makes the right key missing: the misspelling is the error to show
    unknown = [e for e in found if e["type"] == "unknown_key"]
    first = (unknown or found)[0]
    location = tuple(step for step in first["loc"] if not _is_tag(step))
    kind, context, value = first["type"], first.get("ctx", {}), first.get("input")
    if kind in ("refused", "unknown_key"):
        return document.error((*location, *context["at"]), context["problem"], context["remedy"])
    problem, remedy = _in_words(kind, context, value, location)
    return document.error(location, problem, remedy)


def _is_tag(step: str | int) -> bool:
    """Pydantic puts the branch of a union and `[key]` (for the name of an entry) into its locations."""
    return isinstance(step, str) and (step == "[key]" or (step.startswith("<") and step.endswith(">")))


def _in_words(kind: str, context: dict[str, Any], value: Any, location: Location) -> tuple[str, str]:
    if kind == "missing":
        return "is missing", "write it; it has no default"
    if kind in _RANGES:
        name, problem, remedy = _RANGES[kind]
        limit = float(context[name])
        return problem.format(value=_number(value), limit=limit), _range_remedy(location, remedy.format(limit=limit), kind)
    if kind == "finite_number":
        return "is not finite", "write a finite number"
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        if isinstance(value, str) and nearest_name(value, choices):
            return f"is {shown(value)}", did_you_mean(value, choices)
        return f"is {shown(value)}", f"write {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
    if kind == "too_short" and context.get("actual_length") == 0:
        return "is empty", "write at least one entry, or leave the key out"
    if kind in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        return f"has {context['actual_length']} entries", f"write {'exactly 24' if 24 in (least, most) else least or most}"
    if kind == "list_type":
        return f"is {shown(value)}, not a list", "write a list: [a, b]"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"is {shown(value)}, not a map", "write a map of `name: ...` entries"
    return f"is {shown(value)}, which does not fit here ({kind.replace('_', ' ')})", "see docs/case_reference.md"


def _range_remedy(location: Location, remedy: str, kind: str) -> str:
    names = [step for step in location if isinstance(step, str)]
    if names and names[-1] in _FRACTIONS:
        return _FRACTIONS[names[-1]]
    if kind == "greater_than" and any("usd" in name for name in names):
        return "write a price greater than 0 (a blank or zero price is missing, never free)"
    if (names[:1] == ["workloads"] and "origins" in names) or names[:2] == ["limits", "share"]:
        return "write a share from 0 to 1"
    return remedy


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else shown(value)
