"""Bodies of people's own: members and lists with ``{{path.to.field}}`` in their texts.

The body is a structure and is filled in as one: what an event holds becomes a text, a number or an
object at its place, and can be no syntax. Nothing is computed and nothing executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ROOTS = frozenset(
    {"id", "key", "type", "state", "severity", "detector", "time", "title", "text", "message"}
    | {"secrets"}
)
"""What a path begins with."""

_PLACE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_LONGEST_TEXT = 10_000


def mistakes(body: Any, secrets: Mapping[str, Any]) -> list[str]:
    """What is wrong with the places of a body, in words; none where nothing is."""
    found = []
    for path in _paths(body):
        root, _, rest = path.partition(".")
        if root not in ROOTS:
            known = ", ".join(sorted(ROOTS))
            found.append(f"{{{{{path}}}}} begins with none of {known}")
        elif root == "secrets" and rest not in secrets:
            found.append(f"{{{{{path}}}}}: there is no such secret")
    return found


def _paths(body: Any) -> list[str]:
    if isinstance(body, Mapping):
        inner: list[Any] = list(body.values())
    elif isinstance(body, list):
        inner = body
    else:
        return _PLACE.findall(body) if isinstance(body, str) else []
    return [path for each in inner for path in _paths(each)]


def filled(body: Any, values: Mapping[str, Any]) -> Any:
    """Return a body with its places filled in.

    A text that is one place and nothing else becomes the value itself, null where there is none;
    within a longer text a value is written as text, cut at 10,000 characters.

    >>> filled({"a": "{{id}}", "b": "is {{x.0}}"}, {"id": 5, "x": ["y"]})
    {'a': 5, 'b': 'is y'}
    """
    if isinstance(body, Mapping):
        return {name: filled(each, values) for name, each in body.items()}
    if isinstance(body, list):
        return [filled(each, values) for each in body]
    if not isinstance(body, str):
        return body
    whole = _PLACE.fullmatch(body)
    if whole is not None:
        return _found(whole[1], values)
    return _PLACE.sub(lambda place: _as_text(_found(place[1], values)), body)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)[:_LONGEST_TEXT]


def _found(path: str, values: Mapping[str, Any]) -> Any:
    here: Any = values
    for step in path.split("."):
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, list) and step.isascii() and step.isdigit():
            here = here[int(step)] if len(step) < 6 and int(step) < len(here) else None  # noqa: PLR2004
        else:
            return None
    return here
