"""Which season the times of events can show, and why none. No I/O."""

from __future__ import annotations

import numpy as np

from stream_detector.events import Float64
from stream_detector.inference.judgements import readable_duration

_DAY = 86_400.0
_WEEKS_NEEDED, _DAYS_NEEDED = 14.0, 3.0
_CHANCE = 2.0
"""Variance between the hours of the day over that within them (Fisher's F), beyond chance."""

_PARTS = 12
_TIMETABLE = 0.05
"""Share of the variance of chance that is taken for granted even where events keep a timetable."""


def season_of(seconds: Float64, days: float) -> tuple[str | None, str]:
    """The season, and why it is that one; None where a rhythm would be taken for an incident.

    Args:
        seconds: times of the events, in order.
        days: how long all of the data is.
    """
    covers = f"the data cover about {readable_duration(days * _DAY)}"
    if days < _DAYS_NEEDED:
        if _steady(seconds):
            return (
                "none",
                f"{covers} and are steady: once there are weeks, try season: hour_of_week",
            )
        return None, (
            f"{covers}, too little to tell the rhythm of a day from an incident; from three days "
            "on one is proposed"
        )
    if (seconds[-1] - seconds[0]) / _DAY >= _DAYS_NEEDED and not _hours_differ(seconds):
        return "none", "one hour of the day is as busy as another"
    if days < _WEEKS_NEEDED:
        return "hour_of_day", f"{covers}: the hours of the day can be told, those of the week not"
    return "hour_of_week", f"{covers}: the hours of the week can be told"


def _steady(seconds: Float64) -> bool:
    """Tell whether as many come all the time: through half a day, or as a timetable has it."""
    span = float(seconds[-1] - seconds[0])
    parts = np.minimum((seconds - seconds[0]) / span * _PARTS, _PARTS - 1).astype(np.int64)
    counts = np.bincount(parts, minlength=_PARTS).astype(np.float64)
    if span < _DAY / 2:
        return float(counts.var()) <= _TIMETABLE * float(counts.mean())
    return float(counts.var()) <= _CHANCE * float(counts.mean())


def _hours_differ(seconds: Float64) -> bool:
    """Tell whether there is more variance between the hours of the day than chance makes."""
    hours = (seconds // 3600).astype(np.int64)
    counts = np.bincount(hours - hours[0]).astype(np.float64)
    of_day = (hours[0] + np.arange(len(counts))) % 24
    means = np.bincount(of_day, counts, 24) / np.maximum(np.bincount(of_day, minlength=24), 1)
    within = float(np.mean((counts - means[of_day]) ** 2)) * 24 / 23
    between = float(means.var()) * len(counts) / 24
    return between > _CHANCE * max(within, _TIMETABLE * float(counts.mean()))
