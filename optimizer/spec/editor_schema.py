"""JSON Schema of the case file, for editors (yaml-language-server): descriptions with units, ranges, no unknown keys.

A file that extends another holds only what differs, and null removes a key. The schema therefore describes every field twice:
as it must be in a file that stands alone, and as it may be in one that extends (`..._extending`: nothing is required).
The program itself checks the merged case, and more than a schema can say.
"""

from __future__ import annotations

import copy
from typing import Any

from .schema import CaseFile

_REF = "#/$defs/"
_PART = "_extending"


def editor_schema() -> dict[str, Any]:
    """A draft-07 JSON Schema of a case file."""
    whole = _short_names(CaseFile.model_json_schema(by_alias=True, ref_template=_REF + "{model}"))
    definitions: dict[str, Any] = whole.pop("$defs")
    for schema in (whole, *definitions.values()):
        _tidy(schema)
    parts = {name + _PART: _extending(schema) for name, schema in definitions.items()}
    top = _extending(whole)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **top,
        "if": {"not": {"required": ["extends"]}},
        "then": {"$ref": f"{_REF}CaseFile"},
        "$defs": {**definitions, **parts, "CaseFile": whole},
    }


def _short_names(schema: dict[str, Any]) -> dict[str, Any]:
    """Names each definition by its title; pydantic's names of the path forms spell out their ranges."""
    short = {name: definition["title"] for name, definition in schema["$defs"].items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            copied = {key: renamed(below) for key, below in value.items()}
            if isinstance(copied.get("$ref"), str):
                copied["$ref"] = _REF + short[copied["$ref"].removeprefix(_REF)]
            return copied
        return [renamed(below) for below in value] if isinstance(value, list) else value

    plain = renamed(schema)
    plain["$defs"] = {short[name]: definition for name, definition in plain["$defs"].items()}
    return plain


def _tidy(schema: dict[str, Any], is_model: bool = True) -> None:
    """Takes out what only restates the key (`title` of a field) and the null that optional fields have in Python."""
    if not is_model:
        schema.pop("title", None)
    if schema.get("default", "") is None:
        del schema["default"]
    schema.pop("discriminator", None)
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if "anyOf" in schema and len(branches) == 1:
        del schema["anyOf"]
        schema.update({key: value for key, value in branches[0].items() if key not in schema})
    elif "anyOf" in schema:
        schema["anyOf"] = branches
    for below in _below(schema):
        _tidy(below, is_model=False)
    if "patternProperties" in schema and "additionalProperties" not in schema:
        schema["additionalProperties"] = False


def _below(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas directly inside a schema."""
    found = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
    found += [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found += [schema[key] for key in ("items", "additionalProperties", "propertyNames") if isinstance(schema.get(key), dict)]
    return found


def _extending(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a part that is merged onto another: no key is required, each may be null."""
    part = copy.deepcopy(schema)
    part.pop("required", None)
    part.pop("minProperties", None)
    if "oneOf" in part:
        # without the key that decides, a fragment may fit several kinds
        part["anyOf"] = part.pop("oneOf")
    if "$ref" in part:
        part["$ref"] += _PART
    for key in ("properties", "patternProperties"):
        if key in part:
            part[key] = {name: _or_null(_extending(below)) for name, below in part[key].items()}
    # lists replace as a whole, so that what is in them is complete
    if isinstance(part.get("additionalProperties"), dict):
        part["additionalProperties"] = _or_null(_extending(part["additionalProperties"]))
    if "anyOf" in part:
        part["anyOf"] = [_extending(branch) for branch in part["anyOf"]]
    return part


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Also accepts null; the plainest form, because editors explain `type` better than `anyOf`."""
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    elif "$ref" in schema:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"type": "null"}]
    else:
        schema["type"] = [schema["type"], "null"]
    return schema
