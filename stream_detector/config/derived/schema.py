"""The configuration's JSON Schema, for editors and for ``docs/configuration.md``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stream_detector.config.models.config import Config
from stream_detector.config.models.detector import PLACEHOLDER
from stream_detector.detectors.registry import adapter, find_detector

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "`${NAME}`, `${NAME:-default}` or `${NAME:?message}` from the environment.",
}
_FREE_KEYWORDS = {"type", "title", "description", "default", "examples", "minLength", "maxLength"}
_ABOUT_KEYWORDS = ("title", "description", "default", "examples")


_BY_CLASS_PATH = {
    "type": "object",
    "description": "A detector of your own, by its class path (docs/detectors.md). "
    "`stream-detector schema --detector package.module:ClassName` describes its parameters.",
    "properties": {
        "kind": {
            "type": "string",
            "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
            "description": "Module and class, for example `fraud.detectors:Velocity`.",
        }
    },
    "required": ["kind"],
}


def json_schema(kinds: Iterable[str] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration file.

    Args:
        kinds: detectors of others to describe beside this package's own, by entry point or class
            path; they are imported.

    Raises ``ConfigurationError`` where one of them cannot be had.

    Wherever a number, a flag or one of a few words is expected, a ``${NAME}`` reference passes
    too; what it stands for is checked when the file is loaded.
    """
    schema = Config.model_json_schema()
    others = [find_detector(kind).config for kind in dict.fromkeys(kinds)]
    detectors = adapter(*others).json_schema()
    definitions = {**schema.pop("$defs"), **detectors.pop("$defs")}
    definitions = {name: _open(inner) for name, inner in definitions.items()}
    definitions["Reference"] = _REFERENCE
    known = [config.model_fields["kind"].default for config in others]
    by_path = _excluding(_BY_CLASS_PATH, [kind for kind in known if ":" in kind])
    definitions["ByClassPath"] = by_path
    detectors["oneOf"].append({"$ref": "#/$defs/ByClassPath"})
    for section in (schema, definitions["ChallengerConfig"]):
        field = section["properties"]["detector"]
        del field[PLACEHOLDER]
        field |= detectors
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


def _excluding(schema: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
    """The branch for class paths, without those that have a branch of their own."""
    if not kinds:
        return schema
    kind = {**schema["properties"]["kind"], "not": {"enum": kinds}}
    return {**schema, "properties": {"kind": kind}}


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
