"""Plain data into models; pydantic's errors into diagnostics in our own words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stream_detector.config.loading.diagnostics import Path, quoted, suggestion
from stream_detector.config.loading.document import Document
from stream_detector.config.loading.error_paths import Target, locate
from stream_detector.config.models.config import FEATURE_KINDS, Config
from stream_detector.detectors.base import DetectorConfig

_MESSAGES = {
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "needs at least {min_length} of them",
    "too_long": "can have at most {max_length} of them",
}


def validate(document: Document) -> Config | None:
    """The configuration in ``document``; None where it has mistakes, which are reported there."""
    config, errors = _try(document.data)
    if errors and _repair(document, errors):
        config, errors = _try(document.data)
    for error in errors:
        _report(document, error)
    return config


def _try(data: Any) -> tuple[Config | None, list[Any]]:
    # As JSON, because strict validation of Python values would refuse a list for a tuple. Strict,
    # because otherwise "no" and 0 are booleans and true is a port number.
    try:
        return Config.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _repair(document: Document, errors: list[Any]) -> bool:
    """Change the values whose type, and nothing else, was decided wrongly by their look.

    A password of digits from the environment is text where text is expected; 1e6 is a whole
    number. Returns whether anything was changed.
    """
    repaired = False
    for error in errors:
        path = locate(error["loc"]).path
        value, place = document.get(*path), document.places.get(path)
        if isinstance(value, dict | list) or value is None or place is None:
            continue
        new: str | int | None = None
        if error["type"] == "string_type" and place.referred:
            new = place.value
        if error["type"].startswith("int_") and isinstance(value, float) and value.is_integer():
            new = int(value)
        if new is not None:
            document.get(*path[:-1])[path[-1]] = new
            repaired = True
    return repaired


def _report(document: Document, error: Mapping[str, Any]) -> None:  # noqa: C901 - flat, by type
    target = locate(error["loc"])
    path = target.path
    kind = error["type"]
    if _follows_from_unknown(document, path, kind):
        return
    if kind == "missing":
        _report_missing(document, path)
    elif kind == "extra_forbidden":
        document.report(path[:-1], _unknown_key(target), key=path)
    elif kind == "feature_kind":
        _report_feature_kind(document, path, error["msg"])
    elif kind.startswith("union_tag"):
        _report_kind(document, target)
    elif kind == "detector_kind":
        reason = _without_values(document, str(error["ctx"]["reason"]))
        document.report((*path, "kind"), reason)
    elif kind == "literal_error":
        document.report(path, _wrong_choice(document, path, target.choices))
    elif kind == "value_error":
        message = _without_values(document, str(error["ctx"]["error"]))
        if any(known.message == message for known in document.diagnostics if not path):
            return  # `checks` has said so already, and better where
        if isinstance(document.get(*path), dict | list):
            document.report(path, message, key=path)
        else:
            document.report(path, f"{message} (got {document.shown(path)})")
    else:
        ours = _MESSAGES.get(kind)
        message = ours.format(**error.get("ctx", {})) if ours is not None else error["msg"]
        message = _without_values(document, message)
        document.report(path, f"{message}{_got(document, path, kind)}")


def _got(document: Document, path: Path, kind: str) -> str:
    value = document.get(*path)
    if isinstance(value, list) and kind.startswith("too_"):
        return f" (got {len(value)})"
    text_wanted = kind == "string_type" and value is not None and not isinstance(value, dict | list)
    hint = "; put it in quotes" if text_wanted else ""
    if value is None and kind in ("model_type", "list_type", "dict_type"):
        hint = "; without the key its defaults hold"
    return f"{hint} (got {document.shown(path)})"


def _follows_from_unknown(document: Document, path: Path, kind: str) -> bool:
    """Tell whether a mistake is, or may be, only the echo of a value that could not be had."""
    return any(
        path[: len(unknown)] == unknown
        # A check of a whole section has seen None where the value should have been.
        or (kind == "value_error" and unknown[: len(path)] == path)
        or (kind.startswith("union_tag") and unknown == (*path, "kind"))
        for unknown in document.unknown
    )


def _report_missing(document: Document, path: Path) -> None:
    if isinstance(path[-1], int):
        entries = len(document.get(*path[:-1]))
        document.report(path[:-1], f"needs more entries (got {entries})")
    else:
        document.report(path[:-1], f"missing key {path[-1]!r}", key=path[:-1])


def _unknown_key(target: Target) -> str:
    key = str(target.path[-1])
    known = list(target.owner.model_fields) if target.owner is not None else []
    hint = suggestion(key, known)
    if not hint:
        for section in Config.model_fields:
            if locate((section,)).annotation is DetectorConfig:
                continue  # of which kind nobody has said
            owner = locate((section, key)).owner
            if owner is not None and key in owner.model_fields:
                hint = f"; did you mean '{section}.{key}'?"
    return f"unknown key {quoted(key)}{hint}"


def _report_feature_kind(document: Document, path: Path, message: str) -> None:
    feature = document.get(*path)
    if not isinstance(feature, dict):
        document.report(path, f"expected a mapping (got {document.shown(path)})")
        return
    given = [kind for kind in FEATURE_KINDS if kind in feature]
    if given:
        document.report(path, f"{message}; this one has {' and '.join(given)}")
        return
    for key in feature:
        if hint := suggestion(key, FEATURE_KINDS):
            document.report(path, f"unknown key {quoted(key)}{hint}", key=(*path, key))
            return
    document.report(path, message)


def _report_kind(document: Document, target: Target) -> None:
    path = (*target.path, "kind")
    if "kind" in document.get(*target.path):
        document.report(path, _wrong_choice(document, path, target.choices))
    else:
        choices = ", ".join(target.choices)
        document.report(target.path, f"missing key 'kind': one of {choices}")


def _wrong_choice(document: Document, path: Path, choices: tuple[Any, ...]) -> str:
    place = document.places.get(path)
    value = document.get(*path)
    hint = ""
    # A guess at a value from the environment would give the value away.
    if isinstance(value, str) and place is not None and not place.referred:
        hint = suggestion(value, [choice for choice in choices if isinstance(choice, str)])
    options = ", ".join(str(choice) for choice in choices)
    return f"expected one of {options}{hint} (got {document.shown(path)})"


def _without_values(document: Document, message: str) -> str:
    """``message`` of a validator, in case it quotes what came from the environment."""
    for place in document.places.values():
        if place.referred and place.value and place.written:
            whole_word = rf"(?<!\w){re.escape(place.value)}(?!\w)"
            message = re.sub(whole_word, place.written.replace("\\", r"\\"), message)
    return message
