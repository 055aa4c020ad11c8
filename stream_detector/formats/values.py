"""JSON's values for what Avro and Protobuf have and JSON does not.

Moments, dates and times of day become milliseconds (of a date: of its midnight in UTC), or the unit
that ``event.time.format`` names; decimals become numbers, bytes become base64.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeAlias

Number: TypeAlias = int | float

MAX_DECIMAL_BYTES = 64
MAX_DECIMAL_SCALE = 1000
"""Decimals beyond these are refused: numbers end long before."""

DAY_MS = 86_400_000
_NANOS = {"unix_s": 10**9, "unix_ms": 10**6, "unix_us": 10**3, "unix_ns": 1}
_UNIT_NANOS = {
    "millis": 10**6,
    "micros": 10**3,
    "nanos": 1,
    "seconds": 10**9,
    "days": DAY_MS * 10**6,
}


def moments_of(time_format: str) -> str:
    """Return the unit of moments under an ``event.time.format``: its own, or milliseconds."""
    return time_format if time_format in _NANOS else "unix_ms"


def scaling(unit: str, moments: str) -> Callable[[int], Number] | None:
    """Return what makes ``moments`` of a count of units; None where it is one already.

    >>> scaling("micros", "unix_ms")(1_500_000)
    1500
    >>> scaling("micros", "unix_ms")(1_500_250)
    1500.25
    """
    own, wanted = _UNIT_NANOS[unit], _NANOS[moments]
    if own == wanted:
        return None
    if own > wanted:
        times = own // wanted
        return lambda count: count * times
    parts = wanted // own

    def divided(count: int) -> Number:
        whole, rest = divmod(count, parts)
        return count / parts if rest else whole

    return divided


def decimal(unscaled: int, scale: int) -> Number:
    """Return the number nearest to a decimal; whole ones of scale 0 are exact.

    >>> decimal(1234, 2)
    12.34
    """
    return unscaled if scale == 0 else float(f"{unscaled}e{-scale}")


def base64_text(data: bytes) -> str:
    """Return bytes as JSON carries them."""
    return b64encode(data).decode("ascii")


def without(values: dict[str, Any]) -> dict[str, Any]:
    """Return what is there of an object."""
    return {name: value for name, value in values.items() if value is not None}
