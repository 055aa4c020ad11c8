"""Profiles of fields' values: the facts that ``init`` reasons from. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from stream_detector.cells import (
    PLAIN,
    NumberColumn,
    NumberFormat,
    TimeColumn,
    is_missing,
    read_number_column,
    read_time_column,
)
from stream_detector.cells.number_columns import plain_like
from stream_detector.events import NO_TIMESTAMP, Float64, Int64

Kind: TypeAlias = Literal["number", "text", "mixed", "list", "empty"]

SMALL_SHARE = 0.01
TRUE_FALSE = frozenset({"true", "false"})
ZERO_ONE = frozenset({"0", "1", "0.0", "1.0"})
_NUMBER_SHARE = 0.7
_MOST_WORDS = 3
_LONGEST_WORD = 40
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_HUMPS = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zß-ÿ])")


class ManyValues:
    """Stands for a list inside an event, which no feature can be made of."""


def flatten(event: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of an event by dotted path, as the configuration names them."""
    for name, value in event.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ManyValues if isinstance(value, list) else value


def words_of(name: str) -> frozenset[str]:
    """Words of a name in lower case, without the humps of a camel.

    >>> sorted(words_of("isFlaggedFraud")), sorted(words_of("id.orig_h2"))
    (['flagged', 'fraud', 'is'], ['2', 'h', 'id', 'orig'])
    """
    parts = (part for word in _WORDS.findall(name) for part in _HUMPS.split(word))
    return frozenset(part.casefold() for part in parts)


@dataclass(frozen=True)
class Profile:
    """A field's values in a sample, in the order of the events.

    Attributes:
        name: dotted path.
        values: one an event, None where it is missing.
        column: the values as numbers, and how they are written.
        kind: what nearly all values are.
        missing_words: words among numbers that are taken for missing, beyond the known ones.
    """

    name: str
    values: Sequence[Any]
    column: NumberColumn
    kind: Kind
    missing_words: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, values: Sequence[Any], like: NumberFormat | None = None) -> Profile:
        """Look at the values: numbers as people write them, some words among them for missing.

        ``like``: how the numbers beside it are written, where its own could be read in two ways.
        """
        column = read_number_column(values, like)
        if ManyValues in values:
            return cls(name, values, column, "list")
        numbers, odd = column.number_count, column.unreadable_count
        if not numbers and not odd:
            return cls(name, _without_missing(values, (), numeric=False), column, _nothing(values))
        words: tuple[str, ...] = ()
        if odd and numbers >= _NUMBER_SHARE * (numbers + odd):
            words = _few_words(values, column)
            if words:
                column = read_number_column(values, None, words, column.format)
                odd = column.unreadable_count
        numeric = bool(numbers) and odd <= SMALL_SHARE * (numbers + odd)
        kind: Kind = "number" if numeric else "text"
        if kind == "text" and any(
            value is not None and not isinstance(value, str | int | float | bool)
            for value in values
        ):
            kind = "mixed"
        return cls(name, _without_missing(values, words, numeric=numeric), column, kind, words)

    @property
    def numbers(self) -> Float64:
        """(events,) float64, NaN where the value is no number."""
        return self.column.values

    @cached_property
    def words(self) -> frozenset[str]:
        """Words of the whole name."""
        return words_of(self.name)

    @cached_property
    def leaf_words(self) -> frozenset[str]:
        """Words of the name's last part: ``flow.state`` is a state, not a flow."""
        return words_of(self.name.rpartition(".")[2]) or self.words

    @cached_property
    def counts(self) -> Counter[str]:
        """Return how often each value occurs, as text; without the missing ones."""
        return Counter(
            str(value).lower() if isinstance(value, bool) else str(value)
            for value in self.values
            if value is not None
        )

    @cached_property
    def present(self) -> int:
        """Events that have a value."""
        return self.counts.total()

    @property
    def missing_share(self) -> float:
        """Share of the events without one."""
        return 1 - self.present / len(self.values)

    @property
    def complete(self) -> bool:
        """Tell whether every event has a value."""
        return self.present == len(self.values)

    @property
    def distinct(self) -> int:
        """Number of different values."""
        return len(self.counts)

    @property
    def repeats(self) -> float:
        """Events for each different value."""
        return self.present / max(1, self.distinct)

    @cached_property
    def finite(self) -> Float64:
        """The numbers without the missing ones."""
        return self.numbers[np.isfinite(self.numbers)]

    @cached_property
    def whole(self) -> bool:
        """Tell whether all numbers are whole, however they are written."""
        return bool(len(self.finite)) and bool((self.finite == np.floor(self.finite)).all())

    @property
    def integers(self) -> bool:
        """Tell whether all values are integers written as such."""
        return all(re.fullmatch(r"-?\d{1,18}", value) for value in self.counts)

    @property
    def binary(self) -> bool:
        """Tell whether there are no values but 0 and 1, or true and false."""
        lower = {value.lower() for value in self.counts}
        return bool(lower) and (lower <= ZERO_ONE or lower <= TRUE_FALSE)

    @property
    def true_false(self) -> bool:
        """Tell whether the values are written as true and false."""
        return bool(self.counts) and {value.lower() for value in self.counts} <= TRUE_FALSE

    @cached_property
    def grows(self) -> bool:
        """Tell whether a number never falls in the order of the events."""
        return self.distinct > max(50, len(self.values) / 20) and bool(
            (np.diff(self.finite) >= 0).all()
        )

    @property
    def skewed(self) -> bool:
        """Tell whether a few values are so far out that the logarithm suits better."""
        spread = float(self.finite.std())
        if not spread or float(np.abs(self.finite).max()) < 10:  # noqa: PLR2004 - log changes little
            return False
        return float(np.mean(((self.finite - self.finite.mean()) / spread) ** 3)) > 3  # noqa: PLR2004

    @cached_property
    def time(self) -> TimeColumn | None:
        """The values as times, where nearly all of them are."""
        if self.kind not in ("number", "text"):
            return None
        return read_time_column(self.values)


def known_times(column: TimeColumn) -> Int64:
    """Times of a column in milliseconds since 1970, without the missing ones."""
    known: Int64 = column.times[column.times != NO_TIMESTAMP]
    return known


def _nothing(values: Sequence[Any]) -> Kind:
    """Judge values without a number: words for missing are nothing, true and false are text."""
    return "text" if any(isinstance(value, bool) for value in values) else "empty"


def _without_missing(values: Sequence[Any], words: Sequence[str], *, numeric: bool) -> list[Any]:
    """The values with None for those that are missing; in text only "" is."""
    if numeric:
        return [None if isinstance(v, str) and is_missing(v, words) else _finite(v) for v in values]
    return [None if v == "" else _finite(v) for v in values]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _few_words(values: Sequence[Any], column: NumberColumn) -> tuple[str, ...]:
    """Words that return among the numbers of a column: somebody's way to say that there is none."""
    read = np.isfinite(column.values)
    words = Counter(
        value
        for value, number in zip(values, read.tolist(), strict=True)
        if not number and isinstance(value, str) and not is_missing(value)
    )
    once = min(words.values(), default=0) < 2  # noqa: PLR2004 - a slip, not a habit
    if once or len(words) > _MOST_WORDS or max(map(len, words)) > _LONGEST_WORD:
        return ()
    return tuple(words)


def profiles_of(events: Sequence[Mapping[str, Any]]) -> list[Profile]:
    """A profile for each field, in the order in which the fields turn up."""
    columns: dict[str, list[Any]] = {}
    for row, event in enumerate(events):
        for name, value in flatten(event):
            if (column := columns.get(name)) is None:
                column = columns[name] = [None] * len(events)
            column[row] = value
    profiles = [Profile.of(name, values) for name, values in columns.items()]
    numeric = [each for each in profiles if each.kind == "number"]
    like = plain_like(each.column.format for each in numeric)
    if like is None:
        return profiles
    return [
        Profile.of(each.name, columns[each.name], like)
        if each.kind == "number" and each.column.format == PLAIN
        else each
        for each in profiles
    ]
