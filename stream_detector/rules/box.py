"""Boxes: conditions that an event fulfils all together.

A condition is a list of values or a range, and nothing else: no pattern, no negation. A value that
is missing fulfils none. So what nobody thought of when a box was drawn lies outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
"""A name; of two fields and a statistic, say, so longer than a field's."""

MOST_VALUES = 100
MOST_CONDITIONS = 16


class OneOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"values": "in"}):
    """A field whose text is one of some; compared as it is, letter by letter.

    Attributes:
        field: a field of the configuration that is read as text, or a feature that is true or
            false (``true``, ``false``) or a day; of a monitor's alert its ``key``.
        values: the texts.
    """

    field: Text
    values: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=500)], ...],
        msgspec.Meta(min_length=1, max_length=MOST_VALUES),
    ]

    def holds(self, value: Any) -> bool:
        """Tell whether a value is one of these; a missing one, or a number, never is."""
        if isinstance(value, bool):
            return ("true" if value else "false") in self.values
        return isinstance(value, str) and value in self.values


class Within(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A feature whose number lies in a range, the ends included.

    Attributes:
        feature: as an alert's reasons name it, in the same unit.
        at_least: lower end; None where there is none.
        at_most: upper end; None where there is none.
    """

    feature: Text
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: Any) -> bool:
        """Tell whether a number lies within; what is missing, or no number, never does."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value):
            return False
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions, at least one; an event is inside where all hold."""

    fields: Annotated[tuple[OneOf, ...], msgspec.Meta(max_length=MOST_CONDITIONS)] = ()
    features: Annotated[tuple[Within, ...], msgspec.Meta(max_length=MOST_CONDITIONS)] = ()

    def covers(self, value_of: Callable[[str], Any]) -> bool:
        """Tell whether an event is inside.

        Args:
            value_of: gives the event's value under a name; None where it has none.
        """
        return all(one.holds(value_of(one.field)) for one in self.fields) and all(
            one.holds(value_of(one.feature)) for one in self.features
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Fields and features that the conditions are about."""
        return (*(one.field for one in self.fields), *(one.feature for one in self.features))

    def faults(self) -> Iterator[str]:
        """Say what is wrong with it, in words."""
        if not self.names:
            yield "it has no condition, and would cover everything"
        for name in dict.fromkeys(self.names):
            if self.names.count(name) > 1:
                yield f"{name} has two conditions: write one"
        for one in self.features:
            ends = [end for end in (one.at_least, one.at_most) if end is not None]
            if not ends:
                yield f"{one.feature} has neither at_least nor at_most"
            elif not all(map(math.isfinite, ends)):
                yield f"{one.feature}: an end is no number"
            elif ends != sorted(ends):
                yield f"{one.feature}: at_least is above at_most"

    def text(self) -> str:
        """The conditions as people read them, in one line."""
        parts = [f"{one.field} is {' or '.join(one.values)}" for one in self.fields]
        for one in self.features:
            low, high = one.at_least, one.at_most
            if low is not None and high is not None:
                parts.append(f"{one.feature} from {low:g} to {high:g}")
            elif low is not None:
                parts.append(f"{one.feature} at least {low:g}")
            else:
                parts.append(f"{one.feature} at most {high:g}")
        return ", ".join(parts)
