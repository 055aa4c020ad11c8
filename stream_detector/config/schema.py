"""The configuration's JSON Schema, for editors and for ``docs/configuration.md``."""

from __future__ import annotations

import json
from typing import Any

from stream_detector.config.models import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "`${NAME}`, `${NAME:-default}` or `${NAME:?message}` from the environment.",
}
_FREE_KEYWORDS = {"type", "title", "description", "default", "examples", "minLength", "maxLength"}
_ABOUT_KEYWORDS = ("title", "description", "default", "examples")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration file.

    Wherever a number, a flag or one of a few words is expected, a ``${NAME}`` reference passes
    too; what it stands for is checked when the file is loaded.
    """
    schema = Config.model_json_schema()
    definitions = {name: _open(inner) for name, inner in schema.pop("$defs").items()}
    definitions["Reference"] = _REFERENCE
    schema = _open(schema)
    return {
        "$schema": DIALECT,
        **schema,
        "title": "stream-detector configuration",
        "$defs": dict(sorted(definitions.items())),
    }


def json_schema_text() -> str:
    """``json_schema`` as it stands in ``config/stream-detector.schema.json``."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with references allowed in every scalar; titles that repeat the key left out."""
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "title" and "properties" not in schema:
            continue
        if keyword == "properties":
            result[keyword] = {name: _open(inner) for name, inner in value.items()}
        elif keyword in ("items", "additionalProperties") and isinstance(value, dict):
            result[keyword] = _open(value)
        elif keyword == "prefixItems":
            result[keyword] = [_open(inner) for inner in value]
        elif keyword == "anyOf":
            branches = [_open(inner) for inner in value]
            plain = [b for inner in branches for b in inner.get("anyOf", [inner])]
            result[keyword] = [b for i, b in enumerate(plain) if b not in plain[:i]]
        else:
            result[keyword] = value
    if "const" in result.get("properties", {}).get("kind", {}):
        result["required"] = ["kind", *result.get("required", [])]
    return _with_reference(result)


def _with_reference(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    narrow = kind in ("integer", "number", "boolean") or (
        kind == "string" and not set(schema) <= _FREE_KEYWORDS
    )
    # `const` tells the members of a union apart: a reference there would fit all of them.
    if not narrow or "const" in schema:
        return schema
    about = {key: schema[key] for key in _ABOUT_KEYWORDS if key in schema}
    value = {key: inner for key, inner in schema.items() if key not in about}
    return {**about, "anyOf": [value, {"$ref": "#/$defs/Reference"}]}
