"""Numbers and times as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
"""Stands for a figure that cannot be had."""

_LARGE, _SMALL = 1e7, 1e-4
_WITHOUT_DECIMALS = 1000
_LONGEST_VALUE = 80


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits, thousands apart; a dash for None and NaN.

    >>> number(1234567.0), number(0.012341)
    ('1,234,567', '0.01234')
    >>> number(-3.0) == f"{_MINUS}3", number(None) == NONE
    (True, True)
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    size = abs(value)
    if size >= _LARGE or 0 < size < _SMALL:
        text = f"{value:.{digits - 1}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
        mantissa, _, exponent = text.partition("e")
        text = f"{_trimmed(mantissa)}e{exponent}"
    elif size >= _WITHOUT_DECIMALS:
        text = f"{value:,.0f}"
    else:
        decimals = digits - 1 - math.floor(math.log10(size)) if size else 0
        text = _trimmed(f"{value:.{max(decimals, 0)}f}")
    return text.replace("-", _MINUS)


def count(value: int | None) -> str:
    """A whole number with thousands apart; a dash for None."""
    return NONE if value is None else f"{value:,}"


def plural(value: int, what: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{value:,} {what}" if value == 1 else f"{value:,} {what}s"


def ratio(value: float | None) -> str:
    """A figure between 0 and 1 with three decimals; a dash for None and NaN."""
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def share(value: float | None) -> str:
    r"""A share of 0 to 1 in per cent, three significant digits.

    >>> share(0.00842), share(1.0), share(0.0)
    ('0.842\xa0%', '100\xa0%', '0\xa0%')
    """
    if value is None or math.isnan(value):
        return NONE
    return f"{number(100 * value, 3)}{_SPACE}%"


def limits(low: float | None, high: float | None) -> str:
    """``0.123 to 0.456``; a dash where there are none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NONE
    return f"{low:.3f} to {high:.3f}"


def shares(low: float | None, high: float | None) -> str:
    """Two limits of a share, in per cent; a dash where there are none."""
    if low is None or high is None:
        return NONE
    return f"{share(low)} to {share(high)}"


def moment(time_ms: float) -> str:
    """``2018-04-01 00:00:31``, UTC."""
    return f"{_utc(time_ms):%Y-%m-%d %H:%M:%S}"


def day(time_ms: float) -> str:
    """``1 Apr 2018``, UTC."""
    time = _utc(time_ms)
    return f"{time.day} {time:%b %Y}"


def short_moment(time_ms: float) -> str:
    """``1 Apr 00:00``, UTC."""
    time = _utc(time_ms)
    return f"{time.day} {time:%b %H:%M}"


def value_text(value: Any) -> str:
    """A value of an event, cut where it is long."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(float(value))
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _utc(time_ms: float) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
