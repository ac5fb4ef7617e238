"""The JSON Schema for editors: every field described, no unknown keys, files that extend may leave keys out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from optimizer.spec import json_schema
from optimizer.spec.schema import CaseFile

SCHEMA = json_schema()


def below(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from below(item, f"{path}/{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from below(item, f"{path}/{position}")


def test_is_plain_json_and_always_the_same() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA == json_schema()


def test_every_reference_leads_somewhere() -> None:
    for path, schema in below(SCHEMA):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            assert reference.removeprefix("#/$defs/") in SCHEMA["$defs"], path


def test_no_block_takes_unknown_keys() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert definition["additionalProperties"] is False, name
    assert SCHEMA["additionalProperties"] is False


def test_every_field_is_described() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, schema in definition["properties"].items():
            assert schema.get("description"), f"{name}.{key}"


def test_only_words_that_editors_know() -> None:
    known = {"$schema", "$defs", "$ref", "title", "description", "default", "type", "properties", "required", "additionalProperties"}
    known |= {"patternProperties", "minProperties", "items", "minItems", "maxItems", "anyOf", "oneOf", "enum", "const", "format"}
    known |= {"pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "if", "then", "not"}
    for path, schema in below(SCHEMA):
        if not path.endswith(("/properties", "/patternProperties", "/$defs")):
            assert set(schema) <= known, path


def test_ranges_and_units() -> None:
    own = SCHEMA["$defs"]["OwnOffer"]["properties"]
    assert (own["life_months"]["minimum"], own["life_months"]["maximum"]) == (1, 180)
    assert "$ per chip-year" in own["opex_usd_per_chip_year"]["description"]
    assert SCHEMA["$defs"]["CaseFile"]["properties"]["discount_rate_per_year"]["exclusiveMaximum"] == 1
    assert set(SCHEMA["$defs"]["Window"]["properties"]) == {"from", "until"}
    assert set(SCHEMA["properties"]) == set(CaseFile.model_fields)


def test_a_file_that_extends_may_leave_out_and_remove() -> None:
    assert "required" not in SCHEMA and "horizon" in SCHEMA["$defs"]["CaseFile"]["required"]
    assert SCHEMA["if"] == {"not": {"required": ["extends"]}}
    whole, part = SCHEMA["$defs"]["OwnOffer"], SCHEMA["$defs"]["OwnOffer_extending"]
    assert "life_months" in whole["required"] and "required" not in part
    assert whole["properties"]["life_months"]["type"] == "integer"
    assert part["properties"]["life_months"]["type"] == ["integer", "null"]
    steps = SCHEMA["$defs"]["ByDatePath_positive_extending"]["properties"]["by_date"]["items"]
    assert steps == {"$ref": "#/$defs/Step_positive"}
