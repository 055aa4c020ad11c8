"""Values of an event under the names that people know: its fields and its features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.events import EventBatch, Float64
from stream_detector.features import FeatureExtractor


class EventValues:
    """Finds values by name; a field's text before a feature, a feature before a plain number.

    Attributes:
        names: all that are known.
    """

    def __init__(self, plan: FieldPlan, features: FeatureExtractor) -> None:
        self._features = features
        self._groups = {group.name: group for group in features.groups}
        self._text = {name: column for column, name in enumerate(plan.text)}
        self._numbers = {name: column for column, name in enumerate(plan.numeric)}
        self.names = frozenset((*self._groups, *self._text, *self._numbers))

    def of(self, events: EventBatch, row: int, raw: Float64, x: Float64) -> Callable[[str], Any]:
        """Return what gives the values of an event; None for what it has not.

        Args:
            events: hold it.
            row: which of them it is.
            raw: (features,) as extracted, NaN where a number is missing.
            x: (features,) as the model was given it.
        """

        def value_of(name: str) -> Any:
            if (column := self._text.get(name)) is not None:
                return events.text[column][row]
            if (group := self._groups.get(name)) is not None:
                # What is missing holds the mean in its place.
                if all(map(math.isnan, raw[list(group.columns)].tolist())):
                    return None
                return self._features.describe(group, events, row, x)
            if (column := self._numbers.get(name)) is not None:
                number = float(events.numeric[row, column])
                return None if math.isnan(number) else number
            return None

        return value_of


def values_of_finding(body: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return what gives the values of a monitor's alert: its key, its number, its deviations."""
    about, reason = body["monitor"], body["reasons"][0]
    values = {
        str(reason["feature"]): reason["value"],
        "deviations": reason.get("deviations"),
        "key": about["key"],
    }
    return values.get
