"""From numbers to places on paper, with ticks where people expect them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from stream_detector.events import Float64
from stream_detector.report.text import number

Tick = tuple[float, str]

_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_STEPS = (
    *(_SECOND, 5, 15, 30),
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 14 * _DAY),
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
_MONTH_SECONDS = 2_629_746
_FAR = 15.0
"""Times the usual spread from the median: a score further out would flatten all others."""


class Scale(Protocol):
    """A monotone map of numbers to places."""

    @property
    def low(self) -> float:
        """Return the value at the beginning."""

    @property
    def high(self) -> float:
        """Return the value at the end."""

    def part(self, values: Float64) -> Float64:
        """Return the positions of values between the ends: 0 to 1."""

    def ticks(self, most: int) -> list[Tick]:
        """At most about ``most`` places with their labels."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Evenly. ``per_cent``: labels of shares 0 to 1 in per cent."""

    low: float
    high: float
    per_cent: bool = False

    def part(self, values: Float64) -> Float64:
        """Return the positions of values between the ends."""
        return (values - self.low) / (self.high - self.low)

    def at(self, parts: Float64) -> Float64:
        """The values that lie there: the inverse of ``part``."""
        return self.low + parts * (self.high - self.low)

    def ticks(self, most: int) -> list[Tick]:
        """Multiples of 1, 2, 2.5 or 5 times a power of ten."""
        step = nice_step((self.high - self.low) / max(most, 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        places = [index * step for index in range(first, last + 1)]
        if self.per_cent:
            return [(place, f"{number(100 * place, 3)} %") for place in places]
        return [(place, number(place)) for place in places]


@dataclass(frozen=True, slots=True)
class Log:
    """By powers of ten; both ends positive."""

    low: float
    high: float
    per_cent: bool = False

    def part(self, values: Float64) -> Float64:
        """Return the positions of values; what is not positive lies at the lower end."""
        span = math.log(self.high / self.low)
        result: Float64 = np.log(np.maximum(values, self.low) / self.low) / span
        return result

    def ticks(self, most: int) -> list[Tick]:
        """Powers of ten."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high))
        every = max(1, math.ceil((last - first + 1) / max(most, 1)))
        places = [10.0**power for power in range(first, last + 1, every)]
        if self.per_cent:
            return [(place, f"{number(100 * place, 3)} %") for place in places]
        return [(place, number(place)) for place in places]


@dataclass(frozen=True, slots=True)
class Compressed:
    """Linear about ``centre`` on the scale of ``unit``, by powers of ten far from it (asinh)."""

    low: float
    high: float
    centre: float
    unit: float

    def part(self, values: Float64) -> Float64:
        """Return the positions of values between the ends."""
        low, high = self._bent(np.array([self.low, self.high]))
        result: Float64 = (self._bent(values) - low) / (high - low)
        return result

    def at(self, parts: Float64) -> Float64:
        """The values that lie there: the inverse of ``part``."""
        low, high = self._bent(np.array([self.low, self.high]))
        result: Float64 = self.centre + self.unit * np.sinh(low + parts * (high - low))
        return result

    def _bent(self, values: Float64) -> Float64:
        bent: Float64 = np.arcsinh((values - self.centre) / self.unit)
        return bent

    def ticks(self, most: int) -> list[Tick]:
        """Round numbers, the roundest first, none closer to another than fits."""
        largest = max(abs(self.low), abs(self.high))
        powers = range(math.floor(math.log10(self.unit)), math.floor(math.log10(largest)) + 1)
        round_ones = [0.0]
        for mantissa in (1, 5, 2):
            round_ones += [
                sign * mantissa * 10.0**power for power in reversed(powers) for sign in (1, -1)
            ]
        taken: list[tuple[float, float]] = []
        for value in round_ones:
            if not self.low <= value <= self.high:
                continue
            (place,) = self.part(np.array([value])).tolist()
            if all(abs(place - other) >= 1 / (most + 1) for other, _ in taken):
                taken.append((place, value))
        return [(value, number(value)) for _, value in sorted(taken)]


@dataclass(frozen=True, slots=True)
class Time:
    """Milliseconds since 1970, labelled in UTC."""

    low: float
    high: float

    def part(self, values: Float64) -> Float64:
        """Return the positions of values between the ends."""
        return (values - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[Tick]:
        """Whole minutes, hours, days, months or years."""
        least = (self.high - self.low) / 1000 / max(most, 1)
        for step in _STEPS:
            if step >= least:
                return self._even(step)
        months = next((m for m in _MONTHS if m * _MONTH_SECONDS >= least), _MONTHS[-1])
        return self._months(months)

    def _even(self, step: int) -> list[Tick]:
        # Weeks begin on Monday; 1970-01-01 was a Thursday.
        shift = -3 * _DAY if step >= 7 * _DAY else 0
        first = math.ceil((self.low / 1000 - shift) / step) * step + shift
        result = []
        for second in range(first, math.floor(self.high / 1000) + 1, step):
            time = _at(second)
            if second % _DAY == 0:
                label = f"{time.day} {time:%b}"
            else:
                label = f"{time:%H:%M}" if second % _MINUTE == 0 else f"{time:%H:%M:%S}"
            result.append((second * 1000.0, label))
        return result

    def _months(self, step: int) -> list[Tick]:
        begin = _at(self.low / 1000)
        index = math.ceil((begin.year * 12 + begin.month - 1) / step) * step
        result: list[Tick] = []
        while True:
            time = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
            place = time.timestamp() * 1000
            if place > self.high:
                return result
            if place >= self.low:
                label = f"{time.year}" if step % 12 == 0 else f"{time:%b %Y}"
                result.append((place, label))
            index += step


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below ``least``.

    >>> nice_step(0.013), nice_step(30), nice_step(21)
    (0.02, 50.0, 25.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(nice * power for nice in _NICE if nice * power >= least * (1 - 1e-9))


def value_scale(values: Float64, shown: Sequence[float] = ()) -> Linear | Compressed:
    """A scale for scores: linear where they lie together, compressed where a few lie far out.

    Args:
        values: (events,) finite, at least one.
        shown: further values that must have a place; infinite ones are ignored.
    """
    low, fifth, middle, high_fifth, high = np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).tolist()
    inside = [value for value in shown if math.isfinite(value)]
    low, high = min([low, *inside]), max([high, *inside])
    if high <= low:
        return Linear(low - 0.5, low + 0.5)
    usual = (high_fifth - fifth) / 2
    far = max(high - middle, middle - low)
    if usual > 0 and far > _FAR * usual:
        return Compressed(low, high, middle, usual)
    margin = 0.03 * (high - low)
    return Linear(low - margin, high + margin)


def time_scale(times_ms: Float64) -> Time:
    """A scale over all of some times (milliseconds since 1970)."""
    low, high = float(times_ms.min()), float(times_ms.max())
    return Time(low, high if high > low else low + 1000)


def _at(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
