"""The hours of the week: which one a time lies in, and a key's profile over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from stream_detector.cells.zones import zone_of
from stream_detector.events import Float64, Int64

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = 24
WEEK = HOURS * len(DAYS)
"""Hours of the week, Monday at 0:00 first."""

_HOUR_MS, _QUARTER_MS = 3_600_000, 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_A_DAY_HAS, _MOST = 0.05, 0.95

OF_DAY_HOURS = 2.0
"""Active hours by which a key's profile is drawn towards the same hours of all days."""

COHORT_HOURS = 1.0
"""Active hours by which it is drawn towards the profile of all keys."""


def hours_of_week(times_ms: Int64, zone: str) -> Int64:
    """(times,) the hour of the week that each lies in, by the clocks of a zone; 0 is Monday 0:00.

    Offsets are looked up once for each quarter of an hour that occurs: clocks change at its ends.
    """
    tz = zone_of(zone)
    quarters, place = np.unique(times_ms // _QUARTER_MS, return_inverse=True)
    offsets = [
        ((_EPOCH + timedelta(milliseconds=quarter * _QUARTER_MS)).astimezone(tz).utcoffset())
        for quarter in quarters.tolist()
    ]
    shifts = np.array([(each or timedelta(0)) // timedelta(milliseconds=1) for each in offsets])
    local = times_ms + shifts.astype(np.int64)[place]
    hours: Int64 = (local // _HOUR_MS + _EPOCH_WEEKDAY * HOURS) % WEEK
    return hours


def _smooth(weights: Float64) -> Float64:
    """(keys, 168) with the hours before and after."""
    beside = np.roll(weights, 1, axis=1) + np.roll(weights, -1, axis=1)
    return 0.5 * weights + 0.25 * beside


def sums(rows: Float64) -> Float64:
    """(rows,) sums one after the other: NumPy may add in another order for a single row."""
    sums: Float64 = np.cumsum(rows, axis=1)[:, -1]
    return sums


def profile(weights: Float64, cohort: Float64) -> Float64:
    """(keys, 168) the share of a key's active hours that lies in each, as estimated.

    Its own, smoothed, drawn towards the same hours of all days and towards all keys.

    Args:
        weights: (keys, 168) in how many weeks lately each was active in an hour.
        cohort: (168,) the profile of all keys.
    """
    own = _smooth(weights)
    total = sums(weights)[:, None]
    by_day = own.reshape(-1, len(DAYS), HOURS)
    of_day = by_day[:, 0].copy()
    for day in range(1, len(DAYS)):
        of_day += by_day[:, day]
    of_day /= len(DAYS) * np.maximum(total, 1e-9)
    drawn = own + OF_DAY_HOURS * np.tile(of_day, (1, len(DAYS))) + COHORT_HOURS * cohort
    shares: Float64 = drawn / (total + OF_DAY_HOURS + COHORT_HOURS)
    return shares


def usual_times(weights: Float64) -> str:
    """When a key is active, in words: its days, and the shortest span of hours with most of it."""
    total = max(float(weights.sum()), 1e-9)
    by_day = weights.reshape(len(DAYS), HOURS).sum(axis=1) / total
    days = [name[:3] for name, share in zip(DAYS, by_day, strict=True) if share >= _A_DAY_HAS]
    by_hour = weights.reshape(len(DAYS), HOURS).sum(axis=0) / total
    twice = np.concatenate([[0.0], np.cumsum(np.tile(by_hour, 2))])
    for length in range(1, HOURS):
        spans = twice[length : length + HOURS] - twice[:HOURS]
        if spans.max() >= _MOST:
            begin = int(spans.argmax())
            return f"{' '.join(days)} {begin:02}:00 to {(begin + length) % HOURS:02}:00"
    return f"{' '.join(days)} at all hours"
