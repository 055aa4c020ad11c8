"""Consistency of the limits of `event` on times."""

from __future__ import annotations

from stream_detector.config.models.event import EventConfig
from stream_detector.units import format_duration


def notes_on_limits(event: EventConfig) -> list[str]:
    """Describe what is odd about ``event``'s limits of time, a sentence each; none if nothing is.

    A single event ahead moves no limit of the others, whatever these are; a majority does.
    """
    notes = []
    if event.max_ahead > event.max_behind:
        ahead, behind = format_duration(event.max_ahead), format_duration(event.max_behind)
        notes.append(
            f"event.max_ahead ({ahead}) is more than event.max_behind ({behind}): where most "
            "clocks run ahead by more than that, the events of the right ones are time_behind"
        )
    if event.max_step > event.max_behind:
        step, behind = format_duration(event.max_step), format_duration(event.max_behind)
        notes.append(
            f"event.max_step ({step}) is more than event.max_behind ({behind}): an event that is "
            "early enough to be refused later on still moves the stream's time"
        )
    return notes
