"""Scalars: what plain text means (YAML 1.2 core schema) and what ``${NAME}`` stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([-?])([^}]*))?\}|\$\{")

_LONGEST_NUMBER = 100
"""Characters. Python refuses to read an integer of thousands of digits, and nobody writes one."""


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar (YAML 1.2.2, section 10.3.2).

    Only ``true`` and ``false`` are booleans: ``no``, ``off`` and ``12:30`` are text, and so is a
    date.

    Raises:
        ValueError: a number that is not finite or absurdly long.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("numbers must be finite")
    integer = _INTEGER.fullmatch(text)
    other_base = _OTHER_BASE.fullmatch(text)
    if not (integer or other_base or _FLOAT.fullmatch(text)):
        return text
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long for a number; put text in quotes")
    if integer:
        return int(text)
    if other_base:
        return int(text[2:], 8 if text[1] == "o" else 16)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("numbers must be finite")
    return number


@dataclass(frozen=True, slots=True)
class Interpolated:
    """Text whose references were replaced.

    Attributes:
        text: the result; None where a variable is missing.
        whole: whether the text was one reference and nothing else.
        replaced: whether there was a reference at all.
        problems: what is wrong with the references.
    """

    text: str | None
    whole: bool
    replaced: bool
    problems: tuple[str, ...]


def interpolate(text: str, environment: Mapping[str, str]) -> Interpolated:
    """Replace ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``; ``$${`` is ``${``.

    As in a shell, an empty variable counts as missing for ``:-`` and ``:?``.
    """
    problems: list[str] = []
    replaced = False

    def value_of(match: re.Match[str]) -> str:
        nonlocal replaced
        if match[0] == "$${":
            return "${"
        replaced = True
        name, operator, rest = match.groups()
        if name is None:
            problems.append(
                "`${` begins no reference: write ${NAME}, ${NAME:-default} or ${NAME:?message}, "
                "or $${ for the characters themselves"
            )
            return ""
        value = environment.get(name)
        if value is not None and (value or operator is None):
            if any("\ud800" <= character <= "\udfff" for character in value):
                problems.append(f"environment variable {name} is not UTF-8")
            return value
        if operator == "-":
            return str(rest)
        state = "is not set" if value is None else "is empty"
        problems.append(f"environment variable {name} {state}" + (f": {rest}" if rest else ""))
        return ""

    result = _REFERENCE.sub(value_of, text)
    match = _REFERENCE.fullmatch(text)
    whole = match is not None and match[1] is not None
    return Interpolated(None if problems else result, whole, replaced, tuple(problems))
