"""The smallest readable box around alerts that were false alarms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_detector.rules.box import Box, OneOf, Within
from stream_detector.rules.rule import LEAST_SHARE

_MOST_RANGES = 3
_EXPLAINED = 0.8
"""Of what explains an alert, the features that a box is about explain so much, three at most."""

_MARGIN = 0.1
_DEVIATIONS = 0.5
"""A range goes so far beyond what was seen: a tenth of the number, or half a standard deviation."""

_WIDE = 0.5
"""Beyond what a history had: it is a different one for each event."""

_SMALLEST = 1e-12

_MOST_VALUES = 5

_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert, as far as a box is drawn around it.

    Attributes:
        body: its fields.
        value_of: its event's value under the name of a field or feature; None where it has none.
    """

    body: Mapping[str, Any]
    value_of: Callable[[str], Any]

    @property
    def reasons(self) -> Sequence[Mapping[str, Any]]:
        """Its reasons, the largest first."""
        found: Sequence[Mapping[str, Any]] = self.body["reasons"]
        return found

    @property
    def monitor(self) -> str:
        """The monitor that has found it; empty where it is about an event."""
        return str(self.body["monitor"]["name"]) if "monitor" in self.body else ""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a configuration, by what they are.

    Attributes:
        own: numbers that the event itself has.
        history: statistics of what came before, each with what is of the same history: they change
            as the same comes again.
        keys: fields whose histories these are.
        values: numbers of the event that a history is of, by the history.
        categories: texts of the event, and what is true or false.
    """

    own: frozenset[str] = frozenset()
    history: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()


def reasons_of(alerts: Sequence[Seen], names: Names, box: Box) -> tuple[str, ...]:
    """What explains alerts, but for what hardly does: features, and histories as a whole.

    ``CUSTOMER_ID.`` stands for all statistics of the customer: today the mean of a day says that it
    is unusual, next week that of a month. What a history is of belongs to it. Where the box names a
    key, so does the history of that key, in which the same leaves its traces as it comes again.
    """
    found: dict[str, None] = {}
    for alert in alerts:
        for reason in alert.reasons:
            name = str(reason["feature"])
            if float(reason["share"]) < LEAST_SHARE:
                continue
            history = names.history.get(name, "")
            found[history or name] = None
            if (value := names.values.get(history)) is not None:
                found[value] = None
    found |= {f"{one.field}.": None for one in box.fields if one.field in names.keys}
    return tuple(found)[:20]


def ranges_of(alerts: Sequence[Seen], names: Names) -> tuple[Within, ...]:
    """Ranges of the features that explain most, from the least to the largest number and some more.

    A number of the event itself lies within both ends; so does what the histories are of that
    explain an alert. A statistic of a history has one end, on the side on which it was strange: it
    comes closer to the usual as the same comes again. Only what all alerts have as a number.
    """
    explained = 0.0
    ranges: dict[str, Within] = {}
    for reason in alerts[0].reasons:
        if explained >= _EXPLAINED or len(ranges) >= _MOST_RANGES:
            break
        explained += float(reason["share"])
        name = str(reason["feature"])
        history = names.history.get(name, "")
        if (value := names.values.get(history)) is not None and value not in ranges:
            _add(ranges, alerts, value, None, margin=_MARGIN)
        if name in names.own:
            _add(ranges, alerts, name, reason.get("usual"), margin=_MARGIN)
        elif history:
            _add(ranges, alerts, name, None, margin=_WIDE, side=float(reason["deviations"]))
    return tuple(ranges.values())


def _add(
    ranges: dict[str, Within],
    alerts: Sequence[Seen],
    name: str,
    usual: Sequence[float] | None,
    *,
    margin: float,
    side: float | None = None,
) -> None:
    values = [alert.value_of(name) for alert in alerts]
    if not all(map(_is_number, values)):
        return
    found = _range(name, min(values), max(values), usual, margin)
    if side is not None:
        found = Within(name, at_most=found.at_most) if side > 0 else Within(name, found.at_least)
    ranges[name] = found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _range(
    name: str,
    least: float,
    largest: float,
    usual: Sequence[float] | None,
    share: float = _MARGIN,
) -> Within:
    deviation = (usual[1] - usual[0]) / 4 if usual else 0.0
    margin = max(share * max(abs(least), abs(largest)), _DEVIATIONS * deviation)
    if margin < _SMALLEST:
        return Within(name, least, largest)
    step = _readable_step(margin)
    low = math.floor((least - margin) / step) * step
    high = math.ceil((largest + margin) / step) * step
    if least >= 0:
        low = max(low, 0.0)  # amounts and counts: what is below zero is something else
    return Within(name, _tidy(low, step), _tidy(high, step))


def _readable_step(margin: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most half the margin."""
    half = margin / 2
    power = 10.0 ** math.floor(math.log10(half))
    return max(step * power for step in _STEPS if step * power <= half * (1 + 1e-9))


def _tidy(number: float, step: float) -> float:
    """The number without the digits that a multiplication leaves."""
    digits = max(0, 1 - math.floor(math.log10(step)))
    return round(number, digits)


def values_of(alerts: Sequence[Seen], names: Sequence[str]) -> tuple[OneOf, ...]:
    """Fields that are of one of a few values in all alerts."""
    found = []
    for name in names:
        values = [_text(alert.value_of(name)) for alert in alerts]
        known = tuple(dict.fromkeys(value for value in values if value is not None))
        if None not in values and 0 < len(known) <= _MOST_VALUES:
            found.append(OneOf(name, known))
    return tuple(found)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


def monitor_box(alerts: Sequence[Seen]) -> Box:
    """The keys of a monitor's alerts, and how far and to which side they lay off."""
    keys = tuple(dict.fromkeys(str(alert.body["monitor"]["key"]) for alert in alerts))
    deviations = [alert.value_of("deviations") for alert in alerts]
    box = Box(fields=(OneOf("key", keys),))
    if not all(_is_number(each) for each in deviations):
        return box
    least, largest = min(deviations), max(deviations)
    high = _range("deviations", 0.0, max(largest, 0.0), None).at_most if largest > 0 else 0.0
    low = _range("deviations", 0.0, max(-least, 0.0), None).at_most if least < 0 else 0.0
    assert low is not None
    return Box(fields=box.fields, features=(Within("deviations", -low or 0.0, high),))


def changed(
    box: Box,
    *,
    ranges: Sequence[Within] = (),
    values: Sequence[OneOf] = (),
    drop: Sequence[str] = (),
) -> Box:
    """A box with other conditions on some names, and without those on others."""
    named = {one.feature for one in ranges} | {one.field for one in values} | set(drop)
    return Box(
        fields=(*(one for one in box.fields if one.field not in named), *values),
        features=(*(one for one in box.features if one.feature not in named), *ranges),
    )
