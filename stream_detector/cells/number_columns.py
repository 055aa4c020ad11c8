"""Spelling of the numbers of a column, decided from all of its cells."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stream_detector.cells.missing import is_missing
from stream_detector.cells.numbers import (
    PLAIN,
    NumberFormat,
    body_pattern,
    parse_number,
    tidied,
)
from stream_detector.cells.units import without_units
from stream_detector.events import Float64

_CANDIDATES = (
    *((".", ""), (".", ","), (".", " "), (".", "'"), (".", "_")),
    *((",", ""), (",", "."), (",", " "), (",", "'")),
)
_EITHER = re.compile(r"[+-]?(?:[1-9]\d{0,2})[.,]\d{3}")
_BASE64 = re.compile(
    r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"
)
_LONGEST_BASE64 = 24
_ENOUGH = 5


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """The cells of a column, read as numbers.

    Attributes:
        format: their spelling.
        values: (cells,) float64, NaN where there is no value or none that can be read.
        missing: the words that were taken for missing, and how often; absent cells under None.
        unreadable: the first cells that are neither a number nor missing (ten at most).
        unreadable_count: how many there are.
        notes: what to tell a person, one line each; without the column's name.
    """

    format: NumberFormat
    values: Float64
    missing: Counter[str | None]
    unreadable: tuple[str, ...]
    unreadable_count: int
    notes: tuple[str, ...]

    @property
    def number_count(self) -> int:
        """Cells that are numbers."""
        return len(self.values) - self.missing.total() - self.unreadable_count


def guess_number_format(
    texts: Iterable[str], like: NumberFormat | None = None
) -> tuple[NumberFormat, tuple[str, ...]]:
    """The spelling of a column's numbers, and what a person should know about the choice.

    Args:
        texts: all cells; those that are missing or no numbers do not count.
        like: the format of the columns beside it, which decides where the column itself cannot.

    >>> guess_number_format(["1.234,50", "17,20"])[0]
    NumberFormat(decimal=',', thousands='.', units=(), base64_scale=None)
    >>> guess_number_format(["950", "1,234", "2,000"])[1]
    ("'1,234' is read as 1234: the comma separates thousands, since numbers below 1000 have none",)
    """
    bodies, units, notes = without_units([tidied(text) for text in texts if not is_missing(text)])
    plain = body_pattern(".", "")
    odd = [body for body in bodies if not plain.fullmatch(body)]
    either = [body for body in bodies if _EITHER.fullmatch(body)]
    best = (".", "")
    if odd or (like is not None and like.decimal != "." and either):
        scores = {pair: _readable(bodies, *pair) for pair in _CANDIDATES}
        most = max(scores.values())
        if most:
            fits = [pair for pair in _CANDIDATES if scores[pair] == most]
            best, said = _decide(fits, bodies, either, like)
            notes += said
    elif either and len(either) == len(bodies):
        notes.append(_in_doubt(either[0]))
    elif either and _all_grouped(bodies, "."):
        best, why = _point(bodies, either)
        notes.append(why)
    return NumberFormat(best[0], best[1], units), tuple(notes)


def read_number_column(  # noqa: C901 - a case for each kind of cell
    values: Sequence[Any],
    like: NumberFormat | None = None,
    more_missing: Collection[str] = (),
    format: NumberFormat | None = None,  # noqa: A002 - the field's word
) -> NumberColumn:
    """Read a column of texts, numbers and None; its spelling is guessed where it is not given."""
    texts = [value for value in values if isinstance(value, str)]
    notes: tuple[str, ...] = ()
    if format is None:
        format, notes = guess_number_format(  # noqa: A001 - the field's word
            [text for text in texts if text not in more_missing], like
        )
    numbers = np.full(len(values), np.nan)
    missing: Counter[str | None] = Counter()
    unreadable: list[str] = []
    count = 0
    for row, value in enumerate(values):
        if value is None:
            missing[None] += 1
        elif isinstance(value, str):
            if is_missing(value, more_missing):
                missing[value.strip()] += 1
                continue
            try:
                numbers[row] = parse_number(value, format)
            except ValueError:
                count += 1
                if len(unreadable) < 10:  # noqa: PLR2004 - enough to show
                    unreadable.append(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            count += 1
            if len(unreadable) < 10:  # noqa: PLR2004 - enough to show
                unreadable.append(str(value)[:40])
        elif np.isfinite(as_float := _float_of(value)):
            numbers[row] = as_float
        else:
            missing[str(value)] += 1
    return NumberColumn(format, numbers, missing, tuple(unreadable), count, notes)


def looks_like_base64_decimals(texts: Sequence[str]) -> bool:
    """Tell whether a column may hold decimals as Kafka Connect writes them: ``"AfQ="`` is 5.00.

    Short base64 only, a good part of it padded, and with a byte that no text would have.
    """
    texts = texts[:1000]
    if len(texts) < 3 or not all(len(t) <= _LONGEST_BASE64 and _BASE64.fullmatch(t) for t in texts):  # noqa: PLR2004 - fewer say nothing
        return False
    padded = sum(text.endswith("=") for text in texts)
    try:
        data = b"".join(b64decode(text) for text in texts)
    except (binascii.Error, ValueError):
        return False
    return 3 * padded >= len(texts) and any(byte >= 0x80 or byte < 0x20 for byte in data)  # noqa: PLR2004 - no letters


def _float_of(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _readable(bodies: list[str], decimal: str, thousands: str) -> int:
    pattern = body_pattern(decimal, thousands)
    return sum(pattern.fullmatch(body) is not None for body in bodies)


def _decide(  # noqa: PLR0911 - a piece of evidence after the other
    fits: list[tuple[str, str]],
    bodies: list[str],
    either: list[str],
    like: NumberFormat | None,
) -> tuple[tuple[str, str], list[str]]:
    """The pair of decimal and thousands among those that read as many cells."""
    both = [
        mark
        for mark, other in ((",", "."), (".", ","))
        if any(body[-4] == mark for body in either) and {(mark, ""), (other, mark)} <= set(fits)
    ]
    if not both:
        best = fits[0]
        pattern = body_pattern(*best)
        plain = body_pattern(".", "")
        example = next((b for b in bodies if pattern.fullmatch(b) and not plain.fullmatch(b)), None)
        if example is None:
            return best, []
        number = parse_number(example, NumberFormat(*best))
        return best, [f"{example!r} is read as {_shown(number)}"]
    mark = both[0]
    as_decimal, as_thousands = (mark, ""), ("." if mark == "," else ",", mark)
    example = next(body for body in either if body[-4] == mark)
    name = "comma" if mark == "," else "point"
    other_decimal = like is not None and like.decimal == "," and mark == "."
    if like is not None and (like.thousands == mark or other_decimal):
        return as_thousands, [_said(example, as_thousands, name, "as in the columns beside it")]
    if like is not None and like.decimal == mark and mark == ",":
        return as_decimal, [_said(example, as_decimal, name, "as in the columns beside it")]
    if _round(either):
        return as_thousands, [_said(example, as_thousands, name, "most of them are round")]
    if not _all_grouped(bodies, mark):
        why = "numbers of four digits have none"
        if all(mark in body for body in bodies):
            why = "every number has one, with three digits behind"
        return as_decimal, [_said(example, as_decimal, name, why)]
    why = "since numbers below 1000 have none"
    return as_thousands, [_said(example, as_thousands, name, why)]


def _point(bodies: list[str], either: list[str]) -> tuple[tuple[str, str], str]:
    """Return what a point means in front of three digits, where smaller numbers have none."""
    round_one = next((body for body in either if body.endswith("0")), None)
    if round_one is not None and len(either) + sum("." not in b for b in bodies) == len(bodies):
        why = f"since decimals that end in 0 would be written shorter ({round_one!r})"
        return (",", "."), _said(either[0], (",", "."), "point", why)
    return (".", ""), _in_doubt(either[0])


def _in_doubt(example: str) -> str:
    return (
        f"{example!r} is read as {_shown(float(example))}; where the point separates "
        'thousands, set `numbers: {decimal: ",", thousands: "."}`'
    )


def _round(either: list[str]) -> bool:
    """Tell whether most end in 0, as one in ten does where three decimals are written."""
    return len(either) >= _ENOUGH and 2 * sum(body.endswith("0") for body in either) > len(either)


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _all_grouped(bodies: list[str], mark: str) -> bool:
    """Tell whether each number of four digits or more is grouped, and some are smaller."""
    small = [body for body in bodies if mark not in body]
    return bool(small) and all(len(body.lstrip("+-")) <= 3 for body in small)  # noqa: PLR2004 - digits of a group


def _said(example: str, pair: tuple[str, str], name: str, why: str) -> str:
    number = parse_number(example, NumberFormat(*pair))
    what = "separates thousands" if pair[1] else "begins the decimals"
    return f"{example!r} is read as {_shown(number)}: the {name} {what}, {why}"


def plain_like(formats: Iterable[NumberFormat]) -> NumberFormat | None:
    """The commonest format of a table's columns that is not the plain one; None where all are."""
    counts = Counter(
        replace(each, units=(), base64_scale=None)
        for each in formats
        if (each.decimal, each.thousands) != (".", "")
    )
    return counts.most_common(1)[0][0] if counts else None


__all__ = [
    "PLAIN",
    "NumberColumn",
    "guess_number_format",
    "looks_like_base64_decimals",
    "plain_like",
    "read_number_column",
]
