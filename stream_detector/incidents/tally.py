"""What the signals of an incident have in common, counted in little room."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec

from stream_detector.incidents.chance import evidence
from stream_detector.incidents.signals import Value

MOST_VALUES = 24
"""Values of a field that are counted of an incident."""

_COMMON_SHARE = 2 / 3

_Number = Annotated[float, msgspec.Meta(ge=0.0, le=2.0**52)]
_Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Text = Annotated[str, msgspec.Meta(max_length=4000)]


class Counted(msgspec.Struct, array_like=True):
    """How often a value came.

    Attributes:
        count: at most so often.
        error: it may be less by this: what another value had whose place it took.
        usual: its share of all events, as of when it first came.
    """

    count: _Number
    error: _Number
    usual: _Share

    @property
    def least(self) -> float:
        """It came at least so often."""
        return self.count - self.error


class Attribute(msgspec.Struct):
    """A value that signals of an incident have in common.

    Attributes:
        share: of its signals that have it, at least.
        usual: of all events.
        evidence: how far that is beyond chance, in nats.
    """

    field: str
    value: str
    share: float
    usual: float
    evidence: float


class Tally(msgspec.Struct):
    """Counts of values, by field; by space-saving (Metwally et al. 2005) where there are many.

    Attributes:
        signals: counted.
        fields: value and count, by field.
    """

    signals: Annotated[int, msgspec.Meta(ge=0, le=2**52)] = 0
    fields: dict[_Text, dict[_Text, Counted]] = {}

    def add(self, values: Sequence[Value], share: Callable[[str, str], float]) -> None:
        """Count a signal; ``share`` gives the usual share of a value."""
        self.signals += 1
        for field, value in values:
            counts = self.fields.setdefault(field, {})
            if (known := counts.get(value)) is not None:
                known.count += 1
                continue
            error = 0.0
            if len(counts) >= MOST_VALUES:
                error = counts.pop(_least_of(counts)).count
            counts[value] = Counted(error + 1, error, min(share(field, value), 1.0))

    def join(self, other: Tally) -> None:
        """Take in what another has counted."""
        self.signals += other.signals
        for field, theirs in other.fields.items():
            mine = self.fields.setdefault(field, {})
            for value, counted in theirs.items():
                if (known := mine.get(value)) is not None:
                    known.count += counted.count
                    known.error += counted.error
                else:
                    mine[value] = Counted(counted.count, counted.error, counted.usual)
            if len(mine) > MOST_VALUES:
                kept = sorted(mine, key=lambda one: -mine[one].least)[:MOST_VALUES]
                self.fields[field] = {value: mine[value] for value in mine if value in set(kept)}

    def attributes(self) -> list[Attribute]:
        """The values that came more often than usual, the one that explains most first."""
        signals = self.signals
        found: list[Attribute] = []
        for field, value, counted in self._each():
            share, usual = counted.least / signals, counted.usual
            # Most came no more often than usual: that is seen without a logarithm.
            if share > usual and (beyond := evidence(counted.least, signals, usual)) > 0:
                found.append(Attribute(field, value, share, usual, beyond))
        # Of equal ones the field that comes first: sorting keeps their order.
        return sorted(found, key=lambda one: (-round(one.evidence, 9), -one.share))

    def common(self) -> list[Value]:
        """Values that two thirds of the signals have; of a single signal all."""
        least = _COMMON_SHARE * self.signals
        return [(field, value) for field, value, one in self._each() if one.least >= least]

    @property
    def distinct(self) -> int:
        """Values that are counted."""
        return sum(map(len, self.fields.values()))

    def share(self, value: Value) -> float:
        """The share of the signals that have a value, at least."""
        counted = self.fields.get(value[0], {}).get(value[1])
        return counted.least / self.signals if counted is not None and self.signals else 0.0

    def _each(self) -> Iterator[tuple[str, str, Counted]]:
        for field, counts in self.fields.items():
            for value, counted in counts.items():
                yield field, value, counted


def _least_of(counts: dict[str, Counted]) -> str:
    """The value that came least, of equals the oldest."""
    best, least = "", math.inf
    for value, counted in counts.items():
        if counted.count < least:
            best, least = value, counted.count
            if least <= 1:  # what is counted has come once
                break
    return best
