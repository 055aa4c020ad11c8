"""True and false in words and numbers."""

from __future__ import annotations

from typing import Any

TRUE_WORDS = frozenset(("1", "1.0", "true", "t", "yes", "y", "on"))
"""Spellings of true, in lower case."""

FALSE_WORDS = frozenset(("0", "0.0", "false", "f", "no", "n", "off"))
"""Spellings of false, in lower case."""


def parse_boolean(value: Any) -> float | None:
    """1.0 or 0.0 of a JSON value; None where it is neither true nor false.

    >>> [parse_boolean(value) for value in (True, 0, "Yes", " f ", "maybe", 2)]
    [1.0, 0.0, 1.0, 0.0, None, None]
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE_WORDS:
            return 1.0
        return 0.0 if word in FALSE_WORDS else None
    if value in (0, 1):
        return float(value)
    return None
