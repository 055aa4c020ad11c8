"""What the values of a field look like: the facts that ``init`` reasons from. No I/O."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from stream_detector.decoding import read_time
from stream_detector.events import Float64, Int64

Kind: TypeAlias = Literal["number", "text", "mixed", "list", "empty"]

SMALL_SHARE = 0.01
TRUE_FALSE = frozenset({"true", "false"})
ZERO_ONE = frozenset({"0", "1", "0.0", "1.0"})
TEXT_PATTERNS = (
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SINCE_1970 = tuple(
    (1e9 * factor, 4e9 * factor, pattern)  # 2001 to 2096
    for factor, pattern in ((1, "unix_s"), (1e3, "unix_ms"), (1e6, "auto"), (1e9, "auto"))
)


class ManyValues:
    """Stands for a list inside an event, which no feature can be made of."""


def flatten(event: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of an event by dotted path, as the configuration names them."""
    for name, value in event.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ManyValues if isinstance(value, list) else value


def number_of(value: Any, as_text: bool) -> float:
    """The finite number that a value is, else NaN; text counts only ``as_text``, as in CSV."""
    if isinstance(value, bool) or (isinstance(value, str) and (not as_text or "_" in value)):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


@dataclass(frozen=True)
class Profile:
    """A field's values in a sample, in the order of the events.

    Attributes:
        name: dotted path.
        values: one an event, None where it is missing.
        numbers: (events,) float64, NaN where the value is no number.
        kind: what nearly all values are.
    """

    name: str
    values: Sequence[Any]
    numbers: Float64
    kind: Kind

    @classmethod
    def of(cls, name: str, values: Sequence[Any], as_text: bool) -> Profile:
        """Look at the values; numbers may be written as text where ``as_text``."""
        numbers = np.array([number_of(value, as_text) for value in values], dtype=np.float64)
        present = sum(value is not None for value in values)
        kind: Kind = "text"
        if ManyValues in values:
            kind = "list"
        elif not present:
            kind = "empty"
        else:
            found = int(np.isfinite(numbers).sum())
            if found >= (1 - SMALL_SHARE) * present:
                kind = "number"
            elif found > SMALL_SHARE * present or not _all_text(values, as_text):
                kind = "mixed"
        return cls(name, values, numbers, kind)

    @cached_property
    def words(self) -> frozenset[str]:
        """Lower-case words of the name: ``isFlaggedFraud`` has is, flagged and fraud."""
        return frozenset(word.lower() for word in _WORDS.findall(self.name))

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, as text; without the missing ones."""
        return Counter(
            str(value).lower() if isinstance(value, bool) else str(value)
            for value in self.values
            if value is not None
        )

    @property
    def present(self) -> int:
        """Events that have a value."""
        return self.counts.total()

    @property
    def missing_share(self) -> float:
        """Share of the events without one."""
        return 1 - self.present / len(self.values)

    @property
    def complete(self) -> bool:
        """Whether every event has a value."""
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
    def integers(self) -> bool:
        """Whether all values are integers written as such."""
        return all(re.fullmatch(r"-?\d{1,18}", value) for value in self.counts)

    @property
    def binary(self) -> bool:
        """Whether there are no values but 0 and 1, or true and false."""
        lower = {value.lower() for value in self.counts}
        return bool(lower) and (lower <= ZERO_ONE or lower <= TRUE_FALSE)

    @property
    def true_false(self) -> bool:
        """Whether they are written as true and false."""
        return bool(self.counts) and {value.lower() for value in self.counts} <= TRUE_FALSE

    @cached_property
    def grows(self) -> bool:
        """Whether a number never falls in the order of the events."""
        return self.distinct > max(50, len(self.values) / 20) and bool(
            (np.diff(self.finite) >= 0).all()
        )

    @property
    def skewed(self) -> bool:
        """Whether a few values are so far out that the logarithm suits better."""
        spread = float(self.finite.std())
        if not spread or float(np.abs(self.finite).max()) < 10:  # noqa: PLR2004 - log changes little
            return False
        return float(np.mean(((self.finite - self.finite.mean()) / spread) ** 3)) > 3  # noqa: PLR2004

    @cached_property
    def moments(self) -> tuple[str, Int64] | None:
        """Format and milliseconds since 1970, where nearly all values are times; else None."""
        if self.kind == "number":
            low, high = float(self.finite.min()), float(self.finite.max())
            for least, most, pattern in _SINCE_1970:
                if least <= low and high < most:
                    return pattern, _read_times(self.finite.tolist(), pattern)
            return None
        if self.kind != "text":
            return None
        texts = [value for value in self.values if isinstance(value, str)]
        readable = []
        for pattern in ("auto", *TEXT_PATTERNS):
            if len(_read_times(texts[:20], pattern)) < len(texts[:20]):
                continue
            times = _read_times(texts, pattern)
            if len(times) >= (1 - SMALL_SHARE) * max(1, len(texts)):
                readable.append((pattern, times))
        # Day and month may both make sense: the reading in which time goes back least is right.
        return min(readable, key=lambda one: int((np.diff(one[1]) < 0).sum()), default=None)


def _all_text(values: Sequence[Any], as_text: bool) -> bool:
    kinds = {type(value) for value in values if value is not None}
    return as_text or len(kinds) == 1


def _read_times(values: Sequence[Any], pattern: str) -> Int64:
    times = []
    for value in values:
        try:
            times.append(read_time(value, pattern))
        except (ValueError, OverflowError):
            continue
    return np.array(times, dtype=np.int64)


def profiles_of(events: Sequence[Mapping[str, Any]], as_text: bool) -> list[Profile]:
    """A profile for each field, in the order in which the fields turn up."""
    columns: dict[str, list[Any]] = {}
    for row, event in enumerate(events):
        for name, value in flatten(event):
            column = columns.setdefault(name, [None] * len(events))
            column[row] = value
    return [Profile.of(name, values, as_text) for name, values in columns.items()]
