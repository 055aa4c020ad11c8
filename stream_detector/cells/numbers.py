"""Numbers as people write them: ``1.234,56 €`` is read by the format of its column."""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

CURRENCIES = frozenset("$€£¥₹₽₩₺₴₦₫₪฿₿¢") | frozenset(
    (
        *("USD", "EUR", "GBP", "JPY", "CNY", "INR", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK"),
        *("DKK", "PLN", "CZK", "HUF", "RUB", "BRL", "MXN", "ZAR", "TRY", "KRW", "SGD", "HKD"),
        *("R$", "US$", "C$", "A$", "HK$", "kr", "zł", "Kč", "Fr.", "Rs", "Rs.", "RM", "Ft"),
    )
)
"""Signs and codes of money; dropped wherever one stands before or after a number."""

MARKS = ("", ".", ",", " ", "'", "_")
"""What may separate thousands; ``.`` and ``,`` also decimals."""

_SPACES = dict.fromkeys([9, 0xA0, *range(0x2002, 0x200B), 0x202F, 0x3000], " ")
_NOTHING = dict.fromkeys([0x200B, 0x200E, 0x200F, *range(0x202A, 0x202D), 0xFEFF])
_SIGNS = dict.fromkeys(map(ord, "\u2212\u2012\u2013\ufe63\uff0d"), "-") | {ord("\uff0b"): "+"}
_TICKS = dict.fromkeys(map(ord, "\u2019\u02bc\u00b4`"), "'")
_TIDY = _SPACES | _NOTHING | _SIGNS | _TICKS
_QUOTED = re.compile(r"""^=?"(.*)"$|^'(.*)'$|^'(.*)$""")
_NO_CENTS = re.compile(r"[.,] ?-{1,2}$")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Spelling of the numbers of a column.

    Attributes:
        decimal: sign before the decimals, ``.`` or ``,``.
        thousands: sign between groups of digits; ``""`` where there is none.
        units: texts that stand before or after a number, and the factor of each: ``("%", 1)``,
            ``("K", 1000)``. The longest is tried first.
        base64_scale: digits after the point of a decimal whose bytes are written in base64, as
            Kafka Connect and Debezium do.
    """

    decimal: str = "."
    thousands: str = ""
    units: tuple[tuple[str, float], ...] = ()
    base64_scale: int | None = None

    def as_config(self) -> dict[str, Any]:
        """Return what a configuration says of it (``numbers``); empty for plain numbers."""
        said: dict[str, Any] = {}
        if self.decimal != ".":
            said["decimal"] = self.decimal
        if self.thousands:
            said["thousands"] = self.thousands
        if self.units:
            said["units"] = {
                word: int(factor) if factor == int(factor) else factor
                for word, factor in self.units
            }
        if self.base64_scale is not None:
            said["base64_scale"] = self.base64_scale
        return said


PLAIN = NumberFormat()
"""Numbers as JSON and most programs write them."""


def parse_number(text: str, format: NumberFormat = PLAIN) -> float:  # noqa: A002 - the field's word
    """The number that a text is.

    Groups of thousands, signs of money, brackets or a sign behind for less than nothing, quotes and
    blanks around it are understood under every format where the text can mean only one number:
    ``1,234.56`` is one, ``1,234`` under the plain format may be two.

    Raises:
        ValueError: the text is no finite number under this format; the message says why.

    >>> parse_number("1.234,56 €", NumberFormat(decimal=",", thousands="."))
    1234.56
    >>> parse_number("(1,234.56)"), parse_number("$77.00"), parse_number(" 1e3 ")
    (-1234.56, 77.0, 1000.0)
    >>> parse_number("2.1 M", NumberFormat(units=(("M", 1e6),)))
    2100000.0
    >>> parse_number("1,234")
    Traceback (most recent call last):
    ...
    ValueError: '1,234' may be 1234 or 1.234: say which by `numbers: {thousands: ","}` or \
`{decimal: ","}`
    """
    if format.base64_scale is not None:
        return _decimal_of_bytes(text, format.base64_scale)
    if format.decimal == "." and "_" not in text:
        try:
            number = float(text)
        except ValueError:
            pass
        else:
            if math.isfinite(number):
                return number
            raise ValueError(f"{text[:40]!r} is no finite number")
    number = _readers(format).read(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]!r} is no finite number")
    return number


def tidied(text: str) -> str:
    """A cell without quotes and blanks around it, all blanks, minus signs and ticks alike."""
    text = text.translate(_TIDY).strip()
    if text[-1:] == "-" and text[:1].isdigit():
        text = _NO_CENTS.sub("", text)
    if text[:1] in "=\"'":
        found = _QUOTED.match(text)
        if found is not None:
            text = next(inner for inner in found.groups() if inner is not None).strip()
    return text


class _Reader:
    """Compiled reader of a number format."""

    def __init__(self, format: NumberFormat) -> None:  # noqa: A002 - the field's word
        self._format = format
        self._strict = body_pattern(format.decimal, format.thousands)
        others = [",", " ", "'"] if format.decimal == "." else [".", " ", "'"]
        self._grouped = [
            (mark, body_pattern(format.decimal, mark))
            for mark in others
            if mark != format.thousands
        ]
        self._units = dict.fromkeys(CURRENCIES, 1.0) | {
            tidied(word): factor for word, factor in format.units
        }
        words = "|".join(map(re.escape, sorted(self._units, key=len, reverse=True)))
        self._before = re.compile(rf"(?P<unit>{words})\s*(?=[\d.,+-])")
        self._behind = re.compile(rf"(?P<rest>.*[\d.,+-])\s*(?P<unit>{words})", re.DOTALL)

    def read(self, text: str) -> float:
        """Raises ``ValueError``."""
        if self._strict.fullmatch(text):  # nothing around it, as nearly always
            return _float(text, self._format.thousands, self._format.decimal)
        if len(text) > _LONGEST:
            raise ValueError(f"{text[:40]!r}... is too long for a number")
        body = tidied(text)
        factor = 1.0
        if body[:1] == "(" and body[-1:] == ")":
            factor, body = -1.0, body[1:-1].strip()
        body, factor = self._without_unit(body, factor)
        if body[-1:] in ("-", "+") and body[:1].isdigit():
            factor, body = -factor if body[-1] == "-" else factor, body[:-1].rstrip()
        return factor * self._number(body, text) if factor != 1.0 else self._number(body, text)

    def _without_unit(self, body: str, factor: float) -> tuple[str, float]:
        sign = ""
        if body[:1] in ("-", "+") and not body[1:2].isdigit():
            sign, body = body[0], body[1:].lstrip()
        if (found := self._behind.fullmatch(body)) is not None:
            body, factor = found["rest"], factor * self._units[found["unit"]]
        if (found := self._before.match(body)) is not None:
            body, factor = body[found.end() :], factor * self._units[found["unit"]]
        return sign + body, factor

    def _number(self, body: str, text: str) -> float:
        format = self._format  # noqa: A001 - the field's word
        if self._strict.fullmatch(body):
            return _float(body, format.thousands, format.decimal)
        for mark, pattern in self._grouped:
            if not pattern.fullmatch(body):
                continue
            if mark in ".," and body.count(mark) == 1 and format.decimal not in body:
                whole, one = body.replace(mark, ""), body.replace(mark, ".")
                raise ValueError(
                    f"{text.strip()[:40]!r} may be {whole} or {one}: say which by "
                    f'`numbers: {{thousands: "{mark}"}}` or `{{decimal: "{mark}"}}`'
                )
            return _float(body, mark, format.decimal)
        said = format.as_config()
        raise ValueError(f"{text.strip()[:40]!r} is no number" + (f" of {said}" if said else ""))


def body_pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """Digits in groups of three (in India of two before the last three), decimals, an exponent."""
    whole = r"\d+"
    if thousands:
        mark = re.escape(thousands)
        whole = rf"(?:\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}|\d+)"
    point = re.escape(decimal)
    fraction = rf"(?:{whole}(?:{point}\d*)?|{point}\d+)"
    return re.compile(rf"[+-]? ?{fraction}(?:[eEdD][+-]?\d{{1,4}})?", re.ASCII)


def _float(body: str, thousands: str, decimal: str) -> float:
    if thousands:
        body = body.replace(thousands, "")
    if decimal != ".":
        body = body.replace(decimal, ".")
    return float(body.replace(" ", "").replace("D", "e").replace("d", "e"))


@lru_cache(maxsize=256)
def _readers(format: NumberFormat) -> _Reader:  # noqa: A002 - the field's word
    return _Reader(format)


def _decimal_of_bytes(text: str, scale: int) -> float:
    try:
        data = b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or len(text) > _LONGEST:
        raise ValueError(f"{text[:40]!r} is no decimal in base64")
    # By way of the text: 1234 / 10**2 in floating point would not always be the nearest number.
    return float(f"{int.from_bytes(data, 'big', signed=True)}e{-scale}")
